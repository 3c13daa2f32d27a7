//! The callbacks that are being pushed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_store::{CallbackId, CallbackRow, InProgress as Attempt};

/// The callbacks that are being pushed. Clones share the set.
#[derive(Debug, Clone, Default)]
pub(crate) struct InProgress {
    attempts: Arc<Mutex<HashMap<CallbackId, Attempt>>>,
}

/// The entry of a callback, removed on drop: also when the push panics.
#[derive(Debug)]
pub(crate) struct Entry {
    in_progress: InProgress,
    callback: CallbackId,
}

impl InProgress {
    /// Adds a callback.
    pub fn enter(&self, callback: &CallbackRow) -> Entry {
        self.lock().insert(callback.id.clone(), Attempt::from(callback));
        Entry { in_progress: self.clone(), callback: callback.id.clone() }
    }

    /// Returns all of them.
    pub fn list(&self) -> Vec<Attempt> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallbackId, Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.in_progress.lock().remove(&self.callback);
    }
}

#[cfg(test)]
mod tests {
    use imgopen_store::{CallbackState, KeyId, Moment, TaskId};

    use super::*;

    #[tokio::test]
    async fn a_push_that_panics_does_not_stay_in_progress() {
        let callback = CallbackRow {
            id: CallbackId("msg_1".to_owned()),
            task: TaskId("img1".to_owned()),
            key: KeyId("a".to_owned()),
            url: "http://a/b".to_owned(),
            origin: "http://a".to_owned(),
            body: "{}".to_owned(),
            state: CallbackState::Pending,
            starts: 1,
            rung: 0,
            deferrals: 0,
            deferred_at: None,
            deferred_for: std::time::Duration::ZERO,
            next_at: Some(Moment(1)),
            claim: None,
            created_at: Moment(1),
            tries: Vec::new(),
            place: 1,
        };
        let in_progress = InProgress::default();
        let entry = in_progress.enter(&callback);
        assert_eq!(in_progress.list(), [Attempt::from(&callback)]);
        let pushing = tokio::spawn(async move {
            let _entry = entry;
            panic!("asked for by the test")
        });
        assert!(pushing.await.is_err_and(|error| error.is_panic()));
        assert_eq!(in_progress.list(), []);
    }
}
