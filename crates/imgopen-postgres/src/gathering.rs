//! Submits that come while others are written share the next statement, and with it a commit.
//!
//! The server spends most of the time of a submit on what each statement costs, not each row. Some statements are under way at
//! once, so that a submit hardly waits for one to begin. A submit that comes alone goes at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_store::{NewTask, StoreError, Submitted};
use tokio::sync::oneshot;

/// How many statements are under way at once.
const AT_ONCE: usize = 4;

/// How many tasks share a statement at most.
const MOST: usize = 128;

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

    /// Takes what waits, after a statement is over or before it begins. If nothing does, it does not begin.
    pub fn take(&self) -> Vec<Waiting> {
        let mut gathered = self.lock();
        let count = gathered.waiting.len().min(MOST);
        if count == 0 {
            gathered.under_way -= 1;
        }
        gathered.waiting.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
