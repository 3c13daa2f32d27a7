#![doc = include_str!("../README.md")]

mod base_model;
mod captions;
mod carry_out;
mod datasets;
mod diagnosis;
mod fetched;
mod files;
mod graph;
mod group;
mod layout;
mod log;
mod output;
mod plain;
mod plan;
mod rules;
mod sd_scripts;
mod settings;
mod training;

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use imgopen_engine::{
    Devices, Engine, EngineError, Grade, Inputs, Job, JobRequest, Library, Model, ModelKind, Monitor, Offer, Output,
    Slots,
};
use imgopen_types::{SubmitTrainingRequest, operations};
use serde_json::Value;
use tokio::task::spawn_blocking;

pub use plan::TrainingPlan;
pub use sd_scripts::{InvalidSetup, SdScripts};

use base_model::BaseModel;
use carry_out::{InUse, Moving, Prepared, carry_out, withdraw};
use layout::SCRIPT;
use training::Training;

/// The engine that carries out trainings. Without sd-scripts it prepares them: every run fails with a message that names the
/// data set.
#[derive(Debug, Clone)]
pub struct Trainer {
    data_dir: PathBuf,
    models: Library,
    memory: u64,
    /// What trains, if sd-scripts is there.
    training: Option<Arc<Training>>,
    in_use: InUse,
    /// Held while a data set is renamed, or a LoRA is put into the models directory or removed.
    moving: Moving,
}

/// How many data sets are prepared at once where nothing is trained. It is mostly waiting, so it does not take the workers' slots.
const PREPARED: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not zero");

/// How many times the removal of a partial data set is tried: a file that was being written at that moment may appear
/// while the directory is emptied.
const REMOVALS: u32 = 5;

