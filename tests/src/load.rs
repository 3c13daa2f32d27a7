//! The calls that the benches make, and connections that repeat one as fast as the server answers.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use imgopen_types::{Credentials, Operation, operations};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::{document, wire};

/// A request of the benches: what is sent, and what is answered.
#[derive(Debug, Clone)]
pub struct Call {
    /// The operation.
    pub operation: &'static Operation,
    /// The request.
    pub request: Value,
    /// The answer.
    pub answer: Value,
}

/// A training with 100 pictures, a large request of many fields, and a small query with a large answer.
pub fn calls() -> [Call; 3] {
    let call = |operation: &'static Operation| {
        let full = document::request_examples(operation.id).into_iter().find(|example| example.name == "full");
        let request = full.expect("every operation has a full example").value;
        Call { operation, request, answer: document::success(operation.id) }
    };
    let mut training = call(&operations::SUBMIT_TRAINING);
    training.request["fileUrlList"] =
        (0..100).map(|n| json!(format!("https://example.com/train/{n:03}.png"))).collect();
    [training, call(&operations::TEXT_TO_IMAGE), call(&operations::QUERY_TASK)]
}

/// A runtime of one thread, with sockets and clock.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

/// Serves the routers side by side on a new thread, until the program ends.
pub fn serve<const N: usize>(routers: [Router; N]) -> [SocketAddr; N] {
    let (send, receive) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async move {
            for router in routers {
                send.send(wire::serve(router).await).expect("someone waits for the address");
            }
            std::future::pending::<()>().await;
        });
    });
    [(); N].map(|()| receive.recv().expect("the server starts"))
}

/// Open connections to one server, which all repeat one call.
#[derive(Debug)]
pub struct Load {
    connections: Vec<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Load {
    /// Opens that many connections and makes the call once on each.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or does not answer with a success.
    pub async fn open(server: SocketAddr, call: &Call, connections: usize) -> io::Result<Self> {
        Self::open_as(server, call, connections, &Credentials::new("my-id", "my-secret")).await
    }

    /// The same with other keys.
    ///
    /// # Errors
    ///
    /// As [`Load::open`].
    pub async fn open_as(server: SocketAddr, call: &Call, connections: usize, keys: &Credentials) -> io::Result<Self> {
        let mut load = Self { connections: Vec::new(), request: written(call, keys), answer: Vec::new() };
        for _ in 0..connections {
            let mut connection = TcpStream::connect(server).await?;
            connection.set_nodelay(true)?;
            load.answer = first(&mut connection, &load.request).await?;
            load.connections.push(connection);
        }
        Ok(load)
    }

    /// The body that the server answers with.
    pub fn body(&self) -> String {
        let text = String::from_utf8_lossy(&self.answer);
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// Makes the call that many times on every connection, on all at once.
    ///
    /// # Panics
    ///
    /// When a connection ends or an answer has another length than the first.
    pub async fn run(&mut self, times: usize) {
        self.timed(times).await;
    }

    /// The same, with the time that each call took.
    ///
    /// # Panics
    ///
    /// As [`Load::run`].
    pub async fn timed(&mut self, times: usize) -> Vec<Duration> {
        let mut running = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let (request, mut answer) = (self.request.clone(), vec![0; self.answer.len()]);
            running.spawn(async move {
                let mut took = Vec::with_capacity(times);
                for _ in 0..times {
                    let start = Instant::now();
                    connection.write_all(&request).await.expect("the server reads");
                    connection.read_exact(&mut answer).await.expect("the server answers");
                    took.push(start.elapsed());
                    assert!(
                        answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"}"),
                        "an answer of another length"
                    );
                }
                (connection, took)
            });
        }
        let (connections, took): (Vec<_>, Vec<_>) = running.join_all().await.into_iter().unzip();
        self.connections = connections;
        took.concat()
    }
}

fn written(call: &Call, keys: &Credentials) -> Vec<u8> {
    let (path, body) = (call.operation.path, call.request.to_string());
    let (id, secret, length) = (Credentials::ID_HEADER, Credentials::SECRET_HEADER, body.len());
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\ncontent-type: application/json\r\n\
         {id}: {}\r\n{secret}: {}\r\ncontent-length: {length}\r\n\r\n{body}",
        keys.access_key_id(),
        keys.expose_secret(),
    )
    .into_bytes()
}

/// Reads the first answer, whose length is that of all.
async fn first(connection: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    connection.write_all(request).await?;
    let mut answer = Vec::new();
    loop {
        if connection.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(text.into_owned()));
        }
        if length.is_some_and(|length: usize| body.len() >= length) {
            return Ok(answer);
        }
    }
}
