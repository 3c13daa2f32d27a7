//! Two services at one back end: nothing is lost or made twice, and neither ends a job of the other. ComfyUI's are in
//! `comfy_running.rs`.

use std::sync::Arc;
use std::time::Duration;

use imgopen_backends::{Driver, Kind, SdServer, Surroundings};
use imgopen_engine::{EngineError, JobRequest, Monitor, Output, Watch};
use imgopen_types::operations::TEXT_TO_IMAGE;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fake::{Behaviour, Fake};
use crate::jobs::{job, text_to_image};
use crate::sd_fake::{SdBehaviour, SdFake};
use crate::targets::sd_server::{address, sd_faked};
use crate::targets::sd_webui::faked;
use crate::targets::{DEADLINE, QUICK, driver, settings, until};

const STEP: Duration = Duration::from_millis(5);

type Run = JoinHandle<Result<Output, EngineError>>;

fn begin(engine: &dyn Driver, model: &str, task: &str, changes: Value) -> (Run, Watch) {
    let request = JobRequest::new(task, &TEXT_TO_IMAGE, text_to_image(model, changes).view().unwrap());
    let (monitor, watch) = Monitor::new();
    (tokio::spawn(engine.run(job(request), monitor)), watch)
}

/// Has both services make three pictures each at once, and returns the seeds of what each job got.
async fn six(engines: [&dyn Driver; 2], model: &str) -> Vec<i64> {
    let runs = (0..6).map(|number| {
        let task = format!("task-{number}");
        begin(engines[number % 2], model, &task, json!({"seed": (number + 1).to_string()})).0
    });
    let mut seeds = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        let output = tokio::time::timeout(DEADLINE, run).await.expect("the job ends").unwrap().unwrap();
        assert_eq!(output.pictures.len(), 1);
        seeds.extend(output.pictures[0].seed);
    }
    seeds
}

/// A web UI with its page, and the engines of two services.
async fn web_ui(delivery: Duration) -> (Fake, Arc<dyn Driver>, Arc<dyn Driver>, String) {
    let behaviour = Behaviour { has_page: true, step: STEP, delivery, ..Behaviour::default() };
    let (one, fake) = faked(behaviour).await;
    let other = driver(Kind::SdWebui, settings(&fake.url), QUICK);
    assert!(other.refresh().await);
    (fake, one.engine, other, one.model)
}

#[tokio::test]
async fn two_services_at_a_web_ui_make_each_picture_once() {
    let (fake, one, other, model) = web_ui(Duration::ZERO).await;
    assert_eq!(six([&*one, &*other], &model).await, [1, 2, 3, 4, 5, 6]);
    let mut tasks: Vec<_> =
        fake.calls().iter().map(|call| call["force_task_id"].as_str().unwrap().to_owned()).collect();
    tasks.sort();
    assert_eq!(tasks, (0..6).map(|number| format!("task(imgopen-task-{number})")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cancel_at_a_web_ui_hits_no_job_of_the_other_service() {
    let (fake, one, other, model) = web_ui(Duration::ZERO).await;
    // It waits when it is cancelled.
    let (running, _) = begin(&*one, &model, "one", json!({"steps": 400}));
    until("the first runs", async || fake.current().as_deref() == Some("task(imgopen-one)")).await;
    let (waiting, watch) = begin(&*other, &model, "two", json!({"steps": 1000}));
    until("the second waits", async || fake.waiting() == 1).await;
    watch.cancel.cancel();
    assert_eq!(waiting.await.unwrap(), Err(EngineError::Cancelled));
    assert_eq!(running.await.unwrap().unwrap().pictures.len(), 1);
    tokio::time::timeout(DEADLINE, watch.ended()).await.expect("it is interrupted once it runs");
    // It runs when it is cancelled.
    let (running, watch) = begin(&*other, &model, "three", json!({"steps": 1000}));
    until("the third runs", async || fake.current().as_deref() == Some("task(imgopen-three)")).await;
    let (waiting, _) = begin(&*one, &model, "four", json!({"steps": 400}));
    until("the fourth waits", async || fake.waiting() == 1).await;
    watch.cancel.cancel();
    assert_eq!(running.await.unwrap(), Err(EngineError::Cancelled));
    assert_eq!(waiting.await.unwrap().unwrap().pictures.len(), 1);
    assert_eq!(fake.calls().len(), 4);
}

/// The state that the web UI shows is that of the next job while the pictures of the last one are on their way.
#[tokio::test]
async fn a_finished_job_is_not_taken_for_the_interrupted_one_behind_it() {
    let (fake, one, other, model) = web_ui(Duration::from_millis(500)).await;
    let (running, seen) = begin(&*one, &model, "one", json!({"steps": 400}));
    seen.progress.clone().wait_for(|progress| progress.step > 0).await.unwrap();
    let (waiting, watch) = begin(&*other, &model, "two", json!({"steps": 1000}));
    until("the second waits", async || fake.waiting() == 1).await;
    watch.cancel.cancel();
    assert_eq!(waiting.await.unwrap(), Err(EngineError::Cancelled));
    assert_eq!(running.await.unwrap().unwrap().pictures.len(), 1);
}

/// An sd-server at an address, and the engines of two services.
async fn sd_server() -> (SdFake, SdServer, SdServer) {
    let (one, fake) = sd_faked(SdBehaviour { step: STEP * 4, ..SdBehaviour::default() }).await;
    let other = SdServer::with_timing(address(&fake), &Surroundings::default(), QUICK).unwrap();
    assert!(other.refresh().await);
    (fake, one, other)
}

const SD_MODEL: &str = "random-sd15.safetensors";

#[tokio::test]
async fn two_services_at_an_sd_server_make_each_picture_once() {
    let (fake, one, other) = sd_server().await;
    assert_eq!(six([&one, &other], SD_MODEL).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!((fake.calls().len(), fake.count("completed")), (6, 6));
}

#[tokio::test]
async fn a_cancel_at_an_sd_server_hits_no_job_of_the_other_service() {
    let (fake, one, other) = sd_server().await;
    // It waits when it is cancelled.
    let (running, _) = begin(&one, SD_MODEL, "one", json!({"steps": 100}));
    until("the first runs", async || fake.count("generating") == 1).await;
    let (waiting, watch) = begin(&other, SD_MODEL, "two", json!({"steps": 100}));
    until("the second waits", async || fake.count("queued") == 1).await;
    watch.cancel.cancel();
    assert_eq!(waiting.await.unwrap(), Err(EngineError::Cancelled));
    assert_eq!(running.await.unwrap().unwrap().pictures.len(), 1);
    assert_eq!((fake.count("completed"), fake.count("cancelled")), (1, 1));
    // It runs when it is cancelled, which the server cannot stop.
    let (running, watch) = begin(&other, SD_MODEL, "three", json!({"steps": 100}));
    until("the third runs", async || fake.count("generating") == 1).await;
    let (waiting, _) = begin(&one, SD_MODEL, "four", json!({}));
    until("the fourth waits", async || fake.count("queued") == 1).await;
    watch.cancel.cancel();
    assert_eq!(running.await.unwrap(), Err(EngineError::Cancelled));
    assert_eq!(waiting.await.unwrap().unwrap().pictures.len(), 1);
    assert_eq!((fake.count("completed"), fake.count("cancelled"), fake.calls().len()), (3, 1, 4));
}
