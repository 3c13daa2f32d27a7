//! Cancels a task, whether it is queued or running.

use std::sync::Arc;

use imgopen_store::{End, Ending, KeyId, State, StoreError, TaskId, TaskRow};

use super::announce::announce;
use super::ending::forget;
use super::faults::release_if_idle;
use crate::callbacks;
use crate::context::Context;
use crate::fleet::progress;

/// The outcome of a request to cancel.
pub enum Cancelled {
    /// The task is cancelled.
    Now(TaskRow),
    /// It had ended before.
    Before(TaskRow),
    /// The key has no such task.
    Unknown,
}

/// Ends a key's task that has not ended yet.
pub async fn cancel(context: &Arc<Context>, key: &KeyId, id: &TaskId) -> Result<Cancelled, StoreError> {
    loop {
        let seen = context.store.task(id.clone()).await?.filter(|task| task.key == *key);
        let Some(seen) = seen else { return Ok(Cancelled::Unknown) };
        if !seen.state.may_become(State::Cancelled) {
            return Ok(Cancelled::Before(seen));
        }
        let before = seen.state;
        let engine = progress::of(context, &seen).await.and_then(|live| live.engine);
        let task = seen.ended(Ending::Cancelled, engine, context.clock.now());
        let callback = callbacks::reporting(&task, context.urls());
        let (assets, orphans_run) = (Vec::new(), before == State::Running);
        // If the task has changed since it was read, it is read again.
        if context.store.end(End { before, task: task.clone(), assets, callback, orphans_run }).await? {
            match before {
                State::Queued => {
                    context.dispatch.left(key, &task.needs);
                    release_if_idle(context);
                    // Spawned, so that a disk that does not answer does not keep the caller waiting.
                    let (context, task) = (context.clone(), task.clone());
                    tokio::spawn(async move { forget(&context, &task).await });
                }
                _ => task.run.iter().for_each(|run| context.running.cancel(run)),
            }
            announce(context, &task);
            return Ok(Cancelled::Now(task));
        }
    }
}
