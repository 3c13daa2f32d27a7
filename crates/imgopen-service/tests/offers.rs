//! Processes that share a database accept what any of them offers. Skipped where there is no server; see `imgopen-postgres`.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, Grade, Inputs, Job, Model, ModelKind, Models, Monitor, Offer, Output};
use imgopen_service::{DatabaseUrl, Role, Store};
use imgopen_types::operations;
use serde_json::{Value, json};

use crate::common::engines::dot;
use crate::common::{Bench, draw, until};
use crate::server::{empty, options};

/// A back end with one model and one LoRA.
struct Painter {
    lora: &'static str,
    owner: Option<String>,
    jobs: AtomicUsize,
}

impl Painter {
    fn new(lora: &'static str, owner: Option<String>) -> Arc<Self> {
        Arc::new(Self { lora, owner, jobs: AtomicUsize::new(0) })
    }

    fn jobs(&self) -> usize {
        self.jobs.load(Ordering::SeqCst)
    }
}

impl Engine for Painter {
    fn name(&self) -> &'static str {
        "painter"
    }

    fn offers(&self) -> Vec<Offer> {
        let models = Models::Listed(vec![Model::new(ModelKind::Checkpoint, "m.safetensors", "M")]);
        vec![Offer { models, inputs: Inputs::Unused, ..Offer::new(&operations::TEXT_TO_IMAGE, Grade::Neural) }]
    }

    fn models(&self) -> Vec<Model> {
        let lora = Model::new(ModelKind::Lora, format!("{}.safetensors", self.lora), self.lora);
        vec![Model { owner: self.owner.clone(), ..lora }]
    }

    fn run(&self, job: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let prompt = job.checked_request().view::<Value>().unwrap()["prompt"].as_str().unwrap().to_owned();
        assert!(!prompt.contains("<lora:") || prompt.contains(&format!("<lora:{}:1>", self.lora)), "{prompt}");
        self.jobs.fetch_add(1, Ordering::SeqCst);
        async { Ok(dot()) }.boxed()
    }
}

/// A process with a role.
fn member(url: &str, role: Role, api: SocketAddr, engines: Vec<Arc<dyn Engine>>) -> Bench {
    let listen = if role == Role::Api { api } else { free_address() };
    Bench::new().engines(engines).with(|settings| {
        settings.database.url = Some(DatabaseUrl::new(url));
        settings.database.connections = 4;
        settings.database.lease = Duration::from_secs(15);
        (settings.role, settings.listen, settings.sandbox) = (role, listen, false);
        settings.public_url = Some(format!("http://{api}"));
    })
}

/// Returns an address that nothing listens on.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A request that names LoRAs and the model.
fn drawn(id: &str, loras: &[&str], model: &str) -> Value {
    let mut request = draw(id);
    let tags: Vec<_> = loras.iter().map(|lora| format!("<lora:{lora}:1>")).collect();
    request["prompt"] = json!(format!("a lighthouse {}", tags.join(" ")));
    request["alwayson_scripts"]["sd_model_checkpoint"] = json!(model);
    request
}

