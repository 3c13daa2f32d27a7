//! The routes beside the contract's: pictures, health, metrics.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http_range_header::parse_range_header;
use imgopen_server::{Credentials, Failure, Options, complete, extras_routes, routes};

use crate::ids::AssetToken;
use crate::keys::OPEN;
use crate::metrics;
use crate::service::Service;
use crate::store::AssetRow;

/// How long a picture may be kept by whoever fetched it, in seconds: a year, for it never changes.
const YEAR: u64 = 365 * 24 * 60 * 60;

impl Service {
    /// Everything that the service answers.
    pub fn router(&self) -> Router {
        let requests = &self.inner.settings.requests;
        let mut options = Options::default().body_limit(requests.body_bytes);
        if self.inner.settings.open {
            options = options.anonymous(Credentials::new(OPEN, ""));
        }
        let api = routes(Arc::new(self.clone()), options.clone());
        let extras = extras_routes(Arc::new(self.clone()), options);

        let own = Router::new()
            .route("/", get(|| async { Redirect::temporary("/docs") }))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/assets/{token}", get(asset))
            .route("/previews/{token}", get(preview))
            .with_state(self.clone());
        complete(api.merge(extras).merge(own))
    }
}

/// Whether the service takes tasks: not when it is about to stop, nor when the database does not answer.
async fn ready(State(service): State<Service>) -> Result<&'static str, Failure> {
    if service.inner.stopping.is_cancelled() {
        return Err(Failure::unavailable("the service is stopping"));
    }
    service.inner.store.write(|_| Ok(())).await?;
    Ok("ready\n")
}

async fn metrics(State(service): State<Service>) -> Result<Response, Failure> {
    let inner = &service.inner;
    let text = inner.metrics.text(inner.queue.counts(), inner.store.asset_bytes().await?);
    Ok(([(CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}

async fn asset(
    State(service): State<Service>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let token = AssetToken(token);
    let row = service.inner.store.asset(token.clone()).await?;
    let row = row.ok_or_else(|| Failure::not_found("there is no such picture; check the URL"))?;
    let now = service.inner.clock.now();
    if row.deleted_at.is_some() || row.expires_at.is_some_and(|end| end <= now) {
        return Err(Failure::new(StatusCode::GONE, "the picture has been deleted, for its time is over"));
    }
    let left = row.expires_at.map_or(YEAR, |end| end.since(now).as_secs().min(YEAR));
    let mut response = part(&service, &token, &row, &headers).await?;
    let answered = response.headers_mut();
    answered.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answered.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    insert(answered, CACHE_CONTROL, &format!("private, max-age={left}, immutable"));
    insert(answered, ETAG, &etag(&token));
    Ok(response)
}

/// The picture, the part of it that is asked for, or that the caller has it already.
async fn part(service: &Service, token: &AssetToken, row: &AssetRow, headers: &HeaderMap) -> Result<Response, Failure> {
    let tag = etag(token);
    let given = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // Proxies that pack an answer make its tag a weak one. Here, unlike with `If-Range`, that is as good.
    let is_this = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag;
    if given(IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|one| is_this(one.trim()))) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    // A part of a picture that is not this one would be of no use.
    let range = given(RANGE).filter(|_| given(IF_RANGE).is_none_or(|one| one == tag));
    let mut ranges = match range.map(parse_range_header) {
        Some(Ok(parsed)) => match parsed.validate(row.bytes) {
            Ok(ranges) => ranges,
            Err(_) => return Ok(not_satisfiable(row.bytes)),
        },
        // What is no range is to be ignored, says HTTP.
        Some(Err(_)) | None => Vec::new(),
    };
    // So are several ranges, if a server likes.
    let range = ranges.pop().filter(|_| ranges.is_empty());
    let (start, end) = range.as_ref().map_or((0, row.bytes), |range| (*range.start(), *range.end() + 1));
    let stream = service.inner.assets.stream(token, start..end).await.map_err(|error| {
        tracing::error!(%error, "a picture cannot be read");
        Failure::internal("the picture cannot be read; the server's log tells more")
    })?;
    let mut response = Body::from_stream(stream).into_response();
    insert(response.headers_mut(), CONTENT_TYPE, &row.media_type);
    insert(response.headers_mut(), CONTENT_LENGTH, &(end - start).to_string());
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes {start}-{}/{}", end - 1, row.bytes));
    }
    Ok(response)
}

fn not_satisfiable(bytes: u64) -> Response {
    let msg = format!("the picture has {bytes} bytes, and the header `Range` asks for others");
    let mut response = Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, msg).into_response();
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{bytes}"));
    response
}

async fn preview(State(service): State<Service>, Path(token): Path<String>) -> Result<Response, Failure> {
    let picture = service.inner.running.preview(&AssetToken(token));
    let picture = picture.ok_or_else(|| Failure::not_found("there is no such preview; its task has ended"))?;
    let headers =
        [(CONTENT_TYPE, picture.format.media_type()), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, picture.bytes).into_response())
}

/// A token names one picture for ever, so it tells versions apart too.
fn etag(token: &AssetToken) -> String {
    format!("\"{token}\"")
}

fn insert(headers: &mut HeaderMap, name: axum::http::HeaderName, value: &str) {
    // Numbers and hexadecimal digits fit a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
