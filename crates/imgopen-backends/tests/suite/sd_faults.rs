//! What an sd-server at an address does wrong, what becomes of a job then, and what is sent.

use std::time::Duration;

use imgopen_backends::{BackendSettings, Driver, FluxFiles, SdServer, Surroundings};
use imgopen_engine::{Engine, EngineError, JobRequest, Monitor};
use imgopen_types::operations::{CONTROLNET, FLUX_TEXT_TO_IMAGE};
use serde_json::{Value, json};

use crate::jobs::{controlnet, image_to_image, job, text_to_image};
use crate::sd_fake::{SdBehaviour, SdFake, SdFault};
use crate::targets::sd_server::{address, sd_faked};
use crate::targets::{DEADLINE, QUICK, carry_out, settings, until};

const MODEL: &str = "random-sd15.safetensors";

/// Runs a request with a fault, and returns the error.
async fn failure(fault: SdFault, changes: Value) -> EngineError {
    let (engine, _fake) = sd_faked(SdBehaviour { fault, ..SdBehaviour::default() }).await;
    carry_out(&engine, text_to_image(MODEL, changes)).await.unwrap_err()
}

fn slow(milliseconds: u64) -> SdBehaviour {
    SdBehaviour { step: Duration::from_millis(milliseconds), ..SdBehaviour::default() }
}

