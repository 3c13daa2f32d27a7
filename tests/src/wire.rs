//! Sockets that record the bytes on the wire: a tap between a client and a server, and a server that answers by a script.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves a router on a free port of this machine, until the test ends.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The base URL of a server at that address.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Everything that travelled over one connection.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// What the client sent.
    pub sent: String,
    /// What the server sent.
    pub received: String,
}

/// A proxy in front of a server that keeps a copy of all traffic, one entry per connection.
#[derive(Debug, Clone)]
pub struct Tap {
    /// Where clients connect.
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Traffic>>>,
}

impl Tap {
    /// Starts a tap in front of the server at that address.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let tap = Self { address: listener.local_addr()?, connections: Arc::default() };
        let copy = tap.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(copy.clone().pass(client, server));
            }
        });
        Ok(tap)
    }

    /// Returns the traffic so far.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.connections.lock().expect("the tap does not panic").clone()
    }

    async fn pass(self, client: TcpStream, server: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(server).await?;
        let index = {
            let mut connections = self.connections.lock().expect("the tap does not panic");
            connections.push(Traffic::default());
            connections.len() - 1
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let up = self.copy(index, from_client, to_server, |traffic| &mut traffic.sent);
        let down = self.copy(index, from_server, to_client, |traffic| &mut traffic.received);
        tokio::try_join!(up, down).map(drop)
    }

    async fn copy(
        &self,
        index: usize,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        side: fn(&mut Traffic) -> &mut String,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            side(&mut self.connections.lock().expect("the tap does not panic")[index]).push_str(&text);
            to.write_all(&buffer[..length]).await?;
        }
    }
}

/// A server that answers the n-th request with the n-th text, byte for byte, and keeps what it was sent. After the last
/// text it closes every connection unanswered.
#[derive(Debug, Clone)]
pub struct Script {
    /// Where clients connect.
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// Starts the server on a free port.
    pub async fn new(answers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("a free port"), answers)
    }

    /// Starts the server on a port that was opened before.
    pub fn on(listener: TcpListener, answers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let script = Self { address, requests: Arc::default() };
        let mut answers: std::collections::VecDeque<String> = answers.into_iter().map(Into::into).collect();
        let copy = script.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Ok(request) = read_request(&mut stream).await else { continue };
                copy.requests.lock().expect("the script does not panic").push(request);
                if let Some(answer) = answers.pop_front() {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        script
    }

    /// Returns the requests so far, as they came over the socket.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the script does not panic").clone()
    }
}

/// An HTTP answer with a JSON body, after which the connection closes.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

/// Reads one request with a body of announced length.
async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer).await?;
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= announced.unwrap_or(0) {
                return Ok(text);
            }
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
