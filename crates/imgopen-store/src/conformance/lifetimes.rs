//! What is replaced and deleted by age: signing secrets, ended tasks, notes.

use super::*;
use crate::{AssetToken, CallbackState, Deletable, Delivery, DeliveryAttempt, KeyRow, Note, PreviousSecret, Submitted};

pub async fn a_signing_secret_is_replaced_with_an_overlap(database: &impl Database) {
    let store = open(database).await;
    let new = KeyRow {
        id: key("a"),
        name: String::new(),
        secret_hash: vec![1],
        signing_secret: "whsec_1".to_owned(),
        previous_secrets: Vec::new(),
        created_at: NOW,
        revoked_at: None,
    };
    store.add_key(new.clone()).await.unwrap();
    let rotate = async |id: &str, secret: &str, until: Moment, now: Moment| {
        store.rotate_signing_secret(key(id), secret.to_owned(), until, now).await.unwrap()
    };
    let secrets = async |now: Moment| {
        let row = store.key(key("a")).await.unwrap().unwrap();
        row.signing_secrets(now).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(rotate("a", "whsec_2", later(100), NOW).await);
    let previous = vec![PreviousSecret { secret: "whsec_1".to_owned(), until: later(100) }];
    let expected = KeyRow { signing_secret: "whsec_2".to_owned(), previous_secrets: previous, ..new };
    assert_eq!(store.keys().await.unwrap(), [expected]);
    assert_eq!(secrets(later(99)).await, ["whsec_2", "whsec_1"]);
    assert_eq!(secrets(later(100)).await, ["whsec_2"]);
    // A receiver may be two secrets behind.
    assert!(rotate("a", "whsec_3", later(150), later(50)).await);
    assert_eq!(secrets(later(99)).await, ["whsec_3", "whsec_2", "whsec_1"]);
    // Without an overlap, the old secret is not signed with again.
    assert!(rotate("a", "whsec_4", later(120), later(120)).await);
    assert_eq!(secrets(later(120)).await, ["whsec_4", "whsec_2"]);
    assert_eq!(store.key(key("a")).await.unwrap().unwrap().previous_secrets.len(), 1);
    assert!(!rotate("nobody", "whsec_5", later(1), NOW).await);
}

/// Ends a queued task at that time; it has a pending callback from then on.
async fn ended(store: &dyn Store, new: NewTask, at: Moment) -> TaskRow {
    let id = new.id.clone();
    store.submit(new).await.unwrap();
    let mut end = cancelled(&row(store, id.as_str()).await);
    end.task.finished_at = Some(at);
    assert!(store.end(end).await.unwrap());
    row(store, id.as_str()).await
}

async fn acknowledge(store: &dyn Store, name: &str) {
    let seen = callbacks_of(store, name).await.remove(0);
    let attempt =
        DeliveryAttempt { number: 0, started_at: NOW, duration_ms: 1, http_status: Some(200), outcome: "yes".into() };
    let delivery = Delivery { seen, attempt, state: CallbackState::Acknowledged, next: None };
    store.record_delivery(delivery).await.unwrap();
}

pub async fn ended_tasks_are_deleted_with_what_belongs_to_them(database: &impl Database) {
    let store = open(database).await;
    for (name, at) in [("1", 10), ("2", 20), ("3", 20), ("4", 30)] {
        ended(&*store, with_key(name, name, NOW, later(1000)), later(at)).await;
        acknowledge(&*store, name).await;
    }
    // In parts, the oldest first.
    let first = store.deletable_tasks(later(20), None, 2).await.unwrap();
    assert_eq!(first.tasks, [id("1"), id("2")]);
    let rest = store.deletable_tasks(later(20), first.next, 2).await.unwrap();
    assert_eq!(rest, Deletable { tasks: vec![id("3")], next: None });
    assert_eq!(store.delete_tasks(first.tasks).await.unwrap(), 2);
    for name in ["1", "2"] {
        assert_eq!(store.task(id(name)).await.unwrap(), None);
        assert!(callbacks_of(&*store, name).await.is_empty());
    }
    // The idempotency key is free again, but not the place in lists.
    let again = with_key("5", "1", later(40), later(1000));
    assert_eq!(store.submit(again).await.unwrap(), Submitted::New);
    let page = store.list_tasks(key("a"), crate::TaskFilter::default(), None, 9).await.unwrap();
    assert_eq!(names(&page.rows), ["5", "4", "3"]);
    assert!(page.rows[0].seq > page.rows[1].seq);
    let listed = store.list_callbacks(CallbackFilter::default(), None, 9).await.unwrap();
    assert_eq!(listed.rows.iter().map(|row| row.task.as_str()).collect::<Vec<_>>(), ["4", "3"]);
    assert_eq!(store.delete_tasks(vec![id("1"), id("unknown")]).await.unwrap(), 0);
    assert_eq!(store.forget_idempotency_keys(later(1000)).await.unwrap(), 3);
}

pub async fn a_task_is_kept_as_long_as_something_needs_it(database: &impl Database) {
    let store = open(database).await;
    ended(&*store, task("a", "unpushed"), NOW).await;
    for name in ["running", "with-picture"] {
        store.submit(task(name, name)).await.unwrap();
    }
    store.submit(task("a", "queued")).await.unwrap();
    claim(&*store, "running").await;
    let run = claim(&*store, "with-picture").await;
    let mut end = succeeded(&run, "a.png");
    end.assets[0].expires_at = Some(later(5));
    assert!(store.end(end).await.unwrap());
    acknowledge(&*store, "with-picture").await;
    let all = ["unpushed", "running", "with-picture", "queued"];
    assert_eq!(store.deletable_tasks(later(9), None, 9).await.unwrap(), Deletable::default());
    assert_eq!(store.delete_tasks(all.map(id).to_vec()).await.unwrap(), 0);
    for name in all {
        row(&*store, name).await;
    }
    assert_eq!(callbacks_of(&*store, "unpushed").await[0].state, CallbackState::Pending);

    assert_eq!(store.expire_assets(later(5), 9).await.unwrap(), [AssetToken("a.png".into())]);
    acknowledge(&*store, "unpushed").await;
    let found = store.deletable_tasks(later(9), None, 9).await.unwrap().tasks;
    assert_eq!(found, [id("unpushed"), id("with-picture")]);
    // A redelivery that comes between is not lost.
    let callback = callbacks_of(&*store, "unpushed").await.remove(0);
    store.redeliver(None, callback.id, later(9)).await.unwrap().unwrap();
    assert_eq!(store.delete_tasks(found).await.unwrap(), 1);
    row(&*store, "unpushed").await;
    assert!(store.asset(AssetToken("a.png".into())).await.unwrap().is_none());
    assert_eq!(store.asset_bytes().await.unwrap(), 0);
}

pub async fn notes_are_overwritten(database: &impl Database) {
    let store = open(database).await;
    assert_eq!(store.note(Note::LastSeen).await.unwrap(), None);
    // The first of several processes is not overwritten by the others.
    for value in [5, 6] {
        assert_eq!(database.open().await.first_note(Note::LastSeen, value).await.unwrap(), 5);
    }
    for value in [7, -7] {
        store.set_note(Note::LastSeen, value).await.unwrap();
        assert_eq!(database.open().await.note(Note::LastSeen).await.unwrap(), Some(value));
    }
}

pub async fn a_note_is_replaced_by_one_of_those_who_read_it(database: &impl Database) {
    let store = open(database).await;
    let replace = async |from, to| database.open().await.replace_note(Note::Pictures, from, to).await.unwrap();
    assert_eq!(replace(5, 6).await, None);
    assert_eq!(store.note(Note::Pictures).await.unwrap(), None);
    store.set_note(Note::Pictures, 5).await.unwrap();
    store.set_note(Note::LastSeen, 5).await.unwrap();
    assert_eq!(replace(5, 6).await, Some(6));
    // Another one that read the same, and the first one again.
    assert_eq!(replace(5, 7).await, Some(6));
    assert_eq!(replace(5, 6).await, Some(6));
    assert_eq!(store.note(Note::Pictures).await.unwrap(), Some(6));
    assert_eq!(store.note(Note::LastSeen).await.unwrap(), Some(5));
    let (one, two) = (database.open().await, database.open().await);
    let both = tokio::join!(one.replace_note(Note::Pictures, 6, 8), two.replace_note(Note::Pictures, 6, 9));
    let kept = store.note(Note::Pictures).await.unwrap();
    assert!(kept == Some(8) || kept == Some(9), "{kept:?}");
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (kept, kept));
}
