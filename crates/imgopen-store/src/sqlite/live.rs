//! What is not kept for good: the progress of runs, and who waits for their previews.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::{OwnerId, RunId, TaskId};
use crate::{LiveProgress, RunProgress};

/// What heartbeats report. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The progress of each owner's runs, by task, as of its last heartbeat.
    progress: HashMap<OwnerId, HashMap<TaskId, RunProgress>>,
    /// Until when previews of these tasks are waited for.
    watched: HashMap<TaskId, Instant>,
}

impl Live {
    /// Takes the progress of an owner's runs, of which these are still its own. Returns those whose previews are waited for.
    pub fn publish(&self, owner: OwnerId, mine: Vec<(TaskId, RunId)>, progress: Vec<RunProgress>) -> Vec<RunId> {
        let mut state = self.lock();
        let now = Instant::now();
        state.watched.retain(|_, until| *until > now);
        let is_watched = |(task, run): &(TaskId, RunId)| state.watched.contains_key(task).then(|| run.clone());
        let watched = mine.iter().filter_map(is_watched).collect();
        let mut by_run: HashMap<_, _> = progress.into_iter().map(|progress| (progress.run.clone(), progress)).collect();
        let kept: HashMap<_, _> =
            mine.into_iter().filter_map(|(task, run)| Some((task, by_run.remove(&run)?))).collect();
        match kept.is_empty() {
            true => drop(state.progress.remove(&owner)),
            false => drop(state.progress.insert(owner, kept)),
        }
        watched
    }

    /// Returns the progress of tasks that are in these runs.
    pub fn of(&self, running: Vec<(TaskId, RunId)>) -> Vec<LiveProgress> {
        let state = self.lock();
        let found = running.into_iter().filter_map(|(task, run)| {
            let mut known = state.progress.values().filter_map(|runs| runs.get(&task));
            let progress = known.find(|progress| progress.run == run).cloned()?;
            Some(LiveProgress { task, progress })
        });
        found.collect()
    }

    /// Notes that previews of a task are waited for.
    pub fn watch(&self, task: TaskId, time: Duration) {
        let Some(until) = Instant::now().checked_add(time) else { return };
        let mut state = self.lock();
        let noted = state.watched.entry(task).or_insert(until);
        *noted = until.max(*noted);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
