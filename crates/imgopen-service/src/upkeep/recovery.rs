//! Recovers the runs of dead owners.

use std::collections::BTreeSet;
use std::io;

use futures_util::future::try_join_all;
use imgopen_engine::Engine;
use imgopen_store::{End, Ending, OwnerId, Proof, Recovery, RunId, State, StoreError, TaskId, TaskRow};
use imgopen_trainer::Trainer;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::callbacks;
use crate::context::Context;
use crate::loras;
use crate::tasks::ending::forget;
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
    let attempts = context.settings.all_attempts();
    let recovery = Recovery { me: context.owner(), proof, attempts, now: context.clock.now() };
    let recovered = context.store.recover(recovery).await?;
    for task in &recovered.requeued {
        lost(context, task, Then::Queued).await;
    }
    for task in &recovered.exhausted {
        lost(context, task, Then::Failed).await;
    }
    let failed = try_join_all(recovered.exhausted.into_iter().map(|task| fail(context, task))).await?;
    let failed = failed.into_iter().filter(|failed| *failed).count();
    Ok(Recovered { requeued: recovered.requeued.len(), failed })
}

/// What becomes of the task of a lost run.
#[derive(Clone, Copy)]
enum Then {
    Queued,
    Failed,
}

/// Logs a lost run with what follows from it, and has the engine delete what it left, or keep it for the next run.
async fn lost(context: &Context, task: &TaskRow, next: Then) {
    let then = match next {
        Then::Queued => "queued again",
        Then::Failed => "attempts used up",
    };
    let (run, owner) = (task.run.as_ref().map(RunId::as_str), task.owner.as_ref().map(OwnerId::as_str));
    let attempt = task.attempt;
    warn!(task = %task.id, attempt, run, owner, "run lost: its process ended without handing it back; {then}");
    // In a fleet, what it has left is on the machine of its process, and another process may have begun the next run.
    if context.fleet.is_some() {
        return;
    }
    if let (Some(run), Ok(choice)) = (&task.run, Needs::parse(&task.needs).find(&context.engines)) {
        match next {
            Then::Queued => choice.engine.interrupt(task.id.as_str(), run.as_str()).await,
            Then::Failed => choice.engine.discard(task.id.as_str(), run.as_str()).await,
        }
    }
}

/// Settles what trainings have left whose process died, or where the removal failed.
pub async fn settle_trainings(context: &Context, trainer: &Trainer) -> Result<(), StoreError> {
    settle_loras(context, trainer).await?;
    settle_data_sets(context, trainer).await
}

/// Removes the incomplete data sets of trainings that have ended. Those of others are kept for the next run, because this process
/// may be the second to start since the one that fetched them died. One whose task is unknown is left to the operator, and expires
/// like the complete ones.
async fn settle_data_sets(context: &Context, trainer: &Trainer) -> Result<(), StoreError> {
    let own = trainer.clone();
    for id in listed("partial data sets", move || own.unfinished()).await {
        match context.store.task(TaskId(id.clone())).await?.map(|task| task.state) {
            Some(State::Queued) | None => keep(trainer, id).await,
            Some(State::Running) => {}
            // Its LoRA stays.
            Some(State::Succeeded) => trainer.remove_unfinished(&id).await,
            Some(State::Failed | State::Cancelled) => trainer.forget(&id).await,
        }
    }
    Ok(())
}

/// Removes the LoRAs of trainings that have ended without a result, so that their names are free. One whose task is unknown stays:
/// it may be that of an older database, or of another service.
async fn settle_loras(context: &Context, trainer: &Trainer) -> Result<(), StoreError> {
    let (own, mut is_withdrawn) = (trainer.clone(), false);
    for id in listed("LoRAs", move || own.published()).await {
        let state = context.store.task(TaskId(id.clone())).await?.map(|task| task.state);
        if matches!(state, Some(State::Failed | State::Cancelled)) {
            trainer.forget(&id).await;
            is_withdrawn = true;
        }
    }
    if is_withdrawn {
        loras::withdraw(context);
    }
    Ok(())
}

/// Lists the tasks that have left something. If that fails, none, because the service starts all the same.
async fn listed(what: &str, list: impl FnOnce() -> io::Result<BTreeSet<String>> + Send + 'static) -> BTreeSet<String> {
    match spawn_blocking(list).await {
        Ok(Ok(tasks)) => return tasks,
        Ok(Err(error)) => warn!(what, %error, "what trainings have left cannot be listed; the next start tries again"),
        Err(error) => warn!(what, %error, "the list of what trainings have left panicked, which is a bug"),
    }
    BTreeSet::new()
}

async fn keep(trainer: &Trainer, task: String) {
    let (own, id) = (trainer.clone(), task.clone());
    match spawn_blocking(move || own.keep_unfinished(&id)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(task, %error, "a partial data set cannot be kept; its pictures are fetched again"),
        Err(error) => warn!(task, %error, "the keeping of a partial data set panicked, which is a bug"),
    }
}

/// Fails a task. Returns `false` if its owner was alive after all and has ended it.
async fn fail(context: &Context, task: TaskRow) -> Result<bool, StoreError> {
    let attempts = context.settings.attempts(&task.operation);
    let reason = format!(
        "the service stopped unexpectedly during each of {attempts} attempts in which no other task ran; not tried again"
    );
    let task = task.ended(Ending::Failed(reason), None, context.clock.now());
    let callback = callbacks::reporting(&task, context.urls());
    let end = End { before: State::Running, task: task.clone(), assets: Vec::new(), callback, orphans_run: true };
    let has_failed = context.store.end(end).await?;
    if has_failed {
        // What earlier runs have left, too.
        forget(context, &task).await;
    }
    Ok(has_failed)
}
