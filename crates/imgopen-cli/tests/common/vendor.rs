//! A server that has the vendor's operations only, and does what a test says.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use imgopen_tests::wire::{serve, url};
use serde_json::{Value, json};

/// A call that came.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its path, after the part that all have.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

/// Decides on the status and the answer to a call; none is the 404 of a path that the server does not have.
type Decide = dyn Fn(&Call, usize) -> Option<(u16, Value)> + Send + Sync;

/// The server.
#[derive(Clone)]
pub struct Vendor {
    /// Its address.
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Vendor {
    /// Starts it. The decision is told how many calls of that path came before.
    pub async fn start(decide: impl Fn(&Call, usize) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        let (calls, decide): (_, Arc<Decide>) = (Arc::<Mutex<Vec<Call>>>::default(), Arc::new(decide));
        let kept = calls.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (kept, decide) = (kept.clone(), decide.clone());
            async move { answer(&kept, &*decide, request).await }
        });
        Self { url: url(serve(router).await), calls }
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

async fn answer(calls: &Mutex<Vec<Call>>, decide: &Decide, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_start_matches("/AIGCImgOpenServ/saas/").to_owned();
    let body = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap_or_default();
    let call = Call { path, headers: head.headers, body };
    let before = {
        let mut calls = calls.lock().unwrap();
        let before = calls.iter().filter(|known| known.path == call.path).count();
        calls.push(call.clone());
        before
    };
    match decide(&call, before) {
        Some((status, answer)) => {
            let body = Body::from(answer.to_string());
            (StatusCode::from_u16(status).unwrap(), body).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such page").into_response(),
    }
}

/// A success with data.
pub fn success(data: Value) -> Option<(u16, Value)> {
    Some((200, json!({ "code": "200", "msg": "success", "data": data })))
}
