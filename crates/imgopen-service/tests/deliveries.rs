//! Delivery attempts under faults: of receivers, of this server, of its clock, and of keys that change.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use imgopen_client::callback::{Push, signed_receiver};
use imgopen_service::{KeyId, Limit, Moment, RevokedCallbacks};
use serde_json::{Value, json};

use crate::common::engines::Gate;
use crate::common::rows::Rows;
use crate::common::web::{Receiver, TAKEN, host};
use crate::common::{Bench, Server, enlarge_with_callback, id, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns the callback of a task once it has had that many attempts.
async fn tried(server: &Server, task: &str, attempts: usize) -> Value {
    until(&format!("it was tried {attempts} times"), || async {
        let callback = server.callbacks(task).await.pop()?;
        (callback["tries"].as_array()?.len() == attempts).then_some(callback)
    })
    .await
}

/// Waits until attempts were prevented that often in all.
async fn prevented(server: &Server, count: usize) {
    until("an attempt was prevented", || async {
        let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
        let lines = metrics.lines();
        let counted =
            lines.filter_map(|line| line.strip_prefix("imgopen_callback_tries_total{outcome=\"prevented\"} "));
        let counted: usize = counted.map(|count| count.parse::<usize>().unwrap()).sum();
        (counted >= count).then_some(())
    })
    .await;
}

/// Returns the state of a task's callback and the outcome of its attempt, once there is one, as the rows have them.
async fn recorded(rows: &Rows, task: &str) -> (String, String) {
    let sql = format!(
        "SELECT state, outcome FROM callbacks JOIN callback_tries ON callback_id = id WHERE task_id = '{task}'"
    );
    let columns = until("an attempt is recorded", || rows.first(&sql)).await;
    let [state, outcome]: [String; 2] = columns.try_into().unwrap();
    (state, outcome)
}

/// Moves the clock by as much as the service trusts a key that it has read.
fn forget_keys(server: &Server) {
    server.clock().set(server.clock().now().plus(seconds(1)));
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_not_tried_again() {
    let server = Bench::new().start().await;
    let (receiver, url) = Receiver::answering(&[(410, r#"{"code":"200"}"#)]).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    let callback = server.pushed(&task, "abandoned").await;
    assert_eq!((callback["tries"].as_array().unwrap().len(), receiver.pushes().len()), (1, 1));
    let outcome = &callback["tries"][0];
    assert_eq!(outcome["httpStatus"], 410);
    assert!(outcome["outcome"].as_str().unwrap().contains("no further attempts"), "{outcome}");
    // It can be redelivered all the same.
    server.call("redeliver_callback", json!({"callbackId": callback["callbackId"]})).await.ok();
    server.pushed(&task, "acknowledged").await;
}

#[tokio::test]
async fn a_receiver_that_asks_to_wait_is_left_alone() {
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| {
        settings.callbacks.pauses = [30, 60].map(|pause| Limit(seconds(pause))).to_vec();
    });
    let server = bench.start().await;
    let answers = Arc::new(Mutex::new(vec![
        // The longer of the receiver's wait and the ladder's counts, and a day at most.
        (503, "100", seconds(100)),
        (429, "5", seconds(60)),
        (503, "Sat, 10 Jan 2026 01:00:00 GMT", seconds(3600 - 160)),
        (503, "9999999", DAY),
        (500, "9999999", seconds(60)),
    ]));
    let next = answers.clone();
    let answer = move || async move {
        let answers = next.lock().unwrap();
        let (status, wait, _) = answers[0];
        // A date counts by the receiver's clock.
        let headers = [("retry-after", wait), ("date", "Sat, 10 Jan 2026 00:02:40 GMT")];
        (StatusCode::from_u16(status).unwrap(), headers, "later")
    };
    let url = format!("http://{}/enlarge_image", host(Router::new().route("/enlarge_image", post(answer))).await);
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    for attempts in 1..=5 {
        let callback = tried(&server, &task, attempts).await;
        let (_, wait, pause) = answers.lock().unwrap()[0];
        let due = server.clock().now().plus(pause);
        assert_eq!((&callback["state"], &callback["nextTryAt"]), (&json!("pending"), &json!(due.rfc3339())), "{wait}");
        if attempts < 5 {
            answers.lock().unwrap().remove(0);
            server.clock().set(due);
        }
    }
}

/// Ends a task whose key was revoked while it ran, and returns the state and the last outcome of its callback.
async fn revoked_meanwhile(revoked: RevokedCallbacks) -> (String, String, usize) {
    let gate = Gate::new();
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| settings.callbacks.revoked = revoked);
    let server = bench.engines(vec![gate.clone()]).start().await;
    let (receiver, url) = Receiver::answering(&[]).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    gate.holds(1).await;
    server.service.keys().revoke(KeyId(server.key.credentials.access_key_id().to_owned())).await.unwrap();
    forget_keys(&server);
    gate.open(1);
    let (state, outcome) = recorded(&server.rows().await, &task).await;
    (state, outcome, receiver.pushes().len())
}

#[tokio::test]
async fn callbacks_of_a_revoked_key_stop_or_go_on_as_the_setting_says() {
    let (state, outcome, pushes) = revoked_meanwhile(RevokedCallbacks::Stop).await;
    assert_eq!((state.as_str(), pushes), ("abandoned", 0));
    assert!(outcome.contains("is revoked"), "{outcome}");
    let (state, _, pushes) = revoked_meanwhile(RevokedCallbacks::Deliver).await;
    assert_eq!((state.as_str(), pushes), ("acknowledged", 1));
}

#[tokio::test]
async fn a_replaced_signing_secret_leaves_no_gap() {
    // More attempts than a second has room for, which is how long the service may not know the new secret.
    let server = Bench::new().with(|settings| settings.callbacks.tries = 500).start().await;
    let receiver = async |secret: &str| {
        let routes = signed_receiver([secret.parse().unwrap()], |_: Push| async { Ok::<(), String>(()) });
        format!("http://{}/enlarge_image", host(routes).await)
    };
    let old = receiver(&server.key.signing_secret).await;
    let key = KeyId(server.key.credentials.access_key_id().to_owned());
    let delivered = async |url: &str| {
        let task = server.submitted("enlarge_image", enlarge_with_callback("mine", url)).await;
        server.pushed(&task, "acknowledged").await
    };
    delivered(&old).await;
    let secret = server.service.keys().rotate_signing_secret(key.clone(), DAY).await.unwrap();
    let new = receiver(&secret).await;
    delivered(&new).await;
    // From here on the service knows the new one, and the old one is still signed with.
    assert_eq!(delivered(&old).await["tries"].as_array().unwrap().len(), 1);
    assert_eq!(delivered(&new).await["tries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_with_hanging_receivers_delays_no_other_key() {
    let bench = Bench::new().with(|settings| {
        settings.callbacks.at_once = 8;
        settings.callbacks.at_once_per_host = 2;
        settings.callbacks.time = seconds(600);
        settings.shutdown = Duration::ZERO;
    });
    let server = bench.start().await;
    let hanging = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for receiver in 0..12 {
        let hanging = hanging.clone();
        let hang = move || async move {
            hanging.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await
        };
        let silent = host(Router::new().route("/enlarge_image", post(hang))).await;
        let url = format!("http://{silent}/enlarge_image");
        for number in 0..3 {
            let id = format!("{receiver}-{number}");
            tasks.push(server.submitted("enlarge_image", enlarge_with_callback(&id, &url)).await);
        }
    }
    for task in &tasks {
        server.reached(task, "succeeded").await;
    }
    until("half of the slots hang", || async { (hanging.load(Ordering::SeqCst) == 4).then_some(()) }).await;
    let modest = server.service.keys().create("modest").await.unwrap();
    let (receiver, url) = Receiver::answering(&[]).await;
    for number in 0..3 {
        server.call_as(&modest, "enlarge_image", enlarge_with_callback(&number.to_string(), &url)).await.ok();
    }
    until("the other key's are pushed", || async { (receiver.pushes().len() == 3).then_some(()) }).await;
    assert_eq!(hanging.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_fault_of_this_server_does_not_count_as_an_attempt() {
    let gate = Gate::new();
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| settings.callbacks.tries = 1);
    let server = bench.engines(vec![gate.clone()]).start().await;
    let (receiver, url) = Receiver::answering(&[TAKEN]).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    gate.holds(1).await;
    // No callback can be signed without the keys, and no caller is admitted, so that only the rows show what happens.
    let rows = server.rows().await;
    rows.execute("ALTER TABLE keys RENAME TO hidden").await;
    forget_keys(&server);
    gate.open(1);
    for (deferrals, pause) in [(1, 1), (2, 2), (3, 4)] {
        let sql =
            format!("SELECT next_at FROM callbacks WHERE state = 'pending' AND rung = 0 AND deferrals = {deferrals}");
        let found = until("it is put off", || rows.first(&sql)).await;
        let due = Moment(found[0].parse().unwrap());
        assert_eq!(due, server.clock().now().plus(seconds(pause)));
        server.clock().set(due);
    }
    // After a day it counts, so that nothing is pending forever.
    server.clock().set(server.clock().now().plus(DAY));
    let (state, outcome) = recorded(&rows, &task).await;
    assert_eq!((state.as_str(), receiver.pushes().len()), ("abandoned", 0));
    assert!(outcome.starts_with("this service could not make the attempt for 24 h"), "{outcome}");
}

#[tokio::test]
async fn an_unreadable_signing_secret_does_not_count_as_an_attempt() {
    let gate = Gate::new();
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| settings.callbacks.tries = 1);
    let server = bench.engines(vec![gate.clone()]).start().await;
    let (receiver, url) = Receiver::answering(&[TAKEN]).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    gate.holds(1).await;
    let rows = server.rows().await;
    rows.execute("ALTER TABLE keys RENAME TO hidden").await;
    forget_keys(&server);
    gate.open(1);
    prevented(&server, 1).await;
    assert_eq!(receiver.pushes().len(), 0);
    rows.execute("ALTER TABLE hidden RENAME TO keys").await;
    until("it is put off", || rows.first("SELECT id FROM callbacks WHERE deferrals = 1")).await;
    forget_keys(&server);
    let callback = server.pushed(&task, "acknowledged").await;
    assert_eq!((callback["tries"].as_array().unwrap().len(), receiver.pushes().len()), (1, 1));
}

#[tokio::test]
async fn a_clock_that_is_put_back_delays_no_callback_beyond_its_pause() {
    let pauses = [30, 3600].map(|pause| Limit(seconds(pause))).to_vec();
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| settings.callbacks.pauses = pauses);
    let server = bench.start().await;
    let (receiver, url) = Receiver::always((500, "")).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    tried(&server, &task, 1).await;
    let due = async |server: &Server, expected: Moment| {
        until("the next attempt is brought forward", || async {
            let callback = server.callbacks(&task).await.pop()?;
            (callback["nextTryAt"] == json!(expected.rfc3339())).then_some(())
        })
        .await;
    };
    // While it runs.
    let back = |server: &Server, days: u32| {
        let now = server.clock().now();
        server.clock().jump(Moment(now.0 - i64::try_from((days * DAY).as_millis()).unwrap()));
        server.clock().now()
    };
    let now = back(&server, 10);
    due(&server, now.plus(seconds(30))).await;
    server.clock().set(now.plus(seconds(30)));
    tried(&server, &task, 2).await;
    // At the start.
    let bench = server.stop().await;
    bench.clock.jump(Moment::parse("2025-06-01T00:00:00Z").unwrap());
    let server = bench.start().await;
    due(&server, Moment::parse("2025-06-01T01:00:00Z").unwrap()).await;
    assert_eq!(receiver.pushes().len(), 2);
    server.clock().set(server.clock().now().plus(seconds(3600)));
    tried(&server, &task, 3).await;
}

#[tokio::test]
async fn tasks_leave_the_lists_after_their_lifetime_unless_something_needs_them() {
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| {
        settings.tasks.lifetime = Some(3 * DAY);
        settings.callbacks.pauses = vec![Limit(30 * DAY)];
    });
    let server = bench.start().await;
    let (_receiver, url) = Receiver::answering(&[(500, "")]).await;
    let fail = [("x-sandbox", "fail=out of ink")];
    let failed = async |name: &str, url: Option<&str>| {
        let request = match url {
            Some(url) => enlarge_with_callback(name, url),
            None => crate::common::enlarge(name),
        };
        let task = id(&server.call_with(&server.key, "enlarge_image", &fail, request).await.ok());
        server.failed(&task).await;
        task
    };
    let (plain, pending) = (failed("plain", None).await, failed("pending", Some(&url)).await);
    tried(&server, &pending, 1).await;
    let pictured = server.submitted("enlarge_image", crate::common::enlarge("pictured")).await;
    server.reached(&pictured, "succeeded").await;
    server.clock().set(server.clock().now().plus(DAY));
    let young = failed("young", None).await;
    server.clock().set(server.clock().now().plus(seconds(1)));

    let bench = server.stop().await;
    bench.clock.set(bench.clock.now().plus(2 * DAY));
    let server = bench.start().await;
    let listed = until("the old task is deleted", || async {
        let page = server.call("list_tasks", json!({})).await.ok();
        let ids: Vec<_> = page["rows"].as_array().unwrap().iter().map(id).collect();
        (!ids.contains(&plain)).then_some(ids)
    })
    .await;
    assert_eq!(listed, [young, pictured, pending.clone()]);
    server.tool("imgEnlarge", &plain).await.refused(404);
    assert_eq!(server.callbacks(&pending).await[0]["state"], "pending");
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("imgopen_assets_bytes 0\n"), "{metrics}");
}
