//! The tasks that run in this process: their progress, previews and cancellation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_engine::{Choice, Picture, Watch};
use imgopen_store::{AssetToken, RunId};
use tokio_util::sync::CancellationToken;

use crate::urls::Urls;

/// The progress of a running task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// From 0 to 100.
    pub percent: f64,
    /// Steps done; 0 if the engine does not count them.
    pub step: u32,
    /// Steps in all; 0 if the engine does not count them.
    pub steps: u32,
    /// The URL of an intermediate picture.
    pub preview: Option<String>,
    /// The name of the engine and its grade.
    pub engine: Option<(String, String)>,
}

/// The runs in this process. Clones share the set.
#[derive(Debug, Clone, Default)]
pub struct Running {
    runs: Arc<Mutex<HashMap<RunId, Run>>>,
}

#[derive(Debug, Clone, Default)]
struct Run {
    cancel: CancellationToken,
    watch: Option<Watch>,
    preview: Option<AssetToken>,
    engine: Option<(String, String)>,
}

/// The entry of a run, removed on drop.
#[derive(Debug)]
pub struct Entry {
    running: Running,
    /// The run.
    pub id: RunId,
    /// Cancelled when the task is.
    pub cancelled: CancellationToken,
}

impl Running {
    /// Adds a run. Done before its claim, so that a cancel that finds the task running finds the run, too.
    pub fn enter(&self, id: RunId) -> Entry {
        let cancelled = CancellationToken::new();
        self.lock().insert(id.clone(), Run { cancel: cancelled.clone(), ..Run::default() });
        Entry { running: self.clone(), id, cancelled }
    }

    /// Cancels a run, if it is in progress here.
    pub fn cancel(&self, id: &RunId) {
        if let Some(run) = self.lock().get(id) {
            run.cancel.cancel();
        }
    }

    /// Whether a run is in progress here.
    pub fn has(&self, id: &RunId) -> bool {
        self.lock().contains_key(id)
    }

    /// Returns the progress of a task's run, if it is in progress here.
    pub fn live(&self, id: Option<&RunId>, urls: &Urls) -> Option<Live> {
        let run = self.lock().get(id?).cloned()?;
        let Some(watch) = run.watch else { return Some(Live::default()) };
        let progress = *watch.progress.borrow();
        let has_preview = watch.preview.borrow().is_some();
        let preview = run.preview.filter(|_| has_preview).map(|token| urls.preview(&token));
        let engine = run.engine;
        Some(Live { percent: progress.percent, step: progress.step, steps: progress.steps, preview, engine })
    }

    /// Returns the latest preview with that token.
    pub fn preview(&self, token: &AssetToken) -> Option<Picture> {
        let runs = self.lock();
        let run = runs.values().find(|run| run.preview.as_ref() == Some(token))?;
        run.watch.as_ref()?.preview.borrow().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Records the engine that runs the task, and the watch of its progress. Previews are shown only if `shows_previews`.
    pub fn watch(&self, choice: &Choice, watch: Watch, shows_previews: bool) {
        let engine = Some((choice.engine.name().to_owned(), choice.offer.grade.as_str().to_owned()));
        if let Some(run) = self.running.lock().get_mut(&self.id) {
            // Without a token the task only shows no previews.
            let preview = shows_previews.then(|| AssetToken::new(&self.id, "png").ok()).flatten();
            *run = Run { watch: Some(watch), preview, engine, ..run.clone() };
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}
