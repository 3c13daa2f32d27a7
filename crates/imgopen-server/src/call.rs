//! From an HTTP request to a checked call: keys, media type, size, JSON, bounds, in that order.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use imgopen_types::{Credentials, Operation, read};

use crate::{Caller, Failure, Options};

/// Extracts the caller's keys in a hand-written route; the generated routes do it themselves.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use imgopen_server::Keys;
///
/// let app: Router = Router::new()
///     .route("/whoami", get(|Keys(keys): Keys| async move { keys.access_key_id().to_owned() }));
/// ```
#[derive(Debug, Clone)]
pub struct Keys(pub Credentials);

impl<S: Sync> FromRequestParts<S> for Keys {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        keys(&parts.headers, None).map(Self)
    }
}

/// The state that all handlers share, made by the generated routers.
pub struct Shared<S> {
    pub(crate) service: Arc<S>,
    pub(crate) options: Arc<Options>,
    pub(crate) authorize: Authorize,
}

/// The service's own decision on keys, from either trait.
pub(crate) type Authorize = Arc<
    dyn Fn(&'static Operation, Credentials) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> + Send + Sync,
>;

impl<S> Shared<S> {
    pub(crate) fn new(service: Arc<S>, options: Options, authorize: Authorize) -> Self {
        Self { service, options: Arc::new(options), authorize }
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        let (service, options, authorize) = (self.service.clone(), self.options.clone(), self.authorize.clone());
        Self { service, options, authorize }
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Extracts the service that a router was made for.
#[derive(Debug)]
pub struct Service<S>(pub Arc<S>);

impl<S: Send + Sync + 'static> FromRequestParts<Shared<S>> for Service<S> {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, shared: &Shared<S>) -> Result<Self, Failure> {
        Ok(Self(shared.service.clone()))
    }
}

/// Extracts a call: the caller, whose keys the service allowed, and a request that fits the document.
///
/// The first thing that is wrong decides the answer: 401 for the keys, 415 for the media type, 413 for the size, 400 for
/// what is not JSON, 422 for what breaks the document's rules, which lists every fault.
#[derive(Debug)]
pub struct Call<T> {
    /// The caller.
    pub caller: Caller,
    /// The request.
    pub request: T,
}

impl<T: imgopen_types::Request, S: Send + Sync + 'static> FromRequest<Shared<S>> for Call<T> {
    type Rejection = Failure;

    async fn from_request(http: Request, shared: &Shared<S>) -> Result<Self, Failure> {
        let (parts, body) = http.into_parts();
        let keys = keys(&parts.headers, shared.options.anonymous.as_ref())?;
        (shared.authorize)(T::operation(), keys.clone()).await?;
        media_type(&parts.headers)?;
        let body = bytes(&parts.headers, body, &shared.options).await?;
        let request = read(&body)?;
        Ok(Self { caller: Caller::new(keys, parts.headers), request })
    }
}

fn keys(headers: &HeaderMap, anonymous: Option<&Credentials>) -> Result<Credentials, Failure> {
    let header = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value.map(|value| value.as_bytes()).unwrap_or_default()),
            _ => Err(Failure::unauthorized(format!("the header `{name}` is sent more than once; send it once"))),
        }
    };
    let (id, secret) = (header(Credentials::ID_HEADER)?, header(Credentials::SECRET_HEADER)?);
    if let (b"", b"", Some(anonymous)) = (id, secret, anonymous) {
        return Ok(anonymous.clone());
    }
    let text = |name: &str, value: &[u8]| match std::str::from_utf8(value) {
        Ok("") => {
            Err(Failure::unauthorized(format!("the header `{name}` is missing or empty; send your access key in it")))
        }
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Failure::unauthorized(format!("the header `{name}` is not a text; send your access key in it"))),
    };
    Ok(Credentials::new(text(Credentials::ID_HEADER, id)?, text(Credentials::SECRET_HEADER, secret)?))
}

fn media_type(headers: &HeaderMap) -> Result<(), Failure> {
    let given: Vec<_> = headers.get_all(CONTENT_TYPE).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let given = given.join(", ");
    let (essence, parameters) = given.split_once(';').unwrap_or((&given, ""));
    let charset = parameters.to_ascii_lowercase().replace([' ', '"'], "");
    let is_utf8 = !charset.contains("charset=") || charset.contains("charset=utf-8");
    if essence.trim().eq_ignore_ascii_case("application/json") && is_utf8 {
        return Ok(());
    }
    let problem = if given.is_empty() { "missing".to_owned() } else { format!("`{given}`") };
    let msg = format!("the header `Content-Type` is {problem}; send JSON as `application/json`");
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, msg))
}

async fn bytes(headers: &HeaderMap, body: Body, options: &Options) -> Result<Vec<u8>, Failure> {
    let limit = options.body_limit;
    let too_large =
        || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes; send less"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(options.body_timeout, Limited::new(body, limit).collect()).await;
    let slow = |_| {
        let seconds = options.body_timeout.as_secs_f64();
        Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {seconds} seconds; send it faster"),
        )
    };
    let bytes = collected.map_err(slow)?.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(),
        false => Failure::bad_request(format!("the body did not arrive whole: {error}")),
    })?;
    let bytes = bytes.to_bytes();
    if bytes.is_empty() {
        return Err(Failure::bad_request("the body is empty; send a JSON object"));
    }
    Ok(bytes.into())
}
