//! The workers: each claims the next task, has an engine run it, and writes its end.
//!
//! A run that fails through no fault of its task, because the disk is full or a back end is away, goes back to the queue
//! without counting, and the tasks that the fault concerns are held for a while.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use imgopen_engine::{Choice, EngineError, Inputs, Job, JobRequest, Monitor, Output, Watch};
use imgopen_store::{
    AssetToken, Claim, End, Ending, HandBack, NewAsset, RunId, State, StoredPicture, TaskId, TaskOutput, TaskRow,
};
use imgopen_types::{Operation, operations};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, info, warn};

use super::announce::announce;
use super::faults::{Fault, defer, hold, lasts_too_long, release, release_if_idle};
use super::inputs::RequestPictures;
use super::needs::{self, Needs};
use crate::answers::operation;
use crate::callbacks;
use crate::context::Context;
use crate::dispatch::Slot;
use crate::live::Entry;

/// The pause between two attempts to read a row.
const PAUSE: Duration = Duration::from_secs(1);

/// What callers see if results could not be stored for too long.
const UNSTORED: &str = "its result could not be stored";

/// How long an engine may go on after its run before that is reported.
const SLOW_END: Duration = Duration::from_secs(30);

/// How a run ended.
enum Outcome {
    Succeeded(TaskOutput),
    Failed(String),
    /// The task was cancelled; its row already holds that end.
    Cancelled,
    /// The service is stopping.
    HandedBack,
    /// It met a fault that is not the task's.
    Deferred(Fault),
}

/// What becomes of a task after a run.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It does not wait for another run here.
    Over,
    /// It is queued again, and its next run may begin after this pause.
    Queued(Duration),
}

/// Why a run has no result.
enum Stopped {
    Cancelled,
    Reason(String),
    Fault(Fault),
}

impl Stopped {
    /// What an engine's error means for a task with these needs.
    fn by(error: EngineError, needs: &str) -> Self {
        match error {
            EngineError::Cancelled => Self::Cancelled,
            EngineError::Unavailable { retry_after, .. } => Self::Fault(Fault::of_engine(needs, error, retry_after)),
            error => Self::Reason(error.to_string()),
        }
    }
}

/// The state of a run, which decides what must be deleted if it ends without a result.
struct Run<'a> {
    task: &'a TaskRow,
    id: &'a RunId,
    /// The engine that runs the task, with its offer.
    choice: Option<Choice>,
    /// The pictures that are written.
    assets: Vec<NewAsset>,
    /// Whether a file may have been written that is not among the assets.
    is_writing: bool,
    /// The engine's work, once it has begun.
    watch: Option<Watch>,
    /// Whether it waits for memory.
    is_waiting: bool,
    /// Whether the engine did its work, with a result or without, so that it is there.
    is_answered: bool,
    /// The memory that the work takes.
    memory: Option<OwnedSemaphorePermit>,
}

impl<'a> Run<'a> {
    fn new(task: &'a TaskRow, id: &'a RunId) -> Self {
        Self {
            task,
            id,
            choice: None,
            assets: Vec::new(),
            is_writing: false,
            watch: None,
            is_waiting: false,
            is_answered: false,
            memory: None,
        }
    }
}

/// Runs one task after the other in a slot of a pool until the service stops.
pub async fn work(context: Arc<Context>, pool: usize) {
    let dispatch = &context.dispatch;
    while !context.stopping.is_cancelled() {
        let Some(slot) = dispatch.next(pool) else {
            tokio::select! {
                () = dispatch.changed(pool) => {}
                () = context.stopping.cancelled() => {}
            }
            continue;
        };
        run_slot(&context, &slot, None).await;
    }
}

