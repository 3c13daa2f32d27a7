//! All rows of an embedded database are moved into this one.

use std::time::Duration;

use imgopen_postgres::{PostgresImport, PostgresStore};
use imgopen_store::{
    AssetToken, Begun, CallbackFilter, CallbackId, CallbackState, Claim, Cursor, Delivery, DeliveryAttempt, End,
    Ending, Exported, Idempotency, Import, KeyId, KeyRow, LastPlaces, Moment, MoveAbout, NewAsset, NewCallback,
    NewTask, NextAttempt, Note, OwnerAbout, OwnerId, PreviousSecret, RowKind, RunId, SqliteStore, State, Store,
    StoreError, Submitted, TaskId, TaskRow,
};
use serde_json::json;

use super::server::{Fresh, empty, options};

/// PostgreSQL stores no NUL.
const ODD: &str = "a\0b\u{1}\u{1}0'\\\"\n \u{10ffff}";

fn key() -> KeyId {
    KeyId("a".to_owned())
}

fn about(id: &str) -> MoveAbout {
    MoveAbout { id: id.to_owned(), source: "/srv/imgopen-data".to_owned() }
}

fn task(name: &str) -> NewTask {
    NewTask {
        caller_id: format!("{ODD}{name}"),
        needs: ODD.to_owned(),
        unique_id: true,
        options: Some(json!({ "odd": ODD })),
        plan: Some(json!([ODD])),
        reserves: Some(format!("{ODD}{name}")),
        callback_url: Some("https://example.com/".to_owned()),
        idempotency: Some(Idempotency { key: format!("{ODD}{name}"), expires_at: Moment(500) }),
        ..NewTask::new(TaskId(name.to_owned()), key(), "enlarge_image", "{\"odd\":\"\\u0000\"}", Moment(3))
    }
}

async fn claim(store: &SqliteStore, run: &str) -> TaskRow {
    let (needs, run) = (ODD.to_owned(), RunId(run.repeat(32)));
    let claim = Claim { key: key(), needs, run, owner: OwnerId("me".to_owned()), now: Moment(4), only: None };
    store.claim(claim).await.unwrap().unwrap()
}

/// An embedded database in which the first task has ended, the second runs, the third waits, and the fourth was deleted.
async fn source(directory: &std::path::Path) -> SqliteStore {
    let store = SqliteStore::open(directory).unwrap();
    let secrets = vec![PreviousSecret { secret: "whsec_old".to_owned(), until: Moment(99) }];
    let row = KeyRow {
        id: key(),
        name: ODD.to_owned(),
        secret_hash: (0..32).collect(),
        signing_secret: "whsec_new".to_owned(),
        previous_secrets: secrets,
        created_at: Moment(1),
        revoked_at: None,
    };
    store.add_key(row.clone()).await.unwrap();
    store.add_key(KeyRow { id: KeyId(KeyId::OPEN.to_owned()), revoked_at: Some(Moment(9)), ..row }).await.unwrap();
    store.register_owner(OwnerId("me".to_owned()), None, OwnerAbout::default()).await.unwrap();
    for name in ["1", "2", "3", "4"] {
        store.submit(task(name)).await.unwrap();
    }
    let asset = |name: &str| NewAsset {
        token: AssetToken(format!("{name}.png")),
        media_type: "image/png",
        bytes: 5,
        expires_at: Some(Moment(6)),
        name: Some(ODD.to_owned()),
    };
    let callback = NewCallback {
        id: CallbackId("msg_1".to_owned()),
        url: "https://example.com/".to_owned(),
        origin: "https://example.com".to_owned(),
        body: ODD.to_owned(),
    };
    let engine = Some((ODD.to_owned(), ODD.to_owned()));
    let ended = claim(&store, "e").await.ended(Ending::Failed(ODD.to_owned()), engine, Moment(5));
    let (assets, callback) = (vec![asset("1"), asset("2")], Some(callback));
    let end = End { before: State::Running, task: ended, assets, callback, orphans_run: true };
    assert!(store.end(end).await.unwrap());
    store.expire_assets(Moment(7), 1).await.unwrap();
    for number in [1, 2] {
        let seen = store.list_callbacks(CallbackFilter::default(), None, 1).await.unwrap().rows.remove(0);
        let (started_at, outcome) = (Moment(8), ODD.to_owned());
        let attempt = DeliveryAttempt { number, started_at, duration_ms: 9, http_status: Some(500), outcome };
        let next = Some(NextAttempt { at: Moment(60), pause: Duration::from_secs(3) });
        store.record_delivery(Delivery { seen, attempt, state: CallbackState::Pending, next }).await.unwrap();
    }
    let cancelled = store.task(TaskId("4".to_owned())).await.unwrap().unwrap();
    let cancelled = cancelled.ended(Ending::Cancelled, None, Moment(5));
    let end = End { before: State::Queued, task: cancelled, assets: Vec::new(), callback: None, orphans_run: false };
    assert!(store.end(end).await.unwrap());
    assert_eq!(store.delete_tasks(vec![TaskId("4".to_owned())]).await.unwrap(), 1);
    store.set_note(Note::LastSeen, 10).await.unwrap();
    claim(&store, "f").await;
    store
}

