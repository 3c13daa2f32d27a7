//! Several processes on one database: fair claims, leases by the database's clock, the fence.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use imgopen_postgres::{PostgresOptions, PostgresStore};
use imgopen_store::{
    Beat, ClaimNext, Doorbell, End, Ending, Heartbeat, Idempotency, KeyId, Moment, NewTask, OrphanedRun, OwnerAbout,
    OwnerId, Proof, Recovered, Recovery, Ring, RunId, RunProgress, State, Store, Submitted, TaskId, TaskRow,
};

use super::server::{empty, options};

fn key(name: &str) -> KeyId {
    KeyId(name.to_owned())
}

fn owner(name: &str) -> OwnerId {
    OwnerId(name.to_owned())
}

async fn submit(store: &PostgresStore, key_name: &str, name: &str, needs: &str) {
    let task = NewTask::new(TaskId(name.to_owned()), key(key_name), "enlarge_image", "{}", Moment(7));
    store.submit(NewTask { needs: needs.to_owned(), ..task }).await.unwrap();
}

fn next(me: &str, after: Option<&TaskRow>, needs: &[&str], running_per_key: usize) -> ClaimNext {
    let (after, needs) = (after.map(|task| task.key.clone()), needs.iter().map(|&needs| needs.to_owned()).collect());
    let (running_per_key, run) = (Some(running_per_key), RunId::new().unwrap());
    ClaimNext { after, needs, running_per_key, run, owner: owner(me), now: Moment(8) }
}

async fn register(store: &PostgresStore, me: &str, lease: Duration) {
    store.register_owner(owner(me), Some(lease), OwnerAbout::default()).await.unwrap();
}

async fn beat(store: &PostgresStore, me: &str, lease: Duration, runs: &[&TaskRow]) -> Beat {
    let runs = runs.iter().map(|task| RunProgress::new(task.run.clone().unwrap())).collect();
    store.heartbeat(Heartbeat::new(owner(me), lease, runs)).await.unwrap()
}

async fn recover(store: &PostgresStore, me: &str) -> Recovered {
    let proof = Proof::Lease { healthy_for: Duration::from_secs(3600) };
    store.recover(Recovery { me: owner(me), proof, attempts: 3.into(), now: Moment(10) }).await.unwrap()
}

fn failed(task: &TaskRow) -> End {
    let ended = task.clone().ended(Ending::Failed("no".to_owned()), None, Moment(9));
    End { before: State::Running, task: ended, assets: Vec::new(), callback: None, orphans_run: false }
}

