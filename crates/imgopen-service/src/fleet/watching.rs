//! The tasks whose previews callers ask for here, so that the process that runs them is asked for previews now and then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use imgopen_store::TaskId;

/// How long previews are made for a caller who has asked for them.
pub const WATCHED: Duration = Duration::from_secs(10);

/// How soon it is said again that somebody asks for them.
const AGAIN: Duration = Duration::from_secs(5);

/// How many tasks are remembered before the oldest are forgotten.
const MANY: usize = 1024;

/// When it was said last of each task that somebody asks for its previews, by the uptime.
#[derive(Debug, Default)]
pub struct Watching(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: HashMap<TaskId, Duration>,
    /// How many there were when old ones were forgotten last.
    kept: usize,
}

impl Watching {
    /// Whether it is to be said now. Counts as said from then on.
    pub fn is_due(&self, task: &TaskId, now: Duration) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.get(task).is_some_and(|said| now.saturating_sub(*said) < AGAIN) {
            return false;
        }
        if state.said.len() >= state.kept * 2 + MANY {
            state.said.retain(|_, said| now.saturating_sub(*said) < AGAIN);
            state.kept = state.said.len();
        }
        state.said.insert(task.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_due_every_few_seconds_and_forgotten_later() {
        let watching = Watching::default();
        let [task, other] = ["img1", "img2"].map(|id| TaskId(id.to_owned()));
        let due = |task: &TaskId, milliseconds| watching.is_due(task, Duration::from_millis(milliseconds));
        assert!(due(&task, 0) && !due(&task, 4999) && due(&other, 4999) && due(&task, 5000));
        for number in 0..5000_u64 {
            assert!(due(&TaskId(number.to_string()), 10_000 + number * 100));
        }
        assert!(watching.0.lock().unwrap().said.len() <= MANY + 100);
    }
}
