//! A training from its data set to the LoRA in the models directory.
//!
//! Each stage leaves something whole behind, which the next run takes over if this one is interrupted: the data set, what was
//! trained, the LoRA in the models directory.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_engine::library::{Owner, PublishError};
use imgopen_engine::{EngineError, Job, Library, Monitor, Output, OutputFile};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

use crate::files::{create, remove};
use crate::plan::{OUTPUT, TrainingPlan};
use crate::training::Training;

/// What was trained, until it is in the models directory. A file gets this name once the trainer has ended well.
const TRAINED: &str = "trained.safetensors";

/// The tasks whose data sets are in use. Clones share the set.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse {
    tasks: Arc<Mutex<BTreeSet<String>>>,
}

/// Keeps a task's data set from being deleted by age.
#[must_use = "the data set may be deleted once this is dropped"]
pub(crate) struct Used<'a> {
    by: &'a InUse,
    task: &'a str,
}

impl InUse {
    pub(crate) fn tasks(&self) -> BTreeSet<String> {
        self.lock().clone()
    }

    pub(crate) fn enter<'a>(&'a self, task: &'a str) -> Used<'a> {
        self.lock().insert(task.to_owned());
        Used { by: self, task }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.by.lock().remove(self.task);
    }
}

/// Held while files of the trainer get their names or are removed, even if the run that does so has been dropped: what comes next
/// waits for it. Clones are the same lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moving(Arc<AsyncMutex<()>>);

impl Moving {
    /// Does work on a thread where it may block, alone.
    ///
    /// # Errors
    ///
    /// If it panics.
    pub(crate) async fn alone<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let moving = self.0.clone().lock_owned().await;
        let done = spawn_blocking(move || {
            let _moving = moving;
            work()
        });
        done.await.map_err(io::Error::other)
    }

    /// Waits for the work in progress.
    pub(crate) async fn over(&self) {
        drop(self.0.lock().await);
    }
}

/// A data set that is complete.
pub(crate) struct Prepared {
    pub plan: TrainingPlan,
    pub directory: PathBuf,
    /// The base model that the request names.
    pub base: String,
}

/// Trains the LoRA of a job. `prepare` lays out its data set.
pub(crate) async fn carry_out(
    training: &Training,
    (library, moving): (&Library, &Moving),
    job: &Job,
    monitor: &Monitor,
    prepare: impl Future<Output = Result<Prepared, EngineError>>,
) -> Result<Output, EngineError> {
    let task = job.task_id();
    let owner =
        Owner { key: job.checked_request().key().to_owned(), task: task.to_owned(), run: job.run_id().to_owned() };
    if let Some(lora) = adopt((library, moving), owner.clone()).await? {
        return result(lora);
    }
    let Prepared { plan, directory, .. } = monitor.until_cancelled(prepare).await??;
    let output = plan.output_name().ok_or_else(|| failed("the plan of the training names no output"))?;
    let trained = directory.join(TRAINED);
    if !exists(&trained).await? {
        check_base(&plan, &directory).await?;
        // What a trainer was writing that was killed is not whole.
        remove(&directory.join(OUTPUT)).await?;
        create(&directory.join(OUTPUT)).await?;
        training.train(task, &plan, &directory, monitor).await?;
        let made = directory.join(OUTPUT).join(format!("{output}.safetensors"));
        keep(made, trained.clone()).await?;
    }
    let name = plan.name.as_deref().unwrap_or(output);
    let lora = publish((library, moving), trained.clone(), name, owner, monitor).await?;
    if let Err(error) = tokio::fs::remove_file(&trained).await {
        tracing::warn!(task, %error, "a copy of a LoRA could not be deleted; it is deleted with its data set");
    }
    result(lora)
}

/// Removes what a task, or one run of it, has put into the models directory.
pub(crate) async fn withdraw((library, moving): (&Library, &Moving), task: &str, run: Option<&str>) {
    let (library, of, by) = (library.clone(), task.to_owned(), run.map(str::to_owned));
    let withdrawn = moving.alone(move || library.withdraw(&of, by.as_deref())).await;
    if let Err(error) = withdrawn.and_then(|withdrawn| withdrawn) {
        tracing::warn!(task, %error, "the LoRA of a task without a result could not be removed");
    }
}

async fn adopt((library, moving): (&Library, &Moving), owner: Owner) -> Result<Option<PathBuf>, EngineError> {
    let library = library.clone();
    let adopted = moving.alone(move || library.adopt(&owner)).await;
    adopted.and_then(|adopted| adopted).map_err(|error| {
        tracing::warn!(%error, "the LoRAs in the models directory cannot be read");
        unavailable("the directory of LoRAs cannot be read")
    })
}

