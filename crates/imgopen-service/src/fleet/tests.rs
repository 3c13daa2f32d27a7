//! A process among others, on SQLite: heartbeats and their answers, tasks that run alone, progress of what runs elsewhere.

use imgopen_engine::Registry;
use imgopen_store::{
    Claim, KeyId, LiveProgress, NewTask, OwnerId, RunId, RunProgress, SqliteStore, State as TaskState, TaskId, TaskRow,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use super::suspects::{self, Occupied};
use super::*;
use crate::app::Service;
use crate::context::Context;
use crate::live::Live;

const START: Moment = Moment(1_769_904_000_000);

/// A process that has joined others.
async fn context(directory: &TempDir) -> (Context, Arc<Fleet>) {
    let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
    settings.database.lease = Duration::from_secs(15);
    let opened = Service::open(settings, Clock::fixed(START), Registry::new(Vec::new())).await.unwrap();
    let mut context = opened.into_context();
    let fleet = Fleet::new(&context.settings, context.clock.clone(), OwnerId::new().unwrap());
    fleet.join(&*context.store).await.unwrap();
    let fleet = Arc::new(fleet);
    context.fleet = Some(fleet.clone());
    (context, fleet)
}

async fn beat(context: &Context, fleet: &Fleet) {
    heart::send(context, fleet, &*context.store).await;
}

/// Submits and claims a task.
async fn claimed(context: &Context, id: &str, owner: OwnerId) -> TaskRow {
    let (key, needs) = (KeyId("a".to_owned()), "enlarge_image".to_owned());
    let task = NewTask::new(TaskId(id.to_owned()), key.clone(), "enlarge_image", "{}", Moment(0));
    context.store.submit(task).await.unwrap();
    let claim = Claim { key, needs, run: RunId::new().unwrap(), owner, now: Moment(1), only: None };
    context.store.claim(claim).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_heartbeat_ends_what_is_not_ones_own_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let (context, fleet) = context(&directory).await;
    let task = claimed(&context, "img1", fleet.owner()).await;
    let own = context.running.enter(task.run.clone().unwrap());
    let [taken, begun] = ["taken", "begun"].map(|id| context.running.enter(RunId(id.to_owned())));
    own.claimed();
    taken.claimed();
    beat(&context, &fleet).await;
    let cancelled = [&own, &taken, &begun].map(|entry| entry.cancelled.is_cancelled());
    assert_eq!(cancelled, [false, true, false]);
    assert!(fleet.may_claim() && context.health.faults().is_empty());
    // What nobody runs here, although its claim was carried out, goes back later.
    drop(own);
    beat(&context, &fleet).await;
    assert_eq!(context.store.task(task.id).await.unwrap().unwrap().state, TaskState::Running);
}

#[tokio::test]
async fn a_process_that_was_declared_dead_ends_its_runs_and_registers_again() {
    let directory = tempfile::tempdir().unwrap();
    let (context, fleet) = context(&directory).await;
    let entry = context.running.enter(RunId("a".to_owned()));
    let before = fleet.owner();
    assert!(context.store.drain(before.clone()).await.unwrap());
    beat(&context, &fleet).await;
    assert!(fleet.is_draining());
    context.store.resign(before.clone()).await.unwrap();
    beat(&context, &fleet).await;
    assert!(entry.cancelled.is_cancelled() && !fleet.may_claim());
    assert_ne!(fleet.owner(), before);
    // It still drains, as the operator asked.
    let owners = context.store.owners().await.unwrap();
    let known = owners.iter().find(|owner| owner.id == fleet.owner()).unwrap();
    assert!(known.draining && owners.iter().all(|owner| owner.id != before));
    beat(&context, &fleet).await;
    assert!(fleet.may_claim());
}

#[tokio::test]
async fn a_heartbeat_that_fails_stops_claims_and_keeps_offers_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (context, fleet) = context(&directory).await;
    let entry = context.running.enter(RunId("a".to_owned()));
    fleet.set_offers(json!(["b"]));
    context.store.close().await.unwrap();
    beat(&context, &fleet).await;
    assert!(!fleet.may_claim() && !fleet.is_database_away() && !entry.cancelled.is_cancelled());
    assert_eq!(context.health.faults(), ["the database does not take this process's signs of life"]);
    context.clock.set(START.plus(Duration::from_secs(4)));
    assert!(fleet.is_database_away());
    assert_eq!(fleet.take_offers(), Some(json!(["b"])));
}

#[tokio::test]
async fn a_suspect_runs_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (context, fleet) = context(&directory).await;
    let mut task = claimed(&context, "img1", fleet.owner()).await;
    let [first, second] = ["a", "b"].map(|id| RunId(id.to_owned()));
    assert_eq!(suspects::enter(&context, &task, &first).await.unwrap().map(drop), None);
    task.attempt = 3;
    let _entry = context.running.enter(first.clone());
    let other = context.running.enter(second.clone());
    let mut entering = Box::pin(suspects::enter(&context, &task, &first));
    assert!(timeout(Duration::ZERO, &mut entering).await.is_err() && !fleet.may_claim());
    // What has not begun gives way, and one more of its kind is for another process.
    timeout(Duration::from_secs(30), suspects::to_give_way(&context, &second)).await.unwrap();
    assert!(timeout(Duration::ZERO, suspects::to_give_way(&context, &first)).await.is_err());
    assert_eq!(suspects::enter(&context, &task, &second).await.unwrap_err(), Occupied);
    drop(other);
    let alone = entering.await.unwrap().unwrap();
    assert!(!fleet.may_claim());
    drop(alone);
    assert!(fleet.may_claim());
}

