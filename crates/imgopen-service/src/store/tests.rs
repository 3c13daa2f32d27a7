//! The database on real files: what is written together, who gets what, and what is left as it was.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use rusqlite::Connection;
use tokio::sync::Barrier;

use super::*;
use crate::clock::Moment;
use crate::ids::{AssetToken, CallbackId, KeyId, TaskId};
use crate::output::TaskOutput;
use crate::state::State;
use crate::training::TrainingPlan;

const NOW: Moment = Moment(1_769_904_000_000);

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn key(name: &str) -> KeyId {
    KeyId(name.to_owned())
}

fn task(key_name: &str, id: &str) -> NewTask {
    NewTask {
        id: TaskId(id.to_owned()),
        key: key(key_name),
        operation: "enlarge_image",
        caller_id: format!("caller-{id}"),
        request: "{}".to_owned(),
        directives: None,
        callback_url: Some("http://127.0.0.1:9/done".to_owned()),
        created_at: NOW,
        remembered: Remembered::No,
        training: None,
    }
}

fn training(id: &str, caller_id: &str, request: &str) -> NewTask {
    let remembered = Remembered::ByCallerId;
    let (caller_id, request) = (caller_id.to_owned(), request.to_owned());
    NewTask { operation: "submit_training", caller_id, request, remembered, ..task("a", id) }
}

fn by_key(id: &str, idempotency_key: &str, now: Moment, end: Moment) -> NewTask {
    let remembered = Remembered::ByKey(idempotency_key.to_owned(), end);
    NewTask { remembered, created_at: now, ..task("a", id) }
}

fn pushed(task: &TaskRow) -> Option<NewCallback> {
    let url = task.callback_url.clone()?;
    let id = CallbackId(format!("msg-{}", task.id));
    Some(NewCallback { id, url, origin: "http://127.0.0.1:9".to_owned(), body: "{}".to_owned() })
}

fn picture(token: &str) -> NewAsset {
    NewAsset { token: AssetToken(token.to_owned()), media_type: "image/png", bytes: 7, expires_at: None }
}

async fn claimed(store: &Store, name: &str) -> TaskRow {
    store.claim(key(name), NOW).await.unwrap().unwrap()
}

async fn state(store: &Store, id: &str) -> State {
    store.task(TaskId(id.to_owned())).await.unwrap().unwrap().state
}

async fn callbacks_of(store: &Store, id: &str) -> Vec<CallbackRow> {
    store.list_callbacks(None, Some(TaskId(id.to_owned())), vec![], None, 10).await.unwrap().rows
}

async fn cancelled(store: &Store, name: &str, id: &str) -> Option<Result<(TaskRow, State), TaskRow>> {
    store.cancel(key(name), TaskId(id.to_owned()), None, NOW, pushed).await.unwrap()
}

/// Work that waits until the thread is let go, so that all that is written meanwhile lies in one batch behind it.
fn hold(store: &Store) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), StoreError>>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let store = store.clone();
    let held = tokio::spawn(async move {
        store
            .write(move |_| {
                let _ = wait.recv();
                Ok(())
            })
            .await
    });
    (go, held)
}

#[tokio::test]
async fn many_writes_at_once_are_all_there() {
    let (folder, store) = store();
    let ids: Vec<_> = (0..300).map(|number| format!("t{number}")).collect();
    let writes = ids.iter().map(|id| store.submit(task("a", id)));
    let kept = join_all(writes).await;
    assert!(kept.iter().all(|kept| matches!(kept, Ok(Submitted::New))));
    // What was answered is in the file, for whoever looks.
    let other = Connection::open(folder.path().join(open::FILE)).unwrap();
    let count: i64 = other.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 300);
    assert_eq!(store.queued().await.unwrap(), [(key("a"), 300)]);
}

#[tokio::test]
async fn work_that_fails_or_panics_takes_nothing_else_with_it() {
    let (_folder, store) = store();
    let (go, held) = hold(&store);
    tokio::task::yield_now().await;
    let before = store.submit(task("a", "before"));
    let failing = store.write(|connection| {
        connection.execute("DELETE FROM tasks", [])?;
        connection.execute("INSERT INTO missing VALUES (1)", [])?;
        Ok(())
    });
    let panicking = store.write::<()>(|connection| {
        connection.execute("DELETE FROM tasks", []).unwrap();
        panic!("asked for by the test")
    });
    let after = store.submit(task("a", "after"));
    let let_go = async { go.send(()).unwrap() };
    let (before, failing, panicking, after, ()) = tokio::join!(before, failing, panicking, after, let_go);
    held.await.unwrap().unwrap();
    assert_eq!((before.unwrap(), after.unwrap()), (Submitted::New, Submitted::New));
    let (failing, panicking) = (failing.unwrap_err().to_string(), panicking.unwrap_err().to_string());
    assert!(failing.contains("no such table"), "{failing}");
    assert!(panicking.contains("panicked"), "{panicking}");
    assert_eq!(store.queued().await.unwrap(), [(key("a"), 2)]);
    store.submit(task("a", "later")).await.unwrap();
}

