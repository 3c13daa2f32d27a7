//! sd-servers to test against: the fake at an address and as a program, and the real program where variables name it and a
//! directory with its models.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use imgopen_backends::{BackendSettings, Driver, ModelFiles, SdServer, Surroundings, Timing};
use imgopen_engine::Library;
use tempfile::TempDir;

use super::{AnyFake, PATIENT, QUICK, Target, settings, surroundings};
use crate::sd_fake::{SdBehaviour, SdFake};
use crate::sd_program::program;

/// The real program, and a models directory with `checkpoints`, and if they are there `controlnet` and `loras`. The
/// models are of Stable Diffusion 1.5.
const REAL: (&str, &str) = ("IMGOPEN_TEST_SD_SERVER", "IMGOPEN_TEST_SD_MODELS");

/// A real program with its models.
pub struct Installed {
    pub program: PathBuf,
    pub folder: PathBuf,
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
    Surroundings { library: Some(Library::open(folder, None)), ..surroundings() }
}

/// Settings of an address, which say that a ControlNet is there.
pub fn address(fake: &SdFake) -> BackendSettings {
    let operations = ["text_to_image", "image_to_image", "controlnet", "flux_text_to_image"];
    BackendSettings { operations: Some(operations.map(str::to_owned).to_vec()), ..settings(&fake.url) }
}

/// The fake at an address.
pub async fn sd_faked(behaviour: SdBehaviour) -> (SdServer, SdFake) {
    let fake = SdFake::start(behaviour).await;
    let engine = SdServer::with_timing(address(&fake), &surroundings(), QUICK).unwrap();
    assert!(engine.refresh().await, "it does not answer");
    (engine, fake)
}

/// All targets.
pub async fn targets(step: Duration) -> Vec<Target> {
    let (engine, fake) = sd_faked(SdBehaviour { step, ..SdBehaviour::default() }).await;
    let target = Target::open("a fake at an address", Arc::new(engine)).await;
    let control_net = Some("random-cn.safetensors".to_owned());
    let mut targets = vec![Target { control_net, fake: Some(AnyFake::SdServer(fake)), ..target }];
    let folder = models();
    let mut settings = program("checkpoints/random-sd15.safetensors", &["--step", &step.as_millis().to_string()]);
    settings.models[0].control_net = Some("controlnet/random-cn.safetensors".into());
    let engine = SdServer::with_timing(settings, &around(folder.path()), QUICK).unwrap();
    let target = Target::open("a fake program", Arc::new(engine)).await;
    let (lora, control_net) = (Some("random-lora".to_owned()), Some("random-cn".to_owned()));
    targets.push(Target { lora, control_net, _folder: Some(folder), ..target });
    if let Some(installed) = Installed::find() {
        let lora = installed.first("loras").map(|lora| lora.file_stem().unwrap().to_string_lossy().into_owned());
        let files = ModelFiles {
            model: Some(installed.first("checkpoints").expect("a checkpoint is there")),
            control_net: installed.first("controlnet"),
            ..ModelFiles::default()
        };
        let target = Target::real(|| Arc::new(installed.start(files, PATIENT))).await;
        targets.push(Target { lora, ..target });
    }
    targets
}

impl Installed {
    /// Finds the program, if variables name it.
    pub fn find() -> Option<Self> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Some(Self { program: variable(REAL.0)?, folder: variable(REAL.1)? })
    }

    /// Returns the first file of a kind. Of several with the same beginning, the others say for which other model they are.
    pub fn first(&self, kind: &str) -> Option<PathBuf> {
        let files = std::fs::read_dir(self.folder.join(kind)).ok()?;
        let files = files.filter_map(|file| Some(file.ok()?.path())).filter(|path| path.is_file());
        files.min_by_key(|path| path.file_stem().map(ToOwned::to_owned))
    }

    /// Returns an engine that starts it with a model.
    pub fn start(&self, files: ModelFiles, timing: Timing) -> SdServer {
        let settings = BackendSettings {
            name: Some("mine".to_owned()),
            ..BackendSettings::child(self.program.clone(), vec![files])
        };
        SdServer::with_timing(settings, &around(&self.folder), timing).unwrap()
    }
}
