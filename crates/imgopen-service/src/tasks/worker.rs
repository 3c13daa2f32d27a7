//! The workers: each takes the next task, has an engine run it, and writes its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use imgopen_engines::{EngineError, Input, Inputs, Job, Monitor, Output};
use imgopen_store::{AssetToken, Claim, End, Ending, NewAsset, RunId, State, StoredPicture, TaskOutput, TaskRow};
use imgopen_types::{Operation, operations};
use serde_json::Value;
use tracing::{error, info, warn};

use super::inputs;
use super::needs::{self, Needs};
use crate::answers::{operation, operation_id};
use crate::callbacks;
use crate::context::Context;
use crate::live::Entry;
use crate::training;

/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How a run ended.
enum Outcome {
    Succeeded(TaskOutput),
    Failed(String),
    /// The task was cancelled. Its row says so already.
    Cancelled,
    /// The service stops.
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

/// What a run has done so far, however it ends.
struct Run<'a> {
    task: &'a TaskRow,
    id: &'a RunId,
    /// The name of the engine at work, and its grade.
    engine: Option<(String, String)>,
    /// The pictures that are written.
    assets: Vec<NewAsset>,
    /// Whether a picture may be written that is not among the assets.
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
                error!(%error, "no run can begin");
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
            // It was cancelled meanwhile.
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
    let mut run = Run { task, id, engine: None, assets: Vec::new(), is_writing: false };
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
    if *operation == operations::SUBMIT_TRAINING {
        training::discard(context, task).await;
    }
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
    let output = match *operation == operations::SUBMIT_TRAINING {
        true => Err(Fault::Reason(training::run(context, run.task, operation, &request).await)),
        false => run_engine(context, operation, request, entry, run).await,
    };
    match output {
        Ok(output) => write(context, operation, output, run).await,
        // If the task was not cancelled, this is its end; if it was, the row has its end already.
        Err(Fault::Cancelled) => Outcome::Failed("the engine broke off without being asked to".to_owned()),
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
    run.engine = Some((choice.engine.name().to_owned(), choice.offer.grade.as_str().to_owned()));
    let inputs = match choice.offer.inputs {
        Inputs::Fetched => fetch(context, operation, &request).await?,
        Inputs::Unused => Vec::new(),
    };
    let job = Job {
        task_id: run.task.id.0.clone(),
        operation,
        request,
        inputs,
        directives: needs::directives(run.task.options.as_ref()).map(str::to_owned),
        limits: context.settings.picture_limits(),
    };
    let running = AssertUnwindSafe(async { choice.engine.run(job, monitor).await }).catch_unwind();
    let panicked = |_| Fault::Reason(format!("the engine `{}` panicked; the log tells more", choice.engine.name()));
    Ok(running.await.map_err(panicked)??)
}

async fn fetch(context: &Context, operation: &Operation, request: &Value) -> Result<Vec<Input>, Fault> {
    let limits = context.settings.fetch_limits();
    let mut fetched = Vec::new();
    for named in inputs::pictures(operation, request) {
        let picture = context.fetcher.get(&named.url, &limits).await;
        let picture = picture.map_err(|error| Fault::Reason(format!("`{}`: {error}", named.field)))?;
        let url = named.shown();
        fetched.push(Input { field: named.field, url, bytes: picture.bytes });
    }
    Ok(fetched)
}

/// Writes the pictures. They become visible only together with the end of the task.
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
                return Outcome::Failed("its result could not be stored; the server's log tells more".to_owned());
            }
        }
    }
    run.is_writing = false;
    let Output { caption, prompts, style_labels, faces, .. } = output;
    // No face is a result too.
    let style_labels = (*operation == operations::RECOGNIZE_STYLE).then_some(style_labels);
    let faces = (*operation == operations::DETECT_FACES).then_some(faces);
    Outcome::Succeeded(TaskOutput { pictures: stored, caption, prompts, style_labels, faces })
}

/// Deletes pictures that do not become assets. If that fails, the run is noted as orphaned.
async fn discard(context: &Context, run: &Run<'_>) {
    let tokens: Vec<&AssetToken> = run.assets.iter().map(|asset| &asset.token).collect();
    if let Err(error) = context.assets.delete(tokens).await {
        warn!(task = %run.task.id, %error, "partial results could not be deleted; they are deleted later");
        if let Err(error) = context.store.orphan_run(run.id.clone(), context.clock.now()).await {
            error!(task = %run.task.id, %error, "partial results are left in the data directory");
        }
    }
}

async fn end(context: &Context, mut run: Run<'_>, outcome: Outcome) {
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
    let task = run.task.clone().ended(ending, run.engine.take(), context.clock.now());
    let assets = if task.state == State::Succeeded { run.assets.clone() } else { Vec::new() };
    let callback = callbacks::reporting(&task, context.urls());
    let end = End { before: State::Running, task, assets, callback, orphans_run: run.is_writing };
    loop {
        match context.store.end(end.clone()).await {
            Ok(true) => return announce(context, &end.task),
            Ok(false) if is_own_end(context, &end.task).await => return announce(context, &end.task),
            // It was cancelled or taken away: nothing of this run may remain.
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

/// Whether the task has ended as this run wanted it, by a write that succeeded although it returned an error.
async fn is_own_end(context: &Context, ended: &TaskRow) -> bool {
    loop {
        match context.store.task(ended.id.clone()).await {
            Ok(row) => return row.is_some_and(|row| row.run == ended.run && row.state == ended.state),
            Err(error) => {
                error!(task = %ended.id, %error, "the end of a task could not be read; trying again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    // Nothing is deleted without knowing.
                    () = context.ending.cancelled() => return true,
                }
            }
        }
    }
}

async fn hand_back(context: &Context, run: &Run<'_>) {
    let handed_back = context.store.hand_back(run.task.id.clone(), run.id.clone(), context.clock.now()).await;
    if let Err(error) = handed_back {
        warn!(task = %run.task.id, %error, "not handed back; the next start queues it again");
    }
}

/// Reports that a task has ended: in metrics, in the log, and to those who wait for it.
pub fn announce(context: &Context, task: &TaskRow) {
    let run = task.started_at.and_then(|start| Some(task.finished_at?.since(start)));
    let (id, state) = (operation_id(task), task.state.as_str());
    context.metrics.finished(id, task.engine.as_deref(), state, run);
    info!(task = %task.id, operation = id, state, engine = task.engine, failure = task.failure, ?run, "task ended");
    // An error means that nobody waits.
    let _ = context.endings.send(task.id.clone());
    if task.callback_url.is_some() {
        context.pushes.notify_one();
    }
}

#[cfg(test)]
mod tests;