#[tokio::test]
async fn whatever_was_replaced_is_a_failure_and_no_picture() {
    for (fault, problem) in [
        (SdFault::Makes(128, 64), "64x64 pixels were asked for, and a picture of 128x64 came back"),
        (SdFault::Writes("\"seed\":8", "\"seed\":7"), "the seed was to be 7, and it reports 8"),
        (SdFault::Writes("\"seed\":null", "\"seed\":7"), "the seed was to be 7, and it reports nothing"),
        (SdFault::Writes("\"width\":70", "\"width\":64"), "the width was to be 64, and it reports 70"),
        (SdFault::Writes("\"positive\":\"b", "\"positive\":\"a"), "the prompt was to be \"a lighthouse\""),
        (SdFault::Writes("\"negative\":\"\"", "\"negative\":\"blurry\""), "the negative prompt"),
        (SdFault::Writes("\"steps\":20", "\"steps\":2"), "the steps was to be 2, and it reports 20"),
        (
            SdFault::Writes("\"other\":0", "\"method\":\"euler\""),
            "the sampler was to be \"euler\", and it reports nothing",
        ),
        (SdFault::Writes("\"scheduler\":\"karras\"", "\"scheduler\":\"discrete\""), "the schedule"),
        (SdFault::Writes("\"custom_sigmas\":[1.0]", "\"custom_sigmas\":[]"), "a schedule of its own"),
        (SdFault::Writes("\"txt_cfg\":7.5", "\"txt_cfg\":7.0"), "the CFG scale was to be 7"),
        (SdFault::Writes("\"clip_skip\":2", "\"clip_skip\":-1"), "the clip skip"),
        (
            SdFault::Writes("other.safetensors", "random-sd15.safetensors"),
            "the model was to be \"random-sd15.safetensors\"",
        ),
        (
            SdFault::Writes("\"loras\":[{\"name\":\"x\",\"multiplier\":1}],\"mode\"", "\"mode\""),
            "the LoRA \"x\", which was not asked for",
        ),
        (SdFault::Writes("\"hires\":{},\"mode\"", "\"mode\""), "it made a second pass"),
        (SdFault::Writes("NOTHING: ", "SDCPP: "), "nothing can be verified"),
        (SdFault::Writes("SDCPP: {", "SDCPP: "), "cannot be read"),
        (SdFault::Loses, "1 pictures were asked for, and 0 came back"),
        (SdFault::Fails("generate_image returned no results"), "generation_failed: generate_image returned no results"),
        (SdFault::States(200, "<html>".to_owned()), "not the expected JSON"),
        (
            SdFault::States(200, json!({"status": "completed", "result": {"images": "x"}}).to_string()),
            "lacks what the API promises",
        ),
        (
            SdFault::States(200, json!({"status": "completed", "result": {"images": [{"b64_json": "!"}]}}).to_string()),
            "not in Base64",
        ),
        (SdFault::Answers(202, "{\"id\": \"../../x\"}".to_owned()), "it gives no id"),
        (SdFault::Answers(500, json!({"error": "server_error", "message": "at /home/me"}).to_string()), "server_error"),
    ] {
        match failure(fault.clone(), json!({})).await {
            EngineError::Failed(error) => {
                assert!(error.contains(problem) && !error.contains("/home"), "{fault:?}: {error}");
            }
            other => panic!("{fault:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_lora_or_a_hires_fix_that_is_not_reported_is_a_failure() {
    let lora = json!({"prompt": "a <lora:random-lora:0.8>"});
    let error = failure(SdFault::Writes("\"multiplier\":0.5", "\"multiplier\":0.8"), lora.clone()).await.to_string();
    assert!(error.contains("the LoRA \"random-lora.safetensors\" was applied with the weight 0.8"), "{error}");
    assert!(
        failure(SdFault::Writes("\"others\":", "\"loras\":"), lora)
            .await
            .to_string()
            .contains("does not report that the LoRA")
    );
    let hires = json!({"enable_hr": true, "hr_scale": 2, "hr_upscaler": "Latent"});
    for (fault, problem) in [
        (SdFault::Writes("\"other\":", "\"hires\":"), "does not report the hi-res fix"),
        (SdFault::Writes("\"upscaler\":\"Nearest\"", "\"upscaler\":\"Latent\""), "the upscaler of the hi-res fix"),
        (SdFault::Makes(64, 64), "128x128 pixels were asked for"),
    ] {
        let error = failure(fault, hires.clone()).await.to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_names_no_other_loras() {
    let (engine, _fake) = sd_faked(SdBehaviour::default()).await;
    let error = engine.check(&text_to_image(MODEL, json!({"prompt": "a <lora:nope:1>"}))).unwrap_err().to_string();
    assert!(error.ends_with("there is no LoRA \"nope\"; give one that `list_loras` names"), "{error}");
}

#[tokio::test]
async fn a_controlnet_that_is_not_loaded_is_a_failure() {
    let (engine, fake) = sd_faked(SdBehaviour { has_control_net: false, ..SdBehaviour::default() }).await;
    let unit =
        |model: &str| controlnet(MODEL, json!({"model": model, "image_link": "https://example.com/b.png"}), json!({}));
    let error = carry_out(&engine, unit("random-cn")).await.unwrap_err().to_string();
    assert!(error.contains("started without a ControlNet"), "{error}");
    fake.set(|behaviour| behaviour.has_control_net = true);
    assert!(carry_out(&engine, unit("random-cn")).await.is_ok());
    let error = carry_out(&engine, unit("other")).await.unwrap_err().to_string();
    assert!(
        error.contains("the ControlNet model was to be \"other\", and it reports \"random-cn.safetensors\""),
        "{error}"
    );
    // Whether one is there, it does not say; unless the operator does, it is not offered.
    let engine = SdServer::with_timing(settings(&fake.url), &Surroundings::default(), QUICK).unwrap();
    assert!(engine.refresh().await);
    assert!(!engine.offers().iter().any(|offer| *offer.operation == CONTROLNET));
    assert!(engine.report().to_string().contains("controlnet: needs its name in `operations`"), "{}", engine.report());
}

#[tokio::test]
async fn an_endless_answer_is_not_read() {
    let error = failure(SdFault::States(200, " ".repeat(5_000_000)), json!({})).await.to_string();
    assert!(error.contains("it is larger than"), "{error}");
}

#[tokio::test]
async fn a_full_queue_a_lost_job_and_proxies_are_not_the_tasks_fault() {
    for fault in [
        SdFault::Answers(429, json!({"error": "job queue is full"}).to_string()),
        SdFault::Answers(502, "<html>".to_owned()),
        SdFault::States(404, json!({"error": "job not found"}).to_string()),
        SdFault::States(410, json!({"error": "job expired"}).to_string()),
    ] {
        let error = failure(fault.clone(), json!({})).await;
        assert!(matches!(error, EngineError::Unavailable { .. }), "{fault:?}: {error:?}");
    }
    let error = failure(SdFault::Fails("write failed: No space left on device"), json!({})).await;
    assert!(matches!(&error, EngineError::Unavailable { reason, .. } if reason.contains("make room")), "{error:?}");
    let (engine, _fake) = sd_faked(SdBehaviour { queue: 0, ..SdBehaviour::default() }).await;
    let error = carry_out(&engine, text_to_image(MODEL, json!({}))).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Unavailable { reason, .. } if reason.contains("job queue is full")),
        "{error:?}"
    );
    let refused =
        failure(SdFault::Answers(400, json!({"error": "invalid generation parameters"}).to_string()), json!({})).await;
    assert!(
        matches!(&refused, EngineError::Rejected { problem, .. } if problem.contains("invalid generation")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_was_started_again_has_lost_the_job() {
    let (engine, fake) = sd_faked(slow(20)).await;
    let run = tokio::spawn(engine.run(job(text_to_image(MODEL, json!({"steps": 100}))), Monitor::new().0));
    until("the job runs", async || fake.count("generating") == 1).await;
    fake.forget();
    let error = run.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, EngineError::Unavailable { reason, .. } if reason.contains("has lost the job")),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_in_answer_to_a_question_does_not_end_the_job() {
    for status in [500, 502] {
        let (engine, fake) = sd_faked(slow(20)).await;
        let run = tokio::spawn(engine.run(job(text_to_image(MODEL, json!({"steps": 50}))), Monitor::new().0));
        until("the job runs", async || fake.count("generating") == 1).await;
        fake.set(|behaviour| behaviour.fault = SdFault::States(status, "<html>".to_owned()));
        tokio::time::sleep(QUICK.poll * 10).await;
        fake.set(|behaviour| behaviour.fault = SdFault::None);
        assert!(run.await.unwrap().is_ok(), "{status}");
        assert_eq!(fake.calls().len(), 1);
    }
}

#[tokio::test]
async fn a_cancelled_job_that_waits_is_taken_out_of_the_queue() {
    let (engine, fake) = sd_faked(slow(20)).await;
    let first = tokio::spawn(engine.run(job(text_to_image(MODEL, json!({"steps": 100}))), Monitor::new().0));
    until("the first runs", async || fake.count("generating") == 1).await;
    let (monitor, watch) = Monitor::new();
    let second = tokio::spawn(engine.run(job(text_to_image(MODEL, json!({}))), monitor));
    until("the second waits", async || fake.count("queued") == 1).await;
    watch.cancel.cancel();
    assert_eq!(second.await.unwrap(), Err(EngineError::Cancelled));
    tokio::time::timeout(DEADLINE, watch.ended()).await.expect("it is given up while the first runs");
    assert_eq!((fake.count("generating"), fake.count("cancelled")), (1, 1));
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_job_that_someone_else_cancels_is_a_failure() {
    let (engine, fake) = sd_faked(slow(20)).await;
    let first = tokio::spawn(engine.run(job(text_to_image(MODEL, json!({"steps": 50}))), Monitor::new().0));
    until("the first runs", async || fake.count("generating") == 1).await;
    let second = tokio::spawn(engine.run(job(text_to_image(MODEL, json!({}))), Monitor::new().0));
    until("the second waits", async || fake.count("queued") == 1).await;
    let cancel = format!("{}/sdcpp/v1/jobs/job_6b0afa98_00000001/cancel", fake.url);
    reqwest::Client::new().post(cancel).send().await.unwrap();
    match second.await.unwrap() {
        Err(EngineError::Failed(error)) => assert!(error.contains("was cancelled at the back end `mine`"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test]
async fn everything_that_has_an_effect_is_sent() {
    let (engine, fake) = sd_faked(SdBehaviour::default()).await;
    let settings = json!({"override_settings": {"CLIP_stop_at_last_layers": 2}});
    let changes = json!({
        "prompt": "a <lora:deep:0.5> cat <lora:sub/deep:0.25> <lora:random-lora:0>", "n_iter": 5, "batch_size": 2,
        "enable_hr": true, "hr_upscaler": "Lanczos", "hr_resize_x": 128, "sampler_index": "DPM++ 2M Karras",
        "alwayson_scripts": settings, "denoising_strength": 0.6,
    });
    carry_out(&engine, text_to_image(MODEL, changes)).await.unwrap();
    let mask = json!({"alwayson_scripts": {"mask_link": "https://example.com/m.png"}, "image_cfg_scale": 1.5});
    carry_out(&engine, image_to_image(MODEL, mask)).await.unwrap();
    let calls = fake.calls();
    assert_eq!(
        calls[0],
        json!({
            "prompt": "a  cat", "negative_prompt": "blurry", "width": 64, "height": 64, "seed": 7, "batch_count": 8,
            "clip_skip": 2,
            "sample_params": {
                "sample_steps": 2, "sample_method": "dpm++2m", "scheduler": "karras", "guidance": {"txt_cfg": 7.0},
                "custom_sigmas": [], "shifted_timestep": 0,
            },
            "lora": [{"path": "sub/deep.safetensors", "multiplier": 0.75}],
            "hires": {
                "enabled": true, "upscaler": "Lanczos", "scale": 1.0, "target_width": 128, "target_height": 128, "steps": 2,
                "denoising_strength": 0.6,
            },
            "output_format": "png", "embed_image_metadata": true,
        })
    );
    assert_eq!((&calls[1]["seed"], &calls[1]["batch_count"]), (&json!(15), &json!(2)));
    let call = &calls[2];
    assert_eq!((&call["strength"], &call["hires"]), (&json!(0.99), &json!({"enabled": false})));
    assert_eq!((&call["lora"], &call["clip_skip"]), (&json!([]), &json!(-1)));
    assert_eq!(call["sample_params"]["guidance"], json!({"txt_cfg": 7.0, "img_cfg": 1.5}));
    assert!(call["init_image"].is_string() && call["mask_image"].is_string());
}

#[tokio::test]
async fn flux_is_served_if_the_operator_names_its_file() {
    let fake = SdFake::start(SdBehaviour { is_flux: true, ..SdBehaviour::default() }).await;
    let files = |name: &str| Some(FluxFiles { checkpoint: name.to_owned(), modules: Vec::new() });
    let engine = |settings: BackendSettings| async {
        let engine = SdServer::with_timing(settings, &Surroundings::default(), QUICK).unwrap();
        assert!(engine.refresh().await);
        engine
    };
    let request = |kind: &str| {
        let body = json!({
            "businessTaskId": "1", "comfyTaskType": kind, "prompt": "a cat", "width": 72, "height": 80, "steps": 2,
            "fluxGuidance": 2.5,
        });
        JobRequest::new("task-1", &FLUX_TEXT_TO_IMAGE, body)
    };
    let dev = engine(BackendSettings { flux_dev: files("flux-dev.safetensors"), ..address(&fake) }).await;
    // The settings name the others, so nothing lesser takes their place.
    let (there, away): (Vec<_>, Vec<_>) = dev.offers().into_iter().partition(|offer| offer.away.is_none());
    assert_eq!(there.iter().map(|offer| offer.operation.id).collect::<Vec<_>>(), ["flux_text_to_image"]);
    assert_eq!(away.len(), 3);
    assert!(away.iter().all(|offer| offer.away.as_ref().is_some_and(|away| away.starts_with("it needs a model"))));
    let output = carry_out(&dev, request("Flux1DevFP8")).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height, output.notes.len()), (72, 80, 0));
    let params = &fake.calls()[0]["sample_params"];
    assert_eq!(
        (&params["scheduler"], &params["guidance"]),
        (&json!("simple"), &json!({"txt_cfg": 1.0, "distilled_guidance": 2.5}))
    );
    let error = dev.check(&request("Flux1SchnellFP8")).unwrap_err().to_string();
    assert!(error.starts_with("`comfyTaskType`: the back end `mine` (sd-server) does not offer files"), "{error}");
    let schnell = engine(BackendSettings { flux_schnell: files("flux-dev.safetensors"), ..address(&fake) }).await;
    assert!(carry_out(&schnell, request("Flux1SchnellFP8")).await.unwrap().notes[0].contains("without guidance"));
    let other = engine(BackendSettings { flux_dev: files("other.safetensors"), ..address(&fake) }).await;
    let report = other.report().to_string();
    assert!(report.contains("flux_text_to_image: needs the file that `flux_dev` or `flux_schnell` names"), "{report}");
}
