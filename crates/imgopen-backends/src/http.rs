//! The HTTP client for back ends: bounded times and sizes, and errors by what they mean for a task.
//!
//! The operator chose the address, so it may be private. Nothing of it reaches callers: messages name the back end, and what
//! the server said goes through [`shown`].

mod transfer;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use imgopen_engine::EngineError;
use regex_lite::Regex;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::debug;
use url::Url;

use crate::exhausted::exhausted;
use crate::settings::{BackendSettings, Password};

const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer that holds no pictures, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;
/// The slowest connection that large answers are expected over, in bytes per second.
const SLOWEST: u64 = 4 * 1024 * 1024;
/// The largest error that is read, in bytes.
const MAX_ERROR: u64 = 64 * 1024;
/// How much memory is reserved for an answer that is said to be long, in bytes.
const MAX_RESERVED: u64 = 256 * 1024 * 1024;
/// How much of a server's message is shown, in characters.
const MAX_MESSAGE: usize = 200;

/// A client for one back end.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: Url,
    login: Option<(String, Option<Password>)>,
    /// How long the server may take for an answer that needs no work.
    answer: Duration,
}

/// Why a call has no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Nothing answers, or the connection broke.
    #[error("{0}")]
    Away(String),
    /// The server answered with an error.
    #[error("it answered with status {status}{}", if message.is_empty() { String::new() } else { format!(": {message}") })]
    Status {
        /// The status.
        status: u16,
        /// What the server said, as it may be shown.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("its answer cannot be used: {0}")]
    Unusable(String),
}

/// What was answered, if it is not a fault of the way there.
pub(crate) enum Answer {
    /// It is a success.
    Success(Bytes),
    /// It has status 400.
    Refusal(Bytes),
}

impl CallError {
    /// What a failed call means for a task. Errors of proxies, logins and missing routes are not the request's fault.
    pub(crate) fn into_engine(self, name: &str) -> EngineError {
        let text = format!("the back end `{name}` cannot make the pictures: {self}");
        let unavailable = |reason: String| EngineError::Unavailable { reason, retry_after: None };
        match self {
            Self::Away(problem) => unavailable(format!("the back end `{name}` is away: {problem}")),
            Self::Status { status: 401 | 403, .. } => {
                unavailable(format!("the back end `{name}` rejects the login; check its `user` and `password`"))
            }
            Self::Status { status: 408 | 429 | 502..=504, .. } => unavailable(text),
            Self::Status { status: 404 | 405, message }
                if ["", "Not Found", "Method Not Allowed"].contains(&&*message) =>
            {
                unavailable(format!("the back end `{name}` does not have the API; start it with its API switched on"))
            }
            Self::Status { status: 400..=499, message } => {
                EngineError::Rejected { field: None, problem: format!("the back end `{name}` refuses it: {message}") }
            }
            Self::Status { message, .. } => match exhausted(&message) {
                Some(advice) => unavailable(format!("{text}; {advice}")),
                None => EngineError::Failed(text),
            },
            Self::Unusable(_) => EngineError::Failed(text),
        }
    }

    /// What a call that failed means for a task if it was not about its job, such as a question before that is sent: whatever the
    /// server answers is not the task's fault.
    pub(crate) fn into_unavailable(self, name: &str) -> EngineError {
        match self.into_engine(name) {
            EngineError::Rejected { problem: reason, .. } | EngineError::Failed(reason) => {
                EngineError::Unavailable { reason, retry_after: None }
            }
            other => other,
        }
    }

    /// Returns whether the server answered that it does not have the path.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status: 404 | 405, .. })
    }
}

impl Http {
    /// Creates a client. Redirects are not followed, because the login would be sent along.
    pub(crate) fn new(settings: &BackendSettings, answer: Duration) -> Result<Self, String> {
        settings.check()?;
        let url = settings.url.clone().ok_or("`url` is missing; give the address of the program")?;
        Self::to(url, settings.login()?, answer)
    }

    /// Creates a client for an address.
    pub(crate) fn to(url: Url, login: Option<(String, Option<Password>)>, answer: Duration) -> Result<Self, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("imgopen/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .http1_only()
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        if is_here(&url) {
            builder = builder.no_proxy();
        }
        let mut base = url;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let client = builder.build().map_err(|error| format!("no HTTP client can be made: {error}"))?;
        Ok(Self { client, base, login, answer })
    }

