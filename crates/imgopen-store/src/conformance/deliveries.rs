//! Callbacks: which is pushed next, what an attempt leaves, and what a clock that is set may do.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::{
    CallbackState, ClaimCallbacks, ClaimId, Deferral, Delivery, DeliveryAttempt, InProgress, NextAttempt, Turn,
    UnderWay,
};

fn attempt() -> DeliveryAttempt {
    DeliveryAttempt { number: 0, started_at: NOW, duration_ms: 3, http_status: None, outcome: "no".into() }
}

/// A callback that fell due at that time, for a task of its own.
async fn pending(store: &dyn Store, key_name: &str, name: &str, origin: &str, due: Moment) -> CallbackRow {
    store.submit(task(key_name, name)).await.unwrap();
    let mut end = cancelled(&row(store, name).await);
    end.task.finished_at = Some(due);
    end.callback.as_mut().unwrap().origin = origin.to_owned();
    assert!(store.end(end).await.unwrap());
    callbacks_of(store, name).await.remove(0)
}

/// Records a failed attempt, after which the next one is due at that time.
async fn failed_once(store: &dyn Store, seen: CallbackRow, at: Moment, pause: Duration) {
    let next = Some(NextAttempt { at, pause });
    let delivery = Delivery { seen, attempt: attempt(), state: CallbackState::Pending, next };
    store.record_delivery(delivery).await.unwrap();
}

fn slots(at_once: usize, per_origin: usize) -> UnderWay {
    UnderWay { at_once, per_origin, ..UnderWay::default() }
}

fn tasks(rows: &[CallbackRow]) -> Vec<&str> {
    rows.iter().map(|row| row.task.as_str()).collect()
}

pub async fn callbacks_are_due_at_their_time(database: &impl Database) {
    let store = open(database).await;
    for (number, origin) in [(1, "http://a"), (2, "http://b"), (3, "http://b")] {
        pending(&*store, "a", &number.to_string(), origin, later(number)).await;
    }
    let due = async |now| store.due_callbacks(now, slots(100, 8)).await.unwrap();
    assert_eq!(due(later(0)).await, []);
    assert_eq!(tasks(&due(later(2)).await), ["1", "2"]);
    let rows = due(later(9)).await;
    assert_eq!(tasks(&rows), ["1", "2", "3"]);
    assert_eq!(rows[0], callbacks_of(&*store, "1").await[0]);
    assert_eq!(store.next_callback(later(0)).await.unwrap(), Some(later(1)));
    assert_eq!(store.next_callback(later(1)).await.unwrap(), Some(later(2)));
    assert_eq!(store.next_callback(later(3)).await.unwrap(), None);
}

pub async fn callbacks_under_way_are_not_due(database: &impl Database) {
    let store = open(database).await;
    let mut rows = Vec::new();
    for number in 1..=4 {
        rows.push(pending(&*store, "a", &number.to_string(), "http://a", later(number)).await);
    }
    let attempts = vec![InProgress::from(&rows[1])];
    let due = async |per_origin| {
        let under_way = UnderWay { attempts: attempts.clone(), ..slots(100, per_origin) };
        store.due_callbacks(later(9), under_way).await.unwrap()
    };
    assert_eq!(tasks(&due(9).await), ["1", "3", "4"]);
    assert_eq!(tasks(&due(2).await), ["1"]);
    assert_eq!(due(1).await, []);
}

pub async fn a_key_takes_as_many_slots_as_it_leaves_free(database: &impl Database) {
    let store = open(database).await;
    for number in 0..30 {
        pending(&*store, "greedy", &format!("g{number}"), &format!("http://{number}"), NOW).await;
    }
    let mut attempts: Vec<_> = Vec::new();
    let mut turn = Turn::default();
    // As often as the loop runs: the key never gets beyond half.
    for expected in [5, 5] {
        let under_way = UnderWay { attempts: attempts.clone(), turn: turn.clone(), ..slots(10, 8) };
        for row in store.due_callbacks(NOW, under_way).await.unwrap() {
            turn.passed(&row.key, &row.origin);
            attempts.push(InProgress::from(&row));
        }
        assert_eq!(attempts.len(), expected);
    }
    // There is always room for the next key, however much the others have waiting.
    for (key_name, expected) in [("modest", 3), ("third", 1), ("fourth", 1)] {
        for number in 0..9 {
            pending(&*store, key_name, &format!("{key_name}{number}"), "http://a", later(1)).await;
        }
        let under_way = UnderWay { attempts: attempts.clone(), turn: turn.clone(), ..slots(10, 8) };
        let rows = store.due_callbacks(later(1), under_way).await.unwrap();
        let keys: Vec<_> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, vec![key_name; expected]);
        attempts.extend(rows.iter().map(InProgress::from));
    }
    // A single slot is enough for one.
    assert_eq!(store.due_callbacks(later(1), slots(1, 1)).await.unwrap().len(), 1);
}

