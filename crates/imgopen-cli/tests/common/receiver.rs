//! A receiver of callbacks that checks signatures, records pushes, and fails on demand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use imgopen_client::callback::{Push, signed_receiver};
use imgopen_tests::wire::{serve, url};
use serde_json::Value;

/// The reply to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The reply of the client crate's receiver.
    Acknowledge,
    /// HTTP 500.
    Fail,
    /// HTTP 200 with a code that acknowledges nothing.
    WrongCode,
    /// HTTP 500 after ten seconds.
    Hang,
}

/// A push that arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its `webhook-id`.
    pub id: String,
    /// The operation in its path.
    pub operation: String,
    /// Its body.
    pub body: Value,
    /// Whether the signed receiver accepted it.
    pub is_trusted: bool,
    /// The reply to it.
    pub reply: Reply,
}

impl Seen {
    /// The server's id of the task; callbacks of trainings do not contain it.
    pub fn task(&self) -> Option<&str> {
        let data = &self.body["data"];
        data["taskId"].as_str().or(data["task_id"].as_str())
    }
}

/// Chooses the reply to a push, by its id and how often it arrived before.
type Decide = dyn Fn(&str, usize) -> Reply + Send + Sync;

/// The receiver.
#[derive(Clone)]
pub struct Receiver {
    /// Its URL, to be followed by the id of an operation.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Receiver {
    /// Starts a receiver of pushes signed with a secret.
    pub async fn start(secret: &str, decide: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let (seen, decide): (_, Arc<Decide>) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(decide));
        let copy = seen.clone();
        let signed: Router = signed_receiver([secret.parse().unwrap()], |_: Push| async { Ok::<(), String>(()) });
        let watched = signed.layer(from_fn(move |request: Request, next: Next| {
            let (seen, decide) = (copy.clone(), decide.clone());
            async move { observe(&seen, &*decide, request, next).await }
        }));
        Self { url: url(serve(watched).await), seen }
    }

    /// The pushes so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn observe(seen: &Mutex<Vec<Seen>>, decide: &Decide, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let id = head.headers["webhook-id"].to_str().unwrap().to_owned();
    let operation = head.uri.path().trim_matches('/').to_owned();
    let pushed = serde_json::from_slice(&body).unwrap();
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    let before = seen.lock().unwrap().iter().filter(|seen| seen.id == id).count();
    let (is_trusted, reply) = (response.status() == StatusCode::OK, decide(&id, before));
    seen.lock().unwrap().push(Seen { id, operation, body: pushed, is_trusted, reply });
    match reply {
        Reply::Acknowledge => response,
        Reply::Fail => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Reply::Hang => {
            tokio::time::sleep(Duration::from_secs(10)).await;
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Reply::WrongCode => r#"{"code":"0","msg":"not yet"}"#.into_response(),
    }
}