/// Runs the tasks that may be to blame for deaths of the process, each alone, before the workers begin. If the process
/// dies again, no other task suffers.
pub async fn run_suspects(context: &Context, suspects: Vec<TaskRow>) {
    for task in suspects {
        if context.stopping.is_cancelled() {
            return;
        }
        info!(task = %task.id, attempt = task.attempt + 1, "task run alone, because the process died during earlier runs");
        let pool = Needs::parse(&task.needs).pool(context);
        let slot = Slot { pool, key: task.key, needs: task.needs };
        context.dispatch.take(&slot);
        run_slot(context, &slot, Some(task.id)).await;
    }
}

/// Claims a task for a slot, that one if it is given, and runs it. Gives the slot back.
async fn run_slot(context: &Context, slot: &Slot, only: Option<TaskId>) {
    let (dispatch, is_particular) = (&context.dispatch, only.is_some());
    match claim(context, slot, only).await {
        Ok(Some(task)) => {
            let next = match AssertUnwindSafe(run_task(context, &task)).catch_unwind().await {
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
        // The task was cancelled, which had removed it from the queue; the place that was taken is that of another one.
        Ok(None) if is_particular => dispatch.put_back(slot),
        // The task was cancelled meanwhile.
        Ok(None) => dispatch.finished(slot),
        Err(problem) => {
            hold(context, &Fault::of_server(format!("the next task cannot be claimed: {problem}"), ""));
            dispatch.put_back(slot);
        }
    }
    release_if_idle(context);
}

/// Puts a task off whose run panicked, or fails it if its runs have met faults for too long.
async fn after_panic(context: &Context, task: &TaskRow, fault: Fault) -> Next {
    let Some(since) = lasts_too_long(context, task) else { return hand_back(context, task, Some(fault)).await };
    let Some(id) = &task.run else { return Next::Over };
    error!(task = %task.id, problem = fault.problem, "a task fails, because its runs panic");
    let ending = Ending::Failed(format!("the server failed on it for {since}; not tried again"));
    let ended = task.clone().ended(ending, None, context.clock.now());
    let callback = callbacks::reporting(&ended, context.urls());
    let end = End { before: State::Running, task: ended, assets: Vec::new(), callback, orphans_run: true };
    write_end(context, &Run::new(task, id), &end).await;
    Next::Over
}

/// Frees a slot at once, and gives its task the place in the queue back after a pause. Until then, its row waits behind all
/// others of its key that need the same.
fn put_back_later(context: &Context, slot: &Slot, pause: Duration) {
    context.dispatch.finished(slot);
    let (dispatch, slot) = (context.dispatch.clone(), slot.clone());
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        dispatch.refill(slot, 1);
    });
}