/// A full disk ends the whole transaction. Nobody of it is told a success, and the next one is not drawn in.
#[tokio::test]
async fn a_transaction_that_is_gone_is_told_to_all_of_it_and_to_nobody_else() {
    let (_folder, store) = store();
    let (go, held) = hold(&store);
    tokio::task::yield_now().await;
    let before = store.submit(task("a", "before"));
    let ending = store.write::<()>(|connection| {
        connection.execute_batch("ROLLBACK")?;
        Err(StoreError::Database("the disk is full".to_owned()))
    });
    let after = store.submit(task("a", "after"));
    let let_go = async { go.send(()).unwrap() };
    let (before, ending, after, ()) = tokio::join!(before, ending, after, let_go);
    assert!(held.await.unwrap().is_err());
    assert!(before.is_err() && ending.is_err());
    assert_eq!(after.unwrap(), Submitted::New);
    assert_eq!(state(&store, "after").await, State::Queued);
    assert!(store.task(TaskId("before".into())).await.unwrap().is_none());
}

#[tokio::test]
async fn the_oldest_task_of_the_key_is_claimed() {
    let (_folder, store) = store();
    for (name, id) in [("a", "1"), ("b", "2"), ("a", "3")] {
        store.submit(task(name, id)).await.unwrap();
    }
    let first = claimed(&store, "a").await;
    assert_eq!((first.id.as_str(), first.state, first.attempt), ("1", State::Running, 1));
    assert_eq!(first.started_at, Some(NOW));
    assert_eq!(claimed(&store, "a").await.id.as_str(), "3");
    assert!(store.claim(key("a"), NOW).await.unwrap().is_none());
    assert_eq!(claimed(&store, "b").await.id.as_str(), "2");
}

#[tokio::test]
async fn claims_at_the_same_moment_share_nothing() {
    let (_folder, store) = store();
    join_all((0..40).map(|number| store.submit(task("a", &number.to_string())))).await;
    let rows = join_all((0..50).map(|_| store.claim(key("a"), NOW))).await;
    let ids: Vec<_> = rows.into_iter().filter_map(|row| row.unwrap()).map(|row| row.id).collect();
    assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (40, 40));
}

#[tokio::test]
async fn a_run_that_is_over_changes_nothing() {
    let (_folder, store) = store();
    store.submit(task("a", "1")).await.unwrap();
    let stale = claimed(&store, "a").await;
    assert_eq!(store.recover(3, NOW, pushed).await.unwrap(), (1, 0));
    let finish = async |run: &TaskRow, token: &str| {
        let ending = Ending::Succeeded(TaskOutput::default(), vec![picture(token)]);
        store.finish(run, Some(("lanczos".to_owned(), "classical")), ending, NOW, pushed).await
    };
    // Queued again, then in a run of its own: the first run has no say in either.
    assert_eq!(finish(&stale, "stale.png").await.unwrap(), None);
    let current = claimed(&store, "a").await;
    assert_eq!(current.attempt, 2);
    assert_eq!(finish(&stale, "stale.png").await.unwrap(), None);
    assert!(store.asset(AssetToken("stale.png".into())).await.unwrap().is_none());
    assert!(callbacks_of(&store, "1").await.is_empty());

    let ended = finish(&current, "good.png").await.unwrap().unwrap();
    assert_eq!((ended.state, ended.engine.as_deref()), (State::Succeeded, Some("lanczos")));
    assert!(store.asset(AssetToken("good.png".into())).await.unwrap().is_some());
    assert_eq!(finish(&current, "twice.png").await.unwrap(), None);
    assert_eq!(callbacks_of(&store, "1").await.len(), 1);
    assert!(store.asset(AssetToken("twice.png".into())).await.unwrap().is_none());
}

#[tokio::test]
async fn an_end_that_cannot_be_written_whole_is_not_written_at_all() {
    let (_folder, store) = store();
    for id in ["1", "2"] {
        store.submit(task("a", id)).await.unwrap();
    }
    let (first, second) = (claimed(&store, "a").await, claimed(&store, "a").await);
    let ending = || Ending::Succeeded(TaskOutput::default(), vec![picture("same.png")]);
    store.finish(&first, None, ending(), NOW, pushed).await.unwrap().unwrap();
    assert!(store.finish(&second, None, ending(), NOW, pushed).await.is_err());
    assert_eq!(state(&store, "2").await, State::Running);
    assert!(callbacks_of(&store, "2").await.is_empty());
}

