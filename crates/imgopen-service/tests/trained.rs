//! Trainings by a trainer that is made of recordings: the LoRA is a result, is listed for its key alone, and is used.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, Grade, Inputs, Job, JobRequest, Monitor, Offer, Output, tags};
use imgopen_service::{NewKey, Settings, StartError};
use imgopen_types::{TextToImageRequest, operations};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::common::engines::{Own, dot, dot_picture};
use crate::common::web::{Receiver, host};
use crate::common::{Bench, Server, draw, is_on_postgres, until};
use crate::fake_trainer::{FakeTrainer, processes};

/// A service with a trainer and a base model.
fn bench(fake: &FakeTrainer) -> Bench {
    let bench = Bench::new().with(|settings| configure(settings, fake));
    FakeTrainer::base_model(&bench.data_dir.path().join("models"));
    bench
}

fn configure(settings: &mut Settings, fake: &FakeTrainer) {
    settings.training.scripts = Some(fake.scripts());
    settings.training.accelerate = fake.accelerate();
}

/// A training of ten pictures on a new host.
async fn training(id: &str) -> Value {
    let address = host(Router::new().route("/{number}", get(|| async { dot_picture().bytes }))).await;
    let urls: Vec<_> = (0..10).map(|number| format!("http://{address}/{number}")).collect();
    json!({"taskId": id, "fileUrlList": urls, "pretrainedModel": "base"})
}

/// Submits a training, and returns the platform's id.
async fn submitted(server: &Server, key: &NewKey, request: Value) -> String {
    server.call_as(key, "submit_training", request.clone()).await.ok();
    let tasks = server.call_as(key, "list_tasks", json!({"callerId": request["taskId"]})).await.ok();
    tasks["rows"][0]["taskId"].as_str().unwrap().to_owned()
}

/// Waits for the end of a training, and returns what its query answers.
async fn ended(server: &Server, key: &NewKey, id: &str) -> Value {
    until(&format!("{id} has ended"), || async {
        let data = server.call_as(key, "query_training", json!({"taskId": id})).await.ok();
        (data["desc"] != "queued" && data["desc"] != "running").then_some(data)
    })
    .await
}

/// Submits a training that goes on until it is cancelled, and waits until it is at work.
async fn at_work(server: &Server, id: &str) -> String {
    let task = submitted(server, &server.key, training(id).await).await;
    until("the trainer is at work", || async { (server.task(&task).await["step"] == 9).then_some(()) }).await;
    task
}

/// The names of the LoRAs that a key sees, without that of the sandbox.
async fn loras(server: &Server, key: &NewKey) -> Vec<String> {
    let page = server.call_as(key, "list_loras", json!({"pageSize": 100, "pageNum": 1})).await.ok();
    let rows = page["rows"].as_array().unwrap();
    let names = rows.iter().map(|row| row["sdLoraFileSimplifyName"].as_str().unwrap().to_owned());
    names.filter(|name| name != "sandbox_lora").collect()
}

fn drawing(id: &str, prompt: &str) -> Value {
    let mut request = draw(id);
    request["prompt"] = json!(prompt);
    request
}

