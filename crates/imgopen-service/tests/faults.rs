//! Requests that are rejected at submit, and tasks that fail without affecting others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, Grade, Inputs, Job, Monitor, Offer, Output};
use imgopen_service::{Limit, SANDBOX};
use imgopen_types::operations;
use serde_json::{Value, json};

use crate::common::engines::{Gate, Own, dot, dot_picture};
use crate::common::{Bench, draw, enlarge, enlarge_with_callback, sandbox, until};

/// An engine that misbehaves as the caller's id says.
fn faulty() -> Arc<Own> {
    Own::new(&operations::ENLARGE_IMAGE, |job, _| async move {
        match job.request::<imgopen_types::EnlargeImageRequest>()?.business_task_id.as_str() {
            "panic" => panic!("asked for by the test"),
            "hang" => std::future::pending().await,
            "aborts" => Err(EngineError::Cancelled),
            "fail" => Err(EngineError::Failed("out of paper".to_owned())),
            _ => Ok(dot()),
        }
    })
}

fn with_short_limit() -> Bench {
    let limit = Limit(Duration::from_millis(200));
    Bench::new().with(|settings| {
        settings.workers = 1;
        settings.time_limit.operations.insert("enlarge_image".to_owned(), limit);
    })
}

#[tokio::test]
async fn a_misbehaving_engine_fails_only_its_task() {
    let server = with_short_limit().engines(vec![faulty()]).start().await;
    let ids = ["panic", "hang", "aborts", "fail", "good"];
    let mut tasks = Vec::new();
    for id in ids {
        tasks.push(server.submitted("enlarge_image", enlarge(id)).await);
    }
    let reasons = [
        "the engine `own` panicked",
        "it took longer than 0.2 s, the time limit of `enlarge_image`",
        "the engine aborted",
        "the engine failed: out of paper",
    ];
    for (task, reason) in tasks.iter().zip(reasons) {
        let failure = server.failed(task).await;
        assert!(failure.starts_with(reason), "{failure}");
        let row = server.task(task).await;
        assert_eq!((&row["engine"], &row["grade"], &row["attempts"]), (&json!("own"), &json!("draft"), &json!(1)));
        assert_eq!(row.get("outputImageUrlList").filter(|list| !list.is_null()), None);
    }
    server.reached(&tasks[4], "succeeded").await;
}

#[tokio::test]
async fn the_sandbox_follows_directives() {
    let server = Bench::new().start().await;
    for (directive, reason) in
        [("fail=out of memory", "sandbox: out of memory"), ("panic", "the engine `sandbox` panicked")]
    {
        let answer = server.call_with(&server.key, "enlarge_image", &[(SANDBOX, directive)], enlarge(directive)).await;
        let failure = server.failed(&crate::common::id(&answer.ok())).await;
        assert!(failure.contains(reason), "{failure}");
    }
    // Directives select the sandbox, even if there is a better engine.
    let server = Bench::new().engines(vec![Gate::new(), Arc::new(sandbox())]).start().await;
    let answer = server.call_with(&server.key, "enlarge_image", &[(SANDBOX, "delay=1ms")], enlarge("1")).await;
    let row = server.reached(&crate::common::id(&answer.ok()), "succeeded").await;
    assert_eq!((&row["engine"], &row["grade"]), (&json!("sandbox"), &json!("sandbox")));
}

#[tokio::test]
async fn invalid_directives_are_rejected_at_submit() {
    let server = Bench::new().start().await;
    let answer = server.call_with(&server.key, "enlarge_image", &[(SANDBOX, "delay=long")], enlarge("1")).await;
    assert!(answer.refused(422).contains("delay=long"));
    let mut drawn = draw("1");
    drawn["prompt"] = json!("a cat [sandbox: explode]");
    assert!(server.call("text_to_image", drawn).await.refused(422).contains("explode"));
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));

    let server = Bench::new().with(|settings| settings.sandbox = false).engines(vec![faulty()]).start().await;
    let answer = server.call_with(&server.key, "enlarge_image", &[(SANDBOX, "fail")], enlarge("1")).await;
    assert!(answer.refused(400).contains("`--sandbox`"));
}

