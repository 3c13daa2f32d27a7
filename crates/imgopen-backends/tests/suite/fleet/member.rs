//! A back end that a test controls, in virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use imgopen_backends::{Backend, BackendSettings, Driver, Fleet, Kind, OperationReport, Report};
use imgopen_engine::{
    Devices, Engine, EngineError, Grade, Job, JobRequest, Model, ModelKind, Models, Monitor, Offer, Output,
};
use imgopen_types::operations::TEXT_TO_IMAGE;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a job takes.
pub const JOB: Duration = Duration::from_secs(10);

/// A back end for `text_to_image`. Clones are the same one.
#[derive(Clone)]
pub struct Member {
    settings: BackendSettings,
    state: Arc<Mutex<State>>,
}

/// What a test can change while the member works.
#[derive(Default)]
pub struct State {
    pub models: Vec<&'static str>,
    pub loaded: Option<&'static str>,
    pub away: Option<String>,
    /// Whether it has never answered.
    pub is_new: bool,
    /// What it refuses.
    pub refuses: Option<EngineError>,
    /// How its next jobs end.
    pub ends: VecDeque<EngineError>,
    /// How long it works on after a cancel.
    pub lingers: Duration,
    /// The tasks that it was given, and when.
    pub begun: Vec<(String, Instant)>,
    /// How many work, and how many have worked at once.
    pub works: usize,
    pub most: usize,
    /// How often it was asked to free its memory.
    pub freed: usize,
    /// What was called for a task.
    pub calls: Vec<String>,
}

impl Member {
    pub fn new(name: &str, models: &[&'static str]) -> Self {
        let settings = BackendSettings {
            name: Some(name.to_owned()),
            kind: Some(Kind::ComfyUi),
            ..BackendSettings::new("http://127.0.0.1:1".parse().unwrap())
        };
        Self { settings, state: Arc::new(Mutex::new(State { models: models.to_vec(), ..State::default() })) }
    }

    pub fn with(mut self, change: impl FnOnce(&mut BackendSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn backend(&self) -> Backend {
        Backend::with_driver(self.settings.kind.unwrap(), Arc::new(self.clone()))
    }

    /// Returns the tasks that it was given.
    pub fn tasks(&self) -> Vec<String> {
        self.state().begun.iter().map(|(task, _)| task.clone()).collect()
    }
}

/// Makes one fleet of all members.
pub fn fleet(members: &[&Member]) -> Fleet {
    fleet_with(members, &Devices::default())
}

pub fn fleet_with(members: &[&Member], devices: &Devices) -> Fleet {
    let mut fleets = Fleet::of(members.iter().map(|member| member.backend()).collect(), devices).unwrap();
    assert_eq!(fleets.len(), 1);
    fleets.remove(0)
}

pub fn request(task: &str, model: &str) -> JobRequest {
    let body = json!({"prompt": "a lighthouse", "alwayson_scripts": {"sd_model_checkpoint": model, "id_task": task}});
    JobRequest::new(task, &TEXT_TO_IMAGE, body)
}

pub fn job(task: &str, model: &str) -> Job {
    Job::new(request(task, model), "run")
}

/// Runs a job on its own, and returns the name of the member that did it, or why none did.
pub fn start(fleet: &Fleet, task: &str, model: &str) -> tokio::task::JoinHandle<Result<String, EngineError>> {
    let run = fleet.run(job(task, model), Monitor::new().0);
    tokio::spawn(async move { run.await.map(|output| output.caption.unwrap()) })
}

/// Counts a job as long as it works.
struct Works(Member);

impl Drop for Works {
    fn drop(&mut self) {
        self.0.state().works -= 1;
    }
}

impl Driver for Member {
    fn settings(&self) -> &BackendSettings {
        &self.settings
    }

    fn refresh(&self) -> BoxFuture<'_, bool> {
        future::ready(self.state().away.is_none()).boxed()
    }

    fn report(&self) -> Report {
        Report {
            name: self.name().to_owned(),
            kind: self.settings.kind.unwrap(),
            program: "a test",
            version: Some("1".to_owned()),
            away: self.state().away.clone(),
            models: Vec::new(),
            operations: vec![
                OperationReport { operation: "text_to_image", missing: None },
                OperationReport { operation: "controlnet", missing: Some("a model".to_owned()) },
            ],
        }
    }

    fn has_loaded(&self, model: Option<&str>) -> bool {
        model.is_some() && self.state().loaded == model
    }

    fn free(&self) -> BoxFuture<'_, ()> {
        let mut state = self.state();
        assert_eq!(state.works, 0, "it is asked while it works");
        state.freed += 1;
        future::ready(()).boxed()
    }
}

impl Engine for Member {
    fn name(&self) -> &str {
        self.settings.name.as_deref().unwrap()
    }

    fn offers(&self) -> Vec<Offer> {
        let state = self.state();
        let model = |name: &&str| Model::new(ModelKind::Checkpoint, *name, "");
        let models = match state.is_new {
            true => Models::Any,
            false => Models::Listed(state.models.iter().map(model).collect()),
        };
        let offer = Offer::new(&TEXT_TO_IMAGE, Grade::Neural);
        vec![Offer { models, away: state.away.clone(), is_known: !state.is_new, ..offer }]
    }

    fn models(&self) -> Vec<Model> {
        ["shared", self.name()].map(|name| Model::new(ModelKind::Lora, name, "")).to_vec()
    }

    fn check(&self, _: &JobRequest) -> Result<(), EngineError> {
        self.state().refuses.clone().map_or(Ok(()), Err)
    }

    fn plan<'a>(&'a self, _: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        future::ready(Ok(Some(json!(self.name())))).boxed()
    }

    fn memory(&self, _: &Job) -> u64 {
        self.name().len() as u64
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let own = self.clone();
        Box::pin(async move {
            let works = Works(own.clone());
            let (end, lingers) = {
                let mut state = own.state();
                state.works += 1;
                state.most = state.most.max(state.works);
                state.begun.push((job.task_id().to_owned(), Instant::now()));
                (state.ends.pop_front(), state.lingers)
            };
            if let Some(end) = end {
                return Err(end);
            }
            let cancelled = monitor.until_cancelled(sleep(JOB)).await;
            // As a program that works on when its caller has gone.
            let is_cancelled = cancelled.is_err();
            tokio::spawn(async move {
                if is_cancelled {
                    sleep(lingers).await;
                }
                drop((works, monitor));
            });
            cancelled?;
            Ok(Output { caption: Some(own.name().to_owned()), ..Output::default() })
        })
    }

    fn discard<'a>(&'a self, task: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        self.state().calls.push(format!("discard {task}"));
        future::ready(()).boxed()
    }

    fn interrupt<'a>(&'a self, task: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        self.state().calls.push(format!("interrupt {task}"));
        future::ready(()).boxed()
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        self.state().calls.push(format!("forget {task}"));
        future::ready(()).boxed()
    }
}
