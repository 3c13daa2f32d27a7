//! What drivers have in common.

use std::path::PathBuf;

use futures_util::future::{self, BoxFuture, FutureExt};
use imgopen_engine::{Engine, EngineError, Job, Library, Monitor, Output};
use tokio::sync::oneshot;

use crate::control_maps::{ControlMaps, Preparing};
use crate::report::Report;
use crate::settings::BackendSettings;

/// An engine that drives a back end.
pub trait Driver: Engine {
    /// Returns the settings.
    fn settings(&self) -> &BackendSettings;

    /// Asks the back end what it has, and returns whether it answers.
    fn refresh(&self) -> BoxFuture<'_, bool>;

    /// Returns what is known of the back end, without asking it.
    fn report(&self) -> Report;

    /// Returns whether it has this model in memory, so that a job for it begins sooner than elsewhere.
    fn has_loaded(&self, model: Option<&str>) -> bool {
        let _ = model;
        false
    }

    /// Has this service make what a job needs before its back end can do it, such as control pictures, and returns the job with
    /// that. `None` if it needs nothing, or has it. A fleet calls this before the job takes a place; [`run`](Engine::run) does it
    /// for a job that lacks it.
    fn prepare(&self, job: &Job, monitor: &Monitor) -> Option<BoxFuture<'static, Result<Job, EngineError>>> {
        let _ = (job, monitor);
        None
    }

    /// Has it free the memory of its device for others, where it can. Called while no job of it runs.
    fn free(&self) -> BoxFuture<'_, ()> {
        future::ready(()).boxed()
    }
}

/// What back ends find around them.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The models directory: an `sd-server` that is started gets its LoRAs, embeddings and upscalers.
    pub library: Option<Library>,
    /// This program, which starts others by its hidden command `launch`, so that they end with it. Without it, they are started
    /// directly and may outlive a process that is killed.
    pub launcher: Option<PathBuf>,
    /// What makes control pictures for sd-server and ComfyUI, which have no preprocessors. Without it, requests that name a
    /// preprocessor are refused.
    pub control_maps: Option<ControlMaps>,
}

/// Returns a job once it is prepared.
pub(crate) async fn prepared(job: Job, preparing: Option<Preparing>) -> Result<Job, EngineError> {
    match preparing {
        Some(preparing) => preparing.await,
        None => Ok(job),
    }
}

/// Carries out a job by itself, because a server works on whatever becomes of the run. A cancelled run ends at once, and the job
/// once the server has ended it.
pub(crate) async fn by_itself(
    work: impl Future<Output = Result<Output, EngineError>> + Send + 'static,
    monitor: Monitor,
) -> Result<Output, EngineError> {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let _ = sender.send(work.await);
    });
    let result = monitor.until_cancelled(receiver).await?;
    result.unwrap_or_else(|_| Err(EngineError::Failed("the job of the back end panicked".to_owned())))
}
