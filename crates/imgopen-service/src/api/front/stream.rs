//! The stream of a connection, which fails when it is to be closed, and when its caller reads too little.
//!
//! A caller who reads nothing for the setting `connections.stall` is cut. One who reads a little now and then is cut by its
//! average: it may keep the service waiting for four times that long, and every byte that it takes earns some of that time
//! back, at [`LEAST`] bytes a second. A slow mobile connection carries twice as much, so an honest caller never uses it up.
//! The system reports what was read in portions of some 100 KiB (the door sees to that), so a caller who reads 8 KiB a second
//! is never cut by the default limit of 30 seconds.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::line::Line;
use super::lines::Place;

/// How many bytes a second a caller must read on average.
const LEAST: u64 = 1024;

/// How many times the longest time without progress a caller may keep the service waiting in all. The system takes answers in
/// portions: several of them must fit in, or the average would depend on how the first one falls.
const PORTIONS: u32 = 4;

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

    /// How long a caller may keep the service waiting before it has read anything.
    fn credit(self) -> Duration {
        self.usual.saturating_mul(PORTIONS)
    }
}

/// The stream of a connection.
#[derive(Debug)]
pub struct Stream<S = TcpStream> {
    inner: S,
    place: Place,
    patience: Patience,
    /// How much longer the caller may keep the service waiting.
    credit: Duration,
    stuck: Option<Stuck>,
}

/// A write that waits for the caller to read.
#[derive(Debug)]
struct Stuck {
    since: Instant,
    limit: Pin<Box<Sleep>>,
    /// Whether the limit is that of a stop.
    is_stopping: bool,
}

impl<S> Stream<S> {
    /// Puts a stream in its place.
    pub fn new(inner: S, place: Place, patience: Patience) -> Self {
        Self { inner, place, patience, credit: patience.credit(), stuck: None }
    }

    /// The connection.
    pub fn line(&self) -> &Arc<Line> {
        &self.place.line
    }

    /// Takes the outcome of a write. Fails if its caller has read too little for too long.
    fn poll_written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Poll::Ready(outcome) = written else { return self.poll_stuck(cx).map(Err) };
        if let Some(stuck) = self.stuck.take() {
            self.place.line.stuck(None);
            self.credit = self.credit.saturating_sub(stuck.since.elapsed());
        }
        if self.credit < self.patience.credit()
            && let Ok(count) = &outcome
        {
            let earned = Duration::from_micros((*count as u64).saturating_mul(1_000_000) / LEAST);
            self.credit = self.credit.saturating_add(earned).min(self.patience.credit());
        }
        Poll::Ready(outcome)
    }

    /// Waits for the caller to read, at most until its time is up.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.place.line.poll_cut(cx).is_ready() {
            return Poll::Ready(closed());
        }
        let (place, patience, credit) = (&self.place, self.patience, self.credit);
        let stuck = self.stuck.get_or_insert_with(|| {
            let since = Instant::now();
            place.line.stuck(Some(since));
            let limit = Box::pin(tokio::time::sleep(patience.usual.min(credit)));
            Stuck { since, limit, is_stopping: false }
        });
        if place.is_stopping() && !stuck.is_stopping {
            stuck.is_stopping = true;
            let soon = Instant::now() + patience.stopping;
            if soon < stuck.limit.deadline() {
                stuck.limit.as_mut().reset(soon);
            }
        }
        ready!(stuck.limit.as_mut().poll(cx));
        tracing::debug!("a connection is closed, because its caller reads too little");
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the caller reads too little"))
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
            Poll::Pending => this.place.line.poll_cut(cx).map(|()| Err(closed())),
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
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::lines::Lines;
    use super::*;

    /// What the system holds for a caller before it has to read.
    const HELD: usize = 64 * 1024;

    const STALL: Duration = Duration::from_secs(30);

    async fn connection(lines: &Arc<Lines>) -> (Stream<DuplexStream>, DuplexStream) {
        let (inner, caller) = duplex(HELD);
        let place = lines.admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).await;
        (Stream::new(inner, place, Patience::new(STALL)), caller)
    }

    /// Sends so much to a caller who reads a portion after each pause. Returns how long that took, and how it ended.
    async fn sent(bytes: usize, portion: usize, pause: Duration) -> (Duration, io::Result<()>) {
        let (mut stream, mut caller) = connection(&Arc::new(Lines::new(1))).await;
        tokio::spawn(async move {
            let mut buffer = vec![0; portion];
            loop {
                tokio::time::sleep(pause).await;
                if caller.read_exact(&mut buffer).await.is_err() {
                    return;
                }
            }
        });
        let begun = Instant::now();
        let outcome = stream.write_all(&vec![7; bytes]).await;
        (begun.elapsed(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_reads_nothing_is_cut_after_the_limit() {
        let (after, outcome) = sent(HELD + 1, 1, STALL * 2).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((STALL..STALL * 2).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_reads_slowly_gets_everything() {
        // At 2 KiB a second, for half an hour: in small portions, and in portions that take nearly all of the limit.
        let bytes = 2 * 1024 * 1800;
        for (portion, pause) in [(1024, Duration::from_millis(500)), (58 * 1024, Duration::from_secs(29))] {
            let (after, outcome) = sent(bytes, portion, pause).await;
            outcome.unwrap();
            assert!(after > STALL * PORTIONS, "{after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_reads_a_little_now_and_then_is_cut() {
        // Never without progress for long.
        for (portion, pause) in [(1, Duration::from_secs(5)), (1024, STALL - Duration::from_secs(1))] {
            let (after, outcome) = sent(10 * 1024 * 1024, portion, pause).await;
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut, "{portion}");
            assert!((STALL * PORTIONS..STALL * PORTIONS * 2).contains(&after), "{portion}: {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_shortens_the_limit() {
        let lines = Arc::new(Lines::new(1));
        let (mut stream, _caller) = connection(&lines).await;
        stream.line().begin(true);
        let writing = tokio::spawn(async move { stream.write_all(&vec![0; HELD + 1]).await });
        tokio::task::yield_now().await;
        let begun = Instant::now();
        lines.stop();
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < STALL, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_cut_connection_reads_and_writes_nothing() {
        let lines = Arc::new(Lines::new(1));
        let (mut stream, mut caller) = connection(&lines).await;
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