#[tokio::test]
async fn keys_take_turns_and_a_key_has_so_many_runs() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    register(&store, "me", Duration::from_secs(60)).await;
    for (key_name, count) in [("a", 6), ("b", 3), ("c", 3)] {
        for number in 0..count {
            let needs = if number % 2 == 0 { "even" } else { "odd" };
            submit(&store, key_name, &format!("{key_name}{number}"), needs).await;
        }
    }
    submit(&store, "b", "other", "neither").await;
    let (mut order, mut last) = (String::new(), None);
    while let Some(task) = store.claim_next(next("me", last.as_ref(), &["even", "odd"], 100)).await.unwrap() {
        order += task.id.as_str();
        order.push(' ');
        last = Some(task);
    }
    assert_eq!(order, "a0 b0 c0 a1 b1 c1 a2 b2 c2 a3 a4 a5 ");
    // A key with so many runs waits, and an owner that is not registered gets nothing.
    submit(&store, "c", "c3", "odd").await;
    assert_eq!(store.claim_next(next("me", None, &["odd"], 3)).await.unwrap(), None);
    assert_eq!(store.claim_next(next("nobody", None, &["odd"], 4)).await.unwrap(), None);
    let claimed = store.claim_next(next("me", None, &["odd"], 4)).await.unwrap().unwrap();
    assert_eq!((claimed.id.as_str(), claimed.attempt, claimed.started_at), ("c3", 1, Some(Moment(8))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_claimers_share_all_tasks_fairly() {
    let Some(database) = empty().await else { return };
    let stores = [database.store(&options()).await, database.store(&options()).await];
    stores[0].register_owner(owner("me"), None, OwnerAbout::default()).await.unwrap();
    for (key_name, count) in [("a", 200), ("b", 20), ("c", 20)] {
        for number in 0..count {
            submit(&stores[0], key_name, &format!("{key_name}{number}"), "any").await;
        }
    }
    let claimed = Arc::new(Mutex::new(Vec::new()));
    let claimers = (0..8).map(|number: usize| {
        let (store, claimed) = (stores[number % 2].clone(), claimed.clone());
        tokio::spawn(async move {
            let mut last = None;
            while let Some(task) = store.claim_next(next("me", last.as_ref(), &["any"], 1000)).await.unwrap() {
                claimed.lock().unwrap().push((task.key.clone(), task.id.clone()));
                last = Some(task);
            }
        })
    });
    for claimer in claimers.collect::<Vec<_>>() {
        claimer.await.unwrap();
    }
    let claimed = claimed.lock().unwrap();
    let different: HashSet<_> = claimed.iter().map(|(_, id)| id).collect();
    assert_eq!((claimed.len(), different.len()), (240, 240));
    // When the small keys have been served, the large one has had about as much as each of them, and not all that came first.
    for small in ["b", "c"] {
        let end = claimed.iter().rposition(|(found, _)| *found == key(small)).unwrap();
        let mut counts: HashMap<_, usize> = HashMap::new();
        for (found, _) in &claimed[..=end] {
            *counts.entry(found.clone()).or_default() += 1;
        }
        assert!(counts[&key("a")] < 100, "{counts:?}");
    }
}

/// A process that was silent for longer than its lease finds its runs taken, and whatever it writes about them changes nothing.
#[tokio::test]
async fn a_run_of_a_process_that_was_silent_is_fenced() {
    let Some(database) = empty().await else { return };
    let (silent, other) = (database.store(&options()).await, database.store(&options()).await);
    let lease = Duration::from_secs(1);
    register(&silent, "silent", lease).await;
    register(&other, "other", Duration::from_secs(60)).await;
    for name in ["1", "2"] {
        submit(&other, "a", name, "any").await;
    }
    let stale = silent.claim_next(next("silent", None, &["any"], 9)).await.unwrap().unwrap();
    let own = other.claim_next(next("other", None, &["any"], 9)).await.unwrap().unwrap();
    let stale_run = stale.run.clone().unwrap();
    let alive = beat(&silent, "silent", lease, &[&stale, &own]).await;
    assert_eq!((alive.alive, alive.runs), (true, vec![stale_run.clone()]));
    assert!(recover(&other, "other").await.requeued.is_empty());
    tokio::time::sleep(lease * 2).await;
    assert_eq!(recover(&other, "other").await.requeued, std::slice::from_ref(&stale));
    let dead = beat(&silent, "silent", lease, &[&stale, &own]).await;
    assert_eq!((dead.alive, dead.runs), (false, vec![]));
    let again = other.claim_next(next("other", None, &["any"], 9)).await.unwrap().unwrap();
    assert_eq!((again.id.as_str(), again.attempt), (stale.id.as_str(), 2));
    assert!(!silent.end(failed(&stale)).await.unwrap());
    assert_eq!(silent.claim_next(next("silent", None, &["any"], 9)).await.unwrap(), None);
    assert_eq!(other.task(stale.id.clone()).await.unwrap().unwrap(), again);
    assert_eq!(other.orphaned_runs(9).await.unwrap(), [OrphanedRun { run: stale_run, since: Moment(10) }]);
    for task in [again, own] {
        assert!(other.end(failed(&task)).await.unwrap());
    }
}

/// Leases and the age of strays are those of the database's clock, whatever the clocks of processes show.
#[tokio::test]
async fn the_clocks_of_processes_do_not_matter() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    for me in ["behind", "ahead"] {
        register(&store, me, Duration::from_secs(60)).await;
        submit(&store, me, me, me).await;
    }
    let ahead = ClaimNext { now: Moment(i64::MAX / 4), ..next("ahead", None, &["ahead"], 9) };
    let ahead = store.claim_next(ahead).await.unwrap().unwrap();
    let behind = ClaimNext { now: Moment(-5), ..next("behind", None, &["behind"], 9) };
    let behind = store.claim_next(behind).await.unwrap().unwrap();
    assert_eq!(recover(&store, "ahead").await, Recovered::default());
    for (me, run, age, strays) in [
        ("behind", &behind, Heartbeat::STRAY_AGE, 0),
        ("ahead", &ahead, Heartbeat::STRAY_AGE, 0),
        ("behind", &behind, Duration::ZERO, 1),
        ("ahead", &ahead, Duration::ZERO, 1),
    ] {
        let heartbeat = Heartbeat::new(owner(me), Duration::from_secs(60), Vec::new());
        let beat = store.heartbeat(Heartbeat { stray_age: age, ..heartbeat }).await.unwrap();
        assert_eq!((beat.alive, beat.strays), (true, strays), "{me}");
        let state = store.task(run.id.clone()).await.unwrap().unwrap().state;
        assert_eq!(state, if strays == 0 { State::Running } else { State::Queued }, "{me}");
    }
}

/// The renewal has the row; the recovery finds it renewed once it gets there.
#[tokio::test]
async fn a_renewal_that_commits_while_the_recovery_waits_is_kept() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    for me in ["late", "other"] {
        register(&store, me, Duration::from_secs(60)).await;
    }
    submit(&store, "a", "1", "any").await;
    let run = store.claim_next(next("late", None, &["any"], 9)).await.unwrap().unwrap();
    assert!(beat(&store, "late", Duration::ZERO, &[&run]).await.alive);
    let mut renewing = database.client().await;
    let renewal = renewing.transaction().await.unwrap();
    renewal.execute("UPDATE owners SET lease_until = now_ms() + 60000 WHERE id = 'late'", &[]).await.unwrap();
    let recovery = tokio::spawn({
        let store = store.clone();
        async move { recover(&store, "other").await }
    });
    let client = database.client().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while client.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    renewal.commit().await.unwrap();
    assert_eq!(recovery.await.unwrap(), Recovered::default());
    assert_eq!(beat(&store, "late", Duration::from_secs(60), &[&run]).await.runs, [run.run.clone().unwrap()]);
    assert!(store.end(failed(&run)).await.unwrap());
}

