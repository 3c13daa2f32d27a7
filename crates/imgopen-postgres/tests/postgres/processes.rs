//! Several processes on one database: claims, what waits, leases by the database's clock, the fence.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use imgopen_postgres::{PostgresOptions, PostgresStore};
use imgopen_store::{
    Asked, Beat, Claim, Doorbell, End, Ending, Heartbeat, Idempotency, KeyId, KeyShare, Moment, NewTask, OrphanedRun,
    OwnerAbout, OwnerId, Proof, Recovered, Recovery, Ring, RunId, RunProgress, State, Store, Submitted, TaskId,
    TaskRow,
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

fn next(me: &str, key_name: &str, needs: &str) -> Claim {
    let (needs, run) = (needs.to_owned(), RunId::new().unwrap());
    Claim { key: key(key_name), needs, run, owner: owner(me), now: Moment(8), only: None }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_claimers_share_all_tasks() {
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
            // Each goes by what was waiting when it looked.
            let asked = || vec![Asked { needs: "any".to_owned(), after: None, most: 2 }];
            loop {
                let lanes = store.waiting(asked()).await.unwrap();
                if lanes.is_empty() {
                    return;
                }
                for lane in lanes {
                    let task = store.claim(next("me", lane.key.as_str(), "any")).await.unwrap();
                    claimed.lock().unwrap().extend(task.map(|task| task.id));
                }
            }
        })
    });
    for claimer in claimers.collect::<Vec<_>>() {
        claimer.await.unwrap();
    }
    let claimed = claimed.lock().unwrap();
    let different: HashSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), different.len()), (240, 240));
}

