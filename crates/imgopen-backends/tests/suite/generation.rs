//! Requests in the form that is the same for all operations and back ends.

use imgopen_backends::{Checkpoint, Fill, Fit, FluxVariant, Generation, Schedule};
use imgopen_engine::{EngineError, Format, JobRequest};
use imgopen_types::Operation;
use imgopen_types::operations::FLUX_TEXT_TO_IMAGE;
use serde_json::{Value, json};

use crate::jobs::{controlnet, image_to_image, text_to_image};

const MODEL: &str = "a.safetensors";

fn flux(body: Value) -> JobRequest {
    let operation: &'static Operation = &FLUX_TEXT_TO_IMAGE;
    JobRequest::new("1", operation, body)
}

fn read(changes: Value) -> Generation {
    Generation::read(&text_to_image(MODEL, changes)).unwrap()
}

#[test]
fn what_is_left_out_is_filled_in() {
    let none = json!({
        "width": null, "height": null, "steps": null, "seed": null, "sampler_index": null, "cfg_scale": null,
        "negative_prompt": null,
    });
    let generation = read(none);
    assert_eq!((generation.width, generation.height, generation.steps, generation.guidance), (512, 512, 20, 7.0));
    assert_eq!((generation.seed, generation.sampling.is_none(), generation.clip_skip), (None, true, 1));
    assert_eq!((generation.pictures(), generation.format, generation.hires.is_none()), (1, Format::Png, true));
    assert_eq!((generation.checkpoint, generation.start.is_none()), (Checkpoint::Named(MODEL.to_owned()), true));
    let of = |kind: &str| {
        let body = json!({"businessTaskId": "1", "comfyTaskType": kind, "prompt": "a cat"});
        Generation::read(&flux(body)).unwrap()
    };
    let (dev, schnell) = (of("Flux1DevFP8"), of("Flux1SchnellFP8"));
    assert_eq!((dev.steps, dev.guidance, schnell.steps), (20, 3.5, 4));
    assert_eq!(schnell.checkpoint, Checkpoint::Flux(FluxVariant::Schnell));
}

/// The contract passes on names that it does not list.
#[test]
fn a_flux_workflow_that_no_back_end_knows_is_rejected() {
    let body = json!({"businessTaskId": "1", "comfyTaskType": "Flux2DevFP8", "prompt": "a cat"});
    let error = Generation::read(&flux(body)).unwrap_err().to_string();
    assert_eq!(error, "`comfyTaskType`: \"Flux2DevFP8\" given; give one of Flux1DevFP8, Flux1SchnellFP8");
}

#[test]
fn what_is_given_is_kept() {
    let settings = json!({"CLIP_stop_at_last_layers": 2, "other": 1});
    let generation = read(json!({
        "n_iter": 2, "batch_size": 3, "seed": "1221212", "sampler_index": "DPM++ 2M Karras", "eta": 0.5,
        "prompt": "a <lora:one:0.8> cat", "alwayson_scripts": {
            "sd_vae": "b.ckpt", "override_settings": settings, "output_image_format": "jpeg", "Script": {"args": []},
        },
    }));
    assert_eq!((generation.pictures(), generation.seed), (6, Some(1_221_212)));
    let sampling = generation.sampling.unwrap();
    assert_eq!((sampling.method.as_str(), sampling.schedule), ("DPM++ 2M", Some(Schedule::Karras)));
    assert_eq!((generation.prompt.full.as_str(), generation.prompt.loras.len()), ("a <lora:one:0.8> cat", 1));
    assert_eq!((generation.clip_skip, generation.vae.as_deref()), (2, Some("b.ckpt")));
    assert_eq!((json!(generation.settings), json!(generation.members)), (json!({"other": 1}), json!({"eta": 0.5})));
    assert_eq!((json!(generation.scripts), generation.format), (json!({"Script": {"args": []}}), Format::Jpeg));
}

