//! Several processes on one database: fair claims, leases by the database's clock, the fence.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imgopen_postgres::{ClaimNext, PostgresStore};
use imgopen_store::{
    End, Ending, KeyId, Moment, NewTask, OrphanedRun, OwnerId, Proof, Recovery, RunId, State, Store, TaskId, TaskRow,
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
    ClaimNext { after, needs, running_per_key, run: RunId::new().unwrap(), owner: owner(me) }
}

fn failed(task: &TaskRow) -> End {
    let ended = task.clone().ended(Ending::Failed("no".to_owned()), None, Moment(9));
    End { before: State::Running, task: ended, assets: Vec::new(), callback: None, orphans_run: false }
}

#[tokio::test]
async fn keys_take_turns_and_a_key_has_so_many_runs() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    store.register_owner_for(&owner("me"), Duration::from_secs(60)).await.unwrap();
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
    let (now, started_at) = (store.now().await.unwrap(), claimed.started_at.unwrap());
    assert_eq!((claimed.id.as_str(), claimed.attempt), ("c3", 1));
    assert!(started_at <= now && now.since(started_at) < Duration::from_secs(60), "{started_at:?} {now:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_claimers_share_all_tasks_fairly() {
    let Some(database) = empty().await else { return };
    let stores = [database.store(&options()).await, database.store(&options()).await];
    stores[0].register_owner(owner("me"), None).await.unwrap();
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
    silent.register_owner_for(&owner("silent"), lease).await.unwrap();
    other.register_owner_for(&owner("other"), Duration::from_secs(60)).await.unwrap();
    for name in ["1", "2"] {
        submit(&other, "a", name, "any").await;
    }
    let stale = silent.claim_next(next("silent", None, &["any"], 9)).await.unwrap().unwrap();
    let own = other.claim_next(next("other", None, &["any"], 9)).await.unwrap().unwrap();
    let (stale_run, own_run) = (stale.run.clone().unwrap(), own.run.clone().unwrap());
    let asked = [stale_run.clone(), own_run.clone()];
    let alive = silent.heartbeat(&owner("silent"), lease, &asked).await.unwrap();
    assert_eq!((alive.is_alive, alive.runs), (true, vec![stale_run.clone()]));
    let recover = async || {
        let now = other.now().await.unwrap();
        let recovery = Recovery { me: owner("other"), proof: Proof::Lease { now }, attempts: 3.into(), now };
        (other.recover(recovery).await.unwrap(), now)
    };
    assert!(recover().await.0.requeued.is_empty());
    tokio::time::sleep(lease * 2).await;
    let (recovered, since) = recover().await;
    assert_eq!(recovered.requeued, std::slice::from_ref(&stale));
    let dead = silent.heartbeat(&owner("silent"), lease, &asked).await.unwrap();
    assert_eq!((dead.is_alive, dead.runs), (false, vec![]));
    let again = other.claim_next(next("other", None, &["any"], 9)).await.unwrap().unwrap();
    assert_eq!((again.id.as_str(), again.attempt), (stale.id.as_str(), 2));
    assert!(!silent.end(failed(&stale)).await.unwrap());
    assert_eq!(silent.claim_next(next("silent", None, &["any"], 9)).await.unwrap(), None);
    assert_eq!(other.task(stale.id.clone()).await.unwrap().unwrap(), again);
    assert_eq!(other.orphaned_runs(9).await.unwrap(), [OrphanedRun { run: stale_run, since }]);
    for task in [again, own] {
        assert!(other.end(failed(&task)).await.unwrap());
    }
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