/// Puts what was trained into the models directory, unless the job is cancelled. If the caller is dropped meanwhile, [`withdraw`]
/// waits for the end of it.
async fn publish(
    (library, moving): (&Library, &Moving),
    trained: PathBuf,
    name: &str,
    owner: Owner,
    monitor: &Monitor,
) -> Result<PathBuf, EngineError> {
    let (library, named, monitor) = (library.clone(), name.to_owned(), monitor.clone());
    let publishing = move || -> Result<_, EngineError> {
        monitor.check_cancelled()?;
        Ok(library.publish(&trained, &named, &owner))
    };
    let published = moving.alone(publishing).await;
    match published.map_err(|error| failed(&format!("the LoRA could not be stored: {error}")))?? {
        Ok(lora) => Ok(lora),
        Err(PublishError::Taken) => {
            let problem = format!("the LoRA would be named {name:?}, which was taken meanwhile; give another id");
            Err(EngineError::rejected("taskId", problem))
        }
        Err(PublishError::Io(error)) => {
            tracing::warn!(%error, "a LoRA cannot be put into the models directory");
            Err(unavailable("the LoRA cannot be put into the models directory"))
        }
    }
}

fn result(lora: PathBuf) -> Result<Output, EngineError> {
    let name = lora.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = name.ok_or_else(|| failed("the LoRA has no name"))?;
    Ok(Output { files: vec![OutputFile { name, path: lora }], ..Output::default() })
}

/// The trainer would fetch a base model that is not there from a hub. One that was there when the training was submitted may have
/// been removed.
async fn check_base(plan: &TrainingPlan, directory: &Path) -> Result<(), EngineError> {
    let flag = "--pretrained_model_name_or_path=";
    let path = plan.command.iter().find_map(|word| word.strip_prefix(flag)).filter(|_| plan.base_model.is_some());
    let is_there = match path {
        Some(path) => exists(&directory.join(path)).await?,
        None => false,
    };
    match is_there {
        true => Ok(()),
        false => Err(EngineError::rejected(
            "pretrainedModel",
            "the base model is not in the models directory any more; submit again with another one",
        )),
    }
}

/// Gives what was trained the name of a whole file, once it is on the disk.
async fn keep(made: PathBuf, trained: PathBuf) -> Result<(), EngineError> {
    let kept = blocking(move || {
        std::fs::File::open(&made)?.sync_all()?;
        std::fs::rename(made, trained)
    });
    kept.await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            failed("the trainer ended without an error and without a LoRA; the server's log may say why")
        }
        _ => {
            tracing::warn!(%error, "what was trained cannot be kept");
            unavailable("the LoRA cannot be read back from the disk")
        }
    })
}

async fn exists(path: &Path) -> Result<bool, EngineError> {
    tokio::fs::try_exists(path).await.map_err(|error| crate::files::failed(path, &error))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn failed(problem: &str) -> EngineError {
    EngineError::Failed(problem.to_owned())
}

fn unavailable(reason: &str) -> EngineError {
    EngineError::Unavailable { reason: reason.to_owned(), retry_after: None }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn owner(task: &str) -> Owner {
        Owner { key: "ak_1".to_owned(), task: task.to_owned(), run: "run".to_owned() }
    }

    /// A cancel comes while the LoRA waits for the disk.
    #[tokio::test]
    async fn a_cancelled_run_publishes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (library, moving) = (Library::open(folder.path().join("models"), None), Moving::default());
        let trained = folder.path().join("trained");
        std::fs::write(&trained, "weights").unwrap();
        let (monitor, watch) = Monitor::new();
        let held = moving.0.clone().lock_owned().await;
        let to = (&library, &moving);
        let mut publishing = Box::pin(publish(to, trained.clone(), "ink", owner("img1"), &monitor));
        assert!((&mut publishing).now_or_never().is_none());
        watch.cancel.cancel();
        drop(held);
        assert_eq!(publishing.await, Err(EngineError::Cancelled));
        assert!(!library.folder().exists());
        let (monitor, _watch) = Monitor::new();
        assert!(publish(to, trained, "ink", owner("img1"), &monitor).await.unwrap().is_file());
    }

    #[tokio::test]
    async fn a_lora_is_withdrawn_once_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let (library, moving) = (Library::open(folder.path().join("models"), None), Moving::default());
        let trained = folder.path().join("trained");
        std::fs::write(&trained, "weights").unwrap();
        let (go, disk) = std::sync::mpsc::channel::<()>();
        let of_run = library.clone();
        let mut publishing = Box::pin(moving.alone(move || {
            // An error means that the test has failed.
            let _ = disk.recv();
            of_run.publish(&trained, "ink", &owner("img1")).unwrap()
        }));
        assert!((&mut publishing).now_or_never().is_none());
        drop(publishing);
        let mut withdrawing = Box::pin(withdraw((&library, &moving), "img1", None));
        assert!((&mut withdrawing).now_or_never().is_none());
        go.send(()).unwrap();
        withdrawing.await;
        assert_eq!(std::fs::read_dir(library.folder().join("Lora")).unwrap().count(), 0);
    }
}
