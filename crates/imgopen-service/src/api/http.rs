//! The router: the contract's routes, and those of pictures, health and metrics.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http_range_header::parse_range_header;
use imgopen_engine::Format;
use imgopen_server::{Credentials, Failure, Options, complete, extras_routes, routes};
use imgopen_store::{AssetRow, AssetToken, KeyId};

use super::hosts::{self, Hosts};
use super::waiting::Waiting;
use super::{Api, cors, counting, failures, front, open};
use crate::assets::{AssetError, attachment};
use crate::context::Context;
use crate::fleet::counts::Numbers;
use crate::fleet::{gauges, previews};
use crate::metrics::Gauges;
use crate::metrics::form::Form;
use crate::plurals::counted;
use crate::tasks::{audit, needs};

/// How long a cache may keep a picture, in seconds: a year, because it never changes.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// Returns the router of the whole service, for any server.
pub fn router(context: &Arc<Context>) -> Router {
    routes_of(context).layer(from_fn_with_state(hosts_of(context), hosts::check))
}

/// Returns which hosts the service answers.
pub fn hosts_of(context: &Context) -> Hosts {
    Hosts { is_open: context.settings.open }
}

/// Returns the routes of the whole service, for a server that checks hosts. A process that only runs tasks has few.
pub fn routes_of(context: &Arc<Context>) -> Router {
    let settings = &context.settings;
    let watch = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    if !settings.role.answers_calls() {
        return complete(watch.with_state(context.clone()));
    }
    let mut options =
        Options::default().body_limit(settings.requests.body_bytes).body_timeout(settings.requests.body_time);
    if settings.open {
        options = options.anonymous(Credentials::new(KeyId::OPEN, ""));
    }
    let waiting = Waiting::new(front::places(&settings.connections));
    let api = Arc::new(Api { context: context.clone(), waiting });
    let (vendor, extras) = (routes(api.clone(), options.clone()), extras_routes(api, options));
    let own = watch
        .route("/", get(|| async { Redirect::temporary("/docs") }))
        .route("/assets/{token}", get(asset))
        .route("/previews/{token}", get(preview))
        .with_state(context.clone());
    let routes = complete(vendor.merge(extras).merge(own));
    let routes = match settings.open {
        true => routes.layer(from_fn_with_state(context.clone(), open::ignore_placeholder)),
        false => routes,
    };
    let routes = routes.layer(from_fn_with_state(context.clone(), counting::count));
    match cors::layer(&settings.allow_origin) {
        Some(layer) => routes.layer(layer),
        None => routes,
    }
}

/// Whether a task could be accepted and finished now. Back ends that are away are listed, but only the operations that the
/// operator requires make the service unready.
async fn ready(State(context): State<Arc<Context>>) -> Result<String, Failure> {
    if context.stopping.is_cancelled() {
        return Err(failures::not_now("the service is stopping"));
    }
    let mut faults = context.health.check().await.err().unwrap_or_default();
    faults.extend(needs::lacking(&context.engines, &context.settings.required));
    faults.extend(audit::lacking(&context));
    if !faults.is_empty() {
        return Err(failures::not_now(&faults.join("; ")));
    }
    let mut text = "ready\n".to_owned();
    if context.fleet.as_ref().is_some_and(|fleet| fleet.is_draining()) {
        match context.running.count() {
            0 => text += "drained\n",
            runs => text += &format!("draining: {}\n", counted(runs as u64, "task")),
        }
    }
    let away = context.backends().into_iter().filter_map(|backend| Some((backend.name, backend.away?)));
    Ok(away.fold(text, |text, (name, reason)| format!("{text}away: {name}: {reason}\n")))
}

async fn metrics(State(context): State<Arc<Context>>, headers: HeaderMap) -> Result<Response, Failure> {
    let accept: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let form = Form::preferred(&accept.join(","));
    let lease_age = context.fleet.as_ref().and_then(|fleet| fleet.lease_age());
    let gauges = match context.settings.role.answers_calls() {
        true => {
            let Numbers { queued, running, asset_bytes, unknown, processes } =
                gauges::numbers(&context).await.map_err(failures::of_store)?;
            Gauges { queued, running, asset_bytes, unknown, processes, lease_age }
        }
        false => Gauges { lease_age, ..Gauges::default() },
    };
    let text = context.metrics.text(gauges, context.backends());
    let headers = [(CONTENT_TYPE, form.media_type()), (VARY, "accept")];
    Ok((headers, form.write(text)).into_response())
}

async fn asset(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let token = token(path)?;
    failures::check_database(&context)?;
    let row = context.store.asset(token.clone()).await.map_err(failures::of_store)?;
    let row = row.ok_or_else(|| Failure::not_found("there is no such picture; check the URL"))?;
    let now = context.clock.now();
    if row.expires_at.is_some_and(|end| end <= now) {
        return Err(Failure::new(StatusCode::GONE, "the picture has expired and was deleted"));
    }
    if row.deleted_at.is_some() {
        return Err(lost());
    }
    let left = row.expires_at.map_or(YEAR, |end| end.since(now).as_secs().min(YEAR));
    // A signature is for one method.
    if method == Method::GET
        && !is_known(&token, &headers)
        && let Some(link) = context.assets.link(&token, row.bytes).await.map_err(|error| unreadable(&token, error))?
    {
        return Ok(redirect(&link.url, link.fresh_for.as_secs().min(left)));
    }
    let mut response = part(&context, &token, &row, &headers).await?;
    let answered = response.headers_mut();
    answered.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answered.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    insert(answered, CACHE_CONTROL, &format!("private, max-age={left}, immutable"));
    insert(answered, ETAG, &etag(&token));
    if let Some(name) = &row.name {
        insert(answered, CONTENT_DISPOSITION, &attachment(name));
    }
    Ok(response)
}