#[tokio::test]
async fn an_operation_without_an_engine_is_rejected_with_the_reason() {
    let server = Bench::new().engines(vec![faulty()]).start().await;
    let msg = server.call("text_to_image", draw("1")).await.refused(503);
    assert!(msg.contains("`text_to_image`") && msg.contains("Stable Diffusion weights"), "{msg}");
    let msg = server.call("expand_prompt", expand("a cat")).await.refused(503);
    assert!(msg.contains("language model"), "{msg}");
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));

    let capabilities = server.call("describe_server", json!({})).await.ok();
    let support = |id: &str| {
        let all = capabilities["operations"].as_array().unwrap();
        all.iter().find(|one| one["operation"] == id).cloned().unwrap_or_default()
    };
    assert_eq!(support("enlarge_image")["available"], json!(true));
    assert_eq!(support("enlarge_image")["engines"], json!([{"name": "own", "grade": "draft"}]));
    assert_eq!(support("text_to_image")["available"], json!(false));
    assert!(support("text_to_image")["missing"].as_str().unwrap().contains("weights"));
    // Queries and lists need no engine.
    assert_eq!((support("query_task"), support("list_models")), (Value::Null, Value::Null));
}

#[tokio::test]
async fn forbidden_addresses_are_rejected_at_submit_by_field() {
    let server = Bench::new().with(|settings| settings.allow_network.clear()).start().await;
    for (url, problem) in [
        ("http://127.0.0.1/a.png", "127.0.0.1"),
        ("http://10.1.2.3/a.png", "10.1.2.3"),
        ("http://169.254.169.254/latest", "169.254.169.254"),
        ("http://localhost/a.png", "localhost"),
        ("http://2130706433/a.png", "127.0.0.1"),
        ("https://me:pass@example.com/a.png", "user name or a password"),
        ("http://example.com:22/a.png", "port 22"),
    ] {
        let mut request = enlarge("1");
        request["sourceImage"] = json!(url);
        let msg = server.call("enlarge_image", request).await.refused(422);
        assert!(msg.starts_with("`sourceImage`: ") && msg.contains(problem) && !msg.contains("pass@"), "{msg}");
        let msg = server.call("enlarge_image", enlarge_with_callback("1", url)).await.refused(422);
        assert!(msg.starts_with("`callbackUrl`: ") && msg.contains(problem), "{msg}");
    }
    let mut request = enlarge("1");
    request["sourceImage"] = json!("ftp://example.com/a.png");
    assert!(server.call("enlarge_image", request).await.refused(422).contains("sourceImage"));
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
}

fn expand(prompt: &str) -> Value {
    json!({"businessTaskId": "mine", "mode": 0, "sourcePrompt": prompt})
}

#[tokio::test]
async fn prompt_expansion_answers_with_its_result() {
    let server = Bench::new().start().await;
    let data = server.call("expand_prompt", expand("a cat")).await.ok();
    assert_eq!((&data["status"], &data["toolTask"]), (&json!(0), &json!("prompts/expand")));
    assert!(data["prompts"][0].as_str().unwrap().contains("a cat"));
    let asked = server.tool("prompts/expand", data["taskId"].as_str().unwrap()).await.ok();
    assert_eq!((&asked["status"], &asked["prompts"]), (&json!(0), &data["prompts"]));
    let msg = server.call("expand_prompt", expand("a cat [sandbox: fail=no words]")).await.refused(500);
    assert!(msg.contains("no words"), "{msg}");
}

