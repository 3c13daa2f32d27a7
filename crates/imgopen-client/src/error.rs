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
    #[error("the job {id} did not end within {deadline:?}; last seen: {last:?}")]
    Deadline {
        /// The id that the job was queried with.
        id: String,
        /// The time limit of the wait.
        deadline: Duration,
        /// Its state at the last query, if there was one.
        last: Option<JobState>,
    },
}

impl Error {
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

    /// Returns whether a retry may succeed: no answer arrived, or the status is 408, 429 or 5xx except 501, which is
    /// permanent.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Transport(error) => !error.is_builder(),
            Error::Status { status, .. } => {
                let passing = *status == StatusCode::REQUEST_TIMEOUT || *status == StatusCode::TOO_MANY_REQUESTS;
                passing || (status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED)
            }
            _ => false,
        }
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        Error::Transport(error)
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
