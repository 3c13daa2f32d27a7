//! The tasks whose end calls wait for here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_store::TaskId;
use tokio::sync::Notify;

/// The tasks that calls wait for. Clones share the set.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// How many calls wait for each.
    tasks: Arc<Mutex<HashMap<TaskId, usize>>>,
    changed: Arc<Notify>,
}

/// A call that waits, until it is dropped.
#[derive(Debug)]
#[must_use = "the end is not looked for once this is dropped"]
pub struct Wait {
    waiting: Waiting,
    task: TaskId,
}

impl Waiting {
    /// Has the end of a task looked for.
    pub fn enter(&self, task: &TaskId) -> Wait {
        *self.lock().entry(task.clone()).or_default() += 1;
        self.changed.notify_one();
        Wait { waiting: self.clone(), task: task.clone() }
    }

    /// Returns the tasks that calls wait for.
    pub fn tasks(&self) -> Vec<TaskId> {
        self.lock().keys().cloned().collect()
    }

    /// Waits until a call has begun or ceased to wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, usize>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut tasks = self.waiting.lock();
        if let Some(count) = tasks.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                tasks.remove(&self.task);
            }
        }
        drop(tasks);
        self.waiting.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_looked_for_as_long_as_a_call_waits() {
        let waiting = Waiting::default();
        let task = TaskId("img1".to_owned());
        let (first, second) = (waiting.enter(&task), waiting.enter(&task));
        drop(first);
        assert_eq!(waiting.tasks(), [task]);
        drop(second);
        assert_eq!(waiting.tasks(), []);
    }
}
