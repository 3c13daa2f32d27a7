//! Calls of the API by hand, for tests that look at statuses and headers.

use std::io::{Read, Write};
use std::net::TcpStream;

use imgopen_types::{Credentials, operations};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::program::Key;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// Whether the caller is asked to repeat the call later.
    pub fn asks_to_wait(&self) -> bool {
        let after = self.headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
        self.status == 503 && after.is_some_and(|after| after > 0)
    }

    /// The task id in it.
    pub fn task(&self) -> Option<&str> {
        let data = &self.body["data"];
        data["task_id"].as_str().or(data["taskId"].as_str())
    }
}

/// Calls an operation.
pub async fn post(
    http: &reqwest::Client,
    (key, url): (&Key, &str),
    operation: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> reqwest::Result<Answer> {
    let operation = operations::ALL.iter().find(|known| known.id == operation).unwrap();
    let mut request = http.post(format!("{url}{}", operation.path)).json(body);
    request = request.header(Credentials::ID_HEADER, &key.id).header(Credentials::SECRET_HEADER, &key.secret);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(request.send().await?).await
}

/// Gets a page of the service.
pub async fn get(http: &reqwest::Client, url: &str) -> reqwest::Result<Answer> {
    read(http.get(url).send().await?).await
}

async fn read(response: reqwest::Response) -> reqwest::Result<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
    Ok(Answer { status, headers, body })
}

/// Sends bytes to a service, and returns everything that it answers before it closes the connection.
pub fn raw(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
