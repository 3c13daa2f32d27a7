//! The tasks that run in this process: how far they are, what they look like, and how to stop them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_engine::{Choice, Picture, Watch};
use tokio_util::sync::CancellationToken;

use crate::answers::{Live, Urls};
use crate::ids::{AssetToken, TaskId};

/// The tasks that run.
#[derive(Debug, Clone, Default)]
pub struct Running {
    tasks: Arc<Mutex<HashMap<TaskId, Run>>>,
}

#[derive(Debug, Clone)]
struct Run {
    cancel: CancellationToken,
    watch: Option<Watch>,
    preview: Option<AssetToken>,
    engine: Option<(String, &'static str)>,
}

/// A task that runs; it is taken out when this is dropped.
#[derive(Debug)]
pub struct Entry {
    running: Running,
    id: TaskId,
    /// Tells that someone wants the task to end.
    pub cancelled: CancellationToken,
}

impl Running {
    /// Enters a task.
    pub fn enter(&self, id: &TaskId) -> Entry {
        let cancelled = CancellationToken::new();
        let run = Run { cancel: cancelled.clone(), watch: None, preview: None, engine: None };
        self.lock().insert(id.clone(), run);
        Entry { running: self.clone(), id: id.clone(), cancelled }
    }

    /// Stops a task, if it runs here.
    pub fn cancel(&self, id: &TaskId) {
        if let Some(run) = self.lock().get(id) {
            run.cancel.cancel();
        }
    }

    /// How far a task is, if it runs here.
    pub fn live(&self, id: &TaskId, urls: &Urls) -> Option<Live> {
        let run = self.lock().get(id).cloned()?;
        let Some(watch) = run.watch else { return Some(Live::default()) };
        let progress = *watch.progress.borrow();
        let has_preview = watch.preview.borrow().is_some();
        let preview = run.preview.filter(|_| has_preview).map(|token| urls.preview(&token));
        let engine = run.engine;
        Some(Live { percent: progress.percent, step: progress.step, steps: progress.steps, preview, engine })
    }

    /// The latest intermediate picture of that token.
    pub fn preview(&self, token: &AssetToken) -> Option<Picture> {
        let tasks = self.lock();
        let run = tasks.values().find(|run| run.preview.as_ref() == Some(token))?;
        run.watch.as_ref()?.preview.borrow().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Run>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Notes the engine that works on the task, with the line to it.
    pub fn watch(&self, choice: &Choice, watch: Watch) {
        let engine = Some((choice.engine.name().to_owned(), choice.offer.grade.as_str()));
        if let Some(run) = self.running.lock().get_mut(&self.id) {
            // Without a token a task shows no previews, which is no reason to fail.
            *run = Run { watch: Some(watch), preview: AssetToken::new("png").ok(), engine, ..run.clone() };
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}
