//! Carries out one run: fetches the pictures, waits for a slot and for memory, has the engine do the work, and writes the
//! results.
//!
//! What a run waits for is taken in one order: a place for fetching, a slot, memory. What holds memory waits for none of them,
//! so no runs wait for each other in a circle. It may wait for hosts: an engine that fetches on demand, such as a training,
//! does so in its slot and with its memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use imgopen_engine::{Choice, Engine, EngineError, Inputs, Job, JobRequest, Monitor, Output, Unavailable, Watch};
use imgopen_store::{NewAsset, RunId, StoredFile, StoredPicture, TaskOutput, TaskRow};
use imgopen_types::{Operation, operations};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;
use tracing::info;

use super::audit::{Audit, Audited, NotPassed};
use super::faults::{Fault, release_pictures};
use super::inputs::RequestPictures;
use super::needs::{self, Needs};
use crate::absences::Absence;
use crate::context::Context;
use crate::dispatch::{Fetching, Starting};
use crate::fleet::suspects::{self, Occupied};
use crate::live::Entry;
use crate::loras::{self, NameError};
use crate::results;

/// How many pictures of a run are written at once.
const AT_ONCE: usize = 4;

/// How long tasks are held at least whose work was ended from outside, so that what ended it can pass.
const RELIEF: Duration = Duration::from_secs(5);

/// What callers see if results could not be stored for too long.
const UNSTORED: &str = "its result could not be stored";

/// What callers see if results could not be audited for too long.
const UNAUDITED: &str = "its pictures could not be audited";

/// How a run ended.
pub enum Outcome {
    Succeeded(TaskOutput),
    Failed(String),
    /// The task was cancelled; its row already holds that end.
    Cancelled,
    /// The service is stopping, or the task is to run alone and cannot now.
    HandedBack,
    /// It met a fault that is not the task's.
    Deferred(Fault),
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
            EngineError::Busy(_) => Self::Fault(Fault::of_engine(needs, error, None)),
            EngineError::Interrupted(_) => Self::Fault(Fault::of_engine(needs, error, Some(RELIEF))),
            error => Self::Reason(error.to_string()),
        }
    }

    /// The same for an error of the work itself. An engine without back ends is unavailable for other reasons, and one that is busy
    /// is there.
    fn by_work(error: EngineError, engine: &dyn Engine, needs: &str) -> Self {
        let is_unavailable = matches!(error, EngineError::Unavailable { .. });
        match Self::by(error, needs) {
            Self::Fault(fault) if is_unavailable && !engine.backends().is_empty() => {
                Self::Fault(Fault { absence: Some(Absence::During), ..fault })
            }
            stopped => stopped,
        }
    }

    /// That no engine is there for these needs.
    fn without_engine(context: &Context, unavailable: Unavailable, needs: &str) -> Self {
        let absence = match &unavailable {
            Unavailable::Away { engine, .. } if context.drives_backends(engine) => Some(Absence::Before),
            _ => None,
        };
        Self::Fault(Fault { absence, ..Fault::of_engine(needs, unavailable, None) })
    }

    /// What it means that a result has not passed its audit. If nothing can be audited, that holds all tasks that make pictures.
    fn by_audit(not_passed: NotPassed) -> Self {
        match not_passed {
            NotPassed::Cancelled => Self::Cancelled,
            NotPassed::Reason(reason) => Self::Reason(reason),
            NotPassed::Fault(problem) => Self::Fault(Fault::of_pictures(problem, UNAUDITED)),
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            // If the task was cancelled, its row already has its end, and this one is discarded.
            Self::Cancelled => Outcome::Failed("the engine aborted, although the task was not cancelled".to_owned()),
            Self::Reason(reason) => Outcome::Failed(reason),
            Self::Fault(fault) => Outcome::Deferred(fault),
        }
    }
}

/// What a run holds of its pool.
#[derive(Debug, Default)]
pub struct Places {
    /// The index of the pool.
    pub pool: usize,
    /// The place for fetching, until the run works.
    pub fetching: Option<Fetching>,
    /// The slot, from when it works until its engine has ended.
    pub slot: Option<OwnedSemaphorePermit>,
    /// Until its engine has begun.
    pub starting: Option<Starting>,
}

/// The state of a run, which decides what must be deleted if it ends without a result.
pub struct Run<'a> {
    pub task: &'a TaskRow,
    pub id: &'a RunId,
    pub places: Places,
    /// The engine that runs the task, with its offer.
    pub choice: Option<Choice>,
    /// The pictures that are written.
    pub assets: Vec<NewAsset>,
    /// Whether a file may have been written that is not among the assets.
    pub is_writing: bool,
    /// The engine's work, once it has begun.
    pub watch: Option<Watch>,
    /// Whether it waits for memory.
    pub is_waiting: bool,
    /// Whether the engine did its work, with a result or without, so that it is there.
    pub is_answered: bool,
    /// The memory that the work takes.
    pub memory: Option<OwnedSemaphorePermit>,
}

