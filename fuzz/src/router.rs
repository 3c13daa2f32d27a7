//! The generated router on requests as text: the answer must be the operation's or the envelope.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::response::Parts;
use axum::http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use imgopen_server::{Options, complete, routes};
use imgopen_tests::calls::{read_request, read_response};
use imgopen_tests::recorder::{Record, Recorder};
use imgopen_types::{Envelope, read};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use crate::memory::{BODIES, bounded};
use crate::seeds::{self, BODY_LIMIT};

/// The statuses of refusals. A server that has every operation and no slow callers gives no other failure.
const REFUSALS: [u16; 7] = [400, 401, 404, 405, 413, 415, 422];

thread_local! {
    static SERVER: Server = Server::new();
}

/// Gives the bytes to the router as a request: method and address, headers, an empty line, the body.
///
/// Invalid methods, addresses and headers are skipped, because no HTTP library would pass them to a router.
///
/// # Panics
///
/// When the router panics, takes too much memory, calls the service with an invalid request, or gives an answer that is
/// neither the operation's nor the envelope.
pub fn router(bytes: &[u8]) {
    if let Some(request) = parse(bytes) {
        SERVER.with(|server| server.judge(request, bytes.len()));
    }
}

fn parse(bytes: &[u8]) -> Option<Request<Body>> {
    let (head, body) = split(bytes);
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = Uri::try_from(words.next()?).ok()?;
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.method_mut() = method;
    *request.uri_mut() = target;
    request.headers_mut().extend(lines.filter_map(header));
    Some(request)
}

/// Splits the bytes at the first empty line.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let empty = |gap: &[u8]| bytes.windows(gap.len()).position(|window| window == gap).map(|at| (at, at + gap.len()));
    let first = [empty(b"\n\n"), empty(b"\r\n\r\n")].into_iter().flatten().min();
    first.map_or((bytes, &[]), |(end, start)| (&bytes[..end], &bytes[start..]))
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((HeaderName::from_bytes(&line[..colon]).ok()?, value))
}

/// The router of a service that has every operation, with a runtime.
struct Server {
    router: Router,
    recorder: Recorder,
    runtime: Runtime,
}

impl Server {
    fn new() -> Self {
        let recorder = Recorder::default();
        let options = Options::default().body_limit(BODY_LIMIT);
        let router = complete(routes(Arc::new(recorder.clone()), options));
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime needs nothing");
        let server = Self { router, recorder, runtime };
        // The first answers parse and compress the documents, which must not count as the memory of a request.
        for request in seeds::router().iter().filter_map(|seed| parse(&seed.bytes)) {
            server.answer(request);
        }
        server.recorder.take();
        server
    }

    fn answer(&self, request: Request<Body>) -> (Parts, Bytes) {
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
            let (parts, body) = answer.into_parts();
            (parts, body.collect().await.expect("a body in memory does not fail").to_bytes())
        })
    }

    fn judge(&self, request: Request<Body>, length: usize) {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (parts, body) = bounded(BODIES, length, "the router", || self.answer(request));
        let records = self.recorder.take();
        match (parts.status, records.as_slice()) {
            (StatusCode::OK, [record]) => success(record, &body),
            (StatusCode::OK, []) => document(&method, &path),
            (_, []) => refusal(&method, &parts, &body),
            (status, records) => panic!("{status} with {} calls of the service", records.len()),
        }
        if path != "/openapi.yaml" || parts.status != StatusCode::OK {
            assert_eq!(parts.headers[CONTENT_TYPE], "application/json", "{method} {path}");
        }
    }
}

/// Checks a call of the service: its request is canonical, and its answer is what arrived.
fn success(record: &Record, body: &[u8]) {
    let operation = record.operation;
    let again = read_request(operation, record.request.as_bytes());
    let again = again.unwrap_or_else(|error| panic!("{operation} was called with what it refuses: {error}"));
    assert_eq!(again, record.request, "{operation} was called with a request that is written in another way");
    read_response(operation, body).unwrap_or_else(|error| panic!("{operation} answered what it may not: {error}"));
}

/// Checks a 200 without a call of the service, which only the document may have.
fn document(method: &Method, path: &str) {
    let reading = [Method::GET, Method::HEAD].contains(method);
    let known = ["/openapi.yaml", "/openapi.json"].contains(&path);
    assert!(reading && known, "{method} {path} is answered with 200, but no operation was called");
}

fn refusal(method: &Method, parts: &Parts, body: &[u8]) {
    let status = parts.status.as_u16();
    assert!(REFUSALS.contains(&status), "answered with {status}: {}", String::from_utf8_lossy(body));
    if method == Method::HEAD && body.is_empty() {
        return;
    }
    let envelope: Envelope = read(body).unwrap_or_else(|error| panic!("{status} without the envelope: {error}"));
    assert_eq!(envelope.code, status.to_string(), "the envelope has another code than the answer");
    assert!(!envelope.msg.is_empty(), "{status} without a text");
}
