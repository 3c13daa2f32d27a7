//! Ends of runs whose engine cleans up late, never, or was not chosen.

use std::sync::Mutex;

use futures_util::future::BoxFuture;
use imgopen_engine::{EngineError, Grade, Inputs, Job, Monitor, Offer, Output, Registry};
use imgopen_store::{Claim, Clock, KeyId, Moment, NewTask, RunId, TaskId};
use imgopen_types::operations;
use tokio::time::timeout;

use super::*;
use crate::app::Service;
use crate::settings::Settings;
use crate::tasks::run::Places;

/// How long anything may take before a test fails. Less than a worker waits for a disk.
const DEADLINE: Duration = Duration::from_secs(20);

/// An engine that records how it is asked to clean up.
#[derive(Default)]
pub struct Cleaner {
    calls: Mutex<Vec<String>>,
    /// Whether cleaning up never ends, as on a disk that does not answer.
    hangs: bool,
}

impl Cleaner {
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn called(&self, call: String) -> BoxFuture<'_, ()> {
        self.calls.lock().unwrap().push(call);
        match self.hangs {
            true => Box::pin(std::future::pending()),
            false => Box::pin(async {}),
        }
    }
}

impl Engine for Cleaner {
    fn name(&self) -> &str {
        "cleaner"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer { inputs: Inputs::Unused, ..Offer::new(&operations::ENLARGE_IMAGE, Grade::Draft) }]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(std::future::pending())
    }

    fn discard<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        self.called(format!("discard {task} {run}"))
    }

    fn interrupt<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        self.called(format!("interrupt {task} {run}"))
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        self.called(format!("forget {task}"))
    }

    fn rescan(&self) -> BoxFuture<'_, ()> {
        self.called("rescan".to_owned())
    }
}

pub async fn context(directory: &tempfile::TempDir, engine: Arc<Cleaner>) -> Arc<Context> {
    let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
    let engines = Registry::new(vec![engine]);
    Service::open(settings, Clock::system(), engines).await.unwrap().context()
}

/// Submits and claims a task of an operation.
pub async fn claimed(context: &Context, operation: &'static str) -> TaskRow {
    let (id, key) = (TaskId("img1".to_owned()), KeyId("a".to_owned()));
    context.store.submit(NewTask::new(id, key.clone(), operation, "{}", Moment(0))).await.unwrap();
    let (needs, run, owner) = (operation.to_owned(), RunId::new().unwrap(), context.owner());
    let claim = Claim { key, needs, run, owner, now: Moment(1), only: None };
    context.store.claim(claim).await.unwrap().unwrap()
}

async fn row(context: &Context, task: &TaskRow) -> TaskRow {
    context.store.task(task.id.clone()).await.unwrap().unwrap()
}

/// The run of a claimed task, once its engine is chosen.
fn run<'a>(context: &Context, task: &'a TaskRow) -> Run<'a> {
    let choice = Needs::parse(&task.needs).choose(&context.engines).ok();
    Run { choice, ..Run::new(task, task.run.as_ref().unwrap(), Places::default()) }
}

#[tokio::test]
async fn an_end_is_visible_although_what_the_run_has_left_cannot_be_removed() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(Cleaner { hangs: true, ..Cleaner::default() });
    let context = context(&directory, engine.clone()).await;
    let task = claimed(&context, "enlarge_image").await;
    let seen = async {
        while row(&context, &task).await.state != State::Failed || engine.calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        next = end(&context, run(&context, &task), Outcome::Failed("no".to_owned())) => panic!("{next:?} too early"),
        seen = timeout(DEADLINE, seen) => seen.expect("the end waits for the engine"),
    }
    assert_eq!(engine.calls(), [format!("discard img1 {}", task.run.unwrap().as_str())]);
}

#[tokio::test]
async fn a_stop_hands_back_although_a_disk_does_not_answer() {
    for (is_fault, deferrals) in [(false, 0), (true, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let engine = Arc::new(Cleaner { hangs: true, ..Cleaner::default() });
        let context = context(&directory, engine.clone()).await;
        let task = claimed(&context, "enlarge_image").await;
        context.ending.cancel();
        let fault = is_fault.then(|| Fault::of_engine(&task.needs, "out for lunch", None));
        let back = timeout(DEADLINE, hand_back(&context, &run(&context, &task), fault)).await;
        assert_eq!(back.expect("the hand-back waits for the engine"), Next::Queued(Duration::ZERO));
        let now = row(&context, &task).await;
        assert_eq!((now.state, now.attempt, now.deferrals), (State::Queued, 0, deferrals));
        assert_eq!(engine.calls(), [format!("interrupt img1 {}", task.run.unwrap().as_str())]);
    }
}

#[tokio::test]
async fn a_run_that_is_handed_back_is_orphaned_with_its_row() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory, Arc::default()).await;
    let task = claimed(&context, "enlarge_image").await;
    hand_back(&context, &run(&context, &task), None).await;
    let orphans: Vec<_> =
        context.store.orphaned_runs(None, 9).await.unwrap().into_iter().map(|orphan| orphan.run).collect();
    assert_eq!(orphans, [task.run.unwrap()]);
}

/// What is kept for a task that was cancelled meanwhile is of no use to anyone.
#[tokio::test]
async fn the_work_of_a_task_that_ended_meanwhile_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(Cleaner::default());
    let context = context(&directory, engine.clone()).await;
    let task = claimed(&context, "enlarge_image").await;
    let ended = task.clone().ended(Ending::Cancelled, None, Moment(2));
    let end = End { before: State::Running, task: ended, assets: Vec::new(), callback: None, orphans_run: true };
    assert!(context.store.end(end).await.unwrap());
    hand_back(&context, &run(&context, &task), None).await;
    let discard = format!("discard img1 {}", task.run.unwrap().as_str());
    assert_eq!(engine.calls(), [discard, "forget img1".to_owned()]);
}

#[tokio::test]
async fn a_task_that_ends_without_an_engine_is_forgotten_by_all() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(Cleaner::default());
    let context = context(&directory, engine.clone()).await;
    // Of an engine that is not there any more.
    let task = claimed(&context, "text_to_image").await;
    end(&context, run(&context, &task), Outcome::Failed("no".to_owned())).await;
    assert_eq!(engine.calls(), ["forget img1"]);
}

/// They may have learned of its LoRA just before, and would list it until they look again.
#[tokio::test]
async fn engines_look_again_after_a_training_without_a_result() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(Cleaner::default());
    let context = context(&directory, engine.clone()).await;
    let task = claimed(&context, "submit_training").await;
    let looks = async |count: usize| {
        let looking = async {
            while engine.calls().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, looking).await.expect("engines do not look");
        assert_eq!(engine.calls(), vec!["rescan"; count]);
    };
    settle(&context, &run(&context, &task), Work::Kept).await;
    tokio::task::yield_now().await;
    looks(0).await;
    end(&context, run(&context, &task), Outcome::Failed("no".to_owned())).await;
    looks(1).await;
    // The task is cancelled between two runs, or has ended elsewhere.
    forget(&context, &task).await;
    looks(2).await;
    hand_back(&context, &run(&context, &task), None).await;
    looks(3).await;
}