/// Puts everything, row by row and each twice.
async fn fill(from: &SqliteStore, into: &PostgresImport) {
    let mut cursor = Some(Cursor::before(RowKind::Notes));
    while let Some(after) = cursor {
        let Exported { rows, next } = from.export(after, 1).await.unwrap();
        for _ in 0..2 {
            into.put("m".to_owned(), Some(rows.clone()), json!({ "next": next })).await.unwrap();
        }
        cursor = next;
    }
    into.settle(from.last_places().await.unwrap()).await.unwrap();
}

/// Counts by kind the rows that have not arrived as they were.
async fn differing(from: &SqliteStore, into: &dyn Import) -> Vec<(RowKind, usize)> {
    let (mut all, mut cursor) = (Vec::new(), Some(Cursor::before(RowKind::Notes)));
    while let Some(after) = cursor {
        let kind = after.kind;
        let Exported { rows, next } = from.export(after, 9).await.unwrap();
        all.push((kind, into.differing(rows).await.unwrap()));
        cursor = next;
    }
    all.retain(|(_, differing)| *differing > 0);
    all
}

async fn import(database: &Fresh) -> PostgresImport {
    PostgresImport::open(&database.url(), &options()).await.unwrap()
}

#[tokio::test]
async fn every_row_arrives_as_it_was() {
    let Some(database) = empty().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let (from, into) = (source(directory.path()).await, import(&database).await);
    assert_eq!(into.begin(about("m"), false).await.unwrap(), Begun::New);
    fill(&from, &into).await;
    assert_eq!(into.counts().await.unwrap(), from.counts().await.unwrap());
    assert_eq!(differing(&from, &into).await, []);
    into.complete("m".to_owned()).await.unwrap();
    let to = database.store(&options()).await;
    assert_eq!(to.keys().await.unwrap(), from.keys().await.unwrap());
    let open = KeyId(KeyId::OPEN.to_owned());
    assert_eq!(to.key(open.clone()).await.unwrap(), from.key(open).await.unwrap());
    for name in ["1", "3", "4"] {
        let id = TaskId(name.to_owned());
        assert_eq!(to.task(id.clone()).await.unwrap(), from.task(id).await.unwrap(), "{name}");
    }
    let queued = to.task(TaskId("2".to_owned())).await.unwrap().unwrap();
    assert_eq!(queued, TaskRow { seq: 2, attempt: 1, crashes_alone: 1, ..task("2").row() });
    for name in ["1.png", "2.png"] {
        let token = AssetToken(name.to_owned());
        assert_eq!(to.asset(token.clone()).await.unwrap(), from.asset(token).await.unwrap(), "{name}");
    }
    assert_eq!(to.kept_bytes(key()).await.unwrap(), 5);
    let all = CallbackFilter::default;
    let (found, expected) = (to.list_callbacks(all(), None, 9).await, from.list_callbacks(all(), None, 9).await);
    assert_eq!(found.unwrap().rows, expected.unwrap().rows);
    let runs: Vec<_> = to.orphaned_runs(None, 9).await.unwrap().into_iter().map(|run| run.run.0).collect();
    assert_eq!(runs, ["f".repeat(32), "e".repeat(32)]);
    assert_eq!(to.expired_files(None, 9).await.unwrap(), from.expired_files(None, 9).await.unwrap());
    assert_eq!(to.note(Note::LastSeen).await.unwrap(), Some(10));
    assert_eq!(to.last_place().await.unwrap(), 4);
    // What was unique stays so, and a new task comes after all that ever were.
    assert!(matches!(to.submit(task("1")).await.unwrap(), Submitted::Again(_)));
    let other = NewTask { caller_id: "other".to_owned(), idempotency: None, id: TaskId("5".to_owned()), ..task("3") };
    assert_eq!(to.submit(other.clone()).await.unwrap(), Submitted::Reserved);
    assert_eq!(to.submit(NewTask { reserves: None, ..other }).await.unwrap(), Submitted::New);
    let task = to.task(TaskId("5".to_owned())).await.unwrap().unwrap();
    assert!(task.seq > 4, "{task:?}");
    // The attempts go on by their numbers.
    let seen = to.list_callbacks(all(), None, 1).await.unwrap().rows.remove(0);
    let (started_at, outcome) = (Moment(61), String::new());
    let attempt = DeliveryAttempt { number: 0, started_at, duration_ms: 1, http_status: None, outcome };
    to.record_delivery(Delivery { seen, attempt, state: CallbackState::Abandoned, next: None }).await.unwrap();
    let rows = to.list_callbacks(all(), None, 1).await.unwrap().rows;
    assert_eq!(rows[0].tries.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn a_row_that_is_missing_or_has_another_value_differs() {
    let Some(database) = empty().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let (from, into) = (source(directory.path()).await, import(&database).await);
    into.begin(about("m"), false).await.unwrap();
    fill(&from, &into).await;
    let changes = [
        ("UPDATE keys SET secret_hash = '\\x00' WHERE id = 'a'", RowKind::Keys),
        ("UPDATE tasks SET deferrals = 7 WHERE id = '1'", RowKind::Tasks),
        ("UPDATE callbacks SET body = '' WHERE id = 'msg_1'", RowKind::Callbacks),
        ("DELETE FROM callback_tries WHERE number = 2", RowKind::Attempts),
    ];
    let client = database.client().await;
    for (sql, _) in changes {
        client.batch_execute(sql).await.unwrap();
    }
    assert_eq!(differing(&from, &into).await, changes.map(|(_, kind)| (kind, 1)));
}

#[tokio::test]
async fn a_trial_and_a_look_leave_the_database_as_it_is() {
    let Some(database) = empty().await else { return };
    let look = async || PostgresImport::look(&database.url(), &options()).await.unwrap();
    assert_eq!(look().await.begin(about("m"), true).await.unwrap(), Begun::New);
    let existing = async || PostgresStore::open_existing(&database.url(), &options()).await;
    let error = existing().await.unwrap_err();
    assert!(matches!(&error, StoreError::Access { problem, .. } if problem.contains("no tables")), "{error}");
    let row = database.client().await.query_one("SELECT to_regclass('layout') IS NULL", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    // Once there are tables, both look at them.
    let store = database.store(&options()).await;
    existing().await.unwrap();
    store.submit(task("1")).await.unwrap();
    assert_eq!(look().await.begin(about("m"), true).await.unwrap(), Begun::NotEmpty);
}

#[tokio::test]
async fn until_a_move_is_complete_nothing_else_opens_the_database() {
    let Some(database) = empty().await else { return };
    let into = import(&database).await;
    assert_eq!(into.begin(about("m"), true).await.unwrap(), Begun::New);
    // A trial has changed nothing.
    database.store(&options()).await;
    assert_eq!(into.begin(about("m"), false).await.unwrap(), Begun::New);
    let error = PostgresStore::open(&database.url(), &options()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Access { .. }) && error.to_string().contains("/srv/imgopen-data"), "{error}");
    assert_eq!(into.begin(about("m"), false).await.unwrap(), Begun::Again(None));
    into.put("m".to_owned(), None, json!({ "at": ODD })).await.unwrap();
    let later = import(&database).await;
    assert_eq!(later.begin(about("m"), false).await.unwrap(), Begun::Again(Some(json!({ "at": ODD }))));
    assert_eq!(later.begin(about("other"), false).await.unwrap(), Begun::Other(about("m")));
    assert!(later.put("other".to_owned(), None, json!(null)).await.is_err());
    later.settle(LastPlaces::default()).await.unwrap();
    for _ in 0..2 {
        later.complete("m".to_owned()).await.unwrap();
    }
    assert_eq!(later.begin(about("m"), false).await.unwrap(), Begun::Complete);
    assert!(into.put("m".to_owned(), None, json!(null)).await.is_err());
    let store = database.store(&options()).await;
    assert_eq!(store.last_place().await.unwrap(), 0);
}

#[tokio::test]
async fn rows_are_not_moved_into_a_database_that_has_some() {
    let Some(database) = empty().await else { return };
    let (store, into) = (database.store(&options()).await, import(&database).await);
    store.register_owner(OwnerId("me".to_owned()), None, OwnerAbout::default()).await.unwrap();
    assert_eq!(into.begin(about("m"), false).await.unwrap(), Begun::NotEmpty);
    store.resign(OwnerId("me".to_owned())).await.unwrap();
    assert_eq!(into.begin(about("m"), true).await.unwrap(), Begun::New);
    store.submit(task("1")).await.unwrap();
    assert_eq!(into.begin(about("m"), false).await.unwrap(), Begun::NotEmpty);
    // And it still opens.
    database.store(&options()).await;
}
