//! LoRAs that are added while a back end runs: they are found when the engine is asked to look, and not a minute later.

use std::path::Path;
use std::sync::Arc;

use imgopen_backends::{Backend, Driver, Fleet, Kind, SdServer, SdWebui};
use imgopen_engine::{Devices, Engine, EngineError, Job, JobRequest, Monitor};
use imgopen_types::operations::TEXT_TO_IMAGE;
use serde_json::json;
use tempfile::TempDir;

use crate::comfy_fake;
use crate::fake::{Behaviour, Fake, Fault};
use crate::jobs::text_to_image;
use crate::sd_fake::SdBehaviour;
use crate::sd_program::{program, starts};
use crate::targets::comfyui::comfy;
use crate::targets::sd_server::{around, models, sd_faked};
use crate::targets::sd_webui::faked;
use crate::targets::{QUICK, Target, carry_out, until};

const SD_MODEL: &str = "random-sd15.safetensors";

fn with_ink(model: &str) -> JobRequest {
    text_to_image(model, json!({"prompt": "a lighthouse <lora:ink:0.8>"}))
}

/// Asserts that a request is refused for its LoRA.
fn is_unknown(result: Result<(), EngineError>) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains("there is no LoRA \"ink\""), "{error}");
}

fn add_ink(folder: &Path) {
    std::fs::create_dir_all(folder.join("Lora")).unwrap();
    std::fs::write(folder.join("Lora/ink.safetensors"), "weights").unwrap();
}

#[tokio::test]
async fn a_web_ui_looks_for_loras_when_it_is_asked() {
    for is_a1111 in [false, true] {
        let (target, fake) = faked(Behaviour { is_a1111, ..Behaviour::default() }).await;
        fake.set(|behaviour| behaviour.added_loras = vec!["ink"]);
        // Its list is that of its start.
        assert!(target.engine.refresh().await);
        is_unknown(target.engine.check(&with_ink(&target.model)));
        target.engine.rescan().await;
        assert!(target.engine.models().iter().any(|model| model.name == "ink.safetensors"));
        assert_eq!(target.run(with_ink(&target.model)).await.unwrap().pictures.len(), 1);
        assert_eq!(fake.calls()[0]["prompt"], "a lighthouse <lora:ink:0.8>");
    }
}

#[tokio::test]
async fn a_web_ui_that_was_away_looks_for_loras_once_it_is_back() {
    let (target, fake) = faked(Behaviour::default()).await;
    let address = fake.url.trim_start_matches("http://").to_owned();
    drop(fake);
    target.engine.rescan().await;
    assert!(target.engine.report().away.is_some());
    let _back = Fake::start_at(Behaviour { added_loras: vec!["ink"], ..Behaviour::default() }, &address).await;
    until("the LoRA is known", async || target.engine.check(&with_ink(&target.model)).is_ok()).await;
}

#[tokio::test]
async fn a_web_ui_that_does_not_end_looking_is_not_away() {
    let fault = Fault::LooksForever;
    let (target, fake) = faked(Behaviour { added_loras: vec!["ink"], fault, ..Behaviour::default() }).await;
    target.engine.rescan().await;
    assert_eq!(target.engine.report().away, None);
    is_unknown(target.engine.check(&with_ink(&target.model)));
    assert_eq!(target.run(text_to_image(&target.model, json!({}))).await.unwrap().pictures.len(), 1);
    // It looks again with the next read.
    fake.set(|behaviour| behaviour.fault = Fault::None);
    assert!(target.engine.refresh().await);
    assert_eq!(target.engine.check(&with_ink(&target.model)), Ok(()));
}

/// An error is no look: what was added may still not be listed.
#[tokio::test]
async fn a_web_ui_that_fails_to_look_is_asked_again_until_it_has() {
    for status in [500, 422] {
        let fault = Fault::LooksNot(status);
        let (target, fake) = faked(Behaviour { added_loras: vec!["ink"], fault, ..Behaviour::default() }).await;
        target.engine.rescan().await;
        assert_eq!(target.engine.report().away, None, "{status}: it answers");
        is_unknown(target.engine.check(&with_ink(&target.model)));
        assert!(target.engine.refresh().await);
        is_unknown(target.engine.check(&with_ink(&target.model)));
        // With the next read, although nobody has asked for a look since.
        fake.set(|behaviour| behaviour.fault = Fault::None);
        assert!(target.engine.refresh().await);
        assert_eq!(target.engine.check(&with_ink(&target.model)), Ok(()), "{status}");
    }
}

/// Versions before 1.3 cannot be asked, which is no fault of theirs.
#[tokio::test]
async fn a_web_ui_that_cannot_look_is_not_asked_again() {
    let fault = Fault::LooksNot(404);
    let (target, fake) = faked(Behaviour { added_loras: vec!["ink"], fault, ..Behaviour::default() }).await;
    target.engine.rescan().await;
    fake.set(|behaviour| behaviour.fault = Fault::None);
    assert!(target.engine.refresh().await);
    is_unknown(target.engine.check(&with_ink(&target.model)));
    target.engine.rescan().await;
    assert_eq!(target.engine.check(&with_ink(&target.model)), Ok(()));
}