#[tokio::test]
async fn progress_is_seen_by_every_process() {
    let Some(database) = empty().await else { return };
    let (worker, api) = (database.store(&options()).await, database.store(&options()).await);
    register(&worker, "worker", Duration::from_secs(60)).await;
    submit(&api, "a", "1", "any").await;
    let run = worker.claim_next(next("worker", None, &["any"], 9)).await.unwrap().unwrap();
    let progress = RunProgress { percent: 7.25, step: 1, ..RunProgress::new(run.run.clone().unwrap()) };
    let heartbeat = Heartbeat::new(owner("worker"), Duration::from_secs(60), vec![progress.clone()]);
    api.watch(run.id.clone(), Duration::from_secs(60)).await.unwrap();
    assert_eq!(worker.heartbeat(heartbeat).await.unwrap().watched, [run.run.clone().unwrap()]);
    let live = api.live(vec![run.id.clone()]).await.unwrap();
    assert_eq!(live.into_iter().map(|live| live.progress).collect::<Vec<_>>(), [progress]);
    // The end takes both rows along.
    assert!(worker.end(failed(&run)).await.unwrap());
    let client = database.client().await;
    let rows = "SELECT (SELECT count(*) FROM live) + (SELECT count(*) FROM watched)";
    assert_eq!(client.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), 0);
}

/// Waits for an announcement.
async fn hear(rings: &mut Doorbell, expected: Ring) {
    let heard = async {
        while let Some(ring) = rings.next().await {
            if ring == expected {
                return;
            }
        }
        panic!("the doorbell has ended");
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), heard).await.is_ok(), "{expected:?} was not announced");
}

#[tokio::test]
async fn what_a_process_does_is_announced_to_the_others() {
    let Some(database) = empty().await else { return };
    let (store, other) = (database.store(&options()).await, database.store(&options()).await);
    let mut rings = other.doorbell().unwrap();
    // Whatever happened before may have been missed.
    hear(&mut rings, Ring::Work).await;
    hear(&mut rings, Ring::Ended).await;
    register(&store, "me", Duration::from_secs(60)).await;
    submit(&store, "a", "1", "any").await;
    hear(&mut rings, Ring::Work).await;
    let run = store.claim_next(next("me", None, &["any"], 9)).await.unwrap().unwrap();
    let task = run.clone().ended(Ending::Cancelled, None, Moment(9));
    let end = End { before: State::Running, task, assets: Vec::new(), callback: None, orphans_run: true };
    assert!(store.end(end).await.unwrap());
    hear(&mut rings, Ring::Cancelled(run.run.unwrap())).await;
    hear(&mut rings, Ring::Ended).await;
    // A connection that was lost is made again, and announces that something may have been missed.
    let client = database.client().await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND query = 'LISTEN imgopen'";
    assert_eq!(client.query_one(terminate, &[]).await.unwrap().get::<_, i64>(0), 1);
    hear(&mut rings, Ring::Work).await;
    hear(&mut rings, Ring::Ended).await;
    let silent = database.store(&PostgresOptions { notify: false, ..options() }).await;
    assert!(silent.doorbell().is_none());
    submit(&silent, "a", "2", "any").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_eight_submits_with_one_idempotency_key_is_new() {
    let Some(database) = empty().await else { return };
    let stores = [database.store(&options()).await, database.store(&options()).await];
    let submits = (0..8).map(|number: usize| {
        let store = stores[number % 2].clone();
        let idempotency = Some(Idempotency { key: "k".to_owned(), expires_at: Moment(100) });
        let task = NewTask::new(TaskId(format!("t{number}")), key("a"), "enlarge_image", "{}", Moment(7));
        tokio::spawn(async move { store.submit(NewTask { idempotency, ..task }).await.unwrap() })
    });
    let mut new = 0;
    for submit in submits.collect::<Vec<_>>() {
        match submit.await.unwrap() {
            Submitted::New => new += 1,
            Submitted::Again(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let lanes = stores[0].queued().await.unwrap();
    assert_eq!((new, lanes.len(), lanes[0].count), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_empty_database_is_opened_by_several_at_once() {
    let Some(database) = empty().await else { return };
    let url = database.url();
    let opened = (0..6).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { PostgresStore::open(&url, &options()).await.map(drop) })
    });
    for opened in opened.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
}
