//! Runs that end without their task, and owners that die.

use crate::conformance::*;
use crate::{Attempts, OrphanedRun};

pub async fn a_run_that_is_handed_back_does_not_count(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = claim(&*store, "a").await;
    assert!(store.hand_back(back(&run, false)).await.unwrap());
    let waiting = row(&*store, "1").await;
    assert_eq!((waiting.state, waiting.attempt, waiting.started_at), (State::Queued, 0, None));
    assert_eq!((waiting.run, waiting.owner), (None, None));
    let run = claim(&*store, "a").await;
    assert_eq!(run.attempt, 1);
    assert!(store.end(cancelled(&run)).await.unwrap());
    assert!(!store.hand_back(back(&run, false)).await.unwrap());
    assert_eq!(row(&*store, "1").await.state, State::Cancelled);
}

pub async fn the_sole_owner_takes_over_at_once(database: &impl Database) {
    let store = open(database).await;
    for name in ["1", "2"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let lost = claim(&*store, "a").await;
    register(&*store, "next", None).await;
    let own = try_claim(&*store, "next", "a").await.unwrap();
    let recovered = recover(&*store, "next", Proof::SoleOwner).await;
    assert_eq!((recovered.requeued, recovered.exhausted), (vec![lost.clone()], vec![]));
    assert_eq!(row(&*store, "2").await, own);
    let requeued = row(&*store, "1").await;
    assert_eq!((requeued.state, requeued.attempt, requeued.run), (State::Queued, 1, None));
    assert_eq!(store.orphaned_runs(None, 10).await.unwrap(), [OrphanedRun { run: lost.run.unwrap(), since: NOW }]);
    // The other owner is dead from now on.
    assert!(try_claim(&*store, "me", "a").await.is_none());
    assert!(!beat(&*store, "me", HOUR, &[]).await.alive);
    assert_eq!(recover(&*store, "next", Proof::SoleOwner).await, Recovered::default());
}

pub async fn a_task_with_all_its_attempts_is_returned_until_it_ends(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    for attempt in 1..=3 {
        assert_eq!(claim(&*store, "a").await.attempt, attempt);
        register(&*store, "next", None).await;
        let recovered = recover(&*store, "next", Proof::SoleOwner).await;
        assert_eq!((recovered.requeued.len(), recovered.exhausted.len()), if attempt < 3 { (1, 0) } else { (0, 1) });
        register(&*store, "me", None).await;
    }
    // The process may die before it writes the end.
    let exhausted = recover(&*store, "next", Proof::SoleOwner).await.exhausted.remove(0);
    assert_eq!(exhausted, row(&*store, "1").await);
    assert!(store.end(End { orphans_run: true, ..failed(&exhausted) }).await.unwrap());
    assert_eq!(recover(&*store, "next", Proof::SoleOwner).await, Recovered::default());
    assert_eq!(row(&*store, "1").await.state, State::Failed);
    assert_eq!(callbacks_of(&*store, "1").await.len(), 1);
    assert_eq!(store.orphaned_runs(None, 10).await.unwrap().len(), 3);
}

pub async fn only_a_task_that_ran_alone_has_used_its_attempts(database: &impl Database) {
    let store = open(database).await;
    for name in ["guilty", "bystander"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let crash = async || {
        register(&*store, "next", None).await;
        let recovered = recover(&*store, "next", Proof::SoleOwner).await;
        register(&*store, "me", None).await;
        (names(&recovered.requeued).join(" "), names(&recovered.exhausted).join(" "))
    };
    for _ in 0..5 {
        claim(&*store, "a").await;
        claim(&*store, "a").await;
        assert_eq!(crash().await, ("guilty bystander".to_owned(), String::new()));
    }
    let both: Vec<_> = store.suspects(5).await.unwrap();
    assert_eq!((names(&both), store.suspects(6).await.unwrap()), (vec!["guilty", "bystander"], vec![]));
    for number in 1..=3 {
        let claimed = claim(&*store, "a").await;
        assert_eq!((claimed.id.as_str(), claimed.crashes_alone), ("guilty", number - 1));
        let (requeued, exhausted) = crash().await;
        assert_eq!((requeued.as_str(), exhausted.as_str()), if number < 3 { ("guilty", "") } else { ("", "guilty") });
    }
    assert_eq!(row(&*store, "bystander").await.crashes_alone, 0);
}

pub async fn an_operation_may_have_attempts_of_its_own(database: &impl Database) {
    let store = open(database).await;
    for (key, name, operation) in [("a", "picture", "enlarge_image"), ("b", "lora", "submit_training")] {
        store.submit(NewTask { operation, ..task(key, name) }).await.unwrap();
    }
    let attempts = Attempts { default: 1, operations: vec![("submit_training".to_owned(), 2)] };
    let mut ends = Vec::new();
    for key in ["a", "b", "b"] {
        register(&*store, "me", None).await;
        claim(&*store, key).await;
        register(&*store, "next", None).await;
        let recovery = Recovery { me: owner("next"), proof: Proof::SoleOwner, attempts: attempts.clone(), now: NOW };
        let exhausted = store.recover(recovery).await.unwrap().exhausted;
        ends.push(names(&exhausted).join(" "));
        for task in exhausted {
            assert!(store.end(failed(&task)).await.unwrap());
        }
    }
    assert_eq!(ends, ["picture", "", "lora"]);
}

pub async fn a_run_that_met_a_fault_queues_behind_the_others(database: &impl Database) {
    let store = open(database).await;
    for name in ["1", "2"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let first = claim(&*store, "a").await;
    let fault = |run: &TaskRow, ms: i64, faulty: u64| {
        let deferred_for = Duration::from_millis(faulty);
        HandBack { now: later(ms), deferred_for, ..back(run, true) }
    };
    assert!(store.hand_back(fault(&first, 5, 0)).await.unwrap());
    assert!(!store.hand_back(fault(&first, 6, 1)).await.unwrap());
    let deferred = row(&*store, "1").await;
    assert_eq!((deferred.state, deferred.attempt), (State::Queued, 0));
    assert_eq!((deferred.deferrals, deferred.deferred_at), (1, Some(later(5))));
    assert_eq!(deferred.deferred_for, Duration::ZERO);
    let second = claim(&*store, "a").await;
    assert_eq!(second.id, id("2"));
    // A stop is not a fault.
    let stop = HandBack { deferred_for: Duration::from_secs(1), ..back(&second, false) };
    assert!(store.hand_back(stop).await.unwrap());
    let stopped = row(&*store, "2").await;
    assert_eq!((stopped.deferrals, stopped.deferred_at, stopped.deferred_for), (0, None, Duration::ZERO));
    assert_eq!(claim(&*store, "a").await.id, id("2"));
    let again = claim(&*store, "a").await;
    assert!(store.hand_back(fault(&again, 9, 4)).await.unwrap());
    let deferred = row(&*store, "1").await;
    assert_eq!((deferred.deferrals, deferred.deferred_at), (2, Some(later(9))));
    assert_eq!(deferred.deferred_for, Duration::from_millis(4));
    // Runs, and the stop of the next one, keep it.
    let next = claim(&*store, "a").await;
    assert_eq!((next.id.as_str(), next.deferred_for), ("1", Duration::from_millis(4)));
    assert!(store.hand_back(back(&next, false)).await.unwrap());
    assert_eq!(row(&*store, "1").await.deferred_for, Duration::from_millis(4));
}

pub async fn a_claim_that_was_carried_out_is_found_by_its_run(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = claim(&*store, "a").await;
    let (me, id) = (owner("me"), run.run.clone().unwrap());
    assert_eq!(store.claimed(me.clone(), id.clone()).await.unwrap().as_ref(), Some(&run));
    assert_eq!(store.claimed(owner("other"), id.clone()).await.unwrap(), None);
    assert_eq!(store.claimed(me.clone(), RunId::new().unwrap()).await.unwrap(), None);
    assert!(store.end(failed(&run)).await.unwrap());
    assert_eq!(store.claimed(me, id).await.unwrap(), None);
}

pub async fn a_lease_protects_runs_until_it_ends(database: &impl Database) {
    let (first, second) = (database.open().await, database.open().await);
    register(&*first, "first", Some(HOUR)).await;
    register(&*second, "second", Some(HOUR)).await;
    for name in ["1", "2"] {
        first.submit(task("a", name)).await.unwrap();
    }
    let lost = try_claim(&*first, "first", "a").await.unwrap();
    let own = try_claim(&*second, "second", "a").await.unwrap();
    assert_eq!(recover(&*second, "second", LEASES).await, Recovered::default());
    // A lease that has ended may be renewed until a recovery has removed its owner.
    assert!(beat(&*first, "first", Duration::ZERO, &[&lost]).await.alive);
    assert!(beat(&*first, "first", HOUR, &[&lost]).await.alive);
    assert_eq!(recover(&*second, "second", LEASES).await, Recovered::default());
    assert!(beat(&*first, "first", Duration::ZERO, &[&lost]).await.alive);
    assert_eq!(recover(&*second, "second", LEASES).await.requeued, std::slice::from_ref(&lost));
    // After that, every sign of life and every claim of the dead owner are rejected.
    let dead = beat(&*first, "first", HOUR, &[&lost]).await;
    assert_eq!((dead.alive, dead.runs, dead.strays), (false, vec![], 0));
    assert!(!first.end(succeeded(&lost, "late.png")).await.unwrap());
    assert!(try_claim(&*first, "first", "a").await.is_none());
    let again = try_claim(&*second, "second", "a").await.unwrap();
    assert_eq!((again.id.as_str(), again.attempt), ("1", 2));
    for run in [own, again] {
        assert!(second.end(succeeded(&run, &format!("{}.png", run.id))).await.unwrap());
    }
    // An owner without a lease does not expire, and none recovers its own runs.
    register(&*first, "third", None).await;
    first.submit(task("a", "3")).await.unwrap();
    let kept = try_claim(&*first, "third", "a").await.unwrap();
    assert_eq!(recover(&*second, "second", LEASES).await, Recovered::default());
    assert!(beat(&*first, "third", Duration::ZERO, &[&kept]).await.alive);
    assert_eq!(recover(&*first, "third", LEASES).await, Recovered::default());
}

pub async fn only_a_registered_owner_claims(database: &impl Database) {
    let store = database.open().await;
    store.submit(task("a", "1")).await.unwrap();
    assert!(try_claim(&*store, "nobody", "a").await.is_none());
    assert!(!beat(&*store, "nobody", HOUR, &[]).await.alive);
    register(&*store, "nobody", Some(HOUR)).await;
    assert!(try_claim(&*store, "nobody", "a").await.is_some());
}

/// After an outage of the database all leases have ended. The first to come back leaves the others the time to renew theirs.
pub async fn a_lease_that_lasts_longer_than_the_callers_health_is_not_judged(database: &impl Database) {
    let store = open(database).await;
    let lease = Duration::from_millis(1);
    register(&*store, "away", Some(lease)).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = try_claim(&*store, "away", "a").await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(recover(&*store, "me", Proof::Lease { healthy_for: Duration::ZERO }).await, Recovered::default());
    assert_eq!(recover(&*store, "me", Proof::Lease { healthy_for: lease }).await.requeued, [run]);
}

/// However many processes recover at once, each run is queued again by one of them.
pub async fn several_recoveries_share_the_runs(database: &impl Database) {
    let stores = [open(database).await, database.open().await];
    for number in 0..60 {
        let dead = format!("dead{}", number % 6);
        register(&*stores[0], &dead, Some(Duration::ZERO)).await;
        stores[0].submit(task("a", &number.to_string())).await.unwrap();
        try_claim(&*stores[0], &dead, "a").await.unwrap();
    }
    register(&*stores[1], "other", None).await;
    let recoveries = (0..6).map(|number| {
        let (store, me) = (stores[number % 2].clone(), if number % 2 == 0 { "me" } else { "other" });
        tokio::spawn(async move { recover(&*store, me, LEASES).await })
    });
    let recoveries: Vec<_> = recoveries.collect();
    let mut seen = Vec::new();
    for recovery in recoveries {
        let recovered = recovery.await.unwrap();
        assert_eq!(recovered.exhausted, []);
        seen.extend(recovered.requeued.into_iter().map(|task| task.seq));
    }
    // What was locked at the moment is left to the next one.
    seen.extend(recover(&*stores[0], "me", LEASES).await.requeued.into_iter().map(|task| task.seq));
    seen.sort_unstable();
    assert_eq!(seen.len(), 60);
    seen.dedup();
    assert_eq!(seen.len(), 60);
    assert_eq!(row(&*stores[0], "7").await.crashes_alone, 0);
}
