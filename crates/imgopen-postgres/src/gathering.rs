//! Submits that come while others are written share the next statement, and with it a commit.
//!
//! The server spends most of the time of a submit on what each statement costs, not each row. Some statements are under way at
//! once, so that a submit hardly waits for one to begin. A submit that comes alone goes at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_store::{NewTask, StoreError, Submitted, TaskId};
use tokio::sync::oneshot;

/// How many statements are under way at once.
const AT_ONCE: usize = 4;

/// How many tasks share a statement at most.
const MOST: usize = 128;

/// After how many bytes of requests no further task joins a statement, so that large ones do not take much memory together.
const BYTES: usize = 1 << 20;

/// The answer to a submit.
pub type Answer = Result<Submitted, StoreError>;

/// The submits that wait for a statement. Clones share them.
#[derive(Clone, Default)]
pub struct Gathering(Arc<Mutex<Gathered>>);

#[derive(Default)]
struct Gathered {
    waiting: Vec<Waiting>,
    under_way: usize,
}

/// A submit that waits for a statement.
pub struct Waiting {
    pub task: NewTask,
    pub answer: oneshot::Sender<Answer>,
}

impl Gathering {
    /// Adds a submit, and returns whether a statement is to begin for it.
    pub fn add(&self, waiting: Waiting) -> bool {
        let mut gathered = self.lock();
        gathered.waiting.push(waiting);
        let begins = gathered.under_way < AT_ONCE;
        gathered.under_way += usize::from(begins);
        begins
    }

    /// Takes a submit back that waits for a statement. Returns whether it still did, so that nothing was done.
    pub fn withdraw(&self, task: &TaskId) -> bool {
        let mut gathered = self.lock();
        let place = gathered.waiting.iter().position(|waiting| waiting.task.id == *task);
        place.map(|place| gathered.waiting.remove(place)).is_some()
    }

    /// Returns the turn of a statement that is to begin, as [`add`](Self::add) said.
    pub fn turn(&self) -> Turn {
        Turn { gathering: self.clone(), is_over: false }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of one statement after the other. It ends when nothing waits, or when it is dropped, as by a panic: what waits then goes
/// with the next submit.
pub struct Turn {
    gathering: Gathering,
    is_over: bool,
}

impl Turn {
    /// Takes what waits, for the next statement. If nothing does, the turn is over.
    pub fn take(&mut self) -> Vec<Waiting> {
        let mut gathered = self.gathering.lock();
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            let before = bytes;
            bytes += waiting.task.request.len();
            before < BYTES
        };
        let count = gathered.waiting.iter().take(MOST).take_while(fits).count();
        if count == 0 && !self.is_over {
            self.is_over = true;
            gathered.under_way -= 1;
        }
        gathered.waiting.drain(..count).collect()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            self.gathering.lock().under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use imgopen_store::{KeyId, Moment};

    use super::*;

    fn waiting() -> Waiting {
        let created_at = Moment::parse("2026-01-10T00:00:00Z").unwrap();
        let task = NewTask {
            id: TaskId::new(created_at).unwrap(),
            key: KeyId::new().unwrap(),
            operation: "enlarge_image",
            needs: "enlarge_image".to_owned(),
            caller_id: "mine".to_owned(),
            unique_id: false,
            request: "{}".to_owned(),
            options: None,
            plan: None,
            reserves: None,
            reserves_made: false,
            callback_url: None,
            created_at,
            idempotency: None,
        };
        Waiting { task, answer: oneshot::channel().0 }
    }

    #[test]
    fn statements_that_break_off_leave_what_waits_to_the_next() {
        let gathering = Gathering::default();
        for _ in 0..=AT_ONCE {
            assert!(gathering.add(waiting()));
            drop(gathering.turn());
        }
        assert!(gathering.add(waiting()));
        let mut turn = gathering.turn();
        assert_eq!((turn.take().len(), turn.take().len()), (AT_ONCE + 2, 0));
        drop(turn);
        assert_eq!(gathering.lock().under_way, 0);
    }

    #[test]
    fn a_submit_can_be_taken_back_until_its_statement_begins() {
        let gathering = Gathering::default();
        let submits = [waiting(), waiting()];
        let ids = submits.each_ref().map(|waiting| waiting.task.id.clone());
        for waiting in submits {
            gathering.add(waiting);
        }
        assert_eq!([&ids[0], &ids[0]].map(|id| gathering.withdraw(id)), [true, false]);
        let left: Vec<_> = gathering.turn().take().into_iter().map(|waiting| waiting.task.id).collect();
        assert_eq!(left, ids[1..]);
        assert!(!gathering.withdraw(&ids[1]));
    }

    #[test]
    fn large_requests_do_not_share_a_statement_with_many() {
        let gathering = Gathering::default();
        let half = || {
            let mut waiting = waiting();
            waiting.task.request = " ".repeat(BYTES / 2);
            waiting
        };
        for _ in 0..5 {
            gathering.add(half());
        }
        let mut turn = gathering.turn();
        assert_eq!([(); 4].map(|()| turn.take().len()), [2, 2, 1, 0]);
    }

    #[test]
    fn few_statements_are_under_way_at_once() {
        let gathering = Gathering::default();
        let turns: Vec<_> = (0..AT_ONCE).filter(|_| gathering.add(waiting())).map(|_| gathering.turn()).collect();
        assert_eq!((turns.len(), gathering.add(waiting())), (AT_ONCE, false));
    }
}
