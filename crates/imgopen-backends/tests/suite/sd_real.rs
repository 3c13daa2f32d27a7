//! The real sd-server with FLUX.1, where variables name it and a models directory that has `flux` with the files `flux-dev`,
//! `ae` and `clip_l`. Small ones with random weights will do.

use std::path::PathBuf;

use imgopen_backends::{BackendSettings, Driver, FluxVariant, ModelFiles, SdServer, Timing};
use imgopen_engine::{EngineError, JobRequest, Output};
use imgopen_types::operations::FLUX_TEXT_TO_IMAGE;
use serde_json::json;

use crate::sd_target::{REAL, around, sd_run};

/// Starts the program with FLUX.1, changed by `change`.
fn open(change: impl FnOnce(&mut ModelFiles)) -> Option<SdServer> {
    let (program, folder) = (std::env::var(REAL.0).ok()?, PathBuf::from(std::env::var(REAL.1).ok()?));
    let file = |name: &str| Some(PathBuf::from(format!("flux/{name}.safetensors")));
    if !folder.join("flux").is_dir() {
        return None;
    }
    let mut files = ModelFiles {
        diffusion_model: file("flux-dev"),
        vae: file("ae"),
        clip_l: file("clip_l"),
        flux: Some(FluxVariant::Dev),
        ..ModelFiles::default()
    };
    change(&mut files);
    let settings =
        BackendSettings { name: Some("mine".to_owned()), ..BackendSettings::child(program.into(), vec![files]) };
    Some(SdServer::with_timing(settings, &around(&folder), Timing::default()).unwrap())
}

async fn run(engine: &SdServer) -> Result<Output, EngineError> {
    let body = json!({
        "businessTaskId": "1", "comfyTaskType": "Flux1DevFP8", "prompt": "a cat", "width": 72, "height": 80, "steps": 2,
        "fluxGuidance": 2.5,
    });
    sd_run(engine, JobRequest::new("task-1", &FLUX_TEXT_TO_IMAGE, body)).await
}

#[tokio::test]
async fn flux_is_made_as_asked_for() {
    let Some(engine) = open(|_| ()) else { return println!("no real program with FLUX.1 is named") };
    let output = run(&engine).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height), (72, 80));
    assert!(engine.has_loaded(Some("flux-dev.safetensors")));
}

/// Without a text encoder, the program crashes in the middle of the first picture.
#[tokio::test]
async fn a_crash_costs_one_job() {
    let Some(engine) = open(|files| files.clip_l = None) else {
        return println!("no real program with FLUX.1 is named");
    };
    for _ in 0..2 {
        match run(&engine).await {
            Err(EngineError::Failed(error)) => assert!(error.contains("ended while it worked on the job"), "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(!engine.has_loaded(None) && engine.report().away.is_none());
    }
}