/// Claims a task. If the answer of the store is lost, finds out whether the claim was carried out.
async fn claim(context: &Context, slot: &Slot, only: Option<TaskId>) -> Result<Option<TaskRow>, String> {
    let run = RunId::new().map_err(|error| error.to_string())?;
    let (key, needs, owner) = (slot.key.clone(), slot.needs.clone(), context.owner.clone());
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
async fn run_task(context: &Context, task: &TaskRow) -> Next {
    let Some(id) = &task.run else {
        error!(task = %task.id, "a claimed task has no run; the next start runs it again");
        return Next::Over;
    };
    let mut run = Run::new(task, id);
    let entry = context.running.enter(&task.id, id);
    let Some(operation) = operation(task) else {
        let reason = format!("this version does not know the operation `{}`", task.operation);
        return end(context, run, Outcome::Failed(reason)).await;
    };
    context.metrics.started(operation.id, context.clock.now().since(task.created_at));
    let limit = context.settings.time_limit(operation.id);
    let outcome = tokio::select! {
        biased;
        () = cancelled(context, task, &entry) => Outcome::Cancelled,
        () = context.ending.cancelled() => Outcome::HandedBack,
        outcome = tokio::time::timeout(limit, carry_out(context, operation, &entry, &mut run)) => {
            outcome.unwrap_or_else(|_| too_long(operation, limit, &run))
        }
    };
    let (watch, memory) = (run.watch.take(), run.memory.take());
    let next = end(context, run, outcome).await;
    if let Some(watch) = watch {
        ended(context, task, &watch).await;
    }
    drop(memory);
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

/// Waits until the task is cancelled. If that happened between the claim and the entry, only the row shows it.
async fn cancelled(context: &Context, task: &TaskRow, entry: &Entry) {
    match context.store.task(task.id.clone()).await {
        Ok(Some(now)) if now.state.is_final() => {}
        _ => entry.cancelled.cancelled().await,
    }
}

/// The time limit has passed. If the run was still waiting for memory, or already for the disk, that was not its fault.
fn too_long(operation: &Operation, limit: Duration, run: &Run<'_>) -> Outcome {
    let seconds = limit.as_secs_f64();
    if run.is_waiting {
        let problem = format!("no memory was free for `{}` within {seconds} s", operation.id);
        return Outcome::Deferred(Fault::of_engine(&run.task.needs, problem, None));
    }
    if run.is_writing {
        let problem = format!("a picture could not be written within the {seconds} s of its run; check the disk");
        return Outcome::Deferred(Fault::of_server(problem, UNSTORED));
    }
    Outcome::Failed(format!(
        "it took longer than {seconds} s, the time limit of `{}` (setting `time_limit`)",
        operation.id
    ))
}

async fn carry_out(context: &Context, operation: &'static Operation, entry: &Entry, run: &mut Run<'_>) -> Outcome {
    let request: Value = match serde_json::from_str(&run.task.request) {
        Ok(request) => request,
        Err(error) => return Outcome::Failed(format!("its request cannot be read: {error}")),
    };
    match run_engine(context, operation, request, entry, run).await {
        Ok(output) => write(context, operation, output, run).await,
        // If the task was cancelled, its row already has its end, and this one is discarded.
        Err(Stopped::Cancelled) => {
            Outcome::Failed("the engine aborted, although the task was not cancelled".to_owned())
        }
        Err(Stopped::Reason(reason)) => Outcome::Failed(reason),
        Err(Stopped::Fault(fault)) => Outcome::Deferred(fault),
    }
}

async fn run_engine(
    context: &Context,
    operation: &'static Operation,
    request: Value,
    entry: &Entry,
    run: &mut Run<'_>,
) -> Result<Output, Stopped> {
    let needs = run.task.needs.as_str();
    let choice = Needs::parse(needs).choose(&context.engines);
    let choice = choice.map_err(|unavailable| Stopped::Fault(Fault::of_engine(needs, unavailable, None)))?;
    let (monitor, watch) = Monitor::new();
    // However this run ends, the engine is cancelled.
    let _cancel = watch.cancel.clone().drop_guard();
    entry.watch(&choice, watch.clone());
    run.choice = Some(choice.clone());
    let (id, attempt, engine) = (run.id.as_str(), run.task.attempt, choice.engine.name());
    info!(task = %run.task.id, run = id, attempt, engine, "run started");
    let pictures = RequestPictures::new(context, operation, &request);
    let inputs = match choice.offer.inputs {
        Inputs::Fetched => pictures.fetch_all().await.map_err(|error| match error {
            EngineError::Unavailable { reason, .. } => Stopped::Fault(Fault::of_network(reason)),
            error => Stopped::by(error, needs),
        })?,
        Inputs::Unused | Inputs::OnDemand => Vec::new(),
    };
    let options = needs::read_options(run.task.options.as_ref());
    let options = options.map_err(|error| Stopped::Reason(format!("its options cannot be read: {error}")))?;
    let request = JobRequest::new(run.task.id.as_str(), operation, request).with_options(options);
    let job = Job::new(request, run.id.as_str())
        .with_inputs(inputs)
        .with_limits(context.settings.picture_limits())
        .with_plan(run.task.plan.clone())
        .with_fetcher(Arc::new(pictures));
    let panicked = |_| Stopped::Reason(format!("the engine `{}` panicked; see the server's log", choice.engine.name()));
    let memory = catch_unwind(AssertUnwindSafe(|| choice.engine.memory(&job))).map_err(panicked)?;
    run.is_waiting = true;
    run.memory = context.memory.take(memory).await;
    run.is_waiting = false;
    run.watch = Some(watch);
    let running = AssertUnwindSafe(async { choice.engine.run(job, monitor).await }).catch_unwind();
    let stopped = running.await.map_err(panicked)?.map_err(|error| Stopped::by(error, needs));
    run.is_answered = !matches!(stopped, Err(Stopped::Fault(_)));
    stopped
}

/// Writes the pictures. They become visible only with the end of the task.
async fn write(context: &Context, operation: &Operation, output: Output, run: &mut Run<'_>) -> Outcome {
    let expires_at = context.settings.assets.lifetime.map(|lifetime| context.clock.now().plus(lifetime));
    let mut stored = Vec::new();
    for picture in &output.pictures {
        run.is_writing = true;
        match context.assets.put(run.id, picture, expires_at).await {
            Ok(asset) => {
                let (token, seed) = (asset.token.clone(), picture.seed);
                stored.push(StoredPicture { token, width: picture.width, height: picture.height, seed });
                run.assets.push(asset);
            }
            Err(error) => return Outcome::Deferred(Fault::of_server(error, UNSTORED)),
        }
    }
    run.is_writing = false;
    let Output { caption, prompts, style_labels, faces, .. } = output;
    // An empty list is a result, too.
    let style_labels = (*operation == operations::RECOGNIZE_STYLE).then_some(style_labels);
    let faces = (*operation == operations::DETECT_FACES).then_some(faces);
    Outcome::Succeeded(TaskOutput { pictures: stored, caption, prompts, style_labels, faces })
}

/// Deletes the files of a run without a result. If pictures cannot be deleted, records the run as orphaned.
async fn discard(context: &Context, run: &Run<'_>) {
    if let Some(choice) = &run.choice {
        choice.engine.discard(run.task.id.as_str(), run.id.as_str()).await;
    }
    let tokens: Vec<&AssetToken> = run.assets.iter().map(|asset| &asset.token).collect();
    if let Err(error) = context.assets.delete(tokens).await {
        warn!(task = %run.task.id, %error, "partial results could not be deleted; they are deleted later");
        if let Err(error) = context.store.orphan_run(run.id.clone(), context.clock.now()).await {
            error!(task = %run.task.id, %error, "partial results are left in the data directory");
        }
    }
}

/// Writes how a run ended. Returns what becomes of its task.
async fn end(context: &Context, run: Run<'_>, outcome: Outcome) -> Next {
    let is_fault = matches!(outcome, Outcome::Deferred(_));
    let ending = match outcome {
        Outcome::Succeeded(output) => Ending::Succeeded(output),
        other => {
            discard(context, &run).await;
            match other {
                Outcome::Failed(reason) => Ending::Failed(reason),
                Outcome::HandedBack => return hand_back(context, run.task, None).await,
                Outcome::Deferred(fault) => match lasts_too_long(context, run.task) {
                    Some(since) => Ending::Failed(format!("{}, for {since}; not tried again", fault.public)),
                    None => return hand_back(context, run.task, Some(fault)).await,
                },
                Outcome::Cancelled | Outcome::Succeeded(_) => return Next::Over,
            }
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
async fn write_end(context: &Context, run: &Run<'_>, end: &End) -> bool {
    loop {
        match context.store.end(end.clone()).await {
            Ok(true) => break,
            Ok(false) if is_own_end(context, &end.task).await => break,
            // The task was cancelled or given to another run, so nothing of this run may remain.
            Ok(false) => {
                discard(context, run).await;
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
async fn hand_back(context: &Context, task: &TaskRow, fault: Option<Fault>) -> Next {
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
            Ok(false) => return Next::Queued(pause),
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

#[cfg(test)]
mod tests;
