//! What is specific to SQLite: batches, files, layouts. The conformance suite tests what every store does.

use futures_util::future::join_all;

use super::*;
use crate::State;

fn store() -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    (directory, store)
}

fn task(name: &str) -> NewTask {
    NewTask::new(TaskId(name.to_owned()), KeyId("a".to_owned()), "enlarge_image", "{}", Moment(7))
}

async fn queued(store: &SqliteStore) -> usize {
    store.queued().await.unwrap().iter().map(|lane| lane.count).sum()
}

/// Work that blocks the writer's thread until it is released, so that all writes meanwhile are in one batch.
fn hold(store: &SqliteStore) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), StoreError>>) {
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
async fn work_that_fails_or_panics_undoes_only_itself() {
    let (_directory, store) = store();
    let (go, held) = hold(&store);
    tokio::task::yield_now().await;
    let before = store.submit(task("before"));
    let failing = store.write(|connection| {
        connection.execute("DELETE FROM tasks", [])?;
        connection.execute("INSERT INTO missing VALUES (1)", [])?;
        Ok(())
    });
    let panicking = store.write::<()>(|connection| {
        connection.execute("DELETE FROM tasks", []).unwrap();
        panic!("asked for by the test")
    });
    let after = store.submit(task("after"));
    let let_go = async { go.send(()).unwrap() };
    let (before, failing, panicking, after, ()) = tokio::join!(before, failing, panicking, after, let_go);
    held.await.unwrap().unwrap();
    assert_eq!((before.unwrap(), after.unwrap()), (Submitted::New, Submitted::New));
    let (failing, panicking) = (failing.unwrap_err(), panicking.unwrap_err());
    assert!(matches!(&failing, StoreError::Failed { problem, .. } if problem.contains("no such table")), "{failing}");
    assert!(panicking.to_string().contains("panicked"), "{panicking}");
    assert_eq!(queued(&store).await, 2);
    store.submit(task("later")).await.unwrap();
}

/// A full disk ends the whole transaction. None of its callers gets a success, and the next transaction is not affected.
#[tokio::test]
async fn a_transaction_that_is_lost_is_an_error_to_all_of_it_and_to_no_other() {
    let (_directory, store) = store();
    let (go, held) = hold(&store);
    tokio::task::yield_now().await;
    let before = store.submit(task("before"));
    let ending = store.write::<()>(|connection| {
        connection.execute_batch("ROLLBACK")?;
        Err(Problem::failed("the disk is full"))
    });
    let after = store.submit(task("after"));
    let let_go = async { go.send(()).unwrap() };
    let (before, ending, after, ()) = tokio::join!(before, ending, after, let_go);
    assert!(held.await.unwrap().is_err());
    assert!(before.is_err() && ending.is_err());
    assert_eq!(after.unwrap(), Submitted::New);
    assert_eq!(store.task(TaskId("after".into())).await.unwrap().unwrap().state, State::Queued);
    assert!(store.task(TaskId("before".into())).await.unwrap().is_none());
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let (directory, store) = store();
    drop(store);
    let path = directory.path().join(SqliteStore::FILE);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", open::KNOWN + 1).unwrap();
    match SqliteStore::open(directory.path()) {
        Err(StoreError::Layout { found, known, path }) => {
            assert_eq!((found, known), (open::KNOWN + 1, open::KNOWN));
            assert!(path.ends_with(SqliteStore::FILE));
        }
        other => panic!("{other:?}"),
    }
    let version: i64 = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, open::KNOWN + 1);
}