    /// Fetches JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        parse(&self.call(Method::GET, path, None, Some(self.answer), MAX_ANSWER).await?)
    }

    /// Sends JSON to a path that answers at once, and returns the answer.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, CallError> {
        parse(&self.call(Method::POST, path, Some(body), Some(self.answer), MAX_ANSWER).await?)
    }

    /// Fetches an answer of at most that many bytes, which may take longer the larger it may be.
    pub(crate) async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, CallError> {
        let time = self.answer + Duration::from_secs(limit / SLOWEST);
        self.call(Method::GET, path, None, Some(time), limit).await
    }

    /// Sends JSON to a path that works for as long as it takes, and returns an answer of at most that many bytes.
    pub(crate) async fn work(&self, path: &str, body: &Value, limit: u64) -> Result<Bytes, CallError> {
        self.call(Method::POST, path, Some(body), None, limit).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        time: Option<Duration>,
        limit: u64,
    ) -> Result<Bytes, CallError> {
        let mut request = self.request(method, path)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(time) = time {
            request = request.timeout(time);
        }
        succeeded(path, request, limit).await
    }

    /// Begins a request, with the login.
    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, CallError> {
        let url = self.base.join(path).map_err(|error| CallError::Unusable(format!("`{path}`: {error}")))?;
        let request = self.client.request(method, url);
        Ok(match &self.login {
            Some((user, password)) => request.basic_auth(user, password.as_ref().map(Password::expose)),
            None => request,
        })
    }
}

/// Sends a request, and returns the answer of at most that many bytes if it is a success.
async fn succeeded(path: &str, request: RequestBuilder, limit: u64) -> Result<Bytes, CallError> {
    let response = request.send().await.map_err(away)?;
    let status = response.status();
    if status.is_success() {
        return read(response, limit).await;
    }
    let body = read(response, MAX_ERROR).await.unwrap_or_default();
    Err(refused(path, status, &body))
}

/// What an answer with an error means.
fn refused(path: &str, status: StatusCode, body: &[u8]) -> CallError {
    debug!(path, status = status.as_u16(), body = %String::from_utf8_lossy(body), "a back end answered with an error");
    CallError::Status { status: status.as_u16(), message: message(status, body) }
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Unusable(format!("it is not the expected JSON ({error})")))
}

async fn read(mut response: Response, limit: u64) -> Result<Bytes, CallError> {
    let too_large = || CallError::Unusable(format!("it is larger than {limit} bytes"));
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let expected = response.content_length().unwrap_or(0).min(MAX_RESERVED);
    let mut body = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Describes a failure without the address.
fn away(error: reqwest::Error) -> CallError {
    let text = if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        "no connection can be made"
    } else {
        "the connection broke"
    };
    debug!(error = &error as &dyn std::error::Error, "a call to a back end failed");
    CallError::Away(text.to_owned())
}

/// Finds what an error says: `message` of the web UI's exceptions, or `errors` of those of A1111, and `detail` of FastAPI.
fn message(status: StatusCode, body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return status.canonical_reason().unwrap_or_default().to_owned();
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(message) = text("message").or_else(|| text("errors").filter(|_| text("detail").is_none())) {
        return match text("error") {
            Some(error) => shown(&format!("{error}: {message}")),
            None => shown(message),
        };
    }
    let first = body.get("detail").and_then(|detail| detail.get(0));
    let of_field = first.and_then(|first| {
        let place = first.get("loc")?.as_array()?.iter().filter_map(Value::as_str).next_back()?;
        Some(format!("`{place}`: {}", first.get("msg")?.as_str()?))
    });
    shown(&of_field.or_else(|| text("detail").or_else(|| text("error")).map(str::to_owned)).unwrap_or_default())
}