#[tokio::test]
async fn prompt_expansion_continues_after_the_answer_time_and_can_be_cancelled() {
    let server = Bench::new().with(|settings| settings.requests.answer_time = Duration::from_millis(100)).start().await;
    let msg = server.call("expand_prompt", expand("a cat [sandbox: hang]")).await.refused(503);
    let rows = server.call("list_tasks", json!({})).await.ok()["rows"].clone();
    let task = rows[0]["taskId"].as_str().unwrap();
    assert!(msg.contains(task), "{msg}");
    server.reached(task, "running").await;

    // A cancel while a caller waits is a conflict, not an error of the server.
    let server = Bench::new().start().await;
    let cancel = async {
        let task = crate::common::until("the task runs", || async {
            let rows = server.call("list_tasks", json!({"states": ["running"]})).await.ok()["rows"].clone();
            rows[0]["taskId"].as_str().map(str::to_owned)
        });
        server.call("cancel_task", json!({"taskId": task.await})).await.ok();
    };
    let (answer, ()) = tokio::join!(server.call("expand_prompt", expand("a cat [sandbox: hang]")), cancel);
    assert!(answer.refused(409).contains("cancelled"));
}

#[tokio::test]
async fn finding_no_face_is_a_success() {
    let blind = Own::new(&operations::DETECT_FACES, |_, _| async { Ok(Output::default()) });
    let server = Bench::new().engines(vec![blind]).start().await;
    let request = json!({"businessTaskId": "1", "imageUrl": "https://example.com/a.png"});
    let task = server.submitted("detect_faces", request).await;
    server.reached(&task, "succeeded").await;
    let data = server.tool("face/detection", &task).await.ok();
    assert_eq!((&data["status"], &data["faces"]), (&json!(1), &json!([])));
}

