//! The workers: each claims the next task, has an engine run it, and writes its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use imgopen_engine::{Choice, EngineError, Inputs, Job, JobRequest, Monitor, Output};
use imgopen_store::{AssetToken, Claim, End, Ending, NewAsset, RunId, State, StoredPicture, TaskOutput, TaskRow};
use imgopen_types::{Operation, operations};
use serde_json::Value;
use tracing::{error, info, warn};

use super::inputs::RequestPictures;
use super::needs::{self, Needs};
use crate::answers::{operation, operation_id};
use crate::callbacks;
use crate::context::Context;
use crate::live::Entry;

/// The pause after an error of the store.
const PAUSE: Duration = Duration::from_secs(1);

/// How a run ended.
enum Outcome {
    Succeeded(TaskOutput),
    Failed(String),
    /// The task was cancelled; its row already holds that end.
    Cancelled,
    /// The service is stopping.
    HandedBack,
}

/// Why a run has no result.
enum Fault {
    Cancelled,
    Reason(String),
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Cancelled => Self::Cancelled,
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
        let run = match RunId::new() {
            Ok(run) => run,
            Err(error) => {
                error!(%error, "no run id could be made");
                tokio::time::sleep(PAUSE).await;
                dispatch.put_back(&slot);
                continue;
            }
        };
        let (key, needs) = (slot.key.clone(), slot.needs.clone());
        let claim = Claim { key, needs, run, owner: context.owner.clone(), now: context.clock.now() };
        match context.store.claim(claim).await {
            Ok(Some(task)) => {
                run_task(&context, &task).await;
                dispatch.finished(&slot);
            }
            // The task was cancelled meanwhile.
            Ok(None) => dispatch.finished(&slot),
            Err(error) => {
                error!(%error, "the next task could not be claimed");
                tokio::time::sleep(PAUSE).await;
                dispatch.put_back(&slot);
            }
        }
    }
}

async fn run_task(context: &Context, task: &TaskRow) {
    let Some(id) = &task.run else {
        error!(task = %task.id, "a claimed task has no run; the next start runs it again");
        return;
    };
    let mut run = Run { task, id, choice: None, assets: Vec::new(), is_writing: false };
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
            outcome.unwrap_or_else(|_| Outcome::Failed(too_long(operation, limit)))
        }
    };
    end(context, run, outcome).await;
}

/// Waits until the task is cancelled. If that happened between the claim and the entry, only the row shows it.
async fn cancelled(context: &Context, task: &TaskRow, entry: &Entry) {
    match context.store.task(task.id.clone()).await {
        Ok(Some(now)) if now.state.is_final() => {}
        _ => entry.cancelled.cancelled().await,
    }
}

fn too_long(operation: &Operation, limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    format!("it took longer than {seconds} s, the time limit of `{}` (setting `time_limit`)", operation.id)
}

async fn carry_out(context: &Context, operation: &'static Operation, entry: &Entry, run: &mut Run<'_>) -> Outcome {
    let request: Value = match serde_json::from_str(&run.task.request) {
        Ok(request) => request,
        Err(error) => return Outcome::Failed(format!("its request cannot be read: {error}")),
    };
    match run_engine(context, operation, request, entry, run).await {
        Ok(output) => write(context, operation, output, run).await,
        // If the task was cancelled, its row already has its end, and this one is discarded.
        Err(Fault::Cancelled) => Outcome::Failed("the engine aborted, although the task was not cancelled".to_owned()),
        Err(Fault::Reason(reason)) => Outcome::Failed(reason),
    }
}

