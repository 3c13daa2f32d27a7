//! The members of the four operations as they lie on the wire, and checks of their values.

use imgopen_engine::EngineError;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::fit::Fit;
use super::flux::FluxVariant;

/// The members of all operations. What none of them declares stays in `members`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    pub prompt: String,
    pub negative_prompt: Option<String>,
    pub n_iter: Option<i64>,
    pub batch_size: Option<i64>,
    pub steps: Option<i64>,
    pub seed: Option<Value>,
    pub width: Option<i64>,
    pub height: Option<i64>,
    pub cfg_scale: Option<f64>,
    pub sampler_index: Option<String>,
    pub restore_faces: Option<bool>,
    pub enable_hr: Option<bool>,
    pub hr_scale: Option<i64>,
    pub hr_upscaler: Option<String>,
    pub hr_second_pass_steps: Option<i64>,
    pub hr_resize_x: Option<i64>,
    pub hr_resize_y: Option<i64>,
    pub denoising_strength: Option<f64>,
    pub resize_mode: Option<f64>,
    pub mask_blur: Option<i64>,
    pub mask_blur_x: Option<i64>,
    pub mask_blur_y: Option<i64>,
    pub inpainting_fill: Option<i64>,
    pub inpaint_full_res: Option<bool>,
    pub inpaint_full_res_padding: Option<i64>,
    pub inpainting_mask_invert: Option<i64>,
    pub initial_noise_multiplier: Option<f64>,
    pub image_cfg_scale: Option<f64>,
    pub alwayson_scripts: Scripts,
    pub controlnet: Option<Control>,
    #[serde(rename = "comfyTaskType")]
    pub comfy_task_type: Option<String>,
    #[serde(rename = "fluxGuidance")]
    pub flux_guidance: Option<f64>,
    #[serde(rename = "businessTaskId")]
    _business_task_id: Option<Value>,
    #[serde(rename = "callbackUrl")]
    _callback_url: Option<Value>,
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

/// The members of `alwayson_scripts`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Scripts {
    pub sd_model_checkpoint: Option<String>,
    pub sd_vae: Option<String>,
    pub output_image_format: Option<String>,
    pub image_link: Option<Value>,
    pub mask_link: Option<Value>,
    pub override_settings: Map<String, Value>,
    #[serde(rename = "ADetailer")]
    pub detailer: Option<Value>,
    pub controlnet: Option<Control>,
    #[serde(rename = "id_task")]
    _id_task: Option<Value>,
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The settings of ControlNet.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Control {
    pub args: Vec<Unit>,
}

/// One unit of ControlNet, with those members of the web UI that the document does not declare.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Unit {
    pub enabled: Option<bool>,
    pub module: Option<String>,
    pub model: Option<String>,
    pub weight: Option<f64>,
    pub image_link: Option<Value>,
    pub resize_mode: Option<Value>,
    pub guidance_start: Option<f64>,
    pub guidance_end: Option<f64>,
    pub control_mode: Option<Value>,
    pub pixel_perfect: Option<bool>,
    pub processor_res: Option<i64>,
    pub threshold_a: Option<f64>,
    pub threshold_b: Option<f64>,
}

/// Checks that a whole number is in a range.
pub(super) fn whole(field: &str, given: i64, least: u32, most: u32) -> Result<u32, EngineError> {
    let fitting = u32::try_from(given).ok().filter(|given| (least..=most).contains(given));
    let problem = || format!("{given} given; give a whole number from {least} to {most}");
    fitting.ok_or_else(|| EngineError::rejected(field, problem()))
}

/// Checks that a number is in a range.
pub(super) fn number(field: &str, given: f64, least: f64, most: f64) -> Result<f64, EngineError> {
    match (least..=most).contains(&given) {
        true => Ok(given),
        false => Err(EngineError::rejected(field, format!("{given} given; give a number from {least} to {most}"))),
    }
}

/// Reads a `resize_mode`, of which values up to `most` are allowed.
pub(super) fn fit(field: &str, given: Option<f64>, most: u8) -> Result<Fit, EngineError> {
    let fits = [Fit::Stretch, Fit::Crop, Fit::Pad, Fit::Latent];
    let Some(number) = given else {
        return Err(EngineError::rejected(field, format!("not a number; give a whole number from 0 to {most}")));
    };
    let found = fits.into_iter().find(|fit| f64::from(fit.number()) == number && fit.number() <= most);
    found.ok_or_else(|| EngineError::rejected(field, format!("{number} given; give a whole number from 0 to {most}")))
}

/// Reads the variant of FLUX.1. The contract passes on other names, which no back end knows.
pub(super) fn flux(given: Option<&str>) -> Result<FluxVariant, EngineError> {
    let known = FluxVariant::ALL.into_iter().find(|known| Some(known.wire_name()) == given);
    known.ok_or_else(|| {
        let shown = |given: &str| format!("{:?} given", given.chars().take(60).collect::<String>());
        let names = FluxVariant::ALL.map(FluxVariant::wire_name).join(", ");
        let problem = given.map_or("missing".to_owned(), shown);
        EngineError::rejected("comfyTaskType", format!("{problem}; give one of {names}"))
    })
}

/// Reads a seed: a whole number, or text with one. -1 asks for a random one.
pub(super) fn seed(given: Option<&Value>, pictures: u32) -> Result<Option<i64>, EngineError> {
    let Some(given) = given else { return Ok(None) };
    let last = i64::MAX - i64::from(pictures);
    let number = match given {
        Value::String(text) => text.trim().parse::<i64>().ok(),
        other => other.as_i64(),
    };
    match number {
        Some(-1) => Ok(None),
        Some(seed) if (0..=last).contains(&seed) => Ok(Some(seed)),
        _ => {
            let problem = format!("{given} given; give a whole number from 0 to {last}, or -1 for a random seed");
            Err(EngineError::rejected("seed", problem))
        }
    }
}
