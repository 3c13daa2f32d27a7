//! A connect timeout for each call, while all calls share one pool.
//!
//! reqwest has a connect timeout only for a whole client. A call therefore stores its limit in a task-local variable, and a
//! layer around the connector reads it: hyper opens a connection within the call that needs it.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;

tokio::task_local! {
    static LIMIT: Duration;
}

/// Runs a call with a time limit for each connection it opens.
pub(crate) async fn within<F: Future>(limit: Duration, call: F) -> F::Output {
    LIMIT.scope(limit, call).await
}

/// No connection was made within this time. reqwest carries it as the cause of its own error.
#[derive(Debug, thiserror::Error)]
#[error("no connection was made within {0:?}")]
pub(crate) struct ConnectTimeout(pub(crate) Duration);

/// A layer that puts the limit around a connector.
#[derive(Debug, Clone)]
pub(crate) struct ConnectLimit;

/// A connector with a time limit.
#[derive(Debug, Clone)]
pub(crate) struct Limited<S>(S);

impl<S> Layer<S> for ConnectLimit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited(inner)
    }
}

impl<S, R> Service<R> for Limited<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> Self::Future {
        // Without a limit of its own, the connection is bounded by the time of the whole call.
        let limit = LIMIT.try_with(|limit| *limit).unwrap_or(Duration::MAX);
        let connecting = self.0.call(target);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectTimeout(limit).into()),
            }
        })
    }
}
