//! Writes how runs end, or hands them back.

use std::time::Duration;

use imgopen_store::{AssetToken, End, Ending, HandBack, State, TaskRow};
use tracing::{error, info, warn};

use super::announce::announce;
use super::faults::{Fault, defer, hold, lasts_too_long, release};
use super::needs::Needs;
use super::run::{Outcome, Run};
use crate::callbacks;
use crate::context::Context;

/// The pause between two attempts to read a row.
const PAUSE: Duration = Duration::from_secs(1);

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
enum Work {
    /// The next run of the task may go on with it.
    Kept,
    Discarded,
}

/// Deletes the files of a run without a result. If pictures cannot be deleted, records the run as orphaned.
async fn discard(context: &Context, run: &Run<'_>, work: Work) {
    if let Some(choice) = &run.choice {
        let (task, id) = (run.task.id.as_str(), run.id.as_str());
        match work {
            Work::Kept => choice.engine.interrupt(task, id).await,
            Work::Discarded => choice.engine.discard(task, id).await,
        }
    }
    let tokens: Vec<&AssetToken> = run.assets.iter().map(|asset| &asset.token).collect();
    if let Err(error) = context.assets.delete(tokens).await {
        warn!(task = %run.task.id, %error, "partial results could not be deleted; they are deleted later");
        if let Err(error) = context.store.orphan_run(run.id.clone(), context.clock.now()).await {
            error!(task = %run.task.id, %error, "partial results are left in the data directory");
        }
    }
}

/// Has the engine remove what interrupted runs of a task left for the next one, because the task has ended.
pub async fn forget(context: &Context, task: &TaskRow) {
    if let Ok(choice) = Needs::parse(&task.needs).choose(&context.engines) {
        choice.engine.forget(task.id.as_str()).await;
    }
}

/// Writes how a run ended. Returns what becomes of its task.
pub async fn end(context: &Context, run: Run<'_>, outcome: Outcome) -> Next {
    let is_fault = matches!(outcome, Outcome::Deferred(_));
    let ending = match outcome {
        Outcome::Succeeded(output) => Ending::Succeeded(output),
        Outcome::HandedBack => {
            discard(context, &run, Work::Kept).await;
            return hand_back(context, run.task, None).await;
        }
        Outcome::Deferred(fault) => match lasts_too_long(context, run.task) {
            Some(since) => {
                discard(context, &run, Work::Discarded).await;
                Ending::Failed(format!("{}, for {since}; not tried again", fault.public))
            }
            None => {
                discard(context, &run, Work::Kept).await;
                return hand_back(context, run.task, Some(fault)).await;
            }
        },
        Outcome::Failed(reason) => {
            discard(context, &run, Work::Discarded).await;
            Ending::Failed(reason)
        }
        Outcome::Cancelled => {
            discard(context, &run, Work::Discarded).await;
            return Next::Over;
        }
    };
    let has_succeeded = matches!(ending, Ending::Succeeded(_));
    let engine =
        run.choice.as_ref().map(|choice| (choice.engine.name().to_owned(), choice.offer.grade.as_str().to_owned()));
    let task = run.task.clone().ended(ending, engine, context.clock.now());
    let assets = if has_succeeded { run.assets.clone() } else { Vec::new() };
    let callback = callbacks::reporting(&task, context.urls());
    let end = End { before: State::Running, task, assets, callback, orphans_run: run.is_writing };
    if write_end(context, &run, &end).await && !is_fault {
        release(context, &run.task.needs, run.is_answered);
    }
    Next::Over
}

/// Writes the end of a task, however long it takes. Returns whether the end is this run's.
pub async fn write_end(context: &Context, run: &Run<'_>, end: &End) -> bool {
    loop {
        match context.store.end(end.clone()).await {
            Ok(true) => break,
            Ok(false) if is_own_end(context, &end.task).await => break,
            // The task was cancelled or given to another run, so nothing of this run may remain.
            Ok(false) => {
                discard(context, run, Work::Discarded).await;
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

/// Returns a task's run to the queue: because of a fault, or because the service stops. Returns what becomes of the task.
pub async fn hand_back(context: &Context, task: &TaskRow, fault: Option<Fault>) -> Next {
    let Some(run) = task.run.clone() else { return Next::Over };
    let now = context.clock.now();
    let handed_back = HandBack { task: task.id.clone(), run: run.clone(), is_fault: fault.is_some(), now };
    let faults = u32::try_from(task.deferrals + 1).unwrap_or(u32::MAX);
    let pause = fault.map_or(Duration::ZERO, |fault| defer(context, &task.id, &fault, faults));
    loop {
        match context.store.hand_back(handed_back.clone()).await {
            Ok(true) => {
                info!(task = %task.id, run = run.as_str(), "task handed back; it is run again");
                return Next::Queued(pause);
            }
            // It was cancelled or taken away, or the answer to an earlier try was lost.
            // A place in the queue without a task is dropped by the next claim; a task without a place would be lost.
            Ok(false) => {
                // If this cannot be read, the next start sees to it.
                if let Ok(Some(now)) = context.store.task(task.id.clone()).await
                    && now.state.is_final()
                {
                    forget(context, &now).await;
                }
                return Next::Queued(pause);
            }
            Err(error) if context.ending.is_cancelled() => {
                warn!(task = %task.id, %error, "a task could not be handed back; the next start queues it again");
                return Next::Over;
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
