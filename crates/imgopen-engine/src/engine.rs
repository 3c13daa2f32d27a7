//! The trait of an engine.

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::future::{self, BoxFuture, FutureExt};
use imgopen_types::Operation;
use serde_json::Value;

use crate::error::EngineError;
use crate::job::{Job, Output};
use crate::model::Model;
use crate::monitor::Monitor;
use crate::named::{NamedKind, NamedModel};
use crate::offer::{Grade, Models, Offer};
use crate::request::JobRequest;

/// Carries out operations of the API.
///
/// An engine is shared by all workers. Work that keeps the processor busy belongs on tokio's `spawn_blocking`, so that
/// other jobs go on.
pub trait Engine: Send + Sync + 'static {
    /// Returns the name of this instance, such as `lanczos` or `comfyui-2`. It is unique in a registry; results, log lines
    /// and metrics carry it.
    fn name(&self) -> &str;

    /// Returns the operations that it carries out.
    ///
    /// Called for every submit and every run, so it must be cheap: an engine that drives a program returns what it last
    /// learned, and marks its offers as [`away`](Offer::away) if the program does not answer.
    fn offers(&self) -> Vec<Offer>;

    /// Returns its offers for one operation.
    fn offers_for(&self, operation_id: &str) -> Vec<Offer> {
        self.offers().into_iter().filter(|offer| offer.operation.id == operation_id).collect()
    }

    /// Returns the models that it has beside those listed in its offers: LoRAs, VAEs, embeddings.
    fn models(&self) -> Vec<Model> {
        Vec::new()
    }

    /// Returns the names of the ControlNet models that it has, as far as it knows. None by default. Cheap, as
    /// [`offers`](Engine::offers).
    fn controls(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether it lists a model that a request names beside its checkpoint. Some lists are incomplete, so it may serve
    /// requests that name others, too.
    fn has(&self, named: &NamedModel) -> bool {
        let is_listed = |offer: Offer| match offer.models {
            Models::Any => false,
            Models::Listed(models) => models.iter().any(|model| named.is(model)),
        };
        match named.kind {
            NamedKind::Control => self.controls().iter().any(|name| named.is_name_of(name)),
            _ => self.models().iter().any(|model| named.is(model)) || self.offers().into_iter().any(is_listed),
        }
    }

    /// Returns whether it has models of its own, on which its answers to requests depend.
    fn lists_models(&self) -> bool {
        let is_listed = |offer: &Offer| matches!(offer.models, Models::Listed(_));
        !self.models().is_empty() || self.offers().iter().any(is_listed)
    }

    /// Whether it stands for an engine of another process, which alone can run its jobs.
    fn is_elsewhere(&self) -> bool {
        false
    }

    /// Returns the names of the files of the networks that it has for an operation, the one first that it prefers; requests do not
    /// name them. None by default. Cheap, as [`offers`](Engine::offers).
    fn nets(&self, operation: &Operation) -> Vec<String> {
        let _ = operation;
        Vec::new()
    }

    /// Returns what is known of the programs that it drives. Cheap, as [`offers`](Engine::offers). None by default.
    fn backends(&self) -> Vec<BackendStatus> {
        Vec::new()
    }

    /// Returns how its runs are counted. The answer must not change.
    fn slots(&self) -> Slots {
        Slots::Shared
    }

    /// Returns the name of the engine among whose runs its own are counted, because they take what that one has: its own name, the
    /// default, or that of the engine which it has do the work. The answer must not change.
    fn pool(&self) -> &str {
        self.name()
    }

    /// Returns how many further jobs for an operation and a model would begin at once, if jobs wait for each other within the
    /// engine, as for the members of a group of back ends. Jobs for other models then go first, rather than wait in a slot.
    /// `None`, the default, if its slots are all that a job waits for, or if it waits for a back end that is away. Called for
    /// each choice of the next task, so it must be cheap.
    fn free_places(&self, operation: &Operation, model: Option<&str>) -> Option<usize> {
        let _ = (operation, model);
        None
    }

    /// Counts a job that it will be given soon by another engine, which prepares it, so that [`free_places`](Engine::free_places)
    /// leaves a place for it. Counts until the returned value is dropped. `None`, the default, if it does not count its jobs.
    fn expect_job(&self, operation: &Operation, model: Option<&str>) -> Option<Expected> {
        let _ = (operation, model);
        None
    }

    /// Checks a request before it is accepted, so that what [`run`](Engine::run) would reject is rejected at once, while
    /// the caller is there.
    ///
    /// It must be cheap, because the caller waits: some milliseconds for the largest request. What takes longer, such as
    /// reading fonts, is left to `run`.
    ///
    /// # Errors
    ///
    /// Some of those that `run` would end with for the same request, whatever its input pictures are. A request for which
    /// `check` succeeds may still be rejected by `run`.
    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let _ = request;
        Ok(())
    }

    /// Returns the grade of what it makes of a request, at most the one that it offers: one engine serves all values of a field, some
    /// by lesser means. By default, as offered.
    fn grade(&self, request: &JobRequest, offered: Grade) -> Grade {
        let _ = request;
        offered
    }

    /// Works out what to keep with the task for its runs, in a form of the engine's choice; each run gets it as
    /// [`Job::plan`]. Called once for a request that passed all checks, while the caller waits. It may read files.
    ///
    /// # Errors
    ///
    /// As [`check`](Engine::check).
    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        let _ = request;
        future::ready(Ok(None)).boxed()
    }

    /// As [`plan`](Engine::plan), for a run by an engine of the same name in another process, which has this offer and these models
    /// in its models directory; their files are not in this process. By default it is the own plan, or none if that might depend on
    /// [models of its own](Engine::lists_models).
    ///
    /// # Errors
    ///
    /// As [`plan`](Engine::plan).
    fn plan_elsewhere<'a>(
        &'a self,
        request: &'a JobRequest,
        offer: &'a Offer,
        models: &'a [Model],
    ) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        let _ = (offer, models);
        if self.lists_models() { future::ready(Ok(None)).boxed() } else { self.plan(request) }
    }

    /// Returns how much memory a job will take at most, in bytes, beside the input files: decoded pictures, weights, and
    /// all that processes take which the engine starts for the job on this machine, however long they live. The job begins
    /// when that much of the server's budget is free, so that runs at the same time never take more together. A job that
    /// needs more than the whole budget is not rejected: it waits until it has all of the budget, and no other job that
    /// takes memory runs beside it. Must be cheap, and may decode nothing. 0 by default.
    fn memory(&self, job: &Job) -> u64 {
        let _ = job;
        0
    }

    /// Carries out a job. Soon after `monitor` is cancelled, the future ends with [`EngineError::Cancelled`], and so does
    /// the work: what may take longer than a tenth of a second for the largest picture looks for it within, but for calls of
    /// libraries that cannot be stopped, such as a decoder, whose time the limits of pictures bound. The future may also be
    /// dropped at any point, after which [`discard`](Engine::discard) or [`interrupt`](Engine::interrupt) is called. Work that
    /// may go on after that, such as on a thread, keeps a clone of `monitor`: until the last one is dropped, the run keeps its
    /// slot and its memory.
    ///
    /// # Errors
    ///
    /// See [`EngineError`]. The variant decides what becomes of the task.
    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>>;

    /// Learns of models that were added a moment ago, such as a LoRA that was trained: the programs that it drives look for them,
    /// and their lists are read again, so that requests that name them are accepted from now on. A program that is away does so
    /// once it is back. The future may be dropped, after which it may take until the next regular look. Does nothing by default.
    fn rescan(&self) -> BoxFuture<'_, ()> {
        future::ready(()).boxed()
    }

    /// Removes what a run that ended without a result left behind, such as partial files. Called by the worker once the end is
    /// written, and at recovery for runs of processes that died, when there may be nothing to remove, or the run may not
    /// even have started. If the task will be run again, [`interrupt`](Engine::interrupt) is called instead.
    ///
    /// Failing to remove something is logged by the engine; the task does not depend on it. If it takes longer than half a
    /// minute, or than a stop of the service has time for, the future is dropped.
    fn discard<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        let _ = (task, run);
        future::ready(()).boxed()
    }

    /// Called for a run that was cut short and whose task will be run again: the service stops, the run met a fault, or
    /// its process died. An engine whose work can be resumed keeps what the run has done where the next run finds it by
    /// the id of the task. The next run must check it, because this one may have been cut short at any point. The future may be
    /// dropped as that of [`discard`](Engine::discard). Discards it by default.
    fn interrupt<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        self.discard(task, run)
    }

    /// Removes all that runs of a task have left, because it has ended without a result: what [`interrupt`](Engine::interrupt)
    /// has kept, and what an earlier run has made. Called after [`discard`](Engine::discard) for the last run, or alone if the
    /// task has ended between two runs. There may be nothing.
    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        let _ = task;
        future::ready(()).boxed()
    }

    /// Deletes what the engine itself keeps of past tasks, such as data sets, once nothing has been done with it for
    /// `lifetime`. Called regularly by the service's retention. Returns how many things were deleted.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] if something could not be deleted; it is tried again the next time.
    fn expire(&self, lifetime: Duration) -> BoxFuture<'_, Result<usize, EngineError>> {
        let _ = lifetime;
        future::ready(Ok(0)).boxed()
    }
}

/// A job that an engine expects. Over on drop.
#[must_use = "the job is expected no more once this is dropped"]
pub struct Expected {
    _guard: Box<dyn Any + Send + Sync>,
}

impl Expected {
    /// Wraps what counts the job until it is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").finish_non_exhaustive()
    }
}

/// What an engine knows of a program that it drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendStatus {
    /// The name that the operator gave it.
    pub name: String,
    /// The program, such as `ComfyUI`.
    pub program: String,
    /// Its version, once it has said so.
    pub version: Option<String>,
    /// Why it is away; `None` while it answers.
    pub away: Option<String>,
    /// How many jobs it works on for this service.
    pub jobs: usize,
    /// The operations that it serves.
    pub operations: Vec<&'static str>,
}

/// How the runs of an engine are counted, so that slow ones never hold the others' places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Slots {
    /// Against the service's `workers`. For engines that keep this machine's processor busy.
    #[default]
    Shared,
    /// Apart from all others, at most this many at once. For engines that mostly wait: back ends, trainers, the
    /// sandbox.
    Own(NonZeroUsize),
}
