//! Callbacks: pushed until they are acknowledged, signed, and not delayed by other receivers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use imgopen_client::callback::{Push, signed_receiver};
use imgopen_client::types::Callback;
use imgopen_service::{Limit, Moment, SANDBOX};
use imgopen_types::JobState;
use serde_json::{Value, json};

use crate::common::engines::Gate;
use crate::common::web::{Receiver, TAKEN, host};
use crate::common::{Bench, enlarge_with_callback, id, until};

fn outcomes(callback: &Value) -> Vec<(i64, Option<i64>, String)> {
    let tries = callback["tries"].as_array().unwrap().iter();
    let outcome = |attempt: &Value| {
        let outcome = attempt["outcome"].as_str().unwrap().to_owned();
        (attempt["number"].as_i64().unwrap(), attempt["httpStatus"].as_i64(), outcome)
    };
    tries.map(outcome).collect()
}

#[tokio::test]
async fn a_push_is_repeated_until_the_code_200_as_a_string() {
    let server = Bench::new().start().await;
    let answers = [(500, "no"), (200, r#"{"code":200}"#), (200, "OK"), (200, r#"{"code":"0"}"#), (204, ""), TAKEN];
    let (receiver, url) = Receiver::answering(&answers).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    let callback = server.pushed(&task, "acknowledged").await;
    let tries = outcomes(&callback);
    let statuses: Vec<_> = tries.iter().map(|(number, status, _)| (*number, *status)).collect();
    let expected = [(1, 500), (2, 200), (3, 200), (4, 200), (5, 204), (6, 200)];
    assert_eq!(statuses, expected.map(|(number, status)| (number, Some(status))));
    assert!(tries[0].2.contains("HTTP 500") && tries[3].2.contains("\"0\""), "{tries:?}");
    assert_eq!((tries[5].2.as_str(), callback["url"].as_str()), ("acknowledged", Some(url.as_str())));
    assert!(callback["nextTryAt"].is_null());

    // Every attempt sends the same push, and none follows the acknowledgement.
    let pushes = receiver.pushes();
    assert_eq!(pushes.len(), 6);
    let ids: HashSet<_> = pushes.iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), [callback["callbackId"].as_str().unwrap()]);
    assert!(pushes.iter().all(|(headers, body)| *body == pushes[0].1 && headers["content-type"] == "application/json"));
    let read = Callback::read("enlarge_image", &pushes[0].1).unwrap().unwrap();
    assert_eq!(read.state(), JobState::Succeeded);
}

#[tokio::test]
async fn the_pauses_are_those_of_the_ladder() {
    let pauses = [3, 5, 15].map(|seconds| Limit(Duration::from_secs(seconds)));
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| {
        settings.callbacks.pauses = pauses.to_vec();
        settings.callbacks.tries = 5;
    });
    let server = bench.start().await;
    let (receiver, url) = Receiver::always((503, "later")).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    let mut now = server.clock().now();
    for (tried, pause) in [(1, 3), (2, 5), (3, 15), (4, 15)] {
        let callback = until("it was tried", || async {
            let callback = server.callbacks(&task).await.pop()?;
            (outcomes(&callback).len() == tried).then_some(callback)
        })
        .await;
        now = now.plus(Duration::from_secs(pause));
        assert_eq!((&callback["state"], &callback["nextTryAt"]), (&json!("pending"), &json!(now.rfc3339())));
        // Just before it is due, nothing is pushed.
        server.clock().set(Moment(now.0 - 1));
        server.call("describe_server", json!({})).await.ok();
        assert_eq!(receiver.pushes().len(), tried);
        server.clock().set(now);
    }
    let callback = server.pushed(&task, "abandoned").await;
    assert_eq!((outcomes(&callback).len(), &callback["nextTryAt"]), (5, &Value::Null));
    assert_eq!(receiver.pushes().len(), 5);
}

