//! Servers that the service calls: hosts of pictures and receivers of callbacks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

/// Serves routes on a free port for as long as the test runs.
pub async fn host(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// The answer that acknowledges a callback.
pub const TAKEN: (u16, &str) = (200, r#"{"code":"200"}"#);

/// A receiver that records the pushes it gets.
#[derive(Clone, Default)]
pub struct Receiver {
    pushes: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    last: Option<(u16, &'static str)>,
}

impl Receiver {
    /// Gives these answers in turn, and then acknowledges.
    pub async fn answering(answers: &[(u16, &'static str)]) -> (Self, String) {
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        Self { answers, ..Self::default() }.listen().await
    }

    /// Always gives this answer.
    pub async fn always(answer: (u16, &'static str)) -> (Self, String) {
        Self { last: Some(answer), ..Self::default() }.listen().await
    }

    async fn listen(self) -> (Self, String) {
        let receiver = self.clone();
        let take = move |headers: HeaderMap, body: Bytes| async move {
            receiver.pushes.lock().unwrap().push((headers, body));
            let next = receiver.answers.lock().unwrap().pop_front();
            let (status, body) = next.or(receiver.last).unwrap_or(TAKEN);
            (StatusCode::from_u16(status).unwrap(), body)
        };
        let address = host(Router::new().route("/enlarge_image", post(take))).await;
        (self, format!("http://{address}/enlarge_image"))
    }

    /// Returns every push so far.
    pub fn pushes(&self) -> Vec<(HeaderMap, Bytes)> {
        self.pushes.lock().unwrap().clone()
    }
}