fn names(listed: &Value, field: &str) -> Vec<String> {
    let rows = listed["rows"].as_array().unwrap();
    rows.iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_process_without_engines_accepts_what_others_can_run() {
    let Some(database) = empty().await else { return };
    let (url, at) = (database.url(), free_address());
    let ink = Painter::new("ink", None);
    let first = member(&url, Role::Worker, at, vec![ink.clone()]);
    let first = first.with(|settings| settings.queue.running_per_key = Some(3)).start().await;
    let other = first.service.keys().create("other").await.unwrap();
    let pen = Painter::new("pen", Some(other.credentials.access_key_id().to_owned()));
    let second = member(&url, Role::Worker, at, vec![pen.clone()]).with_key(first.key.clone());
    let second = second.with(|settings| settings.queue.running_per_key = Some(4));
    symlink(first.data_dir().join("assets"), second.data_dir.path().join("assets")).unwrap();
    let second = second.start().await;
    let data_dir = first.data_dir().to_owned();
    let api = member(&url, Role::Api, at, Vec::new()).with(|settings| {
        settings.data_dir = data_dir;
        settings.faults.away = Duration::from_secs(1);
    });
    let api = api.with_key(first.key.clone()).start().await;
    let limits = api.call("describe_server", json!({})).await.ok()["limits"].clone();
    assert_eq!(limits["concurrencyPerKey"], json!(7));

    // Both were there before, so they are known at once.
    let listed = api.call("list_models", json!({"pageSize": 9, "pageNum": 1})).await.ok();
    assert_eq!(names(&listed, "sdModelCheckpoint"), ["m.safetensors"]);
    for (key, expected) in [(&api.key, vec!["ink.safetensors"]), (&other, vec!["ink.safetensors", "pen.safetensors"])] {
        let listed = api.call_as(key, "list_loras", json!({"pageSize": 9, "pageNum": 1})).await.ok();
        assert_eq!(names(&listed, "sdLoraFileName"), expected);
    }
    let described = async || {
        let described = api.call("describe_server", json!({})).await.ok();
        let operations = described["operations"].as_array().unwrap().clone();
        operations.into_iter().find(|operation| operation["operation"] == "text_to_image").unwrap()
    };
    let painted = described().await;
    assert_eq!((&painted["available"], painted["engines"].as_array().unwrap().len()), (&json!(true), 1));
    assert_eq!(painted["engines"][0]["models"], json!(["m.safetensors"]));

    // A task waits for the process that has its LoRA.
    for number in 0..4 {
        let key = if number % 2 == 0 { &api.key } else { &other };
        api.call_as(key, "text_to_image", drawn(&format!("ink{number}"), &["ink"], "m.safetensors")).await.ok();
        api.call_as(&other, "text_to_image", drawn(&format!("pen{number}"), &["pen"], "m.safetensors")).await.ok();
    }
    until("all have run", || async { (ink.jobs() == 4 && pen.jobs() == 4).then_some(()) }).await;

    // Whose LoRA it is cannot be distinguished from one that is not there.
    let refused = async |key, loras: &[&str], model: &str, status| {
        api.call_as(key, "text_to_image", drawn("refused", loras, model)).await.refused(status)
    };
    let of_other = refused(&api.key, &["pen"], "m.safetensors", 422).await;
    assert_eq!(of_other.replace("pen", "nobody"), refused(&api.key, &["nobody"], "m.safetensors", 422).await);
    let apart = refused(&other, &["ink", "pen"], "m.safetensors", 422).await;
    assert!(apart.contains("no machine has"), "{apart}");
    let unknown = refused(&other, &[], "x.safetensors", 503).await;
    assert!(unknown.ends_with("give one of \"m.safetensors\""), "{unknown}");

    // Processes that leave are waited for, and then take their offers along.
    second.stop().await;
    until("the LoRA is gone", || async {
        let listed = api.call_as(&other, "list_loras", json!({"pageSize": 9, "pageNum": 1})).await.ok();
        (names(&listed, "sdLoraFileName") == ["ink.safetensors"]).then_some(())
    })
    .await;
    // Its data directory is that of the other one, too.
    let _kept = first.stop().await;
    until("nothing is offered", || async {
        let engines = described().await["engines"].clone();
        engines.as_array().is_none_or(Vec::is_empty).then_some(())
    })
    .await;
    let late = api.call("text_to_image", drawn("late", &[], "m.safetensors")).await;
    assert_eq!(late.headers["retry-after"], "10");
    let msg = late.refused(503);
    assert!(msg.contains("no engine is configured for `text_to_image`"), "{msg}");
}

/// As in an upgrade, in which each process is drained, stopped and started.
#[tokio::test]
async fn what_a_process_offered_is_accepted_until_it_is_back() {
    let Some(database) = empty().await else { return };
    let (url, at, ink) = (database.url(), free_address(), Painter::new("ink", None));
    let painter = member(&url, Role::Worker, at, vec![ink.clone()]).start().await;
    let other = member(&url, Role::Worker, at, vec![Painter::new("pen", None)]).with_key(painter.key.clone());
    symlink(painter.data_dir().join("assets"), other.data_dir.path().join("assets")).unwrap();
    let _other = other.start().await;
    let data_dir = painter.data_dir().to_owned();
    let api = member(&url, Role::Api, at, Vec::new()).with(|settings| settings.data_dir = data_dir);
    let api = api.with_key(painter.key.clone()).start().await;
    let store = database.store(&options()).await;
    let mut accepted = 0;
    let mut submit = async || {
        let request = drawn(&format!("ink{accepted}"), &["ink"], "m.safetensors");
        api.call("text_to_image", request).await.ok();
        accepted += 1;
    };
    submit().await;
    until("it has run", || async { (ink.jobs() == 1).then_some(()) }).await;
    for owner in store.owners().await.unwrap() {
        let has_ink = owner.about.offers.to_string().contains("ink.safetensors");
        assert!(!has_ink || store.drain(owner.id).await.unwrap());
    }
    // Each read of the offers is within five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    submit().await;
    let bench = painter.stop().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    submit().await;
    let listed = api.call("list_loras", json!({"pageSize": 9, "pageNum": 1})).await.ok();
    let mut names = names(&listed, "sdLoraFileName");
    names.sort_unstable();
    assert_eq!(names, ["ink.safetensors", "pen.safetensors"]);
    assert_eq!(ink.jobs(), 1);
    let _back = bench.start().await;
    until("all have run", || async { (ink.jobs() == 3).then_some(()) }).await;
    // What nobody has is still refused for good.
    api.call("text_to_image", drawn("nobody", &["nobody"], "m.safetensors")).await.refused(422);
}
