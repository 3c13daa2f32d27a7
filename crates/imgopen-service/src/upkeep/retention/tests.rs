//! Passes at times that a test chooses.

use imgopen_engine::{Format, Picture, Registry};
use imgopen_store::{
    AssetToken, Claim, Clock, End, Ending, HandBack, KeyId, NewTask, Note, OwnerAbout, OwnerId, RunId, State, TaskId,
    TaskOutput, TaskRow,
};
use serde_json::json;

use super::*;
use crate::app::Service;
use crate::fleet::{Fleet, agreement, offers};
use crate::settings::Settings;

const START: Moment = Moment(1_769_904_000_000);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A service that keeps pictures for 30 days and tasks for 90, its clock and its retention.
struct Bench {
    context: Arc<Context>,
    clock: Clock,
    retention: Retention,
    directory: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        settings.assets.lifetime = Some(30 * DAY);
        settings.tasks.lifetime = Some(90 * DAY);
        let clock = Clock::fixed(START);
        let service = Service::open(settings, clock.clone(), Registry::new(Vec::new())).await.unwrap();
        let retention = Retention::default();
        Self { context: service.context(), clock, retention, directory }
    }

    async fn pass(&mut self) -> Deleted {
        self.retention.delete(&self.context).await.unwrap()
    }

    /// Lets that many days pass, with a pass of the retention on each.
    async fn run_for(&mut self, days: u32) -> Deleted {
        let mut deleted = Deleted::default();
        for _ in 0..days {
            self.clock.set(self.clock.now().plus(DAY));
            let now = self.pass().await;
            deleted.pictures += now.pictures;
            deleted.tasks += now.tasks;
            deleted.keys += now.keys;
        }
        deleted
    }

    /// Ends a task, with a picture until then.
    async fn ended(&self, name: &str, picture: Option<Option<Moment>>) -> TaskRow {
        let task = self.running(name).await;
        let run = task.run.clone().unwrap();
        let mut assets = Vec::new();
        if let Some(expires_at) = picture {
            let bytes = vec![1, 2, 3].into();
            let picture = Picture { bytes, format: Format::Png, width: 1, height: 1, seed: None };
            assets.push(self.context.assets.put(&run, &picture, &[], expires_at).await.unwrap());
        }
        let task = task.ended(Ending::Succeeded(TaskOutput::default()), None, self.clock.now());
        let end = End { before: State::Running, task: task.clone(), assets, callback: None, orphans_run: false };
        assert!(self.context.store.end(end).await.unwrap());
        task
    }

    /// Ends a task whose run may have left files.
    async fn orphaned(&self, name: &str) {
        let task = self.running(name).await.ended(Ending::Failed("no".to_owned()), None, self.clock.now());
        let end = End { before: State::Running, task, assets: Vec::new(), callback: None, orphans_run: true };
        assert!(self.context.store.end(end).await.unwrap());
    }

    /// Writes a file in a run without a row, and returns its name.
    async fn left(&self, run: &RunId) -> AssetToken {
        let picture = Picture { bytes: vec![1, 2, 3].into(), format: Format::Png, width: 1, height: 1, seed: None };
        self.context.assets.put(run, &picture, &[], None).await.unwrap().token
    }

    async fn running(&self, name: &str) -> TaskRow {
        let (key, needs) = (KeyId(name.to_owned()), "enlarge_image".to_owned());
        let task = NewTask::new(TaskId(name.to_owned()), key.clone(), "enlarge_image", "{}", self.clock.now());
        self.context.store.submit(task).await.unwrap();
        let owner = self.context.owner();
        let claim = Claim { key, needs, run: RunId::new().unwrap(), owner, now: self.clock.now(), only: None };
        self.context.store.claim(claim).await.unwrap().unwrap()
    }

    async fn has(&self, name: &str) -> bool {
        self.context.store.task(TaskId(name.to_owned())).await.unwrap().is_some()
    }

    fn files(&self) -> usize {
        let shelves = std::fs::read_dir(self.directory.path().join("assets")).unwrap();
        shelves.map(|shelf| std::fs::read_dir(shelf.unwrap().path()).unwrap().count()).sum()
    }

    async fn orphaned_runs(&self) -> usize {
        self.context.store.orphaned_runs(None, 9).await.unwrap().len()
    }
}

/// A write may still be in progress when the clock is set, and would leave a file that nothing accounts for.
#[tokio::test]
async fn a_jump_of_the_clock_forgets_no_orphaned_run_early() {
    let mut bench = Bench::new().await;
    bench.orphaned("orphaned").await;
    bench.pass().await;
    for jump in [START.plus(400 * DAY), Moment(0)] {
        bench.clock.jump(jump);
        bench.pass().await;
        assert_eq!(bench.orphaned_runs().await, 1);
    }
    bench.clock.set(bench.clock.now().plus(Duration::from_secs(10 * 60)));
    bench.pass().await;
    assert_eq!(bench.orphaned_runs().await, 0);
}

/// A process dies after it has listed a file of a run that is over, and before it has deleted it.
#[tokio::test]
async fn a_file_with_a_tombstone_is_deleted_by_the_next_pass() {
    let mut bench = Bench::new().await;
    let task = bench.ended("1", Some(None)).await;
    let left = bench.left(&task.run.unwrap()).await;
    let store = bench.context.store.clone();
    assert_eq!(store.tombstones(vec![left.clone()]).await.unwrap(), [left]);
    assert_eq!(bench.files(), 2);
    assert_eq!(bench.pass().await, Deleted { pictures: 1, ..Deleted::default() });
    assert_eq!((bench.files(), store.expired_files(None, 9).await.unwrap().len()), (1, 0));
}