pub async fn first_attempts_precede_repeated_ones(database: &impl Database) {
    let store = open(database).await;
    for (key_name, name, due) in [("a", "old", 0), ("a", "new", 50), ("b", "b-old", 0), ("b", "b-new", 60)] {
        let row = pending(&*store, key_name, name, "http://a", later(due)).await;
        if name.ends_with("old") {
            failed_once(&*store, row, later(10), Duration::from_millis(10)).await;
        }
    }
    let rows = store.due_callbacks(later(99), slots(100, 8)).await.unwrap();
    assert_eq!(tasks(&rows), ["new", "b-new", "old", "b-old"]);
    assert_eq!(store.due_callbacks(later(9), slots(100, 8)).await.unwrap(), []);
}

pub async fn keys_and_their_origins_take_turns(database: &impl Database) {
    let store = open(database).await;
    for (key_name, origin, count) in [("a", "http://1", 3), ("a", "http://2", 1), ("b", "http://1", 2)] {
        for number in 0..count {
            pending(&*store, key_name, &format!("{key_name}{origin}{number}"), origin, later(number)).await;
        }
    }
    let places = |rows: &[CallbackRow]| -> Vec<String> {
        let of = |row: &CallbackRow| format!("{}{}", row.key, row.origin.trim_start_matches("http://"));
        rows.iter().map(of).collect()
    };
    let rows = store.due_callbacks(later(9), slots(100, 8)).await.unwrap();
    assert_eq!(places(&rows), ["a1", "b1", "a2", "b1", "a1", "a1"]);
    // The key and the origin that were served last come last.
    let mut turn = Turn::default();
    turn.passed(&key("a"), "http://1");
    let rows = store.due_callbacks(later(9), UnderWay { turn, ..slots(100, 8) }).await.unwrap();
    assert_eq!(places(&rows), ["b1", "a2", "b1", "a1", "a1", "a1"]);
}

pub async fn an_attempt_that_was_put_off_does_not_count(database: &impl Database) {
    let store = open(database).await;
    let seen = pending(&*store, "a", "1", "http://a", NOW).await;
    let put_off = async |seen: CallbackRow, now: Moment, ms: u64| {
        let deferred_for = Duration::from_millis(ms);
        let next = NextAttempt { at: now.plus(Duration::from_millis(50)), pause: Duration::from_millis(50) };
        store.defer_callback(Deferral { seen, now, deferred_for, next }).await.unwrap();
        callbacks_of(&*store, "1").await.remove(0)
    };
    let first = put_off(seen.clone(), later(1), 0).await;
    assert_eq!((first.rung, first.deferrals, first.deferred_at), (0, 1, Some(later(1))));
    assert_eq!((first.next_at, first.tries.len()), (Some(later(51)), 0));
    assert_eq!(store.due_callbacks(later(50), slots(9, 9)).await.unwrap(), []);
    let second = put_off(first, later(60), 59).await;
    let found = (second.deferrals, second.deferred_at, second.deferred_for);
    assert_eq!(found, (2, Some(later(60)), Duration::from_millis(59)));
    // What was seen before a redelivery changes nothing.
    store.redeliver(None, seen.id.clone(), later(70)).await.unwrap().unwrap();
    let again = put_off(second.clone(), later(80), 79).await;
    assert_eq!((again.next_at, again.deferrals, again.deferred_at), (Some(later(70)), 0, None));
    assert_eq!(again.deferred_for, Duration::ZERO);
    let third = put_off(again, later(90), 20).await;
    failed_once(&*store, third, later(99), Duration::ZERO).await;
    let counted = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((counted.rung, counted.deferrals, counted.deferred_at), (1, 0, None));
    assert_eq!(counted.deferred_for, Duration::ZERO);
}

