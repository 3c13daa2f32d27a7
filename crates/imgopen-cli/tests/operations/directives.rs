//! Directives for the sandbox over HTTP: each causes its kind of trouble, which is reported as such.

use std::time::Instant;

use imgopen_client::{Client, Credentials, Error};
use imgopen_tests::calls::call;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::common::program::{Key, Program, database, imgopen};
use crate::common::rows::{task, text};
use crate::common::until;
use crate::{World, jobs};

/// Returns a client that sends a directive for the sandbox with every call.
fn directed(key: &Key, url: &str, directive: &str) -> Client {
    let headers = HeaderMap::from_iter([("x-sandbox".parse().unwrap(), directive.parse().unwrap())]);
    let http = reqwest::Client::builder().default_headers(headers).build().unwrap();
    Client::builder(url).credentials(Credentials::new(&key.id, &key.secret)).http_client(http).build().unwrap()
}

impl World {
    pub fn directed(&self, directive: &str) -> Client {
        directed(&self.key, &self.program.url, directive)
    }

    fn named(&self, operation: &str, id: &str) -> Value {
        let mut request = self.example(operation);
        request["businessTaskId"] = json!(id);
        request
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn directives_cause_trouble() {
    let limits = ["--set", "time_limit.operations.swap_face=\"500ms\"", "--set", "callbacks.pauses=[\"100ms\"]"];
    let world = World::start(&limits).await;
    for (directive, reason) in [
        ("fail=out of memory", "sandbox: out of memory"),
        ("panic", "the engine `sandbox` panicked; see the server's log"),
        ("hang", "it took longer than 0.5 s, the time limit of `swap_face` (setting `time_limit`)"),
    ] {
        let ended = jobs::run(&world.directed(directive), "swap_face", world.named("swap_face", directive)).await;
        assert!(ended.failure.as_ref().unwrap().ends_with(reason), "{directive}: {ended:?}");
        assert_eq!(
            (text(&ended.row, "state"), text(&ended.row, "desc")),
            ("failed", ended.failure.as_deref().unwrap())
        );
        assert_eq!((ended.row.get("outputImageUrlList"), ended.report.get("outputImageUrl")), (None, None));
    }
    let begun = Instant::now();
    let ended = jobs::run(&world.directed("delay=900ms, slow=1ms"), "outpaint", world.named("outpaint", "late")).await;
    assert!(ended.failure.is_none() && begun.elapsed().as_millis() >= 900, "{ended:?}");
    // The service still works. The operation is another one, because a slow machine may need more than 500 ms.
    let after = jobs::run(&world.client, "swap_faces", world.named("swap_faces", "after")).await;
    assert_eq!(after.failure, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directive_selects_the_sandbox_over_better_engines() {
    let world = World::start(&[]).await;
    let ended = jobs::run(&world.directed("slow=1ms"), "enlarge_image", world.named("enlarge_image", "card")).await;
    assert_eq!((text(&ended.row, "engine"), text(&ended.row, "grade")), ("sandbox", "sandbox"));
    let request = world.named("enlarge_image", "wrong");
    let error = call(&world.directed("explode"), "enlarge_image", &request).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 422);
    let start = "the sandbox directive \"explode\" in the header `x-sandbox` is not known";
    assert!(error.envelope().unwrap().msg.starts_with(start), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hanging_task_can_be_cancelled() {
    let world = World::start(&["--set", "callbacks.pauses=[\"100ms\"]"]).await;
    let request = world.named("outpaint", "endless");
    call(&world.directed("hang"), "outpaint", &request).await.unwrap();
    let running =
        until("it runs", async || Some(task(&world.client, "endless").await).filter(|task| task["state"] == "running"));
    let id = text(&running.await, "taskId").to_owned();
    let cancelled = world.call("cancel_task", json!({ "taskId": id })).await;
    assert_eq!(
        (text(&cancelled["data"], "state"), text(&cancelled["data"], "desc")),
        ("cancelled", "cancelled by the caller")
    );
    let error = call(&world.client, "cancel_task", &json!({ "taskId": id })).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 409, "{error}");
    let pushed = until("its end is pushed", async || world.receiver.seen().pop()).await;
    assert_eq!(pushed.task(), Some(id.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_sandbox_nothing_replaces_a_missing_engine() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = imgopen();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    command.args(database(folder.path()));
    let program = tokio::task::block_in_place(|| Program::start(command));
    let key = tokio::task::block_in_place(|| Key::create(folder.path()));
    let request = json!({
        "prompt": "a lighthouse",
        "batch_size": 1,
        "alwayson_scripts": {"sd_model_checkpoint": "any", "id_task": "1"},
    });
    let status = |error: &Error| error.status().unwrap().as_u16();
    let error = call(&key.client(&program.url), "text_to_image", &request).await.unwrap_err();
    assert_eq!(status(&error), 503);
    assert!(error.envelope().unwrap().msg.starts_with("no engine is configured for `text_to_image`"), "{error}");
    let error = call(&directed(&key, &program.url, "hang"), "text_to_image", &request).await.unwrap_err();
    assert_eq!(status(&error), 400);
    assert!(error.envelope().unwrap().msg.contains("--sandbox"), "{error}");
}
