//! A receiver of the callbacks that the API pushes when a job ends.
//!
//! The address that a request names must end in the id of its operation, for the pushed bodies of different operations
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
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::FutureExt;
use imgopen_types::{Callback, CallbackReceipt, Envelope, SUCCESS_CODE};
use tracing::{debug, warn};

/// The most bytes that a pushed body may have.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// How long a pushed body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Routes `POST /{operation}` to the handler.
///
/// When the handler returns `Ok`, the push is acknowledged with `{"code":"200"}`. When it returns an error or
/// panics, or the body does not fit the document, it is not, and the API pushes again later. A push may come twice, so a
/// handler must be able to take the same one again.
///
/// The API documents no signature: whoever knows the address can push. Make its path hard to guess, or ask for the job's
/// state before acting on a push.
pub fn receiver<H, F, E>(handler: H) -> Router
where
    H: Fn(Callback) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let route = move |Path(operation): Path<String>, request: Request| {
        let handler = handler.clone();
        async move {
            let callback = match accept(&operation, request).await {
                Ok(callback) => callback,
                Err(refusal) => return refusal,
            };
            let handled = AssertUnwindSafe(async { handler(callback).await }).catch_unwind().await;
            let panicked = |_| Err("the handler panicked".to_owned());
            acknowledge(&operation, handled.map_or_else(panicked, |outcome| outcome.map_err(|error| error.to_string())))
        }
    };
    let wrong_method = || async { refusal(StatusCode::METHOD_NOT_ALLOWED, "push with POST".to_owned()) };
    let no_path = || async { refusal(StatusCode::NOT_FOUND, "push to the path of an operation".to_owned()) };
    Router::new().route("/{operation}", post(route)).method_not_allowed_fallback(wrong_method).fallback(no_path)
}

async fn accept(operation: &str, request: Request) -> Result<Callback, Response> {
    let body: Bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_LIMIT)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            let msg = format!("the body is larger than {BODY_LIMIT} bytes or did not arrive whole: {error}");
            return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, msg));
        }
        Err(_) => return Err(refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    };
    let unknown = || refusal(StatusCode::NOT_FOUND, format!("no operation `{operation}` pushes callbacks"));
    let callback = Callback::read(operation, &body).ok_or_else(unknown)?;
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
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "not handled; push again".to_owned())
        }
    }
}

fn refusal(status: StatusCode, msg: String) -> Response {
    (status, Json(Envelope { code: status.as_str().to_owned(), msg })).into_response()
}
