//! Reads the requests of the operations.

use imgopen_engine::{EngineError, Format, JobRequest};

use super::control::ControlUnit;
use super::fields::{self, Fields, number, whole};
use super::fit::Fit;
use super::flux::FluxVariant;
use super::prompt::Prompt;
use super::sampling::Sampling;
use super::types::{Checkpoint, Fill, Generation, Hires, MAX_SIDE, MAX_STEPS, MOST_PICTURES, Mask, Start};

/// The side of a picture whose request gives none, in pixels.
const DEFAULT_SIDE: i64 = 512;
const DEFAULT_STEPS: i64 = 20;
const DEFAULT_SCHNELL_STEPS: i64 = 4;
const DEFAULT_CFG: f64 = 7.0;
const DEFAULT_FLUX_GUIDANCE: f64 = 3.5;
const DEFAULT_STRENGTH: f64 = 0.75;
const DEFAULT_UPSCALER: &str = "Latent";
const DEFAULT_MASK_BLUR: i64 = 4;
const DEFAULT_PADDING: i64 = 32;
const MOST_HIRES_SCALE: u32 = 8;
const MOST_CLIP_SKIP: u32 = 12;
const MAX_GUIDANCE: f64 = 100.0;

const FLUX: &str = "flux_text_to_image";
const IMAGE_TO_IMAGE: &str = "image_to_image";
const SETTINGS: &str = "alwayson_scripts.override_settings";
const CLIP_SKIP: &str = "CLIP_stop_at_last_layers";
const PICTURE: &str = "alwayson_scripts.image_link";
const MASK: &str = "alwayson_scripts.mask_link";

impl Generation {
    /// Reads a request of `text_to_image`, `image_to_image`, `controlnet` or `flux_text_to_image`, and fills in what the
    /// caller left out.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field whose value no back end could use.
    pub fn read(request: &JobRequest) -> Result<Self, EngineError> {
        let mut fields: Fields = request.view()?;
        let operation = request.operation();
        let is_flux = operation.id == FLUX;
        let batches = whole("n_iter", fields.n_iter.unwrap_or(1), 1, MOST_PICTURES)?;
        let batch_size = whole("batch_size", fields.batch_size.unwrap_or(1), 1, MOST_PICTURES)?;
        if batches * batch_size > MOST_PICTURES {
            let problem = format!(
                "{batches} given, with a `batch_size` of {batch_size} that makes {} pictures; at most {MOST_PICTURES} are \
                 made for one request",
                batches * batch_size
            );
            return Err(EngineError::rejected("n_iter", problem));
        }
        let checkpoint = match is_flux {
            true => Checkpoint::Flux(fields::flux(fields.comfy_task_type.as_deref())?),
            false => Checkpoint::Named(fields.alwayson_scripts.sd_model_checkpoint.clone().unwrap_or_default()),
        };
        let default_steps = match checkpoint {
            Checkpoint::Flux(FluxVariant::Schnell) => DEFAULT_SCHNELL_STEPS,
            _ => DEFAULT_STEPS,
        };
        let guidance = match is_flux {
            true => number("fluxGuidance", fields.flux_guidance.unwrap_or(DEFAULT_FLUX_GUIDANCE), 0.0, MAX_GUIDANCE)?,
            false => number("cfg_scale", fields.cfg_scale.unwrap_or(DEFAULT_CFG), 0.0, MAX_GUIDANCE)?,
        };
        let negative_prompt = fields.negative_prompt.take().unwrap_or_default();
        let (width, height) = (side("width", fields.width)?, side("height", fields.height)?);
        let steps = whole("steps", fields.steps.unwrap_or(default_steps), 1, MAX_STEPS)?;
        let start = start(operation.id, &fields)?;
        let mut settings = std::mem::take(&mut fields.alwayson_scripts.override_settings);
        Ok(Self {
            operation,
            checkpoint,
            vae: fields.alwayson_scripts.sd_vae.clone().filter(|vae| !is_automatic(vae)),
            prompt: prompt(&fields.prompt, &negative_prompt)?,
            negative_prompt,
            width,
            height,
            steps,
            guidance,
            sampling: fields.sampler_index.as_deref().map(Sampling::parse),
            seed: fields::seed(fields.seed.as_ref(), batches * batch_size)?,
            batches,
            batch_size,
            clip_skip: clip_skip(settings.remove(CLIP_SKIP).as_ref())?,
            hires: hires(&fields, (width, height), steps)?,
            restore_faces: fields.restore_faces.unwrap_or(false),
            control: control(&fields, start.is_some())?,
            start,
            detailer: fields.alwayson_scripts.detailer.take(),
            format: format(fields.alwayson_scripts.output_image_format.as_deref())?,
            scripts: fields.alwayson_scripts.others,
            settings,
            members: fields.members,
        })
    }
}

