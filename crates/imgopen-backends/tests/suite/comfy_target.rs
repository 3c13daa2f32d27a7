//! ComfyUIs to test against: fakes, and a real one if `IMGOPEN_TEST_COMFYUI` is its address.

use std::path::PathBuf;

use imgopen_backends::{BackendSettings, ComfyUi, Driver, Timing};
use imgopen_engine::{Engine, EngineError, JobRequest, ModelKind, Monitor, Output};
use serde_json::Value;

use crate::comfy_fake::{Behaviour, ComfyFake, Year};
use crate::jobs::job;
use crate::target::{DEADLINE, QUICK, settings};

const REAL: &str = "IMGOPEN_TEST_COMFYUI";

/// A ComfyUI and the engine that drives it.
pub struct ComfyTarget {
    pub name: &'static str,
    pub engine: ComfyUi,
    /// A checkpoint.
    pub model: String,
    /// A LoRA, if there is one.
    pub lora: Option<String>,
    /// `None` for a real program.
    pub fake: Option<ComfyFake>,
}

/// All targets.
pub async fn comfy_targets() -> Vec<ComfyTarget> {
    let mut targets = Vec::new();
    for (name, year) in [("2024", Year::Old), ("2025", Year::New)] {
        let fake = ComfyFake::start(Behaviour { year, ..Behaviour::default() }).await;
        let settings = settings(&fake.url);
        targets.push(ComfyTarget::open(name, settings, QUICK, Some(fake)).await);
    }
    if let Ok(url) = std::env::var(REAL) {
        targets.push(ComfyTarget::open("the real program", settings(&url), Timing::default(), None).await);
    }
    targets
}

/// A fake and an engine that drives it.
pub async fn comfy(behaviour: Behaviour) -> ComfyTarget {
    let fake = ComfyFake::start(behaviour).await;
    ComfyTarget::open("a fake", settings(&fake.url), QUICK, Some(fake)).await
}

impl ComfyTarget {
    /// Opens an engine, and waits until it knows the server's lists.
    pub async fn open(name: &'static str, settings: BackendSettings, timing: Timing, fake: Option<ComfyFake>) -> Self {
        let engine = ComfyUi::with_timing(settings, timing).unwrap();
        assert!(engine.refresh().await, "{name} does not answer: {:?}", engine.report().away);
        let models = engine.report().models;
        let model = models.into_iter().find(|model| !model.starts_with("broken")).expect("a model is there");
        let loras = engine.models().into_iter().filter(|model| model.kind == ModelKind::Lora);
        let lora = loras.map(|lora| lora.short_name().to_owned()).next();
        Self { name, engine, model, lora, fake }
    }

    pub fn fake(&self) -> &ComfyFake {
        self.fake.as_ref().expect("it is a fake")
    }

    /// Checks a request and runs it.
    pub async fn run(&self, request: JobRequest) -> Result<Output, EngineError> {
        self.engine.check(&request)?;
        let run = self.engine.run(job(request), Monitor::new().0);
        tokio::time::timeout(DEADLINE * 10, run).await.expect("the job ends")
    }
}

/// Writes a workflow into a file of its own.
pub fn workflow_file(name: &str, graph: &Value) -> PathBuf {
    let path = std::env::temp_dir().join(format!("imgopen-{}-{name}.json", std::process::id()));
    std::fs::write(&path, graph.to_string()).unwrap();
    path
}