pub async fn a_clock_that_was_put_back_does_not_prolong_a_pause(database: &impl Database) {
    let store = open(database).await;
    let hour = Duration::from_secs(3600);
    let rows = [
        pending(&*store, "a", "1", "http://a", NOW).await,
        pending(&*store, "a", "2", "http://a", NOW).await,
        // It was written while the clock was ahead, and is due at once.
        pending(&*store, "a", "3", "http://a", NOW).await,
    ];
    failed_once(&*store, rows[0].clone(), later(3000), Duration::from_millis(3000)).await;
    failed_once(&*store, rows[1].clone(), later(5000), Duration::from_millis(5000)).await;
    let next = async |name: &str| callbacks_of(&*store, name).await[0].next_at.unwrap();
    // Nothing changes while the clock is right.
    assert_eq!(store.limit_callback_pauses(NOW, hour).await.unwrap(), 0);
    assert_eq!(store.limit_callback_pauses(later(900), hour).await.unwrap(), 0);
    assert_eq!((next("1").await, next("2").await), (later(3000), later(5000)));
    let back = later(-100_000);
    assert_eq!(store.limit_callback_pauses(back, hour).await.unwrap(), 3);
    assert_eq!((next("1").await, next("2").await, next("3").await), (later(-97_000), later(-95_000), back));
    assert_eq!(store.limit_callback_pauses(back, hour).await.unwrap(), 0);
    // An attempt that was in progress meanwhile is recorded all the same.
    failed_once(&*store, rows[2].clone(), later(-90_000), Duration::from_millis(10_000)).await;
    assert_eq!(callbacks_of(&*store, "3").await[0].rung, 1);
}

pub async fn a_redelivery_survives_the_attempt_in_progress(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    assert!(store.end(cancelled(&row(&*store, "1").await)).await.unwrap());
    let seen = callbacks_of(&*store, "1").await.remove(0);
    store.redeliver(Some(key("a")), seen.id.clone(), later(5)).await.unwrap().unwrap();
    let delivery = Delivery { seen, attempt: attempt(), state: CallbackState::Abandoned, next: None };
    store.record_delivery(delivery.clone()).await.unwrap();
    let after = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((after.state, after.rung, after.next_at), (CallbackState::Pending, 0, Some(later(5))));
    assert_eq!(after.tries.iter().map(|one| one.number).collect::<Vec<_>>(), [1]);
    store.record_delivery(Delivery { seen: after, ..delivery }).await.unwrap();
    let after = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((after.state, after.rung, after.next_at), (CallbackState::Abandoned, 1, None));
    assert_eq!(after.tries.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2]);
    assert!(store.redeliver(Some(key("b")), after.id.clone(), later(5)).await.unwrap().is_none());
    let again = store.redeliver(None, after.id, later(6)).await.unwrap().unwrap();
    assert_eq!((again.state, again.rung, again.tries.len()), (CallbackState::Pending, 0, 2));
}

/// A claim of an owner that may have so many attempts in progress.
fn claiming(owner_name: &str, most: usize, hold: Duration) -> ClaimCallbacks {
    let (claim, turn) = (ClaimId::new().unwrap(), Turn::default());
    let (owner, attempts) = (owner(owner_name), Vec::new());
    ClaimCallbacks { owner, claim, attempts, now: later(9), hold, most, at_once_per_host: 3, turn }
}

async fn claimed(store: &dyn Store, owner_name: &str, most: usize, hold: Duration) -> Vec<CallbackRow> {
    store.claim_callbacks(claiming(owner_name, most, hold)).await.unwrap()
}

/// As after an outage, in which what receivers answered could not be recorded before the claim ended.
pub async fn a_claim_that_ended_is_not_taken_again_beside_its_attempt(database: &impl Database) {
    let store = open(database).await;
    for number in 1..=3 {
        pending(&*store, "a", &number.to_string(), &format!("http://{number}"), later(number)).await;
    }
    let first = claimed(&*store, "me", 3, Duration::ZERO).await;
    assert_eq!(tasks(&first), ["1", "2"]);
    let attempts: Vec<_> = first.iter().map(InProgress::from).collect();
    let beside = |most| ClaimCallbacks { attempts: attempts.clone(), ..claiming("me", most, Duration::ZERO) };
    assert_eq!(store.claim_callbacks(beside(3)).await.unwrap(), []);
    assert_eq!(tasks(&store.claim_callbacks(beside(5)).await.unwrap()), ["3"]);
    // The record of the first claim counts, because nobody has made another one.
    store.record_delivery(acknowledged(first[0].clone())).await.unwrap();
    let row = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((row.state, row.tries.len()), (CallbackState::Acknowledged, 1));
}

fn acknowledged(seen: CallbackRow) -> Delivery {
    Delivery { seen, attempt: attempt(), state: CallbackState::Acknowledged, next: None }
}

