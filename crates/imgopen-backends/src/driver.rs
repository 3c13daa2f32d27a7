//! What drivers have in common.

use std::path::PathBuf;

use futures_util::future::{self, BoxFuture, FutureExt};
use imgopen_engine::{Engine, EngineError, Library, Monitor, Output};
use tokio::sync::oneshot;

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
