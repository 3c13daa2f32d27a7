//! How prompts run, end, get lost and are taken over.

use std::time::Duration;

use imgopen_backends::{BackendSettings, ComfyUi, Driver, FluxFiles, Surroundings};
use imgopen_engine::{Engine, EngineError, Job, JobRequest, Monitor, Output};
use imgopen_types::operations::{FLUX_TEXT_TO_IMAGE, TEXT_TO_IMAGE};
use serde_json::{Value, json};

use crate::comfy_fake::{Behaviour, ComfyFake, Fault, Year};
use crate::jobs::{image_to_image, job, text_to_image};
use crate::targets::comfyui::{comfy, comfy_with};
use crate::targets::{QUICK, Target, settings, until};

const YEARS: [Year; 2] = [Year::Old, Year::New];
/// Long enough for a test to do something meanwhile.
const SLOW: Duration = Duration::from_millis(20);

fn slow(year: Year) -> Behaviour {
    Behaviour { year, step: SLOW, ..Behaviour::default() }
}

type Run = tokio::task::JoinHandle<Result<Output, EngineError>>;

/// Starts a run, and waits until the server works on it.
async fn begin(target: &Target, request: JobRequest) -> (Run, imgopen_engine::Watch) {
    let (monitor, watch) = Monitor::new();
    let before = target.comfy().posts().len();
    let run = tokio::spawn(target.engine.run(job(request), monitor));
    until("the prompt is posted", async || target.comfy().posts().len() > before).await;
    (run, watch)
}

async fn runs(target: &Target) {
    until("the prompt runs", async || target.comfy().running().is_some()).await;
}

fn of_task(task: &str, target: &Target, changes: Value) -> JobRequest {
    let request = text_to_image(&target.model, changes);
    JobRequest::new(task, &TEXT_TO_IMAGE, request.view().unwrap())
}