#[tokio::test]
async fn a_database_of_an_older_program_is_migrated() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(directory.path().join(SqliteStore::FILE)).unwrap();
    connection.execute_batch(include_str!("layout_1.sql")).unwrap();
    connection
        .execute_batch(
            r#"INSERT INTO tasks (id, key_id, operation, caller_id, request, directives, state, created_at) VALUES
             ('1', 'a', 'submit_training', 'lora', '{}', NULL, 'queued', 7),
             ('2', 'a', 'text_to_image', '', '{"alwayson_scripts":{"sd_model_checkpoint":"m:1"}}', 'say "hi"', 'running', 7),
             ('3', 'a', 'enlarge_image', '', 'not JSON', NULL, 'queued', 7);
             PRAGMA user_version = 1;"#,
        )
        .unwrap();
    drop(connection);
    let store = SqliteStore::open(directory.path()).unwrap();
    let row = async |name: &str| store.task(TaskId(name.to_owned())).await.unwrap().unwrap();
    let training = row("1").await;
    assert_eq!(
        (training.caller_id.as_str(), &training.plan, training.needs.as_str()),
        ("lora", &None, "submit_training")
    );
    let generation = row("2").await;
    assert_eq!(generation.options, Some(serde_json::json!({"sandbox": "say \"hi\""})));
    assert_eq!((generation.needs.as_str(), generation.run), ("sandbox/text_to_image:m:1", None));
    assert_eq!(row("3").await.needs, "enlarge_image");
    // A clock that is wrong at the first start is compared with the newest row.
    assert_eq!(store.note(Note::LastSeen).await.unwrap(), Some(7));
    // The id of the training is still unique.
    let again = NewTask { operation: "submit_training", caller_id: "lora".into(), unique_id: true, ..task("4") };
    assert!(matches!(store.submit(again).await.unwrap(), Submitted::Again(earlier) if earlier.id.as_str() == "1"));
    // A run without an owner is recovered under either proof.
    store.register_owner(OwnerId("me".into()), None, OwnerAbout::default()).await.unwrap();
    let proof = crate::Proof::Lease { healthy_for: std::time::Duration::from_secs(60) };
    let recovery = Recovery { me: OwnerId("me".into()), proof, attempts: 3.into(), now: Moment(8) };
    let recovered = store.recover(recovery).await.unwrap();
    assert_eq!(recovered.requeued.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["2"]);
}

/// Rows of earlier layouts count, and so do rows that something else than the store writes.
#[tokio::test]
async fn the_database_keeps_the_sum_of_its_assets() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(directory.path().join(SqliteStore::FILE)).unwrap();
    for layout in [include_str!("layout_1.sql"), include_str!("layout_2.sql"), include_str!("layout_3.sql")] {
        connection.execute_batch(layout).unwrap();
    }
    let rows = "INSERT INTO assets (token, task_id, media_type, bytes, created_at, deleted_at) VALUES
                ('a', 't', 'image/png', 5, 7, NULL), ('b', 't', 'image/png', 70, 7, 8), ('c', 't', 'image/png', 11, 7, NULL);
                INSERT INTO tasks (id, key_id, operation, caller_id, request, state, created_at) VALUES
                ('t', 'a', 'enlarge_image', '', '{}', 'succeeded', 7);
                PRAGMA user_version = 3;";
    connection.execute_batch(rows).unwrap();
    drop(connection);
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.asset_bytes().await.unwrap(), 16);
    assert_eq!(store.kept_bytes(KeyId("a".into())).await.unwrap(), 16);
    for (change, sum) in [
        (
            "INSERT INTO assets (token, task_id, media_type, bytes, created_at)
             SELECT token || 'x', task_id, media_type, 100, 7 FROM assets",
            316,
        ),
        ("UPDATE assets SET bytes = bytes + 1", 321),
        ("UPDATE assets SET deleted_at = 9 WHERE token = 'a' OR token = 'b'", 315),
        ("UPDATE assets SET deleted_at = NULL WHERE token = 'b'", 386),
        ("DELETE FROM assets WHERE token = 'a' OR token = 'c'", 374),
        ("DELETE FROM assets", 0),
    ] {
        store.write(move |connection| Ok(connection.execute(change, [])?)).await.unwrap();
        assert_eq!(store.asset_bytes().await.unwrap(), sum, "{change}");
        assert_eq!(store.kept_bytes_by_key().await.unwrap(), [(KeyId("a".into()), sum)], "{change}");
    }
}

#[tokio::test]
async fn readers_cannot_write_and_do_not_wait_for_the_writer() {
    let (_directory, store) = store();
    let rejected = store.read(|connection| Ok(connection.execute("DELETE FROM tasks", [])?)).await;
    let rejected = rejected.unwrap_err();
    assert!(matches!(&rejected, StoreError::Unusable { problem, .. } if problem.contains("readonly")), "{rejected}");
    let (go, held) = hold(&store);
    tokio::task::yield_now().await;
    assert_eq!(queued(&store).await, 0);
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    // A panic fails only its own call.
    assert!(store.read::<()>(|_| panic!("asked for by the test")).await.is_err());
    let more = join_all((0..20).map(|_| queued(&store))).await;
    assert_eq!(more, [0; 20]);
}

