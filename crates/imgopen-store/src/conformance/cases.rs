//! One function for each rule.

mod recovery;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Barrier;

pub use super::files::*;
pub use super::owners::*;
pub use super::pages::*;
use super::*;
use crate::{AssetToken, Find, KeyRow, Lane, OrphanedRun, Submitted, TaskFilter};

pub use super::deliveries::*;
pub use super::lifetimes::*;

pub use recovery::*;

pub async fn concurrent_writes_are_all_stored(database: &impl Database) {
    let store = open(database).await;
    let names: Vec<_> = (0..300).map(|number| format!("t{number}")).collect();
    let submitted = join_all(names.iter().map(|name| store.submit(task("a", name)))).await;
    assert!(submitted.iter().all(|submitted| matches!(submitted, Ok(Submitted::New))));
    // What was acknowledged is visible to every process.
    let other = database.open().await;
    assert_eq!(other.queued().await.unwrap().iter().map(|lane| lane.count).sum::<usize>(), 300);
    store.ready().await.unwrap();
}

pub async fn the_oldest_task_of_the_lane_is_claimed(database: &impl Database) {
    let store = open(database).await;
    for (name, number) in [("a", "1"), ("b", "2"), ("a", "3")] {
        store.submit(task(name, number)).await.unwrap();
    }
    let other = NewTask { needs: "text_to_image:m".to_owned(), ..task("a", "0") };
    store.submit(other).await.unwrap();
    let first = claim(&*store, "a").await;
    assert_eq!((first.id.as_str(), first.state, first.attempt), ("1", State::Running, 1));
    assert_eq!((first.started_at, first.owner.clone()), (Some(NOW), Some(owner("me"))));
    assert_eq!(row(&*store, "1").await, first);
    assert_eq!(claim(&*store, "a").await.id.as_str(), "3");
    assert!(try_claim(&*store, "me", "a").await.is_none());
    assert_eq!(claim(&*store, "b").await.id.as_str(), "2");
    assert_eq!(row(&*store, "0").await.state, State::Queued);
}

pub async fn concurrent_claims_take_different_tasks(database: &impl Database) {
    let store = open(database).await;
    let other = database.open().await;
    join_all((0..40).map(|number| store.submit(task("a", &number.to_string())))).await;
    let stores = (0..50).map(|number| if number % 2 == 0 { &store } else { &other });
    let rows = join_all(stores.map(|store| try_claim(&**store, "me", "a"))).await;
    let ids: Vec<_> = rows.into_iter().flatten().map(|row| row.id).collect();
    assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (40, 40));
}

pub async fn a_stale_run_changes_nothing(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let stale = claim(&*store, "a").await;
    register(&*store, "next", None).await;
    assert_eq!(names(&recover(&*store, "next", Proof::SoleOwner).await.requeued), ["1"]);
    // The first run may not write once the task is queued again, nor once it is in another run.
    assert!(!store.end(succeeded(&stale, "stale.png")).await.unwrap());
    let current = try_claim(&*store, "next", "a").await.unwrap();
    assert_eq!(current.attempt, 2);
    for late in [succeeded(&stale, "stale.png"), failed(&stale), cancelled(&stale)] {
        assert!(!store.end(late).await.unwrap());
    }
    assert!(!store.hand_back(back(&stale, false)).await.unwrap());
    assert_eq!(row(&*store, "1").await, current);
    assert!(store.asset(AssetToken("stale.png".into())).await.unwrap().is_none());
    assert!(callbacks_of(&*store, "1").await.is_empty());

    assert!(store.end(succeeded(&current, "good.png")).await.unwrap());
    let ended = row(&*store, "1").await;
    assert_eq!((ended.state, ended.engine.as_deref()), (State::Succeeded, Some("lanczos")));
    assert!(!store.end(succeeded(&current, "twice.png")).await.unwrap());
    assert_eq!(callbacks_of(&*store, "1").await.len(), 1);
    assert!(store.asset(AssetToken("twice.png".into())).await.unwrap().is_none());
}

/// A hand-back lowers the attempt, so the next run has the same number. Only the run id differs.
pub async fn a_stale_hand_back_does_not_take_the_task_from_the_next_run(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let first = claim(&*store, "a").await;
    assert!(store.hand_back(back(&first, false)).await.unwrap());
    let second = claim(&*store, "a").await;
    assert_eq!((first.attempt, second.attempt), (1, 1));
    // Repeated, as after a lost answer.
    assert!(!store.hand_back(back(&first, false)).await.unwrap());
    assert!(!store.end(succeeded(&first, "stale.png")).await.unwrap());
    assert_eq!(row(&*store, "1").await, second);
    assert!(store.end(succeeded(&second, "good.png")).await.unwrap());
}