async fn run_engine(
    context: &Context,
    operation: &'static Operation,
    request: Value,
    entry: &Entry,
    run: &mut Run<'_>,
) -> Result<Output, Fault> {
    let choice = Needs::parse(&run.task.needs).choose(&context.engines);
    let choice = choice.map_err(|unavailable| Fault::Reason(unavailable.to_string()))?;
    let (monitor, watch) = Monitor::new();
    // However this run ends, the engine is cancelled.
    let _cancel = watch.cancel.clone().drop_guard();
    entry.watch(&choice, watch);
    run.choice = Some(choice.clone());
    let (id, attempt, engine) = (run.id.as_str(), run.task.attempt, choice.engine.name());
    info!(task = %run.task.id, run = id, attempt, engine, "run started");
    let pictures = RequestPictures::new(context, operation, &request);
    let inputs = match choice.offer.inputs {
        Inputs::Fetched => pictures.fetch_all().await?,
        Inputs::Unused | Inputs::OnDemand => Vec::new(),
    };
    let options = needs::read_options(run.task.options.as_ref());
    let options = options.map_err(|error| Fault::Reason(format!("its options cannot be read: {error}")))?;
    let request = JobRequest::new(run.task.id.as_str(), operation, request).with_options(options);
    let job = Job::new(request, run.id.as_str())
        .with_inputs(inputs)
        .with_limits(context.settings.picture_limits())
        .with_plan(run.task.plan.clone())
        .with_fetcher(Arc::new(pictures));
    let running = AssertUnwindSafe(async { choice.engine.run(job, monitor).await }).catch_unwind();
    let panicked = |_| Fault::Reason(format!("the engine `{}` panicked; see the server's log", choice.engine.name()));
    Ok(running.await.map_err(panicked)??)
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
            Err(error) => {
                error!(%error, "a result could not be stored");
                return Outcome::Failed("its result could not be stored; see the server's log".to_owned());
            }
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

async fn end(context: &Context, run: Run<'_>, outcome: Outcome) {
    let ending = match outcome {
        Outcome::Succeeded(output) => Ending::Succeeded(output),
        other => {
            discard(context, &run).await;
            match other {
                Outcome::Failed(reason) => Ending::Failed(reason),
                Outcome::HandedBack => return hand_back(context, &run).await,
                Outcome::Cancelled | Outcome::Succeeded(_) => return,
            }
        }
    };
    let engine =
        run.choice.as_ref().map(|choice| (choice.engine.name().to_owned(), choice.offer.grade.as_str().to_owned()));
    let task = run.task.clone().ended(ending, engine, context.clock.now());
    let assets = if task.state == State::Succeeded { run.assets.clone() } else { Vec::new() };
    let callback = callbacks::reporting(&task, context.urls());
    let end = End { before: State::Running, task, assets, callback, orphans_run: run.is_writing };
    loop {
        match context.store.end(end.clone()).await {
            Ok(true) => return announce(context, &end.task),
            Ok(false) if is_own_end(context, &end.task).await => return announce(context, &end.task),
            // The task was cancelled or given to another run, so nothing of this run may remain.
            Ok(false) => return discard(context, &run).await,
            Err(error) => {
                error!(task = %run.task.id, %error, "the end of a task could not be written; trying again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    // The next start runs it again.
                    () = context.ending.cancelled() => return,
                }
            }
        }
    }
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

async fn hand_back(context: &Context, run: &Run<'_>) {
    let handed_back = context.store.hand_back(run.task.id.clone(), run.id.clone(), context.clock.now()).await;
    match handed_back {
        Ok(true) => info!(task = %run.task.id, run = run.id.as_str(), "task handed back; it is run again"),
        // It was cancelled or taken away.
        Ok(false) => {}
        Err(error) => {
            warn!(task = %run.task.id, %error, "a task could not be handed back; the next start queues it again");
        }
    }
}

/// Reports the end of a task: in metrics, in the log, and to waiting calls and the callback loop.
pub fn announce(context: &Context, task: &TaskRow) {
    let run = task.started_at.and_then(|start| Some(task.finished_at?.since(start)));
    let (id, state) = (operation_id(task), task.state.as_str());
    context.metrics.finished(id, task.engine.as_deref(), state, run);
    info!(task = %task.id, operation = id, state, engine = task.engine, failure = task.failure, ?run, "task ended");
    // An error means that no call is waiting.
    let _ = context.endings.send(task.id.clone());
    if task.callback_url.is_some() {
        context.pushes.notify_one();
    }
}

#[cfg(test)]
mod tests;