#[test]
fn errors_say_what_can_be_done() {
    let error = |code| Problem::from(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)).at("/d/db");
    assert!(matches!(error(rusqlite::ffi::SQLITE_BUSY), StoreError::Busy { .. }));
    assert!(matches!(error(rusqlite::ffi::SQLITE_IOERR), StoreError::Unusable { .. }));
    assert!(matches!(error(rusqlite::ffi::SQLITE_CONSTRAINT), StoreError::Failed { .. }));
    let full = error(rusqlite::ffi::SQLITE_FULL).to_string();
    assert!(
        full.starts_with("the disk of the database /d/db is full: ") && full.ends_with("; free some space"),
        "{full}"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(SqliteStore::FILE);
    std::fs::write(&path, "no database, but long enough to be taken for one ".repeat(20)).unwrap();
    let error = SqliteStore::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
}

#[test]
fn several_open_a_new_file_at_once() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let open = |path: &Path| SqliteStore::open(path).map(drop);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(directory.path()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(outcomes.iter().all(|outcome| outcome.is_ok()), "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_closed_database_is_one_complete_file() {
    let (directory, store) = store();
    for number in 0..20 {
        store.submit(task(&number.to_string())).await.unwrap();
    }
    // Another process reads now and then, so that the log is not deleted.
    let other = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(queued(&other).await, 20);
    store.close().await.unwrap();
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join(SqliteStore::FILE), alone.path().join(SqliteStore::FILE)).unwrap();
    assert_eq!(queued(&SqliteStore::open(alone.path()).unwrap()).await, 20);
    assert_eq!(queued(&other).await, 20);
    other.close().await.unwrap();
    let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), [SqliteStore::FILE]);
}

#[tokio::test]
async fn nothing_is_written_into_a_file_that_was_deleted_or_replaced() {
    for suffix in ["", "-wal"] {
        let (directory, store) = store();
        store.submit(task("before")).await.unwrap();
        store.ready().await.unwrap();
        let file = directory.path().join(format!("{}{suffix}", SqliteStore::FILE));
        let aside = directory.path().join("aside");
        std::fs::rename(&file, &aside).unwrap();
        let lost = store.submit(task("lost")).await.unwrap_err();
        assert!(matches!(&lost, StoreError::Lost { problem, .. } if problem.contains("deleted")), "{lost}");
        assert!(matches!(store.ready().await.unwrap_err(), StoreError::Lost { .. }));
        std::fs::copy(&aside, &file).unwrap();
        assert!(matches!(store.submit(task("lost")).await.unwrap_err(), StoreError::Lost { .. }));
        // Put back, it is the same file again.
        std::fs::rename(&aside, &file).unwrap();
        store.submit(task("after")).await.unwrap();
        assert_eq!(queued(&store).await, 2);
    }
}

/// Work that keeps a reader busy until it is released, so that other work needs another one. Returns once it has begun.
async fn keep_reading(
    store: &SqliteStore,
) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), StoreError>>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let store = store.clone();
    let kept = tokio::spawn(async move {
        store
            .read(move |_| {
                began.send(()).unwrap();
                let _ = wait.recv();
                Ok(())
            })
            .await
    });
    begun.await.unwrap();
    (go, kept)
}

#[tokio::test]
async fn nothing_is_read_from_a_file_that_took_the_place_of_the_database() {
    let (directory, store) = store();
    store.submit(task("before")).await.unwrap();
    let (elsewhere, other) = self::store();
    other.close().await.unwrap();
    let (file, aside) = (directory.path().join(SqliteStore::FILE), directory.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    std::fs::copy(elsewhere.path().join(SqliteStore::FILE), &file).unwrap();
    let id = || TaskId("before".to_owned());
    // What is open still reads what was there.
    assert!(store.task(id()).await.unwrap().is_some());
    let (go, kept) = keep_reading(&store).await;
    let lost = store.task(id()).await.unwrap_err();
    assert!(matches!(&lost, StoreError::Lost { problem, .. } if problem.contains("replaced")), "{lost}");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(store.task(id()).await.unwrap_err(), StoreError::Lost { .. }));
    // Put back, it is the same file again, and no connection of the other one is left.
    std::fs::rename(&aside, &file).unwrap();
    assert!(store.task(id()).await.unwrap().is_some());
    go.send(()).unwrap();
    kept.await.unwrap().unwrap();
    assert!(store.task(id()).await.unwrap().is_some());
}

