//! ComfyUI, by its API of graphs.
//!
//! Nothing is sent that is not in the server's lists. Each picture is a prompt of its own, which the server repeats in
//! its history. What the server works on belongs to a task by the names of its files, so that a later run takes it over
//! and nobody else's is touched.

mod answers;
mod build;
mod class;
mod graph;
mod ids;
mod inputs;
mod instance;
mod lists;
mod make;
mod needs;
mod parameters;
mod problems;
mod resolve;
mod result;
mod run;
mod sampling;
mod socket;
mod template;
mod text;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use imgopen_engine::{Engine, EngineError, Job, JobRequest, Model, Monitor, Offer, Output, Slots};
use serde_json::{Value, json};
use tracing::warn;

use crate::driver::{Driver, Surroundings, by_itself, prepared};
use crate::kind::Kind;
use crate::report::{OperationReport, Report};
use crate::seed;
use crate::settings::BackendSettings;
use crate::timing::Timing;
use crate::watched::Watched;
use instance::Instance;
pub(crate) use instance::possible;
use problems::Problems;
use template::Template;

/// An engine that drives ComfyUI. Clones drive the same one.
#[derive(Debug, Clone)]
pub struct ComfyUi {
    inner: Arc<Instance>,
}

impl ComfyUi {
    /// Creates the engine, and reads the server's lists in the background from now on. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings, or with a workflow.
    pub fn open(settings: BackendSettings, around: &Surroundings) -> Result<Self, String> {
        Self::with_timing(settings, around, Timing::default())
    }

    /// As [`open`](Self::open), with other times.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings, or with a workflow.
    pub fn with_timing(settings: BackendSettings, around: &Surroundings, timing: Timing) -> Result<Self, String> {
        let name = settings.name(Kind::ComfyUi).to_owned();
        let workflows = settings.workflows.iter();
        let templates: Vec<Template> =
            workflows.map(|(operation, path)| Template::open(operation, path)).collect::<Result<_, _>>()?;
        let mut classes: Vec<String> = templates.iter().flat_map(Template::classes).collect();
        classes.sort_unstable();
        classes.dedup();
        let problems = Problems::of(&name, &templates);
        let server = Watched::open_with(settings, &name, timing, classes, move |lists| problems.log(lists))?;
        Ok(Self { inner: Arc::new(Instance::new(server, templates, around.control_maps.clone())) })
    }
}

impl Driver for ComfyUi {
    fn settings(&self) -> &BackendSettings {
        &self.inner.server.settings
    }

    fn refresh(&self) -> BoxFuture<'_, bool> {
        self.inner.server.refresh().boxed()
    }

    fn report(&self) -> Report {
        let server = &self.inner.server;
        let (lists, away) = server.known();
        let operations = self.inner.operations().into_iter().map(|operation| OperationReport {
            operation: operation.id,
            missing: self.inner.missing(operation, lists.as_deref()),
        });
        Report {
            name: server.name.clone(),
            kind: Kind::ComfyUi,
            program: Kind::ComfyUi.program(),
            version: lists.as_ref().and_then(|lists| lists.version.clone()),
            away,
            models: lists.as_ref().map(|lists| lists.checkpoints()).unwrap_or_default(),
            operations: operations.collect(),
        }
    }

    fn has_loaded(&self, model: Option<&str>) -> bool {
        self.inner.has_loaded(model)
    }

    fn prepare(&self, job: &Job, monitor: &Monitor) -> Option<BoxFuture<'static, Result<Job, EngineError>>> {
        self.inner.prepare(job, monitor)
    }

    fn free(&self) -> BoxFuture<'_, ()> {
        let freeing = async {
            self.inner.note_freed();
            let server = &self.inner.server;
            if let Err(error) = server.http.command("free", &json!({"unload_models": true, "free_memory": true})).await
            {
                warn!(backend = server.name, %error, "a back end could not free its memory");
            }
        };
        freeing.boxed()
    }
}

impl Engine for ComfyUi {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn offers(&self) -> Vec<Offer> {
        self.inner.offers()
    }

    fn models(&self) -> Vec<Model> {
        self.inner.server.known().0.map(|lists| lists.models().1).unwrap_or_default()
    }

    fn controls(&self) -> Vec<String> {
        let lists = self.inner.server.known().0;
        lists.map(|lists| lists.listed("ControlNetLoader", "control_net_name")).unwrap_or_default()
    }

    fn slots(&self) -> Slots {
        Slots::Own(self.inner.server.settings.jobs)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        self.inner.check(request)
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        let planned = async { Ok(seed::plan(self.inner.seed(request)?)) };
        planned.boxed()
    }

    fn rescan(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.server.rescan())
    }

    fn memory(&self, job: &Job) -> u64 {
        self.inner.memory(job)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let preparing = self.prepare(&job, &monitor);
        let (instance, watching) = (self.inner.clone(), monitor.clone());
        let work = async move { instance.carry_out(prepared(job, preparing).await?, watching).await };
        by_itself(work, monitor).boxed()
    }

    fn discard<'a>(&'a self, task: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        self.inner.sweep(task).boxed()
    }

    /// What the server works on is taken over by the next run.
    fn interrupt<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        futures_util::future::ready(()).boxed()
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        self.inner.sweep(task).boxed()
    }
}
