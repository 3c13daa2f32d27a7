//! What is refused when a task is submitted, by the field that asks for it.

use imgopen_backends::Kind::{self, ComfyUi, SdServer, SdWebui};
use imgopen_engine::JobRequest;
use serde_json::{Value, json};

use crate::jobs::{controlnet, image_to_image, text_to_image};
use crate::targets::Target;

const PICTURE: &str = "https://example.com/b.png";

/// A request with a unit of ControlNet.
fn unit(target: &Target, changes: Value) -> JobRequest {
    let mut unit = json!({"model": target.control_net.as_deref().unwrap_or("n"), "image_link": PICTURE});
    unit.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    controlnet(&target.model, unit, json!({}))
}

pub async fn what_no_back_end_could_do_is_refused_by_field(target: &Target) {
    let model = &target.model;
    for (field, request) in [
        ("seed", text_to_image(model, json!({"seed": "-7"}))),
        ("negative_prompt", text_to_image(model, json!({"negative_prompt": "<lora:nope:1>"}))),
        ("controlnet.args[0].image_link", unit(target, json!({"image_link": null}))),
        ("controlnet.args[0].guidance_start", unit(target, json!({"guidance_start": 1}))),
    ] {
        target.refuse(field, &request);
    }
}

pub async fn what_the_server_lacks_is_refused_by_field(target: &Target) {
    // A program says what it has once it runs.
    target.run(text_to_image(&target.model, json!({}))).await.unwrap();
    let requests = [models_and_sizes(target), words(target), passes(target), extras(target), units(target)];
    for (kinds, field, request) in requests.into_iter().flatten() {
        if kinds.contains(&target.kind) {
            let problem = target.refuse(field, &request);
            // Of LoRAs, all back ends and the service say the same.
            assert!(problem.contains("`mine`") || problem.starts_with("there is no LoRA"), "{problem}");
        }
    }
}

/// The kinds that refuse a request, by which field.
type Refused = (&'static [Kind], &'static str, JobRequest);

const ALL: &[Kind] = &Kind::ALL;
const NOT_WEBUI: &[Kind] = &[SdServer, ComfyUi];
const NOT_COMFY: &[Kind] = &[SdServer, SdWebui];
const SD_SERVER: &[Kind] = &[SdServer];
const COMFY: &[Kind] = &[ComfyUi];

fn models_and_sizes(target: &Target) -> Vec<Refused> {
    let of = |changes: Value| text_to_image(&target.model, changes);
    vec![
        (ALL, "alwayson_scripts.sd_model_checkpoint", text_to_image("nope.safetensors", json!({}))),
        (ALL, "alwayson_scripts.sd_vae", of(json!({"alwayson_scripts": {"sd_vae": "nope.ckpt"}}))),
        (ALL, "sampler_index", of(json!({"sampler_index": "Nope"}))),
        (ALL, "sampler_index", of(json!({"sampler_index": "Nope Karras"}))),
        (NOT_WEBUI, "sampler_index", of(json!({"sampler_index": "PLMS"}))),
        (SD_SERVER, "sampler_index", of(json!({"sampler_index": "DPM++ SDE Karras"}))),
        (ALL, "width", of(json!({"width": 70}))),
        (SD_SERVER, "width", of(json!({"width": 72}))),
        (ALL, "height", of(json!({"height": 8}))),
        (NOT_COMFY, "height", of(json!({"height": 32}))),
        (NOT_COMFY, "height", of(json!({"height": 56}))),
        (SD_SERVER, "steps", of(json!({"steps": 101}))),
        (SD_SERVER, "steps", of(json!({"steps": 1, "sampler_index": "Euler Karras"}))),
    ]
}

fn words(target: &Target) -> Vec<Refused> {
    let prompt = |text: &str| text_to_image(&target.model, json!({ "prompt": text }));
    let negative = |text: &str| text_to_image(&target.model, json!({ "negative_prompt": text }));
    let mut requests = vec![
        (ALL, "prompt", prompt("<lora:nope:1>")),
        (NOT_WEBUI, "prompt", prompt("a [cat:dog:0.5]")),
        (COMFY, "prompt", prompt("a [cat]")),
        (COMFY, "prompt", prompt("embedding:nope")),
        (NOT_WEBUI, "negative_prompt", negative("a [cat:dog:0.5]")),
        (NOT_WEBUI, "negative_prompt", negative("a AND b")),
    ];
    requests.extend(target.lora.iter().map(|lora| (SD_SERVER, "prompt", prompt(&format!("<lora:{lora}:0.5:0.8>")))));
    requests
}

