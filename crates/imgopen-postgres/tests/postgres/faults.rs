//! What a server does that is stopped, busy, silent, or not the right one.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use imgopen_postgres::{PostgresOptions, PostgresStore};
use imgopen_store::{
    Claim, End, Ending, KeyId, Moment, NewTask, Note, OwnerAbout, OwnerId, RunId, State, Store, StoreError, Submitted,
    TaskFilter, TaskId,
};
use tokio_postgres::Client;

use super::server::{Fresh, empty, options};

fn task(name: &str) -> NewTask {
    NewTask::new(TaskId(name.to_owned()), KeyId("a".to_owned()), "enlarge_image", "{}", Moment(7))
}

/// Ends the connections of stores, those alone that wait for a lock if asked. Returns how many there were.
async fn terminate(client: &Client, waiting: bool) -> i64 {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'imgopen'
                 AND (NOT $1 OR wait_event_type = 'Lock')";
    client.query_one(sql, &[&waiting]).await.unwrap().get(0)
}

/// Waits until a call of a store waits for a lock, and ends its connection.
async fn terminate_waiting(client: &Client) {
    let start = Instant::now();
    while terminate(client, true).await == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing waits for the lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn connections_that_were_ended_are_replaced() {
    let Some(database) = empty().await else { return };
    let (store, client) = (database.store(&options()).await, database.client().await);
    store.submit(task("before")).await.unwrap();
    for _ in 0..20 {
        // At least one connection is idle between two calls.
        let found = futures_util::future::join_all((0..4).map(|_| store.last_place())).await;
        assert!(found.iter().all(|place| *place == Ok(1)), "{found:?}");
        assert!(terminate(&client, false).await > 0);
        assert_eq!(store.last_place().await, Ok(1));
    }
    // A write that meets a connection whose end was not yet noticed looks whether it was carried out, and is repeated.
    assert_eq!(store.submit(task("first")).await, Ok(Submitted::New));
    assert_eq!(store.queued().await.unwrap().first().map(|lane| lane.count), Some(2));
}

/// Keeps every process from the tasks.
const LOCK: &str = "LOCK TABLE tasks, notes IN ACCESS EXCLUSIVE MODE";

#[tokio::test]
async fn a_call_whose_connection_was_ended_is_carried_out_once() {
    let Some(database) = empty().await else { return };
    let (store, client) = (database.store(&options()).await, database.client().await);
    store.register_owner(OwnerId("me".to_owned()), None, OwnerAbout::default()).await.unwrap();
    let mut locking = database.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let submit = tokio::spawn({
        let store = store.clone();
        async move { store.submit(task("1")).await }
    });
    terminate_waiting(&client).await;
    lock.rollback().await.unwrap();
    assert_eq!(submit.await.unwrap(), Ok(Submitted::New));

    let lock = locking.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let claim = Claim {
        key: KeyId("a".to_owned()),
        needs: "enlarge_image".to_owned(),
        run: RunId::new().unwrap(),
        owner: OwnerId("me".to_owned()),
        now: Moment(8),
        only: None,
    };
    let claimed = tokio::spawn({
        let (store, claim) = (store.clone(), claim.clone());
        async move { store.claim(claim).await }
    });
    terminate_waiting(&client).await;
    lock.rollback().await.unwrap();
    let running = claimed.await.unwrap().unwrap().unwrap();
    assert_eq!((running.attempt, running.run.clone()), (1, Some(claim.run)));

    let lock = locking.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let ended = running.clone().ended(Ending::Failed("no".to_owned()), None, Moment(9));
    let end = End { before: State::Running, task: ended.clone(), assets: vec![], callback: None, orphans_run: false };
    let ending = tokio::spawn({
        let store = store.clone();
        async move { store.end(end).await }
    });
    terminate_waiting(&client).await;
    lock.rollback().await.unwrap();
    assert_eq!(ending.await.unwrap(), Ok(true));
    assert_eq!(store.task(ended.id.clone()).await.unwrap(), Some(ended));
}

/// Submits at once share a connection, and all of them are carried out by another one.
#[tokio::test]
async fn submits_whose_shared_connection_was_ended_are_carried_out_once() {
    let Some(database) = empty().await else { return };
    let (store, client) = (database.store(&options()).await, database.client().await);
    let mut locking = database.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let submits = tokio::spawn({
        let store = store.clone();
        async move { join_all((0..20).map(|number| store.submit(task(&number.to_string())))).await }
    });
    terminate_waiting(&client).await;
    lock.rollback().await.unwrap();
    assert_eq!(submits.await.unwrap(), vec![Ok(Submitted::New); 20]);
    assert_eq!(store.queued().await.unwrap()[0].count, 20);
}

/// The answer of a commit may be lost. What was carried out is found by the ids that the caller chose.
#[tokio::test]
async fn what_was_carried_out_is_found_by_its_ids() {
    let Some(database) = empty().await else { return };
    let (store, client) = (database.store(&options()).await, database.client().await);
    store.register_owner(OwnerId("me".to_owned()), None, OwnerAbout::default()).await.unwrap();
    for name in ["1", "2"] {
        store.submit(task(name)).await.unwrap();
    }
    // A run is that of one task, so a claim that is repeated takes no second one.
    let claim = Claim {
        key: KeyId("a".to_owned()),
        needs: "enlarge_image".to_owned(),
        run: RunId::new().unwrap(),
        owner: OwnerId("me".to_owned()),
        now: Moment(8),
        only: None,
    };
    let running = store.claim(claim.clone()).await.unwrap().unwrap();
    let error = store.claim(claim.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    assert_eq!(store.claimed(claim.owner.clone(), claim.run.clone()).await.unwrap(), Some(running));
    // The same after the connection of the repetition was ended.
    let mut locking = database.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let repeated = tokio::spawn({
        let (store, claim) = (store.clone(), claim.clone());
        async move { store.claim(claim).await }
    });
    terminate_waiting(&client).await;
    lock.rollback().await.unwrap();
    assert_eq!(repeated.await.unwrap().unwrap().unwrap().run, Some(claim.run));
    assert_eq!(store.queued().await.unwrap()[0].count, 1);
}

#[tokio::test]
async fn a_call_that_stays_in_doubt_may_be_done() {
    let Some(database) = empty().await else { return };
    let short = PostgresOptions { lock_timeout: Duration::from_secs(2), ..options() };
    let (store, client) = (database.store(&short).await, database.client().await);
    let mut locking = database.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let submit = tokio::spawn({
        let store = store.clone();
        async move { store.submit(task("1")).await }
    });
    terminate_waiting(&client).await;
    // The repetition waits in vain, and does not know what became of the first try.
    let error = submit.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert!(error.may_be_done() && error.may_pass(), "{error}");
    lock.rollback().await.unwrap();
    assert_eq!(store.task(TaskId("1".to_owned())).await.unwrap(), None);
}

#[tokio::test]
async fn a_lock_that_is_held_fails_a_write_in_time_and_nothing_is_done() {
    let Some(database) = empty().await else { return };
    let mut locking = database.client().await;
    for (lock_timeout, statement_timeout) in [(200, 60_000), (60_000, 200)] {
        let store = database
            .store(&PostgresOptions {
                lock_timeout: Duration::from_millis(lock_timeout),
                statement_timeout: Duration::from_millis(statement_timeout),
                ..options()
            })
            .await;
        let lock = locking.transaction().await.unwrap();
        lock.batch_execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let error = store.submit(task("1")).await.unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }) && !error.may_be_done(), "{error}");
        lock.rollback().await.unwrap();
        assert_eq!(store.task(TaskId("1".to_owned())).await.unwrap(), None);
        store.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_fails_a_call_in_time_and_its_connection_is_closed() {
    let Some(database) = empty().await else { return };
    let one = PostgresOptions { connections: 1, call_timeout: Duration::from_secs(1), ..options() };
    let store = database.store(&one).await;
    let mut locking = database.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let start = Instant::now();
    let error = store.submit(task("1")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable { problem, .. } if problem.contains("within 1s")), "{error}");
    assert!(error.may_be_done() && start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    // The only connection would still wait for the lock.
    store.set_note(Note::LastSeen, 5).await.unwrap();
    lock.rollback().await.unwrap();
    store.ready().await.unwrap();
}

/// As a host does whose packets are dropped, or that is stopped: it accepts connections and says nothing.
#[tokio::test]
async fn a_server_that_is_silent_keeps_nobody_from_the_others_of_its_url() {
    let Some(database) = empty().await else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = database.url();
    let (user, rest) = url.split_once('@').unwrap();
    let joined = if rest.contains('?') { '&' } else { '?' };
    let url = format!("{user}@{},{rest}{joined}sslmode=disable", silent.local_addr().unwrap());
    let short = PostgresOptions { connect_timeout: Duration::from_secs(4), ..options() };
    let (client, start) = (database.client().await, Instant::now());
    let store = PostgresStore::open(&url, &short).await.unwrap();
    let opened = start.elapsed();
    assert!(opened > Duration::from_millis(1900), "{opened:?}");
    // From then on the one that answered is asked first.
    for _ in 0..3 {
        terminate(&client, false).await;
        let start = Instant::now();
        assert_eq!(store.last_place().await, Ok(0));
        assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    }
    let mut bell = store.doorbell().unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), bell.next()).await;
    assert!(matches!(heard, Ok(Some(_))), "{heard:?}");
}