#[tokio::test]
async fn comfyui_is_asked_for_its_lists_again() {
    let target = comfy(comfy_fake::Behaviour::default()).await;
    target.comfy().set(|behaviour| behaviour.files.push(("LoraLoader", "lora_name", vec!["ink.safetensors"])));
    is_unknown(target.engine.check(&with_ink(&target.model)));
    target.engine.rescan().await;
    assert!(target.run(with_ink(&target.model)).await.is_ok());
    let loaders = target.comfy().posts()[0]["prompt"].as_object().unwrap().clone();
    let loader = loaders.values().find(|node| node["class_type"] == "LoraLoader").unwrap();
    assert_eq!(loader["inputs"]["lora_name"], "ink.safetensors");
}

#[tokio::test]
async fn a_server_at_an_address_is_asked_for_its_lists_again() {
    let (engine, fake) = sd_faked(SdBehaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    add_ink(folder.path());
    fake.set(|behaviour| behaviour.lora_folder = Some(Some(folder.path().join("Lora"))));
    is_unknown(engine.check(&with_ink(SD_MODEL)));
    engine.rescan().await;
    assert!(carry_out(&engine, with_ink(SD_MODEL)).await.is_ok());
    assert_eq!(fake.calls()[0]["lora"], json!([{"path": "ink.safetensors", "multiplier": 0.8}]));
}

/// A program that has made a picture, and the directory of its models, in which it records its starts.
async fn started(folder: TempDir) -> (SdServer, TempDir) {
    let record = folder.path().join("starts").display().to_string();
    let settings = program("checkpoints/random-sd15.safetensors", &["--record", &record]);
    let engine = SdServer::with_timing(settings, &around(folder.path()), QUICK).unwrap();
    assert!(carry_out(&engine, text_to_image(SD_MODEL, json!({}))).await.is_ok());
    (engine, folder)
}

#[tokio::test]
async fn a_program_that_runs_takes_a_lora_that_was_added() {
    let (engine, folder) = started(models()).await;
    is_unknown(engine.check(&with_ink(SD_MODEL)));
    add_ink(folder.path());
    engine.rescan().await;
    assert!(carry_out(&engine, with_ink(SD_MODEL)).await.is_ok());
    assert_eq!(starts(&folder.path().join("starts")).len(), 1, "it was not started again");
    // What it knows outlives the process.
    engine.free().await;
    assert!(carry_out(&engine, with_ink(SD_MODEL)).await.is_ok());
    std::fs::remove_file(folder.path().join("Lora/ink.safetensors")).unwrap();
    engine.rescan().await;
    is_unknown(engine.check(&with_ink(SD_MODEL)));
}

/// It is not started for a request that it cannot serve.
#[tokio::test]
async fn a_program_that_has_not_run_yet_is_known_to_lack_a_lora() {
    let folder = models();
    let record = folder.path().join("starts").display().to_string();
    let settings = program("checkpoints/random-sd15.safetensors", &["--record", &record]);
    let engine = SdServer::with_timing(settings, &around(folder.path()), QUICK).unwrap();
    engine.rescan().await;
    is_unknown(engine.check(&with_ink(SD_MODEL)));
    add_ink(folder.path());
    engine.rescan().await;
    assert_eq!(engine.check(&with_ink(SD_MODEL)), Ok(()));
    assert!(carry_out(&engine, with_ink(SD_MODEL)).await.is_ok());
    assert_eq!(starts(&folder.path().join("starts")).len(), 1);
}

/// The first training makes the directory of LoRAs.
#[tokio::test]
async fn a_program_that_was_started_without_a_directory_of_loras_is_started_with_it() {
    let folder = models();
    std::fs::remove_dir_all(folder.path().join("Lora")).unwrap();
    let (engine, folder) = started(folder).await;
    is_unknown(engine.check(&with_ink(SD_MODEL)));
    add_ink(folder.path());
    engine.rescan().await;
    assert!(carry_out(&engine, with_ink(SD_MODEL)).await.is_ok());
    let starts = starts(&folder.path().join("starts"));
    let has_folder: Vec<_> = starts.iter().map(|(_, arguments)| arguments.contains("--lora-model-dir")).collect();
    assert_eq!(has_folder, [false, true]);
}

#[tokio::test]
async fn a_fleet_has_all_its_members_look() {
    let (one, fake) = faked(Behaviour::default()).await;
    let (other, second) = faked(Behaviour::default()).await;
    let model = one.model.clone();
    let named = |target: Target, name: &str| {
        let mut settings = target.engine.settings().clone();
        settings.name = Some(name.to_owned());
        let engine = SdWebui::with_timing(settings, QUICK).unwrap();
        Backend::with_driver(Kind::SdWebui, Arc::new(engine))
    };
    let backends = vec![named(one, "one"), named(other, "two")];
    let [fleet] = &Fleet::of(backends, &Devices::default()).unwrap()[..] else { panic!("one fleet") };
    fake.set(|behaviour| behaviour.added_loras = vec!["ink"]);
    second.set(|behaviour| behaviour.added_loras = vec!["ink"]);
    fleet.rescan().await;
    assert!(fleet.offers().iter().any(|offer| *offer.operation == TEXT_TO_IMAGE && offer.away.is_none()));
    assert_eq!(fleet.check(&with_ink(&model)), Ok(()));
    let runs = ["a", "b"].map(|task| {
        let request = JobRequest::new(task, &TEXT_TO_IMAGE, with_ink(&model).view().unwrap());
        fleet.run(Job::new(request, "run"), Monitor::new().0)
    });
    let [first, last] = runs.map(tokio::spawn);
    assert!(first.await.unwrap().is_ok() && last.await.unwrap().is_ok());
    assert_eq!((fake.calls().len(), second.calls().len()), (1, 1), "each had one");
}