#[tokio::test]
async fn a_lora_is_trained_downloaded_listed_and_used() {
    let fake = FakeTrainer::new();
    let drawn = Arc::new(Mutex::new(Vec::new()));
    let prompts = drawn.clone();
    let engine = Own::new(&operations::TEXT_TO_IMAGE, move |job, _| {
        prompts.lock().unwrap().push(job.request::<TextToImageRequest>().unwrap().prompt);
        async { Ok(dot()) }
    });
    let server = bench(&fake).engines(vec![engine]).start().await;
    let other = server.service.keys().create("other").await.unwrap();

    let (receiver, url) = Receiver::answering(&[]).await;
    let mut request = training("ink.v2").await;
    request["callbackUrl"] = json!(url);
    let task = submitted(&server, &server.key, request).await;
    let data = ended(&server, &server.key, "ink.v2").await;
    assert_eq!((&data["status"], &data["desc"], &data["epoch"]), (&json!(2), &json!("success"), &json!(20)), "{data}");
    assert_eq!(data["modelName"], "ink.v2.safetensors");
    let row = server.reached(&task, "succeeded").await;
    assert_eq!((&row["engine"], &row["grade"]), (&json!("trainer"), &json!("neural")));

    assert_eq!((row["outputFileUrlList"].clone(), row.get("outputImageUrlList")), (json!([data["modelUrl"]]), None));
    let url = data["modelUrl"].as_str().unwrap();
    let answer = server.get(url).send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((answer.status().as_u16(), header("content-type")), (200, "application/octet-stream".to_owned()));
    let named = "attachment; filename=\"ink.v2.safetensors\"; filename*=UTF-8''ink%2Ev2%2Esafetensors";
    assert_eq!(header("content-disposition"), named);
    assert_eq!(answer.bytes().await.unwrap(), FakeTrainer::lora());
    let part = server.get(url).header("range", "bytes=8-11").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().as_ref()), (206, &FakeTrainer::lora()[8..12]));

    server.pushed(&task, "acknowledged").await;
    let pushed: Value = serde_json::from_slice(&receiver.pushes()[0].1).unwrap();
    for name in ["taskId", "status", "desc", "epoch", "maxEpochs", "modelName", "modelUrl"] {
        assert_eq!(pushed["data"][name], data[name], "{name}");
    }

    // It is its key's alone.
    assert_eq!((loras(&server, &server.key).await, loras(&server, &other).await), (vec!["ink.v2".to_owned()], vec![]));
    let id = server.submitted("text_to_image", drawing("own", "a cat <lora:ink.v2:0.8>")).await;
    server.reached(&id, "succeeded").await;
    for tag in ["<lora:ink.v2:0.8>", "<lora:INK.V2>", "<lyco:sub/ink.v2.safetensors:1>", "<lora:te=1:ink.v2>"] {
        let request = drawing("others", &format!("a cat {tag}"));
        let msg = server.call_as(&other, "text_to_image", request).await.refused(422);
        assert!(msg.starts_with("`prompt`: there is no LoRA"), "{msg}");
    }
    let mut elsewhere = drawing("elsewhere", "a cat");
    elsewhere["negative_prompt"] = json!("<lora:ink.v2:1>");
    let msg = server.call_as(&other, "text_to_image", elsewhere).await.refused(422);
    assert!(msg.starts_with("`negative_prompt`: "), "{msg}");
    assert_eq!(*drawn.lock().unwrap(), ["a cat <lora:ink.v2:0.8>"]);

    // A name is taken for everyone, in any case of its letters.
    for (key, id) in [(&other, "ink.v2"), (&other, "INK.V2"), (&server.key, "Ink.v2")] {
        let msg = server.call_as(key, "submit_training", training(id).await).await.refused(422);
        assert_eq!(msg, "`taskId`: the LoRA would be named \"ink.v2\", which is taken; give another id");
    }
    // The operator shares it by deleting the file beside it.
    let owner = server.data_dir().join("models/Lora/ink.v2.imgopen");
    std::fs::remove_file(&owner).unwrap();
    assert_eq!(loras(&server, &other).await, ["ink.v2"]);
    std::fs::remove_file(owner.with_extension("safetensors")).unwrap();
    if is_on_postgres() {
        // Of several processes, one that has it may be away, so its name stays taken.
        let msg = server.call_as(&other, "submit_training", training("ink.v2").await).await.refused(422);
        assert!(msg.contains("is taken"), "{msg}");
        return;
    }
    // Without the LoRA, its name is free again.
    server.call_as(&other, "submit_training", training("ink.v2").await).await.ok();
    assert_eq!(ended(&server, &other, "ink.v2").await["status"], 2);
    assert_eq!((loras(&server, &server.key).await.len(), loras(&server, &other).await.len()), (0, 1));
}

/// An engine that takes the LoRAs which it found when it last looked, and looks only when it is asked to.
struct Looking {
    folder: PathBuf,
    found: Mutex<Vec<String>>,
    /// How many looks may end.
    ends: Semaphore,
}

