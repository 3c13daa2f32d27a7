//! Back ends whose disks are full: no task fails for that, another back end does the job, and the message says what to do.

use std::sync::Arc;

use imgopen_backends::{Backend, BackendSettings, ComfyUi, Driver, Fleet, Kind, SdWebui, Surroundings};
use imgopen_engine::{Devices, Engine, EngineError, JobRequest, Monitor};
use serde_json::{Value, json};

use crate::comfy_fake::{Behaviour as ComfyBehaviour, ComfyFake, Fault as ComfyFault, Year};
use crate::fake::{Behaviour, Fake, Fault};
use crate::jobs::{image_to_image, job, text_to_image};
use crate::targets::comfyui::comfy;
use crate::targets::sd_webui::faked;
use crate::targets::{DEADLINE, QUICK, settings};

const FULL: &str = "[Errno 28] No space left on device: '/srv/webui/tmp/tmpabc.png'";

/// Asserts that an error is the machine's, names the back end, says what to do, and shows no path.
fn says_what_to_do(error: &EngineError, what: &str) {
    let EngineError::Unavailable { reason, .. } = error else { panic!("{error:?}") };
    assert!(reason.contains("`mine`") && reason.contains(what) && !reason.contains("/srv"), "{reason}");
}

fn full_comfy(year: Year) -> ComfyBehaviour {
    ComfyBehaviour { year, fault: ComfyFault::FullDisk, ..ComfyBehaviour::default() }
}

/// As the web UI answers exceptions: A1111 by its source, and Forge as recorded for another one.
fn exceptions() -> [Value; 2] {
    [
        json!({"error": "OSError", "detail": "", "body": "", "errors": FULL}),
        json!({"error": "OSError", "detail": "", "body": "", "message": FULL}),
    ]
}

#[tokio::test]
async fn comfyui_that_cannot_save_a_picture_has_its_tasks_wait() {
    for year in [Year::Old, Year::New] {
        let target = comfy(full_comfy(year)).await;
        let request = || text_to_image(&target.model, json!({}));
        let error = target.run(request()).await.unwrap_err();
        says_what_to_do(&error, "the node SaveImage");
        says_what_to_do(&error, "its disk is full; its operator must make room there");
        target.comfy().set(|behaviour| behaviour.fault = ComfyFault::None);
        assert_eq!(target.run(request()).await.unwrap().pictures.len(), 1);
    }
}

#[tokio::test]
async fn comfyui_that_cannot_keep_an_input_has_its_tasks_wait() {
    for year in [Year::Old, Year::New] {
        let target = comfy(full_comfy(year)).await;
        let request = || image_to_image(&target.model, json!({"resize_mode": 1}));
        says_what_to_do(&target.run(request()).await.unwrap_err(), "must make room if its disk is full");
        assert_eq!(target.comfy().posts().len(), 0, "a prompt was posted without its picture");
        target.comfy().set(|behaviour| behaviour.fault = ComfyFault::None);
        assert_eq!(target.run(request()).await.unwrap().pictures.len(), 1);
    }
}

#[tokio::test]
async fn a_web_ui_that_cannot_save_has_its_tasks_wait() {
    for exception in exceptions() {
        let fault = Fault::Answers(500, exception.to_string());
        let (target, fake) = faked(Behaviour { fault, ..Behaviour::default() }).await;
        let request = || text_to_image(&target.model, json!({}));
        let error = target.run(request()).await.unwrap_err();
        says_what_to_do(&error, "its disk is full; its operator must make room there");
        fake.set(|behaviour| behaviour.fault = Fault::None);
        assert_eq!(target.run(request()).await.unwrap().pictures.len(), 1);
    }
}

/// Makes a picture by a fleet of a full back end and one with room, in this order.
async fn made(drivers: [Arc<dyn Driver>; 2], kind: Kind, request: JobRequest) -> usize {
    let backends = drivers.into_iter().map(|driver| Backend::with_driver(kind, driver)).collect();
    let fleet = Fleet::of(backends, &Devices::default()).unwrap().remove(0);
    let run = fleet.run(job(request), Monitor::new().0);
    tokio::time::timeout(DEADLINE, run).await.expect("the job ends").unwrap().pictures.len()
}

fn named(name: &str, url: &str) -> BackendSettings {
    BackendSettings { name: Some(name.to_owned()), ..settings(url) }
}

#[tokio::test]
async fn another_comfyui_does_the_job() {
    let (full, roomy) =
        (ComfyFake::start(full_comfy(Year::New)).await, ComfyFake::start(ComfyBehaviour::default()).await);
    let open = async |name: &str, fake: &ComfyFake| {
        let engine = ComfyUi::with_timing(named(name, &fake.url), &Surroundings::default(), QUICK).unwrap();
        assert!(engine.refresh().await);
        Arc::new(engine)
    };
    let (first, second) = (open("full", &full).await, open("roomy", &roomy).await);
    let models = first.report().models;
    let model = models.iter().find(|model| !model.starts_with("broken")).unwrap();
    assert_eq!(made([first, second], Kind::ComfyUi, text_to_image(model, json!({}))).await, 1);
    assert_eq!((full.posts().len(), roomy.posts().len()), (1, 1));
}

#[tokio::test]
async fn another_web_ui_does_the_job() {
    let fault = Fault::Answers(500, exceptions()[0].to_string());
    let (full, roomy) =
        (Fake::start(Behaviour { fault, ..Behaviour::default() }).await, Fake::start(Behaviour::default()).await);
    let open = async |name: &str, fake: &Fake| {
        let engine = SdWebui::with_timing(named(name, &fake.url), QUICK).unwrap();
        assert!(engine.refresh().await);
        Arc::new(engine)
    };
    let (first, second) = (open("full", &full).await, open("roomy", &roomy).await);
    let model = first.report().models[0].clone();
    assert_eq!(made([first, second], Kind::SdWebui, text_to_image(&model, json!({}))).await, 1);
    assert_eq!((full.calls().len(), roomy.calls().len()), (0, 1));
}