#[tokio::test]
async fn a_task_is_cancelled_until_it_has_ended() {
    let (_folder, store) = store();
    for id in ["queued", "running", "failed"] {
        store.submit(task(id, id)).await.unwrap();
    }
    claimed(&store, "running").await;
    let failed = claimed(&store, "failed").await;
    store.finish(&failed, None, Ending::Failed("no".into()), NOW, pushed).await.unwrap().unwrap();

    let (task, before) = cancelled(&store, "queued", "queued").await.unwrap().unwrap();
    assert_eq!((task.state, before, task.finished_at), (State::Cancelled, State::Queued, Some(NOW)));
    let (task, before) = cancelled(&store, "running", "running").await.unwrap().unwrap();
    assert_eq!((task.state, before), (State::Cancelled, State::Running));
    assert!(store.claim(key("queued"), NOW).await.unwrap().is_none());
    for id in ["queued", "running", "failed"] {
        let ended = cancelled(&store, id, id).await.unwrap().unwrap_err();
        assert!(ended.state.is_final(), "{id}");
        assert_eq!(callbacks_of(&store, id).await.len(), 1, "{id}");
    }
    // Another key's task is none.
    assert!(cancelled(&store, "failed", "queued").await.is_none());
    assert!(cancelled(&store, "failed", "unknown").await.is_none());
}

#[tokio::test]
async fn a_run_that_is_handed_back_does_not_count() {
    let (_folder, store) = store();
    store.submit(task("a", "1")).await.unwrap();
    let run = claimed(&store, "a").await;
    store.hand_back(&run).await.unwrap();
    let waiting = store.task(TaskId("1".into())).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.attempt, waiting.started_at), (State::Queued, 0, None));
    let run = claimed(&store, "a").await;
    assert_eq!(run.attempt, 1);
    cancelled(&store, "a", "1").await.unwrap().unwrap();
    store.hand_back(&run).await.unwrap();
    assert_eq!(state(&store, "1").await, State::Cancelled);
}

