//! The workers: each claims the next task, has an engine run it, and writes its end.
//!
//! A run that fails through no fault of its task, because the disk is full or a back end is away, goes back to the queue
//! without counting, and the tasks that the fault concerns are held for a while.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use imgopen_engine::Watch;
use imgopen_store::{Claim, End, Ending, RunId, State, TaskId, TaskRow};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::ending::{Next, Work, clean_up, end, hand_back, write_end};
use super::faults::{Fault, hold, lasts_too_long, release_if_idle};
use super::needs::Needs;
use super::run::{Outcome, Places, Run, carry_out};
use crate::answers::operation;
use crate::callbacks;
use crate::context::Context;
use crate::dispatch::{Begin, Slot};
use crate::live::Entry;

/// How long an engine may go on after its run before that is reported.
const SLOW_END: Duration = Duration::from_secs(30);

/// The pause after which a process that may not begin runs looks whether it may.
const HELD: Duration = Duration::from_millis(100);

/// How long a task that may be to blame for deaths of the process keeps the others waiting. Longer than most time limits.
pub const ALONE: Duration = Duration::from_secs(10 * 60);

/// Runs one task after the other of a pool whose runs begin in that way, until the service stops.
pub async fn work(context: Arc<Context>, pool: usize, begin: Begin) {
    let (dispatch, stopping) = (&context.dispatch, &context.stopping);
    while !stopping.is_cancelled() {
        if !may_claim(&context) {
            tokio::select! {
                () = tokio::time::sleep(HELD) => {}
                () = stopping.cancelled() => {}
            }
            continue;
        }
        let slot = match begin {
            // It takes one when it has its pictures.
            Begin::Fetching => None,
            Begin::Working => match stopping.run_until_cancelled(dispatch.slot(pool)).await {
                Some(slot) => slot,
                None => return,
            },
        };
        // It may have waited long for its slot.
        let next = if may_claim(&context) { dispatch.next(pool, begin) } else { continue };
        let Some(taken) = next else {
            drop(slot);
            tokio::select! {
                () = dispatch.changed(pool, begin) => {}
                () = stopping.cancelled() => {}
            }
            continue;
        };
        let (fetching, starting) = (dispatch.fetching(&taken), dispatch.starting(&taken));
        let places = Places { pool, fetching, slot, starting };
        run_slot(&context, &taken, places, None).await;
    }
}

/// Whether this process may begin runs, if it is one of several: it is sure of its lease, and does not drain.
fn may_claim(context: &Context) -> bool {
    context.fleet.as_ref().is_none_or(|fleet| fleet.may_claim() && !fleet.is_draining())
}

/// Runs the tasks that may be to blame for deaths of the process, each alone, before the workers begin. If the process
/// dies again, no other task suffers. One that has gone on for `alone` goes on beside the others, so that a training of many
/// hours does not keep them waiting. One that gets no slot in that time, because such trainings have them, is left to the
/// workers.
pub async fn run_suspects(context: &Arc<Context>, suspects: Vec<TaskRow>, alone: Duration, tasks: &TaskTracker) {
    for task in suspects {
        let slot = Needs::parse(&task.needs).slot(context, task.key.clone());
        let free = timeout(alone, context.dispatch.slot(slot.pool));
        let permit = match context.stopping.run_until_cancelled(free).await {
            Some(Ok(permit)) => permit,
            Some(Err(_)) => {
                warn!(task = %task.id, "task not run alone, because no slot is free; it may still end the process");
                continue;
            }
            None => return,
        };
        info!(task = %task.id, attempt = task.attempt + 1, "task run alone, because the process died during earlier runs");
        let (claimed, is_claimed) = oneshot::channel();
        let id = task.id.clone();
        let run = tasks.spawn(run_alone(context.clone(), slot, permit, Particular { task: task.id, claimed }));
        // An error means that it was not claimed, and the run is over.
        let _ = is_claimed.await;
        match timeout(alone, run).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => error!(task = %id, "the run of a suspect panicked, which is a bug"),
            Err(_) => info!(task = %id, ?alone, "task has run alone for long enough; it goes on beside the others"),
        }
    }
}

/// A task that a slot is for.
struct Particular {
    task: TaskId,
    /// Notified once it is claimed.
    claimed: oneshot::Sender<()>,
}

async fn run_alone(context: Arc<Context>, slot: Slot, permit: Option<OwnedSemaphorePermit>, only: Particular) {
    context.dispatch.take(&slot);
    // It fetches in its slot, because no other run wants it.
    let places = Places { pool: slot.pool, slot: permit, ..Places::default() };
    run_slot(&context, &slot, places, Some(only)).await;
}

