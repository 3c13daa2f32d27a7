//! An export has every row with every column, in pages of any size.

use std::time::Duration;

use super::*;
use crate::ids::{CallbackId, KeyId, OwnerId, RunId, TaskId};
use crate::{
    CallbackFilter, CallbackState, Claim, Delivery, End, Ending, NewAsset, NewCallback, NewTask, NextAttempt,
    OwnerAbout, PreviousSecret, Store,
};

fn key(name: &str) -> KeyRow {
    KeyRow {
        id: KeyId(name.to_owned()),
        name: format!("the key \0 {name}"),
        secret_hash: vec![7; 32],
        signing_secret: "whsec_new".to_owned(),
        previous_secrets: vec![PreviousSecret { secret: "whsec_old".to_owned(), until: Moment(99) }],
        created_at: Moment(1),
        revoked_at: Some(Moment(2)),
    }
}

fn task(name: &str) -> NewTask {
    NewTask {
        caller_id: format!("mine {name}"),
        unique_id: true,
        options: Some(serde_json::json!({ "a": 1 })),
        plan: Some(serde_json::json!([2])),
        reserves: Some(format!("lora {name}")),
        callback_url: Some("https://example.com/".to_owned()),
        idempotency: Some(Idempotency { key: format!("once {name}"), expires_at: Moment(500) }),
        ..NewTask::new(TaskId(name.to_owned()), KeyId("a".to_owned()), "enlarge_image", "{}", Moment(3))
    }
}

async fn claim(store: &SqliteStore, run: &str) -> TaskRow {
    let (key, needs, run) = (KeyId("a".to_owned()), "enlarge_image".to_owned(), RunId(run.to_owned()));
    let claim = Claim { key, needs, run, owner: OwnerId("me".to_owned()), now: Moment(4), only: None };
    store.claim(claim).await.unwrap().unwrap()
}

/// A database with something of every kind: a task that has ended, one that runs, and one that is queued.
async fn full(store: &SqliteStore) {
    for name in ["a", "b"] {
        store.add_key(key(name)).await.unwrap();
    }
    store.register_owner(OwnerId("me".to_owned()), None, OwnerAbout::default()).await.unwrap();
    for name in ["1", "2", "3"] {
        store.submit(task(name)).await.unwrap();
    }
    let ended = claim(store, &"e".repeat(32)).await.ended(Ending::Failed("no".to_owned()), None, Moment(5));
    let asset = |name: &str| NewAsset {
        token: crate::AssetToken(format!("{name}.png")),
        media_type: "image/png",
        bytes: 5,
        expires_at: Some(Moment(6)),
        name: Some(name.to_owned()),
    };
    let (url, origin) = ("https://example.com/".to_owned(), "https://example.com".to_owned());
    let callback = NewCallback { id: CallbackId("msg_1".to_owned()), url, origin, body: "{}".to_owned() };
    let (assets, callback) = (vec![asset("1"), asset("2")], Some(callback));
    let end = End { before: State::Running, task: ended, assets, callback, orphans_run: true };
    assert!(store.end(end).await.unwrap());
    store.expire_assets(Moment(7), 1).await.unwrap();
    for number in [1, 2] {
        let seen = store.list_callbacks(CallbackFilter::default(), None, 1).await.unwrap().rows.remove(0);
        let attempt = DeliveryAttempt {
            number,
            started_at: Moment(8),
            duration_ms: 9,
            http_status: Some(500),
            outcome: "no".to_owned(),
        };
        let next = Some(NextAttempt { at: Moment(60), pause: Duration::from_secs(3) });
        store.record_delivery(Delivery { seen, attempt, state: CallbackState::Pending, next }).await.unwrap();
    }
    store.set_note(Note::LastSeen, 10).await.unwrap();
    claim(store, &"f".repeat(32)).await;
}

async fn all(store: &SqliteStore, most: usize) -> Vec<Rows> {
    let (mut parts, mut cursor) = (Vec::new(), Some(Cursor::before(RowKind::Notes)));
    while let Some(after) = cursor {
        let Exported { rows, next } = store.export(after, most).await.unwrap();
        if !rows.is_empty() {
            parts.push(rows);
        }
        cursor = next;
    }
    parts
}