/// However many there are of a kind, each is found once.
#[tokio::test]
async fn long_lists_of_what_waits_are_walked_in_parts() {
    let Some(database) = empty().await else { return };
    let (store, client) = (database.store(&options()).await, database.client().await);
    let insert = "INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, created_at)
        SELECT 't' || n, 'k' || (n % 700), 'enlarge_image', 'needs' || (n % 30), '', '{}', 1 FROM generate_series(1, 2100) n";
    client.execute(insert, &[]).await.unwrap();
    let (mut needs, mut after) = (HashSet::new(), None);
    loop {
        let part = store.waiting_needs(after, 7).await.unwrap();
        after = part.last().cloned();
        let is_last = part.len() < 7;
        part.into_iter().for_each(|found| assert!(needs.insert(found)));
        if is_last {
            break;
        }
    }
    assert_eq!(needs.len(), 30);
    let (mut keys, mut after) = (HashSet::new(), None);
    for _ in 0..7 {
        let lanes = store.waiting(vec![Asked { needs: "needs3".to_owned(), after, most: 10 }]).await.unwrap();
        after = lanes.last().map(|lane| lane.key.clone());
        lanes.into_iter().for_each(|lane| assert!(keys.insert(lane.key) && lane.count == 1));
    }
    // 2,100 is a multiple of both, so each of the 70 keys has one.
    assert_eq!(keys.len(), 70);
    assert_eq!((store.queue_length(5000).await.unwrap(), store.queue_length(1000).await.unwrap()), (2100, 1000));
    assert_eq!(store.queue_share(key("k5"), 1000).await.unwrap(), KeyShare { own: 3, keys: 700 });
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
    let stale = silent.claim(next("silent", "a", "any")).await.unwrap().unwrap();
    let own = other.claim(next("other", "a", "any")).await.unwrap().unwrap();
    let stale_run = stale.run.clone().unwrap();
    let alive = beat(&silent, "silent", lease, &[&stale, &own]).await;
    assert_eq!((alive.alive, alive.runs), (true, vec![stale_run.clone()]));
    assert!(recover(&other, "other").await.requeued.is_empty());
    tokio::time::sleep(lease * 2).await;
    assert_eq!(recover(&other, "other").await.requeued, std::slice::from_ref(&stale));
    let dead = beat(&silent, "silent", lease, &[&stale, &own]).await;
    assert_eq!((dead.alive, dead.runs), (false, vec![]));
    let again = other.claim(next("other", "a", "any")).await.unwrap().unwrap();
    assert_eq!((again.id.as_str(), again.attempt), (stale.id.as_str(), 2));
    assert!(!silent.end(failed(&stale)).await.unwrap());
    assert_eq!(silent.claim(next("silent", "a", "any")).await.unwrap(), None);
    assert_eq!(other.task(stale.id.clone()).await.unwrap().unwrap(), again);
    assert_eq!(other.orphaned_runs(None, 9).await.unwrap(), [OrphanedRun { run: stale_run, since: Moment(10) }]);
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
    let ahead = Claim { now: Moment(i64::MAX / 4), ..next("ahead", "ahead", "ahead") };
    let ahead = store.claim(ahead).await.unwrap().unwrap();
    let behind = Claim { now: Moment(-5), ..next("behind", "behind", "behind") };
    let behind = store.claim(behind).await.unwrap().unwrap();
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
    let run = store.claim(next("late", "a", "any")).await.unwrap().unwrap();
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
    let run = worker.claim(next("worker", "a", "any")).await.unwrap().unwrap();
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

/// A heartbeat, or a caller who watches, may write at the moment at which the end of the task is committed.
#[tokio::test]
async fn progress_that_an_end_did_not_see_is_forgotten() {
    let Some(database) = empty().await else { return };
    let (store, client) = (database.store(&options()).await, database.client().await);
    register(&store, "me", Duration::from_secs(60)).await;
    for name in ["1", "2"] {
        submit(&store, "a", name, "any").await;
    }
    let ended = store.claim(next("me", "a", "any")).await.unwrap().unwrap();
    let running = store.claim(next("me", "a", "any")).await.unwrap().unwrap();
    assert!(store.end(failed(&ended)).await.unwrap());
    beat(&store, "me", Duration::from_secs(60), &[&running]).await;
    store.watch(running.id.clone(), Duration::from_secs(60)).await.unwrap();
    store.watch(ended.id.clone(), Duration::ZERO).await.unwrap();
    let late = "INSERT INTO live (task_id, run, percent, step, steps, reported_at) VALUES ($1, 'run', 1, 1, 1, now_ms() - 3600001)";
    client.execute(late, &[&ended.id.as_str()]).await.unwrap();
    assert_eq!(store.forget_progress().await.unwrap(), 2);
    for table in ["live", "watched"] {
        let rows = client.query(&format!("SELECT task_id FROM {table}"), &[]).await.unwrap();
        let tasks: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(tasks, [running.id.as_str()], "{table}");
    }
    assert_eq!(store.forget_progress().await.unwrap(), 0);
}

#[tokio::test]
async fn offers_are_read_again_only_if_they_have_changed() {
    let Some(database) = empty().await else { return };
    let (store, other) = (database.store(&options()).await, database.store(&options()).await);
    let offers = async |store: &PostgresStore| -> Vec<serde_json::Value> {
        store.owners().await.unwrap().into_iter().map(|owner| owner.about.offers).collect()
    };
    let about = |offers: &str| OwnerAbout { offers: offers.into(), ..OwnerAbout::default() };
    store.register_owner(owner("me"), None, about("first")).await.unwrap();
    assert_eq!(offers(&other).await, ["first"]);
    // As if they had arrived otherwise: the text is not asked for again.
    let client = database.client().await;
    client.batch_execute("UPDATE owners SET offers = '\"unseen\"'").await.unwrap();
    assert_eq!((offers(&other).await, offers(&store).await), (vec!["first".into()], vec!["unseen".into()]));
    let changed =
        Heartbeat { offers: Some("second".into()), ..Heartbeat::new(owner("me"), Duration::from_secs(60), Vec::new()) };
    assert!(store.heartbeat(changed).await.unwrap().alive);
    assert_eq!(offers(&other).await, ["second"]);
    beat(&store, "me", Duration::from_secs(60), &[]).await;
    assert_eq!(offers(&other).await, ["second"]);
    // Nor is another registration by the same id taken for the one before.
    store.resign(owner("me")).await.unwrap();
    store.register_owner(owner("me"), None, about("third")).await.unwrap();
    assert_eq!(offers(&other).await, ["third"]);
    store.register_owner(owner("me"), None, about("fourth")).await.unwrap();
    assert_eq!(offers(&other).await, ["fourth"]);
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
    hear(&mut rings, Ring::Work(None)).await;
    hear(&mut rings, Ring::Ended).await;
    register(&store, "me", Duration::from_secs(60)).await;
    submit(&store, "a", "1", "any").await;
    let (operation, key, needs) = ("enlarge_image".to_owned(), KeyId("a".to_owned()), "any".to_owned());
    hear(&mut rings, Ring::Task { operation, key, needs }).await;
    let run = store.claim(next("me", "a", "any")).await.unwrap().unwrap();
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
    hear(&mut rings, Ring::Work(None)).await;
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