#[tokio::test]
async fn what_a_killed_process_left_is_queued_again_until_it_was_tried_enough() {
    let (_folder, store) = store();
    for id in ["1", "2"] {
        store.submit(task("a", id)).await.unwrap();
    }
    for expected in [(1, 0), (1, 0)] {
        assert_eq!(claimed(&store, "a").await.id.as_str(), "1");
        assert_eq!(store.recover(3, NOW, pushed).await.unwrap(), expected);
        assert_eq!(state(&store, "1").await, State::Queued);
    }
    claimed(&store, "a").await;
    claimed(&store, "a").await;
    assert_eq!(store.recover(3, NOW, pushed).await.unwrap(), (1, 1));
    assert_eq!((state(&store, "1").await, state(&store, "2").await), (State::Failed, State::Queued));
    let failed = store.task(TaskId("1".into())).await.unwrap().unwrap();
    assert!(failed.failure.unwrap().contains("3 times"));
    assert_eq!((callbacks_of(&store, "1").await.len(), callbacks_of(&store, "2").await.len()), (1, 0));
    assert_eq!(store.recover(3, NOW, pushed).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn an_idempotency_key_holds_until_its_end() {
    let (_folder, store) = store();
    let end = Moment(NOW.0 + 1000);
    assert_eq!(store.submit(by_key("1", "k", NOW, end)).await.unwrap(), Submitted::New);
    let last = Moment(end.0 - 1);
    match store.submit(by_key("2", "k", last, end)).await.unwrap() {
        Submitted::Again(earlier) => assert_eq!(earlier.id.as_str(), "1"),
        other => panic!("{other:?}"),
    }
    let other_body = NewTask { request: r#"{"scale":2}"#.into(), ..by_key("3", "k", last, end) };
    assert!(matches!(store.submit(other_body.clone()).await.unwrap(), Submitted::Conflict(_)));
    assert!(matches!(store.repeated(other_body).await.unwrap(), Some(Submitted::Conflict(_))));
    // Another key of access has idempotency keys of its own.
    let stranger = NewTask { key: key("b"), ..by_key("4", "k", NOW, end) };
    assert!(store.repeated(stranger.clone()).await.unwrap().is_none());
    assert_eq!(store.submit(stranger).await.unwrap(), Submitted::New);
    // At its end it is as if it had never been, whether the row was removed or not.
    let again = NewTask { request: "[]".into(), ..by_key("5", "k", end, Moment(end.0 + 1000)) };
    assert_eq!(store.submit(again).await.unwrap(), Submitted::New);
    assert_eq!(store.forget(Moment(end.0 + 999)).await.unwrap(), 1);
    assert_eq!(store.forget(Moment(end.0 + 1000)).await.unwrap(), 1);
    assert!(store.repeated(by_key("6", "k", NOW, end)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_same_trainings_is_new() {
    let (_folder, store) = store();
    let start = Arc::new(Barrier::new(20));
    let submits = (0..20).map(|number| {
        let (store, start) = (store.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            store.submit(training(&format!("t{number}"), "lora", "{}")).await.unwrap()
        })
    });
    let outcomes: Vec<_> = join_all(submits).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let new = outcomes.iter().filter(|outcome| **outcome == Submitted::New).count();
    let again = outcomes.iter().filter(|outcome| matches!(outcome, Submitted::Again(_))).count();
    assert_eq!((new, again), (1, 19));
    let other = store.submit(training("other", "lora", "[]")).await.unwrap();
    assert!(matches!(other, Submitted::Conflict(_)));
    // The id is another operation's to use, and another key's.
    let tool = NewTask { caller_id: "lora".into(), ..task("a", "tool") };
    assert_eq!(store.submit(tool).await.unwrap(), Submitted::New);
    let stranger = NewTask { key: key("b"), ..training("b", "lora", "{}") };
    assert_eq!(store.submit(stranger).await.unwrap(), Submitted::New);
}

#[tokio::test]
async fn a_redelivery_outlives_the_try_that_was_under_way() {
    let (_folder, store) = store();
    store.submit(task("a", "1")).await.unwrap();
    cancelled(&store, "a", "1").await.unwrap().unwrap();
    let under_way = callbacks_of(&store, "1").await.remove(0);
    let later = Moment(NOW.0 + 5);
    store.redeliver(Some(key("a")), under_way.id.clone(), later).await.unwrap().unwrap();
    let outcome = Try { number: 0, started_at: NOW, duration_ms: 3, http_status: None, outcome: "no".into() };
    store.record_try(&under_way, outcome.clone(), CallbackState::Abandoned, None).await.unwrap();
    let after = callbacks_of(&store, "1").await.remove(0);
    assert_eq!((after.state, after.rung, after.next_at), (CallbackState::Pending, 0, Some(later)));
    assert_eq!(after.tries.iter().map(|one| one.number).collect::<Vec<_>>(), [1]);
    store.record_try(&after, outcome, CallbackState::Abandoned, None).await.unwrap();
    let after = callbacks_of(&store, "1").await.remove(0);
    assert_eq!((after.state, after.rung, after.next_at), (CallbackState::Abandoned, 1, None));
    assert_eq!(after.tries.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2]);
    assert!(store.redeliver(Some(key("b")), after.id, later).await.unwrap().is_none());
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let (folder, store) = store();
    drop(store);
    let path = folder.path().join(open::FILE);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    match Store::open(folder.path()) {
        Err(StoreError::Layout { found: 3, known: 2 }) => {}
        other => panic!("{other:?}"),
    }
    let version: i64 = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 3);
}

#[tokio::test]
async fn a_database_of_an_older_program_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join(open::FILE)).unwrap();
    connection.execute_batch(include_str!("layout_1.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO tasks (id, key_id, operation, caller_id, request, state, created_at)
             VALUES ('1', 'a', 'submit_training', 'lora', '{}', 'queued', 7);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    let store = Store::open(folder.path()).unwrap();
    let earlier = store.task(TaskId("1".to_owned())).await.unwrap().unwrap();
    assert_eq!((earlier.caller_id.as_str(), earlier.training), ("lora", None));
    let plan = TrainingPlan { folder: "datasets/2".into(), command: vec!["a".into(), "b c".into()], base_model: None };
    store.submit(NewTask { training: Some(plan.clone()), ..training("2", "other", "{}") }).await.unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.task(TaskId("2".to_owned())).await.unwrap().unwrap().training, Some(plan));
}

#[tokio::test]
async fn readers_cannot_write_and_do_not_wait_for_the_writer() {
    let (_folder, store) = store();
    let refused = store.read(|connection| Ok(connection.execute("DELETE FROM tasks", [])?)).await;
    assert!(refused.unwrap_err().to_string().contains("readonly"));
    let (go, held) = hold(&store);
    tokio::task::yield_now().await;
    assert!(store.queued().await.unwrap().is_empty());
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    // One that panics costs its own answer.
    assert!(store.read::<()>(|_| panic!("asked for by the test")).await.is_err());
    let more = join_all((0..20).map(|_| store.queued())).await;
    assert!(more.into_iter().all(|rows| rows.unwrap().is_empty()));
}

#[test]
fn several_open_a_new_file_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| Store::open(path).map(drop);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(folder.path()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(outcomes.iter().all(|outcome| outcome.is_ok()), "{outcomes:?}");
    }
}
