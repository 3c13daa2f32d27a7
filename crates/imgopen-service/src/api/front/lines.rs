//! All open connections, and where each is between two requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a connection that was closed to make room has before the next one is.
const RETRY: Duration = Duration::from_millis(50);

/// How long a caller may read nothing before its connection is closed to make room for another.
const STUCK: Duration = Duration::from_secs(5);

/// All open connections.
#[derive(Debug)]
pub struct Lines {
    room: Arc<Semaphore>,
    open: Mutex<Open>,
    stopping: CancellationToken,
}

#[derive(Debug, Default)]
struct Open {
    lines: HashMap<u64, Arc<Line>>,
    next: u64,
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    state: Mutex<State>,
    cut: CancellationToken,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When it was accepted, or its last answer was sent.
    since: Instant,
    /// Since when its caller reads nothing.
    stuck: Option<Instant>,
}

/// Where a connection is between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The place of a connection, which is free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    /// The connection.
    pub line: Arc<Line>,
    lines: Arc<Lines>,
    number: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lines {
    /// Makes room for so many connections.
    pub fn new(at_most: usize) -> Self {
        let room = Arc::new(Semaphore::new(at_most.min(Semaphore::MAX_PERMITS)));
        Self { room, open: Mutex::default(), stopping: CancellationToken::new() }
    }

    /// Waits for a place. While there is none, closes the connections that need theirs least.
    pub async fn admit(self: &Arc<Self>) -> Place {
        let mut permit = self.room.clone().try_acquire_owned().ok();
        while permit.is_none() {
            self.make_room(Instant::now());
            // If none could be closed, one may be idle after the pause.
            let freed = tokio::time::timeout(RETRY, self.room.clone().acquire_owned()).await;
            permit = freed.ok().and_then(Result::ok);
        }
        let line = Arc::new(Line::new());
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.lines.insert(number, line.clone());
        Place { line, lines: self.clone(), number, _permit: permit }
    }

    /// Closes the connection that has waited for a request for longest; if all have one, the one whose caller has read
    /// nothing for longest.
    fn make_room(&self, now: Instant) {
        let open = self.lock();
        let lines = &open.lines;
        let longest = |since: fn(&State, Instant) -> Option<Instant>| {
            let dated = lines.values().filter_map(|line| Some((since(&line.lock(), now)?, line)));
            dated.min_by_key(|(since, _)| *since).map(|(_, line)| line)
        };
        // A head that arrives at this moment keeps its connection; the next caller is made room for otherwise.
        match longest(State::waiting_since) {
            Some(line) => line.cut_waiting(),
            None => {
                if let Some(line) = longest(State::stuck_since) {
                    line.cut();
                }
            }
        }
    }

    /// Closes the connections without a whole request, and gives callers who read nothing little more time.
    pub fn stop(&self) {
        self.stopping.cancel();
        for line in self.lock().lines.values() {
            line.stop();
        }
    }

    /// Cancelled when the service stops.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting_since(&self, _: Instant) -> Option<Instant> {
        (self.phase == Phase::Waiting).then_some(self.since)
    }

    fn stuck_since(&self, now: Instant) -> Option<Instant> {
        self.stuck.filter(|since| self.phase != Phase::Cut && now.saturating_duration_since(*since) >= STUCK)
    }
}

impl Line {
    fn new() -> Self {
        let state = State { phase: Phase::Waiting, since: Instant::now(), stuck: None };
        Self { state: Mutex::new(state), cut: CancellationToken::new() }
    }

    /// The head of a request is there. `false` if the connection is being closed; then the request must not begin.
    pub fn begin(&self) -> bool {
        let mut state = self.lock();
        let is_open = state.phase != Phase::Cut;
        if is_open {
            state.phase = Phase::Receiving;
        }
        is_open
    }

    /// The request is whole, or its answer has begun.
    pub fn answer(&self) {
        self.turn(&[Phase::Receiving], Phase::Answering);
    }

    /// The answer is complete.
    pub fn answered(&self) {
        self.turn(&[Phase::Answering], Phase::Sending);
    }

    /// All that was written is sent.
    pub fn sent(&self) {
        if self.turn(&[Phase::Sending], Phase::Waiting) {
            self.lock().since = Instant::now();
        }
    }

    /// The caller reads nothing, or reads again.
    pub fn stuck(&self, is_stuck: bool) {
        self.lock().stuck = is_stuck.then(Instant::now);
    }

    /// Whether the connection is being closed.
    pub fn is_cut(&self) -> bool {
        self.lock().phase == Phase::Cut
    }

    /// Cancelled when the connection is to be closed.
    pub fn cutting(&self) -> &CancellationToken {
        &self.cut
    }

    fn stop(&self) {
        if self.turn(&[Phase::Waiting, Phase::Receiving], Phase::Cut) {
            self.cut.cancel();
        }
    }

    /// Closes the connection if it still is without a request.
    fn cut_waiting(&self) {
        if self.turn(&[Phase::Waiting], Phase::Cut) {
            self.cut.cancel();
        }
    }

    fn cut(&self) {
        self.lock().phase = Phase::Cut;
        self.cut.cancel();
    }

    /// Moves from one of these phases to another, and returns whether it did.
    fn turn(&self, from: &[Phase], to: Phase) -> bool {
        let mut state = self.lock();
        let fits = from.contains(&state.phase);
        if fits {
            state.phase = to;
        }
        fits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Cancelled when the service stops.
    pub fn stopping(&self) -> &CancellationToken {
        self.lines.stopping()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lines.lock().lines.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_connection_that_has_waited_longest_makes_room() {
        let lines = Arc::new(Lines::new(3));
        let (first, second, third) = (lines.admit().await, lines.admit().await, lines.admit().await);
        assert!(first.line.begin());
        assert!(third.line.begin());
        let waiting = tokio::spawn({
            let lines = lines.clone();
            async move { lines.admit().await }
        });
        second.line.cutting().cancelled().await;
        // Requests are answered, and nothing begins on a connection that is being closed.
        assert!(!first.line.is_cut() && !third.line.is_cut() && !second.line.begin());
        drop(second);
        let fourth = waiting.await.unwrap();
        // The one that was answered last has waited for less time than the one that was never asked anything.
        first.line.answer();
        first.line.answered();
        first.line.sent();
        lines.make_room(Instant::now());
        assert!(fourth.line.is_cut() && !first.line.is_cut());
    }

    #[tokio::test]
    async fn a_caller_who_reads_nothing_makes_room_last() {
        let lines = Arc::new(Lines::new(2));
        let (stuck, waiting) = (lines.admit().await, lines.admit().await);
        stuck.line.begin();
        stuck.line.stuck(true);
        let later = Instant::now() + STUCK;
        lines.make_room(later);
        assert!(waiting.line.is_cut() && !stuck.line.is_cut());
        drop(waiting);
        lines.make_room(Instant::now());
        assert!(!stuck.line.is_cut());
        lines.make_room(later);
        assert!(stuck.line.is_cut());
    }

    #[tokio::test]
    async fn a_stop_closes_what_has_no_whole_request() {
        let lines = Arc::new(Lines::new(9));
        let [idle, half, whole, sending] =
            [lines.admit().await, lines.admit().await, lines.admit().await, lines.admit().await];
        for place in [&half, &whole, &sending] {
            assert!(place.line.begin());
        }
        for place in [&whole, &sending] {
            place.line.answer();
        }
        sending.line.answered();
        lines.stop();
        let cut = [&idle, &half, &whole, &sending].map(|place| place.line.is_cut());
        assert_eq!(cut, [true, true, false, false]);
    }
}
