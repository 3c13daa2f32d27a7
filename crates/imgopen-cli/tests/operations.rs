//! Calls every operation of the real binary over a socket, with the examples of the document.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "operations/directives.rs"]
mod directives;
#[path = "operations/jobs.rs"]
mod jobs;
#[path = "operations/results.rs"]
mod results;
#[path = "operations/tools.rs"]
mod tools;

use std::collections::BTreeSet;

use common::pictures::PictureServer;
use common::program::{Key, Program};
use common::receiver::{Receiver, Reply};
use common::rows::{all, text};
use common::until;
use imgopen_client::Client;
use imgopen_tests::calls::{TOOL, call};
use imgopen_tests::document::request_examples;
use imgopen_types::operations;
use jobs::Ended;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;

/// A service and everything it communicates with.
struct World {
    program: Program,
    folder: TempDir,
    key: Key,
    client: Client,
    pictures: PictureServer,
    receiver: Receiver,
}

impl World {
    /// Starts everything. The receiver fails twice, in two ways, before it acknowledges.
    async fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = block_in_place(|| Program::serve(folder.path(), settings));
        let key = block_in_place(|| Key::create(folder.path()));
        let receiver = Receiver::start(&key.signing, |_, before| match before {
            0 => Reply::Fail,
            1 => Reply::WrongCode,
            _ => Reply::Acknowledge,
        });
        let (receiver, pictures, client) = (receiver.await, PictureServer::start().await, key.client(&program.url));
        Self { program, folder, key, client, pictures, receiver }
    }

    /// Returns the example with every field of an operation, with URLs of this machine.
    fn example(&self, operation: &str) -> Value {
        let full = request_examples(operation).into_iter().find(|example| example.name == "full").unwrap();
        self.pictures.instead(&full.value, &format!("{}/{operation}", self.receiver.url))
    }

    /// Calls an operation that does not start a job.
    async fn call(&self, operation: &str, request: Value) -> Value {
        let called = call(&self.client, operation, &request).await.unwrap();
        serde_json::from_str(&called.response).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_job_has_the_result_of_its_example() {
    let world = World::start(&["--set", "callbacks.pauses=[\"100ms\"]"]).await;
    let wants = results::wants();
    let known: BTreeSet<_> = operations::ALL.iter().filter(|known| known.job.is_some()).map(|known| known.id).collect();
    assert_eq!(wants.iter().map(|want| want.id).collect::<BTreeSet<_>>(), known);
    let mut ended = Vec::new();
    // The directive sends tools that have a real engine to the sandbox too.
    let to_cards = world.directed("delay=0s");
    for want in &wants {
        let client = if want.is_card() { &to_cards } else { &world.client };
        let job = jobs::run(client, want.id, world.example(want.id)).await;
        want.check(&world, &job).await;
        ended.push(job);
    }
    let with_address = operations::ALL.iter().filter(|known| known.callback.is_some()).count();
    let listed = until("all callbacks are acknowledged", async || {
        let listed = all(&world.client, "list_callbacks", json!({"states": ["acknowledged"]})).await;
        (listed.len() == with_address).then_some(listed)
    });
    check_callbacks(&world, &listed.await, &ended);
}

/// Every end was pushed three times with one id, and the list contains the outcome of each delivery attempt.
fn check_callbacks(world: &World, listed: &[Value], ended: &[Ended]) {
    let seen = world.receiver.seen();
    assert_eq!(seen.len(), listed.len() * 3);
    for callback in listed {
        let job = ended.iter().find(|job| job.platform_id == text(callback, "taskId")).unwrap();
        let pushes: Vec<_> = seen.iter().filter(|seen| seen.id == text(callback, "callbackId")).collect();
        assert_eq!(pushes.len(), 3, "{callback}");
        for push in pushes {
            assert!(push.is_trusted && push.operation == job.operation, "{push:?}");
            job.check_push(&push.body);
        }
        let tries: Vec<_> = callback["tries"].as_array().unwrap().iter().map(|one| text(one, "outcome")).collect();
        let wrong = "answered the code \"0\"; only \"200\" acknowledges";
        assert_eq!(tries, ["answered HTTP 500 Internal Server Error", wrong, "acknowledged"]);
        assert_eq!(callback.get("nextTryAt"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_without_a_job_are_answered_immediately() {
    let world = World::start(&[]).await;
    let expanded = world.call("expand_prompt", world.example("expand_prompt")).await;
    let prompts: Vec<_> =
        expanded["data"]["prompts"].as_array().unwrap().iter().map(|prompt| prompt.as_str().unwrap()).collect();
    assert_eq!((prompts.len(), &expanded["data"]["toolTask"]), (2, &json!("prompts/expand")));
    assert!(prompts[0] != prompts[1] && prompts.iter().all(|prompt| prompt.contains("a girl")), "{prompts:?}");
    let directed = call(&world.directed("delay=0s"), "expand_prompt", &world.example("expand_prompt")).await.unwrap();
    let directed: Value = serde_json::from_str(&directed.response).unwrap();
    assert_eq!(directed["data"]["prompts"], json!(["sandbox, a girl, variation 1", "sandbox, a girl, variation 2"]));

    for (list, field, name) in [
        ("list_models", "sdModelName", "Sandbox test cards"),
        ("list_loras", "sdLoraName", "Sandbox LoRA, without effect"),
        ("list_vaes", "sdVaeName", "Sandbox VAE, without effect"),
        ("list_embeddings", "sdEmbeddingName", "Sandbox embedding, without effect"),
    ] {
        // The example names a model that this server does not have.
        let none = world.call(list, world.example(list)).await;
        assert_eq!((&none["data"]["rows"], &none["data"]["total"]), (&json!([]), &json!(0)), "{list}");
        let found = world.call(list, json!({field: "sandbox", "pageSize": 10, "pageNum": 1})).await;
        assert_eq!((text(&found["data"]["rows"][0], field), &found["data"]["total"]), (name, &json!(1)), "{list}");
        let beyond = world.call(list, json!({"pageSize": 10, "pageNum": 2})).await;
        assert_eq!((&beyond["data"]["rows"], &beyond["data"]["total"]), (&json!([]), &json!(1)), "{list}");
    }

    for query in ["query_task", "query_archived_task", "query_tool_task", "query_training"] {
        let error = call(&world.client, query, &world.example(query)).await.unwrap_err();
        assert_eq!(error.status().unwrap(), 404, "{query}");
        assert!(error.envelope().unwrap().msg.starts_with("no task has the id"), "{query}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_is_found_by_both_ids_but_only_by_its_own_query() {
    let world = World::start(&[]).await;
    let card = jobs::run(&world.client, "text_to_image", world.example("text_to_image")).await;
    let hair = jobs::run(&world.client, "change_hairstyle", world.example("change_hairstyle")).await;
    assert_eq!(TOOL.as_str(), "hair/change");
    for id in [&card.caller_id, &card.platform_id] {
        for query in ["query_task", "query_archived_task"] {
            let found = world.call(query, json!({ "businessTaskId": id })).await;
            assert_eq!(
                found["data"]["differentialImageRspList"], card.report["differentialImageRspList"],
                "{query} {id}"
            );
        }
        let error = call(&world.client, "query_tool_task", &json!({ "businessTaskId": id })).await.unwrap_err();
        assert_eq!(error.status().unwrap(), 404);
    }
    for id in [&hair.caller_id, &hair.platform_id] {
        let found = world.call("query_tool_task", json!({ "businessTaskId": id })).await;
        assert_eq!(found["data"]["outputImageUrl"], hair.report["outputImageUrl"]);
        let error = call(&world.client, "query_task", &json!({ "businessTaskId": id })).await.unwrap_err();
        assert_eq!(error.status().unwrap(), 404);
    }
    // Tasks of another key are not found.
    let stranger = block_in_place(|| Key::create(world.folder.path())).client(&world.program.url);
    let error = call(&stranger, "query_task", &json!({ "businessTaskId": card.platform_id })).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 404);
    assert!(all(&stranger, "list_tasks", json!({})).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_server_describes_itself() {
    let world = World::start(&["--set", "queue.length=77"]).await;
    let described = world.call("describe_server", json!({})).await;
    let support = described["data"]["operations"].as_array().unwrap();
    assert_eq!((support.len(), &described["data"]["sandbox"]), (22, &json!(true)));
    assert_eq!(described["data"]["limits"]["queueLength"], 77);
    let missing: Vec<_> =
        support.iter().filter(|one| one["available"] == false).map(|one| text(one, "operation")).collect();
    assert_eq!(missing, ["submit_training"]);
    let enlarge = support.iter().find(|one| one["operation"] == "enlarge_image").unwrap();
    let engines = json!([{"name": "lanczos", "grade": "classical"}, {"name": "sandbox", "grade": "sandbox"}]);
    assert_eq!(enlarge["engines"], engines);
}
