//! Answers that are failures: always an HTTP status and the envelope.

use std::time::Duration;

use axum::Json;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use imgopen_types::{Credentials, Envelope, ReadError, Violations};

use crate::coding::ACCEPTED;
use crate::refusal::Refusal;

/// A failure of a call, as its caller sees it.
///
/// ```
/// use imgopen_server::Failure;
///
/// let failure = Failure::not_found("no task has the id 7; check the id");
/// assert_eq!(failure.status(), 404);
/// assert_eq!(failure.code(), "404");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    code: String,
    msg: String,
    retry_after: Option<Duration>,
    refusal: Option<Refusal>,
}

impl Failure {
    /// A failure of that status, with its number as the code. Anything but a 4xx or 5xx status becomes 500, because a
    /// failure must not look like a success.
    pub fn new(status: StatusCode, msg: impl Into<String>) -> Self {
        let is_failure = status.is_client_error() || status.is_server_error();
        let status = if is_failure { status } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self { status, code: status.as_str().to_owned(), msg: msg.into(), retry_after: None, refusal: None }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, msg)
    }

    /// 401: the keys are missing or wrong.
    pub fn unauthorized(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, msg)
    }

    /// 403: the keys are right, but not for this.
    pub fn forbidden(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, msg)
    }

    /// 404: the named thing does not exist.
    pub fn not_found(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, msg)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, msg)
    }

    /// 422: the request breaks the contract.
    pub fn unprocessable(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, msg)
    }

    /// 429: too much at once; says when to come again.
    pub fn too_many_requests(msg: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, msg).retry_after(retry_after)
    }

    /// 500: a fault of the server.
    pub fn internal(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, msg)
    }

    /// 501: the server does not have the operation.
    pub fn not_implemented(operation: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("the operation `{operation}` is not implemented by this server"))
    }

    /// 503: not possible now, or not without further configuration.
    pub fn unavailable(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, msg)
    }

    /// Sets the envelope's code. The code of a success cannot be set.
    pub fn with_code(self, code: impl Into<String>) -> Self {
        let code = code.into();
        if code == imgopen_types::SUCCESS_CODE { self } else { Self { code, ..self } }
    }

    /// Says when the caller may come again; sent as whole seconds, rounded up.
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Says what the call is refused for, before its method runs.
    pub(crate) fn for_refusal(self, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The envelope's code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The envelope's text.
    pub fn msg(&self) -> &str {
        &self.msg
    }
}

impl From<Violations> for Failure {
    fn from(violations: Violations) -> Self {
        Self::unprocessable(violations.to_string())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Violations(violations) => violations.into(),
            syntax => Self::bad_request(format!("the body is {syntax}")),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Envelope { code: self.code, msg: self.msg })).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.refusal {
            Some(Refusal::MediaType) => drop(headers.insert(ACCEPT, HeaderValue::from_static("application/json"))),
            Some(Refusal::Coding) => drop(headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED))),
            _ => {}
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = format!("AccessKey headers=\"{}, {}\"", Credentials::ID_HEADER, Credentials::SECRET_HEADER);
            headers.extend(HeaderValue::try_from(challenge).ok().map(|value| (WWW_AUTHENTICATE, value)));
        }
        if let Some(refusal) = self.refusal {
            response.extensions_mut().insert(refusal);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_looks_like_a_success() {
        let failure = Failure::new(StatusCode::OK, "fine").with_code("200");
        assert_eq!((failure.status().as_u16(), failure.code()), (500, "500"));
        assert_eq!(Failure::internal("x").with_code("E7").code(), "E7");
    }

    #[test]
    fn a_wait_is_rounded_up() {
        let response = Failure::too_many_requests("full", Duration::from_millis(1500)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