impl Engine for Looking {
    fn name(&self) -> &'static str {
        "looking"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer { inputs: Inputs::Unused, ..Offer::new(&operations::TEXT_TO_IMAGE, Grade::Draft) }]
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let prompt = request.typed::<TextToImageRequest>()?.prompt;
        let found = self.found.lock().unwrap();
        match tags::networks(&prompt).into_iter().find(|name| !found.contains(&format!("{name}.safetensors"))) {
            Some(name) => Err(EngineError::rejected("prompt", tags::unknown_lora(name))),
            None => Ok(()),
        }
    }

    fn rescan(&self) -> BoxFuture<'_, ()> {
        let files = std::fs::read_dir(&self.folder).unwrap().map(|file| file.unwrap().file_name());
        *self.found.lock().unwrap() = files.map(|name| name.into_string().unwrap()).collect();
        Box::pin(async { self.ends.acquire().await.unwrap().forget() })
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(dot()) })
    }
}

#[tokio::test]
async fn engines_have_learned_of_a_lora_when_its_training_ends() {
    let fake = FakeTrainer::new();
    let bench = bench(&fake);
    let folder = bench.data_dir.path().join("models/Lora");
    let engine = Looking { folder, found: Mutex::default(), ends: Semaphore::new(9) };
    let server = bench.engines(vec![Arc::new(engine)]).start().await;
    let request = |id: &str| drawing(id, "a cat <lora:ink:0.8>");
    let msg = server.call("text_to_image", request("before")).await.refused(422);
    assert!(msg.contains("there is no LoRA \"ink\""), "{msg}");
    server.call("submit_training", training("ink").await).await.ok();
    assert_eq!(ended(&server, &server.key, "ink").await["status"], 2);
    let id = server.submitted("text_to_image", request("after")).await;
    server.reached(&id, "succeeded").await;
}

/// It is withdrawn after engines have learned of it.
#[tokio::test]
async fn the_lora_of_a_cancelled_training_is_not_listed_any_longer() {
    let fake = FakeTrainer::new();
    let bench = bench(&fake);
    let folder = bench.data_dir.path().join("models/Lora");
    let engine = Arc::new(Looking { folder, found: Mutex::default(), ends: Semaphore::new(0) });
    let server = bench.engines(vec![engine.clone()]).start().await;
    let task = submitted(&server, &server.key, training("ink").await).await;
    let is_listed = || engine.found.lock().unwrap().iter().any(|name| name == "ink.safetensors");
    until("engines have learned of it", || async { is_listed().then_some(()) }).await;
    // The training has not ended, because its end waits for their look.
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    engine.ends.add_permits(9);
    until("engines have learned that it was removed", || async { (!is_listed()).then_some(()) }).await;
    let msg = server.call("text_to_image", drawing("after", "a cat <lora:ink:0.8>")).await.refused(422);
    assert!(msg.contains("there is no LoRA \"ink\""), "{msg}");
}

/// A LoRA that a task names becomes another key's while the task waits.
#[tokio::test]
async fn whose_a_lora_is_counts_when_the_task_runs() {
    let go = Arc::new(Semaphore::new(0));
    let (opened, prompts) = (go.clone(), Arc::new(Mutex::new(Vec::new())));
    let drawn = prompts.clone();
    let engine = Own::new(&operations::TEXT_TO_IMAGE, move |job, _| {
        drawn.lock().unwrap().push(job.request::<TextToImageRequest>().unwrap().prompt);
        let go = go.clone();
        async move {
            go.acquire().await.unwrap().forget();
            Ok(dot())
        }
    });
    let server = Bench::new().with(|settings| settings.workers = 1).engines(vec![engine]).start().await;
    let first = server.submitted("text_to_image", drawing("first", "a dog")).await;
    until("the first is drawn", || async { (!prompts.lock().unwrap().is_empty()).then_some(()) }).await;
    let second = server.submitted("text_to_image", drawing("second", "a cat <lora:ink:1>")).await;
    let directory = server.data_dir().join("models/Lora");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("ink.imgopen"), json!({"key": "other", "task": "t", "run": "r"}).to_string())
        .unwrap();
    std::fs::write(directory.join("ink.safetensors"), FakeTrainer::lora()).unwrap();
    opened.add_permits(2);
    server.reached(&first, "succeeded").await;
    assert_eq!(server.failed(&second).await, "`prompt`: there is no LoRA \"ink\"; give one that `list_loras` names");
    assert_eq!(*prompts.lock().unwrap(), ["a dog"]);
}

