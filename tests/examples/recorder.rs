//! The recording server on its own, for programs that are not written in Rust.
//!
//! `cargo run -p imgopen-tests --example recorder [PORT]` listens on this machine, on a free port unless one is given,
//! prints `ready: URL` and works until it is killed. `GET /recorded` returns what has come since the last such call, as a
//! JSON list; everything else is the API, with the document's examples as answers.

use std::error::Error;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use imgopen_server::{Options, complete};
use imgopen_tests::recorder::{Record, Recorder};
use imgopen_tests::wire::url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = match std::env::args().nth(1) {
        Some(text) => text.parse().map_err(|_| format!("`{text}` is not a port; give a number from 0 to 65535"))?,
        None => 0,
    };
    let recorder = Recorder::default();
    let listener =
        TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| format!("listening on port {port}: {error}"))?;
    println!("ready: {}", url(listener.local_addr()?));
    axum::serve(listener, app(recorder)).await?;
    Ok(())
}

/// The API, and beside it what was recorded.
fn app(recorder: Recorder) -> Router {
    let records = recorder.clone();
    let recorded = get(move || {
        let text = Value::from_iter(records.take().into_iter().map(record_json)).to_string();
        async move { ([(CONTENT_TYPE, "application/json")], text) }
    });
    complete(recorder.routes(Options::default()).merge(Router::new().route("/recorded", recorded)))
}

/// One record for other programs: the request as JSON in the order in which the server's type writes it.
fn record_json(record: Record) -> Value {
    let (id, secret) = record.keys;
    let request: Value = serde_json::from_str(&record.request).unwrap_or(Value::String(record.request));
    json!({
        "operation": record.operation,
        "accessKeyId": id,
        "accessKeySecret": secret,
        "parameter": record.parameter,
        "request": request,
    })
}