impl Trainer {
    /// A trainer that keeps data sets below `datasets/` in the data directory, and finds base models in a models directory.
    ///
    /// Only one process may train in a data directory at a time.
    pub fn open(data_dir: &Path, models: Library) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            models,
            memory: 0,
            training: None,
            in_use: InUse::default(),
            moving: Moving::default(),
        }
    }

    /// Has it train with sd-scripts, one training at a time. The LoRAs go into the models directory, each as that of the key that
    /// submitted its training.
    ///
    /// # Errors
    ///
    /// When a directory or the program does not exist.
    pub fn with_scripts(self, scripts: &SdScripts, devices: Devices) -> Result<Self, InvalidSetup> {
        Ok(Self { training: Some(Arc::new(Training::new(scripts.checked()?, devices))), ..self })
    }

    /// Sets what a training takes of the server's memory, in bytes: the processes that it starts.
    pub fn with_memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Returns the tasks with incomplete data sets. Those of a task that has ended are removed by
    /// [`forget`](Engine::forget).
    ///
    /// # Errors
    ///
    /// When the directory of the data sets cannot be read.
    pub fn unfinished(&self) -> io::Result<BTreeSet<String>> {
        datasets::unfinished(&self.data_dir)
    }

    /// Returns the tasks that have put LoRAs into the models directory, or have begun to. Those of a task that has ended without
    /// a result are removed by [`forget`](Engine::forget).
    ///
    /// # Errors
    ///
    /// When the directory of LoRAs cannot be read.
    pub fn published(&self) -> io::Result<BTreeSet<String>> {
        self.models.publishers()
    }

    /// Keeps what runs of a task have fetched that ended with their process, for its next run. No run of the task may be in
    /// progress.
    ///
    /// # Errors
    ///
    /// When its incomplete data sets cannot be listed, renamed or removed.
    pub fn keep_unfinished(&self, task: &str) -> io::Result<()> {
        datasets::keep_most(&self.data_dir, task)
    }

    /// Removes the incomplete data sets of a task that has ended.
    pub async fn remove_unfinished(&self, task: &str) {
        // The renames in progress must not meet the removal of their directories.
        self.moving.over().await;
        let (data_dir, id) = (self.data_dir.clone(), task.to_owned());
        let removed = spawn_blocking(move || datasets::remove_partials(&data_dir, &id)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(task, %error, "the partial data set of a task that has ended could not be removed");
        }
    }

    async fn work_out(&self, task: &str, request: &SubmitTrainingRequest) -> Result<TrainingPlan, EngineError> {
        let library = self.models.clone();
        let models = spawn_blocking(move || library.models()).await;
        let models = models.map_err(|error| EngineError::Failed(format!("the models cannot be listed: {error}")))?;
        let (mut plan, base) = plan_with(task, request, models)?;
        if let Some(training) = &self.training {
            if base.file.is_none() {
                return Err(without_base(&base));
            }
            if let Some(precision) = request.mixed_precision.as_ref().filter(|_| training.is_on_cpu()) {
                let problem =
                    format!("{:?} given, but this server trains without a GPU; leave it out", precision.as_str());
                return Err(EngineError::rejected("mixedPrecision", problem));
            }
            plan.name = plan.output_name().map(str::to_owned);
        }
        Ok(plan)
    }

    /// A plan may have been worked out in another process, whose models lie elsewhere. If its base model is not here by that path,
    /// what depends on it is worked out again; the directory of the data set and the name, which is reserved, stay.
    async fn settle(
        &self,
        task: &str,
        request: &SubmitTrainingRequest,
        plan: TrainingPlan,
    ) -> Result<TrainingPlan, EngineError> {
        let is_here = match &plan.base_model {
            Some(file) => tokio::fs::try_exists(file).await.unwrap_or(false),
            // A training that is only prepared needs none.
            None => plan.name.is_none(),
        };
        if is_here {
            return Ok(plan);
        }
        let here = self.work_out(task, request).await?;
        Ok(TrainingPlan { folder: plan.folder, name: plan.name.or(here.name), ..here })
    }

    /// Renames a data set on a thread where that may block. If the caller is dropped, that goes on, and what comes next waits
    /// for it.
    async fn rename(&self, work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let data_dir = self.data_dir.clone();
        self.moving.alone(move || work(&data_dir)).await?
    }

    /// Lays out the data set of a job, unless it is there.
    async fn prepare(&self, job: &Job, monitor: &Monitor) -> Result<Prepared, EngineError> {
        let request = job.request::<SubmitTrainingRequest>()?;
        let plan: TrainingPlan = match job.plan() {
            Some(plan) => {
                let plan = serde_json::from_value(plan.clone())
                    .map_err(|error| EngineError::Failed(format!("the training plan cannot be read: {error}")))?;
                self.settle(job.task_id(), &request, plan).await?
            }
            // Tasks of the first version have none.
            None => self.work_out(job.task_id(), &request).await?,
        };
        let directory = self.data_dir.join(&plan.folder);
        // An earlier run may have ended just after the directory was complete.
        if !tokio::fs::try_exists(&directory).await.map_err(|error| files::failed(&directory, &error))? {
            let partial = datasets::partial(&self.data_dir, job.task_id(), job.run_id());
            let (task, run) = (job.task_id().to_owned(), job.run_id().to_owned());
            let taken_over = self.rename(move |data_dir| datasets::take_over(data_dir, &task, &run)).await;
            taken_over.map_err(|error| files::failed(&partial, &error))?;
            layout::lay_out(job, &request, &plan, &partial, monitor).await?;
            let complete = directory.clone();
            let completed = self.rename(move |_| std::fs::rename(&partial, &complete)).await;
            completed.map_err(|error| files::failed(&directory, &error))?;
        }
        Ok(Prepared { plan, directory, base: request.pretrained_model_or_default().to_owned() })
    }
}

/// Works out a plan with the base model that it is for.
fn plan_with(
    task: &str,
    request: &SubmitTrainingRequest,
    models: Vec<Model>,
) -> Result<(TrainingPlan, BaseModel), EngineError> {
    let checkpoints: Vec<_> = models.into_iter().filter(|model| model.kind == ModelKind::Checkpoint).collect();
    let base = BaseModel::find(request.pretrained_model_or_default().trim(), &checkpoints);
    let plan = TrainingPlan::new(task, request, &base);
    Ok((plan.map_err(|problem| EngineError::Rejected { field: None, problem })?, base))
}

fn without_base(base: &BaseModel) -> EngineError {
    let problem = format!(
        "the models directory does not have the base model {:?}; give another that `list_models` names",
        base.name
    );
    EngineError::rejected("pretrainedModel", problem)
}