#[tokio::test]
async fn one_of_two_trainings_of_the_same_name_is_accepted() {
    let fake = FakeTrainer::new();
    let server = bench(&fake).start().await;
    let other = server.service.keys().create("other").await.unwrap();
    let (one, two) = (training("ink").await, training("ink").await);
    let calls = (server.call("submit_training", one), server.call_as(&other, "submit_training", two));
    let (one, two) = tokio::join!(calls.0, calls.1);
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 422], "{one:?} {two:?}");
    // A repeated submit is its own task, not another of that name.
    let (key, request) = (&server.key, training("again").await);
    for _ in 0..2 {
        server.call_as(key, "submit_training", request.clone()).await.ok();
    }
    assert_eq!(ended(&server, key, "again").await["status"], 2);
    server.call_as(key, "submit_training", request).await.ok();
}

#[tokio::test]
async fn a_training_without_a_lora_frees_its_name() {
    let fake = FakeTrainer::new();
    let server = bench(&fake).start().await;
    let other = server.service.keys().create("other").await.unwrap();
    server.call("submit_training", training("fails").await).await.ok();
    let data = ended(&server, &server.key, "fails").await;
    let cause = "RuntimeError: mixed dtype (CPU): expect parameter to have scalar type of Float";
    assert_eq!(data["desc"], format!("the engine failed: the trainer ended with an error: {cause}"));
    assert_eq!((data.get("modelUrl"), &data["status"]), (None, &json!(4)));
    server.call_as(&other, "submit_training", training("fails").await).await.ok();
    ended(&server, &other, "fails").await;

    let task = at_work(&server, "hangs").await;
    let data = server.call("query_training", json!({"taskId": "hangs"})).await.ok();
    assert_eq!((&data["epoch"], &data["progress"]), (&json!(2), &json!(9)), "{data}");
    let msg = server.call_as(&other, "submit_training", training("hangs").await).await.refused(422);
    assert!(msg.starts_with("`taskId`: ") && msg.contains("is taken"), "{msg}");
    assert!(processes(&task) >= 3);
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    until("the trainer has ended", || async { (processes(&task) == 0).then_some(()) }).await;
    server.call_as(&other, "submit_training", training("hangs").await).await.ok();
    assert!(loras(&server, &server.key).await.is_empty() && loras(&server, &other).await.is_empty());
    assert_eq!(server.call("query_training", json!({"taskId": "hangs"})).await.ok()["status"], 5);
}

/// The process died before it could remove it.
#[tokio::test]
async fn the_lora_of_a_training_without_a_result_is_removed_at_the_next_start() {
    let fake = FakeTrainer::new();
    let server = bench(&fake).start().await;
    let failed = submitted(&server, &server.key, training("fails").await).await;
    ended(&server, &server.key, "fails").await;
    server.call("submit_training", training("ink").await).await.ok();
    ended(&server, &server.key, "ink").await;
    let directory = server.data_dir().join("models/Lora");
    let bench = server.stop().await;
    for (name, task) in [("fails", failed.as_str()), ("unknown", "img-unknown")] {
        std::fs::write(directory.join(format!("{name}.safetensors")), FakeTrainer::lora()).unwrap();
        let owner = json!({"key": "someone", "task": task, "run": "run"});
        std::fs::write(directory.join(format!("{name}.imgopen")), owner.to_string()).unwrap();
    }
    let _server = bench.start().await;
    let is_there = |name: &str| directory.join(format!("{name}.safetensors")).exists();
    assert_eq!(["fails", "unknown", "ink"].map(is_there), [false, true, true]);
}