/// Makes a server's message fit to be shown to callers: one short line without paths and addresses.
pub(crate) fn shown(message: &str) -> String {
    let words = message.split_whitespace().map(|word| if is_place(word) { "…" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Whether a word has a path, an IP address, a host with its port, or a host that is called so.
fn is_place(word: &str) -> bool {
    static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"(?i)host(?:name)?=|\d{1,3}(?:\.\d{1,3}){3}|[a-z][a-z0-9.-]*:\d{2,5}(?:[^0-9]|$)";
        Regex::new(pattern).expect("the pattern is valid")
    });
    let is_path = word.contains(['\\', '/']) && word.len() > 1;
    // Only whole parts, because `std::bad_alloc` ends like an address.
    let mut parts = word.split(|c: char| !(c.is_alphanumeric() || c == ':' || c == '_' || c == '.'));
    is_path || ADDRESS.is_match(word) || parts.any(|part| part.contains(':') && part.parse::<Ipv6Addr>().is_ok())
}

/// Whether an address leads to this machine, which no proxy could reach.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, message: &str) -> EngineError {
        CallError::Status { status, message: message.to_owned() }.into_engine("mine")
    }

    #[test]
    fn an_error_means_that_the_request_the_server_or_the_way_to_it_is_at_fault() {
        assert!(matches!(status(422, "Script 'Nope' not found"), EngineError::Rejected { .. }));
        assert!(matches!(status(404, "Init image not found"), EngineError::Rejected { .. }));
        assert!(matches!(status(500, "ZeroDivisionError"), EngineError::Failed(_)));
        assert!(matches!(status(500, "OutOfMemoryError: CUDA out of memory"), EngineError::Failed(_)));
        let full = status(500, "OSError: [Errno 28] No space left on device");
        assert!(matches!(&full, EngineError::Unavailable { reason, .. } if reason.contains("make room")), "{full:?}");
        assert!(matches!(CallError::Unusable(String::new()).into_engine("mine"), EngineError::Failed(_)));
        for (code, message) in
            [(404, "Not Found"), (405, "Method Not Allowed"), (401, ""), (502, "Bad Gateway"), (429, "")]
        {
            assert!(matches!(status(code, message), EngineError::Unavailable { .. }), "{code}");
        }
        assert!(matches!(CallError::Away(String::new()).into_engine("mine"), EngineError::Unavailable { .. }));
        for error in [
            CallError::Unusable("it is long".to_owned()),
            CallError::Status { status: 500, message: "KeyError".to_owned() },
            CallError::Status { status: 422, message: "`x`: Field required".to_owned() },
        ] {
            let said = error.clone().into_engine("mine");
            let EngineError::Unavailable { reason, .. } = error.into_unavailable("mine") else { panic!("{said:?}") };
            assert!(reason.contains("`mine`") && said.to_string().ends_with(&reason), "{reason}");
        }
    }

    #[test]
    fn messages_have_no_paths_and_are_short() {
        let long = "x".repeat(1000);
        assert_eq!(shown("No such file:\n '/home/me/models/a.pt' (see C:\\x) a / b"), "No such file: … (see … a / b");
        assert_eq!(shown(&long).chars().count(), MAX_MESSAGE + 1);
    }

    #[test]
    fn messages_have_no_addresses() {
        for (message, expected) in [
            ("cannot reach 10.0.0.5:8188", "cannot reach …"),
            ("cannot reach (10.0.0.5)", "cannot reach …"),
            ("HTTPConnectionPool(host='proxy.corp', port=8080): Max retries", "… port=8080): Max retries"),
            ("connect to comfy.internal:8188: refused", "connect to … refused"),
            ("connect to localhost:80 failed", "connect to … failed"),
            ("no route to [::1]:8188 or fe80::1%eth0", "no route to … or …"),
            ("torch 2.1.0 at node 5: std::bad_alloc", "torch 2.1.0 at node 5: std::bad_alloc"),
            ("generation_failed: 64 of 128", "generation_failed: 64 of 128"),
        ] {
            assert_eq!(shown(message), expected);
        }
    }

    #[test]
    fn the_useful_part_of_an_error_is_found() {
        let of = |body: &str| message(StatusCode::INTERNAL_SERVER_ERROR, body.as_bytes());
        let cases = [
            (r#"{"error":"KeyError","detail":"","body":"","message":"'nope'"}"#, "KeyError: 'nope'"),
            (r#"{"error":"OSError","detail":"","body":"","errors":"[Errno 28] x"}"#, "OSError: [Errno 28] x"),
            (
                r#"{"error":"HTTPException","detail":"Sampler not found","body":"","errors":"404: Sampler not found"}"#,
                "Sampler not found",
            ),
            (r#"{"error":"AssertionError","detail":"","body":"","errors":""}"#, "AssertionError"),
            (r#"{"detail":"Invalid encoded image"}"#, "Invalid encoded image"),
            (
                r#"{"detail":[{"type":"int_parsing","loc":["body","width"],"msg":"not a number"}]}"#,
                "`width`: not a number",
            ),
            ("<html>", "Internal Server Error"),
            ("[]", ""),
        ];
        for (body, expected) in cases {
            assert_eq!(of(body), expected);
        }
    }

    #[test]
    fn a_path_in_the_address_is_kept() {
        let base = |url: &str| {
            let http = Http::new(&BackendSettings::new(url.parse().unwrap()), Duration::ZERO).unwrap();
            http.base.join("sdapi/v1/options").unwrap().to_string()
        };
        assert_eq!(base("http://a.example:7860"), "http://a.example:7860/sdapi/v1/options");
        assert_eq!(base("http://a.example/ui"), "http://a.example/ui/sdapi/v1/options");
    }
}
