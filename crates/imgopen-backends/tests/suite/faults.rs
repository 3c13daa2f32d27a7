//! What servers do wrong, and what becomes of a job then.

use std::sync::Arc;
use std::time::Duration;

use imgopen_backends::{BackendSettings, Driver, FluxFiles, Password, SdWebui};
use imgopen_engine::{Engine, EngineError, JobRequest, Monitor};
use imgopen_types::operations::FLUX_TEXT_TO_IMAGE;
use serde_json::{Value, json};

use crate::fake::{Behaviour, Fake, Fault};
use crate::jobs::{controlnet, image_to_image, job, text_to_image};
use crate::targets::sd_webui::faked;
use crate::targets::{DEADLINE, QUICK, settings, until};

/// Runs a request for a picture with a fault, and returns the error.
async fn failure(fault: Fault, changes: Value) -> EngineError {
    let (target, _fake) = faked(Behaviour { fault, ..Behaviour::default() }).await;
    target.run(text_to_image(&target.model, changes)).await.unwrap_err()
}

#[tokio::test]
async fn whatever_was_replaced_is_a_failure_and_no_picture() {
    for (fault, problem) in [
        (
            Fault::Reports("sd_model_name", json!("other")),
            "it was to use the model \"random-sd15\", and reports \"other\"",
        ),
        (Fault::Reports("all_seeds", json!([8])), "it used other seeds"),
        (Fault::Reports("all_seeds", json!([])), "it used other seeds"),
        (Fault::Makes(128, 64), "64x64 pixels were asked for, and a picture of 128x64 came back"),
        (Fault::Writes("Sampler: DPM++ 2M", "Sampler: Euler"), "\"Sampler\" was to be \"Euler\""),
        (Fault::Writes("Schedule type: Karras", "Schedule type: Automatic"), "\"Schedule type\""),
        (Fault::Writes("Steps: 3", "Steps: 2"), "\"Steps\" was to be \"2\", and it reports \"3\""),
        (Fault::Writes("CFG scale: 1.0", "CFG scale: 7.0"), "\"CFG scale\""),
        (Fault::Writes("Seed: 8", "Seed: 7"), "\"Seed\""),
        (Fault::Writes("Model: other", "Model: random-sd15"), "\"Model\""),
        (Fault::Writes("Clip skip: 2, Version", "Version"), "\"Clip skip\" was to be \"1\", and it reports \"2\""),
        (Fault::Writes("No", "Steps"), "nothing can be verified"),
        (Fault::Forgets("scheduler"), "it does not know `scheduler`, which it was sent"),
        (Fault::Answers(200, "<html>".to_owned()), "not the expected JSON"),
        (Fault::Answers(200, "{}".to_owned()), "lacks what the API promises"),
        (Fault::Answers(200, json!({"images": ["!"], "info": "{\"all_seeds\": [7]}"}).to_string()), "does not know"),
        (
            Fault::Answers(500, json!({"error": "OutOfMemoryError", "message": "at /home/me"}).to_string()),
            "OutOfMemoryError",
        ),
    ] {
        match failure(fault.clone(), json!({})).await {
            EngineError::Failed(error) => {
                assert!(error.contains(problem) && !error.contains("/home"), "{fault:?}: {error}")
            }
            other => panic!("{fault:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_lora_that_was_not_applied_is_a_failure() {
    let fault = Fault::Writes("Nothing", "Lora hashes");
    let error = failure(fault, json!({"prompt": "a <lora:random-lora:0.8>"})).await.to_string();
    assert!(error.contains("does not report that the LoRA \"random-lora\" was applied"), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_not_read() {
    for fault in [Fault::Answers(200, " ".repeat(5_000_000)), Fault::Streams] {
        let error = failure(fault, json!({})).await.to_string();
        assert!(error.contains("it is larger than"), "{error}");
    }
}

#[tokio::test]
async fn errors_of_proxies_and_of_the_way_there_are_not_the_tasks_fault() {
    for status in [502, 503, 504, 429] {
        let error = failure(Fault::Answers(status, "<html>".to_owned()), json!({})).await;
        assert!(matches!(error, EngineError::Unavailable { .. }), "{status}: {error:?}");
    }
    let refused =
        failure(Fault::Answers(422, json!({"detail": "Script 'Nope' not found"}).to_string()), json!({})).await;
    assert!(matches!(&refused, EngineError::Rejected { problem, .. } if problem.contains("Nope")), "{refused:?}");
}

#[tokio::test]
async fn what_a_server_says_before_a_job_is_sent_is_not_the_tasks_fault() {
    for (status, text) in [(200, "<html>"), (422, "{}"), (500, "{}")] {
        match failure(Fault::States(status, text), json!({})).await {
            EngineError::Unavailable { reason, .. } => assert!(reason.contains("`mine`"), "{reason}"),
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_that_someone_else_interrupts_is_a_failure() {
    for (has_page, pictures) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
        let behaviour = Behaviour { has_page, step: Duration::from_millis(5), ..Behaviour::default() };
        let (target, fake) = faked(behaviour).await;
        let request = text_to_image(&target.model, json!({"steps": 1000, "n_iter": pictures}));
        let run = tokio::spawn(target.engine.run(job(request), Monitor::new().0));
        until("the job runs", async || fake.current().is_some()).await;
        fake.interrupt();
        match run.await.unwrap() {
            Err(EngineError::Failed(error)) => assert!(error.contains("interrupted at the back end `mine`"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Has the server work for someone else.
async fn someone(fake: &Fake) {
    let url = format!("{}/sdapi/v1/txt2img", fake.url);
    let body = json!({"prompt": "theirs", "steps": 1000, "force_task_id": "task(theirs)"});
    tokio::spawn(reqwest::Client::new().post(url).json(&body).send());
    until("their job runs", async || fake.current().as_deref() == Some("task(theirs)")).await;
}

#[tokio::test]
async fn a_cancelled_job_that_waits_does_not_interrupt_the_one_that_runs() {
    for has_page in [true, false] {
        let behaviour = Behaviour { has_page, step: Duration::from_millis(2), ..Behaviour::default() };
        let (target, fake) = faked(behaviour).await;
        someone(&fake).await;
        let (monitor, watch) = Monitor::new();
        let run = tokio::spawn(target.engine.run(job(text_to_image(&target.model, json!({"steps": 900}))), monitor));
        until("our job waits", async || fake.waiting() == 1).await;
        watch.cancel.cancel();
        assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
        tokio::time::sleep(QUICK.poll * 10).await;
        assert_eq!(fake.current().as_deref(), Some("task(theirs)"), "their job was interrupted");
        assert_eq!(watch.progress.borrow().percent, 0.0, "their progress was reported as ours");
        // By itself, ours would take a quarter of an hour.
        fake.set(|behaviour| behaviour.step = Duration::from_secs(1));
        fake.interrupt();
        until("our job runs", async || fake.current().as_deref() == Some("task(imgopen-task-1)")).await;
        tokio::time::timeout(DEADLINE, watch.ended()).await.expect("our job is interrupted");
        until("the server is idle", async || fake.current().is_none()).await;
    }
}

#[tokio::test]
async fn an_earlier_run_of_the_same_task_is_ended_first() {
    let behaviour = Behaviour { has_page: true, step: Duration::from_millis(5), ..Behaviour::default() };
    let (target, fake) = faked(behaviour).await;
    let request = || text_to_image(&target.model, json!({"steps": 1000}));
    let earlier = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (settings, first) = (settings(&fake.url), job(request()));
    // The process of the earlier run dies in the middle.
    earlier.spawn(async move {
        let engine = SdWebui::with_timing(settings, QUICK).unwrap();
        engine.run(first, Monitor::new().0).await
    });
    until("the earlier run works", async || fake.current().is_some()).await;
    earlier.shutdown_background();
    // By itself, it would take a quarter of an hour.
    fake.set(|behaviour| behaviour.step = Duration::from_secs(1));
    let run = target.run(text_to_image(&target.model, json!({})));
    let output = tokio::time::timeout(DEADLINE, run).await.expect("the earlier run is ended").unwrap();
    assert_eq!((output.pictures.len(), fake.calls().len()), (1, 2));
}

#[tokio::test]
async fn a_cancelled_run_ends_an_earlier_one_that_waits() {
    let behaviour = Behaviour { has_page: true, step: Duration::from_millis(5), ..Behaviour::default() };
    let (target, fake) = faked(behaviour).await;
    someone(&fake).await;
    let request = || text_to_image(&target.model, json!({"steps": 900}));
    let earlier = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (settings, first) = (settings(&fake.url), job(request()));
    // The process of the earlier run dies while the server works for someone else.
    earlier.spawn(async move {
        let engine = SdWebui::with_timing(settings, QUICK).unwrap();
        engine.run(first, Monitor::new().0).await
    });
    until("the earlier run waits", async || fake.waiting() == 1).await;
    earlier.shutdown_background();
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(target.engine.run(job(request()), monitor));
    tokio::time::sleep(QUICK.poll * 10).await;
    watch.cancel.cancel();
    assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
    tokio::time::sleep(QUICK.poll * 10).await;
    assert_eq!(fake.current().as_deref(), Some("task(theirs)"), "their job was interrupted");
    // By itself, the earlier run would take a quarter of an hour.
    fake.set(|behaviour| behaviour.step = Duration::from_secs(1));
    fake.interrupt();
    until("the earlier run works", async || fake.current().as_deref() == Some("task(imgopen-task-1)")).await;
    tokio::time::timeout(DEADLINE, watch.ended()).await.expect("the earlier run is ended");
    until("the server is idle", async || fake.current().is_none()).await;
    assert_eq!(fake.calls().len(), 2, "the cancelled run sent nothing");
}

#[tokio::test]
async fn what_a_run_has_left_is_ended_with_its_task() {
    for is_between_runs in [false, true] {
        let behaviour = Behaviour { has_page: true, step: Duration::from_millis(5), ..Behaviour::default() };
        let (target, fake) = faked(behaviour).await;
        let dying = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (settings, first) = (settings(&fake.url), job(text_to_image(&target.model, json!({"steps": 900}))));
        dying.spawn(async move {
            let engine = SdWebui::with_timing(settings, QUICK).unwrap();
            engine.run(first, Monitor::new().0).await
        });
        until("the run works", async || fake.current().is_some()).await;
        dying.shutdown_background();
        // By itself, it would take a quarter of an hour.
        fake.set(|behaviour| behaviour.step = Duration::from_secs(1));
        target.engine.discard("task-2", "run").await;
        target.engine.interrupt("task-1", "run").await;
        assert!(fake.current().is_some(), "that of a task that goes on, or of another, was ended");
        let ended = match is_between_runs {
            true => target.engine.forget("task-1"),
            false => target.engine.discard("task-1", "run"),
        };
        tokio::time::timeout(DEADLINE, ended).await.expect("it is ended");
        assert_eq!(fake.current(), None);
    }
}

#[tokio::test]
async fn a_job_that_is_cancelled_before_it_is_sent_is_not_sent() {
    for has_page in [true, false] {
        let (target, fake) = faked(Behaviour { has_page, ..Behaviour::default() }).await;
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        let run = target.engine.run(job(text_to_image(&target.model, json!({}))), monitor);
        assert_eq!(run.await, Err(EngineError::Cancelled));
        tokio::time::timeout(DEADLINE, watch.ended()).await.expect("it is given up");
        assert_eq!(fake.calls().len(), 0);
    }
}

#[tokio::test]
async fn a_login_is_sent_and_a_wrong_one_is_named() {
    let login = Some(("me".to_owned(), "secret".to_owned()));
    let fake = Fake::start(Behaviour { login, ..Behaviour::default() }).await;
    let with = |password: &str| BackendSettings {
        user: Some("me".to_owned()),
        password: Some(Password::new(password)),
        ..settings(&fake.url)
    };
    assert!(SdWebui::with_timing(with("secret"), QUICK).unwrap().refresh().await);
    let engine = SdWebui::with_timing(with("wrong"), QUICK).unwrap();
    assert!(!engine.refresh().await);
    let away = engine.report().away.unwrap();
    assert!(away.contains("check its `user` and `password`") && !away.contains("wrong"), "{away}");
}

#[tokio::test]
async fn previews_of_the_own_job_arrive() {
    let behaviour = Behaviour { has_page: true, step: Duration::from_millis(5), ..Behaviour::default() };
    let (target, _fake) = faked(behaviour).await;
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(target.engine.run(job(text_to_image(&target.model, json!({"steps": 100}))), monitor));
    let mut preview = watch.preview.clone();
    let picture = preview.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!((picture.width, picture.height), (16, 8));
    assert!(run.await.unwrap().is_ok());
}

#[tokio::test]
async fn everything_that_has_an_effect_is_sent() {
    let (target, fake) = faked(Behaviour::default()).await;
    let settings = json!({"override_settings": {"CLIP_stop_at_last_layers": 2}});
    let changes = json!({
        "n_iter": 2, "batch_size": 3, "eta": 0.3, "alwayson_scripts": settings, "enable_hr": true, "hr_upscaler": "Latent",
        "hr_resize_x": 128, "sampler_index": "Euler a", "tiling": false,
    });
    target.run(text_to_image(&target.model, changes)).await.unwrap();
    let mask = json!({
        "alwayson_scripts": {"mask_link": "https://example.com/m.png"}, "mask_blur": 6, "mask_blur_y": 2, "resize_mode": 2,
        "inpainting_fill": 2, "inpaint_full_res": true, "inpaint_full_res_padding": 12, "inpainting_mask_invert": 1,
        "initial_noise_multiplier": 1.1, "image_cfg_scale": 1.5,
    });
    let partial = target.run(image_to_image(&target.model, mask)).await.unwrap().pictures.remove(0);
    assert_eq!((partial.width, partial.height), (80, 60), "the size of the picture that was given");
    let unit = json!({
        "model": "random-cn", "module": "openpose", "image_link": "https://example.com/b.png", "guidance_start": 0.1,
        "guidance_end": 0.9, "control_mode": 2, "resize_mode": "Resize and Fill", "processor_res": 256, "threshold_a": 9,
    });
    let output = target.run(controlnet(&target.model, unit, json!({}))).await.unwrap();
    assert!(output.notes[0].contains("`openpose` was made by the preprocessor `openpose_full`"), "{:?}", output.notes);
    let calls = fake.calls();
    let holds = |call: &Value, expected: Value| {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(call[name], *value, "`{name}`");
        }
    };
    holds(
        &calls[0],
        json!({
            "n_iter": 2, "batch_size": 3, "eta": 0.3, "seed": 7, "sampler_name": "Euler a", "scheduler": "Automatic",
            "steps": 2, "cfg_scale": 7.0, "hr_resize_x": 128, "hr_resize_y": 128, "hr_second_pass_steps": 2, "hr_cfg": 7.0,
            "hr_additional_modules": ["Use same choices"], "save_images": false, "force_task_id": "task(imgopen-task-1)",
            "override_settings": {
                "sd_model_checkpoint": target.model, "CLIP_stop_at_last_layers": 2, "samples_format": "png",
            },
        }),
    );
    holds(
        &calls[1],
        json!({
            "mask_blur_x": 6, "mask_blur_y": 2, "resize_mode": 2, "inpainting_fill": 2, "inpaint_full_res": true,
            "inpaint_full_res_padding": 12, "inpainting_mask_invert": 1, "initial_noise_multiplier": 1.1,
            "image_cfg_scale": 1.5, "denoising_strength": 0.99,
        }),
    );
    let mut unit = calls[2]["alwayson_scripts"]["ControlNet"]["args"][0].clone();
    assert!(unit.as_object_mut().unwrap().remove("image").is_some_and(|image| image.is_string()));
    assert_eq!(
        unit,
        json!({
            "enabled": true, "module": "openpose_full", "model": "random-cn [8bd0c0e4]", "weight": 1.0,
            "resize_mode": "Resize and Fill", "guidance_start": 0.1, "guidance_end": 0.9,
            "control_mode": "ControlNet is more important", "pixel_perfect": false, "processor_res": 256, "threshold_a": 9.0,
        })
    );
}

#[tokio::test]
async fn flux_takes_the_files_that_the_operator_names() {
    let (target, fake) = faked(Behaviour::default()).await;
    let files = FluxFiles { checkpoint: target.model.clone(), modules: Vec::new() };
    let engine = |files: FluxFiles| async {
        let settings = BackendSettings { flux_dev: Some(files), ..settings(&fake.url) };
        let engine = SdWebui::with_timing(settings, QUICK).unwrap();
        assert!(engine.refresh().await);
        engine
    };
    let request = |kind: &str| {
        let body = json!({
            "businessTaskId": "1", "comfyTaskType": kind, "prompt": "a cat", "width": 64, "height": 96, "steps": 2,
            "fluxGuidance": 2.5,
        });
        JobRequest::new("task-1", &FLUX_TEXT_TO_IMAGE, body)
    };
    let flux = engine(files.clone()).await;
    assert!(flux.offers().iter().any(|offer| *offer.operation == FLUX_TEXT_TO_IMAGE));
    let output = flux.run(job(request("Flux1DevFP8")), Monitor::new().0).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height), (64, 96));
    let call = &fake.calls()[0];
    assert_eq!((&call["cfg_scale"], &call["distilled_cfg_scale"]), (&json!(1), &json!(2.5)));
    let settings = &call["override_settings"];
    assert_eq!(
        (&settings["sd_model_checkpoint"], &settings["forge_additional_modules"]),
        (&json!(target.model), &json!([]))
    );
    let error = flux.check(&request("Flux1SchnellFP8")).unwrap_err().to_string();
    assert!(error.starts_with("`comfyTaskType`: the back end `mine` (Forge) does not offer files for"), "{error}");
    let absent = engine(FluxFiles { modules: vec!["ae.safetensors".to_owned()], ..files }).await;
    assert!(!absent.offers().iter().any(|offer| *offer.operation == FLUX_TEXT_TO_IMAGE));
    assert!(absent.report().to_string().contains("flux_text_to_image: needs the file \"ae.safetensors\""));
}

#[tokio::test]
async fn a_vae_is_sent_and_verified_where_the_server_lists_vaes() {
    let (target, fake) = faked(Behaviour { is_a1111: true, ..Behaviour::default() }).await;
    let request = || text_to_image(&target.model, json!({"alwayson_scripts": {"sd_vae": "kl-f8.ckpt"}}));
    target.run(request()).await.unwrap();
    fake.set(|behaviour| behaviour.fault = Fault::Reports("sd_vae_name", Value::Null));
    let error = target.run(request()).await.unwrap_err().to_string();
    assert!(error.contains("it was to use the VAE \"kl-f8.ckpt\""), "{error}");
}

#[tokio::test]
async fn scripts_are_sent_if_the_operator_allows_them() {
    let (mut target, fake) = faked(Behaviour::default()).await;
    let allowed = BackendSettings { scripts: vec!["refiner".to_owned()], ..settings(&fake.url) };
    let engine = SdWebui::with_timing(allowed, QUICK).unwrap();
    assert!(engine.refresh().await);
    target.engine = Arc::new(engine);
    let scripts = json!({"Refiner": {"args": [true]}});
    let output =
        target.run(text_to_image(&target.model, json!({ "alwayson_scripts": scripts.clone() }))).await.unwrap();
    assert!(output.notes[0].contains("cannot be verified"), "{:?}", output.notes);
    assert_eq!(fake.calls()[0]["alwayson_scripts"], scripts);
}

#[tokio::test]
async fn a_job_in_a_row_of_jobs_sees_no_state_of_the_one_before() {
    let (target, fake) = faked(Behaviour { step: Duration::from_millis(2), ..Behaviour::default() }).await;
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(target.engine.run(job(text_to_image(&target.model, json!({"steps": 1000}))), monitor));
    until("the job runs", async || fake.current().is_some()).await;
    watch.cancel.cancel();
    let _ = run.await.unwrap();
    watch.ended().await;
    // The server still says that it was interrupted, which was the job before.
    assert!(target.run(text_to_image(&target.model, json!({}))).await.is_ok());
}