#[tokio::test]
async fn what_runs_elsewhere_has_its_progress() {
    let directory = tempfile::tempdir().unwrap();
    let (context, fleet) = context(&directory).await;
    let elsewhere = OwnerId::new().unwrap();
    context.store.register_owner(elsewhere.clone(), Some(fleet.lease()), OwnerAbout::default()).await.unwrap();
    let task = claimed(&context, "img1", elsewhere.clone()).await;
    assert_eq!(progress::of(&context, &task).await, None);
    let preview = Some(imgopen_store::AssetToken("p".to_owned()));
    let (engine, grade) = (Some("gate".to_owned()), Some("draft".to_owned()));
    let reported = RunProgress {
        percent: 25.0,
        step: 1,
        steps: 4,
        engine,
        grade,
        preview,
        ..RunProgress::new(task.run.clone().unwrap())
    };
    let say = || Heartbeat::new(elsewhere.clone(), fleet.lease(), vec![reported.clone()]);
    assert_eq!(context.store.heartbeat(say()).await.unwrap().watched, []);
    let live = progress::watched(&context, &task).await.unwrap();
    let expected = Live {
        percent: 25.0,
        step: 1,
        steps: 4,
        preview: Some("/previews/p".to_owned()),
        engine: Some(("gate".to_owned(), "draft".to_owned())),
    };
    assert_eq!(live, expected);
    // Its process learns that somebody asks for previews.
    assert_eq!(context.store.heartbeat(say()).await.unwrap().watched, [task.run.clone().unwrap()]);
    let known = context.store.live(vec![task.id.clone()]).await.unwrap();
    assert_eq!(known, [LiveProgress { task: task.id, progress: reported }]);
}

fn fleet(lease: Duration) -> (Fleet, Clock) {
    let clock = Clock::fixed(Moment(1_769_904_000_000));
    let mut settings = Settings { role: Role::Worker, ..Settings::default() };
    settings.database.lease = lease;
    (Fleet::new(&settings, clock.clone(), OwnerId::new().unwrap()), clock)
}

#[test]
fn offers_are_published_when_they_change() {
    let (fleet, _) = fleet(Duration::from_secs(15));
    assert_eq!(fleet.take_offers(), None);
    fleet.set_offers(json!(["a"]));
    assert_eq!(fleet.about().offers, json!(["a"]));
    assert_eq!((fleet.take_offers(), fleet.take_offers()), (Some(json!(["a"])), None));
    fleet.set_offers(json!(["a"]));
    assert_eq!(fleet.take_offers(), None);
    assert_eq!(fleet.about().role, "worker");
}

#[test]
fn a_process_says_what_it_can_run_and_how_much_of_a_key() {
    let (fleet, _) = fleet(Duration::from_secs(15));
    // Nothing is known yet.
    assert!(fleet.may_run("outpaint"));
    fleet.set_offers(json!({ "engines": [{ "name": "a", "offers": [{ "operation": "outpaint" }] }] }));
    assert!(fleet.may_run("outpaint") && !fleet.may_run("enlarge_image"));
    let settings = Settings::default();
    let most = settings.running_per_key(settings.workers) as u64;
    let row = |lease_left: Option<u64>, draining| OwnerRow {
        id: OwnerId("a".to_owned()),
        about: fleet.about(),
        lease_left: lease_left.map(Duration::from_secs),
        draining,
        runs: 0,
    };
    let api = OwnerRow { about: OwnerAbout::default(), ..row(None, false) };
    let owners = [row(None, false), row(Some(9), false), row(Some(0), false), row(Some(9), true), api];
    assert_eq!(running_per_key(&owners), 2 * most);
}

#[tokio::test]
async fn a_process_that_has_joined_may_claim_until_its_lease_is_doubted() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let (fleet, clock) = fleet(Duration::from_secs(15));
    assert!(!fleet.may_claim());
    fleet.join(&store).await.unwrap();
    assert_eq!(store.owners().await.unwrap()[0].id, fleet.owner());
    assert!(fleet.may_claim() && !fleet.is_draining() && !fleet.is_database_away());
    let alone = fleet.gate.close(&RunId("a".to_owned()), clock.uptime()).unwrap();
    assert!(!fleet.may_claim());
    drop(alone);
    clock.set(clock.now().plus(Duration::from_secs(8)));
    assert!(!fleet.may_claim());
    assert_eq!((fleet.lease_age(), fleet.healthy_for()), (Some(Duration::from_secs(8)), Duration::ZERO));
}

#[test]
fn a_short_lease_has_more_heartbeats() {
    let times = |lease| {
        let (fleet, _) = fleet(Duration::from_millis(lease));
        [fleet.beat(), fleet.longest_beat()].map(|time| time.as_millis())
    };
    assert_eq!(times(15_000), [1000, 5000]);
    assert_eq!(times(1000), [250, 333]);
}

#[test]
fn a_pause_lies_between_its_bounds() {
    let (least, most) = (Duration::from_millis(100), Duration::from_millis(250));
    for _ in 0..100 {
        assert!((least..most).contains(&jitter(least, most)));
    }
    assert_eq!(jitter(most, least), most);
}
