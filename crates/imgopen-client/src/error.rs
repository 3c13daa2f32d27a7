//! The errors of a call, distinguished by where they happen: before sending, on the way, by HTTP status, by envelope code, in decoding.

use std::time::Duration;

use bytes::Bytes;
use imgopen_types::{Envelope, JobState, ReadError};
use reqwest::StatusCode;

/// The error of a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request breaks the contract, so it was not sent. Every fault is listed.
    #[error("the request was not sent: {0}")]
    InvalidRequest(String),

    /// The server could not be reached, or its answer did not arrive.
    #[error("the server did not answer: {}", chain(.0))]
    Transport(#[source] reqwest::Error),

    /// The answer is larger than [`Settings::answer_limit`](crate::Settings::answer_limit).
    #[error("the answer is larger than {limit} bytes; set a higher limit if that is to be expected")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },

    /// The server answered with an HTTP status that is not a success.
    #[error("HTTP {status}{}", shown_answer(.envelope.as_deref(), .body))]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// The envelope, if the body is one.
        envelope: Option<Box<Envelope>>,
        /// How long to wait before a retry, if the server says so.
        retry_after: Option<Duration>,
        /// The body as it came.
        body: Bytes,
    },

    /// The server answered HTTP 200, but with an envelope whose code is not `"200"`.
    #[error("code {:?}: {}", .envelope.code, .envelope.msg)]
    Code {
        /// The HTTP status.
        status: StatusCode,
        /// The envelope.
        envelope: Box<Envelope>,
        /// The body as it came.
        body: Bytes,
    },

    /// The server answered with a success that does not fit the document.
    #[error("HTTP {status}, but the answer cannot be read: {source}")]
    Decode {
        /// The HTTP status.
        status: StatusCode,
        /// What does not fit.
        source: ReadError,
        /// The body as it came.
        body: Bytes,
    },

    /// The answer is a success without data.
    #[error("the answer `{answer}` is a success without data")]
    MissingData {
        /// Name of the answer's schema.
        answer: &'static str,
    },

    /// The awaited job ended without a result.
    #[error("the job {id} ended as {state:?}{}", .desc.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    JobEnded {
        /// The id that the job was queried with.
        id: String,
        /// Its final state.
        state: JobState,
        /// The server's text, if it gave one.
        desc: Option<String>,
    },

    /// The awaited job did not end in time. It may still do so; query it again by its id.
    #[error("the job {id} did not end within {deadline:?}; {}", last_known(*.last, .last_error.as_deref()))]
    Deadline {
        /// The id that the job was queried with.
        id: String,
        /// The time limit of the wait.
        deadline: Duration,
        /// Its state in the last report, if there was one.
        last: Option<JobState>,
        /// Why there is no later report, if the last query failed.
        last_error: Option<Box<Error>>,
    },
}

impl Error {
    /// The error of a wait whose deadline has passed.
    pub(crate) fn deadline(id: &str, deadline: Duration, last: Option<JobState>, last_error: Option<Error>) -> Self {
        Error::Deadline { id: id.to_owned(), deadline, last, last_error: last_error.map(Box::new) }
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Error::Status { status, .. } | Error::Code { status, .. } | Error::Decode { status, .. } => Some(*status),
            Error::Transport(error) => error.status(),
            _ => None,
        }
    }

    /// The envelope of the answer, if it was one.
    pub fn envelope(&self) -> Option<&Envelope> {
        match self {
            Error::Status { envelope, .. } => envelope.as_deref(),
            Error::Code { envelope, .. } => Some(envelope),
            _ => None,
        }
    }

    /// The body of the answer as it came, if there was one.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Error::Status { body, .. } | Error::Code { body, .. } | Error::Decode { body, .. } => Some(body),
            _ => None,
        }
    }

    /// Returns how long the server asks to wait before a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns whether a retry may succeed: what may pass ([`Error::may_pass`]), except for an answer that is too large, as the next
    /// one would be.
    pub fn is_retryable(&self) -> bool {
        self.may_pass() && !matches!(self, Error::TooLarge { .. })
    }

    /// Returns whether a wait goes on after this error of a query, because the state of the job is only not known yet: no
    /// answer arrived, it cannot be read, or its status is 408, 425, 429 or 5xx except 501, which is permanent. An
    /// envelope whose code is such a number counts like the status, whatever the HTTP status is. So does a temporary redirect
    /// (302, 303, 307), which the API does not have: it leads to the page of a proxy, such as one about maintenance.
    pub fn may_pass(&self) -> bool {
        let passes = |status: u16| matches!(status, 200..=299 | 302 | 303 | 307 | 408 | 425 | 429 | 500 | 502..=599);
        match self {
            Error::Transport(error) => !error.is_builder(),
            Error::TooLarge { .. } | Error::Decode { .. } | Error::MissingData { .. } => true,
            Error::Status { status, .. } => passes(status.as_u16()),
            Error::Code { envelope, .. } => envelope.code.parse().is_ok_and(passes),
            _ => false,
        }
    }

    /// Returns whether the server surely has not processed the request, so that repeating it is safe whatever it asks for: there
    /// was no connection to send it over, or it was put off with 425 or 429, as the status or as the code of an envelope.
    pub fn is_unprocessed(&self) -> bool {
        match self {
            Error::Transport(error) => error.is_connect(),
            Error::Status { status, .. } => matches!(status.as_u16(), 425 | 429),
            Error::Code { envelope, .. } => matches!(envelope.code.as_str(), "425" | "429"),
            _ => false,
        }
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Error::Transport(error)
    }
}