pub async fn a_claimed_callback_is_no_others_while_the_claim_holds(database: &impl Database) {
    let (store, other) = (open(database).await, database.open().await);
    for number in 1..=3 {
        pending(&*store, "a", &number.to_string(), &format!("http://{number}"), later(number)).await;
    }
    pending(&*store, "a", "not yet", "http://a", later(10)).await;
    let first = claimed(&*store, "me", 9, HOUR).await;
    assert_eq!(tasks(&first), ["1", "2", "3"]);
    assert!(first[0].claim.is_some());
    assert_eq!(callbacks_of(&*other, "1").await[0].claim, first[0].claim);
    assert_eq!(claimed(&*other, "other", 9, HOUR).await, []);
    assert_eq!(claimed(&*store, "me", 9, HOUR).await, []);
    // An attempt that was recorded or put off is over.
    failed_once(&*store, first[0].clone(), later(8), Duration::ZERO).await;
    let next = NextAttempt { at: later(7), pause: Duration::ZERO };
    let deferral = Deferral { seen: first[1].clone(), now: later(7), deferred_for: Duration::ZERO, next };
    other.defer_callback(deferral).await.unwrap();
    // The claim of a process that died holds no longer than it said.
    let short = claimed(&*other, "other", 9, Duration::ZERO).await;
    assert_eq!(tasks(&short), ["2", "1"]);
    let again = claimed(&*store, "me", 9, HOUR).await;
    assert_eq!(tasks(&again), ["2", "1"]);
    // What the first one records after all is an attempt, and changes nothing else.
    other.record_delivery(acknowledged(short[1].clone())).await.unwrap();
    let row = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((row.state, row.rung, row.tries.len(), &row.claim), (CallbackState::Pending, 1, 2, &again[1].claim));
    let late = Deferral { seen: short[0].clone(), now: later(8), deferred_for: Duration::ZERO, next };
    other.defer_callback(late).await.unwrap();
    assert_eq!(callbacks_of(&*store, "2").await[0].deferrals, 1);
    store.record_delivery(acknowledged(again[1].clone())).await.unwrap();
    let row = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((row.state, row.tries.len(), row.claim), (CallbackState::Acknowledged, 3, None));
}

/// Nobody waits until the claims have ended by themselves.
pub async fn an_owner_that_resigns_gives_up_its_claims(database: &impl Database) {
    let (store, other) = (open(database).await, database.open().await);
    register(&*other, "other", Some(HOUR)).await;
    for number in 1..=2 {
        pending(&*store, "a", &number.to_string(), &format!("http://{number}"), later(number)).await;
    }
    let given_up = claimed(&*other, "other", 1, HOUR).await;
    let kept = claimed(&*store, "me", 9, HOUR).await;
    assert_eq!((tasks(&given_up), tasks(&kept)), (vec!["1"], vec!["2"]));
    assert_eq!(claimed(&*store, "me", 9, HOUR).await, []);
    other.resign(owner("other")).await.unwrap();
    let again = claimed(&*store, "me", 9, HOUR).await;
    assert_eq!(tasks(&again), ["1"]);
    assert_eq!(callbacks_of(&*store, "2").await[0].claim, kept[0].claim);
    // What the first one records after all is an attempt, and changes nothing else.
    other.record_delivery(acknowledged(given_up[0].clone())).await.unwrap();
    let row = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((row.state, row.tries.len(), &row.claim), (CallbackState::Pending, 1, &again[0].claim));
}

pub async fn processes_share_what_a_host_is_pushed_at_once(database: &impl Database) {
    let stores = [open(database).await, database.open().await];
    for number in 0..8 {
        pending(&*stores[0], "a", &format!("a{number}"), "http://a", later(1)).await;
        pending(&*stores[0], "b", &format!("b{number}"), "http://a", later(1)).await;
    }
    let count = |rows: &[CallbackRow], name: &str| rows.iter().filter(|row| row.key == key(name)).count();
    // Two of a key, which leaves as many slots free as it takes; the third is another process's.
    let first = claimed(&*stores[0], "me", 4, HOUR).await;
    assert_eq!((count(&first, "a"), count(&first, "b")), (2, 1));
    let second = claimed(&*stores[1], "other", 100, HOUR).await;
    assert_eq!((count(&second, "a"), count(&second, "b")), (1, 2));
    assert_eq!(claimed(&*stores[1], "other", 100, HOUR).await, []);
    stores[1].record_delivery(acknowledged(second[0].clone())).await.unwrap();
    assert_eq!(claimed(&*stores[1], "other", 2, HOUR).await, []);
    assert_eq!(claimed(&*stores[1], "other", 100, HOUR).await.len(), 1);
}

