//! Recovers the runs of dead owners.

use futures_util::future::try_join_all;
use imgopen_store::{End, Ending, OwnerId, Proof, Recovery, RunId, State, StoreError, TaskRow};
use tracing::warn;

use crate::callbacks;
use crate::context::Context;
use crate::tasks::needs::Needs;

/// The outcome of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// How many tasks are queued again.
    pub requeued: usize,
    /// How many tasks failed, because they have had all their attempts.
    pub failed: usize,
}

/// Queues the runs of dead owners again, and fails tasks that have had all their attempts.
pub async fn recover(context: &Context, proof: Proof) -> Result<Recovered, StoreError> {
    let attempts = context.settings.attempts;
    let recovery = Recovery { me: context.owner.clone(), proof, attempts, now: context.clock.now() };
    let recovered = context.store.recover(recovery).await?;
    for task in &recovered.requeued {
        lost(context, task, "queued again").await;
    }
    for task in &recovered.exhausted {
        lost(context, task, "attempts used up").await;
    }
    let failed = try_join_all(recovered.exhausted.into_iter().map(|task| fail(context, task))).await?;
    let failed = failed.into_iter().filter(|failed| *failed).count();
    Ok(Recovered { requeued: recovered.requeued.len(), failed })
}

/// Logs a lost run with what follows from it, and has the engine delete what it left.
async fn lost(context: &Context, task: &TaskRow, then: &str) {
    let (run, owner) = (task.run.as_ref().map(RunId::as_str), task.owner.as_ref().map(OwnerId::as_str));
    let attempt = task.attempt;
    warn!(task = %task.id, attempt, run, owner, "run lost: its process ended without handing it back; {then}");
    if let (Some(run), Ok(choice)) = (&task.run, Needs::parse(&task.needs).choose(&context.engines)) {
        choice.engine.discard(task.id.as_str(), run.as_str()).await;
    }
}

/// Fails a task. Returns `false` if its owner was alive after all and has ended it.
async fn fail(context: &Context, task: TaskRow) -> Result<bool, StoreError> {
    let attempts = context.settings.attempts;
    let reason = format!(
        "the service stopped unexpectedly during each of {attempts} attempts in which no other task ran; not tried again"
    );
    let task = task.ended(Ending::Failed(reason), None, context.clock.now());
    let callback = callbacks::reporting(&task, context.urls());
    context.store.end(End { before: State::Running, task, assets: Vec::new(), callback, orphans_run: true }).await
}
