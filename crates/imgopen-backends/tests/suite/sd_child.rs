//! The program that is started for jobs: how it starts, ends, fails and is stopped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use imgopen_backends::{BackendSettings, Driver, FluxVariant, ModelFiles, SdServer, Surroundings, Timing};
use imgopen_engine::{Engine, EngineError, JobRequest, Monitor};
use imgopen_types::operations::{FLUX_TEXT_TO_IMAGE, TEXT_TO_IMAGE};
use serde_json::json;
use tempfile::TempDir;

use crate::jobs::{job, text_to_image};
use crate::sd_program::{program, runs, starts};
use crate::targets::sd_server::{around, models};
use crate::targets::{DEADLINE, QUICK, carry_out, until};

const MODEL: &str = "random-sd15.safetensors";
const OTHER: &str = "other.safetensors";

/// A program that plays a script, and what it records.
struct Played {
    engine: SdServer,
    record: PathBuf,
    folder: TempDir,
}

impl Played {
    fn starts(&self) -> Vec<(i32, String)> {
        starts(&self.record)
    }

    async fn run(&self, changes: serde_json::Value) -> Result<usize, EngineError> {
        carry_out(&self.engine, text_to_image(MODEL, changes)).await.map(|output| output.pictures.len())
    }

    /// Waits until none of the processes runs.
    async fn gone(&self) {
        until("the processes are gone", async || !self.starts().iter().any(|(id, _)| runs(*id))).await;
    }
}

fn play(script: &[&str]) -> Played {
    play_with(script, QUICK, |_| ())
}

fn play_with(script: &[&str], timing: Timing, change: impl FnOnce(&mut BackendSettings)) -> Played {
    let folder = models();
    let record = folder.path().join("starts");
    let mut script = script.to_vec();
    let path = record.display().to_string();
    script.extend(["--record", &path]);
    let mut settings = program("checkpoints/random-sd15.safetensors", &script);
    let other = ModelFiles { model: Some("checkpoints/other.safetensors".into()), ..settings.models[0].clone() };
    settings.models.push(other);
    change(&mut settings);
    let engine = SdServer::with_timing(settings, &around(folder.path()), timing).unwrap();
    Played { engine, record, folder }
}

