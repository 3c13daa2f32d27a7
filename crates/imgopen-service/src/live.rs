//! The tasks that run in this process: their progress, previews and cancellation.

mod sharing;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imgopen_engine::{Choice, Picture, Watch};
use imgopen_store::{AssetToken, RunId, RunProgress};
use tokio_util::sync::CancellationToken;

use crate::urls::Urls;
use sharing::Sharing;

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
    /// Whether its claim was carried out.
    is_claimed: bool,
    /// The previews that other processes can read.
    sharing: Sharing,
}

/// A run as heartbeats report it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// How far it has got.
    pub progress: RunProgress,
    /// Whether its claim was carried out. One whose claim is in progress may not be in the database yet.
    pub is_claimed: bool,
}

/// A new preview that other processes are to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The run that it is of.
    pub run: RunId,
    /// The picture.
    pub picture: Picture,
    /// The name of an earlier one that nobody reads any more, and which it may overwrite.
    pub over: Option<AssetToken>,
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

    /// Cancels all runs, because the process has lost them.
    pub fn cancel_all(&self) {
        self.lock().values().for_each(|run| run.cancel.cancel());
    }

    /// Returns how many runs are in progress here.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Returns how many other runs are in progress here.
    pub fn beside(&self, id: &RunId) -> usize {
        self.lock().keys().filter(|other| *other != id).count()
    }

    /// Returns all runs with their progress, as heartbeats report them.
    pub fn report(&self) -> Vec<Reported> {
        self.lock().iter().map(|(id, run)| run.reported(id)).collect()
    }

    /// Notes that somebody elsewhere waits for the previews of these runs until that time since the start.
    pub fn watched(&self, watched: &[RunId], until: Duration) {
        let mut runs = self.lock();
        for id in watched {
            if let Some(run) = runs.get_mut(id) {
                run.sharing.watched(until);
            }
        }
    }

    /// Returns the new previews that somebody waits for at this time since the start, which are to be stored now, but for runs of which
    /// one is being stored.
    pub fn take_previews(&self, now: Duration, is_busy: impl Fn(&RunId) -> bool) -> Vec<Preview> {
        let mut runs = self.lock();
        let taken = runs.iter_mut().filter(|(id, _)| !is_busy(id)).filter_map(|(id, run)| {
            let watch = run.watch.as_ref().filter(|_| run.preview.is_some())?;
            let picture = watch.preview.borrow().clone()?;
            run.sharing.take(picture, now).map(|(picture, over)| Preview { run: id.clone(), picture, over })
        });
        taken.collect()
    }

    /// Notes that a preview of a run is stored by that name. Returns it if it is to be deleted, because the run shows none any more.
    pub fn stored(&self, id: &RunId, token: AssetToken) -> Option<AssetToken> {
        match self.lock().get_mut(id) {
            Some(run) => run.sharing.stored(token),
            None => Some(token),
        }
    }

    /// Ends the previews of a run for other processes. Returns the names of those that are stored; `None` if none was ever stored
    /// or being stored.
    pub fn end_previews(&self, id: &RunId) -> Option<Vec<AssetToken>> {
        self.lock().get_mut(id)?.sharing.end()
    }

    /// Whether a run is in progress here.
    pub fn has(&self, id: &RunId) -> bool {
        self.lock().contains_key(id)
    }

    /// Returns the progress of a task's run, if it is in progress here. If it is one of several processes, its preview is one that
    /// all can read.
    pub fn live(&self, id: Option<&RunId>, urls: &Urls, is_shared: bool) -> Option<Live> {
        let run = self.lock().get(id?).cloned()?;
        let Some(watch) = run.watch else { return Some(Live::default()) };
        let progress = *watch.progress.borrow();
        let has_preview = watch.preview.borrow().is_some();
        let shown = if is_shared { run.sharing.latest().cloned() } else { run.preview.filter(|_| has_preview) };
        let (preview, engine) = (shown.map(|token| urls.preview(&token)), run.engine);
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

impl Run {
    fn reported(&self, id: &RunId) -> Reported {
        let (engine, grade) = self.engine.clone().unzip();
        let mut progress = RunProgress { engine, grade, ..RunProgress::new(id.clone()) };
        if let Some(watch) = &self.watch {
            let done = *watch.progress.borrow();
            (progress.percent, progress.step, progress.steps) = (done.percent, done.step, done.steps);
            progress.preview = self.sharing.latest().cloned();
        }
        Reported { progress, is_claimed: self.is_claimed }
    }
}

/// Returns the runs that were reported and that the database does not know as this process's any more: they have ended, were
/// cancelled, or were taken away.
pub fn lost(reported: &[Reported], own: &[RunId]) -> Vec<RunId> {
    let own: HashSet<_> = own.iter().collect();
    let claimed = reported.iter().filter(|reported| reported.is_claimed).map(|reported| &reported.progress.run);
    claimed.filter(|run| !own.contains(run)).cloned().collect()
}

impl Entry {
    /// Notes that the claim of the run was carried out, so that the database knows it.
    pub fn claimed(&self) {
        if let Some(run) = self.running.lock().get_mut(&self.id) {
            run.is_claimed = true;
        }
    }

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

#[cfg(test)]
mod tests {
    use imgopen_engine::{Format, Grade, Inputs, Monitor, Offer};
    use imgopen_tools::Sandbox;
    use imgopen_types::operations;

    use super::*;

    fn choice() -> Choice {
        let offer = Offer { inputs: Inputs::Unused, ..Offer::new(&operations::TEXT_TO_IMAGE, Grade::Sandbox) };
        Choice { engine: Arc::new(Sandbox::new()), offer }
    }

    fn picture(byte: u8) -> Picture {
        Picture { bytes: vec![byte].into(), format: Format::Png, width: 1, height: 1, seed: None }
    }

    fn run(id: &str) -> RunId {
        RunId(id.to_owned())
    }

    #[test]
    fn only_claimed_runs_can_be_lost() {
        let running = Running::default();
        let [kept, taken, begun] = ["kept", "taken", "begun"].map(|id| running.enter(run(id)));
        kept.claimed();
        taken.claimed();
        let reported = running.report();
        assert_eq!(reported.len(), 3);
        assert_eq!(lost(&reported, &[run("kept")]), [run("taken")]);
        assert_eq!(running.beside(&begun.id), 2);
        running.cancel_all();
        assert!([&kept, &taken, &begun].into_iter().all(|entry| entry.cancelled.is_cancelled()));
    }

    #[test]
    fn heartbeats_report_progress_and_stored_previews() {
        let (running, urls) = (Running::default(), Urls { base: "http://a".to_owned() });
        let entry = running.enter(run("mine"));
        let (monitor, watch) = Monitor::new();
        entry.watch(&choice(), watch, true);
        monitor.step(3, 12);
        monitor.preview(picture(1));
        let Reported { progress, is_claimed } = running.report().remove(0);
        assert_eq!((progress.percent, progress.step, progress.steps, is_claimed), (25.0, 3, 12, false));
        assert_eq!((progress.engine.as_deref(), progress.grade.as_deref()), (Some("sandbox"), Some("sandbox")));
        assert_eq!(progress.preview, None);
        // Nobody elsewhere waits for it.
        assert!(running.take_previews(Duration::ZERO, |_| false).is_empty());
        assert!(running.live(Some(&entry.id), &urls, false).unwrap().preview.is_some());
        assert_eq!(running.live(Some(&entry.id), &urls, true).unwrap().preview, None);
        running.watched(&[run("mine"), run("other")], Duration::from_secs(10));
        assert!(running.take_previews(Duration::from_secs(1), |busy| *busy == run("mine")).is_empty());
        let taken = running.take_previews(Duration::from_secs(1), |_| false);
        assert_eq!(taken, [Preview { run: run("mine"), picture: picture(1), over: None }]);
        assert_eq!(running.stored(&run("mine"), AssetToken("stored".to_owned())), None);
        assert_eq!(running.report().remove(0).progress.preview, Some(AssetToken("stored".to_owned())));
        let shown = running.live(Some(&entry.id), &urls, true).unwrap().preview;
        assert_eq!(shown.as_deref(), Some("http://a/previews/stored"));
        assert_eq!(running.end_previews(&entry.id), Some(vec![AssetToken("stored".to_owned())]));
        drop(entry);
        let late = AssetToken("late".to_owned());
        assert_eq!(running.stored(&run("mine"), late.clone()), Some(late));
    }

    #[test]
    fn previews_that_are_withheld_are_not_stored() {
        let running = Running::default();
        let entry = running.enter(run("mine"));
        let (monitor, watch) = Monitor::new();
        entry.watch(&choice(), watch, false);
        monitor.preview(picture(1));
        running.watched(&[run("mine")], Duration::from_secs(10));
        assert!(running.take_previews(Duration::ZERO, |_| false).is_empty());
        assert_eq!(running.end_previews(&entry.id), None);
    }
}
