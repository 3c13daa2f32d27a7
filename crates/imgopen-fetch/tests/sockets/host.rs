//! Hosts that send exactly the bytes of a test, and fetchers that may reach them.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imgopen_fetch::{Fetcher, Guard, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The address that the hosts listen on, and the only one beside public ones that the fetchers may reach.
pub const ALLOWED: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Another loopback address, which is not allowed.
pub const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A host, with the heads and bodies of the requests it received.
#[derive(Clone)]
pub struct Host {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Host {
    /// Starts a host that answers every request with the function's result, and keeps the connection.
    pub async fn answering(answer: impl Fn(&str) -> String + Clone + Send + 'static) -> Self {
        Self::on(ALLOWED, move |mut stream, host| {
            let answer = answer.clone();
            async move {
                while let Ok(request) = read_request(&mut stream).await {
                    host.requests.lock().unwrap().push(request.clone());
                    stream.write_all(answer(&request).as_bytes()).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// Starts a host that reads a request, sends `start`, then repeats `rest` with pauses.
    pub async fn dripping(start: &'static str, rest: impl Into<String>, pause: Duration) -> Self {
        let rest = rest.into();
        Self::on(ALLOWED, move |mut stream, _| {
            let rest = rest.clone();
            async move {
                read_request(&mut stream).await?;
                stream.write_all(start.as_bytes()).await?;
                loop {
                    tokio::time::sleep(pause).await;
                    stream.write_all(rest.as_bytes()).await?;
                }
            }
        })
        .await
    }

    /// Starts a host that serves each connection with a function.
    pub async fn on<F>(ip: Ipv4Addr, serve: impl Fn(TcpStream, Host) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let host =
            Self { address: listener.local_addr().unwrap(), requests: Arc::default(), connections: Arc::default() };
        let copy = host.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *copy.connections.lock().unwrap() += 1;
                tokio::spawn(serve(stream, copy.clone()));
            }
        });
        host
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns a URL of the host under a name that the test's resolver knows.
    pub fn named(&self, name: &str, path: &str) -> String {
        format!("http://{name}:{}{path}", self.address.port())
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// Returns a fetcher that may reach the hosts.
pub fn fetcher() -> Fetcher {
    Fetcher::new(guard()).unwrap()
}

pub fn guard() -> Guard {
    Guard::new(vec![IpAddr::V4(ALLOWED).into()])
}

/// Returns a fetcher whose resolver gives the n-th answer at the n-th call and then repeats the last, and the names it
/// resolved.
pub fn resolving(answers: &[&[IpAddr]]) -> (Fetcher, Arc<Mutex<Vec<String>>>) {
    let answers: Vec<Vec<IpAddr>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let copy = asked.clone();
    let lookup = move |name: String| {
        let mut asked = copy.lock().unwrap();
        let answer = answers[asked.len().min(answers.len() - 1)].clone();
        asked.push(name);
        async move { Ok(answer) }
    };
    (Fetcher::with_resolver(guard(), lookup).unwrap(), asked)
}

/// Limits that end a test soon.
pub fn limits() -> Limits {
    Limits::default().bytes(1000).time(Duration::from_secs(5)).redirects(3)
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub fn redirect(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

/// Reads one request, with a body of the announced length.
pub async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= announced.unwrap_or(0) {
                return Ok(text);
            }
        }
    }
}