#[tokio::test]
async fn pages_of_any_size_have_the_same_rows() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert!(all(&store, 1).await.is_empty());
    full(&store).await;
    let whole = all(&store, 1000).await;
    let kinds: Vec<_> = store.counts().await.unwrap().into_iter().filter(|(_, count)| *count > 0).collect();
    // Notes are not counted.
    assert_eq!((whole.len(), kinds.len()), (RowKind::ALL.len(), RowKind::ALL.len() - 1));
    let by_one = all(&store, 1).await;
    assert!(by_one.iter().all(|part| part.len() == 1));
    let count: u64 = kinds.iter().map(|(_, count)| count).sum();
    assert_eq!(by_one.len() as u64, count + 1);
    let text = |parts: &[Rows]| {
        parts
            .iter()
            .flat_map(|part| match part {
                Rows::Tasks(rows) => rows.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>(),
                Rows::Attempts(rows) => rows.iter().map(|row| format!("{row:?}")).collect(),
                Rows::Idempotency(rows) => rows.iter().map(|row| format!("{row:?}")).collect(),
                _ => Vec::new(),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(text(&by_one), text(&whole));
    let places = store.last_places().await.unwrap();
    assert_eq!(places, LastPlaces { task: 3, callback: 1 });
}

#[tokio::test]
async fn every_column_is_exported_and_a_running_task_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    full(&store).await;
    for rows in all(&store, 1000).await {
        match rows {
            Rows::Notes(rows) => assert_eq!(rows, [(Note::LastSeen, 10)]),
            Rows::Keys(rows) => assert_eq!(rows, [key("a"), key("b")]),
            Rows::Tasks(rows) => {
                let states: Vec<_> = rows.iter().map(|task| task.row.state).collect();
                assert_eq!(states, [State::Failed, State::Queued, State::Queued]);
                assert!(rows.iter().all(|task| task.unique_id && task.reserves.is_some()));
                let running = &rows[1].row;
                let expected = TaskRow { seq: 2, attempt: 1, crashes_alone: 1, ..task("2").row() };
                assert_eq!(*running, expected);
                assert_eq!(rows[0].row, store.task(TaskId("1".to_owned())).await.unwrap().unwrap());
            }
            Rows::Idempotency(rows) => {
                let (first, idempotency) = (&rows[0], task("1").idempotency.unwrap());
                assert_eq!((first.task.as_str(), &first.idempotency), ("1", &idempotency));
            }
            Rows::Assets(rows) => {
                let deleted: Vec<_> = rows.iter().map(|asset| asset.row.deleted_at).collect();
                assert_eq!(deleted.iter().flatten().collect::<Vec<_>>(), [&Moment(7)]);
                let first = store.asset(rows[0].token.clone()).await.unwrap().unwrap();
                assert_eq!((&rows[0].row, rows[0].task.as_str(), rows[0].key.as_str()), (&first, "1", "a"));
            }
            Rows::Callbacks(rows) => {
                assert_eq!((rows[0].pause, rows[0].attempts, rows[0].row.rung), (Some(3000), 2, 2));
            }
            Rows::Attempts(rows) => {
                let numbers: Vec<_> = rows.iter().map(|row| (row.callback.as_str(), row.attempt.number)).collect();
                assert_eq!(numbers, [("msg_1", 1), ("msg_1", 2)]);
            }
            Rows::OrphanedRuns(rows) => {
                let runs: Vec<_> = rows.iter().map(|run| (run.run.0.clone(), run.since)).collect();
                assert_eq!(runs, [("e".repeat(32), Moment(5)), ("f".repeat(32), Moment(4))]);
            }
            Rows::ExpiredFiles(rows) => assert_eq!((rows.len(), rows[0].since), (1, Moment(7))),
        }
    }
    let files = store.asset_files(None, 9).await.unwrap();
    assert_eq!(files.len(), 1);
    assert!(store.asset_files(Some(files[0].token.clone()), 9).await.unwrap().is_empty());
}