fn failed(error: EngineError) -> String {
    match error {
        EngineError::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

fn unavailable(error: EngineError) -> (String, Duration) {
    match error {
        EngineError::Unavailable { reason, retry_after } => (reason, retry_after.expect("a time is named")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_is_started_by_the_first_job_and_stays_for_the_next() {
    let played = play(&[]);
    assert!(played.engine.refresh().await && played.starts().is_empty());
    let report = played.engine.report();
    assert_eq!((report.models, report.away), (vec![MODEL.to_owned(), OTHER.to_owned()], None));
    assert!(!played.engine.has_loaded(Some(MODEL)));
    assert_eq!(played.run(json!({})).await, Ok(1));
    assert_eq!(played.run(json!({"steps": 3})).await, Ok(1));
    assert!(played.engine.has_loaded(Some(MODEL)) && !played.engine.has_loaded(Some(OTHER)));
    let [(id, arguments)] = &played.starts()[..] else { panic!("{:?}", played.starts()) };
    let folder = played.folder.path().display();
    for argument in [
        format!("--model {folder}/checkpoints/{MODEL} "),
        format!("--lora-model-dir {folder}/Lora "),
        format!("--embd-dir {folder}/embeddings "),
        "--lora-apply-mode at_runtime ".to_owned(),
        "--seed ".to_owned(),
        "--listen-ip 127.0.0.1 --listen-port ".to_owned(),
    ] {
        assert!(arguments.contains(&argument), "{argument}: {arguments}");
    }
    assert!(!arguments.contains("--hires-upscalers-dir"), "there is none: {arguments}");
    assert!(played.engine.report().version.is_some_and(|version| version.starts_with("stable-diffusion.cpp version")));
    let id = *id;
    drop(played.engine);
    until("it ends with the engine", async || !runs(id)).await;
}

#[tokio::test]
async fn another_model_is_started_in_its_place() {
    let played = play(&[]);
    assert_eq!(played.run(json!({})).await, Ok(1));
    let first = played.starts()[0].0;
    assert!(carry_out(&played.engine, text_to_image(OTHER, json!({}))).await.is_ok());
    assert!(!runs(first) && played.engine.has_loaded(Some(OTHER)));
    assert_eq!(played.starts().len(), 2);
    played.engine.free().await;
    assert!(!played.engine.has_loaded(None));
    played.gone().await;
    assert_eq!(played.run(json!({})).await, Ok(1));
}

#[tokio::test]
async fn flux_and_controlnet_are_served_where_their_files_are_named() {
    let played = play_with(&[], QUICK, |settings| {
        let arguments = settings.models[0].arguments.clone();
        settings.models.push(ModelFiles {
            diffusion_model: Some("checkpoints/flux-dev.safetensors".into()),
            flux: Some(FluxVariant::Dev),
            arguments,
            ..ModelFiles::default()
        });
    });
    let offers: Vec<_> = played.engine.offers().iter().map(|offer| offer.operation.id).collect();
    assert_eq!(offers, ["text_to_image", "image_to_image", "flux_text_to_image"]);
    let report = played.engine.report().to_string();
    assert!(report.contains("controlnet: needs a ControlNet; name one in `models`, as `control-net`"), "{report}");
    let body =
        json!({"businessTaskId": "1", "comfyTaskType": "Flux1DevFP8", "prompt": "a cat", "width": 72, "height": 64});
    let request = JobRequest::new("task-1", &FLUX_TEXT_TO_IMAGE, body);
    assert!(carry_out(&played.engine, request).await.is_ok());
    assert!(played.starts()[0].1.contains("--diffusion-model"), "{:?}", played.starts());
    let refused = played.engine.check(&text_to_image("flux-dev.safetensors", json!({}))).unwrap_err().to_string();
    assert!(refused.contains("give one of \"random-sd15.safetensors\", \"other.safetensors\""), "{refused}");
}

#[tokio::test]
async fn an_idle_program_is_stopped() {
    let played = play_with(&[], QUICK, |settings| settings.idle = Duration::from_millis(200));
    assert_eq!(played.run(json!({})).await, Ok(1));
    played.gone().await;
    until("it is not named any more", async || !played.engine.has_loaded(None)).await;
    assert_eq!(played.run(json!({})).await, Ok(1));
    assert_eq!(played.starts().len(), 2);
}

#[tokio::test]
async fn a_cancelled_job_ends_the_program_with_all_that_it_started() {
    let played = play(&["--script", "has-children", "--step", "20"]);
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(played.engine.run(job(text_to_image(MODEL, json!({"steps": 100}))), monitor));
    watch.progress.clone().wait_for(|progress| progress.step > 0).await.unwrap();
    assert_eq!(played.starts().len(), 2, "the program and its child");
    assert!(played.starts().iter().all(|(id, _)| runs(*id)));
    watch.cancel.cancel();
    assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
    tokio::time::timeout(DEADLINE, watch.ended()).await.expect("the work ends");
    played.gone().await;
    assert_eq!(played.run(json!({})).await, Ok(1));
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_the_program_starts_ends_it() {
    let played = play(&["--script", "silent"]);
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(played.engine.run(job(text_to_image(MODEL, json!({}))), monitor));
    until("it starts", async || played.starts().len() == 1).await;
    watch.cancel.cancel();
    assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
    // Its place is free, and with it its device, only once the process is gone.
    tokio::time::timeout(DEADLINE, watch.ended()).await.expect("the work ends");
    assert!(!played.starts().iter().any(|(id, _)| runs(*id)));
    // That was not its fault.
    assert!(played.engine.offers().iter().all(|offer| offer.away.is_none()));
}

#[tokio::test]
async fn a_crash_costs_one_job_and_not_the_service() {
    for (script, how) in [("aborts", "ended while it worked on the job"), ("hangs", "because it had stopped answering")]
    {
        let timing = Timing { answer: Duration::from_millis(300), silence: Duration::from_millis(600), ..QUICK };
        let played = play_with(&["--script", script], timing, |_| ());
        let error = failed(played.run(json!({})).await.unwrap_err());
        assert!(error.contains(how) && error.contains("`mine`"), "{script}: {error}");
        assert!(!error.contains('/') && !error.contains("lora.hpp"), "{error}");
        played.gone().await;
        // It is no failed start: the next job starts it at once.
        assert!(failed(played.run(json!({})).await.unwrap_err()).contains(how));
        assert_eq!(played.starts().len(), 2);
        assert!(played.engine.offers().iter().all(|offer| offer.away.is_none()));
    }
}

#[tokio::test]
async fn a_program_that_has_died_in_the_meantime_is_started_again() {
    let played = play(&[]);
    assert_eq!(played.run(json!({})).await, Ok(1));
    let id = rustix::process::Pid::from_raw(played.starts()[0].0).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    // Whether it is noticed before the job or by it.
    until("a job is done", async || played.run(json!({})).await.is_ok()).await;
    assert_eq!(played.starts().len(), 2);
}

#[tokio::test]
async fn failed_starts_are_tried_again_later_and_withdraw_the_offer() {
    let played = play(&["--script", "fails"]);
    for (count, least) in [(1, 0.5), (2, 1.5), (3, 3.5)] {
        let (reason, after) = unavailable(played.run(json!({})).await.unwrap_err());
        assert!(reason.contains("`mine` cannot be started with the model \"random-sd15.safetensors\""), "{reason}");
        assert!(reason.contains("exit status: 1") && reason.contains("new_sd_ctx_t failed"), "{reason}");
        assert!(!reason.contains('/'), "{reason}");
        assert_eq!(played.starts().len(), count, "it is started once for each try");
        assert!(after.as_secs_f64() >= least, "{after:?}");
        // Until then it is not started.
        let began = Instant::now();
        let (again, left) = unavailable(played.run(json!({})).await.unwrap_err());
        assert!(again == reason && left <= after && began.elapsed() < Duration::from_secs(5));
        assert_eq!(played.starts().len(), count);
        if count < 3 {
            assert!(played.engine.offers().iter().all(|offer| offer.away.is_none()));
            tokio::time::sleep(left).await;
        }
    }
    // The other model may be started.
    assert!(played.engine.offers().iter().all(|offer| offer.away.is_none()));
    let alone = play_with(&["--script", "fails"], QUICK, |settings| settings.models.truncate(1));
    for _ in 0..3 {
        let (_, left) = unavailable(alone.run(json!({})).await.unwrap_err());
        let away = alone.engine.offers().iter().find(|offer| *offer.operation == TEXT_TO_IMAGE).unwrap().away.clone();
        match alone.starts().len() {
            3 => assert!(away.is_some_and(|away| away.contains("cannot be started")) && !alone.engine.refresh().await),
            _ => {
                assert_eq!(away, None);
                tokio::time::sleep(left).await;
            }
        }
    }
}

#[tokio::test]
async fn a_start_that_succeeds_after_a_failed_one_is_forgiven() {
    let played = play(&["--script", "fails-first"]);
    let (_, left) = unavailable(played.run(json!({})).await.unwrap_err());
    tokio::time::sleep(left).await;
    assert_eq!(played.run(json!({})).await, Ok(1));
    assert_eq!(played.engine.report().away, None);
}

#[tokio::test]
async fn a_port_that_another_takes_is_noticed() {
    // It ends without an error, or another's server answers in its place.
    for script in ["port-taken", "stranger"] {
        let played = play(&["--script", script]);
        assert_eq!(played.run(json!({})).await, Ok(1), "{script}");
        assert_eq!(played.starts().len(), 2, "{script}");
    }
    let played = play(&["--script", "other-model"]);
    let (reason, _) = unavailable(played.run(json!({})).await.unwrap_err());
    assert!(reason.contains("it serves another model"), "{reason}");
    played.gone().await;
}

#[tokio::test]
async fn silence_ends_a_start_and_output_does_not() {
    let silence = Duration::from_secs(2);
    let played = play_with(&["--script", "silent"], QUICK, |settings| settings.start_silence = silence);
    let (reason, _) = unavailable(played.run(json!({})).await.unwrap_err());
    assert!(reason.contains("it was silent for 2 seconds"), "{reason}");
    played.gone().await;
    // Longer than the silence, with signs of life.
    let played = play_with(&["--script", "slow"], QUICK, |settings| settings.start_silence = silence);
    assert_eq!(played.run(json!({})).await, Ok(1));
}

#[tokio::test]
async fn loras_that_do_not_fit_fail_the_job_with_words() {
    let played = play(&[]);
    for (lora, problem) in [
        ("misfit", "only 3 of the 9 tensors of the LoRA \"misfit\" fit the model"),
        ("broken", "the LoRA \"broken\" cannot be read"),
        ("silent", "does not report that the LoRA \"silent\" was applied"),
    ] {
        let error = failed(played.run(json!({"prompt": format!("a <lora:{lora}:1>")})).await.unwrap_err());
        assert!(error.contains(problem), "{error}");
    }
    assert_eq!(played.run(json!({"prompt": "a <lora:random-lora:1>"})).await, Ok(1));
    assert_eq!(played.starts().len(), 1);
}

#[tokio::test]
async fn a_lora_leaves_no_traces_in_later_pictures() {
    let played = play_with(&[], QUICK, |settings| {
        settings.arguments.extend(["--lora-apply-mode", "immediately"].map(str::to_owned));
    });
    for (prompt, processes) in [
        ("a", 1),
        ("a <lora:random-lora:1>", 1),
        ("b <lora:random-lora:1>", 1),
        ("a <lora:random-lora:0.5>", 2),
        ("a", 3),
        ("b", 3),
    ] {
        assert_eq!(played.run(json!({ "prompt": prompt })).await, Ok(1));
        assert_eq!(played.starts().len(), processes, "{prompt}");
    }
    assert!(!played.starts()[0].1.contains("at_runtime"));
}

#[tokio::test]
async fn a_lora_for_another_base_model_never_reaches_the_program() {
    let played = play(&[]);
    // Headers of safetensors files, in which the width of the cross-attention shows the base model.
    let tensor = |name: &str, shape: [usize; 2]| {
        let header =
            json!({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * shape[0] * shape[1]]}}).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + 4 * shape[0] * shape[1], 0);
        file
    };
    let lora = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight";
    let model = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
    let folder = played.folder.path();
    std::fs::write(folder.join("checkpoints").join(MODEL), tensor(model, [2, 768])).unwrap();
    std::fs::write(folder.join("Lora/xl.safetensors"), tensor(lora, [2, 2048])).unwrap();
    std::fs::write(folder.join("Lora/fits.safetensors"), tensor(lora, [2, 768])).unwrap();
    assert!(played.engine.refresh().await);
    assert_eq!(played.run(json!({"prompt": "a <lora:fits:1>"})).await, Ok(1));
    let error = played.engine.check(&text_to_image(MODEL, json!({"prompt": "a <lora:xl:1>"}))).unwrap_err().to_string();
    assert!(error.contains("made for SDXL, and the model is SD 1.5"), "{error}");
}

#[tokio::test]
async fn files_that_are_not_there_are_named() {
    let played = play_with(&[], QUICK, |settings| settings.models[0].vae = Some("VAE/none.safetensors".into()));
    let report = played.engine.report().to_string();
    assert!(
        report.contains("text_to_image: needs the file of `--vae` of the model \"random-sd15.safetensors\""),
        "{report}"
    );
    let (reason, _) = unavailable(played.run(json!({})).await.unwrap_err());
    assert!(reason.contains("the file of `--vae`") && !reason.contains("none.safetensors"), "{reason}");
    assert!(played.starts().is_empty());
    // It is looked for again before each start, and in the background.
    std::fs::create_dir(played.folder.path().join("VAE")).unwrap();
    std::fs::write(played.folder.path().join("VAE/none.safetensors"), "weights").unwrap();
    assert!(played.engine.refresh().await);
    assert!(played.engine.report().to_string().contains("text_to_image: served"), "{}", played.engine.report());
    let vae = |name: &str| text_to_image(MODEL, json!({"alwayson_scripts": {"sd_vae": name}}));
    assert_eq!(played.engine.check(&vae("none")), Ok(()));
    assert!(played.engine.check(&vae("other")).unwrap_err().to_string().contains("give one of \"none.safetensors\""));
}

#[tokio::test]
async fn a_launcher_starts_it() {
    let played = play(&[]);
    let settings = program("checkpoints/random-sd15.safetensors", &["--record", &played.record.display().to_string()]);
    let launcher = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/launcher");
    let around = Surroundings { launcher: Some(launcher.into()), ..around(played.folder.path()) };
    let engine = SdServer::with_timing(settings.clone(), &around, QUICK).unwrap();
    assert!(carry_out(&engine, text_to_image(MODEL, json!({}))).await.is_ok());
    assert_eq!(played.starts().len(), 1);
    drop(engine);
    played.gone().await;
    let around = Surroundings { launcher: Some("/none".into()), ..around };
    let engine = SdServer::with_timing(settings, &around, QUICK).unwrap();
    let (reason, _) = unavailable(carry_out(&engine, text_to_image(MODEL, json!({}))).await.unwrap_err());
    assert!(reason.contains("the program cannot be run (entity not found)"), "{reason}");
}

#[tokio::test]
async fn weights_count_unless_they_are_on_a_device() {
    let played = play_with(&[], QUICK, |settings| settings.models.truncate(1));
    std::fs::write(played.folder.path().join("checkpoints").join(MODEL), vec![0; 5000]).unwrap();
    assert!(played.engine.refresh().await);
    let size = |played: &Played| played.engine.memory(&job(text_to_image(MODEL, json!({}))));
    let on_device = play_with(&[], QUICK, |settings| settings.device = Some("gpu0".to_owned()));
    assert_eq!(size(&played), size(&on_device) + 5000);
    assert!(size(&on_device) >= 64 * 64 * 8);
    let unknown = job(text_to_image("nope", json!({})));
    assert_eq!(played.engine.memory(&unknown), size(&on_device));
}
