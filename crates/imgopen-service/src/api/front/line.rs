//! A connection, and where it is between two requests. Every call changes that several times, so it takes no locks.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How long a caller may read nothing, or take for a body, before its connection may be closed to make room for another.
pub const SLOW: Duration = Duration::from_secs(5);

/// A connection.
#[derive(Debug)]
pub struct Line {
    /// A [`Phase`].
    phase: AtomicU8,
    /// When it was accepted, its last answer was sent, or the head of its request arrived.
    since: AtomicU64,
    /// Since when its caller reads nothing; 0 if it reads.
    stuck: AtomicU64,
    /// What moments are counted from, in nanoseconds.
    origin: Instant,
    /// The task of the connection, which reads and writes.
    task: AtomicWaker,
}

/// Where a connection is between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// The head of the next request is not there.
    Waiting,
    /// The head is there, the body is not.
    Receiving,
    /// The request is whole, or its answer has begun.
    Answering,
    /// The answer is complete, but not all of it is sent.
    Sending,
    /// It is being closed.
    Cut,
}

/// Why a connection can make room for another. The first ones go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spare {
    /// It is without a request.
    Idle,
    /// The body of its request takes long.
    SlowBody,
    /// Its caller reads nothing of an answer.
    Stuck,
}

impl Line {
    /// A connection that was accepted just now. Moments are counted from the origin, which is before.
    pub fn new(origin: Instant) -> Self {
        let line = Self {
            phase: AtomicU8::new(Phase::Waiting as u8),
            since: AtomicU64::new(0),
            stuck: AtomicU64::new(0),
            origin,
            task: AtomicWaker::new(),
        };
        line.since.store(line.moment(Instant::now()), Relaxed);
        line
    }

    /// The head of a request is there, or all of it. `false` if the connection is being closed; then the request must not
    /// begin.
    pub fn begin(&self, is_whole: bool) -> bool {
        let next = if is_whole {
            Phase::Answering
        } else {
            // Before the phase, so that it never counts as older than it is.
            self.since.store(self.moment(Instant::now()), Relaxed);
            Phase::Receiving
        };
        self.turn(|phase| phase != Phase::Cut as u8, next)
    }

    /// The request is whole, or its answer has begun. `false` if the connection is being closed.
    pub fn answer(&self) -> bool {
        self.turn(|phase| phase == Phase::Receiving as u8, Phase::Answering) || !self.is_cut()
    }

    /// The answer is complete.
    pub fn answered(&self) {
        self.turn(|phase| phase == Phase::Answering as u8, Phase::Sending);
    }

    /// All that was written is sent.
    pub fn sent(&self) {
        if self.phase.load(Acquire) == Phase::Sending as u8 {
            self.since.store(self.moment(Instant::now()), Relaxed);
            self.turn(|phase| phase == Phase::Sending as u8, Phase::Waiting);
        }
    }

    /// The caller reads nothing since then, or reads again.
    pub fn stuck(&self, since: Option<Instant>) {
        self.stuck.store(since.map_or(0, |since| self.moment(since).max(1)), Relaxed);
    }

    /// Whether the connection is being closed.
    pub fn is_cut(&self) -> bool {
        self.phase.load(Acquire) == Phase::Cut as u8
    }

    /// Ready when the connection is being closed. Until then, the task is woken by [`cut`](Self::cut) and
    /// [`stop`](Self::stop).
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        if self.is_cut() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Returns why the connection can make room for another at this moment, and since when, in nanoseconds.
    pub fn spare(&self, now: Instant) -> Option<(Spare, u64)> {
        let (phase, since, stuck) = (self.phase.load(Acquire), self.since.load(Relaxed), self.stuck.load(Relaxed));
        let is_long = |since: u64| u128::from(self.moment(now).saturating_sub(since)) >= SLOW.as_nanos();
        if phase == Phase::Waiting as u8 {
            return Some((Spare::Idle, since));
        }
        if phase == Phase::Receiving as u8 && is_long(since) {
            return Some((Spare::SlowBody, since));
        }
        (phase != Phase::Cut as u8 && stuck > 0 && is_long(stuck)).then_some((Spare::Stuck, stuck))
    }

    /// Closes the connection if the reason still holds.
    pub fn cut(&self, spare: Spare) {
        let is_cut = match spare {
            Spare::Idle => self.turn(|phase| phase == Phase::Waiting as u8, Phase::Cut),
            Spare::SlowBody => self.turn(|phase| phase == Phase::Receiving as u8, Phase::Cut),
            Spare::Stuck => self.stuck.load(Relaxed) > 0 && self.turn(|_| true, Phase::Cut),
        };
        if is_cut {
            self.task.wake();
        }
    }

    /// Closes the connection unless it has a whole request. Wakes its task, which has less patience from now on.
    pub fn stop(&self) {
        self.turn(|phase| phase == Phase::Waiting as u8 || phase == Phase::Receiving as u8, Phase::Cut);
        self.task.wake();
    }

    /// Moves from such a phase to another, and returns whether it did.
    fn turn(&self, from: impl Fn(u8) -> bool, to: Phase) -> bool {
        self.phase.fetch_update(AcqRel, Acquire, |phase| from(phase).then_some(to as u8)).is_ok()
    }

    fn moment(&self, at: Instant) -> u64 {
        // Enough for 584 years.
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}
