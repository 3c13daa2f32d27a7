//! What the conformance suite runs against: fakes, and a real program where a variable names it.

use std::time::Duration;

use imgopen_backends::{BackendSettings, Driver, SdWebui, Timing};
use imgopen_engine::{Engine, EngineError, JobRequest, ModelKind, Monitor, Output};

use crate::fake::{Behaviour, Fake};
use crate::jobs::job;

/// The address of a real web UI.
const REAL: &str = "IMGOPEN_TEST_SDWEBUI";

/// Limits waits that would otherwise never end.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Short times for fakes.
pub const QUICK: Timing = Timing {
    poll: Duration::from_millis(10),
    answer: Duration::from_secs(2),
    silence: Duration::from_secs(2),
    refresh: Duration::from_secs(600),
    retry: Duration::from_millis(20),
};

/// A web UI and the engine that drives it.
pub struct Target {
    pub name: &'static str,
    pub engine: SdWebui,
    pub url: String,
    /// A checkpoint.
    pub model: String,
    /// A LoRA, if there is one.
    pub lora: Option<String>,
    /// `None` for a real program.
    pub fake: Option<Fake>,
}

/// All targets.
pub async fn targets() -> Vec<Target> {
    let page = Behaviour { has_page: true, ..Behaviour::default() };
    let old = Behaviour { is_a1111: true, ..Behaviour::default() };
    let fakes = [("Forge without a page", Behaviour::default()), ("Forge", page), ("A1111", old)];
    let mut targets = Vec::new();
    for (name, behaviour) in fakes {
        let fake = Fake::start(behaviour).await;
        targets.push(Target::open(name, fake.url.clone(), QUICK, Some(fake)).await);
    }
    if let Ok(url) = std::env::var(REAL) {
        targets.push(Target::open("the real program", url, Timing::default(), None).await);
    }
    targets
}

/// A fake alone.
pub async fn faked(behaviour: Behaviour) -> (Target, Fake) {
    let fake = Fake::start(behaviour).await;
    (Target::open("a fake", fake.url.clone(), QUICK, None).await, fake)
}

/// Settings for an address.
pub fn settings(url: &str) -> BackendSettings {
    BackendSettings { name: Some("mine".to_owned()), ..BackendSettings::new(url.parse().unwrap()) }
}

impl Target {
    async fn open(name: &'static str, url: String, timing: Timing, fake: Option<Fake>) -> Self {
        let engine = SdWebui::with_timing(settings(&url), timing).unwrap();
        assert!(engine.refresh().await, "{name} does not answer");
        let model = engine.report().models.first().cloned().expect("a model is there");
        let loras = engine.models().into_iter().filter(|model| model.kind == ModelKind::Lora);
        let lora = loras.map(|lora| lora.short_name().to_owned()).next();
        Self { name, engine, url, model, lora, fake }
    }

    /// Checks a request and runs it.
    pub async fn run(&self, request: JobRequest) -> Result<Output, EngineError> {
        self.engine.check(&request)?;
        let monitor = Monitor::new().0;
        let run = self.engine.run(job(request), monitor);
        tokio::time::timeout(DEADLINE * 10, run).await.expect("the job ends")
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
