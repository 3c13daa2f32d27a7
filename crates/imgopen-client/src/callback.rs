//! A receiver of the callbacks that the API pushes when a job ends.
//!
//! The callback URL of a request must end in the id of its operation, because the pushed bodies of different operations
//! differ: `https://me.example/callbacks/outpaint`.
//!
//! ```
//! use imgopen_client::callback;
//! use imgopen_client::types::Callback;
//!
//! let app: axum::Router = axum::Router::new().nest(
//!     "/callbacks",
//!     callback::receiver(|callback: Callback| async move {
//!         if let Callback::Outpaint(answer) = callback {
//!             println!("{:?}", answer.data.output_image_url_list);
//!         }
//!         Ok::<(), String>(())
//!     }),
//! );
//! ```

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::FutureExt;
use imgopen_types::webhook::Claim;
pub use imgopen_types::webhook::{InvalidSecret, MessageId, SigningSecret, Untrusted};
use imgopen_types::{Callback, CallbackReceipt, Envelope, SUCCESS_CODE};
use tracing::{debug, warn};

/// Maximum size of a pushed body, in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// How long a pushed body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A push with a valid signature.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Push {
    /// The id that the sender gave it, the same for every attempt: a push whose id was handled before is a repeat.
    pub id: MessageId,
    /// The pushed body.
    pub callback: Callback,
}

/// Routes `POST /{operation}` to the handler.
///
/// If the handler returns `Ok`, the push is acknowledged with `{"code":"200"}`. If it returns an error or panics, or the
/// body does not fit the document, the push is not acknowledged and the API pushes again later. A push may arrive twice, so
/// a handler must be idempotent.
///
/// The hosted API documents no signature: anyone who knows the address can push. Make its path hard to guess, or query
/// the job's state before acting on a push. [`signed_receiver`] is for servers that sign.
pub fn receiver<H, F, E>(handler: H) -> Router
where
    H: Fn(Callback) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let accept = |operation: String, request: Request| async move {
        let body = whole(request).await?;
        read(&operation, &body)
    };
    routes(accept, handler)
}

/// Routes `POST /{operation}` to the handler like [`receiver`], but only pushes that are signed with one of the secrets, by
/// the rules of Standard Webhooks. All others are answered 401, with what is wrong with which header.
///
/// Pass the old and the new secret while one is replaced. Without any secret, every push is rejected.
///
/// A push is signed again for every attempt and is accepted within five minutes of that. Within these it can be recorded and sent
/// again, and the sender itself tries again when an acknowledgement is lost: keep the ids of the pushes that were handled,
/// and acknowledge a repeat without acting on it.
///
/// The operation in the path is not signed, but the shape of its body is checked.
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::{Arc, Mutex};
///
/// use imgopen_client::callback::{self, Push};
///
/// # fn main() -> Result<(), callback::InvalidSecret> {
/// let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let handled = Arc::new(Mutex::new(HashSet::new()));
/// let app: axum::Router = axum::Router::new().nest(
///     "/callbacks",
///     callback::signed_receiver([secret], move |push: Push| {
///         let handled = handled.clone();
///         async move {
///             let mut handled = handled.lock().map_err(|error| error.to_string())?;
///             if handled.insert(push.id) {
///                 println!("{:?}", push.callback.state());
///             }
///             Ok::<(), String>(())
///         }
///     }),
/// );
/// # Ok(())
/// # }
/// ```
pub fn signed_receiver<H, F, E>(secrets: impl IntoIterator<Item = SigningSecret>, handler: H) -> Router
where
    H: Fn(Push) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let secrets: Arc<[SigningSecret]> = secrets.into_iter().collect();
    let accept = move |operation: String, request: Request| {
        let secrets = secrets.clone();
        async move {
            // A push without valid headers is rejected before its body is read.
            let claim = claim(request.headers()).map_err(|why| untrusted(&operation, &why))?;
            let body = whole(request).await?;
            let id = claim.verify(&secrets, &body).map_err(|why| untrusted(&operation, &why))?;
            Ok(Push { id, callback: read(&operation, &body)? })
        }
    };
    routes(accept, handler)
}

/// Routes what `accept` returns for a push to the handler, and answers everything with the envelope.
fn routes<A, AF, T, H, F, E>(accept: A, handler: H) -> Router
where
    A: Fn(String, Request) -> AF + Clone + Send + Sync + 'static,
    AF: Future<Output = Result<T, Refusal>> + Send + 'static,
    T: Send + 'static,
    H: Fn(T) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let route = move |Path(operation): Path<String>, request: Request| {
        let (accept, handler) = (accept.clone(), handler.clone());
        async move {
            let accepted = match accept(operation.clone(), request).await {
                Ok(accepted) => accepted,
                Err(refusal) => return refusal.into_response(),
            };
            let handled = AssertUnwindSafe(async { handler(accepted).await }).catch_unwind().await;
            let panicked = |_| Err("the handler panicked".to_owned());
            acknowledge(&operation, handled.map_or_else(panicked, |outcome| outcome.map_err(|error| error.to_string())))
        }
    };
    let wrong_method = || async { refusal(StatusCode::METHOD_NOT_ALLOWED, "push with POST".to_owned()) };
    let no_path = || async { refusal(StatusCode::NOT_FOUND, "push to the path of an operation".to_owned()) };
    Router::new().route("/{operation}", post(route)).method_not_allowed_fallback(wrong_method).fallback(no_path)
}

fn claim(headers: &HeaderMap) -> Result<Claim, Untrusted> {
    Claim::read(|name| headers.get(name).map(|value| value.as_bytes()), SystemTime::now())
}

fn untrusted(operation: &str, why: &Untrusted) -> Refusal {
    warn!(operation, %why, "a push is not trusted");
    refusal(StatusCode::UNAUTHORIZED, why.to_string())
}

/// The body, byte for byte.
async fn whole(request: Request) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_LIMIT)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let msg = format!("the body is larger than {BODY_LIMIT} bytes or did not arrive whole: {error}");
            Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, msg))
        }
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    }
}

fn read(operation: &str, body: &Bytes) -> Result<Callback, Refusal> {
    let unknown = || refusal(StatusCode::NOT_FOUND, format!("no operation `{operation}` pushes callbacks"));
    let callback = Callback::read(operation, body).ok_or_else(unknown)?;
    callback.map_err(|error| {
        warn!(operation, %error, "a pushed body does not fit the document");
        refusal(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
    })
}

fn acknowledge(operation: &str, outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => {
            debug!(operation, "callback handled");
            Json(CallbackReceipt { code: SUCCESS_CODE.to_owned() }).into_response()
        }
        Err(error) => {
            warn!(operation, %error, "callback not handled; it will be pushed again");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "not handled; push again".to_owned()).into_response()
        }
    }
}

/// Why a push is rejected.
struct Refusal {
    status: StatusCode,
    msg: String,
}

fn refusal(status: StatusCode, msg: String) -> Refusal {
    Refusal { status, msg }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(Envelope { code: self.status.as_str().to_owned(), msg: self.msg })).into_response()
    }
}
