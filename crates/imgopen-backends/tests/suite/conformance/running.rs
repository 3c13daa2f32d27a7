//! How jobs run: progress, cancelling, and the memory that they leave.

use imgopen_backends::Kind;
use imgopen_engine::{EngineError, Monitor};
use serde_json::{Value, json};

use crate::jobs::{job, text_to_image};
use crate::targets::{AnyFake, DEADLINE, Target, until};

/// A job that takes a while: the changes to a request, its steps in all, and its pictures.
fn long(target: &Target) -> (Value, u32, usize) {
    match (target.kind, target.is_real()) {
        // More pictures than the server makes at once, in two passes.
        (Kind::SdServer, false) => {
            let passes = json!({"steps": 10, "n_iter": 9, "enable_hr": true, "hr_second_pass_steps": 2, "hr_scale": 1});
            (passes, 9 * 12, 9)
        }
        (Kind::SdServer, true) => {
            let passes = json!({
                "steps": 4, "n_iter": 2, "enable_hr": true, "hr_second_pass_steps": 2, "hr_scale": 2,
                "denoising_strength": 0.6,
            });
            (passes, 2 * 6, 2)
        }
        (Kind::ComfyUi | Kind::SdWebui, false) => (json!({"steps": 30, "n_iter": 2}), 60, 2),
        (Kind::ComfyUi | Kind::SdWebui, true) => (json!({"steps": 4, "n_iter": 2}), 8, 2),
    }
}

pub async fn progress_reaches_the_end(target: &Target) {
    let (mut changes, steps, pictures) = long(target);
    // ComfyUI does not make again what it has made for an earlier test.
    changes["seed"] = fastrand::u32(..u32::MAX / 2).to_string().into();
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(target.engine.run(job(text_to_image(&target.model, changes)), monitor));
    let mut progress = watch.progress.clone();
    let mut seen = Vec::new();
    let watching = async {
        while progress.changed().await.is_ok() {
            let now = *progress.borrow_and_update();
            assert!(seen.last().is_none_or(|earlier: &f64| *earlier <= now.percent));
            // At an address, sd-server does not say its steps; others may not know them at first.
            let is_counted = match target.kind {
                Kind::SdServer => now.steps == if target.is_program { steps } else { 0 },
                Kind::ComfyUi | Kind::SdWebui => now.steps == steps || now.steps == 0,
            };
            assert!(is_counted, "{now:?}");
            seen.push(now.percent);
        }
    };
    target.patiently("the job ends", watching).await;
    assert_eq!(run.await.unwrap().map(|output| output.pictures.len()), Ok(pictures));
    let least = match (target.kind, target.is_real(), target.is_program) {
        (_, true, _) | (Kind::SdServer, false, false) => 2,
        (Kind::SdServer, false, true) => 20,
        (Kind::ComfyUi | Kind::SdWebui, false, _) => 6,
    };
    // The web UI is asked from time to time, and no more once it has answered.
    let end = if target.kind == Kind::SdWebui { 60.0 } else { 99.0 };
    assert!(seen.len() >= least && seen.last().is_some_and(|percent| *percent > end), "{seen:?}");
    if let Some(AnyFake::ComfyUi(_)) = &target.fake {
        let preview = watch.preview.borrow().clone();
        assert!(preview.is_some_and(|preview| (preview.width, preview.height) == (8, 8)));
    }
}

pub async fn a_cancelled_job_frees_the_server(target: &Target) {
    // At an address, sd-server makes them all, and nowhere more than 100.
    let steps = match (target.kind, target.is_program) {
        (Kind::SdServer, false) => 30,
        (Kind::SdServer, true) => 100,
        (Kind::ComfyUi | Kind::SdWebui, _) => 1000,
    };
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(target.engine.run(job(text_to_image(&target.model, json!({ "steps": steps }))), monitor));
    let begun = async {
        match &target.fake {
            // It reports no progress.
            Some(AnyFake::SdServer(fake)) => until("the job runs", async || fake.count("generating") == 1).await,
            _ => {
                let mut progress = watch.progress.clone();
                progress.wait_for(|progress| progress.step > 0).await.unwrap();
            }
        }
    };
    target.patiently("the job begins", begun).await;
    watch.cancel.cancel();
    assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
    // Otherwise the next job would wait for all steps. At an address, the job of sd-server cannot be stopped, and keeps its slot.
    tokio::time::timeout(DEADLINE, watch.ended()).await.expect("the work ends");
    match &target.fake {
        Some(AnyFake::SdServer(fake)) => assert_eq!((fake.count("generating"), fake.count("completed")), (0, 1)),
        Some(AnyFake::ComfyUi(fake)) => {
            until("the server is idle", async || fake.running().is_none()).await;
            assert_eq!(fake.endings(), ["execution_interrupted"]);
        }
        Some(AnyFake::SdWebui(fake)) => until("the server is idle", async || fake.current().is_none()).await,
        None => {}
    }
    assert!(target.run(text_to_image(&target.model, json!({}))).await.is_ok());
}

pub async fn memory_is_freed(target: &Target) {
    target.run(text_to_image(&target.model, json!({}))).await.unwrap();
    target.engine.free().await;
    // At an address, sd-server keeps its model.
    let keeps = target.kind == Kind::SdServer && !target.is_program;
    assert_eq!(target.engine.has_loaded(Some(&target.model)), keeps);
    match &target.fake {
        Some(AnyFake::ComfyUi(fake)) => assert_eq!(fake.frees(), 1),
        // A1111 would not load its model again.
        Some(AnyFake::SdWebui(fake)) => {
            assert_eq!(fake.unloads(), u32::from(target.engine.report().program == "Forge"));
        }
        Some(AnyFake::SdServer(_)) | None => {}
    }
    assert!(target.run(text_to_image(&target.model, json!({"steps": 3}))).await.is_ok());
}