pub async fn a_redelivery_during_a_claimed_attempt_ends_the_claim(database: &impl Database) {
    let (store, other) = (open(database).await, database.open().await);
    pending(&*store, "a", "1", "http://a", later(1)).await;
    let seen = claimed(&*store, "me", 9, HOUR).await.remove(0);
    let started = other.redeliver(None, seen.id.clone(), later(5)).await.unwrap().unwrap();
    assert_eq!((started.starts, &started.claim), (2, &None));
    let again = claimed(&*other, "other", 9, HOUR).await.remove(0);
    store.record_delivery(acknowledged(seen)).await.unwrap();
    let row = callbacks_of(&*store, "1").await.remove(0);
    assert_eq!((row.state, row.rung, row.tries.len()), (CallbackState::Pending, 0, 1));
    assert_eq!(row.claim, again.claim);
    other.record_delivery(acknowledged(again)).await.unwrap();
    assert_eq!(callbacks_of(&*store, "1").await[0].state, CallbackState::Acknowledged);
}

pub async fn concurrent_claims_take_different_callbacks(database: &impl Database) {
    let stores = [open(database).await, database.open().await];
    for number in 0..40 {
        let (key_name, origin) = (format!("k{}", number % 4), format!("http://{number}"));
        pending(&*stores[0], &key_name, &number.to_string(), &origin, later(1)).await;
    }
    let claims = (0..6).map(|number: usize| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move { claimed(&*store, &format!("o{number}"), 8, HOUR).await })
    });
    let (mut ids, mut seen) = (HashSet::new(), 0);
    for claim in claims.collect::<Vec<_>>() {
        for row in claim.await.unwrap() {
            ids.insert(row.id);
            seen += 1;
        }
    }
    assert!(seen > 0 && ids.len() == seen, "{seen}");
}

