//! A server with only the vendor's operations, scripted by a test.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use imgopen_tests::wire::{serve, url};
use serde_json::{Value, json};

/// A call that arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its path, without the common prefix.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

/// Chooses the status and the answer to a call; none stands for an unknown path, 404.
type Decide = dyn Fn(&Call, usize) -> Option<(u16, Value)> + Send + Sync;

/// The server.
#[derive(Clone)]
pub struct Vendor {
    /// Its URL.
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Vendor {
    /// Starts the server. The closure also gets the number of earlier calls of the same path.
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

/// Returns a successful answer with data.
pub fn success(data: Value) -> Option<(u16, Value)> {
    Some((200, json!({ "code": "200", "msg": "success", "data": data })))
}