fn is_automatic(vae: &str) -> bool {
    vae.trim().is_empty() || vae.eq_ignore_ascii_case("automatic")
}

fn prompt(text: &str, negative: &str) -> Result<Prompt, EngineError> {
    let rejected = |field: &'static str| move |problem: String| EngineError::rejected(field, problem);
    let unused = Prompt::parse(negative).map_err(rejected("negative_prompt"))?;
    if let Some(lora) = unused.loras.first() {
        let problem = format!("names the LoRA \"{}\", which has no effect there; name it in `prompt`", lora.name);
        return Err(EngineError::rejected("negative_prompt", problem));
    }
    Prompt::parse(text).map_err(rejected("prompt"))
}

fn side(field: &str, given: Option<i64>) -> Result<u32, EngineError> {
    whole(field, given.unwrap_or(DEFAULT_SIDE), 1, MAX_SIDE)
}

fn clip_skip(given: Option<&serde_json::Value>) -> Result<u32, EngineError> {
    let Some(given) = given else { return Ok(1) };
    let field = format!("{SETTINGS}.{CLIP_SKIP}");
    match given.as_i64() {
        Some(number) => whole(&field, number, 1, MOST_CLIP_SKIP),
        None => {
            Err(EngineError::rejected(field, format!("{given} given; give a whole number from 1 to {MOST_CLIP_SKIP}")))
        }
    }
}

fn format(given: Option<&str>) -> Result<Format, EngineError> {
    let rejected = |error: imgopen_engine::UnknownFormat| {
        EngineError::rejected("alwayson_scripts.output_image_format", error.to_string())
    };
    given.map_or(Ok(Format::Png), |given| given.parse().map_err(rejected))
}

fn start(operation: &str, fields: &Fields) -> Result<Option<Start>, EngineError> {
    if fields.alwayson_scripts.image_link.is_none() {
        return Ok(None);
    }
    // The latent fit of the web UI belongs to its img2img alone.
    let most = if operation == IMAGE_TO_IMAGE { 3 } else { 2 };
    let fit = fields.resize_mode.map_or(Ok(Fit::Stretch), |mode| fields::fit("resize_mode", Some(mode), most))?;
    Ok(Some(Start {
        picture: PICTURE,
        fit,
        strength: number("denoising_strength", fields.denoising_strength.unwrap_or(DEFAULT_STRENGTH), 0.0, 1.0)?,
        noise_multiplier: optional("initial_noise_multiplier", fields.initial_noise_multiplier, 10.0)?,
        picture_guidance: optional("image_cfg_scale", fields.image_cfg_scale, MAX_GUIDANCE)?,
        mask: mask(fields)?,
    }))
}

fn optional(field: &str, given: Option<f64>, most: f64) -> Result<Option<f64>, EngineError> {
    given.map(|given| number(field, given, 0.0, most)).transpose()
}

