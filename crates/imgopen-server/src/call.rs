//! From an HTTP request to a checked call: keys, media type, size, JSON, bounds, in that order.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use imgopen_types::{Credentials, Operation, ReadError};

use crate::refusal::Refusal;
use crate::{Caller, Failure, Options, body};

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
/// The first thing that is wrong decides the answer: 401 for the keys, 415 for the media type and the content coding, 413 for
/// the size, as it is sent and decoded, 400 for what is not JSON, 422 for what breaks the document's rules, which lists every
/// fault.
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
        let refused = |failure: Failure| match failure.status().as_u16() {
            401 | 403 => failure.for_refusal(Refusal::Keys),
            _ => failure,
        };
        let keys = keys(&parts.headers, shared.options.anonymous.as_ref()).map_err(refused)?;
        (shared.authorize)(T::operation(), keys.clone()).await.map_err(refused)?;
        let body = body::read(&parts.headers, body, &shared.options).await?;
        let request = imgopen_types::read(&body).map_err(unreadable)?;
        Ok(Self { caller: Caller::new(keys, parts.headers), request })
    }
}

fn unreadable(error: ReadError) -> Failure {
    let refusal = match error {
        ReadError::Violations(_) => Refusal::Bounds,
        _ => Refusal::Json,
    };
    Failure::from(error).for_refusal(refusal)
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
