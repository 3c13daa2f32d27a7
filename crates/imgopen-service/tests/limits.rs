//! Limits: of the queue, of running tasks per key, of calls per minute.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use imgopen_service::IDEMPOTENCY_KEY;
use imgopen_tools::Lanczos;
use imgopen_types::{EnlargeImageRequest, operations};
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::common::engines::{Gate, Own, dot, dot_picture};
use crate::common::web::host;
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
async fn a_key_keeps_no_more_bytes_than_it_may() {
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| {
        settings.assets.bytes_per_key = Some(1);
        settings.assets.lifetime = Some(Duration::from_secs(100));
    });
    let server = bench.start().await;
    let headers = [(IDEMPOTENCY_KEY, "the-same")];
    let first = id(&server.call_with(&server.key, "enlarge_image", &headers, enlarge("1")).await.ok());
    server.reached(&first, "succeeded").await;
    let full = server.call("enlarge_image", enlarge("2")).await;
    assert_eq!(full.headers["retry-after"], "60");
    let msg = full.refused(429);
    assert!(msg.contains("1 are kept (`assets.bytes_per_key`)") && msg.contains("have expired"), "{msg}");
    // It concerns neither what makes no pictures, nor a repeated submit, nor another key.
    let faces = json!({"businessTaskId": "faces", "imageUrl": "https://example.com/a.png"});
    server.call("detect_faces", faces).await.ok();
    assert_eq!(id(&server.call_with(&server.key, "enlarge_image", &headers, enlarge("1")).await.ok()), first);
    let other = server.service.keys().create("other").await.unwrap();
    server.call_as(&other, "enlarge_image", enlarge("3")).await.ok();
    // The next start deletes what has expired.
    let bench = server.stop().await;
    bench.clock.set(bench.clock.now().plus(Duration::from_secs(200)));
    let server = bench.start().await;
    until("there is room again", || async {
        (server.call("enlarge_image", enlarge("4")).await.status == 200).then_some(())
    })
    .await;
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

/// A thread cannot be stopped from outside, so it keeps its slot until it has looked for the cancellation.
#[tokio::test]
async fn a_slot_is_free_only_when_the_work_has_really_ended() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let began = Arc::new(Semaphore::new(0));
    let begun = began.clone();
    let engine = Own::new(&operations::ENLARGE_IMAGE, move |job, monitor| {
        let (wait, begun) = (wait.clone(), begun.clone());
        async move {
            if job.request::<EnlargeImageRequest>()?.business_task_id == "quick" {
                return Ok(dot());
            }
            let own = monitor.clone();
            let thread = tokio::task::spawn_blocking(move || {
                let _own = own;
                begun.add_permits(1);
                wait.lock().unwrap().recv()
            });
            monitor.until_cancelled(thread).await?.unwrap().unwrap();
            Ok(dot())
        }
    });
    let server = Bench::new().engines(vec![engine]).with(|settings| settings.workers = 1).start().await;
    let slow = server.submitted("enlarge_image", enlarge("slow")).await;
    began.acquire().await.unwrap().forget();
    server.call("cancel_task", json!({"taskId": slow})).await.ok();
    server.reached(&slow, "cancelled").await;
    let quick = server.submitted("enlarge_image", enlarge("quick")).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(server.task(&quick).await["state"], "queued");
    go.send(()).unwrap();
    server.reached(&quick, "succeeded").await;
}

#[tokio::test]
async fn a_full_queue_of_one_key_does_not_refuse_another() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| {
        settings.workers = 1;
        settings.queue.length = 4;
    });
    let server = bench.start().await;
    let other = server.service.keys().create("other").await.unwrap();
    server.submitted("enlarge_image", enlarge("runs")).await;
    gate.holds(1).await;
    for number in 0..4 {
        server.submitted("enlarge_image", enlarge(&number.to_string())).await;
    }
    server.call("enlarge_image", enlarge("too many")).await.refused(429);
    for number in 0..2 {
        server.call_as(&other, "enlarge_image", enlarge(&number.to_string())).await.ok();
    }
    server.call_as(&other, "enlarge_image", enlarge("too many")).await.refused(429);
    gate.open(7);
}

/// Pictures are decoded only when the budget has room for them.
#[tokio::test]
async fn runs_take_their_memory_before_they_decode() {
    let gate = Gate::with_memory(600);
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| {
        settings.workers = 4;
        settings.pictures.memory = 1000 * 64 * 1024;
    });
    let server = bench.start().await;
    let mut tasks = Vec::new();
    for number in 0..3 {
        tasks.push(server.submitted("enlarge_image", enlarge(&number.to_string())).await);
    }
    for task in &tasks {
        server.reached(task, "running").await;
    }
    // They begin at the same moment, so any of them may take its memory first.
    for ended in 1..=tasks.len() {
        gate.holds(1).await;
        gate.open(1);
        until("one more has succeeded", || async {
            let rows = server.call("list_tasks", json!({"states": ["succeeded"]})).await.ok()["rows"].clone();
            (rows.as_array().unwrap().len() == ended).then_some(())
        })
        .await;
    }
    assert_eq!(gate.most(), 1);
}

/// Sources that do not answer hold neither the slots nor all places for fetching, and their tasks go on once they do.
#[tokio::test]
async fn slow_sources_of_one_key_do_not_delay_another() {
    let (go, gate) = watch::channel(false);
    let slow = move || {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|is_open| *is_open).await.unwrap();
            dot_picture().bytes
        }
    };
    let address =
        host(Router::new().route("/slow", get(slow)).route("/quick", get(|| async { dot_picture().bytes }))).await;
    let request = |id: &str, path: &str| {
        let mut request = enlarge(id);
        request["sourceImage"] = json!(format!("http://{address}/{path}"));
        request
    };
    let bench = Bench::new().engines(vec![Arc::new(Lanczos::new())]).with(|settings| {
        settings.pictures.time = Duration::from_secs(600);
    });
    let server = bench.start().await;
    let other = server.service.keys().create("other").await.unwrap();
    for number in 0..4 {
        server.call_as(&other, "enlarge_image", request(&number.to_string(), "slow")).await.ok();
    }
    let states = async |state: &str| {
        let tasks = server.call_as(&other, "list_tasks", json!({"states": [state]})).await.ok();
        tasks["rows"].as_array().unwrap().len()
    };
    // Of four places, the key holds as many as it leaves free.
    until("the slow sources are asked", || async { (states("running").await == 2).then_some(()) }).await;
    for number in 0..4 {
        let quick = server.submitted("enlarge_image", request(&number.to_string(), "quick")).await;
        server.reached(&quick, "succeeded").await;
    }
    assert_eq!((states("running").await, states("queued").await), (2, 2));
    go.send(true).unwrap();
    until("the slow tasks have ended", || async { (states("succeeded").await == 4).then_some(()) }).await;
}
