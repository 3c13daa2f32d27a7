//! The real sd-server with FLUX.1, where variables name it and a models directory as the example `weights` writes it.

use std::path::PathBuf;

use imgopen_backends::{Driver, FluxVariant, ModelFiles, SdServer, Timing};
use imgopen_engine::{EngineError, JobRequest, Output};
use imgopen_types::operations::FLUX_TEXT_TO_IMAGE;
use serde_json::json;

use crate::targets::sd_server::Installed;
use crate::targets::{Turn, carry_out, turn};

const MODEL: &str = "random-flux-dev.safetensors";

/// Starts the program with FLUX.1, changed by `change`.
async fn open(change: impl FnOnce(&mut ModelFiles)) -> Option<(SdServer, Turn)> {
    let installed = Installed::find()?;
    let file = |path: &str| Some(PathBuf::from(path));
    let mut files = ModelFiles {
        diffusion_model: file("diffusion_models/random-flux-dev.safetensors"),
        vae: file("vae/random-ae.safetensors"),
        clip_l: file("text_encoders/random-clip-l.safetensors"),
        flux: Some(FluxVariant::Dev),
        ..ModelFiles::default()
    };
    if !files.paths().iter().all(|(_, path)| installed.folder.join(path).is_file()) {
        return None;
    }
    change(&mut files);
    let turn = turn().await;
    Some((installed.start(files, Timing::default()), turn))
}

async fn run(engine: &SdServer) -> Result<Output, EngineError> {
    let body = json!({
        "businessTaskId": "1", "comfyTaskType": "Flux1DevFP8", "prompt": "a cat", "width": 72, "height": 80, "steps": 2,
        "fluxGuidance": 2.5,
    });
    carry_out(engine, JobRequest::new("task-1", &FLUX_TEXT_TO_IMAGE, body)).await
}

#[tokio::test]
async fn flux_is_made_as_asked_for() {
    let Some((engine, _turn)) = open(|_| ()).await else {
        return println!("no real program with FLUX.1 is named");
    };
    let output = run(&engine).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height), (72, 80));
    assert!(engine.has_loaded(Some(MODEL)));
}

/// Without a text encoder, the program crashes in the middle of the first picture.
#[tokio::test]
async fn a_crash_costs_one_job() {
    let Some((engine, _turn)) = open(|files| files.clip_l = None).await else {
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