#[tokio::test]
async fn an_abandoned_callback_can_be_redelivered() {
    let server = Bench::new().with(|settings| settings.callbacks.tries = 2).start().await;
    let (receiver, url) = Receiver::answering(&[(500, ""), (500, ""), (500, ""), TAKEN, TAKEN]).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    let callback = server.pushed(&task, "abandoned").await;
    let again = json!({"callbackId": callback["callbackId"]});
    let redelivered = server.call("redeliver_callback", again.clone()).await.ok();
    assert_eq!((&redelivered["state"], outcomes(&redelivered).len()), (&json!("pending"), 2));
    let callback = server.pushed(&task, "acknowledged").await;
    assert_eq!(outcomes(&callback).iter().map(|one| one.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    // So can one that was acknowledged.
    server.call("redeliver_callback", again).await.ok();
    until("it was pushed again", || async { (receiver.pushes().len() == 5).then_some(()) }).await;
    let callback = until("the attempt is recorded", || async {
        let callback = server.pushed(&task, "acknowledged").await;
        (outcomes(&callback).len() == 5).then_some(callback)
    });
    let ids: HashSet<_> = receiver.pushes().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!((ids.len(), &callback.await["taskId"]), (1, &json!(task)));
    server.call("redeliver_callback", json!({"callbackId": "msg_0"})).await.refused(404);
}

#[tokio::test]
async fn a_signed_receiver_accepts_only_pushes_of_its_key() {
    let server = Bench::new().with(|settings| settings.callbacks.tries = 3).start().await;
    let stranger = server.service.keys().create("stranger").await.unwrap();
    let got = Arc::new(Mutex::new(Vec::new()));
    let note = got.clone();
    let handler = move |push: Push| {
        let note = note.clone();
        async move {
            let mut note = note.lock().unwrap();
            note.push((push.id.to_string(), push.callback.state()));
            // The first attempt fails, so that there is a second.
            if note.len() == 1 { Err("busy") } else { Ok(()) }
        }
    };
    let routes = signed_receiver([server.key.signing_secret.parse().unwrap()], handler);
    let url = format!("http://{}/callbacks/enlarge_image", host(Router::new().nest("/callbacks", routes)).await);
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    let callback = server.pushed(&task, "acknowledged").await;
    let expected = (callback["callbackId"].as_str().unwrap().to_owned(), JobState::Succeeded);
    assert_eq!(*got.lock().unwrap(), [expected.clone(), expected]);
    assert_eq!(outcomes(&callback).len(), 2);

    let task = id(&server.call_as(&stranger, "enlarge_image", enlarge_with_callback("mine", &url)).await.ok());
    let callback = until("it is abandoned", || async {
        let page = server.call_as(&stranger, "list_callbacks", json!({"states": ["abandoned"]})).await.ok();
        page["rows"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&callback["taskId"], outcomes(&callback)[0].1), (&json!(task), Some(401)));
    assert_eq!(got.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_receiver_that_never_answers_delays_no_other() {
    let bench = Bench::new().with(|settings| {
        settings.callbacks.at_once_per_host = 2;
        settings.shutdown = Duration::ZERO;
    });
    let server = bench.start().await;
    let silent = host(Router::new().route("/enlarge_image", post(std::future::pending::<()>))).await;
    let (_receiver, url) = Receiver::answering(&[]).await;
    for number in 0..6 {
        let url = format!("http://{silent}/enlarge_image");
        server.submitted("enlarge_image", enlarge_with_callback(&number.to_string(), &url)).await;
    }
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    server.pushed(&task, "acknowledged").await;
    let waiting = server.call("list_callbacks", json!({"states": ["pending"]})).await.ok();
    assert_eq!(waiting["rows"].as_array().unwrap().len(), 6);
    // Nor does it delay the shutdown beyond its limit.
    let start = Instant::now();
    let bench = server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(10));
    let server = bench.start().await;
    let waiting = server.call("list_callbacks", json!({"states": ["pending"]})).await.ok();
    assert_eq!(waiting["rows"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_receiver_that_takes_too_long_is_tried_again() {
    let bench = Bench::new().with(|settings| {
        settings.callbacks.time = Duration::from_millis(150);
        settings.callbacks.tries = 2;
    });
    let server = bench.start().await;
    let silent = host(Router::new().route("/enlarge_image", post(std::future::pending::<()>))).await;
    let url = format!("http://{silent}/enlarge_image");
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    let callback = server.pushed(&task, "abandoned").await;
    for (_, status, outcome) in outcomes(&callback) {
        assert!(status.is_none() && outcome.contains("0.15 s"), "{outcome}");
    }
}

#[tokio::test]
async fn pending_callbacks_are_pushed_after_a_restart() {
    let hour = vec![Limit(Duration::from_secs(3600))];
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| settings.callbacks.pauses = hour);
    let server = bench.start().await;
    let (receiver, url) = Receiver::answering(&[(500, ""), TAKEN]).await;
    let task = server.submitted("enlarge_image", enlarge_with_callback("mine", &url)).await;
    let tried = || async { server.callbacks(&task).await.pop().filter(|callback| outcomes(callback).len() == 1) };
    until("it was tried once", tried).await;
    let bench = server.stop().await;
    let clock = bench.clock.clone();
    let server = bench.start().await;
    assert_eq!(server.callbacks(&task).await[0]["state"], "pending");
    clock.set(clock.now().plus(Duration::from_secs(3600)));
    let callback = server.pushed(&task, "acknowledged").await;
    assert_eq!((outcomes(&callback).len(), receiver.pushes().len()), (2, 2));
}

#[tokio::test]
async fn cancelled_and_failed_tasks_are_pushed() {
    let server = Bench::new().start().await;
    let (receiver, url) = Receiver::answering(&[]).await;
    let start = async |directive: &'static str| {
        let request = enlarge_with_callback(directive, &url);
        id(&server.call_with(&server.key, "enlarge_image", &[(SANDBOX, directive)], request).await.ok())
    };
    let failing = start("fail=out of ink").await;
    server.pushed(&failing, "acknowledged").await;
    let hanging = start("hang").await;
    server.reached(&hanging, "running").await;
    server.call("cancel_task", json!({"taskId": hanging})).await.ok();
    server.pushed(&hanging, "acknowledged").await;
    assert_pushed(&receiver, [(&failing, "out of ink"), (&hanging, "cancelled")]);
}

#[tokio::test]
async fn a_task_that_is_cancelled_in_the_queue_is_pushed() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| settings.workers = 1);
    let server = bench.start().await;
    let (receiver, url) = Receiver::answering(&[]).await;
    server.submitted("enlarge_image", crate::common::enlarge("first")).await;
    gate.holds(1).await;
    let waiting = server.submitted("enlarge_image", enlarge_with_callback("second", &url)).await;
    server.call("cancel_task", json!({"taskId": waiting})).await.ok();
    server.pushed(&waiting, "acknowledged").await;
    assert_pushed(&receiver, [(&waiting, "cancelled")]);
    gate.open(1);
}

/// Checks that exactly these tasks were pushed, as failures with these reasons.
#[track_caller]
fn assert_pushed<const N: usize>(receiver: &Receiver, expected: [(&String, &str); N]) {
    let pushes = receiver.pushes();
    assert_eq!(pushes.len(), N);
    for ((_, body), (task, reason)) in pushes.iter().zip(expected) {
        let callback = Callback::read("enlarge_image", body).unwrap().unwrap();
        assert_eq!(callback.state(), JobState::Failed);
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&body["code"], &body["data"]["taskId"]), (&json!("200"), &json!(task)));
        assert!(body["data"]["desc"].as_str().unwrap().contains(reason), "{body}");
        assert!(body["data"].get("outputImageUrl").is_none());
    }
}
