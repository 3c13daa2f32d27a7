//! Announces how long idle connections are kept, so that no caller uses one at the moment at which it is closed.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue, Request, Version};

use super::lines::Lines;

/// What answers announce.
#[derive(Debug, Clone)]
pub struct KeepAlive {
    /// In whole seconds, and never more than a connection is kept. `None` if that is less than one.
    timeout: Option<HeaderValue>,
    lines: Arc<Lines>,
}

impl KeepAlive {
    /// Announces that connections are idle for so long at most.
    pub fn new(idle: Duration, lines: Arc<Lines>) -> Self {
        let seconds = Some(idle.as_secs()).filter(|seconds| *seconds > 0);
        let timeout = seconds.and_then(|seconds| HeaderValue::try_from(format!("timeout={seconds}")).ok());
        Self { timeout, lines }
    }

    /// Returns what the answer to a request announces: nothing if the connection ends with it.
    pub fn of<B>(&self, request: &Request<B>) -> Option<Self> {
        let values = request.headers().get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let is_last = values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"));
        (request.version() == Version::HTTP_11 && !is_last).then(|| self.clone())
    }

    /// Adds it to the headers of an answer, unless the service stops or the answer says otherwise.
    pub fn announce(self, headers: &mut HeaderMap) {
        let Some(timeout) = self.timeout.filter(|_| !self.lines.is_stopping()) else { return };
        if !headers.contains_key(CONNECTION) {
            headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
            headers.insert("keep-alive", timeout);
        }
    }
}