/// Says where a data set is, and what is missing for a result.
fn ended(Prepared { plan, base, .. }: &Prepared) -> String {
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
        vec![Offer { inputs: Inputs::OnDemand, prepares_only: self.training.is_none(), ..offer }]
    }

    fn slots(&self) -> Slots {
        // A training that waits for another has not begun, so that its time limit does not count the wait.
        Slots::Own(if self.training.is_some() { NonZeroUsize::MIN } else { PREPARED })
    }

    fn memory(&self, _: &Job) -> u64 {
        self.memory
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move {
            let plan = self.work_out(request.task_id(), &request.typed()?).await?;
            let plan = serde_json::to_value(plan);
            plan.map(Some).map_err(|error| EngineError::Failed(format!("the training plan cannot be kept: {error}")))
        })
    }

    fn plan_elsewhere<'a>(
        &'a self,
        request: &'a JobRequest,
        offer: &'a Offer,
        models: &'a [Model],
    ) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move {
            let (mut plan, base) = plan_with(request.task_id(), &request.typed()?, models.to_vec())?;
            if !offer.prepares_only {
                if !base.is_listed {
                    return Err(without_base(&base));
                }
                plan.name = plan.output_name().map(str::to_owned);
            }
            let plan = serde_json::to_value(plan);
            plan.map(Some).map_err(|error| EngineError::Failed(format!("the training plan cannot be kept: {error}")))
        })
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let trainer = self.clone();
        Box::pin(async move {
            match &trainer.training {
                Some(training) => {
                    let _used = trainer.in_use.enter(job.task_id());
                    carry_out(
                        training,
                        (&trainer.models, &trainer.moving),
                        &job,
                        &monitor,
                        trainer.prepare(&job, &monitor),
                    )
                    .await
                }
                None => {
                    let prepared = monitor.until_cancelled(trainer.prepare(&job, &monitor)).await??;
                    // Until a trainer is configured, trying again cannot help.
                    Err(EngineError::Rejected { field: None, problem: ended(&prepared) })
                }
            }
        })
    }

    fn discard<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(training) = &self.training {
                training.gone(task).await;
                withdraw((&self.models, &self.moving), task, Some(run)).await;
            }
            self.moving.over().await;
            // The second is there if the run has not taken it over.
            let partials = [datasets::partial(&self.data_dir, task, run), datasets::kept(&self.data_dir, task)];
            for partial in partials {
                for _ in 0..REMOVALS {
                    match files::remove(&partial).await {
                        Ok(()) => break,
                        Err(error) => tracing::warn!(task, %error, "a partial data set could not be removed"),
                    }
                }
            }
        })
    }

    fn interrupt<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        let (of, by) = (task.to_owned(), run.to_owned());
        Box::pin(async move {
            if let Some(training) = &self.training {
                training.gone(task).await;
            }
            if let Err(error) = self.rename(move |data_dir| datasets::keep(data_dir, &of, &by)).await {
                tracing::warn!(task, %error, "a partial data set could not be kept; its pictures are fetched again");
                self.discard(task, run).await;
            }
        })
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(training) = &self.training {
                training.gone(task).await;
            }
            // Training may have been configured when it was put there.
            withdraw((&self.models, &self.moving), task, None).await;
            self.remove_unfinished(task).await;
        })
    }

    fn expire(&self, lifetime: Duration) -> BoxFuture<'_, Result<usize, EngineError>> {
        let (data_dir, in_use) = (self.data_dir.clone(), self.in_use.tasks());
        Box::pin(async move {
            let expired = spawn_blocking(move || datasets::remove_expired(&data_dir, lifetime, &in_use)).await;
            let expired = expired.unwrap_or_else(|error| Err(io::Error::other(error)));
            expired.map_err(|error| EngineError::Failed(format!("old data sets cannot be deleted: {error}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    /// A run is dropped while its rename waits for the disk.
    #[tokio::test]
    async fn a_rename_that_goes_on_does_not_meet_the_removal_of_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let trainer = Trainer::open(path, Library::open(path.join("models"), None));
        let kept = datasets::kept(path, "img1");
        for ends_task in [false, true] {
            std::fs::create_dir_all(&kept).unwrap();
            let (go, disk) = mpsc::channel::<()>();
            let mut renaming = Box::pin(trainer.rename(move |data_dir| {
                // An error means that the test has failed.
                let _ = disk.recv();
                datasets::take_over(data_dir, "img1", "0a1b")
            }));
            assert!((&mut renaming).now_or_never().is_none());
            drop(renaming);
            let mut removing = if ends_task { trainer.forget("img1") } else { trainer.discard("img1", "0a1b") };
            assert!((&mut removing).now_or_never().is_none());
            assert!(kept.exists());
            go.send(()).unwrap();
            removing.await;
            assert_eq!(trainer.unfinished().unwrap(), BTreeSet::new());
        }
    }
}
