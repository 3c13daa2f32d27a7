//! The stream of a connection, which fails when it is to be closed, and when its caller reads nothing for too long.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::lines::{Line, Place};

/// How long callers may read nothing.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// While the service runs.
    usual: Duration,
    /// From when it stops.
    stopping: Duration,
}

impl Patience {
    /// The patience of a running service.
    pub fn new(usual: Duration) -> Self {
        Self { usual, stopping: usual.min(Duration::from_secs(2)) }
    }
}

/// The stream of a connection.
#[derive(Debug)]
pub struct Stream<S = TcpStream> {
    inner: S,
    place: Place,
    patience: Patience,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    stuck: Option<Stuck>,
}

/// A write that waits for the caller to read.
#[derive(Debug)]
struct Stuck {
    limit: Pin<Box<Sleep>>,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<S> Stream<S> {
    /// Puts a stream in its place.
    pub fn new(inner: S, place: Place, patience: Patience) -> Self {
        let cut = Box::pin(place.line.cutting().clone().cancelled_owned());
        Self { inner, place, patience, cut, stuck: None }
    }

    /// The connection.
    pub fn line(&self) -> &Arc<Line> {
        &self.place.line
    }

    /// Registers for the end of the connection.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.cut.as_mut().poll(cx).map(|()| closed())
    }

    /// Takes the outcome of a write. Without progress, fails after the limit.
    fn poll_written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.stuck.take().is_some() {
                self.place.line.stuck(false);
            }
            return written;
        }
        if let Poll::Ready(error) = self.poll_cut(cx) {
            return Poll::Ready(Err(error));
        }
        let (place, patience) = (&self.place, self.patience);
        let stuck = self.stuck.get_or_insert_with(|| {
            place.line.stuck(true);
            Stuck {
                limit: Box::pin(tokio::time::sleep(patience.usual)),
                stopping: Some(Box::pin(place.stopping().clone().cancelled_owned())),
            }
        });
        if stuck.stopping.as_mut().is_some_and(|stopping| stopping.as_mut().poll(cx).is_ready()) {
            stuck.stopping = None;
            let soon = Instant::now() + patience.stopping;
            if soon < stuck.limit.deadline() {
                stuck.limit.as_mut().reset(soon);
            }
        }
        ready!(stuck.limit.as_mut().poll(cx));
        tracing::debug!("a connection is closed, because its caller does not read");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // What arrives after the cut must not complete a request.
        if this.place.line.is_cut() {
            return Poll::Ready(Err(closed()));
        }
        match Pin::new(&mut this.inner).poll_read(cx, buffer) {
            Poll::Pending => this.poll_cut(cx).map(Err),
            ready => ready,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.place.line.is_cut() {
            return Poll::Ready(Err(closed()));
        }
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.place.line.is_cut() {
            return Poll::Ready(Err(closed()));
        }
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// Called by the HTTP implementation when it has nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.place.line.sent();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection is being closed")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::lines::Lines;
    use super::*;

    const LONG: Duration = Duration::from_secs(60 * 60);
    const SHORT: Duration = Duration::from_millis(20);

    /// A connection whose stream takes 8 bytes until the caller reads.
    async fn connection(lines: &Arc<Lines>, patience: Patience) -> (Stream<DuplexStream>, DuplexStream) {
        let (inner, caller) = duplex(8);
        (Stream::new(inner, lines.admit().await, patience), caller)
    }

    #[tokio::test]
    async fn a_caller_who_reads_nothing_is_cut_after_the_limit() {
        let (mut stream, _caller) = connection(&Arc::new(Lines::new(1)), Patience::new(SHORT)).await;
        assert_eq!(stream.write_all(&[0; 99]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_caller_who_reads_slowly_gets_everything() {
        let (mut stream, mut caller) = connection(&Arc::new(Lines::new(1)), Patience::new(SHORT * 50)).await;
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 240];
            for part in bytes.chunks_mut(4) {
                tokio::time::sleep(SHORT).await;
                caller.read_exact(part).await.unwrap();
            }
            bytes
        });
        // Longer than the limit, but never without progress for so long.
        stream.write_all(&[7; 240]).await.unwrap();
        assert_eq!(reading.await.unwrap(), [7; 240]);
    }

    #[tokio::test]
    async fn a_stop_shortens_the_limit() {
        let lines = Arc::new(Lines::new(1));
        let (mut stream, _caller) = connection(&lines, Patience { usual: LONG, stopping: SHORT }).await;
        stream.line().begin();
        stream.line().answer();
        let writing = tokio::spawn(async move { stream.write_all(&[0; 99]).await });
        tokio::task::yield_now().await;
        lines.stop();
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_cut_connection_reads_and_writes_nothing() {
        let lines = Arc::new(Lines::new(1));
        let (mut stream, mut caller) = connection(&lines, Patience::new(LONG)).await;
        let reading = tokio::spawn(async move {
            let error = stream.read_u8().await.unwrap_err();
            (stream, error.kind())
        });
        tokio::task::yield_now().await;
        lines.stop();
        let (mut stream, kind) = reading.await.unwrap();
        assert_eq!(kind, io::ErrorKind::ConnectionAborted);
        caller.write_all(b"late").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(stream.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
