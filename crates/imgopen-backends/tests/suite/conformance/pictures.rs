//! What is offered, and that pictures are those that were asked for.

use imgopen_backends::Kind;
use imgopen_engine::{Format, Models, Monitor, PictureLimits};
use imgopen_picture::{decode, parameters};
use imgopen_types::operations::{CONTROLNET, TEXT_TO_IMAGE};
use serde_json::json;

use crate::jobs::{job, text_to_image};
use crate::targets::Target;

pub async fn models_are_offered_by_the_names_of_their_files(target: &Target) {
    let offers = target.engine.offers();
    let offer = offers.iter().find(|offer| *offer.operation == TEXT_TO_IMAGE).unwrap();
    let Models::Listed(models) = &offer.models else { panic!("any model is taken") };
    assert!(offer.away.is_none() && models.iter().any(|model| model.name == target.model), "{models:?}");
    assert!(target.model.ends_with(".safetensors") || target.model.ends_with(".ckpt"), "{}", target.model);
    let has_controlnet = offers.iter().any(|offer| *offer.operation == CONTROLNET);
    assert_eq!(has_controlnet, target.control_net.is_some());
    let report = target.engine.report();
    let programs: &[&str] = match target.kind {
        Kind::SdServer => &["sd-server"],
        Kind::ComfyUi => &["ComfyUI"],
        Kind::SdWebui => &["Forge", "A1111"],
    };
    assert!(report.kind == target.kind && programs.contains(&report.program), "{report:?}");
    assert!(report.to_string().contains("text_to_image: served"), "{report}");
}

pub async fn a_picture_is_made_as_asked_for(target: &Target) {
    // sd-server makes multiples of 64.
    let width: u32 = if target.kind == Kind::SdServer { 128 } else { 72 };
    let output = target.run(text_to_image(&target.model, json!({"width": width, "cfg_scale": 5.3}))).await.unwrap();
    let [picture] = &output.pictures[..] else { panic!("{output:?}") };
    assert_eq!((picture.width, picture.height, picture.seed), (width, 64, Some(7)));
    let text = parameters(&picture.bytes).unwrap();
    let (settings, sampler) = match target.kind {
        Kind::SdServer => ("Steps: 2, CFG scale: 5.3", "Sampler: euler discrete"),
        Kind::ComfyUi => (
            "Steps: 2, Sampler: Euler, Schedule type: Normal, CFG scale: 5.3, Seed: 7, Size: 72x64, Model: ",
            "Sampler: Euler,",
        ),
        Kind::SdWebui => ("Steps: 2, Sampler: Euler,", "CFG scale: 5.3"),
    };
    assert!(text.starts_with(&format!("a lighthouse\nNegative prompt: blurry\n{settings}")), "{text}");
    assert!(text.contains(sampler), "{text}");
    match target.kind {
        // What cannot be verified is said.
        Kind::ComfyUi => {
            let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
            assert!(note.contains("repeats the workflow that it was sent"), "{note}");
        }
        Kind::SdServer | Kind::SdWebui => assert!(output.notes.is_empty(), "{:?}", output.notes),
    }
    // The workflow of ComfyUI names files of the server.
    assert!(!String::from_utf8_lossy(&picture.bytes).contains("class_type"));
    // The web UI does not say which model it has in memory.
    assert_eq!(target.engine.has_loaded(Some(&target.model)), target.kind != Kind::SdWebui);
    assert!(!target.engine.has_loaded(Some("other")));
}

pub async fn prompts_need_not_be_english(target: &Target) {
    for prompt in ["Leuchttürme bei Nacht", "灯台\nSteps: 9, SDCPP: {}"] {
        let output = target.run(text_to_image(&target.model, json!({ "prompt": prompt }))).await.unwrap();
        let text = parameters(&output.pictures[0].bytes).unwrap();
        assert!(text.starts_with(prompt), "{text}");
    }
}

pub async fn several_pictures_have_seeds_that_count_up(target: &Target) {
    // For sd-server, more than it makes at once.
    let each: i64 = if target.kind == Kind::SdServer { 3 } else { 2 };
    let request = text_to_image(&target.model, json!({"n_iter": each, "batch_size": each, "seed": "40"}));
    let pictures = target.run(request).await.unwrap().pictures;
    let seeds: Vec<i64> = pictures.iter().filter_map(|picture| picture.seed).collect();
    assert_eq!(seeds, (40..40 + each * each).collect::<Vec<_>>());
    for (picture, seed) in pictures.iter().zip(&seeds) {
        let text = parameters(&picture.bytes).unwrap();
        assert!(text.contains(&format!("Seed: {seed},")), "{text}");
    }
    // In a batch of the web UI, the last bits may differ.
    if target.kind != Kind::SdWebui {
        let last = seeds.last().unwrap().to_string();
        let again = target.run(text_to_image(&target.model, json!({ "seed": last }))).await.unwrap();
        assert!(again.pictures[0].bytes == pictures[seeds.len() - 1].bytes, "each can be made again alone");
    }
}

pub async fn the_same_seed_makes_the_same_picture(target: &Target) {
    let pixels = async |seed: &str| {
        let output = target.run(text_to_image(&target.model, json!({ "seed": seed }))).await.unwrap();
        decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
    };
    let first = pixels("11").await;
    assert!(first == pixels("11").await && first != pixels("12").await);
}

pub async fn a_random_seed_is_named_and_kept_for_a_second_run(target: &Target) {
    let request = text_to_image(&target.model, json!({"seed": "-1"}));
    let plan = target.engine.plan(&request).await.unwrap();
    let seed = plan.as_ref().and_then(|plan| plan["seed"].as_i64()).expect("a seed is drawn");
    let run = target.engine.run(job(request).with_plan(plan), Monitor::new().0);
    let output = target.patiently("the job ends", run).await.unwrap();
    assert_eq!(output.pictures[0].seed, Some(seed));
    assert_eq!(target.engine.plan(&text_to_image(&target.model, json!({}))).await.unwrap(), None);
}

pub async fn results_have_the_format_asked_for(target: &Target) {
    for (name, format) in [("webp", Format::WebP), ("jpeg", Format::Jpeg), ("png", Format::Png)] {
        let changes = json!({"steps": 1, "alwayson_scripts": {"output_image_format": name}});
        let picture = target.run(text_to_image(&target.model, changes)).await.unwrap().pictures.remove(0);
        let header = imgopen_picture::inspect(&picture.bytes, &PictureLimits::default()).unwrap();
        assert_eq!((header.format.as_format(), picture.format), (Some(format), format));
        assert!(parameters(&picture.bytes).unwrap().contains("Seed: 7"));
    }
}
