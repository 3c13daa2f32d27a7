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
    store.register_owner(owner("next"), None).await.unwrap();
    let own = try_claim(&*store, "next", "a").await.unwrap();
    let recovered = recover(&*store, "next", Proof::SoleOwner).await;
    assert_eq!((recovered.requeued, recovered.exhausted), (vec![lost.clone()], vec![]));
    assert_eq!(row(&*store, "2").await, own);
    let requeued = row(&*store, "1").await;
    assert_eq!((requeued.state, requeued.attempt, requeued.run), (State::Queued, 1, None));
    assert_eq!(store.orphaned_runs(10).await.unwrap(), [OrphanedRun { run: lost.run.unwrap(), since: NOW }]);
    // The other owner is dead from now on.
    assert!(try_claim(&*store, "me", "a").await.is_none());
    assert!(!store.renew_lease(owner("me"), later(1)).await.unwrap());
    assert_eq!(recover(&*store, "next", Proof::SoleOwner).await, Recovered::default());
}

pub async fn a_task_with_all_its_attempts_is_returned_until_it_ends(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    for attempt in 1..=3 {
        assert_eq!(claim(&*store, "a").await.attempt, attempt);
        store.register_owner(owner("next"), None).await.unwrap();
        let recovered = recover(&*store, "next", Proof::SoleOwner).await;
        assert_eq!((recovered.requeued.len(), recovered.exhausted.len()), if attempt < 3 { (1, 0) } else { (0, 1) });
        store.register_owner(owner("me"), None).await.unwrap();
    }
    // The process may die before it writes the end.
    let exhausted = recover(&*store, "next", Proof::SoleOwner).await.exhausted.remove(0);
    assert_eq!(exhausted, row(&*store, "1").await);
    assert!(store.end(End { orphans_run: true, ..failed(&exhausted) }).await.unwrap());
    assert_eq!(recover(&*store, "next", Proof::SoleOwner).await, Recovered::default());
    assert_eq!(row(&*store, "1").await.state, State::Failed);
    assert_eq!(callbacks_of(&*store, "1").await.len(), 1);
    assert_eq!(store.orphaned_runs(10).await.unwrap().len(), 3);
}

pub async fn only_a_task_that_ran_alone_has_used_its_attempts(database: &impl Database) {
    let store = open(database).await;
    for name in ["guilty", "bystander"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let crash = async || {
        store.register_owner(owner("next"), None).await.unwrap();
        let recovered = recover(&*store, "next", Proof::SoleOwner).await;
        store.register_owner(owner("me"), None).await.unwrap();
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
        store.register_owner(owner("me"), None).await.unwrap();
        claim(&*store, key).await;
        store.register_owner(owner("next"), None).await.unwrap();
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
    first.register_owner(owner("first"), Some(later(1000))).await.unwrap();
    second.register_owner(owner("second"), Some(later(1000))).await.unwrap();
    for name in ["1", "2"] {
        first.submit(task("a", name)).await.unwrap();
    }
    let lost = try_claim(&*first, "first", "a").await.unwrap();
    let own = try_claim(&*second, "second", "a").await.unwrap();
    let lease = |now| Proof::Lease { now };
    assert_eq!(recover(&*second, "second", lease(later(1000))).await, Recovered::default());
    // An expired lease may be renewed until a recovery has removed its owner.
    assert!(first.renew_lease(owner("first"), later(2000)).await.unwrap());
    assert!(second.renew_lease(owner("second"), later(9000)).await.unwrap());
    assert_eq!(recover(&*second, "second", lease(later(1500))).await, Recovered::default());
    assert_eq!(recover(&*second, "second", lease(later(2001))).await.requeued, std::slice::from_ref(&lost));
    // After that, the renewal and every claim of the dead owner are rejected.
    assert!(!first.renew_lease(owner("first"), later(9000)).await.unwrap());
    assert!(!first.end(succeeded(&lost, "late.png")).await.unwrap());
    assert!(try_claim(&*first, "first", "a").await.is_none());
    let again = try_claim(&*second, "second", "a").await.unwrap();
    assert_eq!((again.id.as_str(), again.attempt), ("1", 2));
    for run in [own, again] {
        assert!(second.end(succeeded(&run, &format!("{}.png", run.id))).await.unwrap());
    }
    // An owner without a lease does not expire.
    first.register_owner(owner("third"), None).await.unwrap();
    first.submit(task("a", "3")).await.unwrap();
    try_claim(&*first, "third", "a").await.unwrap();
    assert_eq!(recover(&*second, "second", lease(later(8000))).await, Recovered::default());
}

pub async fn only_a_registered_owner_claims(database: &impl Database) {
    let store = database.open().await;
    store.submit(task("a", "1")).await.unwrap();
    assert!(try_claim(&*store, "nobody", "a").await.is_none());
    assert!(!store.renew_lease(owner("nobody"), NOW).await.unwrap());
    store.register_owner(owner("nobody"), Some(NOW)).await.unwrap();
    assert!(try_claim(&*store, "nobody", "a").await.is_some());
}
