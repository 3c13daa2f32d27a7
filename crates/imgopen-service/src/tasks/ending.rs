//! Writes how runs end, or hands them back.
//!
//! The row comes first, because a disk that does not answer must keep neither a caller from the end of a task nor a run from
//! being handed back. What a run has left is listed as orphaned in the same transaction, so that nothing is lost if it cannot
//! be removed now.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use imgopen_engine::Engine;
use imgopen_store::{AssetToken, End, Ending, HandBack, State, TaskRow};
use imgopen_types::operations;
use tracing::{error, info, warn};

use super::announce::announce;
use super::faults::{Fault, defer, hold, lasts_too_long, release};
use super::needs::Needs;
use super::run::{Outcome, Run};
use crate::callbacks;
use crate::context::Context;
use crate::fault_time::faulty_for;
use crate::fleet::previews;
use crate::loras;

/// The pause between two attempts to read a row.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a worker waits for the removal of what a run has left.
const SLOW: Duration = Duration::from_secs(30);

/// What becomes of a task after a run.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// It does not wait for another run here.
    Over,
    /// It is queued again, and its next run may begin after this pause.
    Queued(Duration),
}

/// What becomes of what an engine has done in a run without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The next run of the task may go on with it.
    Kept,
    /// It is removed, because the run is stale.
    Discarded,
    /// It is removed with what earlier runs have left, because the task has ended without a result.
    Over,
}

/// Cleans up after a run without a result, whose end or hand-back is written.
pub async fn clean_up(context: &Context, run: &Run<'_>, work: Work) {
    settle(context, run, work).await;
    delete_pictures(context, run).await;
}

/// Has the engine keep or remove what it has done in a run.
async fn settle(context: &Context, run: &Run<'_>, work: Work) {
    let (task, id) = (run.task.id.as_str(), run.id.as_str());
    let settling = AssertUnwindSafe(async {
        match (&run.choice, work) {
            (Some(choice), Work::Kept) => choice.engine.interrupt(task, id).await,
            (Some(choice), Work::Discarded) => choice.engine.discard(task, id).await,
            (Some(choice), Work::Over) => {
                choice.engine.discard(task, id).await;
                choice.engine.forget(task).await;
            }
            // It did not get as far as an engine, but earlier runs may have.
            (None, Work::Over) => forget_work(context, run.task).await,
            (None, Work::Kept | Work::Discarded) => {}
        }
    });
    match in_time(context, settling.catch_unwind()).await {
        Some(Ok(())) => {}
        Some(Err(_)) => error!(task, "an engine panicked while it cleaned up after a run, which is a bug"),
        None => warn!(
            task,
            "an engine could not clean up after a run in time; the next start removes what it has made here"
        ),
    }
    if work != Work::Kept {
        withdraw(context, run.task);
    }
}

/// After a training without a result, has engines look again: they may have learned of its LoRA just before.
fn withdraw(context: &Context, task: &TaskRow) {
    if task.operation == operations::SUBMIT_TRAINING.id {
        loras::withdraw(context);
    }
}

/// Deletes the pictures of a run without a result. Its row lists the run as orphaned, so upkeep deletes what stays.
async fn delete_pictures(context: &Context, run: &Run<'_>) {
    let tokens: Vec<AssetToken> = run.assets.iter().map(|asset| asset.token.clone()).collect();
    if tokens.is_empty() {
        return;
    }
    let task = run.task.id.as_str();
    let deletion = async { context.assets.delete(tokens).await?.deleted() };
    match in_time(context, deletion).await {
        Some(Ok(_)) => {}
        Some(Err(error)) => warn!(task, %error, "partial results could not be deleted; they are deleted later"),
        None => warn!(task, "partial results could not be deleted in time; they are deleted later"),
    }
}

