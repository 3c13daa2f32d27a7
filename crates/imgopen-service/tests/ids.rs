//! Which id finds which task, and which submits are repetitions.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use imgopen_service::{IDEMPOTENCY_KEY, Moment, SANDBOX};
use serde_json::{Value, json};

use crate::common::engines::Gate;
use crate::common::{Bench, Server, draw, enlarge, id};

const KEY: &[(&str, &str)] = &[(IDEMPOTENCY_KEY, "order-7")];

async fn found(server: &Server, asked: &str) -> String {
    id(&server.tool("imgEnlarge", asked).await.ok())
}

async fn repeat(server: &Server, body: Value) -> crate::common::Answer {
    server.call_with(&server.key, "enlarge_image", KEY, body).await
}

#[tokio::test]
async fn a_repeated_caller_id_finds_the_newest_task() {
    let server = Bench::new().start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(server.submitted("enlarge_image", enlarge("mine")).await);
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(found(&server, "mine").await, ids[2]);
    for id in &ids {
        assert_eq!(&found(&server, id).await, id);
    }
    // A caller's id that equals a platform's id does not hide the task of that id.
    server.submitted("enlarge_image", enlarge(&ids[0])).await;
    assert_eq!(found(&server, &ids[0]).await, ids[0]);
}

#[tokio::test]
async fn a_caller_id_has_at_most_255_characters() {
    let server = Bench::new().start().await;
    let longest = "é".repeat(255);
    let task = server.submitted("enlarge_image", enlarge(&longest)).await;
    assert_eq!(found(&server, &longest).await, task);
    let listed = server.call("list_tasks", json!({"callerId": longest})).await.ok();
    assert_eq!(listed["rows"][0]["taskId"], json!(task));
    let long = "x".repeat(256);
    for (operation, request, field) in [
        ("enlarge_image", enlarge(&long), "businessTaskId"),
        ("text_to_image", draw(&long), "alwayson_scripts.id_task"),
        ("submit_training", json!({"taskId": long}), "taskId"),
    ] {
        let msg = server.call(operation, request).await.refused(422);
        assert!(msg.contains(field) && msg.contains("255") && msg.len() < 2000, "{field}: {msg}");
    }
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn both_ids_find_a_generated_picture() {
    let server = Bench::new().start().await;
    let task = server.submitted("text_to_image", draw("mine")).await;
    server.reached(&task, "succeeded").await;
    for asked in [task.as_str(), "mine"] {
        let data = server.call("query_task", json!({"businessTaskId": asked})).await.ok();
        assert_eq!((&data["id_task"], &data["status"]), (&json!(asked), &json!(2)));
        assert_eq!(data["differentialImageRspList"].as_array().unwrap().len(), 1);
        let data = server.call("query_archived_task", json!({"businessTaskId": asked})).await.ok();
        assert_eq!((&data["task_id"], &data["status"]), (&json!(task), &json!(2)));
    }
    // Queries of generation jobs do not find tasks of tools, nor the other way round.
    let tool = server.submitted("enlarge_image", enlarge("tool")).await;
    assert!(server.call("query_task", json!({"businessTaskId": tool})).await.refused(404).contains(&tool));
    server.tool("imgEnlarge", &task).await.refused(404);
}

/// Whichever query is asked, and by which of the two ids.
#[tokio::test]
async fn a_query_that_does_not_find_a_task_names_the_one_that_does() {
    let server = Bench::new().start().await;
    let tool = server.submitted("enlarge_image", enlarge("tool")).await;
    let drawn = server.submitted("text_to_image", draw("drawn")).await;
    server.call("submit_training", train("lora")).await.ok();
    let points = async |operation: &str, field: &str, id: &str, task: &str, query: &str| {
        let msg = server.call(operation, json!({field: id})).await.refused(404);
        assert!(msg.starts_with(&format!("the task {id:?} is one of `{task}`")) && msg.contains(query), "{msg}");
    };
    let enlarged =
        "`query_tool_task` and the `toolCode` `imgEnlarge` (`/AIGCImgOpenServ/saas/tool/imgEnlarge/queryTask`)";
    for id in [tool.as_str(), "tool"] {
        points("query_task", "businessTaskId", id, "enlarge_image", enlarged).await;
        points("query_archived_task", "businessTaskId", id, "enlarge_image", enlarged).await;
        points("query_training", "taskId", id, "enlarge_image", enlarged).await;
        points("tool/watermark", "businessTaskId", id, "enlarge_image", enlarged).await;
    }
    for id in [drawn.as_str(), "drawn"] {
        points("tool/imgEnlarge", "businessTaskId", id, "text_to_image", "`query_task`").await;
        points("query_training", "taskId", id, "text_to_image", "`query_task`").await;
    }
    points("query_task", "businessTaskId", "lora", "submit_training", "`query_training`").await;
    points("tool/imgEnlarge", "businessTaskId", "lora", "submit_training", "`query_training`").await;
    let msg = server.call("query_task", json!({"businessTaskId": "nothing"})).await.refused(404);
    assert_eq!(msg, "no task has the id \"nothing\"; check the id");
    // What another key has started stays unknown.
    let stranger = server.service.keys().create("stranger").await.unwrap();
    let msg = server.call_as(&stranger, "query_task", json!({"businessTaskId": tool})).await.refused(404);
    assert!(msg.starts_with("no task has the id"), "{msg}");
}

#[tokio::test]
async fn a_tool_finds_its_own_tasks_only() {
    let server = Bench::new().start().await;
    let task = server.submitted("enlarge_image", enlarge("mine")).await;
    for asked in [task.as_str(), "mine"] {
        for other in ["watermark", "hair/change", "prompts/expand"] {
            let msg = server.tool(other, asked).await.refused(404);
            assert!(msg.contains("`toolCode` `imgEnlarge`"), "{msg}");
        }
    }
    let msg = server.tool("nothing", &task).await.refused(404);
    assert!(msg.contains("use one of"), "{msg}");
}

#[tokio::test]
async fn tasks_of_another_key_are_not_found() {
    let server = Bench::new().start().await;
    let stranger = server.service.keys().create("stranger").await.unwrap();
    let (_receiver, url) = crate::common::web::Receiver::answering(&[]).await;
    let task = server.submitted("enlarge_image", crate::common::enlarge_with_callback("mine", &url)).await;
    let callback = server.pushed(&task, "acknowledged").await["callbackId"].clone();
    for asked in [task.as_str(), "mine"] {
        server.call_as(&stranger, "tool/imgEnlarge", json!({"businessTaskId": asked})).await.refused(404);
    }
    server.call_as(&stranger, "cancel_task", json!({"taskId": task})).await.refused(404);
    server.call_as(&stranger, "redeliver_callback", json!({"callbackId": callback})).await.refused(404);
    for list in ["list_tasks", "list_callbacks"] {
        let page = server.call_as(&stranger, list, json!({"taskId": task})).await.ok();
        assert_eq!(page["rows"], json!([]), "{list}");
        assert_eq!(server.call_as(&stranger, list, json!({})).await.ok()["rows"], json!([]), "{list}");
    }
    // Each key has its own caller's ids.
    let own = id(&server.call_as(&stranger, "enlarge_image", enlarge("mine")).await.ok());
    assert_ne!(own, task);
    assert_eq!(found(&server, "mine").await, task);
}

fn train(id: &str) -> Value {
    let pictures: Vec<_> = (0..10).map(|number| format!("http://127.0.0.1:2/{number}.png")).collect();
    json!({"taskId": id, "fileUrlList": pictures})
}

#[tokio::test]
async fn a_repeated_training_id_is_a_repetition_or_a_conflict() {
    let server = Bench::new().start().await;
    let first = server.call("submit_training", train("lora")).await;
    assert_eq!((first.status, &first.body["code"]), (200, &json!("200")));
    let again = server.call("submit_training", train("lora")).await;
    assert_eq!(again.body, first.body);
    let tasks = server.call("list_tasks", json!({"callerId": "lora"})).await.ok();
    assert_eq!(tasks["rows"].as_array().unwrap().len(), 1);
    let earlier = tasks["rows"][0]["taskId"].as_str().unwrap();
    let mut other = train("lora");
    other["maxEpochs"] = json!(11);
    let msg = server.call("submit_training", other.clone()).await.refused(409);
    assert!(msg.starts_with("`taskId`") && msg.contains(earlier), "{msg}");
    // An idempotency key does not free a used id.
    server.call_with(&server.key, "submit_training", KEY, other.clone()).await.refused(409);
    server.reached(earlier, "failed").await;
    assert_eq!(server.call("submit_training", train("lora")).await.body, first.body);
    // Another key has its own ids.
    let stranger = server.service.keys().create("stranger").await.unwrap();
    server.call_as(&stranger, "submit_training", other).await.ok();
    let data = server.call("query_training", json!({"taskId": "lora"})).await.ok();
    assert_eq!((&data["taskId"], &data["maxEpochs"]), (&json!("lora"), &json!(20)));
}

#[tokio::test]
async fn an_idempotency_key_makes_a_submit_safe_to_repeat() {
    let server = Bench::new().at("2026-01-10T00:00:00Z").start().await;
    let first = repeat(&server, enlarge("mine")).await;
    let again = repeat(&server, enlarge("mine")).await;
    assert_eq!(first.body, again.body);
    let task = id(&first.ok());
    let msg = repeat(&server, enlarge("other")).await.refused(409);
    assert!(msg.contains("`Idempotency-Key`") && msg.contains(&task), "{msg}");
    // The same key with another operation is a conflict, too.
    let drawn = server.call_with(&server.key, "text_to_image", KEY, draw("mine")).await;
    drawn.refused(409);
    let stranger = server.service.keys().create("stranger").await.unwrap();
    assert_ne!(id(&server.call_with(&stranger, "enlarge_image", KEY, enlarge("other")).await.ok()), task);

    // It expires after a day.
    let begin = server.clock().now();
    let day = Duration::from_secs(24 * 60 * 60);
    server.clock().set(Moment(begin.plus(day).0 - 1));
    assert_eq!(id(&repeat(&server, enlarge("mine")).await.ok()), task);
    server.clock().set(begin.plus(day));
    assert_ne!(id(&repeat(&server, enlarge("mine")).await.ok()), task);
}

#[tokio::test]
async fn an_idempotency_key_holds_for_trainings_too() {
    let server = Bench::new().start().await;
    let submit = |id: &'static str| server.call_with(&server.key, "submit_training", KEY, train(id));
    let first = submit("a").await;
    assert_eq!(submit("a").await.body, first.body);
    let msg = submit("b").await.refused(409);
    assert!(msg.starts_with("the header `Idempotency-Key`"), "{msg}");
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"].as_array().unwrap().len(), 1);
}

/// A client that sends the same id with every prompt can still query the tasks that have ended.
#[tokio::test]
async fn the_archive_ignores_a_newer_running_task() {
    let server = Bench::new().start().await;
    let ended = server.submitted("text_to_image", draw("constant")).await;
    server.reached(&ended, "succeeded").await;
    let hangs = [(SANDBOX, "hang")];
    let newer = id(&server.call_with(&server.key, "text_to_image", &hangs, draw("constant")).await.ok());
    server.reached(&newer, "running").await;
    let asked = json!({"businessTaskId": "constant"});
    assert_eq!(server.call("query_task", asked.clone()).await.ok()["status"], 3);
    assert_eq!(server.call("query_archived_task", asked).await.ok()["task_id"], json!(ended));
    server.call("query_archived_task", json!({"businessTaskId": newer})).await.refused(404);
}

/// A repeated submit starts no task, so rules that apply only since the first one are not checked.
#[tokio::test]
async fn a_repeated_submit_is_not_checked_again() {
    let server = Bench::new().start().await;
    let urls: Vec<_> = (1..=10).map(|number| format!("http://127.0.0.1:8000/{number}")).collect();
    let mut picture = enlarge("mine");
    picture["sourceImage"] = json!(urls[0]);
    let training = json!({"taskId": "mine", "fileUrlList": urls, "clipSkip": 2, "pretrainedModel": "base"});
    let enlarged = id(&repeat(&server, picture.clone()).await.ok());
    server.call("submit_training", training.clone()).await.ok();
    let bench = server.stop().await;
    // A model of that name is added, which the trainer would reject with these options.
    let models = bench.data_dir.path().join("models").join("checkpoints");
    std::fs::create_dir_all(&models).unwrap();
    let header = br#"{"__metadata__":{"modelspec.architecture":"stable-diffusion-xl-v1-base"}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    std::fs::write(models.join("base.safetensors"), file).unwrap();
    let server = bench.start().await;
    server.call("submit_training", training.clone()).await.ok();
    let other = |name: &str, value: Value| {
        let mut other = training.clone();
        other[name] = value;
        other
    };
    let refused = server.call("submit_training", other("taskId", json!("other"))).await.refused(422);
    assert!(refused.starts_with("`clipSkip`"), "{refused}");
    server.call("submit_training", other("maxEpochs", json!(11))).await.refused(409);
    // The network of the picture is no longer allowed.
    let server = server.stop().await.with(|settings| settings.allow_network.clear()).start().await;
    assert_eq!(id(&repeat(&server, picture.clone()).await.ok()), enlarged);
    server.call("enlarge_image", picture).await.refused(422);
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_length_of_an_idempotency_key_is_limited() {
    let server = Bench::new().start().await;
    for key in ["", &"k".repeat(256)] {
        let answer = server.call_with(&server.key, "enlarge_image", &[(IDEMPOTENCY_KEY, key)], enlarge("1")).await;
        assert!(answer.refused(400).contains("1 to 255"));
    }
    let longest = "k".repeat(255);
    server.call_with(&server.key, "enlarge_image", &[(IDEMPOTENCY_KEY, &longest)], enlarge("1")).await.ok();
    let twice = [(IDEMPOTENCY_KEY, "a"), (IDEMPOTENCY_KEY, "b")];
    server.call_with(&server.key, "enlarge_image", &twice, enlarge("1")).await.refused(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_concurrent_repetitions_start_one_task() {
    let server = Bench::new().start().await;
    let answers = join_all((0..20).map(|_| repeat(&server, enlarge("mine")))).await;
    let ids: HashSet<_> = answers.into_iter().map(|answer| id(&answer.ok())).collect();
    assert_eq!(ids.len(), 1);
    let tasks = server.call("list_tasks", json!({})).await.ok();
    assert_eq!(tasks["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_submit_is_answered_while_the_queue_is_full() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| {
        settings.workers = 1;
        settings.queue.length = 1;
    });
    let server = bench.start().await;
    server.submitted("enlarge_image", enlarge("runs")).await;
    gate.holds(1).await;
    let waiting = id(&repeat(&server, enlarge("waits")).await.ok());
    server.call("enlarge_image", enlarge("more")).await.refused(429);
    assert_eq!(id(&repeat(&server, enlarge("waits")).await.ok()), waiting);
    repeat(&server, enlarge("other")).await.refused(409);
    let new = [(IDEMPOTENCY_KEY, "new")];
    server.call_with(&server.key, "enlarge_image", &new, enlarge("more")).await.refused(429);
    gate.open(2);
    server.reached(&waiting, "succeeded").await;
}
