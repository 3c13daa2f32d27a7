//! The calls of a connection: notes where the current one is, its body whole or its answer complete, and rejects one for a
//! wrong host before anything else is done.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use axum_server::accept::Accept;
use bytes::Bytes;
use futures_util::future::Either;
use http_body::{Frame, SizeHint};
use imgopen_server::Failure;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::keep_alive::KeepAlive;
use super::line::Line;
use super::stream::Stream;
use crate::api::hosts::Hosts;

/// Ties the calls of a connection to it.
#[derive(Debug, Clone)]
pub struct Attach {
    /// Which hosts are answered.
    pub hosts: Hosts,
    /// What answers announce.
    pub keep_alive: KeepAlive,
}

impl<S> Accept<Stream, S> for Attach {
    type Stream = Stream;
    type Service = Calls<S>;
    type Future = Ready<io::Result<(Stream, Calls<S>)>>;

    fn accept(&self, stream: Stream, inner: S) -> Self::Future {
        let keep_alive = self.keep_alive.clone();
        let calls = Calls { inner, line: stream.line().clone(), hosts: self.hosts, keep_alive };
        ready(Ok((stream, calls)))
    }
}

/// The calls of a connection.
#[derive(Debug, Clone)]
pub struct Calls<S> {
    inner: S,
    line: Arc<Line>,
    hosts: Hosts,
    keep_alive: KeepAlive,
}

impl<S, B> Service<Request<B>> for Calls<S>
where
    S: Service<Request<Incoming<B>>, Response = Response<Body>>,
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<Outgoing>;
    type Error = S::Error;
    type Future = Answering<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (line, keep_alive) = (self.line.clone(), self.keep_alive.of(&request));
        let admitted = match line.begin(request.body().is_end_stream()) {
            true => self.hosts.admit(&request),
            // Nobody reads this: the connection is being closed.
            false => Err(Failure::unavailable("the connection is being closed; connect again")),
        };
        let answer = match admitted {
            Ok(()) => {
                let body_line = line.clone();
                Either::Left(self.inner.call(request.map(|body| Incoming { body, line: body_line })))
            }
            Err(failure) => Either::Right(ready(Ok(failure.into_response()))),
        };
        Answering { answer, line: Some(line), keep_alive }
    }
}

/// An answer without a call.
type Refused<E> = Ready<Result<Response<Body>, E>>;

pin_project! {
    /// A call that is answered.
    pub struct Answering<F, E> {
        #[pin]
        answer: Either<F, Refused<E>>,
        line: Option<Arc<Line>>,
        keep_alive: Option<KeepAlive>,
    }
}

impl<F, E> Future for Answering<F, E>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Outgoing>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.answer.poll(cx).map_ok(|mut response| {
            if let Some(keep_alive) = this.keep_alive.take() {
                keep_alive.announce(response.headers_mut());
            }
            let line = this.line.take();
            if let Some(line) = &line {
                line.answer();
            }
            response.map(|body| Outgoing { body, line })
        })
    }
}

/// The body of a request.
pub struct Incoming<B> {
    body: B,
    line: Arc<Line>,
}

impl<B> HttpBody for Incoming<B>
where
    B: HttpBody + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        let is_last = matches!(frame, Poll::Ready(None)) || (frame.is_ready() && this.body.is_end_stream());
        // Nobody could be answered, so the request must not be carried out.
        if is_last && !this.line.answer() {
            return Poll::Ready(Some(Err("the connection is being closed".into())));
        }
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, dropped when all of it is handed over to be sent.
pub struct Outgoing {
    body: Body,
    line: Option<Arc<Line>>,
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
        if let Some(line) = &self.line {
            line.answered();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt;
    use futures_util::future::poll_fn;

    use super::super::line::Spare;
    use super::super::lines::{Lines, Place};
    use super::*;

    /// Reads the whole request, and answers with its length.
    #[derive(Clone)]
    struct Length;

    impl Service<Request<Incoming<Body>>> for Length {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Incoming<Body>>) -> Self::Future {
            Box::pin(async move {
                let mut body = request.into_body();
                let mut length = 0;
                while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    match frame {
                        Ok(frame) => length += frame.into_data().unwrap_or_default().len(),
                        Err(error) => return Ok(Failure::bad_request(error.to_string()).into_response()),
                    }
                }
                Ok(length.to_string().into_response())
            })
        }
    }

    async fn place() -> Place {
        Arc::new(Lines::new(1)).admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).await
    }

    fn calls(place: &Place) -> Calls<Length> {
        let keep_alive = KeepAlive::new(Duration::from_secs(60), Arc::new(Lines::new(1)));
        Calls { inner: Length, line: place.line.clone(), hosts: Hosts { is_open: false }, keep_alive }
    }

    fn request(host: &str, body: Body) -> Request<Body> {
        Request::builder().uri("/").header("host", host).body(body).unwrap()
    }

    /// Whether the connection is without a request.
    fn is_idle(place: &Place) -> bool {
        place.line.spare(tokio::time::Instant::now()).is_some_and(|(spare, _)| spare == Spare::Idle)
    }

    #[tokio::test]
    async fn a_connection_is_idle_again_when_its_answer_is_sent() {
        let place = place().await;
        for body in [Body::empty(), Body::from("four")] {
            assert!(is_idle(&place));
            let answer = calls(&place).call(request("a", body)).await.unwrap();
            assert_eq!(answer.status(), 200);
            // Nothing is idle before, whatever is flushed.
            place.line.sent();
            assert!(!is_idle(&place));
            drop(answer);
            assert!(!is_idle(&place));
            place.line.sent();
        }
        assert!(is_idle(&place));
    }

    #[tokio::test]
    async fn a_wrong_host_is_answered_and_the_connection_goes_on() {
        let place = place().await;
        let mut twice = request("a", Body::from("four"));
        twice.headers_mut().append("host", "a".parse().unwrap());
        assert_eq!(calls(&place).call(twice).await.unwrap().status(), 400);
        place.line.sent();
        assert!(is_idle(&place));
        assert_eq!(calls(&place).call(request("a", Body::from("four"))).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn a_request_that_becomes_whole_after_the_cut_is_not_carried_out() {
        let place = place().await;
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
        let parts =
            futures_util::stream::poll_fn(move |cx| receive.poll_recv(cx).map(|part| part.map(Ok::<_, BoxError>)));
        let mut answer = pin!(calls(&place).call(request("a", Body::from_stream(parts))));
        send.send(Bytes::from_static(b"half")).unwrap();
        assert!(answer.as_mut().now_or_never().is_none());
        place.line.stop();
        send.send(Bytes::from_static(b"rest")).unwrap();
        drop(send);
        assert_eq!(answer.await.unwrap().status(), 400);
        // Nor is one that comes whole.
        assert_eq!(calls(&place).call(request("a", Body::empty())).await.unwrap().status(), 503);
    }
}