fn passes(target: &Target) -> Vec<Refused> {
    let of_picture = |changes: Value| image_to_image(&target.model, changes);
    let hires = |changes: Value| {
        let mut body = json!({"enable_hr": true, "hr_scale": 2});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        text_to_image(&target.model, body)
    };
    vec![
        (ALL, "hr_upscaler", hires(json!({"hr_upscaler": "Nope"}))),
        (SD_SERVER, "hr_upscaler", hires(json!({"hr_upscaler": "None"}))),
        (ALL, "hr_resize_x", hires(json!({"hr_resize_x": 100, "hr_resize_y": 128}))),
        (SD_SERVER, "hr_second_pass_steps", hires(json!({"hr_second_pass_steps": 101}))),
        (NOT_WEBUI, "denoising_strength", hires(json!({"denoising_strength": 0}))),
        (ALL, "enable_hr", of_picture(json!({"enable_hr": true}))),
        (SD_SERVER, "denoising_strength", of_picture(json!({"denoising_strength": 0.4}))),
        (NOT_WEBUI, "inpainting_fill", of_picture(json!({"inpainting_fill": 2}))),
        (NOT_WEBUI, "resize_mode", of_picture(json!({"resize_mode": 3}))),
    ]
}

fn extras(target: &Target) -> Vec<Refused> {
    let of = |changes: Value| text_to_image(&target.model, changes);
    let script = |name: &str, arguments: Value| of(json!({"alwayson_scripts": {name: arguments}}));
    vec![
        (ALL, "nope", of(json!({"nope": 1}))),
        (NOT_WEBUI, "tiling", of(json!({"tiling": true}))),
        (NOT_WEBUI, "restore_faces", of(json!({"restore_faces": true}))),
        (NOT_WEBUI, "alwayson_scripts.ADetailer", script("ADetailer", json!({}))),
        // A web UI would take them for scripts, and nobody fetches them.
        (ALL, "alwayson_scripts.image_link", of(json!({"alwayson_scripts": {"image_link": PICTURE}}))),
        (ALL, "alwayson_scripts.mask_link", of(json!({"alwayson_scripts": {"mask_link": PICTURE}}))),
        (ALL, "alwayson_scripts.Nope", script("Nope", json!({"args": []}))),
        (ALL, "alwayson_scripts.Refiner", script("Refiner", json!({"args": []}))),
        (
            ALL,
            "alwayson_scripts.override_settings.outdir_samples",
            script("override_settings", json!({"outdir_samples": "/tmp"})),
        ),
    ]
}

fn units(target: &Target) -> Vec<Refused> {
    let hires = controlnet(&target.model, json!({"model": "n", "image_link": PICTURE}), json!({"enable_hr": true}));
    let mask = json!({"alwayson_scripts": {"mask_link": PICTURE}});
    let masked = controlnet(&target.model, json!({"model": "n", "image_link": PICTURE}), mask);
    let mut requests = vec![
        (ALL, "alwayson_scripts.mask_link", masked),
        (ALL, "controlnet.args[0].lowvram", unit(target, json!({"lowvram": true}))),
        (ALL, "controlnet.args[0].module", unit(target, json!({"module": "nope"}))),
        // What the service itself makes takes no neural network.
        (NOT_WEBUI, "controlnet.args[0].module", unit(target, json!({"module": "openpose"}))),
        (NOT_WEBUI, "controlnet.args[0].module", unit(target, json!({"module": "softedge_hed"}))),
        (NOT_WEBUI, "controlnet.args[0].model", unit(target, json!({"module": "canny", "model": null}))),
        (NOT_WEBUI, "controlnet.args[0].control_mode", unit(target, json!({"control_mode": 1}))),
        (NOT_WEBUI, "controlnet.args[0].control_mode", unit(target, json!({"control_mode": 2}))),
        (SD_SERVER, "controlnet.args[0].guidance_end", unit(target, json!({"guidance_end": 0.5}))),
        (SD_SERVER, "enable_hr", hires),
    ];
    // At an address, sd-server does not say which ControlNet it has.
    if target.control_net.is_some() && (target.kind != SdServer || target.is_program) {
        requests.push((ALL, "controlnet.args[0].model", unit(target, json!({"model": "nope"}))));
    }
    requests
}
