//! A look at the disk that may never end, as with a network disk whose server is away.
//!
//! It is taken on a thread of its own, one at a time, and its answer is kept for a while. Callers wait for it a bounded time;
//! while one takes longer than that, none waits at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long an answer is trusted, so that many questions cost no more than one.
pub const TRUST: Duration = Duration::from_secs(1);

/// How long a look may take.
pub const LIMIT: Duration = Duration::from_secs(2);

/// How old an answer may be that is used while the next look is taken.
const OLDEST: Duration = Duration::from_secs(3);

/// A look, and its last answer.
pub struct Look<T> {
    look: Arc<dyn Fn() -> T + Send + Sync>,
    state: Arc<watch::Sender<State<T>>>,
}

struct State<T> {
    answer: Option<(Instant, T)>,
    /// Since when a look is being taken.
    looking: Option<Instant>,
}

/// Ends a look, also one that panicked, or that was never begun because the runtime ended.
struct Looking<T>(Arc<watch::Sender<State<T>>>);

impl<T> Drop for Looking<T> {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.looking = None);
    }
}

impl<T: Clone + Send + Sync + 'static> Look<T> {
    /// Takes looks with a function that may block.
    pub fn new(look: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let state = State { answer: None, looking: None };
        Self { look: Arc::new(look), state: Arc::new(watch::Sender::new(state)) }
    }

    /// Returns an answer that is at most [`TRUST`] old. `None` if the disk does not answer within [`LIMIT`].
    pub async fn now(&self) -> Option<T> {
        self.within(TRUST).await
    }

    /// Returns an answer that is at most [`OLDEST`] old, and takes a look in the background if it is not fresh: as long as
    /// questions keep coming, none waits. `None` if the disk does not answer within [`LIMIT`].
    pub async fn lately(&self) -> Option<T> {
        self.within(OLDEST).await
    }

    async fn within(&self, age: Duration) -> Option<T> {
        let is_younger = |state: &State<T>, age| {
            state.answer.as_ref().filter(|(at, _)| at.elapsed() < age).map(|(_, answer)| answer.clone())
        };
        if let Some(answer) = is_younger(&self.state.borrow(), TRUST) {
            return Some(answer);
        }
        let left = LIMIT.checked_sub(self.begin().elapsed())?;
        if let Some(answer) = is_younger(&self.state.borrow(), age) {
            return Some(answer);
        }
        let mut ended = self.state.subscribe();
        let state = tokio::time::timeout(left, ended.wait_for(|state| state.looking.is_none())).await.ok()?.ok()?;
        is_younger(&state, age)
    }

    /// Begins a look unless one is being taken. Returns since when that is.
    fn begin(&self) -> Instant {
        let (mut since, mut begins) = (Instant::now(), false);
        self.state.send_if_modified(|state| {
            begins = state.looking.is_none();
            since = *state.looking.get_or_insert(since);
            false
        });
        if begins {
            let (look, looking) = (self.look.clone(), Looking(self.state.clone()));
            drop(tokio::task::spawn_blocking(move || {
                let answer = look();
                looking.0.send_modify(|state| state.answer = Some((Instant::now(), answer)));
            }));
        }
        since
    }

    /// Has the next question answered by a new look, as if enough time had passed.
    #[cfg(test)]
    pub fn forget(&self) {
        self.state.send_modify(|state| state.answer = None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// A look that is answered by the test, and how many have been begun.
    fn asked() -> (Look<u8>, mpsc::Sender<u8>, Arc<AtomicUsize>) {
        let (answer, answers) = mpsc::channel();
        let (answers, begun) = (Mutex::new(answers), Arc::new(AtomicUsize::new(0)));
        let count = begun.clone();
        let look = Look::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            answers.lock().unwrap().recv().unwrap_or_default()
        });
        (look, answer, begun)
    }

    /// Waits for the thread of a look, whose time is not that of the test.
    async fn ended(look: &Look<u8>) {
        look.state.subscribe().wait_for(|state| state.looking.is_none()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_holds_callers_once_and_one_thread() {
        let (look, answer, begun) = asked();
        let (first, second, _) = tokio::join!(look.now(), look.lately(), tokio::time::advance(LIMIT * 2));
        assert_eq!((first, second), (None, None));
        // Nobody waits for it again; the time of the test stands still as long as the thread is at it.
        let before = Instant::now();
        assert_eq!((look.now().await, look.lately().await), (None, None));
        assert_eq!(before.elapsed(), Duration::ZERO);
        answer.send(7).unwrap();
        ended(&look).await;
        assert_eq!((look.now().await, begun.load(Ordering::SeqCst)), (Some(7), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_while_the_next_look_is_taken() {
        let (look, answer, begun) = asked();
        answer.send(1).unwrap();
        assert_eq!(look.now().await, Some(1));
        assert_eq!((look.now().await, look.lately().await), (Some(1), Some(1)));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        tokio::time::advance(TRUST).await;
        assert_eq!(look.lately().await, Some(1));
        answer.send(2).unwrap();
        ended(&look).await;
        assert_eq!((look.lately().await, begun.load(Ordering::SeqCst)), (Some(2), 2));
        // What is too old is not used.
        tokio::time::advance(OLDEST).await;
        answer.send(3).unwrap();
        assert_eq!(look.lately().await, Some(3));
    }

    #[tokio::test]
    async fn a_look_that_panics_is_taken_again() {
        let begun = AtomicUsize::new(0);
        let look = Look::new(move || {
            assert!(begun.fetch_add(1, Ordering::SeqCst) > 0, "a panic of this test");
            7
        });
        assert_eq!(look.now().await, None);
        assert_eq!(look.now().await, Some(7));
    }
}
