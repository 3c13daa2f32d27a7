//! Limits: of the queue, of running tasks per key, of calls per minute.

use std::collections::HashSet;
use std::num::NonZeroU32;

use serde_json::json;

use crate::common::engines::Gate;
use crate::common::{Bench, enlarge, id, until};

#[tokio::test]
async fn a_full_queue_rejects_until_there_is_room() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| {
        settings.workers = 1;
        settings.queue.length = 2;
    });
    let server = bench.start().await;
    let first = server.submitted("enlarge_image", enlarge("0")).await;
    gate.holds(1).await;
    let mut waiting = Vec::new();
    for number in 1..=2 {
        waiting.push(server.submitted("enlarge_image", enlarge(&number.to_string())).await);
    }
    let full = server.call("enlarge_image", enlarge("3")).await;
    let after: u64 = full.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    assert!(full.refused(429).contains("2 tasks wait"));
    let limits = server.call("describe_server", json!({})).await.ok()["limits"].clone();
    assert_eq!((&limits["queueLength"], &limits["queued"]), (&json!(2), &json!(2)));

    // A cancelled task makes room, and so does one that starts to run.
    server.call("cancel_task", json!({"taskId": waiting[0]})).await.ok();
    let fourth = server.submitted("enlarge_image", enlarge("4")).await;
    server.call("enlarge_image", enlarge("5")).await.refused(429);
    gate.open(1);
    server.reached(&first, "succeeded").await;
    gate.holds(1).await;
    let sixth = server.submitted("enlarge_image", enlarge("6")).await;
    gate.open(3);
    for task in [&waiting[1], &fourth, &sixth] {
        server.reached(task, "succeeded").await;
    }
    assert_eq!(server.task(&waiting[0]).await["state"], "cancelled");
    let limits = server.call("describe_server", json!({})).await.ok()["limits"].clone();
    assert_eq!(limits["queued"], json!(0));
}

#[tokio::test]
async fn running_tasks_per_key_are_limited_and_delay_no_other_key() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| {
        settings.workers = 4;
        settings.queue.running_per_key = Some(2);
    });
    let server = bench.start().await;
    let other = server.service.keys().create("other").await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..5 {
        tasks.push(server.submitted("enlarge_image", enlarge(&number.to_string())).await);
    }
    gate.holds(2).await;
    server.call_as(&other, "enlarge_image", enlarge("other")).await.ok();
    gate.holds(3).await;
    let running = server.call("list_tasks", json!({"states": ["running"]})).await.ok();
    let ids: HashSet<_> = running["rows"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids, tasks[..2].iter().cloned().collect());
    gate.open(6);
    for task in &tasks {
        server.reached(task, "succeeded").await;
    }
    assert_eq!(gate.most(), 3);
}

#[tokio::test]
async fn calls_per_minute_are_limited_by_key() {
    let bench = Bench::new().with(|settings| settings.requests.per_minute = NonZeroU32::new(3));
    let server = bench.start().await;
    let other = server.service.keys().create("other").await.unwrap();
    for _ in 0..3 {
        server.call("list_tasks", json!({})).await.ok();
    }
    let refused = server.call("list_tasks", json!({})).await;
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&after), "{after}");
    assert!(refused.refused(429).contains("3 calls a minute"));
    // All operations count together, and each key separately.
    server.call("enlarge_image", enlarge("1")).await.refused(429);
    server.call_as(&other, "list_tasks", json!({})).await.ok();
    // Calls with a wrong secret do not count against the key.
    let guess = imgopen_client::Credentials::new(other.credentials.access_key_id(), "guess");
    let guess = imgopen_service::NewKey { credentials: guess, ..other.clone() };
    for _ in 0..5 {
        server.call_as(&guess, "list_tasks", json!({})).await.refused(401);
    }
    server.call_as(&other, "list_tasks", json!({})).await.ok();
}

/// A disconnect during the insert must not keep the task from the queue's count.
#[tokio::test]
async fn a_submit_is_run_after_a_disconnect() {
    let server = Bench::new().start().await;
    server.abandoned("enlarge_image", enlarge("abandoned")).await;
    until("the task has ended", || async {
        let tasks = server.call("list_tasks", json!({"callerId": "abandoned"})).await.ok();
        (tasks["rows"][0]["state"] == "succeeded").then_some(())
    })
    .await;
}
