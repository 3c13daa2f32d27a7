//! What the generated routers are put together from: answers, path parameters, and the envelope for all else.

use std::any::Any;
use std::str::FromStr;

use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use imgopen_types::Operation;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Failure;

/// The answer of an operation.
pub(crate) fn answer<T: Serialize>(result: Result<T, Failure>) -> Response {
    match result {
        Ok(answer) => Json(answer).into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// The value of an operation's path parameter. A slash in it may come as it is or as `%2F`.
pub(crate) fn parameter<T: FromStr>(operation: &Operation, path: &str) -> Result<T, Failure> {
    let found = operation
        .parameters
        .first()
        .and_then(|parameter| {
            let (before, after) = operation.path.split_once(&format!("{{{}}}", parameter.name))?;
            let raw = path.strip_prefix(before)?.strip_suffix(after)?;
            let value = percent_decode_str(raw).decode_utf8().ok()?.into_owned();
            Some((parameter, value))
        })
        .ok_or_else(|| no_such_path(path))?;
    let (parameter, value) = found;
    let checked = parameter.check(Some(&value));
    let value = checked.map_err(|problem| Failure::not_found(format!("`{}`: {problem}", parameter.name)))?;
    value.parse().map_err(|_| no_such_path(path))
}

/// Adds to routes what every answer must have: the envelope for unknown paths, wrong methods and panics.
///
/// ```
/// use std::sync::Arc;
/// use imgopen_server::{ImgOpen, Options, complete, routes};
///
/// struct MyServer;
/// impl ImgOpen for MyServer {}
///
/// let health = axum::Router::new().route("/healthz", axum::routing::get(|| async { "ok" }));
/// let app = complete(routes(Arc::new(MyServer), Options::default()).merge(health));
/// # let _: axum::Router = app;
/// ```
pub fn complete(routes: Router) -> Router {
    routes
        .fallback(|uri: Uri| async move { no_such_path(uri.path()) })
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
}

fn no_such_path(path: &str) -> Failure {
    let shown: String = path.chars().take(200).collect();
    Failure::not_found(format!("there is nothing at `{shown}`; the paths are listed at /openapi.json"))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    let shown: String = uri.path().chars().take(200).collect();
    let msg = format!("`{shown}` does not take {method}; the header `Allow` lists what it takes");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, msg)
}

/// The panic's text goes to the log, not to the caller.
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("(no text)"), "a handler panicked");
    Failure::internal("the server failed on this request; see its log").into_response()
}
