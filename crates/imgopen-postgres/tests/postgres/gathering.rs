//! Submits at once share statements, and none is worse off for it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use imgopen_postgres::{PostgresOptions, PostgresStore};
use imgopen_store::{Idempotency, KeyId, Moment, NewTask, Store, StoreError, Submitted, TaskId, TaskRow};
use serde_json::json;

use super::server::{empty, options};

/// A task with a value in every column that one may have that shares a statement.
fn task(name: &str) -> NewTask {
    NewTask {
        needs: format!("needs {name}\0"),
        caller_id: format!("caller {name}\u{1}"),
        options: Some(json!({"options": name})),
        plan: Some(json!([name])),
        callback_url: Some(format!("http://127.0.0.1:9/{name}")),
        ..NewTask::new(
            TaskId(name.to_owned()),
            KeyId("a".to_owned()),
            "enlarge_image",
            format!("{{\"{name}\":1}}"),
            Moment(7),
        )
    }
}

async fn at_once(store: &PostgresStore, tasks: &[NewTask]) -> Vec<Result<Submitted, StoreError>> {
    join_all(tasks.iter().map(|task| store.submit(task.clone()))).await
}

#[tokio::test]
async fn submits_at_once_share_commits_and_lose_nothing() {
    let Some(database) = empty().await else { return };
    let (store, client) = (database.store(&options()).await, database.client().await);
    let tasks: Vec<_> = (0..300).map(|number| task(&number.to_string())).collect();
    assert_eq!(at_once(&store, &tasks).await, vec![Ok(Submitted::New); 300]);
    for task in &tasks {
        let found = store.task(task.id.clone()).await.unwrap().unwrap();
        assert_eq!(TaskRow { seq: found.seq, ..task.row() }, found);
    }
    let sql = "SELECT count(*), count(DISTINCT xmin::text) FROM tasks";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (written, commits): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(written, 300);
    // Each of those that find nothing under way may begin alone.
    assert!(commits <= 30, "{commits} transactions");
}

#[tokio::test]
async fn a_submit_that_fails_is_no_matter_to_others() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    store.submit(task("taken")).await.unwrap();
    let odd = NewTask { request: "\0".to_owned(), ..task("odd") };
    for (name, bad) in [("first", task("taken")), ("second", odd)] {
        let mut tasks: Vec<_> = (0..10).map(|number| task(&format!("{name} {number}"))).collect();
        tasks.insert(5, bad);
        let answers = at_once(&store, &tasks).await;
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(*answer == Ok(Submitted::New), number != 5, "{number}: {answer:?}");
        }
    }
    assert_eq!(store.queue_length(100).await.unwrap(), 21);
}

/// What may be a repetition is decided alone.
#[tokio::test]
async fn repeated_submits_among_others_make_one_task() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    let mut tasks: Vec<_> = (0..10).map(|number| task(&number.to_string())).collect();
    for task in tasks.iter_mut().skip(5) {
        task.request = "{}".to_owned();
        task.idempotency = Some(Idempotency { key: "same".to_owned(), expires_at: Moment(1000) });
    }
    let answers = at_once(&store, &tasks).await;
    let new = answers.iter().filter(|answer| **answer == Ok(Submitted::New)).count();
    let again = answers.iter().filter(|answer| matches!(answer, Ok(Submitted::Again(_)))).count();
    assert_eq!((new, again), (6, 4));
    assert_eq!(store.queue_length(100).await.unwrap(), 6);
}

/// Nobody waits for one statement after the other of a server that is silent.
#[tokio::test]
async fn a_submit_that_waits_for_a_statement_fails_in_time() {
    let Some(database) = empty().await else { return };
    let (connect_timeout, call_timeout) = (Duration::from_secs(2), Duration::from_secs(6));
    let store = database.store(&PostgresOptions { connect_timeout, call_timeout, ..options() }).await;
    let mut locking = database.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // The first ones begin a statement each, which waits for the lock.
    let answers = join_all((0..20_u32).map(|number| {
        let store = &store;
        async move {
            tokio::time::sleep(number * Duration::from_millis(50)).await;
            let start = Instant::now();
            let error = store.submit(task(&number.to_string())).await.unwrap_err();
            (number, error.to_string(), start.elapsed())
        }
    }));
    let (early, late): (Vec<_>, Vec<_>) =
        answers.await.into_iter().partition(|(.., time)| *time < Duration::from_secs(5));
    assert!(early.iter().all(|(_, error, _)| error.contains("no statement began in time")), "{early:?}");
    assert!(late.iter().all(|(_, error, _)| error.contains("did not answer within 6s")), "{late:?}");
    assert!(early.len() >= 8 && !late.is_empty(), "{early:?} {late:?}");
    lock.rollback().await.unwrap();
    assert_eq!(store.submit(task("after")).await, Ok(Submitted::New));
    for (number, ..) in early {
        assert_eq!(store.task(TaskId(number.to_string())).await.unwrap(), None);
    }
}
