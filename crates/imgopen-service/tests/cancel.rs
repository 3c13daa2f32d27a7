//! Cancelling tasks, and their progress and previews.

use std::time::{Duration, Instant};

use imgopen_service::SANDBOX;
use serde_json::{Value, json};

use crate::common::engines::{Gate, Own, dot, dot_picture};
use crate::common::{Answer, Bench, draw, enlarge, id, until};

#[tokio::test]
async fn a_queued_task_is_cancelled_and_never_runs() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| settings.workers = 1);
    let server = bench.start().await;
    let first = server.submitted("enlarge_image", enlarge("first")).await;
    gate.holds(1).await;
    let second = server.submitted("enlarge_image", enlarge("second")).await;
    let third = server.submitted("enlarge_image", enlarge("third")).await;
    let row = server.call("cancel_task", json!({"taskId": second})).await.ok();
    assert_eq!((&row["taskId"], &row["state"], &row["attempts"]), (&json!(second), &json!("cancelled"), &json!(0)));
    assert!(row["finishedAt"].is_string() && row["startedAt"].is_null());
    gate.open(2);
    server.reached(&first, "succeeded").await;
    server.reached(&third, "succeeded").await;
    assert_eq!(server.task(&second).await["attempts"], json!(0));
    let data = server.tool("imgEnlarge", &second).await.ok();
    assert_eq!((&data["status"], &data["desc"]), (&json!(2), &json!("cancelled by the caller")));
}

#[tokio::test]
async fn a_running_task_is_cancelled_at_once() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| settings.workers = 1);
    let server = bench.start().await;
    let first = server.submitted("enlarge_image", enlarge("first")).await;
    gate.holds(1).await;
    let second = server.submitted("enlarge_image", enlarge("second")).await;
    let row = server.call("cancel_task", json!({"taskId": first})).await.ok();
    assert_eq!((&row["state"], &row["engine"]), (&json!("cancelled"), &json!("gate")));
    // The engine is cancelled, so the next task gets the slot.
    server.reached(&second, "running").await;
    gate.holds(1).await;
    gate.open(1);
    server.reached(&second, "succeeded").await;
    assert_eq!((gate.most(), &server.task(&first).await["state"]), (1, &json!("cancelled")));

    for ended in [&first, &second] {
        let msg = server.call("cancel_task", json!({"taskId": ended})).await.refused(409);
        assert!(msg.contains("has already ended"), "{msg}");
    }
    server.call("cancel_task", json!({"taskId": "img0"})).await.refused(404);
    // The caller's own id is not enough, because several tasks may have it.
    server.call("cancel_task", json!({"taskId": "first"})).await.refused(404);
}

#[tokio::test]
async fn an_engine_that_ignores_cancellation_keeps_no_slot() {
    let deaf = Own::new(&imgopen_types::operations::ENLARGE_IMAGE, |job, _| async move {
        match job.request::<imgopen_types::EnlargeImageRequest>()?.business_task_id.as_str() {
            "hang" => std::future::pending().await,
            _ => Ok(dot()),
        }
    });
    let server = Bench::new().engines(vec![deaf]).with(|settings| settings.workers = 1).start().await;
    let hanging = server.submitted("enlarge_image", enlarge("hang")).await;
    server.reached(&hanging, "running").await;
    let next = server.submitted("enlarge_image", enlarge("next")).await;
    let start = Instant::now();
    server.call("cancel_task", json!({"taskId": hanging})).await.ok();
    server.reached(&next, "succeeded").await;
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_cancel_is_carried_out_after_a_disconnect() {
    let gate = Gate::new();
    let server = Bench::new().engines(vec![gate.clone()]).start().await;
    let task = server.submitted("enlarge_image", enlarge("mine")).await;
    gate.holds(1).await;
    server.abandoned("cancel_task", json!({"taskId": task})).await;
    server.reached(&task, "cancelled").await;
    gate.holds(0).await;
}

#[tokio::test]
async fn progress_and_a_preview_are_shown_during_a_run() {
    let (go, gate) = tokio::sync::watch::channel(0);
    let engine = Own::new(&imgopen_types::operations::TEXT_TO_IMAGE, move |_, monitor| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|stage| *stage > 0).await.unwrap();
            monitor.step(3, 12);
            gate.wait_for(|stage| *stage > 1).await.unwrap();
            monitor.preview(dot_picture());
            gate.wait_for(|stage| *stage > 2).await.unwrap();
            Ok(dot())
        }
    });
    let server = Bench::new().engines(vec![engine]).start().await;
    let task = server.submitted("text_to_image", draw("mine")).await;
    let row = server.reached(&task, "running").await;
    assert_eq!((&row["progress"], &row["steps"]), (&json!(0), &Value::Null));
    go.send(1).unwrap();
    let query = || async { server.call("query_task", json!({"businessTaskId": "mine"})).await.ok() };
    let image = until("a quarter is done", || async {
        let image = query().await["temporaryImageDto"].clone();
        (image["progress"] == 25.0).then_some(image)
    });
    assert!(image.await.get("imageUrl").is_none());
    let row = server.task(&task).await;
    let shown = ["progress", "step", "steps", "engine", "grade"].map(|name| row[name].clone());
    assert_eq!(shown, [json!(25), json!(3), json!(12), json!("own"), json!("draft")]);

    go.send(2).unwrap();
    let url = until("there is a preview", || async {
        query().await["temporaryImageDto"]["imageUrl"].as_str().map(str::to_owned)
    })
    .await;
    let preview = server.get(&url).send().await.unwrap();
    assert_eq!((preview.status().as_u16(), &preview.headers()["content-type"]), (200, &"image/png".parse().unwrap()));
    assert_eq!(preview.headers()["cache-control"], "no-store");
    assert_eq!(preview.bytes().await.unwrap(), dot_picture().bytes);

    go.send(3).unwrap();
    let row = server.reached(&task, "succeeded").await;
    assert_eq!(row["progress"], json!(100));
    assert!(query().await["temporaryImageDto"].is_null());
    until("the preview is removed", || async {
        let answer = Answer::of(server.get(&url).send().await.unwrap()).await;
        (answer.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_run_shows_progress_and_is_cancelled() {
    let server = Bench::new().start().await;
    let answer = server.call_with(&server.key, "text_to_image", &[(SANDBOX, "slow=50ms")], {
        let mut long = draw("mine");
        long["steps"] = json!(1000);
        long
    });
    let task = id(&answer.await.ok());
    let image = until("there is a preview", || async {
        let data = server.call("query_task", json!({"businessTaskId": task})).await.ok();
        let progress = data["temporaryImageDto"]["progress"].as_f64()?;
        (progress > 0.0).then_some(progress)
    });
    assert!(image.await < 100.0);
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    let data = server.call("query_task", json!({"businessTaskId": task})).await.ok();
    assert_eq!((&data["status"], &data["temporaryImageDto"]), (&json!(5), &Value::Null));
}