/// Answers with an address that is valid for a while.
fn redirect(url: &str, fresh_for: u64) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    insert(response.headers_mut(), LOCATION, url);
    insert(response.headers_mut(), CACHE_CONTROL, &format!("private, max-age={fresh_for}"));
    response
}

/// Whether the caller already has the picture.
fn is_known(token: &AssetToken, headers: &HeaderMap) -> bool {
    let tag = etag(token);
    // Proxies that compress an answer weaken its tag. Here a weak tag is enough, in `If-Range` it is not.
    let is_this = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag;
    given(headers, IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|one| is_this(one.trim())))
}

fn given(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Returns the picture, the requested part of it, or 304 if the caller already has it.
async fn part(context: &Context, token: &AssetToken, row: &AssetRow, headers: &HeaderMap) -> Result<Response, Failure> {
    if is_known(token, headers) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    // A range of another picture is ignored.
    let range = given(headers, RANGE).filter(|_| given(headers, IF_RANGE).is_none_or(|one| one == etag(token)));
    let mut ranges = match range.map(parse_range_header) {
        Some(Ok(parsed)) => match parsed.validate(row.bytes) {
            Ok(ranges) => ranges,
            Err(_) => return Ok(not_satisfiable(row.bytes)),
        },
        // HTTP says to ignore a malformed range.
        Some(Err(_)) | None => Vec::new(),
    };
    // HTTP also allows the whole as the answer to several ranges.
    let range = ranges.pop().filter(|_| ranges.is_empty());
    let (start, end) = range.as_ref().map_or((0, row.bytes), |range| (*range.start(), *range.end() + 1));
    let stream = context.assets.stream(token, start..end, row.bytes).await;
    let stream = stream.map_err(|error| unreadable(token, error))?;
    let mut response = Body::from_stream(stream).into_response();
    insert(response.headers_mut(), CONTENT_TYPE, &row.media_type);
    insert(response.headers_mut(), CONTENT_LENGTH, &(end - start).to_string());
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes {start}-{}/{}", end - 1, row.bytes));
    }
    Ok(response)
}

/// Answers that a picture cannot be read, and says why in the log.
fn unreadable(token: &AssetToken, error: AssetError) -> Failure {
    let run = token.run();
    match error {
        // Its row stays, so that the file can be put back.
        AssetError::Lost => {
            tracing::warn!(run, "the file of a picture is lost; put it back from a backup, or see `imgopen doctor`");
            lost()
        }
        error @ AssetError::Damaged { .. } => {
            tracing::error!(run, %error, "a picture cannot be read");
            Failure::internal("the picture's file was damaged on the server; start its task again")
        }
        // Its disk or bucket is away or failing, or the process has no descriptor left: that may pass.
        error => {
            tracing::error!(run, %error, "a picture cannot be read");
            failures::not_now("the picture cannot be read at the moment")
        }
    }
}

fn lost() -> Failure {
    Failure::new(StatusCode::GONE, "the picture was deleted or lost on the server; start its task again")
}

fn token(path: Result<Path<String>, PathRejection>) -> Result<AssetToken, Failure> {
    let Path(token) = path.map_err(|_| Failure::bad_request("the path is not UTF-8; check the URL"))?;
    Ok(AssetToken(token))
}

fn not_satisfiable(bytes: u64) -> Response {
    let msg = format!("the header `Range` is outside the picture, which has {bytes} bytes");
    let mut response = Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, msg).into_response();
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{bytes}"));
    response
}

async fn preview(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let token = token(path)?;
    let headers = |format: Format| {
        [(CONTENT_TYPE, format.media_type()), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")]
    };
    if let Some(picture) = context.running.preview(&token) {
        return Ok((headers(picture.format), picture.bytes).into_response());
    }
    let none = || Failure::not_found("there is no such preview; its task has ended");
    let format = previews::format(&token).filter(|_| context.fleet.is_some()).ok_or_else(none)?;
    failures::check_database(&context)?;
    // Results are at their own address, as long as that says so.
    if context.store.asset(token.clone()).await.map_err(failures::of_store)?.is_some() {
        return Err(none());
    }
    match context.assets.without_row(&token).await {
        Ok(Some(stream)) => Ok((headers(format), Body::from_stream(stream)).into_response()),
        // It was replaced at this moment.
        Ok(None) | Err(AssetError::Damaged { .. }) => Err(none()),
        Err(error) => {
            tracing::warn!(run = token.run(), %error, "a preview cannot be read");
            Err(failures::not_now("the preview cannot be read at the moment"))
        }
    }
}

/// The picture behind a token never changes, so the token identifies its version.
fn etag(token: &AssetToken) -> String {
    format!("\"{token}\"")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Always valid: values are numbers, media types, hexadecimal digits and addresses in ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