#[test]
fn the_size_of_the_hires_fix_wins_over_its_scale_and_zero_is_none() {
    for (changes, size) in [
        (json!({"hr_scale": 3}), (192, 192)),
        (json!({}), (128, 128)),
        (json!({"hr_scale": 3, "hr_resize_x": 96, "hr_resize_y": 128}), (96, 128)),
        (json!({"hr_scale": 3, "hr_resize_x": 0, "hr_resize_y": 0}), (192, 192)),
        (json!({"width": 64, "height": 128, "hr_resize_x": 96}), (96, 192)),
        (json!({"width": 64, "height": 128, "hr_resize_y": 256}), (128, 256)),
    ] {
        let mut body = json!({"enable_hr": true});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let generation = read(body);
        assert_eq!(generation.final_size(), size, "{changes}");
        assert_eq!(generation.hires.unwrap().steps, 2);
    }
    assert_eq!(read(json!({"enable_hr": false, "hr_scale": 4})).final_size(), (64, 64));
}

#[test]
fn a_mask_has_the_values_of_the_web_ui() {
    let mask = json!({
        "alwayson_scripts": {"mask_link": "https://example.com/m.png"}, "resize_mode": 2, "mask_blur": 9, "mask_blur_x": 1,
        "inpainting_fill": 0, "inpaint_full_res": true, "inpaint_full_res_padding": 8, "inpainting_mask_invert": 1,
    });
    let start = Generation::read(&image_to_image(MODEL, mask)).unwrap().start.unwrap();
    let mask = start.mask.unwrap();
    assert_eq!((start.fit, mask.blur, mask.fill), (Fit::Pad, (1, 9), Fill::Around));
    assert_eq!((mask.only_masked, mask.inverted), (Some(8), true));
}

#[test]
fn units_are_read_from_both_places() {
    let unit = json!({"model": "m", "module": "none", "image_link": "https://example.com/c.png", "control_mode": 1});
    let at_top = Generation::read(&controlnet(MODEL, unit.clone(), json!({}))).unwrap();
    assert_eq!(at_top.control[0].picture.as_deref(), Some("controlnet.args[0].image_link"));
    assert_eq!((at_top.control[0].module.as_deref(), at_top.control[0].fit), (None, Fit::Crop));
    let inside = json!({"controlnet": null, "alwayson_scripts": {"controlnet": {"args": [{"enabled": false}, unit]}}});
    let inside = Generation::read(&controlnet(MODEL, json!({}), inside)).unwrap();
    assert_eq!(inside.control.len(), 1);
    assert_eq!(inside.control[0].picture.as_deref(), Some("alwayson_scripts.controlnet.args[1].image_link"));
}

#[test]
fn values_that_no_back_end_could_use_are_refused_by_field() {
    let cases = [
        ("n_iter", json!({"n_iter": 9, "batch_size": 8})),
        ("batch_size", json!({"batch_size": 65})),
        ("steps", json!({"steps": 1001})),
        ("width", json!({"width": 5000})),
        ("cfg_scale", json!({"cfg_scale": -1})),
        ("seed", json!({"seed": "9223372036854775807"})),
        ("seed", json!({"seed": "one"})),
        ("prompt", json!({"prompt": "<lora:a:b>"})),
        ("hr_scale", json!({"enable_hr": true, "hr_scale": 0})),
        ("hr_resize_x", json!({"enable_hr": true, "width": 64, "height": 4096, "hr_resize_x": 128})),
        ("denoising_strength", json!({"enable_hr": true, "denoising_strength": 1.5})),
        ("alwayson_scripts.output_image_format", json!({"alwayson_scripts": {"output_image_format": "gif"}})),
        (
            "alwayson_scripts.override_settings.CLIP_stop_at_last_layers",
            json!({"alwayson_scripts": {"override_settings": {"CLIP_stop_at_last_layers": "two"}}}),
        ),
    ];
    for (field, changes) in cases {
        match Generation::read(&text_to_image(MODEL, changes)) {
            Err(EngineError::Rejected { field: Some(rejected), .. }) => assert_eq!(rejected, field),
            other => panic!("`{field}`: {other:?}"),
        }
    }
    let none = Generation::read(&controlnet(MODEL, json!({"enabled": false}), json!({}))).unwrap_err();
    assert!(none.to_string().contains("no unit is enabled"), "{none}");
}
