//! What rows hold: every character, texts of any length, and sums that the database keeps.

use std::time::Duration;

use imgopen_store::{
    CallbackFilter, Claim, Delivery, DeliveryAttempt, End, Ending, Find, KeyId, Moment, NewAsset, NewCallback, NewTask,
    OwnerAbout, OwnerId, RunId, State, Store, Submitted, TaskFilter, TaskId, TaskRow,
};

use super::server::{empty, options};

const NOW: Moment = Moment(1_769_904_000_000);

fn key() -> KeyId {
    KeyId("a".to_owned())
}

/// Text that does not become shorter by compression.
fn noise(bytes: usize) -> String {
    let mut number: u64 = 1;
    let mut text = String::new();
    while text.len() < bytes {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("{:08x}", number >> 32);
    }
    text
}

#[tokio::test]
async fn any_character_and_any_length_is_kept() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    store.register_owner(OwnerId("me".to_owned()), None, OwnerAbout::default()).await.unwrap();
    const STATES: &[State] = &State::ALL;
    // PostgreSQL stores no NUL, and no long text in an index.
    for (name, odd) in [("1", "a\0b\u{1}\u{1}0'\\ \u{10ffff}".to_owned()), ("2", noise(100_000))] {
        let new = NewTask {
            caller_id: odd.clone(),
            needs: odd.clone(),
            unique_id: true,
            reserves: Some(odd.clone()),
            options: Some(serde_json::json!({ "odd": odd })),
            ..NewTask::new(TaskId(name.to_owned()), key(), "submit_training", "{\"odd\":\"\\u0000\"}", NOW)
        };
        assert_eq!(store.submit(new.clone()).await.unwrap(), Submitted::New);
        let again = NewTask { id: TaskId("again".to_owned()), ..new.clone() };
        assert!(matches!(store.submit(again.clone()).await.unwrap(), Submitted::Again(_)));
        let other = NewTask { caller_id: "other".to_owned(), ..again };
        assert_eq!(store.submit(other).await.unwrap(), Submitted::Reserved);
        let found = store.task(new.id.clone()).await.unwrap().unwrap();
        assert_eq!(TaskRow { seq: found.seq, ..new.row() }, found);
        let run = RunId::new().unwrap();
        let claim =
            Claim { key: key(), needs: odd.clone(), run, owner: OwnerId("me".to_owned()), now: NOW, only: None };
        let running = store.claim(claim).await.unwrap().unwrap();
        let task = running.ended(Ending::Failed(odd.clone()), Some((odd.clone(), odd.clone())), NOW);
        let url = "http://127.0.0.1:9/done".to_owned();
        let callback = NewCallback {
            id: imgopen_store::CallbackId(format!("msg-{name}")),
            url,
            origin: "http://127.0.0.1:9".to_owned(),
            body: odd.clone(),
        };
        let end = End {
            before: State::Running,
            task: task.clone(),
            assets: vec![],
            callback: Some(callback),
            orphans_run: false,
        };
        assert!(store.end(end).await.unwrap());
        let find = Find { key: key(), id: odd.clone(), operations: &["submit_training"], states: STATES };
        assert_eq!(store.find(find).await.unwrap().unwrap(), task);
        let filter = TaskFilter { caller_id: Some(odd.clone()), ..TaskFilter::default() };
        assert_eq!(store.list_tasks(key(), filter, None, 9).await.unwrap().rows.len(), 1);
        let filter = CallbackFilter { task: Some(task.id.clone()), ..CallbackFilter::default() };
        let seen = store.list_callbacks(filter.clone(), None, 9).await.unwrap().rows.remove(0);
        assert_eq!(seen.body, odd);
        let attempt = DeliveryAttempt {
            number: 0,
            started_at: NOW,
            duration_ms: 1,
            http_status: Some(500),
            outcome: odd.clone(),
        };
        let state = imgopen_store::CallbackState::Abandoned;
        store.record_delivery(Delivery { seen, attempt: attempt.clone(), state, next: None }).await.unwrap();
        let tries = store.list_callbacks(filter, None, 9).await.unwrap().rows.remove(0).tries;
        assert_eq!(tries, [DeliveryAttempt { number: 1, ..attempt }]);
    }
}

/// Rows count that something else than the store writes.
#[tokio::test]
async fn the_database_keeps_the_sum_of_its_assets() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    let client = database.client().await;
    for (change, sum) in [
        (
            "INSERT INTO assets (token, task_id, key_id, media_type, bytes, created_at, deleted_at) VALUES
             ('a', 't', 'a', 'image/png', 5, 7, NULL), ('b', 't', 'a', 'image/png', 70, 7, 8),
             ('c', 't', 'a', 'image/png', 11, 7, NULL)",
            16,
        ),
        (
            "INSERT INTO assets (token, task_id, key_id, media_type, bytes, created_at)
             SELECT token || 'x', task_id, key_id, media_type, 100, 7 FROM assets",
            316,
        ),
        ("UPDATE assets SET bytes = bytes + 1", 321),
        ("UPDATE assets SET deleted_at = 9 WHERE token = 'a' OR token = 'b'", 315),
        ("UPDATE assets SET deleted_at = NULL WHERE token = 'b'", 386),
        ("DELETE FROM assets WHERE token = 'a' OR token = 'c'", 374),
        ("DELETE FROM assets", 0),
    ] {
        client.batch_execute(change).await.unwrap();
        assert_eq!(store.asset_bytes().await.unwrap(), sum, "{change}");
        assert_eq!(store.kept_bytes_by_key().await.unwrap(), [(key(), sum)], "{change}");
    }
}

/// Every end of the same key writes a sum, each on its own connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ends_at_the_same_moment_are_all_counted() {
    let Some(database) = empty().await else { return };
    let store = database.store(&options()).await;
    store.register_owner(OwnerId("me".to_owned()), None, OwnerAbout::default()).await.unwrap();
    let ends = (0..40).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let id = TaskId(format!("t{number}"));
            store.submit(NewTask::new(id.clone(), key(), "enlarge_image", "{}", NOW)).await.unwrap();
            let (run, needs) = (RunId::new().unwrap(), "enlarge_image".to_owned());
            let owner = OwnerId("me".to_owned());
            let claim = Claim { key: key(), needs, run: run.clone(), owner, now: NOW, only: Some(id) };
            let running = store.claim(claim).await.unwrap().unwrap();
            let task = running.ended(Ending::Succeeded(imgopen_store::TaskOutput::default()), None, NOW);
            let token = imgopen_store::AssetToken::new(&run, "png").unwrap();
            let asset = NewAsset { token, media_type: "image/png", bytes: 7, expires_at: Some(NOW), name: None };
            let end = End { before: State::Running, task, assets: vec![asset], callback: None, orphans_run: false };
            assert!(store.end(end).await.unwrap());
            tokio::time::sleep(Duration::from_millis(number % 3)).await;
            if number < 30 {
                assert_eq!(store.expire_assets(NOW, 1).await.unwrap().len(), 1);
            }
        })
    });
    for end in ends.collect::<Vec<_>>() {
        end.await.unwrap();
    }
    assert_eq!(store.kept_bytes(key()).await.unwrap(), 70);
}
