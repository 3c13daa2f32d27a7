//! Runs with timings that calls over HTTP cannot produce reliably.

use imgopen_engine::{Output, Registry, TaskOptions};
use imgopen_store::{KeyId, Moment, NewTask, OwnerAbout, OwnerId, Proof, Recovery};

use super::*;
use crate::app::Service;
use crate::settings::Settings;
use crate::tasks::audit::Audited;
use crate::tasks::cancel::{Cancelled, cancel};
use crate::tasks::needs;
use crate::tasks::run::write;

async fn context(directory: &tempfile::TempDir) -> Arc<Context> {
    let settings = Settings { data_dir: directory.path().to_owned(), sandbox: true, ..Settings::default() };
    let engines = Registry::new(vec![Arc::new(imgopen_tools::Sandbox::new())]);
    Service::open(settings, imgopen_store::Clock::system(), engines).await.unwrap().context()
}

/// Submits a task that never ends by itself.
async fn submitted(context: &Context) -> TaskRow {
    let request = r#"{"businessTaskId":"mine","sourceImage":"https://example.com/a.png","scale":1}"#;
    let id = TaskId("img1".to_owned());
    let task = NewTask {
        needs: "sandbox/enlarge_image".to_owned(),
        options: needs::write_options(&TaskOptions { sandbox: Some("hang".to_owned()) }).unwrap(),
        ..NewTask::new(id.clone(), KeyId("a".to_owned()), "enlarge_image", request, Moment(0))
    };
    context.store.submit(task).await.unwrap();
    context.store.task(id).await.unwrap().unwrap()
}

/// Submits and claims such a task, for a new run.
async fn claimed(context: &Context) -> (TaskRow, Entry) {
    let entry = context.running.enter(RunId::new().unwrap());
    submitted(context).await;
    (claim(context, &context.owner(), &entry.id).await, entry)
}

async fn claim(context: &Context, owner: &OwnerId, run: &RunId) -> TaskRow {
    let (key, needs) = (KeyId("a".to_owned()), "sandbox/enlarge_image".to_owned());
    let claim = Claim { key, needs, run: run.clone(), owner: owner.clone(), now: Moment(1), only: None };
    context.store.claim(claim).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_cancel_right_after_the_claim_ends_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory).await;
    let (task, entry) = claimed(&context).await;
    // As by a call before the worker has the answer to its claim.
    let cancelled = cancel(&context, &task.key, &task.id).await.unwrap();
    assert!(matches!(cancelled, Cancelled::Now(_)));
    let before = context.store.task(task.id.clone()).await.unwrap().unwrap();
    let run = run_task(&context, &task, &entry, Places::default());
    tokio::time::timeout(Duration::from_secs(30), run).await.expect("the run goes on");
    let now = context.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((now.state, now.finished_at), (State::Cancelled, before.finished_at));
}

#[tokio::test]
async fn a_task_of_an_unknown_operation_fails() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory).await;
    let (task, entry) = claimed(&context).await;
    let task = TaskRow { operation: "develop_film".to_owned(), ..task };
    run_task(&context, &task, &entry, Places::default()).await;
    let now = context.store.task(task.id).await.unwrap().unwrap();
    assert_eq!(now.state, State::Failed);
    assert!(now.failure.unwrap().contains("`develop_film`"));
}