/// All that waits shares one wait for the lock. One after the other, the second would have waited for the first.
#[tokio::test]
async fn a_foreign_lock_fails_all_that_waits_for_it_at_once() {
    let (directory, store) = store();
    let lock = Connection::open(directory.path().join(SqliteStore::FILE)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes = join_all((0..50).map(|number| {
        let (store, task) = (store.clone(), task(&number.to_string()));
        tokio::spawn(async move { (store.submit(task).await, std::time::Instant::now()) })
    }));
    let outcomes: Vec<_> = writes.await.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert!(outcomes.iter().all(|(outcome, _)| matches!(outcome, Err(StoreError::Busy { .. }))), "{outcomes:?}");
    let ends: Vec<_> = outcomes.iter().map(|(_, end)| *end).collect();
    let apart = *ends.iter().max().unwrap() - *ends.iter().min().unwrap();
    // Two waits for the lock are 5 s apart.
    assert!(apart.as_secs() < 4, "{apart:?}");
    lock.execute_batch("ROLLBACK").unwrap();
    store.submit(task("after")).await.unwrap();
    assert_eq!(queued(&store).await, 1);
}

#[tokio::test]
async fn damage_makes_the_store_unready_for_good() {
    let (_directory, store) = store();
    store.ready().await.unwrap();
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    let damaged = store.read::<()>(move |_| Err(rusqlite::Error::SqliteFailure(code, None).into())).await.unwrap_err();
    assert!(damaged.to_string().contains("imgopen restore") && damaged.to_string().contains(".recover"), "{damaged}");
    assert_eq!(store.ready().await.unwrap_err(), damaged);
    assert_eq!(store.submit(task("still taken")).await.unwrap(), Submitted::New);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_holds_what_was_committed_while_the_store_is_in_use() {
    let (directory, store) = store();
    for number in 0..50 {
        store.submit(task(&number.to_string())).await.unwrap();
    }
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 50..150 {
                store.submit(task(&number.to_string())).await.unwrap();
            }
        }
    });
    let copy = tempfile::tempdir().unwrap();
    let inspection = Inspection::open(directory.path()).unwrap();
    inspection.copy_to(copy.path()).unwrap();
    writing.await.unwrap();
    let names: Vec<_> = std::fs::read_dir(copy.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [SqliteStore::FILE]);
    let copied = Inspection::open(copy.path()).unwrap();
    assert_eq!((copied.damage().unwrap(), copied.layout()), (Vec::new(), open::KNOWN));
    assert!((50..=150).contains(&copied.last_place().unwrap()));
    assert_eq!(copied.latest().unwrap(), Some(Moment(7)));
    assert_eq!(queued(&SqliteStore::open(copy.path()).unwrap()).await as i64, copied.last_place().unwrap());
}

#[test]
fn an_older_database_is_looked_at_without_a_migration() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(directory.path().join(SqliteStore::FILE)).unwrap();
    connection.execute_batch(include_str!("layout_1.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO assets (token, task_id, media_type, bytes, created_at, expires_at) VALUES
             ('a.png', '1', 'image/png', 7, 1, 9), ('b.png', '1', 'image/png', 8, 1, NULL);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    let inspection = Inspection::open(directory.path()).unwrap();
    let token = |name: &str| AssetToken(name.to_owned());
    let first = crate::AssetFile { token: token("a.png"), bytes: 7, expires_at: Some(Moment(9)) };
    assert_eq!(inspection.assets(None, 1).unwrap(), [first]);
    assert_eq!(inspection.assets(Some(&token("a.png")), 9).unwrap()[0].token, token("b.png"));
    assert_eq!(inspection.unaccounted(&[token("a.png"), token("c.png")]).unwrap(), [token("c.png")]);
    assert_eq!((inspection.last_place().unwrap(), inspection.latest().unwrap()), (0, None));
    assert_eq!(inspection.layout(), 1);
    assert_eq!(inspection.note(crate::Note::Pictures).unwrap(), None);
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(layout, 1);
}

#[test]
fn an_empty_database_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Inspection::open(directory.path()), Err(StoreError::Open { .. })));
    std::fs::write(directory.path().join(SqliteStore::FILE), "").unwrap();
    let inspection = Inspection::open(directory.path()).unwrap();
    assert_eq!((inspection.layout(), inspection.last_place().unwrap()), (0, 0));
    assert_eq!(inspection.unaccounted(&[AssetToken("a.png".into())]).unwrap(), []);
}

#[tokio::test]
async fn damage_is_found() {
    let (directory, store) = store();
    store.close().await.unwrap();
    let path = directory.path().join(SqliteStore::FILE);
    assert_eq!(Inspection::open(directory.path()).unwrap().damage().unwrap(), [""; 0]);
    let mut bytes = std::fs::read(&path).unwrap();
    // The first pages hold the list of tables; those after it, the tables.
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    assert!(!Inspection::open(directory.path()).unwrap().damage().unwrap().is_empty());
}