impl<'a> Run<'a> {
    pub fn new(task: &'a TaskRow, id: &'a RunId, places: Places) -> Self {
        Self {
            task,
            id,
            places,
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

/// A job that is ready for its engine.
struct Prepared {
    choice: Choice,
    job: Job,
    monitor: Monitor,
    watch: Watch,
    /// The audit of its pictures, unless they are not audited.
    audit: Option<Audit>,
    /// However the run ends, the engine is cancelled.
    _cancel: DropGuard,
}

/// Carries out a run within its time limit, which does not count the wait for a slot.
pub async fn carry_out(context: &Context, operation: &'static Operation, entry: &Entry, run: &mut Run<'_>) -> Outcome {
    entry.claimed();
    // Held until the run is over.
    let _alone = match suspects::enter(context, run.task, run.id).await {
        Ok(alone) => alone,
        Err(Occupied) => return Outcome::HandedBack,
    };
    let (limit, began) = (context.settings.time_limit(operation.id), Instant::now());
    let prepared = match timeout(limit, prepare(context, operation, entry, run)).await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(stopped)) => return stopped.outcome(),
        Err(_) => return too_long(operation, limit, run),
    };
    let left = limit.saturating_sub(began.elapsed());
    if run.places.slot.is_none() {
        let (slot, starting) = tokio::select! {
            biased;
            taken = context.dispatch.slot_for(run.places.pool, &run.task.needs) => taken,
            () = suspects::to_give_way(context, run.id) => return Outcome::HandedBack,
        };
        (run.places.slot, run.places.starting) = (slot, Some(starting));
    }
    let finished = timeout(left, async {
        match work(context, prepared, run).await {
            Ok(output) => {
                if *operation == operations::SUBMIT_TRAINING {
                    // The rest is for the result, which must not be lost because an engine is slow.
                    loras::announce(context, limit.saturating_sub(began.elapsed()) / 2).await;
                }
                write(context, operation, output, run).await
            }
            Err(stopped) => stopped.outcome(),
        }
    });
    match finished.await {
        Ok(outcome) => outcome,
        Err(_) => too_long(operation, limit, run),
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
        let problem =
            format!("a result could not be written within the {seconds} s of its run; check the disk or the bucket");
        return Outcome::Deferred(unstored(operation, run, problem));
    }
    Outcome::Failed(format!(
        "it took longer than {seconds} s, the time limit of `{}` (setting `time_limit`)",
        operation.id
    ))
}

/// A fault of the disk of results. It holds the tasks that need that disk: all that make pictures, or those with the same needs.
fn unstored(operation: &Operation, run: &Run<'_>, problem: impl ToString) -> Fault {
    match results::has_pictures(operation.id) {
        true => Fault::of_pictures(problem, UNSTORED),
        false => Fault { public: UNSTORED.to_owned(), ..Fault::of_engine(&run.task.needs, problem, None) },
    }
}

/// Chooses the engine, and fetches the pictures if it needs them.
async fn prepare(
    context: &Context,
    operation: &'static Operation,
    entry: &Entry,
    run: &mut Run<'_>,
) -> Result<Prepared, Stopped> {
    let request: Value = serde_json::from_str(&run.task.request)
        .map_err(|error| Stopped::Reason(format!("its request cannot be read: {error}")))?;
    let needs = run.task.needs.as_str();
    let choice = Needs::parse(needs).choose(&context.engines);
    let mut choice = choice.map_err(|unavailable| Stopped::without_engine(context, unavailable, needs))?;
    context.absences.seen(needs);
    // What is reported is what is made, not what the engine could make of other requests.
    let asked = JobRequest::new(run.task.id.as_str(), operation, request.clone());
    choice.offer.grade = choice.engine.grade(&asked, choice.offer.grade);
    // One that was open or not there at the submit may be another key's now.
    loras::check_named(context, &run.task.key, &request).await.map_err(|error| match error {
        NameError::Rejected(msg) => Stopped::Reason(msg),
        NameError::Broken => Stopped::Fault(Fault::of_engine(needs, "the LoRAs cannot be listed", None)),
    })?;
    // What would be lost in the end is not begun.
    if results::makes_assets(&choice.offer) {
        let settled = context.assets.settle().await;
        settled.map_err(|error| Stopped::Fault(unstored(operation, run, error)))?;
    }
    let audit =
        Audit::of(context, operation, run.task).map_err(|problem| Stopped::by_audit(NotPassed::Fault(problem)))?;
    let (monitor, watch) = Monitor::new();
    let cancel = watch.cancel.clone().drop_guard();
    // Nobody audits previews.
    entry.watch(&choice, watch.clone(), audit.is_none());
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
    let request =
        JobRequest::new(run.task.id.as_str(), operation, request).with_options(options).with_key(run.task.key.as_str());
    let job = Job::new(request, run.id.as_str())
        .with_inputs(inputs)
        .with_limits(context.settings.picture_limits())
        .with_plan(run.task.plan.clone())
        .with_fetcher(Arc::new(pictures));
    Ok(Prepared { choice, job, monitor, watch, audit, _cancel: cancel })
}

/// Takes memory for the job, has the engine carry it out, and audits its pictures.
async fn work(context: &Context, prepared: Prepared, run: &mut Run<'_>) -> Result<Audited, Stopped> {
    let Prepared { choice, job, monitor, watch, audit, _cancel } = prepared;
    let panicked = |_| Stopped::Reason(format!("the engine `{}` panicked; see the server's log", choice.engine.name()));
    let memory = catch_unwind(AssertUnwindSafe(|| choice.engine.memory(&job))).map_err(panicked)?;
    let files = job.inputs().iter().map(|input| input.bytes.len() as u64).sum();
    run.is_waiting = true;
    // What an audit takes is taken now, because what holds memory waits for none.
    let of_audit = audit.as_ref().map_or(0, Audit::memory);
    run.memory = context.memory.take(memory.saturating_add(files).saturating_add(of_audit)).await;
    run.is_waiting = false;
    // Only now, so that places bound the files that no budget counts.
    run.places.fetching = None;
    run.watch = Some(watch);
    let starting = run.places.starting.take();
    let audit = audit.map(|audit| (audit, monitor.clone()));
    let running = AssertUnwindSafe(async {
        let running = choice.engine.run(job, monitor);
        // It counts as one of the engine's jobs from here on.
        drop(starting);
        running.await
    });
    let result = running.catch_unwind().await.map_err(panicked)?;
    let stopped = result.map_err(|error| Stopped::by_work(error, &*choice.engine, &run.task.needs));
    run.is_answered = !matches!(stopped, Err(Stopped::Fault(_)));
    match (stopped?, audit) {
        (output, Some((audit, monitor))) => audit.run(output, &monitor).await.map_err(Stopped::by_audit),
        (output, None) => Ok(Audited::unaudited(output)),
    }
}

/// Writes the pictures and files. They become visible only with the end of the task.
pub async fn write(context: &Context, operation: &Operation, audited: Audited, run: &mut Run<'_>) -> Outcome {
    let Audited { output, pictures } = audited;
    let expires_at = context.settings.assets.lifetime.map(|lifetime| context.clock.now().plus(lifetime));
    let notes = results::bounded_notes(output.notes);
    let mut stored = Vec::new();
    let mut pictures = pictures.into_iter();
    loop {
        let some: Vec<_> = pictures.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        run.is_writing = true;
        // All of them to their ends: what is written after a fault would be nobody's.
        let mut puts = Vec::with_capacity(some.len());
        for (picture, _) in &some {
            puts.push(context.assets.put(run.id, picture, &notes, expires_at));
        }
        let mut failed = None;
        for (put, (picture, audit)) in join_all(puts).await.into_iter().zip(some) {
            match put {
                Ok(asset) => {
                    release_pictures(context);
                    let (token, seed) = (asset.token.clone(), picture.seed);
                    stored.push(StoredPicture { token, width: picture.width, height: picture.height, seed, audit });
                    run.assets.push(asset);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Outcome::Deferred(unstored(operation, run, error));
        }
    }
    let mut files = Vec::new();
    for file in &output.files {
        run.is_writing = true;
        match context.assets.put_file(run.id, file, expires_at).await {
            Ok(asset) => {
                let (token, name, bytes) = (asset.token.clone(), file.name.clone(), asset.bytes);
                files.push(StoredFile { token, name, bytes });
                run.assets.push(asset);
            }
            Err(error) => return Outcome::Deferred(unstored(operation, run, error)),
        }
    }
    run.is_writing = false;
    let Output { caption, prompts, style_labels, faces, .. } = output;
    // An empty list is a result, too.
    let style_labels = (*operation == operations::RECOGNIZE_STYLE).then_some(style_labels);
    let faces = (*operation == operations::DETECT_FACES).then_some(faces);
    Outcome::Succeeded(TaskOutput { pictures: stored, caption, prompts, style_labels, faces, files, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_work_is_repeated_after_a_pause() {
        let stopped = Stopped::by(EngineError::Interrupted("signal: 9 (SIGKILL)".to_owned()), "any");
        let Outcome::Deferred(fault) = stopped.outcome() else { panic!("the task has ended") };
        let expected = (Some(RELIEF), "the engine was interrupted: signal: 9 (SIGKILL)");
        assert_eq!((fault.retry_after, fault.problem.as_str()), expected);
    }
}
