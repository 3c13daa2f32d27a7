//! Pages of lists have a largest size in bytes.

use super::*;
use crate::{ATTEMPTS, CallbackState, Delivery, DeliveryAttempt, PAGE_BYTES, TaskFilter};

pub async fn a_page_of_tasks_is_bounded_in_bytes(database: &impl Database) {
    let store = open(database).await;
    // Two fit, three do not; the last one does not even fit alone.
    for (number, bytes) in [("1", PAGE_BYTES / 3), ("2", PAGE_BYTES / 3), ("3", PAGE_BYTES / 3), ("4", PAGE_BYTES * 2)]
    {
        store.submit(NewTask { caller_id: "x".repeat(bytes), ..task("a", number) }).await.unwrap();
    }
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = store.list_tasks(key("a"), TaskFilter::default(), before, 100).await.unwrap();
        pages.push(page.rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec!["4".to_owned()], vec!["3".to_owned(), "2".to_owned()], vec!["1".to_owned()]]);
}

pub async fn a_page_of_callbacks_is_bounded_in_bytes(database: &impl Database) {
    let store = open(database).await;
    for number in ["1", "2", "3"] {
        store.submit(task("a", number)).await.unwrap();
        assert!(store.end(cancelled(&row(&*store, number).await)).await.unwrap());
    }
    let seen = callbacks_of(&*store, "2").await.remove(0);
    let outcome = "x".repeat(PAGE_BYTES / ATTEMPTS);
    for _ in 0..ATTEMPTS + 5 {
        let attempt =
            DeliveryAttempt { number: 0, started_at: NOW, duration_ms: 1, http_status: None, outcome: outcome.clone() };
        let delivery = Delivery { seen: seen.clone(), attempt, state: CallbackState::Abandoned, next: None };
        store.record_delivery(delivery).await.unwrap();
    }
    let page = store.list_callbacks(CallbackFilter::default(), None, 100).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.task.as_str()).collect::<Vec<_>>(), ["3", "2"]);
    assert_eq!(page.next, Some(page.rows[1].place));
    // The last attempts are listed, in their order.
    let numbers: Vec<_> = page.rows[1].tries.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (6..=ATTEMPTS as i64 + 5).collect::<Vec<_>>());
    let rest = store.list_callbacks(CallbackFilter::default(), page.next, 100).await.unwrap();
    assert_eq!((rest.rows.len(), rest.next), (1, None));
}
