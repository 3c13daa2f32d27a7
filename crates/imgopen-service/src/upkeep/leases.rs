//! Recovering the runs of owners that are dead.

use futures_util::future::try_join_all;
use imgopen_store::{End, Ending, Proof, Recovery, State, StoreError, TaskRow};

use crate::callbacks;
use crate::context::Context;

/// What a recovery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Tasks that are queued again.
    pub requeued: usize,
    /// Tasks that failed, because they had all their attempts.
    pub failed: usize,
}

/// Queues the runs of dead owners again, and fails tasks that have had all their attempts.
pub async fn recover(context: &Context, proof: Proof) -> Result<Recovered, StoreError> {
    let attempts = context.settings.attempts;
    let recovery = Recovery { me: context.owner.clone(), proof, attempts, now: context.clock.now() };
    let recovered = context.store.recover(recovery).await?;
    let failed = try_join_all(recovered.exhausted.into_iter().map(|task| fail(context, task))).await?;
    let failed = failed.into_iter().filter(|failed| *failed).count();
    Ok(Recovered { requeued: recovered.requeued.len(), failed })
}

/// Returns whether the task failed by this; its owner may have come to life and ended it at the last moment.
async fn fail(context: &Context, task: TaskRow) -> Result<bool, StoreError> {
    let attempts = context.settings.attempts;
    let reason = format!("the service ended while it worked on this task, {attempts} times; not tried again");
    let task = task.ended(Ending::Failed(reason), None, context.clock.now());
    let callback = callbacks::reporting(&task, context.urls());
    context.store.end(End { before: State::Running, task, assets: Vec::new(), callback, orphans_run: true }).await
}