/// The process was declared dead and another one runs the task, so writes of the first one change nothing.
#[tokio::test]
async fn a_stale_run_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory).await;
    let (task, entry) = claimed(&context).await;
    let other = OwnerId::new().unwrap();
    context.store.register_owner(other.clone(), None, OwnerAbout::default()).await.unwrap();
    let recovery = Recovery { me: other.clone(), proof: Proof::SoleOwner, attempts: 3.into(), now: Moment(2) };
    assert_eq!(context.store.recover(recovery).await.unwrap().requeued.len(), 1);
    let next = claim(&context, &other, &RunId::new().unwrap()).await;
    assert_eq!(next.attempt, 2);

    let run = |is_writing| Run { is_writing, ..Run::new(&task, &entry.id, Places::default()) };
    let mut ended = run(false);
    let image = imgopen_engine::Picture {
        bytes: vec![1, 2, 3].into(),
        format: imgopen_engine::Format::Png,
        width: 1,
        height: 1,
        seed: None,
    };
    let output = Output { pictures: vec![image], ..Output::default() };
    let output = Audited::unaudited(output);
    let outcome = write(&context, &imgopen_types::operations::ENLARGE_IMAGE, output, &mut ended).await;
    let token = ended.assets[0].token.clone();
    let file = directory.path().join("assets").join(&token.0[..2]).join(&token.0);
    assert!(file.exists());
    end(&context, ended, outcome).await;
    assert!(!file.exists() && context.store.asset(token).await.unwrap().is_none());
    assert_eq!(hand_back(&context, &run(false), None).await, Next::Queued(Duration::ZERO));
    end(&context, run(false), Outcome::Failed("too late".to_owned())).await;
    assert_eq!(context.store.task(task.id.clone()).await.unwrap().unwrap(), next);
}

#[tokio::test]
async fn a_suspect_that_runs_for_long_does_not_keep_the_others_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let (context, tasks) = (context(&directory).await, TaskTracker::new());
    let task = submitted(&context).await;
    context.dispatch.refill(Needs::parse(&task.needs).slot(&context, task.key.clone()), 1);
    // However long it waits for its claim, its time alone begins with that.
    let suspects = run_suspects(&context, vec![task.clone()], Duration::ZERO, &tasks);
    tokio::time::timeout(Duration::from_secs(30), suspects).await.expect("it keeps the others waiting");
    // It goes on, and counts as a run.
    assert_eq!(context.store.task(task.id.clone()).await.unwrap().unwrap().state, State::Running);
    assert_eq!(context.dispatch.counts(), (0, 1));
    assert!(matches!(cancel(&context, &task.key, &task.id).await.unwrap(), Cancelled::Now(_)));
    tasks.close();
    tasks.wait().await;
    assert_eq!(context.dispatch.counts(), (0, 0));
}

/// Waits for a suspect that gets no slot.
async fn without_slot(context: &Arc<Context>, task: TaskRow, alone: Duration) {
    let slot = Needs::parse(&task.needs).slot(context, task.key.clone());
    context.dispatch.refill(slot, 1);
    // As taken by trainings that have run alone for long enough.
    let mut taken = Vec::new();
    for _ in 0..context.settings.workers {
        taken.push(context.dispatch.slot(0).await);
    }
    let tasks = TaskTracker::new();
    let waiting = run_suspects(context, vec![task], alone, &tasks);
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it waits for a slot");
    // Nothing was taken for it from the queue.
    assert_eq!(context.dispatch.counts(), (1, 0));
}

#[tokio::test]
async fn a_suspect_without_a_free_slot_is_left_to_the_workers() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory).await;
    let task = submitted(&context).await;
    without_slot(&context, task, Duration::from_millis(20)).await;
}

#[tokio::test]
async fn a_stop_ends_the_wait_of_a_suspect_for_a_slot() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory).await;
    let task = submitted(&context).await;
    let stop = async {
        tokio::task::yield_now().await;
        context.stopping.cancel();
    };
    tokio::join!(without_slot(&context, task, ALONE), stop);
}

#[tokio::test]
async fn what_a_run_has_done_outlives_its_panic() {
    use crate::tasks::ending::tests::{Cleaner, claimed, context};

    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(Cleaner::default());
    let context = context(&directory, engine.clone()).await;
    let task = claimed(&context, "enlarge_image").await;
    let fault = Fault::of_engine(&task.needs, "a bug", None);
    assert_eq!(after_panic(&context, &task, fault).await, Next::Queued(Duration::ZERO));
    assert_eq!(context.store.task(task.id.clone()).await.unwrap().unwrap().state, State::Queued);
    assert_eq!(engine.calls(), [format!("interrupt img1 {}", task.run.unwrap().as_str())]);
}