/// Claims a task for a slot, that one if it is given, and runs it. Gives the slot back.
async fn run_slot(context: &Context, slot: &Slot, places: Places, only: Option<Particular>) {
    let (dispatch, is_particular) = (&context.dispatch, only.is_some());
    let (only, is_claimed) = only.map(|only| (only.task, only.claimed)).unzip();
    let entry = RunId::new().map(|id| context.running.enter(id)).map_err(|error| error.to_string());
    let claimed = match &entry {
        Ok(entry) => claim(context, slot, &entry.id, only).await.map(|task| task.map(|task| (task, entry))),
        Err(problem) => Err(problem.clone()),
    };
    match claimed {
        Ok(Some((task, entry))) => {
            // Nobody waits for it any more if this fails.
            let _ = is_claimed.map(|is_claimed| is_claimed.send(()));
            let next = match AssertUnwindSafe(run_task(context, &task, entry, places)).catch_unwind().await {
                Ok(next) => next,
                Err(_) => {
                    let problem = format!("the run of the task {} panicked outside its engine; this is a bug", task.id);
                    let fault = Fault::of_engine(&task.needs, problem, None);
                    after_panic(context, &task, fault).await
                }
            };
            match next {
                Next::Over => dispatch.finished(slot),
                Next::Queued(Duration::ZERO) => dispatch.put_back(slot),
                Next::Queued(pause) => put_back_later(context, slot, pause),
            }
        }
        Ok(None) => {
            drop(places);
            match is_particular {
                // Another process was faster, or the task was cancelled.
                _ if dispatch.is_shared() => dispatch.dropped(slot),
                // The task was cancelled, which had removed it from the queue; the place that was taken is that of
                // another one.
                true => dispatch.put_back(slot),
                // The task was cancelled meanwhile.
                false => dispatch.finished(slot),
            }
        }
        Err(problem) => {
            drop(places);
            hold(context, &Fault::of_server(format!("the next task cannot be claimed: {problem}"), ""));
            dispatch.put_back(slot);
        }
    }
    release_if_idle(context);
}

/// Puts a task off whose run panicked, or fails it if its runs have met faults for too long.
async fn after_panic(context: &Context, task: &TaskRow, fault: Fault) -> Next {
    let Some(id) = &task.run else { return Next::Over };
    // The engine has what the run has done, if it got so far.
    let choice = Needs::parse(&task.needs).find(&context.engines).ok();
    let run = Run { choice, is_writing: true, ..Run::new(task, id, Places::default()) };
    let Some(time) = lasts_too_long(context, task, &fault) else { return hand_back(context, &run, Some(fault)).await };
    error!(task = %task.id, problem = fault.problem, "a task fails, because its runs panic");
    let ending = Ending::Failed(format!("the server failed on it for {time}; not tried again"));
    let ended = task.clone().ended(ending, None, context.clock.now());
    let callback = callbacks::reporting(&ended, context.urls());
    let end = End { before: State::Running, task: ended, assets: Vec::new(), callback, orphans_run: true };
    if write_end(context, &run, &end).await {
        clean_up(context, &run, Work::Over).await;
    }
    Next::Over
}

/// Frees a slot at once, and gives its task the place in the queue back after a pause. Until then, its row waits behind all
/// others of its key that need the same. Of several processes, another may take it meanwhile.
fn put_back_later(context: &Context, slot: &Slot, pause: Duration) {
    context.dispatch.rests(slot);
    let (dispatch, slot) = (context.dispatch.clone(), slot.clone());
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        dispatch.rested(slot);
    });
}

/// Claims a task for a run. If the answer of the store is lost, finds out whether the claim was carried out.
async fn claim(context: &Context, slot: &Slot, run: &RunId, only: Option<TaskId>) -> Result<Option<TaskRow>, String> {
    let (key, needs, owner) = (slot.key.clone(), slot.needs.clone(), context.owner());
    let claim = Claim { key, needs, run: run.clone(), owner: owner.clone(), now: context.clock.now(), only };
    let error = match context.store.claim(claim).await {
        Ok(claimed) => return Ok(claimed),
        Err(error) => error,
    };
    while error.may_be_done() && !context.stopping.is_cancelled() {
        match context.store.claimed(owner.clone(), run.clone()).await {
            Ok(Some(task)) => return Ok(Some(task)),
            Ok(None) => break,
            Err(error) => {
                let pause = hold(context, &Fault::of_server(format!("a claim cannot be read back: {error}"), ""));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = context.stopping.cancelled() => {}
                }
            }
        }
    }
    Err(error.to_string())
}

/// Runs a claimed task. Returns what becomes of it.
async fn run_task(context: &Context, task: &TaskRow, entry: &Entry, places: Places) -> Next {
    let mut run = Run::new(task, &entry.id, places);
    let Some(operation) = operation(task) else {
        let reason = format!("this version does not know the operation `{}`", task.operation);
        return end(context, run, Outcome::Failed(reason)).await;
    };
    context.metrics.started(operation.id, context.clock.now().since(task.created_at));
    let outcome = tokio::select! {
        biased;
        () = entry.cancelled.cancelled() => Outcome::Cancelled,
        () = context.ending.cancelled() => Outcome::HandedBack,
        outcome = carry_out(context, operation, entry, &mut run) => outcome,
    };
    let held = (run.watch.take(), run.memory.take(), std::mem::take(&mut run.places));
    let next = end(context, run, outcome).await;
    let (watch, memory, places) = held;
    if let Some(watch) = watch {
        ended(context, task, &watch).await;
    }
    drop((memory, places));
    next
}

/// Waits until the engine has really ended, because a thread may go on for a while after its run was cancelled or took too
/// long. Until then the run keeps its slot and its memory, so that `workers` bounds the work, not only the runs.
async fn ended(context: &Context, task: &TaskRow, watch: &Watch) {
    let mut ended = std::pin::pin!(watch.ended());
    tokio::select! {
        () = &mut ended => return,
        () = context.ending.cancelled() => return,
        () = tokio::time::sleep(SLOW_END) => {}
    }
    warn!(task = %task.id, "an engine still works on a task that has ended; its slot is free again when it ends");
    tokio::select! {
        () = ended => info!(task = %task.id, "the engine has ended"),
        () = context.ending.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
