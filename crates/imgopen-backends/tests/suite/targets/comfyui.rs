//! ComfyUIs to test against: fakes, and a real one if `IMGOPEN_TEST_COMFYUI` is its address.

use std::path::PathBuf;
use std::time::Duration;

use imgopen_backends::{BackendSettings, Kind};
use serde_json::Value;

use super::{AnyFake, PATIENT, QUICK, Target, driver, settings};
use crate::comfy_fake::{Behaviour, ComfyFake, Year};

/// The address of a real one.
const REAL: &str = "IMGOPEN_TEST_COMFYUI";

/// All targets.
pub async fn targets(step: Duration) -> Vec<Target> {
    let mut targets = Vec::new();
    for (name, year) in [("2024", Year::Old), ("2025", Year::New)] {
        let target = comfy(Behaviour { year, step, ..Behaviour::default() }).await;
        targets.push(Target { name, ..target });
    }
    if let Ok(url) = std::env::var(REAL) {
        targets.push(Target::real(|| driver(Kind::ComfyUi, settings(&url), PATIENT)).await);
    }
    targets
}

/// A fake and an engine that drives it.
pub async fn comfy(behaviour: Behaviour) -> Target {
    let fake = ComfyFake::start(behaviour).await;
    let settings = settings(&fake.url);
    comfy_with(settings, fake).await
}

/// A fake and an engine with other settings.
pub async fn comfy_with(settings: BackendSettings, fake: ComfyFake) -> Target {
    let target = Target::open("a fake", driver(Kind::ComfyUi, settings, QUICK)).await;
    Target { fake: Some(AnyFake::ComfyUi(fake)), ..target }
}

/// Writes a workflow into a file of its own.
pub fn workflow_file(name: &str, graph: &Value) -> PathBuf {
    let path = std::env::temp_dir().join(format!("imgopen-{}-{name}.json", std::process::id()));
    std::fs::write(&path, graph.to_string()).unwrap();
    path
}
