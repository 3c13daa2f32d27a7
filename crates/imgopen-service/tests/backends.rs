//! What becomes of tasks, of readiness and of metrics when back ends are busy or away.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use imgopen_engine::{
    BackendStatus, Engine, EngineError, Grade, Inputs, Job, Model, ModelKind, Models, Monitor, Offer, Output, Slots,
};
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::common::engines::{Own, dot};
use crate::common::{Answer, Bench, DEADLINE, Server, draw, enlarge, sandbox, until};

/// An engine that drives back ends, one for each model, each of which takes one job.
#[derive(Default)]
struct Group {
    state: Mutex<State>,
    /// Lets jobs end, by model.
    go: HashMap<&'static str, Semaphore>,
}

#[derive(Default)]
struct State {
    away: Option<&'static str>,
    /// Whether they have never answered.
    are_new: bool,
    /// Whether jobs lose their back end.
    loses: bool,
    /// How many further jobs find the device in use.
    busy: usize,
    jobs: HashMap<String, usize>,
    begun: Vec<String>,
}

impl Group {
    fn new(models: &[&'static str]) -> Arc<Self> {
        let go = models.iter().map(|model| (*model, Semaphore::new(0))).collect();
        Arc::new(Self { state: Mutex::default(), go })
    }

    fn away(reason: &'static str) -> Arc<Self> {
        let group = Self::new(&["a"]);
        group.state().away = Some(reason);
        group
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until that many jobs have begun for a model.
    async fn begun(&self, model: &str, count: usize) {
        let begun = || self.state().begun.iter().filter(|begun| *begun == model).count();
        until(&format!("{count} jobs for {model} have begun"), async || (begun() == count).then_some(())).await;
    }
}

/// The group as an engine, because jobs need it, too.
struct Shared(Arc<Group>);

impl Engine for Shared {
    fn name(&self) -> &str {
        "group"
    }

    fn offers(&self) -> Vec<Offer> {
        let state = self.0.state();
        let models = self.0.go.keys().map(|name| Model::new(ModelKind::Checkpoint, *name, "")).collect();
        let models = if state.are_new { Models::Any } else { Models::Listed(models) };
        let (away, is_known) = (state.away.map(str::to_owned), !state.are_new);
        let offer = Offer::new(&operations::TEXT_TO_IMAGE, Grade::Neural);
        vec![Offer { models, inputs: Inputs::Unused, away, is_known, ..offer }]
    }

    fn backends(&self) -> Vec<BackendStatus> {
        let state = self.0.state();
        let status = |model: &&'static str| BackendStatus {
            name: format!("gpu-{model}"),
            program: "ComfyUI".to_owned(),
            version: None,
            away: state.away.map(str::to_owned),
            jobs: state.jobs.get(*model).copied().unwrap_or(0),
            operations: vec!["text_to_image"],
        };
        self.0.go.keys().map(status).collect()
    }

    fn slots(&self) -> Slots {
        Slots::Own(NonZeroUsize::new(self.0.go.len()).unwrap())
    }

    fn free_places(&self, _: &Operation, model: Option<&str>) -> Option<usize> {
        let state = self.0.state();
        state.away.is_none().then(|| 1 - state.jobs.get(model.unwrap()).copied().unwrap_or(0))
    }

    fn run(&self, job: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let request: Value = job.checked_request().view().unwrap();
        let model = job.operation().model_of(&request).unwrap().to_owned();
        let group = self.0.clone();
        if group.state().loses {
            let reason = format!("the back end `gpu-{model}` was killed");
            return Box::pin(async { Err(EngineError::Unavailable { reason, retry_after: None }) });
        }
        if group.state().busy > 0 {
            group.state().busy -= 1;
            return Box::pin(async { Err(EngineError::Busy("the device is in use".to_owned())) });
        }
        *group.state().jobs.entry(model.clone()).or_default() += 1;
        Box::pin(async move {
            group.state().begun.push(model.clone());
            group.go[&*model].acquire().await.unwrap().forget();
            *group.state().jobs.get_mut(&model).unwrap() -= 1;
            Ok(dot())
        })
    }
}

fn bench(group: &Arc<Group>) -> Bench {
    Bench::new().engines(vec![Arc::new(Shared(group.clone())), Arc::new(sandbox())])
}

fn drawing(id: &str, model: &str) -> Value {
    let mut request = draw(id);
    request["alwayson_scripts"]["sd_model_checkpoint"] = json!(model);
    request
}

async fn readiness(server: &Server) -> (u16, String) {
    let answer = server.get("/readyz").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_task_waits_for_what_went_away_but_not_for_what_never_came() {
    let group = Group::away("the back end `gpu-a` is away: it has not answered yet");
    group.state().are_new = true;
    let server = bench(&group).start().await;
    let answer = server.call("text_to_image", drawing("1", "a")).await;
    let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    let msg = answer.refused(503);
    assert!(msg.contains("the back end `gpu-a` is away: it has not answered yet"), "{msg}");
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
    group.state().are_new = false;
    let task = server.submitted("text_to_image", drawing("1", "a")).await;
    // A stop does not end the wait, and no test card takes the place of the result.
    let server = server.stop().await.start().await;
    server.reached(&task, "queued").await;
    group.state().away = None;
    group.go["a"].add_permits(1);
    assert_eq!(server.reached(&task, "succeeded").await["engine"], "group");
}

#[tokio::test]
async fn back_ends_that_are_away_for_too_long_fail_the_tasks_that_wait_and_are_named() {
    let group = Group::away("the back end `gpu-a` is away: no connection can be made");
    let server = bench(&group).with(|settings| settings.faults.away = Duration::from_millis(700)).start().await;
    let mut tasks = Vec::new();
    for id in ["1", "2", "3"] {
        tasks.push(server.submitted("text_to_image", drawing(id, "a")).await);
    }
    let begin = std::time::Instant::now();
    for task in &tasks {
        let failure = server.failed(task).await;
        let expected =
            "the engine `group` for `text_to_image` is away: the back end `gpu-a` is away: no connection can be made";
        assert!(failure.starts_with(expected) && failure.ends_with("; not tried again"), "{failure}");
        assert_eq!(server.task(task).await["attempts"], json!(1));
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "each has waited by itself");
    // One that loses its back end each time is named, too.
    group.state().away = None;
    group.state().loses = true;
    let task = server.submitted("text_to_image", drawing("4", "a")).await;
    let failure = server.failed(&task).await;
    assert!(failure.starts_with("the engine is unavailable: the back end `gpu-a` was killed, for "), "{failure}");
    // Everything else was well meanwhile.
    let other = server.submitted("enlarge_image", enlarge("5")).await;
    server.reached(&other, "succeeded").await;
}

#[tokio::test]
async fn an_engine_without_back_ends_may_be_away_for_longer() {
    let count = Arc::new(Mutex::new(0));
    let engine = Own::new(&operations::ENLARGE_IMAGE, move |_, _| {
        *count.lock().unwrap() += 1;
        let is_away = *count.lock().unwrap() < 3;
        async move {
            match is_away {
                true => Err(EngineError::Unavailable { reason: "out for lunch".to_owned(), retry_after: None }),
                false => Ok(dot()),
            }
        }
    });
    let server =
        Bench::new().engines(vec![engine]).with(|settings| settings.faults.away = Duration::ZERO).start().await;
    let task = server.submitted("enlarge_image", enlarge("1")).await;
    server.reached(&task, "succeeded").await;
}

/// A training may have the device for hours.
#[tokio::test]
async fn a_back_end_whose_device_is_in_use_is_not_away() {
    let group = Group::new(&["a"]);
    group.state().busy = 2;
    group.go["a"].add_permits(1);
    let server = bench(&group).with(|settings| settings.faults.away = Duration::ZERO).start().await;
    let task = server.submitted("text_to_image", drawing("1", "a")).await;
    server.reached(&task, "succeeded").await;
    assert_eq!(group.state().busy, 0);
}

#[tokio::test]
async fn tasks_for_a_busy_back_end_leave_the_slots_to_others() {
    let group = Group::new(&["a", "b"]);
    let server = bench(&group).start().await;
    let mut tasks = Vec::new();
    for (id, model) in [("1", "a"), ("2", "a"), ("3", "a"), ("4", "b"), ("5", "b")] {
        tasks.push(server.submitted("text_to_image", drawing(id, model)).await);
    }
    group.begun("a", 1).await;
    group.begun("b", 1).await;
    group.go["b"].add_permits(2);
    for task in &tasks[3..] {
        server.reached(task, "succeeded").await;
    }
    assert_eq!(group.state().begun, ["a", "b", "b"]);
    let waiting = server.task(&tasks[1]).await;
    assert_eq!((&waiting["state"], &waiting["attempts"]), (&json!("queued"), &json!(0)));
    group.go["a"].add_permits(3);
    for task in &tasks[..3] {
        server.reached(task, "succeeded").await;
    }
}

#[tokio::test]
async fn only_what_is_required_makes_the_service_unready() {
    let group = Group::away("the back end `gpu-a` is away: no connection can be made");
    let server = bench(&group).start().await;
    let (status, text) = readiness(&server).await;
    let expected = "ready\naway: gpu-a: the back end `gpu-a` is away: no connection can be made\n";
    assert_eq!((status, text.as_str()), (200, expected));
    let required = ["text_to_image", "enlarge_image", "submit_training"].map(str::to_owned).to_vec();
    let server = server.stop().await.with(|settings| settings.required = required).start().await;
    let answer = Answer::of(server.get("/readyz").send().await.unwrap()).await;
    let msg = answer.refused(503);
    assert!(msg.contains("the operation `text_to_image` is required: the engine `group`"), "{msg}");
    assert!(msg.contains("no engine is configured that finishes `submit_training`"), "{msg}");
    assert!(!msg.contains("`enlarge_image`"), "the sandbox serves it: {msg}");
    let bench = server.stop().await.with(|settings| settings.required.truncate(2));
    let server = bench.start().await;
    assert_eq!(readiness(&server).await.0, 503);
    group.state().away = None;
    assert_eq!(readiness(&server).await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn metrics_show_back_ends() {
    let group = Group::new(&["a"]);
    let server = bench(&group).start().await;
    let task = server.submitted("text_to_image", drawing("1", "a")).await;
    group.begun("a", 1).await;
    let text = async || server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let shows = async |line: &str| assert!(text().await.lines().any(|shown| shown == line), "{line}\n{}", text().await);
    shows("imgopen_backend_up{backend=\"gpu-a\"} 1").await;
    shows("imgopen_backend_jobs{backend=\"gpu-a\"} 1").await;
    group.go["a"].add_permits(1);
    tokio::time::timeout(DEADLINE, server.reached(&task, "succeeded")).await.unwrap();
    group.state().away = Some("it does not answer");
    shows("imgopen_backend_up{backend=\"gpu-a\"} 0").await;
    shows("imgopen_backend_jobs{backend=\"gpu-a\"} 0").await;
}