pub async fn callbacks_are_listed_in_pages(database: &impl Database) {
    let store = open(database).await;
    for (name, number) in [("a", "1"), ("b", "2"), ("a", "3")] {
        store.submit(task(name, number)).await.unwrap();
        assert!(store.end(cancelled(&row(&*store, number).await)).await.unwrap());
    }
    let seen = callbacks_of(&*store, "3").await.remove(0);
    let delivery = Delivery { seen, attempt: attempt(), state: CallbackState::Acknowledged, next: None };
    store.record_delivery(delivery).await.unwrap();
    let list = async |filter: CallbackFilter, before, size| {
        let page = store.list_callbacks(filter, before, size).await.unwrap();
        (page.rows.into_iter().map(|row| row.task.0).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = list(CallbackFilter::default(), None, 2).await;
    assert_eq!(first, ["3", "2"]);
    assert_eq!(next, store.callback_place(key("b"), CallbackId("msg-2".into())).await.unwrap());
    assert_eq!(list(CallbackFilter::default(), next, 2).await, (vec!["1".to_owned()], None));
    let own = CallbackFilter { key: Some(key("a")), states: vec![CallbackState::Pending], task: None };
    assert_eq!(list(own, None, 9).await.0, ["1"]);
    assert_eq!(store.callback_place(key("a"), CallbackId("msg-2".into())).await.unwrap(), None);
}

/// The callbacks of a random case: key, origin, whether an attempt has failed, and when it is due.
type Case = Vec<(u8, u8, bool, u8)>;

/// Whatever waits: the limits hold, nothing that could be pushed is left, first attempts precede repeated ones, and keys
/// get equal shares.
pub fn callbacks_take_turns_in_any_situation<D: Database, F: Future<Output = Option<D>>>(empty: impl Fn() -> F) {
    take_turns(empty, false);
}

/// The same if a process claims them.
pub fn claimed_callbacks_take_turns_in_any_situation<D: Database, F: Future<Output = Option<D>>>(
    empty: impl Fn() -> F,
) {
    take_turns(empty, true);
}

fn take_turns<D: Database, F: Future<Output = Option<D>>>(empty: impl Fn() -> F, claims: bool) {
    let config = Config { failure_persistence: None, ..Config::with_cases(32) };
    let rows = prop::collection::vec((0..4u8, 0..3u8, any::<bool>(), 0..3u8), 0..40);
    let tested = TestRunner::new(config).run(&(rows, 1..12usize, 1..4usize), |(rows, at_once, per_origin)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if let Some(database) = empty().await {
                turns(&database, rows, at_once, per_origin, claims).await;
            }
        });
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

async fn turns(database: &impl Database, case: Case, at_once: usize, per_origin: usize, claims: bool) {
    let store = open(database).await;
    for (index, (key, origin, is_repeated, due)) in case.into_iter().enumerate() {
        let (key, origin) = (format!("k{key}"), format!("http://{origin}"));
        // At the last of these times it is not yet due.
        let due = later(i64::from(due));
        let row = pending(&*store, &key, &index.to_string(), &origin, due).await;
        if is_repeated {
            failed_once(&*store, row, due, Duration::from_millis(1)).await;
        }
    }
    let (mut attempts, mut turn) = (Vec::new(), Turn::default());
    // Attempts end one by one, and what is due takes their slots, until everything was pushed.
    let mut pushed = HashSet::new();
    for round in 0.. {
        let chosen = if claims {
            let claim = ClaimCallbacks {
                now: later(1),
                at_once_per_host: per_origin,
                turn: turn.clone(),
                ..claiming("me", at_once, HOUR)
            };
            store.claim_callbacks(claim).await.unwrap()
        } else {
            let under_way = UnderWay { attempts: attempts.clone(), turn: turn.clone(), ..slots(at_once, per_origin) };
            store.due_callbacks(later(1), under_way).await.unwrap()
        };
        for row in &chosen {
            assert!(pushed.insert(row.id.clone()), "{row:?} is pushed twice");
            turn.passed(&row.key, &row.origin);
        }
        let before = attempts.clone();
        attempts.extend(chosen.iter().map(InProgress::from));
        check(&*store, &before, &chosen, &attempts, at_once, per_origin).await;
        if attempts.is_empty() {
            break;
        }
        // It is acknowledged, and leaves the rows that are pending.
        let ended = attempts.remove(round % attempts.len());
        let rows = store.list_callbacks(CallbackFilter::default(), None, 100).await.unwrap().rows;
        let seen = rows.into_iter().find(|row| row.id == ended.callback).unwrap();
        let delivery = Delivery { seen, attempt: attempt(), state: CallbackState::Acknowledged, next: None };
        store.record_delivery(delivery).await.unwrap();
    }
}

async fn check(
    store: &dyn Store,
    before: &[InProgress],
    chosen: &[CallbackRow],
    attempts: &[InProgress],
    at_once: usize,
    per_origin: usize,
) {
    let (mut by_key, mut by_origin) = (HashMap::new(), HashMap::new());
    for InProgress { key, origin, .. } in attempts {
        *by_key.entry(key).or_insert(0) += 1;
        *by_origin.entry((key, origin)).or_insert(0) += 1;
    }
    assert!(attempts.len() <= at_once);
    assert!(by_origin.values().all(|count| *count <= per_origin), "{attempts:?}");
    // A key that was served holds at most half.
    assert!(chosen.iter().all(|row| by_key[&row.key] * 2 <= at_once + 1), "{attempts:?}");
    let free = at_once - attempts.len();
    let filter = CallbackFilter { states: vec![CallbackState::Pending], ..CallbackFilter::default() };
    let rows = store.list_callbacks(filter, None, 100).await.unwrap().rows;
    let is_taken = |row: &CallbackRow| attempts.iter().any(|attempt| attempt.callback == row.id);
    let is_due = |row: &CallbackRow| row.next_at.is_some_and(|at| at <= later(1));
    // What is left cannot be begun.
    for row in rows.iter().filter(|row| is_due(row) && !is_taken(row)) {
        let held = by_key.get(&row.key).copied().unwrap_or(0);
        let at_origin = by_origin.get(&(&row.key, &row.origin)).copied().unwrap_or(0);
        assert!(held >= free || at_origin >= per_origin, "{row:?} could be begun");
        // No key that was passed over holds fewer than another that was served, but for one.
        if at_origin < per_origin && row.rung == 0 {
            for other in chosen.iter().filter(|other| other.rung == 0) {
                let before = before.iter().filter(|attempt| attempt.key == other.key).count();
                let served = by_key[&other.key] - before;
                let own = chosen.iter().filter(|one| one.key == row.key && one.rung == 0).count();
                assert!(served <= own + 1 || held >= free, "{} beside {}", other.key, row.key);
            }
        }
    }
    // First attempts precede repeated ones.
    let stages: Vec<_> = chosen.iter().map(|row| row.rung > 0).collect();
    assert!(stages.is_sorted(), "{stages:?}");
}
