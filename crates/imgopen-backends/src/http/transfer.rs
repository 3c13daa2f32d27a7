//! Calls whose bodies are not JSON, or whose errors say more than a message.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Answer, CallError, Http, MAX_ANSWER, MAX_ERROR, away, parse, read, refused, succeeded};

impl Http {
    /// Fetches a file of at most that many bytes, which may take as long as `time`.
    pub(crate) async fn file(&self, path: &str, limit: u64, time: Duration) -> Result<Bytes, CallError> {
        self.call(Method::GET, path, None, Some(time), limit).await
    }

    /// Sends JSON to a path whose answer says nothing.
    pub(crate) async fn command(&self, path: &str, body: &Value) -> Result<(), CallError> {
        self.call(Method::POST, path, Some(body), Some(self.answer), MAX_ANSWER).await.map(drop)
    }

    /// Sends JSON to a path whose refusals have a form of their own.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Result<Answer, CallError> {
        let request = self.request(Method::POST, path)?.json(body).timeout(self.answer);
        let response = request.send().await.map_err(away)?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer::Success(read(response, MAX_ANSWER).await?));
        }
        let body = read(response, MAX_ERROR).await?;
        match status {
            StatusCode::BAD_REQUEST => Ok(Answer::Refusal(body)),
            _ => Err(refused(path, status, &body)),
        }
    }

    /// Sends a form with a file, which may take as long as `time`. `boundary` must not occur in the file.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        boundary: &str,
        body: Vec<u8>,
        time: Duration,
    ) -> Result<T, CallError> {
        let request = self.request(Method::POST, path)?;
        let request = request.header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"));
        parse(&succeeded(path, request.body(body).timeout(time), MAX_ANSWER).await?)
    }

    /// Opens a connection to a path for the WebSocket protocol.
    pub(crate) async fn socket(&self, path: &str, key: &str) -> Result<Upgraded, CallError> {
        let request = self.request(Method::GET, path)?;
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, key);
        // Not by the request's own time, which would end the connection as well.
        let sent = tokio::time::timeout(self.answer, request.send()).await;
        let response = sent.map_err(|_| CallError::Away("it does not answer in time".to_owned()))?.map_err(away)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => response.upgrade().await.map_err(away),
            status => Err(refused(path, status, &[])),
        }
    }
}