/// Waits for work that depends on a disk. Returns `None` if the disk does not answer, or the stop has no more time for it.
async fn in_time<T>(context: &Context, work: impl Future<Output = T>) -> Option<T> {
    let out_of_time = async {
        context.ending.cancelled().await;
        if let Some(times) = context.stop_times.get() {
            tokio::time::sleep_until(times.answers).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = tokio::time::sleep(SLOW) => None,
        () = out_of_time => None,
    }
}

/// Has engines remove what interrupted runs of a task left for the next one, because the task has ended.
pub async fn forget(context: &Context, task: &TaskRow) {
    if in_time(context, forget_work(context, task)).await.is_none() {
        warn!(task = %task.id, "what runs of a task have left here could not be removed in time; the next start removes it");
    }
    withdraw(context, task);
}

/// Does so with the engine that serves the task, or if none does now, with all, because any may have served it before.
async fn forget_work(context: &Context, task: &TaskRow) {
    let engines: Vec<Arc<dyn Engine>> = match Needs::parse(&task.needs).find(&context.engines) {
        Ok(choice) => vec![choice.engine],
        Err(_) => context.engines.engines().to_vec(),
    };
    for engine in engines {
        engine.forget(task.id.as_str()).await;
    }
}

/// Writes how a run ended. Returns what becomes of its task.
pub async fn end(context: &Context, mut run: Run<'_>, outcome: Outcome) -> Next {
    let (id, previews) = (run.id.clone(), context.running.end_previews(run.id));
    // One that is being stored may leave a file.
    run.is_writing |= previews.is_some();
    let next = write_outcome(context, run, outcome).await;
    let previews = previews.unwrap_or_default();
    if !previews.is_empty() && in_time(context, previews::delete(context, previews)).await.is_none() {
        warn!(run = id.as_str(), "previews could not be deleted in time; they are deleted later");
    }
    next
}

async fn write_outcome(context: &Context, run: Run<'_>, outcome: Outcome) -> Next {
    let is_fault = matches!(outcome, Outcome::Deferred(_));
    if !matches!(&outcome, Outcome::Deferred(fault) if fault.absence.is_some()) {
        context.absences.over(&run.task.id);
    }
    let ending = match outcome {
        Outcome::Succeeded(output) => Ending::Succeeded(output),
        Outcome::Failed(reason) => Ending::Failed(reason),
        Outcome::HandedBack => return hand_back(context, &run, None).await,
        Outcome::Deferred(fault) => match lasts_too_long(context, run.task, &fault) {
            Some(time) => Ending::Failed(format!("{}, for {time}; not tried again", fault.public)),
            None => return hand_back(context, &run, Some(fault)).await,
        },
        Outcome::Cancelled => {
            let work = match &context.fleet {
                // Its row already has its end.
                None => Work::Over,
                // Or another process has taken it.
                Some(_) => stale_work(context, run.task, Work::Discarded).await,
            };
            clean_up(context, &run, work).await;
            return Next::Over;
        }
    };
    let has_succeeded = matches!(ending, Ending::Succeeded(_));
    let engine =
        run.choice.as_ref().map(|choice| (choice.engine.name().to_owned(), choice.offer.grade.as_str().to_owned()));
    let task = run.task.clone().ended(ending, engine, context.clock.now());
    let assets = if has_succeeded { run.assets.clone() } else { Vec::new() };
    let orphans_run = run.is_writing || assets.len() < run.assets.len();
    let callback = callbacks::reporting(&task, context.urls());
    let end = End { before: State::Running, task, assets, callback, orphans_run };
    if write_end(context, &run, &end).await {
        if !is_fault {
            release(context, &run.task.needs, run.is_answered);
        }
        if !has_succeeded {
            clean_up(context, &run, Work::Over).await;
        }
    }
    Next::Over
}

/// Writes the end of a task, however long it takes. Returns whether the end is this run's. If it is another's, cleans up.
pub async fn write_end(context: &Context, run: &Run<'_>, end: &End) -> bool {
    loop {
        match context.store.end(end.clone()).await {
            Ok(true) => break,
            Ok(false) if is_own_end(context, &end.task).await => break,
            // The task was cancelled or given to another run, so nothing of this run may remain.
            Ok(false) => {
                context.metrics.end_refused();
                clean_up(context, run, stale_work(context, run.task, Work::Discarded).await).await;
                return false;
            }
            Err(error) => {
                let problem = format!("the end of the task {} cannot be written: {error}", run.task.id);
                let pause = hold(context, &Fault::of_server(problem, ""));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // The next start runs it again.
                    () = context.ending.cancelled() => return false,
                }
            }
        }
    }
    announce(context, &end.task);
    true
}