fn mask(fields: &Fields) -> Result<Option<Mask>, EngineError> {
    if fields.alwayson_scripts.mask_link.is_none() {
        return Ok(None);
    }
    let both = fields.mask_blur.unwrap_or(DEFAULT_MASK_BLUR);
    let blur = |field: &str, own: Option<i64>| whole(field, own.unwrap_or(both), 0, 256);
    let fill = match whole("inpainting_fill", fields.inpainting_fill.unwrap_or(1), 0, 3)? {
        0 => Fill::Around,
        1 => Fill::Original,
        2 => Fill::Noise,
        _ => Fill::Nothing,
    };
    let padding =
        whole("inpaint_full_res_padding", fields.inpaint_full_res_padding.unwrap_or(DEFAULT_PADDING), 0, 1024)?;
    let invert = whole("inpainting_mask_invert", fields.inpainting_mask_invert.unwrap_or(0), 0, 1)?;
    Ok(Some(Mask {
        picture: MASK,
        blur: (blur("mask_blur_x", fields.mask_blur_x)?, blur("mask_blur_y", fields.mask_blur_y)?),
        fill,
        only_masked: fields.inpaint_full_res.unwrap_or(false).then_some(padding),
        inverted: invert == 1,
    }))
}

/// The size of the hi-res fix wins over its scale; of one side, the other follows. 0 is none, as in the web UI.
fn hires(fields: &Fields, (width, height): (u32, u32), steps: u32) -> Result<Option<Hires>, EngineError> {
    if !fields.enable_hr.unwrap_or(false) {
        return Ok(None);
    }
    let size = |field: &str, given: Option<i64>| whole(field, given.unwrap_or(0), 0, MAX_SIDE);
    let (x, y) = (size("hr_resize_x", fields.hr_resize_x)?, size("hr_resize_y", fields.hr_resize_y)?);
    let scale = whole("hr_scale", fields.hr_scale.unwrap_or(2), 1, MOST_HIRES_SCALE)?;
    let (scale, (field, large, high)) = match (x, y) {
        (0, 0) => (Some(scale), ("hr_scale", width * scale, height * scale)),
        (x, 0) => (None, ("hr_resize_x", x, x * height / width)),
        (0, y) => (None, ("hr_resize_y", y * width / height, y)),
        (x, y) => (None, ("hr_resize_x", x, y)),
    };
    if large > MAX_SIDE || high > MAX_SIDE || large == 0 || high == 0 {
        let problem = format!("makes {large}x{high} pixels of {width}x{height}; at most {MAX_SIDE} a side are made");
        return Err(EngineError::rejected(field, problem));
    }
    let second = whole("hr_second_pass_steps", fields.hr_second_pass_steps.unwrap_or(0), 0, MAX_STEPS)?;
    Ok(Some(Hires {
        width: large,
        height: high,
        scale,
        steps: if second == 0 { steps } else { second },
        upscaler: fields.hr_upscaler.clone().unwrap_or_else(|| DEFAULT_UPSCALER.to_owned()),
        strength: number("denoising_strength", fields.denoising_strength.unwrap_or(DEFAULT_STRENGTH), 0.0, 1.0)?,
    }))
}

fn control(fields: &Fields, has_start: bool) -> Result<Vec<ControlUnit>, EngineError> {
    let (prefix, settings) = match (&fields.controlnet, &fields.alwayson_scripts.controlnet) {
        (Some(settings), _) => ("controlnet", settings),
        (None, Some(settings)) => ("alwayson_scripts.controlnet", settings),
        (None, None) => return Ok(Vec::new()),
    };
    let fit = fields.resize_mode.map_or(Ok(Fit::Stretch), |mode| fields::fit("resize_mode", Some(mode), 2))?;
    let units = settings.args.iter().enumerate();
    let units = units.map(|(index, unit)| ControlUnit::read(unit, format!("{prefix}.args[{index}]"), fit, has_start));
    let enabled = units.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
    if enabled.is_empty() {
        let problem = "no unit is enabled; enable one, or use `text_to_image`";
        return Err(EngineError::rejected(format!("{prefix}.args"), problem));
    }
    Ok(enabled)
}