/// A run is handed back, and what it has written is deleted because of that alone.
#[tokio::test]
async fn files_of_orphaned_runs_are_deleted_and_those_of_unknown_runs_are_kept() {
    let mut bench = Bench::new().await;
    let task = bench.running("1").await;
    let (run, store) = (task.run.clone().unwrap(), bench.context.store.clone());
    let files = [bench.left(&run).await, bench.left(&RunId::new().unwrap()).await];
    assert_eq!(bench.pass().await, Deleted::default());
    let now = bench.clock.now();
    let back = HandBack { task: task.id, run, is_fault: false, deferred_for: Duration::ZERO, now };
    assert!(store.hand_back(back).await.unwrap());
    assert_eq!(bench.pass().await, Deleted { orphans: 1, ..Deleted::default() });
    let mut sizes = Vec::new();
    for file in &files {
        sizes.push(bench.context.assets.size_of(file).await.unwrap());
    }
    assert_eq!(sizes, [None, Some(3)]);
    assert_eq!(store.note(Note::Unknown).await.unwrap(), Some(1));
}

/// As when the disk of the pictures is not mounted: their directory is there, and empty.
#[tokio::test]
async fn nothing_is_forgotten_while_the_pictures_are_away() {
    let mut bench = Bench::new().await;
    bench.ended("1", Some(Some(START.plus(30 * DAY)))).await;
    bench.orphaned("orphaned").await;
    bench.ended("kept", Some(None)).await;
    let (assets, disk) = (bench.directory.path().join("assets"), bench.directory.path().join("disk"));
    std::fs::rename(&assets, &disk).unwrap();
    std::fs::create_dir(&assets).unwrap();
    bench.run_for(40).await;
    let store = bench.context.store.clone();
    assert_eq!((store.expired_files(None, 9).await.unwrap().len(), bench.orphaned_runs().await), (1, 1));
    std::fs::remove_dir(&assets).unwrap();
    std::fs::rename(&disk, &assets).unwrap();
    assert_eq!(bench.files(), 2);
    bench.run_for(2).await;
    assert_eq!(bench.files(), 1);
    assert_eq!((store.expired_files(None, 9).await.unwrap().len(), bench.orphaned_runs().await), (0, 0));
}

#[tokio::test]
async fn a_jump_of_the_clock_deletes_nothing_early() {
    let mut bench = Bench::new().await;
    bench.ended("1", Some(Some(START.plus(30 * DAY)))).await;
    assert_eq!(bench.pass().await, Deleted::default());
    bench.clock.jump(START.plus(400 * DAY));
    assert_eq!(bench.pass().await, Deleted::default());
    assert_eq!(bench.files(), 1);
    // Once the clock is right again, nothing has happened.
    bench.clock.jump(START);
    assert_eq!(bench.pass().await, Deleted::default());
    // If nobody corrects it, it is believed after an hour.
    bench.clock.jump(START.plus(400 * DAY));
    assert_eq!(bench.pass().await, Deleted::default());
    let hour = Duration::from_secs(60 * 60);
    bench.clock.set(bench.clock.now().plus(hour));
    assert_eq!(bench.pass().await, Deleted { pictures: 1, tasks: 1, ..Deleted::default() });
    assert_eq!(bench.files(), 0);
}

#[tokio::test]
async fn ended_tasks_are_deleted_after_their_lifetime() {
    let mut bench = Bench::new().await;
    bench.ended("with-picture", Some(Some(START.plus(30 * DAY)))).await;
    bench.ended("without", None).await;
    // Its picture has no end, as before the lifetime of pictures was set.
    bench.ended("kept", Some(None)).await;
    bench.running("running").await;
    let deleted = bench.run_for(89).await;
    assert_eq!(deleted, Deleted { pictures: 1, ..Deleted::default() });
    bench.ended("young", None).await;
    let deleted = bench.run_for(1).await;
    assert_eq!(deleted, Deleted { tasks: 2, ..Deleted::default() });
    for (name, is_there) in [("with-picture", false), ("without", false), ("kept", true), ("running", true)] {
        assert_eq!(bench.has(name).await, is_there, "{name}");
    }
    assert!(bench.has("young").await);
    assert_eq!(bench.files(), 1);
}

/// As in a fleet of which one process keeps tasks for a shorter time than the others.
#[tokio::test]
async fn no_task_is_deleted_while_processes_differ_in_how_long_it_is_kept() {
    let bench = Bench::new().await;
    bench.ended("1", None).await;
    let mut context = Arc::into_inner(bench.context).unwrap();
    let fleet = Fleet::new(&context.settings, context.clock.clone(), OwnerId::new().unwrap());
    fleet.join(&*context.store).await.unwrap();
    context.fleet = Some(Arc::new(fleet));
    let other = OwnerId::new().unwrap();
    for (lifetime, deleted) in [(400 * DAY, 0), (90 * DAY, 1)] {
        let mut settings = context.settings.clone();
        settings.tasks.lifetime = Some(lifetime);
        let mut published = json!({});
        agreement::publish(agreement::shared(&settings), &mut published);
        let about = OwnerAbout { offers: published, ..OwnerAbout::default() };
        context.store.register_owner(other.clone(), Some(DAY), about).await.unwrap();
        offers::read(&context).await.unwrap();
        let found = Retention::default().delete_tasks(&context, START.plus(200 * DAY)).await.unwrap();
        assert_eq!(found, deleted, "{lifetime:?}");
    }
}