/// Whether the row holds the end that this run wrote: a write may succeed although it returned an error.
async fn is_own_end(context: &Context, ended: &TaskRow) -> bool {
    loop {
        match context.store.task(ended.id.clone()).await {
            Ok(row) => return row.is_some_and(|row| row.run == ended.run && row.state == ended.state),
            Err(error) => {
                error!(task = %ended.id, %error, "the end of a task could not be read; trying again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    // As long as this is unknown, nothing may be deleted.
                    () = context.ending.cancelled() => return true,
                }
            }
        }
    }
}

/// What becomes of the work of a run that may not be its task's any more; `otherwise` unless the task is known to have ended. If
/// its row cannot be read, the next start sees to what its runs have left.
async fn stale_work(context: &Context, task: &TaskRow, otherwise: Work) -> Work {
    match context.store.task(task.id.clone()).await.ok().flatten().map(|now| now.state) {
        // Another run has the result, and what it has made stays.
        Some(State::Succeeded) => Work::Discarded,
        Some(State::Failed | State::Cancelled) => Work::Over,
        Some(State::Queued | State::Running) | None => otherwise,
    }
}

/// Returns a run to the queue: because of a fault, or because the service stops. Returns what becomes of its task.
pub async fn hand_back(context: &Context, run: &Run<'_>, fault: Option<Fault>) -> Next {
    // After a fault, the next run may begin as soon as the task is queued, and it looks for what this one has done. While
    // the service stops, none begins.
    let is_fault = fault.is_some();
    if is_fault {
        settle(context, run, Work::Kept).await;
    }
    let (next, work) = requeue(context, run.task, fault).await;
    if !is_fault || work != Work::Kept {
        settle(context, run, work).await;
    }
    delete_pictures(context, run).await;
    next
}

/// Queues a task again. Returns what becomes of it, and of what its run has done.
async fn requeue(context: &Context, task: &TaskRow, fault: Option<Fault>) -> (Next, Work) {
    let Some(run) = task.run.clone() else { return (Next::Over, Work::Kept) };
    let (id, is_fault) = (task.id.clone(), fault.is_some());
    let deferred_for = faulty_for(task.deferred_at, task.deferred_for, context.clock.read());
    let back = HandBack { task: id, run: run.clone(), is_fault, deferred_for, now: context.clock.now() };
    let faults = u32::try_from(task.deferrals + 1).unwrap_or(u32::MAX);
    let pause = fault.map_or(Duration::ZERO, |fault| defer(context, &task.id, &fault, faults));
    loop {
        match context.store.hand_back(back.clone()).await {
            Ok(true) => {
                info!(task = %task.id, run = run.as_str(), "task handed back; it is run again");
                return (Next::Queued(pause), Work::Kept);
            }
            // It was cancelled or taken away, or the answer to an earlier try was lost.
            // A place in the queue without a task is dropped by the next claim; a task without a place would be lost.
            Ok(false) => {
                return (Next::Queued(pause), stale_work(context, task, Work::Kept).await);
            }
            Err(error) if context.ending.is_cancelled() => {
                warn!(task = %task.id, %error, "a task could not be handed back; the next start queues it again");
                return (Next::Over, Work::Kept);
            }
            Err(error) => {
                let problem = format!("the task {} cannot be handed back: {error}", task.id);
                let pause = hold(context, &Fault::of_server(problem, ""));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = context.ending.cancelled() => {}
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