pub async fn an_end_is_written_whole_or_not_at_all(database: &impl Database) {
    let store = open(database).await;
    for name in ["1", "2"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let (first, second) = (claim(&*store, "a").await, claim(&*store, "a").await);
    assert!(store.end(succeeded(&first, "same.png")).await.unwrap());
    assert!(store.end(End { orphans_run: true, ..succeeded(&second, "same.png") }).await.is_err());
    assert_eq!(row(&*store, "2").await, second);
    assert!(callbacks_of(&*store, "2").await.is_empty());
    assert!(store.orphaned_runs(None, 10).await.unwrap().is_empty());
}

pub async fn a_task_ends_once_with_what_belongs_to_its_end(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = claim(&*store, "a").await;
    let end = succeeded(&run, "good.png");
    // Only a final state is an end, and only a running task can succeed.
    let not_final = TaskRow { state: State::Queued, ..end.task.clone() };
    assert!(!store.end(End { task: not_final, ..end.clone() }).await.unwrap());
    assert!(!store.end(End { before: State::Queued, ..end.clone() }).await.unwrap());
    assert!(store.end(end.clone()).await.unwrap());
    assert_eq!(row(&*store, "1").await, end.task);
    let asset = store.asset(AssetToken("good.png".into())).await.unwrap().unwrap();
    assert_eq!((asset.media_type.as_str(), asset.bytes, asset.created_at), ("image/png", 7, NOW));
    let callback = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((callback.state, callback.rung, callback.next_at), (crate::CallbackState::Pending, 0, Some(NOW)));
    assert_eq!((callback.key, callback.body.as_str()), (key("a"), "{}"));
}

pub async fn a_task_is_cancelled_until_it_has_ended(database: &impl Database) {
    let store = open(database).await;
    for name in ["queued", "running", "failed"] {
        store.submit(task(name, name)).await.unwrap();
    }
    let running = claim(&*store, "running").await;
    let run = claim(&*store, "failed").await;
    assert!(store.end(failed(&run)).await.unwrap());
    for name in ["queued", "running"] {
        let seen = row(&*store, name).await;
        assert!(store.end(cancelled(&seen)).await.unwrap(), "{name}");
        let ended = row(&*store, name).await;
        assert_eq!((ended.state, ended.finished_at), (State::Cancelled, Some(NOW)));
        assert_eq!(ended.failure.as_deref(), Some("cancelled by the caller"));
    }
    // The files of a cancelled run are orphans.
    let orphans = store.orphaned_runs(None, 10).await.unwrap();
    assert_eq!(orphans, [OrphanedRun { run: running.run.clone().unwrap(), since: NOW }]);
    assert!(try_claim(&*store, "me", "queued").await.is_none());
    for name in ["queued", "running", "failed"] {
        let seen = row(&*store, name).await;
        assert!(!store.end(cancelled(&seen)).await.unwrap(), "{name}");
        assert_eq!(callbacks_of(&*store, name).await.len(), 1, "{name}");
    }
    // Seen as queued, but its run has begun since.
    store.submit(task("a", "1")).await.unwrap();
    let seen = row(&*store, "1").await;
    let run = claim(&*store, "a").await;
    assert!(!store.end(cancelled(&seen)).await.unwrap());
    assert_eq!(row(&*store, "1").await, run);
}

pub async fn a_claim_may_name_its_task(database: &impl Database) {
    let store = open(database).await;
    for name in ["1", "2"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let claim = |only: &str| Claim {
        key: key("a"),
        needs: NEEDS.to_owned(),
        run: RunId::new().unwrap(),
        owner: owner("me"),
        now: NOW,
        only: Some(id(only)),
    };
    assert_eq!(store.claim(claim("2")).await.unwrap().unwrap().id, id("2"));
    assert_eq!(store.claim(claim("2")).await.unwrap(), None);
    assert_eq!(store.claim(Claim { key: key("b"), ..claim("1") }).await.unwrap(), None);
    assert_eq!(row(&*store, "1").await.state, State::Queued);
}

pub async fn an_idempotency_key_holds_until_it_expires(database: &impl Database) {
    let store = open(database).await;
    let end = later(1000);
    assert_eq!(store.submit(with_key("1", "k", NOW, end)).await.unwrap(), Submitted::New);
    let last = later(999);
    match store.submit(with_key("2", "k", last, end)).await.unwrap() {
        Submitted::Again(earlier) => assert_eq!(earlier.id.as_str(), "1"),
        other => panic!("{other:?}"),
    }
    let other_body = NewTask { request: r#"{"scale":2}"#.into(), ..with_key("3", "k", last, end) };
    assert!(matches!(store.submit(other_body.clone()).await.unwrap(), Submitted::Conflict(_)));
    assert!(matches!(store.repeated(other_body).await.unwrap(), Some(Submitted::Conflict(_))));
    // Another access key has its own idempotency keys.
    let stranger = NewTask { key: key("b"), ..with_key("4", "k", NOW, end) };
    assert!(store.repeated(stranger.clone()).await.unwrap().is_none());
    assert_eq!(store.submit(stranger).await.unwrap(), Submitted::New);
    // Once expired, it has no effect, deleted or not.
    let again = NewTask { request: "[]".into(), ..with_key("5", "k", end, later(2000)) };
    assert_eq!(store.submit(again).await.unwrap(), Submitted::New);
    assert_eq!(store.forget_idempotency_keys(later(1999)).await.unwrap(), 1);
    assert_eq!(store.forget_idempotency_keys(later(2000)).await.unwrap(), 1);
    assert!(store.repeated(with_key("6", "k", NOW, end)).await.unwrap().is_none());
}

pub async fn one_of_many_concurrent_repetitions_is_new(database: &impl Database) {
    let stores = [open(database).await, database.open().await];
    let start = Arc::new(Barrier::new(20));
    let submits = (0..20).map(|number: usize| {
        let (store, start) = (stores[number % 2].clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            store.submit(training(&format!("t{number}"), "lora", "{}")).await.unwrap()
        })
    });
    let outcomes: Vec<_> = join_all(submits).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let new = outcomes.iter().filter(|outcome| **outcome == Submitted::New).count();
    let again = outcomes.iter().filter(|outcome| matches!(outcome, Submitted::Again(_))).count();
    assert_eq!((new, again), (1, 19));
}

/// Ids are drawn at random, so that another submit may have had the same.
pub async fn an_id_that_is_taken_is_not_taken_again(database: &impl Database) {
    let store = open(database).await;
    assert_eq!(store.submit(task("a", "1")).await.unwrap(), Submitted::New);
    let remembered = with_key("1", "k", NOW, later(9));
    let reserving = NewTask { reserves: Some("ink".to_owned()), ..task("a", "1") };
    for again in [task("a", "1"), task("b", "1"), remembered.clone(), training("1", "lora", "{}"), reserving.clone()] {
        assert_eq!(store.submit(again).await.unwrap(), Submitted::IdTaken);
    }
    // Nothing of them is left.
    for (name, free) in [("2", remembered), ("3", training("", "lora", "{}")), ("4", reserving)] {
        assert_eq!(store.submit(NewTask { id: id(name), ..free }).await.unwrap(), Submitted::New);
    }
    assert_eq!(row(&*store, "1").await.key, key("a"));
}

pub async fn a_unique_id_is_unique_among_its_operation_and_key(database: &impl Database) {
    let store = open(database).await;
    assert_eq!(store.submit(training("1", "lora", "{}")).await.unwrap(), Submitted::New);
    assert!(matches!(store.submit(training("2", "lora", "{}")).await.unwrap(), Submitted::Again(_)));
    assert!(matches!(store.submit(training("3", "lora", "[]")).await.unwrap(), Submitted::Conflict(_)));
    let both = NewTask { idempotency: with_key("", "k", NOW, later(9)).idempotency, ..training("4", "lora", "{}") };
    assert!(matches!(store.submit(both).await.unwrap(), Submitted::Again(_)));
    // The id is free for another operation and for another key. Ids of other operations may repeat.
    let others = [
        NewTask { caller_id: "lora".into(), ..task("a", "5") },
        NewTask { caller_id: "lora".into(), ..task("a", "6") },
        NewTask { key: key("b"), ..training("7", "lora", "{}") },
    ];
    for other in others {
        assert_eq!(store.submit(other).await.unwrap(), Submitted::New);
    }
}

/// By any key, and however its task ends.
pub async fn a_name_that_was_made_is_taken_where_that_matters(database: &impl Database) {
    let store = open(database).await;
    let named = |key: &str, id: &str, reserves_made| NewTask {
        reserves: Some("ink".to_owned()),
        reserves_made,
        ..task(key, id)
    };
    assert_eq!(store.submit(named("a", "1", true)).await.unwrap(), Submitted::New);
    assert!(store.end(failed(&claim(&*store, "a").await)).await.unwrap());
    // That made nothing.
    assert_eq!(store.submit(named("b", "2", true)).await.unwrap(), Submitted::New);
    assert!(store.end(succeeded(&claim(&*store, "b").await, "ink.png")).await.unwrap());
    for key in ["a", "b"] {
        assert_eq!(store.submit(named(key, "3", true)).await.unwrap(), Submitted::Reserved);
    }
    assert_eq!(store.task(id("3")).await.unwrap(), None);
    assert_eq!(store.submit(named("a", "3", false)).await.unwrap(), Submitted::New);
}

pub async fn a_name_is_reserved_until_its_task_has_ended(database: &impl Database) {
    let store = open(database).await;
    let named = |key: &str, id: &str| NewTask { reserves: Some("ink".to_owned()), ..task(key, id) };
    let all = futures_util::future::join_all((0..8).map(|number| {
        let store = store.clone();
        let new = NewTask { reserves: Some("at once".to_owned()), ..task("a", &format!("at once {number}")) };
        async move { store.submit(new).await.unwrap() }
    }));
    let all = all.await;
    assert_eq!(all.iter().filter(|submitted| **submitted == Submitted::New).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|submitted| **submitted == Submitted::Reserved).count(), 7, "{all:?}");
    assert_eq!(store.submit(named("b", "1")).await.unwrap(), Submitted::New);
    for key in ["a", "b"] {
        assert_eq!(store.submit(named(key, "2")).await.unwrap(), Submitted::Reserved);
    }
    assert_eq!(store.task(id("2")).await.unwrap(), None);
    // While it runs, and when its run was handed back.
    let run = claim(&*store, "b").await;
    assert_eq!(store.submit(named("a", "2")).await.unwrap(), Submitted::Reserved);
    assert!(store.hand_back(back(&run, true)).await.unwrap());
    assert_eq!(store.submit(named("a", "2")).await.unwrap(), Submitted::Reserved);
    let run = claim(&*store, "b").await;
    assert!(store.end(failed(&run)).await.unwrap());
    assert_eq!(store.submit(named("b", "3")).await.unwrap(), Submitted::New);
    assert!(store.end(cancelled(&row(&*store, "3").await)).await.unwrap());
    assert_eq!(store.submit(named("b", "4")).await.unwrap(), Submitted::New);
    let run = claim(&*store, "b").await;
    let file = NewAsset { name: Some("ink.safetensors".to_owned()), ..picture("lora.safetensors") };
    assert!(store.end(end(&run, Ending::Succeeded(crate::TaskOutput::default()), vec![file])).await.unwrap());
    let asset = store.asset(AssetToken("lora.safetensors".into())).await.unwrap().unwrap();
    assert_eq!(asset.name.as_deref(), Some("ink.safetensors"));
    // A repeated submit finds its own task rather than the name.
    let again = NewTask { reserves: Some("ink".to_owned()), ..with_key("5", "k", NOW, later(9)) };
    assert_eq!(store.submit(again.clone()).await.unwrap(), Submitted::New);
    assert!(matches!(store.submit(again).await.unwrap(), Submitted::Again(_)));
}

pub async fn options_and_plan_are_returned(database: &impl Database) {
    let store = open(database).await;
    let options = Some(serde_json::json!({"sandbox": "delay=2s"}));
    let plan = Some(serde_json::json!({"folder": "datasets/1", "command": ["a", "b c"]}));
    let new = NewTask { options, plan, ..task("a", "1") };
    store.submit(new.clone()).await.unwrap();
    let row = row(&*store, "1").await;
    assert_eq!(TaskRow { seq: row.seq, ..new.row() }, row);
    let run = claim(&*store, "a").await;
    assert_eq!((run.options, run.plan), (new.options, new.plan));
}

pub async fn queued_tasks_are_counted_by_lane(database: &impl Database) {
    let store = open(database).await;
    let other = |name: &str| NewTask { needs: "text_to_image:m".to_owned(), ..task("a", name) };
    for task in [other("1"), task("a", "2"), task("b", "3"), task("a", "4"), other("5"), task("c", "6")] {
        store.submit(task).await.unwrap();
    }
    claim(&*store, "c").await;
    let lanes: Vec<_> = store.queued().await.unwrap();
    let lane = |needs: &str, name: &str, count, number: &str| (needs.to_owned(), key(name), count, number.to_owned());
    let mut found = Vec::new();
    for Lane { needs, key, count, first } in lanes {
        let page = store.list_tasks(key.clone(), TaskFilter::default(), None, 9).await.unwrap();
        let oldest = page.rows.into_iter().find(|row| row.seq == first).unwrap();
        found.push((needs, key, count, oldest.id.0));
    }
    let expected = [lane("text_to_image:m", "a", 2, "1"), lane(NEEDS, "a", 2, "2"), lane(NEEDS, "b", 1, "3")];
    assert_eq!(found, expected);
}

pub async fn tasks_are_found_by_either_id(database: &impl Database) {
    let store = open(database).await;
    const OPERATIONS: &[&str] = &["enlarge_image"];
    for (name, caller_id) in [("1", "mine"), ("2", "mine"), ("mine-too", "1")] {
        store.submit(NewTask { caller_id: caller_id.into(), ..task("a", name) }).await.unwrap();
    }
    let found = async |key_name: &str, asked: &str, operations, states| {
        let find = Find { key: key(key_name), id: asked.to_owned(), operations, states };
        store.find(find).await.unwrap().map(|row| row.id.0)
    };
    // The platform's id goes first, then the newest of the caller's.
    assert_eq!(found("a", "1", OPERATIONS, &State::ALL).await.as_deref(), Some("1"));
    assert_eq!(found("a", "mine", OPERATIONS, &State::ALL).await.as_deref(), Some("2"));
    assert_eq!(found("b", "1", OPERATIONS, &State::ALL).await, None);
    assert_eq!(found("a", "1", &["outpaint"], &State::ALL).await, None);
    assert_eq!(found("a", "1", OPERATIONS, &State::FINAL).await, None);
}

pub async fn tasks_are_listed_in_pages(database: &impl Database) {
    let store = open(database).await;
    for number in 1..=5i64 {
        let created_at = later(number);
        let new = NewTask { created_at, request: "{\"long\":1}".into(), ..task("a", &number.to_string()) };
        store.submit(new).await.unwrap();
    }
    store.submit(task("b", "6")).await.unwrap();
    let run = claim(&*store, "a").await;
    let list = async |filter: TaskFilter, before, size| {
        let page = store.list_tasks(key("a"), filter, before, size).await.unwrap();
        assert!(page.rows.iter().all(|row| row.request.is_empty()));
        (page.rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = list(TaskFilter::default(), None, 3).await;
    assert_eq!(first, ["5", "4", "3"]);
    assert_eq!(next, store.task_place(key("a"), id("3")).await.unwrap());
    assert_eq!(list(TaskFilter::default(), next, 3).await, (vec!["2".to_owned(), "1".to_owned()], None));
    let only = |filter: TaskFilter| async { list(filter, None, 9).await.0 };
    assert_eq!(only(TaskFilter { id: Some(id("2")), ..TaskFilter::default() }).await, ["2"]);
    assert_eq!(only(TaskFilter { caller_id: Some("caller-4".into()), ..TaskFilter::default() }).await, ["4"]);
    assert_eq!(only(TaskFilter { states: vec![State::Running], ..TaskFilter::default() }).await, [run.id.0]);
    let other = TaskFilter { operations: vec!["outpaint".into()], ..TaskFilter::default() };
    assert!(only(other).await.is_empty());
    let between = TaskFilter { created_after: Some(later(2)), created_before: Some(later(4)), ..TaskFilter::default() };
    assert_eq!(only(between).await, ["3", "2"]);
    assert_eq!(store.task_place(key("b"), id("3")).await.unwrap(), None);
}

pub async fn keys_are_kept_until_they_are_revoked(database: &impl Database) {
    let store = open(database).await;
    let new = |name: &str, created_at| KeyRow {
        id: key(name),
        name: format!("key {name}"),
        secret_hash: vec![1, 2, 3],
        signing_secret: "whsec_x".to_owned(),
        previous_secrets: Vec::new(),
        created_at,
        revoked_at: None,
    };
    store.add_key(new(KeyId::OPEN, NOW)).await.unwrap();
    assert!(store.add_first_key(new("b", later(1))).await.unwrap());
    assert!(!store.add_first_key(new("c", later(1))).await.unwrap());
    store.add_key(new("a", NOW)).await.unwrap();
    assert!(store.add_key(new("a", NOW)).await.is_err());
    assert_eq!(store.keys().await.unwrap(), [new("a", NOW), new("b", later(1))]);
    assert_eq!(store.key(key(KeyId::OPEN)).await.unwrap(), Some(new(KeyId::OPEN, NOW)));
    for moment in [later(5), later(6)] {
        assert!(store.revoke_key(key("a"), moment).await.unwrap());
    }
    assert_eq!(store.key(key("a")).await.unwrap().unwrap().revoked_at, Some(later(5)));
    assert!(!store.revoke_key(key(KeyId::OPEN), NOW).await.unwrap());
    assert!(!store.revoke_key(key("nobody"), NOW).await.unwrap());
}
