//! The bodies of `txt2img` and `img2img`.
//!
//! Whatever has an effect is sent, also where it is the server's default, because settings of earlier requests stick in some
//! versions and operators change defaults.

use serde_json::{Map, Value, json};

use super::resolve::{Resolved, Unit};
use crate::generation::{ControlUnit, Fit, Generation, Hires, Start};

/// The pictures of a request as the server takes them: PNG files in Base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    pub start: Option<String>,
    /// The size of the picture to start from.
    pub start_size: Option<(u32, u32)>,
    pub mask: Option<String>,
    /// One for each ControlNet unit.
    pub control: Vec<Option<String>>,
}

/// A call that makes pictures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub path: &'static str,
    pub body: Value,
}

/// Members that servers take and do not send back.
const NOT_ECHOED: [&str; 5] = ["init_images", "mask", "override_settings", "alwayson_scripts", "force_task_id"];

/// Builds the call.
pub(super) fn request(
    generation: &Generation,
    resolved: &Resolved,
    encoded: Encoded,
    is_forge: bool,
    (seed, task_id): (i64, &str),
) -> Request {
    let mut body = common(generation, resolved, seed, task_id);
    let mut set = |members: Value| {
        if let Value::Object(members) = members {
            body.extend(members);
        }
    };
    if generation.is_flux() {
        set(json!({"cfg_scale": 1, "distilled_cfg_scale": generation.guidance}));
    } else {
        set(json!({"cfg_scale": generation.guidance}));
    }
    if let Some(schedule) = &resolved.schedule {
        set(json!({"scheduler": schedule}));
    }
    if let Some(hires) = &generation.hires {
        set(hires_members(hires, generation, is_forge));
    }
    let scripts = scripts(generation, resolved, encoded.control);
    set(json!({"alwayson_scripts": scripts}));
    let path = match &generation.start {
        Some(start) => {
            set(start_members(start, encoded.start, encoded.mask));
            "sdapi/v1/img2img"
        }
        None => "sdapi/v1/txt2img",
    };
    Request { path, body: Value::Object(body) }
}

/// Returns a member that the server does not know, seen from its answer, in which it repeats all members that it knows.
pub(super) fn unknown_member<'a>(sent: &'a Value, echo: &Map<String, Value>) -> Option<&'a str> {
    let members = sent.as_object().into_iter().flat_map(Map::keys);
    members.map(String::as_str).find(|member| !NOT_ECHOED.contains(member) && !echo.contains_key(*member))
}

fn common(generation: &Generation, resolved: &Resolved, seed: i64, task_id: &str) -> Map<String, Value> {
    let body = json!({
        "prompt": generation.prompt.full,
        "negative_prompt": generation.negative_prompt,
        "seed": seed,
        "width": generation.width,
        "height": generation.height,
        "steps": generation.steps,
        "sampler_name": resolved.sampler,
        "n_iter": generation.batches,
        "batch_size": generation.batch_size,
        "restore_faces": generation.restore_faces,
        "override_settings": override_settings(generation, resolved),
        "override_settings_restore_afterwards": true,
        "send_images": true,
        "save_images": false,
        "force_task_id": task_id,
    });
    let mut members = generation.members.clone();
    if let Value::Object(body) = body {
        members.extend(body);
    }
    members
}

fn override_settings(generation: &Generation, resolved: &Resolved) -> Value {
    let mut settings = json!({
        "sd_model_checkpoint": resolved.checkpoint,
        "CLIP_stop_at_last_layers": generation.clip_skip,
        "samples_format": "png",
    });
    if let Some(vae) = &resolved.vae {
        settings["sd_vae"] = vae.as_str().into();
    }
    if let Some(modules) = &resolved.modules {
        settings["forge_additional_modules"] = modules.clone().into();
    }
    settings
}

/// Forge gives the second pass a CFG scale of its own, 1 by default, and fails without `hr_additional_modules` in some
/// versions.
fn hires_members(hires: &Hires, generation: &Generation, is_forge: bool) -> Value {
    let mut members = json!({
        "enable_hr": true,
        "hr_upscaler": hires.upscaler,
        "hr_second_pass_steps": hires.steps,
        "denoising_strength": hires.strength,
    });
    match hires.scale {
        Some(scale) => members["hr_scale"] = scale.into(),
        None => {
            members["hr_resize_x"] = hires.width.into();
            members["hr_resize_y"] = hires.height.into();
        }
    }
    if is_forge {
        members["hr_cfg"] = generation.guidance.into();
        members["hr_additional_modules"] = json!(["Use same choices"]);
    }
    members
}

fn start_members(start: &Start, picture: Option<String>, mask: Option<String>) -> Value {
    let mut members = json!({
        "init_images": picture.into_iter().collect::<Vec<_>>(),
        "resize_mode": start.fit.number(),
        "denoising_strength": start.strength,
        "include_init_images": false,
    });
    if let Some(multiplier) = start.noise_multiplier {
        members["initial_noise_multiplier"] = multiplier.into();
    }
    if let Some(guidance) = start.picture_guidance {
        members["image_cfg_scale"] = guidance.into();
    }
    if let (Some(rules), Some(mask)) = (&start.mask, mask) {
        members["mask"] = mask.into();
        members["mask_blur_x"] = rules.blur.0.into();
        members["mask_blur_y"] = rules.blur.1.into();
        members["inpainting_fill"] = rules.fill.number().into();
        members["inpaint_full_res"] = rules.only_masked.is_some().into();
        members["inpaint_full_res_padding"] = rules.only_masked.unwrap_or(0).into();
        members["inpainting_mask_invert"] = u8::from(rules.inverted).into();
    }
    members
}

fn scripts(generation: &Generation, resolved: &Resolved, pictures: Vec<Option<String>>) -> Value {
    let mut scripts = generation.scripts.clone();
    if let Some(detailer) = &generation.detailer {
        // Its API takes whether it is on, whether it skips img2img, and one object for each detector.
        let args = match detailer.get("args") {
            Some(_) => detailer.clone(),
            None => json!({"args": [true, false, detailer]}),
        };
        scripts.insert("ADetailer".to_owned(), args);
    }
    if !generation.control.is_empty() {
        let units = generation.control.iter().zip(&resolved.units).zip(pictures);
        let units: Vec<Value> = units.map(|((unit, names), picture)| control_unit(unit, names, picture)).collect();
        scripts.insert("ControlNet".to_owned(), json!({"args": units}));
    }
    Value::Object(scripts)
}

fn control_unit(unit: &ControlUnit, names: &Unit, picture: Option<String>) -> Value {
    let mut members = json!({
        "enabled": true,
        "module": names.module,
        "model": names.model,
        "weight": unit.weight,
        "resize_mode": match unit.fit {
            Fit::Stretch | Fit::Latent => "Just Resize",
            Fit::Crop => "Crop and Resize",
            Fit::Pad => "Resize and Fill",
        },
        "guidance_start": unit.start,
        "guidance_end": unit.end,
        "control_mode": unit.mode.name(),
        "pixel_perfect": unit.pixel_perfect,
    });
    if let Some(picture) = picture {
        members["image"] = picture.into();
    }
    if let Some(resolution) = unit.resolution {
        members["processor_res"] = resolution.into();
    }
    for (name, threshold) in [("threshold_a", unit.threshold_a), ("threshold_b", unit.threshold_b)] {
        if let Some(threshold) = threshold {
            members[name] = threshold.into();
        }
    }
    members
}
