#![doc = include_str!("../README.md")]

mod base_model;
mod captions;
mod datasets;
mod layout;
mod plan;
mod rules;
mod settings;

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use imgopen_engine::{
    Engine, EngineError, Grade, Inputs, Job, JobRequest, Library, ModelKind, Monitor, Offer, Output, Slots,
};
use imgopen_types::{SubmitTrainingRequest, operations};
use serde_json::Value;
use tokio::task::spawn_blocking;

pub use plan::TrainingPlan;

use base_model::BaseModel;
use layout::SCRIPT;

/// The engine that prepares trainings. No trainer is connected to it, so every run fails with a message that names the data
/// set.
#[derive(Debug, Clone)]
pub struct Trainer {
    data_dir: PathBuf,
    models: Library,
}

/// How many data sets are fetched at once. It is mostly waiting, so it does not take the workers' slots.
const TRAININGS: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not zero");

/// How many times the removal of a partial data set is tried: a file that was being written at that moment may appear
/// while the directory is emptied.
const REMOVALS: u32 = 5;

impl Trainer {
    /// A trainer that keeps data sets below `datasets/` in the data directory, and finds base models in a models directory.
    ///
    /// Only one process may train in a data directory at a time.
    pub fn open(data_dir: &Path, models: Library) -> Self {
        Self { data_dir: data_dir.to_owned(), models }
    }

    /// Removes what earlier processes left unfinished, before any job runs; returns how many data sets. One that cannot be
    /// removed does not affect the others, or later jobs.
    ///
    /// # Errors
    ///
    /// The first reason why something was not removed.
    pub fn remove_partials(&self) -> io::Result<usize> {
        datasets::remove_partials(&self.data_dir)
    }

    async fn work_out(&self, task: &str, request: &SubmitTrainingRequest) -> Result<TrainingPlan, EngineError> {
        let library = self.models.clone();
        let models = spawn_blocking(move || library.models()).await;
        let models = models.map_err(|error| EngineError::Failed(format!("the models cannot be listed: {error}")))?;
        let checkpoints: Vec<_> = models.into_iter().filter(|model| model.kind == ModelKind::Checkpoint).collect();
        let base = BaseModel::find(request.pretrained_model_or_default().trim(), &checkpoints);
        TrainingPlan::new(task, request, &base).map_err(|problem| EngineError::Rejected { field: None, problem })
    }

    /// Lays out the data set of a job, and returns where it is and what is missing for a result.
    async fn prepare(&self, job: &Job) -> Result<String, EngineError> {
        let request = job.request::<SubmitTrainingRequest>()?;
        let plan = match job.plan() {
            Some(plan) => serde_json::from_value(plan.clone())
                .map_err(|error| EngineError::Failed(format!("the training plan cannot be read: {error}")))?,
            // Tasks of the first version have none.
            None => self.work_out(job.task_id(), &request).await?,
        };
        let directory = self.data_dir.join(&plan.folder);
        // An earlier run may have ended just after the directory was complete.
        if !tokio::fs::try_exists(&directory).await.map_err(|error| layout::failed(&directory, &error))? {
            let partial = datasets::partial(&self.data_dir, job.task_id(), job.run_id());
            layout::lay_out(job, &request, &plan, &partial).await?;
            // Not asynchronous: a rename that goes on after this run was dropped would meet the removal of its directory.
            std::fs::rename(&partial, &directory).map_err(|error| layout::failed(&directory, &error))?;
        }
        Ok(ended(&plan, request.pretrained_model_or_default()))
    }
}

fn ended(plan: &TrainingPlan, base: &str) -> String {
    let TrainingPlan { folder, base_model, .. } = plan;
    let ended = format!(
        "no training engine configured; the data set is kept in `{folder}` within the server's data directory, with the \
         training command in its `{SCRIPT}`"
    );
    match base_model {
        Some(_) => ended,
        None => format!("{ended}; the models directory does not have the base model {base:?}"),
    }
}

impl Engine for Trainer {
    fn name(&self) -> &str {
        "trainer"
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = Offer::new(&operations::SUBMIT_TRAINING, Grade::Neural);
        vec![Offer { inputs: Inputs::OnDemand, prepares_only: true, ..offer }]
    }

    fn slots(&self) -> Slots {
        Slots::Own(TRAININGS)
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move {
            let plan = self.work_out(request.task_id(), &request.typed()?).await?;
            let plan = serde_json::to_value(plan);
            plan.map(Some).map_err(|error| EngineError::Failed(format!("the training plan cannot be kept: {error}")))
        })
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let trainer = self.clone();
        Box::pin(async move {
            let problem = monitor.until_cancelled(trainer.prepare(&job)).await??;
            // Until a trainer is configured, trying again cannot help.
            Err(EngineError::Rejected { field: None, problem })
        })
    }

    fn discard<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let partial = datasets::partial(&self.data_dir, task, run);
            for _ in 0..REMOVALS {
                match layout::remove(&partial).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(task, %error, "a partial data set could not be removed"),
                }
            }
        })
    }

    fn expire(&self, lifetime: Duration) -> BoxFuture<'_, Result<usize, EngineError>> {
        let data_dir = self.data_dir.clone();
        Box::pin(async move {
            let expired = spawn_blocking(move || datasets::remove_expired(&data_dir, lifetime)).await;
            let expired = expired.unwrap_or_else(|error| Err(io::Error::other(error)));
            expired.map_err(|error| EngineError::Failed(format!("old data sets cannot be deleted: {error}")))
        })
    }
}