/// What a wait knew when its deadline passed.
fn last_known(last: Option<JobState>, error: Option<&Error>) -> String {
    match (last, error) {
        (Some(state), None) => format!("last seen: {state:?}"),
        (Some(state), Some(error)) => format!("last seen: {state:?}; the last query failed: {error}"),
        (None, Some(error)) => format!("the last query failed: {error}"),
        (None, None) => "no query was answered".to_owned(),
    }
}

/// The error with its causes, which reqwest's own text leaves out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The envelope's text, or the beginning of any other body.
fn shown_answer(envelope: Option<&Envelope>, body: &Bytes) -> String {
    const LONGEST: usize = 200;
    match envelope {
        Some(envelope) => format!(", code {:?}: {}", envelope.code, envelope.msg),
        None if body.is_empty() => String::new(),
        None => format!(": {}", String::from_utf8_lossy(body).chars().take(LONGEST).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        Error::Status { status, envelope: None, retry_after: None, body: Bytes::new() }
    }

    fn code(code: &str) -> Error {
        let envelope = Box::new(Envelope { code: code.to_owned(), msg: String::new() });
        Error::Code { status: StatusCode::OK, envelope, body: Bytes::new() }
    }

    #[test]
    fn a_wait_outlasts_what_may_pass() {
        for passing in [204, 302, 303, 307, 408, 425, 429, 500, 502, 503, 504, 507, 520, 599] {
            assert!(status(passing).may_pass(), "{passing}");
        }
        for lasting in [301, 304, 308, 400, 401, 403, 404, 405, 409, 410, 422, 451, 501] {
            assert!(!status(lasting).may_pass(), "{lasting}");
        }
        let unreadable = imgopen_types::read::<Envelope>(b"<html>").unwrap_err();
        assert!(Error::Decode { status: StatusCode::OK, source: unreadable, body: Bytes::new() }.may_pass());
        assert!(Error::TooLarge { limit: 1 }.may_pass() && Error::MissingData { answer: "A" }.may_pass());
        assert!(code("429").may_pass() && code("503").may_pass());
        assert!(!code("404").may_pass() && !code("501").may_pass());
        assert!(!code("10086").may_pass() && !code("no quota").may_pass());
        assert!(!Error::InvalidRequest(String::new()).may_pass());
    }

    #[test]
    fn what_was_put_off_was_not_processed() {
        assert!(status(425).is_unprocessed() && status(429).is_unprocessed());
        for perhaps in [408, 500, 502, 503, 504] {
            assert!(!status(perhaps).is_unprocessed(), "{perhaps}");
        }
        assert!(code("429").is_unprocessed() && !code("503").is_unprocessed() && !code("10086").is_unprocessed());
    }

    #[test]
    fn what_may_pass_is_worth_a_retry() {
        let unreadable = imgopen_types::read::<Envelope>(b"<html>").unwrap_err();
        assert!(Error::Decode { status: StatusCode::OK, source: unreadable, body: Bytes::new() }.is_retryable());
        assert!(status(204).is_retryable() && code("503").is_retryable() && code("429").is_retryable());
        assert!(!code("10086").is_retryable() && !status(301).is_retryable());
        assert!(!Error::TooLarge { limit: 1 }.is_retryable(), "the next answer is as large");
    }

    #[test]
    fn a_deadline_names_the_last_error() {
        let error = |last, error| Error::deadline("7", Duration::from_secs(60), last, error).to_string();
        let running = Some(JobState::Running);
        assert_eq!(error(running, None), "the job 7 did not end within 60s; last seen: Running");
        let failed = "the last query failed: HTTP 502 Bad Gateway";
        assert_eq!(error(None, Some(status(502))), format!("the job 7 did not end within 60s; {failed}"));
        let both = format!("the job 7 did not end within 60s; last seen: Running; {failed}");
        assert_eq!(error(running, Some(status(502))), both);
        assert_eq!(error(None, None), "the job 7 did not end within 60s; no query was answered");
    }
}
