//! The body of a job.
//!
//! Whatever has an effect is sent, also where it is the server's default, because operators change defaults.

use serde_json::{Value, json};

use super::resolve::Resolved;
use crate::generation::{Checkpoint, Generation};

/// The pictures of a job as the server takes them: PNG files in Base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    pub start: Option<String>,
    pub mask: Option<String>,
    pub control: Option<String>,
}

/// Builds the body of a job that makes so many pictures, whose seeds count up.
pub(super) fn body(
    generation: &Generation,
    resolved: &Resolved,
    pictures: &Encoded,
    (seed, count): (i64, u32),
) -> Value {
    let mut guidance = match generation.checkpoint {
        Checkpoint::Flux(_) => json!({"txt_cfg": 1.0, "distilled_guidance": generation.guidance}),
        Checkpoint::Named(_) => json!({"txt_cfg": generation.guidance}),
    };
    let start = generation.start.as_ref();
    if let Some(own) = start.and_then(|start| start.picture_guidance) {
        guidance["img_cfg"] = own.into();
    }
    let loras = resolved.loras.iter().map(|(path, weight)| json!({"path": path, "multiplier": weight}));
    let mut body = json!({
        "prompt": generation.prompt.text,
        "negative_prompt": generation.negative_prompt,
        "width": generation.width,
        "height": generation.height,
        "seed": seed,
        "batch_count": count,
        "clip_skip": clip_skip(generation),
        "sample_params": {
            "sample_steps": generation.steps,
            "sample_method": resolved.sampler,
            "scheduler": resolved.schedule,
            "guidance": guidance,
            "custom_sigmas": [],
            "shifted_timestep": 0,
        },
        "lora": loras.collect::<Vec<_>>(),
        "hires": hires(generation),
        "output_format": "png",
        "embed_image_metadata": true,
    });
    if let (Some(start), Some(picture)) = (start, &pictures.start) {
        body["init_image"] = picture.as_str().into();
        body["strength"] = start.strength.into();
    }
    if let Some(mask) = &pictures.mask {
        body["mask_image"] = mask.as_str().into();
    }
    if let (Some(unit), Some(picture)) = (generation.control.first(), &pictures.control) {
        body["control_image"] = picture.as_str().into();
        body["control_strength"] = unit.weight.into();
    }
    body
}

/// Returns the clip skip for the server. 1 asks for what the model was made for, which is another number for some.
pub(super) fn clip_skip(generation: &Generation) -> i64 {
    if generation.clip_skip == 1 { -1 } else { i64::from(generation.clip_skip) }
}

fn hires(generation: &Generation) -> Value {
    let Some(hires) = &generation.hires else { return json!({"enabled": false}) };
    json!({
        "enabled": true,
        "upscaler": hires.upscaler,
        // The size wins, so that it is the same for a scale.
        "scale": 1.0,
        "target_width": hires.width,
        "target_height": hires.height,
        "steps": hires.steps,
        "denoising_strength": hires.strength,
    })
}