#[tokio::test]
async fn a_stop_ends_the_trainer_and_the_next_start_trains_again() {
    let fake = FakeTrainer::new();
    let server = bench(&fake).with(|settings| settings.shutdown = Duration::ZERO).start().await;
    let task = at_work(&server, "hangs").await;
    let bench = server.stop().await;
    until("the trainer has ended", || async { (processes(&task) == 0).then_some(()) }).await;
    let server = bench.start().await;
    until("the trainer is at work again", || async { (server.task(&task).await["step"] == 9).then_some(()) }).await;
    assert_eq!(fake.starts(), ["hangs", "hangs"]);
    let row = server.task(&task).await;
    assert_eq!((&row["attempts"], &row["state"]), (&json!(1), &json!("running")));
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    until("the trainer has ended again", || async { (processes(&task) == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_training_that_takes_too_long_ends_with_its_processes() {
    let fake = FakeTrainer::new();
    let limit = imgopen_service::Limit(Duration::from_secs(2));
    let limited = |settings: &mut Settings| {
        settings.time_limit.operations.insert("submit_training".to_owned(), limit);
    };
    let server = bench(&fake).with(limited).start().await;
    let task = submitted(&server, &server.key, training("hangs").await).await;
    assert!(server.failed(&task).await.contains("the time limit"));
    until("the trainer has ended", || async { (processes(&task) == 0).then_some(()) }).await;
}

/// LoRAs are kept for a key as pictures are.
#[tokio::test]
async fn a_lora_counts_among_what_is_kept_for_a_key() {
    let fake = FakeTrainer::new();
    let server = bench(&fake).with(|settings| settings.assets.bytes_per_key = Some(1)).start().await;
    server.call("submit_training", training("ink").await).await.ok();
    ended(&server, &server.key, "ink").await;
    let msg = server.call("submit_training", training("more").await).await.refused(429);
    assert!(msg.contains("`assets.bytes_per_key`"), "{msg}");
}

#[tokio::test]
async fn the_file_of_a_result_expires_and_the_lora_stays() {
    let fake = FakeTrainer::new();
    let lifetime = Some(Duration::from_millis(1));
    let server = bench(&fake).with(|settings| settings.assets.lifetime = lifetime).start().await;
    server.call("submit_training", training("ink").await).await.ok();
    let data = ended(&server, &server.key, "ink").await;
    let url = data["modelUrl"].as_str().unwrap();
    until("the file has expired", || async { (server.get(url).send().await.unwrap().status() == 410).then_some(()) })
        .await;
    assert_eq!(loras(&server, &server.key).await, ["ink"]);
}

#[tokio::test]
async fn a_trainer_that_is_not_there_is_named_at_the_start() {
    let fake = FakeTrainer::new();
    let missing = fake.scripts().join("missing");
    type Change = fn(&mut Settings, std::path::PathBuf);
    let changes: [(Change, &str); 2] = [
        (|settings, path| settings.training.scripts = Some(path), "`training.scripts`: "),
        (|settings, path| settings.training.accelerate = path, "`training.accelerate`: "),
    ];
    for (change, setting) in changes {
        match bench(&fake).with(|settings| change(settings, missing.clone())).open().await {
            Err(StartError::Setting(error)) => assert!(error.to_string().starts_with(setting), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    // What the trainer would fetch from elsewhere is rejected.
    let server = bench(&fake).start().await;
    let mut request = training("ink").await;
    request["pretrainedModel"] = json!("runwayml/stable-diffusion-v1-5");
    let msg = server.call("submit_training", request).await.refused(422);
    assert!(msg.starts_with("`pretrainedModel`: the models directory does not have the base model"), "{msg}");
    let description = server.call("describe_server", json!({})).await.ok();
    let support =
        description["operations"].as_array().unwrap().iter().find(|row| row["operation"] == "submit_training");
    assert_eq!(support.unwrap()["available"], true);
}
