//! What the conformance suite of sd-server runs against: the fake at an address and as a program, and the real program where
//! variables name it and a directory with its models.

use std::path::{Path, PathBuf};

use imgopen_backends::{BackendSettings, Driver, ModelFiles, SdServer, Surroundings, Timing};
use imgopen_engine::{Engine, EngineError, JobRequest, Library, Monitor, Output};
use tempfile::TempDir;

use crate::jobs::job;
use crate::sd_fake::{SdBehaviour, SdFake};
use crate::sd_program::program;
use crate::target::{DEADLINE, QUICK, settings};

/// The real program, and a models directory with `checkpoints`, and if they are there `controlnet` and `loras`. The
/// models are of Stable Diffusion 1.5.
pub const REAL: (&str, &str) = ("IMGOPEN_TEST_SD_SERVER", "IMGOPEN_TEST_SD_MODELS");

/// An sd-server and the engine that drives it.
pub struct SdTarget {
    pub name: &'static str,
    pub engine: SdServer,
    /// A checkpoint.
    pub model: String,
    /// A LoRA, if there is one.
    pub lora: Option<String>,
    /// The ControlNet, if there is one.
    pub control_net: Option<String>,
    /// Whether the engine starts the program.
    pub is_program: bool,
    /// Deleted with it.
    _folder: Option<TempDir>,
    pub fake: Option<SdFake>,
}

/// A models directory with files that nobody reads.
pub fn models() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (kind, files) in [
        ("checkpoints", ["random-sd15.safetensors", "other.safetensors", "flux-dev.safetensors"].as_slice()),
        ("controlnet", &["random-cn.safetensors"]),
        ("Lora", &["broken.safetensors", "misfit.safetensors", "random-lora.safetensors", "silent.safetensors"]),
        ("embeddings", &[]),
    ] {
        std::fs::create_dir(folder.path().join(kind)).unwrap();
        for file in files {
            std::fs::write(folder.path().join(kind).join(file), "weights").unwrap();
        }
    }
    folder
}

/// Surroundings with a models directory.
pub fn around(folder: &Path) -> Surroundings {
    Surroundings { library: Some(Library::open(folder, None)), launcher: None }
}

/// Settings of an address, which say that a ControlNet is there.
pub fn address(fake: &SdFake) -> BackendSettings {
    let operations = ["text_to_image", "image_to_image", "controlnet", "flux_text_to_image"];
    BackendSettings { operations: Some(operations.map(str::to_owned).to_vec()), ..settings(&fake.url) }
}

/// The fake at an address.
pub async fn sd_faked(behaviour: SdBehaviour) -> (SdServer, SdFake) {
    let fake = SdFake::start(behaviour).await;
    let engine = SdServer::with_timing(address(&fake), &Surroundings::default(), QUICK).unwrap();
    assert!(engine.refresh().await, "it does not answer");
    (engine, fake)
}

/// All targets. `step` is how long a step of a fake takes, in milliseconds.
pub async fn sd_targets(step: u64) -> Vec<SdTarget> {
    let behaviour = SdBehaviour { step: std::time::Duration::from_millis(step), ..SdBehaviour::default() };
    let (engine, fake) = sd_faked(behaviour).await;
    let mut targets = vec![SdTarget {
        name: "a fake at an address",
        engine,
        model: "random-sd15.safetensors".to_owned(),
        lora: Some("random-lora".to_owned()),
        control_net: Some("random-cn.safetensors".to_owned()),
        is_program: false,
        _folder: None,
        fake: Some(fake),
    }];
    let folder = models();
    let mut settings = program("checkpoints/random-sd15.safetensors", &["--step", &step.to_string()]);
    settings.models[0].control_net = Some("controlnet/random-cn.safetensors".into());
    let engine = SdServer::with_timing(settings, &around(folder.path()), QUICK).unwrap();
    targets.push(SdTarget {
        name: "a fake program",
        engine,
        model: "random-sd15.safetensors".to_owned(),
        lora: Some("random-lora".to_owned()),
        control_net: Some("random-cn".to_owned()),
        is_program: true,
        _folder: Some(folder),
        fake: None,
    });
    targets.extend(real());
    targets
}

fn real() -> Option<SdTarget> {
    let (program, folder) = (std::env::var(REAL.0).ok()?, PathBuf::from(std::env::var(REAL.1).ok()?));
    let first = |kind: &str| {
        let files = std::fs::read_dir(folder.join(kind)).ok()?;
        files.filter_map(|file| Some(file.ok()?.path())).filter(|path| path.is_file()).min()
    };
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let model = first("checkpoints").expect("a checkpoint is there");
    let (control_net, lora) = (first("controlnet"), first("loras").as_ref().map(stem));
    let files = ModelFiles { model: Some(model.clone()), control_net: control_net.clone(), ..ModelFiles::default() };
    let settings =
        BackendSettings { name: Some("mine".to_owned()), ..BackendSettings::child(program.into(), vec![files]) };
    let engine = SdServer::with_timing(settings, &around(&folder), Timing::default()).unwrap();
    Some(SdTarget {
        name: "the real program",
        engine,
        model: name(&model),
        lora,
        control_net: control_net.as_ref().map(name),
        is_program: true,
        _folder: None,
        fake: None,
    })
}

impl SdTarget {
    /// Checks a request and runs it.
    pub async fn run(&self, request: JobRequest) -> Result<Output, EngineError> {
        sd_run(&self.engine, request).await
    }
}

/// Checks a request and runs it.
pub async fn sd_run(engine: &SdServer, request: JobRequest) -> Result<Output, EngineError> {
    engine.check(&request)?;
    let run = engine.run(job(request), Monitor::new().0);
    tokio::time::timeout(DEADLINE * 10, run).await.expect("the job ends")
}
