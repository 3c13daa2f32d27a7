//! The workers: each takes the next task, has an engine run it, and keeps the result.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use imgopen_engine::{EngineError, Input, Inputs, Job, JobRequest, Monitor, Output, TaskOptions};
use imgopen_fetch::Limits;
use imgopen_types::{Operation, operations};
use serde_json::Value;
use tracing::{error, info, warn};

use crate::answers::operation;
use crate::ids::AssetToken;
use crate::inputs;
use crate::live::Entry;
use crate::output::{StoredPicture, TaskOutput};
use crate::service::Service;
use crate::store::{Ending, NewAsset, TaskRow};
use crate::training;

/// The pause after the database failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How a run ended.
enum Outcome {
    Succeeded(TaskOutput),
    Failed(String),
    /// Someone wanted it to end. The row says so already.
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

/// What a run has brought about so far, whatever breaks it off.
#[derive(Default)]
struct Run {
    /// The engine at work and its grade, as rows name them.
    engine: Option<(String, &'static str)>,
    /// The pictures that are written.
    assets: Vec<NewAsset>,
}

/// Takes one task after the other until the service stops.
pub(crate) async fn work(service: Service) {
    let inner = &service.inner;
    while !inner.stopping.is_cancelled() {
        let Some(key) = inner.queue.next() else {
            tokio::select! {
                () = inner.queue.changed() => {}
                () = inner.stopping.cancelled() => {}
            }
            continue;
        };
        match inner.store.claim(key.clone(), inner.clock.now()).await {
            Ok(Some(task)) => {
                run(&service, &task).await;
                inner.queue.finished(&key);
            }
            // It was cancelled while its turn came.
            Ok(None) => inner.queue.finished(&key),
            Err(error) => {
                error!(%error, "the next task could not be taken");
                tokio::time::sleep(PAUSE).await;
                inner.queue.put_back(&key);
            }
        }
    }
}

async fn run(service: &Service, task: &TaskRow) {
    let inner = &service.inner;
    let entry = inner.running.enter(&task.id);
    let Some(operation) = operation(task) else {
        let reason = format!("this version does not know the operation `{}`", task.operation);
        return end(service, task, Run::default(), Outcome::Failed(reason)).await;
    };
    inner.metrics.started(operation.id, inner.clock.now().since(task.created_at));
    let limit = inner.settings.time_limit(operation.id);
    let mut run = Run::default();
    let outcome = tokio::select! {
        biased;
        () = cancelled(service, task, &entry) => Outcome::Cancelled,
        () = inner.ending.cancelled() => Outcome::HandedBack,
        outcome = tokio::time::timeout(limit, carry_out(service, task, operation, &entry, &mut run)) => {
            outcome.unwrap_or_else(|_| Outcome::Failed(too_long(operation, limit)))
        }
    };
    if *operation == operations::SUBMIT_TRAINING {
        training::tidy(service, task).await;
    }
    end(service, task, run, outcome).await;
}

/// Waits until someone wants the task to end. Whoever did so between the claim and the entry is seen by the row alone.
async fn cancelled(service: &Service, task: &TaskRow, entry: &Entry) {
    match service.inner.store.task(task.id.clone()).await {
        Ok(Some(now)) if now.state.is_final() => {}
        _ => entry.cancelled.cancelled().await,
    }
}

fn too_long(operation: &Operation, limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    format!("it took longer than {seconds} s, the time limit of `{}` (setting `time_limit`)", operation.id)
}

async fn carry_out(
    service: &Service,
    task: &TaskRow,
    operation: &'static Operation,
    entry: &Entry,
    run: &mut Run,
) -> Outcome {
    let request: Value = match serde_json::from_str(&task.request) {
        Ok(request) => request,
        Err(error) => return Outcome::Failed(format!("its request cannot be read: {error}")),
    };
    let made_by_engine = match *operation == operations::SUBMIT_TRAINING {
        true => Err(Fault::Reason(training::run(service, task, operation, &request).await)),
        false => engine(service, task, operation, request, entry, run).await,
    };
    match made_by_engine {
        Ok(output) => keep(service, operation, output, run).await,
        // If nobody asked for it, this is the end all the same; if somebody did, the row has it already.
        Err(Fault::Cancelled) => Outcome::Failed("the engine broke off without being asked to".to_owned()),
        Err(Fault::Reason(reason)) => Outcome::Failed(reason),
    }
}

async fn engine(
    service: &Service,
    task: &TaskRow,
    operation: &'static Operation,
    request: Value,
    entry: &Entry,
    run: &mut Run,
) -> Result<Output, Fault> {
    let to_sandbox = task.directives.is_some();
    let choice = service.choose(operation.id, inputs::model(&request), to_sandbox);
    let choice = choice.map_err(|unavailable| Fault::Reason(unavailable.msg().to_owned()))?;
    let (monitor, watch) = Monitor::new();
    // Whatever ends this run, the engine is told.
    let _cancel = watch.cancel.clone().drop_guard();
    entry.watch(&choice, watch);
    run.engine = Some((choice.engine.name().to_owned(), choice.offer.grade.as_str()));
    let inputs = match choice.offer.inputs {
        Inputs::Fetched => fetch(service, operation, &request).await?,
        // No engine fetches on demand yet.
        Inputs::Unused | Inputs::OnDemand => Vec::new(),
    };
    let options = TaskOptions { sandbox: task.directives.clone() };
    let request = JobRequest::new(task.id.0.clone(), operation, request).with_options(options);
    let run_id = format!("{}.{}", task.id, task.attempt);
    let job = Job::new(request, run_id).with_inputs(inputs).with_limits(service.inner.settings.picture_limits());
    let running = AssertUnwindSafe(async { choice.engine.run(job, monitor).await }).catch_unwind();
    let panicked = |_| Fault::Reason(format!("the engine `{}` panicked; the log tells more", choice.engine.name()));
    Ok(running.await.map_err(panicked)??)
}

async fn fetch(service: &Service, operation: &Operation, request: &Value) -> Result<Vec<Input>, Fault> {
    let limits = limits(service);
    let mut fetched = Vec::new();
    for named in inputs::pictures(operation, request) {
        let picture = service.inner.fetcher.get(&named.url, &limits).await;
        let picture = picture.map_err(|error| Fault::Reason(format!("`{}`: {error}", named.field)))?;
        let url = named.shown();
        fetched.push(Input { field: named.field, url, bytes: picture.bytes });
    }
    Ok(fetched)
}

/// The limits of fetching a picture.
pub(crate) fn limits(service: &Service) -> Limits {
    let pictures = &service.inner.settings.pictures;
    Limits::default().bytes(pictures.bytes).time(pictures.time).redirects(pictures.redirects)
}

/// Writes the pictures. They become visible only together with the end of the task.
async fn keep(service: &Service, operation: &Operation, output: Output, run: &mut Run) -> Outcome {
    let inner = &service.inner;
    let expires_at = inner.settings.assets.lifetime.map(|lifetime| inner.clock.now().plus(lifetime));
    let mut stored = Vec::new();
    for picture in &output.pictures {
        match inner.assets.put(picture, expires_at).await {
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
    let Output { caption, prompts, style_labels, faces, .. } = output;
    // That there is no face is a result too.
    let style_labels = (*operation == operations::RECOGNIZE_STYLE).then_some(style_labels);
    let faces = (*operation == operations::DETECT_FACES).then_some(faces);
    Outcome::Succeeded(TaskOutput { pictures: stored, caption, prompts, style_labels, faces })
}

async fn discard(service: &Service, assets: &[NewAsset]) {
    let tokens: Vec<&AssetToken> = assets.iter().map(|asset| &asset.token).collect();
    if let Err(error) = service.inner.assets.delete(tokens).await {
        warn!(%error, "a leftover could not be removed; the next start sweeps it");
    }
}

async fn end(service: &Service, task: &TaskRow, run: Run, outcome: Outcome) {
    let ending = match outcome {
        Outcome::Succeeded(output) => Ending::Succeeded(output, run.assets.clone()),
        other => {
            discard(service, &run.assets).await;
            match other {
                Outcome::Failed(reason) => Ending::Failed(reason),
                Outcome::HandedBack => return hand_back(service, task).await,
                Outcome::Cancelled | Outcome::Succeeded(_) => return,
            }
        }
    };
    let mut is_sure = true;
    loop {
        let now = service.inner.clock.now();
        match service.inner.store.finish(task, run.engine.clone(), ending.clone(), now, service.callback()).await {
            Ok(Some(ended)) => return service.ended(&ended),
            // It was cancelled meanwhile: nothing of this run may be seen.
            Ok(None) if is_sure => return discard(service, &run.assets).await,
            // A write before may have succeeded after all. What is truly left over, the next start sweeps.
            Ok(None) => return,
            Err(error) => {
                is_sure = false;
                error!(task = %task.id, %error, "the end of a task could not be written; trying again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    // The next start runs it again.
                    () = service.inner.ending.cancelled() => return,
                }
            }
        }
    }
}

async fn hand_back(service: &Service, task: &TaskRow) {
    if let Err(error) = service.inner.store.hand_back(task).await {
        warn!(task = %task.id, %error, "not handed back; the next start queues it again");
    }
}

impl Service {
    /// Tells everybody that a task ended.
    pub(crate) fn ended(&self, task: &TaskRow) {
        let inner = &self.inner;
        let run = task.started_at.and_then(|start| Some(task.finished_at?.since(start)));
        let (id, state) = (crate::submit::operation_id(task), task.state.as_str());
        inner.metrics.finished(id, task.engine.as_deref(), state, run);
        info!(task = %task.id, operation = id, state, engine = task.engine, failure = task.failure, ?run, "task ended");
        // Nobody may be listening.
        let _ = inner.endings.send(task.id.clone());
        if task.callback_url.is_some() {
            inner.pushes.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