/// Waits until an engine was called this many times.
async fn calls(count: &AtomicUsize, expected: usize) {
    until("the engine is called", async || (count.load(Ordering::SeqCst) >= expected).then_some(())).await;
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_waits_for_the_disk() {
    let count = Arc::new(AtomicUsize::new(0));
    let called = count.clone();
    let engine = Own::new(&operations::ENLARGE_IMAGE, move |_, _| {
        called.fetch_add(1, Ordering::SeqCst);
        async { Ok(Output { pictures: vec![dot_picture(), dot_picture()], ..Output::default() }) }
    });
    let server = Bench::new().engines(vec![engine]).start().await;
    // A picture lies in one of these directories.
    let assets = server.data_dir().join("assets");
    let shelves: Vec<_> = (0..=255).map(|shelf| assets.join(format!("{shelf:02x}"))).collect();
    shelves.iter().for_each(|shelf| std::fs::write(shelf, "in the way").unwrap());
    let task = server.submitted("enlarge_image", enlarge("1")).await;
    calls(&count, 2).await;
    let row = server.reached(&task, "queued").await;
    assert_eq!(row["attempts"], json!(0));
    shelves.iter().for_each(|shelf| std::fs::remove_file(shelf).unwrap());
    let row = server.reached(&task, "succeeded").await;
    assert_eq!(row["attempts"], json!(1));
    assert_eq!(server.call("list_tasks", json!({"states": ["failed"]})).await.ok()["rows"], json!([]));
}

/// No engine works for a result that cannot be stored, and what has no pictures goes on.
#[tokio::test]
async fn no_run_begins_while_the_pictures_are_away() {
    let count = Arc::new(AtomicUsize::new(0));
    let called = count.clone();
    let enlarge_image = Own::new(&operations::ENLARGE_IMAGE, move |_, _| {
        called.fetch_add(1, Ordering::SeqCst);
        async { Ok(dot()) }
    });
    let blind = Own::new(&operations::DETECT_FACES, |_, _| async { Ok(Output::default()) });
    let server = Bench::new().engines(vec![enlarge_image, blind]).start().await;
    let (assets, disk) = (server.data_dir().join("assets"), server.data_dir().join("disk"));
    std::fs::rename(&assets, &disk).unwrap();
    std::fs::create_dir(&assets).unwrap();
    let task = server.submitted("enlarge_image", enlarge("1")).await;
    until("it is held", async || {
        let answer = server.get("/readyz").send().await.unwrap().text().await.unwrap();
        answer.contains("no task can run that makes pictures").then_some(())
    })
    .await;
    // The end of another run says nothing about the disk.
    let request = json!({"businessTaskId": "2", "imageUrl": "https://example.com/a.png"});
    let other = server.submitted("detect_faces", request).await;
    server.reached(&other, "succeeded").await;
    let answer = server.get("/readyz").send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("no task can run that makes pictures"), "{answer}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
    // It holds nothing, or this would fail.
    std::fs::remove_dir(&assets).unwrap();
    std::fs::rename(&disk, &assets).unwrap();
    assert_eq!(server.reached(&task, "succeeded").await["attempts"], json!(1));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// An engine that is unavailable for its first calls, and counts them.
fn unavailable(times: usize) -> (Arc<Own>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let called = count.clone();
    let engine = Own::new(&operations::ENLARGE_IMAGE, move |_, _| {
        let is_away = called.fetch_add(1, Ordering::SeqCst) < times;
        async move {
            match is_away {
                true => Err(EngineError::Unavailable { reason: "out for lunch".to_owned(), retry_after: None }),
                false => Ok(dot()),
            }
        }
    });
    (engine, count)
}

#[tokio::test]
async fn an_engine_that_is_unavailable_costs_no_attempt_and_holds_up_no_other() {
    let (engine, count) = unavailable(2);
    let other = Own::new(&operations::DETECT_FACES, |_, _| async { Ok(Output::default()) });
    let server = Bench::new().engines(vec![engine, other]).with(|settings| settings.workers = 1).start().await;
    let mut tasks = Vec::new();
    for name in ["1", "2", "3"] {
        tasks.push(server.submitted("enlarge_image", enlarge(name)).await);
    }
    calls(&count, 1).await;
    let request = json!({"businessTaskId": "other", "imageUrl": "https://example.com/a.png"});
    let other = server.submitted("detect_faces", request).await;
    server.reached(&other, "succeeded").await;
    for task in &tasks {
        assert_eq!(server.reached(task, "succeeded").await["attempts"], json!(1));
    }
    assert_eq!(count.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_fault_that_lasts_too_long_fails_the_task_and_says_why() {
    let (engine, count) = unavailable(usize::MAX);
    let bench = Bench::new().engines(vec![engine]).with(|settings| settings.faults.give_up = Duration::ZERO);
    let server = bench.start().await;
    let task = server.submitted("enlarge_image", enlarge("1")).await;
    let reason = server.failed(&task).await;
    assert!(reason.starts_with("the engine is unavailable: out for lunch, for "), "{reason}");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// An engine whose cleaning up panics once.
struct Clumsy(AtomicUsize);

impl Engine for Clumsy {
    fn name(&self) -> &str {
        "clumsy"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer { inputs: Inputs::Unused, ..Offer::new(&operations::ENLARGE_IMAGE, Grade::Draft) }]
    }

    fn run(&self, job: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async move {
            match job.request::<imgopen_types::EnlargeImageRequest>()?.business_task_id.as_str() {
                "good" => Ok(dot()),
                _ => Err(EngineError::Failed("out of paper".to_owned())),
            }
        })
    }

    fn discard<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "asked for by the test");
        Box::pin(async {})
    }
}

#[tokio::test]
async fn a_panic_beside_a_run_costs_neither_the_task_nor_the_worker() {
    let engine = Arc::new(Clumsy(AtomicUsize::new(0)));
    let server = Bench::new().engines(vec![engine]).with(|settings| settings.workers = 1).start().await;
    let bad = server.submitted("enlarge_image", enlarge("bad")).await;
    let good = server.submitted("enlarge_image", enlarge("good")).await;
    assert_eq!(server.failed(&bad).await, "the engine failed: out of paper");
    server.reached(&good, "succeeded").await;
}