async fn failure(behaviour: Behaviour) -> EngineError {
    let target = comfy(behaviour).await;
    target.run(text_to_image(&target.model, json!({}))).await.unwrap_err()
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_is_not_the_tasks_fault() {
    for (status, text) in [(200, "<html>"), (422, "{}"), (500, "500 Internal Server Error")] {
        match failure(Behaviour { fault: Fault::Queues(status, text), ..Behaviour::default() }).await {
            EngineError::Unavailable { reason, .. } => assert!(reason.contains("`mine`"), "{reason}"),
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_that_waits_is_taken_out_of_the_queue_when_it_is_cancelled() {
    for year in YEARS {
        let target = comfy(slow(year)).await;
        let (first, _) = begin(&target, of_task("first", &target, json!({"steps": 50}))).await;
        runs(&target).await;
        let (second, watch) = begin(&target, of_task("second", &target, json!({}))).await;
        watch.cancel.cancel();
        assert_eq!(second.await.unwrap(), Err(EngineError::Cancelled));
        watch.ended().await;
        assert_eq!(target.comfy().waiting(), 0);
        assert!(first.await.unwrap().is_ok(), "the other job was interrupted");
        assert_eq!(target.comfy().endings(), ["success"]);
    }
}

#[tokio::test]
async fn a_cancelled_job_keeps_its_place_until_the_server_has_ended_it() {
    for year in YEARS {
        let target = comfy(slow(year)).await;
        let (run, watch) = begin(&target, text_to_image(&target.model, json!({"steps": 1000}))).await;
        runs(&target).await;
        watch.cancel.cancel();
        assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
        watch.ended().await;
        assert_eq!(
            (target.comfy().running(), target.comfy().endings()),
            (None, vec!["execution_interrupted".to_owned()])
        );
    }
}

#[tokio::test]
async fn two_services_at_one_server_do_not_touch_each_others_jobs() {
    for year in YEARS {
        let one = comfy(slow(year)).await;
        let other = ComfyUi::with_timing(settings(&one.comfy().url), &Surroundings::default(), QUICK).unwrap();
        assert!(other.refresh().await);
        let (running, _) = begin(&one, of_task("one", &one, json!({"steps": 50}))).await;
        runs(&one).await;
        let (monitor, watch) = Monitor::new();
        let request = of_task("two", &one, json!({"steps": 50}));
        let waiting = tokio::spawn(other.run(job(request), monitor));
        until("both are there", async || one.comfy().waiting() == 1).await;
        watch.cancel.cancel();
        assert_eq!(waiting.await.unwrap(), Err(EngineError::Cancelled));
        watch.ended().await;
        other.discard("two", "run").await;
        other.forget("on").await;
        assert!(running.await.unwrap().is_ok());
        assert_eq!(one.comfy().endings(), ["success"]);
    }
}

#[tokio::test]
async fn a_later_run_takes_over_what_an_earlier_one_has_begun() {
    for year in YEARS {
        for is_finished in [false, true] {
            let target = comfy(slow(year)).await;
            let request = || text_to_image(&target.model, json!({"steps": 30}));
            // The process dies: nobody watches any more.
            let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let engine = {
                let _inside = dying.enter();
                ComfyUi::with_timing(settings(&target.comfy().url), &Surroundings::default(), QUICK).unwrap()
            };
            dying.spawn(engine.run(job(request()), Monitor::new().0));
            runs(&target).await;
            dying.shutdown_background();
            if is_finished {
                until("it is done", async || target.comfy().running().is_none()).await;
            }
            target.engine.interrupt("task-1", "run").await;
            let output = target.run(request()).await.unwrap();
            assert_eq!((output.pictures.len(), target.comfy().posts().len()), (1, 1), "{year:?} {is_finished}");
            assert_eq!(target.comfy().endings(), ["success"]);
            // Another request under the same id is another job.
            assert!(target.run(text_to_image(&target.model, json!({"steps": 3}))).await.is_ok());
            assert_eq!(target.comfy().posts().len(), 2);
        }
    }
}

#[tokio::test]
async fn pictures_are_taken_over_too_if_they_start_from_pictures() {
    for year in YEARS {
        let target = comfy(Behaviour { year, ..Behaviour::default() }).await;
        for _ in 0..2 {
            target.run(image_to_image(&target.model, json!({}))).await.unwrap();
        }
        assert_eq!((target.comfy().posts().len(), target.comfy().uploads().len()), (1, 1));
    }
}

#[tokio::test]
async fn what_a_task_has_left_is_ended_with_it() {
    for year in YEARS {
        let target = comfy(slow(year)).await;
        let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let engine = {
            let _inside = dying.enter();
            ComfyUi::with_timing(settings(&target.comfy().url), &Surroundings::default(), QUICK).unwrap()
        };
        dying.spawn(engine.run(job(text_to_image(&target.model, json!({"steps": 1000}))), Monitor::new().0));
        runs(&target).await;
        dying.shutdown_background();
        target.engine.discard("task", "run").await;
        assert!(target.comfy().running().is_some(), "another task was ended");
        target.engine.forget("task-1").await;
        until("it is ended", async || target.comfy().running().is_none()).await;
        assert_eq!(target.comfy().endings(), ["execution_interrupted"]);
    }
}

#[tokio::test]
async fn a_picture_whose_file_is_gone_is_made_again() {
    for year in YEARS {
        let target = comfy(Behaviour { year, ..Behaviour::default() }).await;
        let request = || text_to_image(&target.model, json!({}));
        assert!(target.run(request()).await.is_ok());
        target.comfy().delete_files();
        assert!(target.run(request()).await.is_ok());
        assert_eq!(target.comfy().posts().len(), 2);
    }
}

#[tokio::test]
async fn a_job_that_the_server_has_lost_is_not_the_tasks_fault() {
    for year in YEARS {
        let target = comfy(slow(year)).await;
        let (run, _) = begin(&target, text_to_image(&target.model, json!({"steps": 1000}))).await;
        runs(&target).await;
        target.comfy().forget();
        match run.await.unwrap() {
            Err(EngineError::Unavailable { reason, .. }) => assert!(reason.contains("it has lost the job"), "{reason}"),
            other => panic!("{other:?}"),
        }
        target.comfy().set(|behaviour| behaviour.step = Duration::ZERO);
        until("it is back", async || target.engine.offers().iter().all(|offer| offer.away.is_none())).await;
        assert!(target.run(text_to_image(&target.model, json!({}))).await.is_ok());
    }
}

#[tokio::test]
async fn a_job_that_someone_else_interrupts_is_a_failure() {
    let target = comfy(slow(Year::New)).await;
    let (run, _) = begin(&target, text_to_image(&target.model, json!({"steps": 1000}))).await;
    runs(&target).await;
    target.comfy().interrupt();
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error, EngineError::Failed("the job was interrupted at the back end `mine`".to_owned()));
}

#[tokio::test]
async fn a_deaf_socket_changes_nothing() {
    for year in YEARS {
        let target = comfy(Behaviour { year, is_deaf: true, ..Behaviour::default() }).await;
        let (monitor, watch) = Monitor::new();
        let run = target.engine.run(job(text_to_image(&target.model, json!({"n_iter": 2}))), monitor);
        assert_eq!(run.await.unwrap().pictures.len(), 2);
        assert_eq!(watch.progress.borrow().percent, 100.0);
    }
}

#[tokio::test]
async fn what_nodes_say_when_they_fail_is_shown_without_paths() {
    for (kind, message, expected) in [
        ("RuntimeError", "no file at /srv/models/x.pt", "the node KSampler (5) failed: no file at …"),
        (
            "torch.OutOfMemoryError",
            "Allocation on device",
            "it ran out of memory at the node KSampler (5); ask for a smaller",
        ),
        ("RuntimeError", "CUDA error: out of memory", "it ran out of memory"),
    ] {
        match failure(Behaviour { fault: Fault::Fails(kind, message), ..Behaviour::default() }).await {
            EngineError::Failed(error) => assert!(error.contains(expected) && error.contains("`mine`"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refusal_names_no_other_loras() {
    let target = comfy(Behaviour::default()).await;
    let request = text_to_image(&target.model, json!({"prompt": "a <lora:nope:1>"}));
    let error = target.engine.check(&request).unwrap_err().to_string();
    assert!(error.ends_with("there is no LoRA \"nope\"; give one that `list_loras` names"), "{error}");
}

#[tokio::test]
async fn what_is_not_as_asked_for_is_no_picture() {
    let error = failure(Behaviour { fault: Fault::Makes(128, 64), ..Behaviour::default() }).await.to_string();
    assert!(error.contains("64x64 pixels were asked for, and a picture of 128x64 came back"), "{error}");
    let error = failure(Behaviour { fault: Fault::Saves(2), ..Behaviour::default() }).await.to_string();
    assert!(error.contains("2 files came back for one picture, more than 1"), "{error}");
}

#[tokio::test]
async fn half_a_graph_that_is_taken_is_a_refusal_and_ended() {
    for year in YEARS {
        let target = comfy(Behaviour { year, step: SLOW, fault: Fault::TakesPartly, ..Behaviour::default() }).await;
        let error = target.run(text_to_image(&target.model, json!({"steps": 1000}))).await.unwrap_err();
        let EngineError::Rejected { problem, .. } = &error else { panic!("{error:?}") };
        assert!(
            problem.contains("refuses it: `width` of the node EmptyImage (3): Value -8 smaller than min of 1"),
            "{problem}"
        );
        assert_eq!((target.comfy().waiting(), target.comfy().running()), (0, None));
    }
}

#[tokio::test]
async fn errors_of_the_way_there_are_not_the_tasks_fault() {
    for (status, is_away) in [(502, true), (503, true), (401, true), (429, true), (500, false)] {
        let error = failure(Behaviour { fault: Fault::Answers(status, "<html>"), ..Behaviour::default() }).await;
        assert_eq!(matches!(error, EngineError::Unavailable { .. }), is_away, "{status}: {error:?}");
        assert!(is_away || matches!(error, EngineError::Failed(_)), "{status}: {error:?}");
    }
}

/// A list may have changed since it was read.
#[tokio::test]
async fn what_the_server_refuses_is_said_with_node_and_input() {
    let target = comfy(Behaviour {
        files: vec![("CheckpointLoaderSimple", "ckpt_name", vec!["removed.safetensors"])],
        ..Behaviour::default()
    })
    .await;
    target.comfy().set(|behaviour| behaviour.files.clear());
    let error = target.run(text_to_image("removed.safetensors", json!({}))).await.unwrap_err();
    let EngineError::Rejected { problem, .. } = &error else { panic!("{error:?}") };
    let expected = "the back end `mine` (ComfyUI) refuses it: `ckpt_name` of the node CheckpointLoaderSimple (1): Value not in list";
    assert!(problem.starts_with(expected), "{problem}");
}

#[tokio::test]
async fn flux_takes_a_checkpoint_or_its_parts() {
    let files = vec![
        ("UNETLoader", "unet_name", vec!["flux1-dev.safetensors"]),
        ("DualCLIPLoader", "clip_name1", vec!["t5xxl.safetensors", "clip_l.safetensors"]),
        ("DualCLIPLoader", "clip_name2", vec!["t5xxl.safetensors", "clip_l.safetensors"]),
        ("VAELoader", "vae_name", vec!["ae.safetensors"]),
    ];
    let behaviour = Behaviour { files, ..Behaviour::default() };
    let named = |modules: &[&str]| {
        Some(FluxFiles {
            checkpoint: "flux1-dev.safetensors".to_owned(),
            modules: modules.iter().map(|module| (*module).to_owned()).collect(),
        })
    };
    let body = json!({
        "businessTaskId": "1", "comfyTaskType": "Flux1DevFP8", "prompt": "a lighthouse", "width": 64, "height": 64, "steps": 2,
        "fluxGuidance": 4
    });
    let request = || JobRequest::new("task-1", &FLUX_TEXT_TO_IMAGE, body.clone());
    let open = async |modules: &[&str]| {
        let fake = ComfyFake::start(behaviour.clone()).await;
        let settings = BackendSettings { flux_dev: named(modules), ..settings(&fake.url) };
        comfy_with(settings, fake).await
    };
    let target = open(&["t5xxl.safetensors", "clip_l.safetensors", "ae.safetensors"]).await;
    let output = target.run(request()).await.unwrap();
    let text = imgopen_picture::parameters(&output.pictures[0].bytes).unwrap();
    assert!(text.contains("Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 4"), "{text}");
    let graph = target.comfy().posts()[0]["prompt"].clone();
    let inputs = |class: &str| {
        graph.as_object().unwrap().values().find(|node| node["class_type"] == class).unwrap()["inputs"].clone()
    };
    assert_eq!((&inputs("KSampler")["cfg"], &inputs("FluxGuidance")["guidance"]), (&json!(1.0), &json!(4.0)));
    assert_eq!(inputs("DualCLIPLoader")["type"], "flux");
    assert_eq!(inputs("EmptySD3LatentImage")["width"], 64);
    let narrow = JobRequest::new("task-1", &FLUX_TEXT_TO_IMAGE, {
        let mut body = body.clone();
        body["width"] = 72.into();
        body
    });
    assert!(target.engine.check(&narrow).unwrap_err().to_string().contains("multiples of 16"));
    for (modules, missing) in [
        (&["t5xxl.safetensors", "ae.safetensors"][..], "two text encoders, CLIP-L and T5"),
        (&["t5xxl.safetensors", "clip_l.safetensors"], "a VAE; name it in the settings"),
        (&["nope.safetensors"], "the file \"nope.safetensors\", which the settings name and the server does not list"),
    ] {
        let report = open(modules).await.engine.report();
        let flux = report.operations.iter().find(|known| known.operation == "flux_text_to_image").unwrap();
        assert!(flux.missing.as_ref().is_some_and(|said| said.contains(missing)), "{flux:?}");
    }
}

#[tokio::test]
async fn memory_is_estimated_for_all_pictures() {
    let target = comfy(Behaviour::default()).await;
    let of = |changes: Value| target.engine.memory(&Job::new(text_to_image(&target.model, changes), "run"));
    assert_eq!(of(json!({"n_iter": 3})), 3 * of(json!({})));
    assert!(of(json!({})) >= 64 * 64 * 12);
}
