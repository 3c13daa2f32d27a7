//! Notes on each connection where its current call is: its body whole, its answer complete.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use axum_server::accept::Accept;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use imgopen_server::Failure;
use tower_service::Service;

use super::lines::Line;
use super::stream::Stream;

/// Ties the calls of a connection to it.
#[derive(Debug, Clone, Copy)]
pub struct Attach;

impl<S> Accept<Stream, S> for Attach {
    type Stream = Stream;
    type Service = Calls<S>;
    type Future = Ready<io::Result<(Stream, Calls<S>)>>;

    fn accept(&self, stream: Stream, inner: S) -> Self::Future {
        let calls = Calls { inner, line: stream.line().clone() };
        ready(Ok((stream, calls)))
    }
}

/// The calls of a connection.
#[derive(Debug, Clone)]
pub struct Calls<S> {
    inner: S,
    line: Arc<Line>,
}

impl<S, B> Service<Request<B>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let line = self.line.clone();
        if !line.begin() {
            // Nobody reads this: the connection is being closed.
            let closed = Failure::unavailable("the connection is being closed; connect again");
            return Box::pin(ready(Ok(closed.into_response())));
        }
        if request.body().is_end_stream() {
            line.answer();
        }
        let request = request.map(|body| Body::new(Incoming { body, line: line.clone() }));
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            line.answer();
            Ok(response.map(|body| Body::new(Outgoing { body, line })))
        })
    }
}

/// The body of a request.
struct Incoming<B> {
    body: B,
    line: Arc<Line>,
}

impl<B: HttpBody + Unpin> HttpBody for Incoming<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || (frame.is_ready() && this.body.is_end_stream()) {
            this.line.answer();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, dropped when all of it is handed over to be sent.
struct Outgoing {
    body: Body,
    line: Arc<Line>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.line.answered();
    }
}