/// While a service is upgraded, processes of both versions use one database.
#[tokio::test]
async fn a_newer_layout_is_used_if_it_says_so_and_else_refused_by_its_number() {
    let Some(database) = empty().await else { return };
    let older = database.store(&options()).await;
    let client = database.client().await;
    // As the next version would: a column that it alone writes, and that has a default for those that do not know it.
    let additive = "ALTER TABLE tasks ADD COLUMN mood text NOT NULL DEFAULT 'calm';
                    UPDATE layout SET version = 2, since_version = 1";
    older.last_place().await.unwrap();
    client.batch_execute(additive).await.unwrap();
    let started_later = database.store(&options()).await;
    for (name, store) in [("1", &older), ("2", &started_later)] {
        assert_eq!(store.submit(task(name)).await.unwrap(), Submitted::New);
        let page = store.list_tasks(KeyId("a".to_owned()), TaskFilter::default(), None, 9).await.unwrap();
        assert_eq!(page.rows.first().map(|task| task.id.as_str()), Some(name));
    }
    let layout = "SELECT version, since_version FROM layout";
    let row = client.query_one(layout, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 1));
    client.batch_execute("UPDATE layout SET version = 99, since_version = 98").await.unwrap();
    let error = PostgresStore::open(&database.url(), &options()).await.unwrap_err();
    assert!(matches!(error, StoreError::Layout { found: 99, known: 1, .. }), "{error}");
    assert!(error.to_string().contains(&database.name), "{error}");
    let version: i64 = client.query_one(layout, &[]).await.unwrap().get(0);
    assert_eq!(version, 99);
    // What runs goes on.
    older.ready().await.unwrap();
}

#[tokio::test]
async fn what_an_operator_can_change_is_said() {
    let Some(database) = empty().await else { return };
    let error = async |url: &str| PostgresStore::open(url, &options()).await.unwrap_err();
    let missing = error(&database.url().replace(&database.name, "imgopen_missing")).await;
    assert!(matches!(&missing, StoreError::Access { fix, .. } if fix.contains("createdb")), "{missing}");
    let closed = error("postgres://me:secret@127.0.0.1:1/x?sslmode=disable").await;
    assert!(matches!(&closed, StoreError::Unreachable { .. }), "{closed}");
    assert!(
        closed.to_string().contains("postgres://127.0.0.1:1/x") && !closed.to_string().contains("secret"),
        "{closed}"
    );
    let ascii = Fresh::with("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0").await.unwrap();
    let encoding = error(&ascii.url()).await;
    assert!(matches!(&encoding, StoreError::Access { problem, .. } if problem.contains("SQL_ASCII")), "{encoding}");
}
