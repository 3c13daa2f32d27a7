//! Reads the answer of the server, and verifies that it is what was asked for.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use imgopen_engine::{EngineError, Monitor, Picture, PictureLimits};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::body::{Request, unknown_member};
use super::resolve::Resolved;
use crate::generation::{Checkpoint, FluxVariant, Generation};
use crate::http::{parse, shown};
use crate::verify::{Expected, Setting, finish};

/// The answer of `txt2img` and `img2img`. The pictures are most of it, and stay where they are.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    images: Vec<&'a str>,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// JSON as text.
    info: String,
}

/// What the server says about the pictures.
#[derive(Debug, Clone, Deserialize)]
struct Info {
    #[serde(default)]
    all_seeds: Vec<i64>,
    #[serde(default)]
    sd_model_name: Option<String>,
    #[serde(default)]
    sd_vae_name: Option<String>,
    #[serde(default)]
    infotexts: Vec<String>,
    /// 1 if a sheet of all pictures comes before them.
    #[serde(default)]
    index_of_first_image: usize,
    #[serde(default)]
    version: Option<String>,
}

/// The pictures of an answer.
#[derive(Debug)]
pub(super) struct Verified {
    pub pictures: Vec<Picture>,
    /// The version of the server, if it says so.
    pub version: Option<String>,
}

/// What an answer is verified against.
pub(super) struct Asked<'a> {
    pub generation: &'a Generation,
    pub resolved: &'a Resolved,
    pub request: &'a Request,
    pub seed: i64,
    /// The size of the finished pictures.
    pub size: (u32, u32),
    pub limits: &'a PictureLimits,
    /// The name of the back end.
    pub name: &'a str,
    /// Whether pictures name the LoRAs that were applied.
    pub reports_loras: bool,
}

/// Reads and verifies an answer. Blocks, for pictures are decoded.
pub(super) fn verified(body: &[u8], asked: &Asked<'_>, monitor: &Monitor) -> Result<Verified, EngineError> {
    let failed = |problem: String| {
        EngineError::Failed(format!("the back end `{}` did not make what was asked for: {problem}", asked.name))
    };
    let answer: Answer<'_> = text(body).map_err(failed)?;
    let info: Info = text(answer.info.as_bytes()).map_err(failed)?;
    if let Some(member) = unknown_member(&asked.request.body, &answer.parameters) {
        return Err(failed(format!("it does not know `{member}`, which it was sent")));
    }
    info.check(asked).map_err(failed)?;
    let pictures = pictures(&answer, &info, asked, monitor, &failed)?;
    Ok(Verified { pictures, version: info.version.map(|version| shown(&version)) })
}

fn text<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|_| match parse::<Value>(body) {
        Ok(_) => "its answer lacks what the API promises".to_owned(),
        Err(error) => error.to_string(),
    })
}

fn pictures(
    answer: &Answer<'_>,
    info: &Info,
    asked: &Asked<'_>,
    monitor: &Monitor,
    failed: &dyn Fn(String) -> EngineError,
) -> Result<Vec<Picture>, EngineError> {
    let count = asked.generation.pictures() as usize;
    // Behind the pictures come those that ControlNet made for itself.
    let images: Vec<&str> = answer.images.iter().skip(info.index_of_first_image).take(count).copied().collect();
    if images.len() < count {
        return Err(failed(format!("{count} pictures were asked for, and {} came back", images.len())));
    }
    let texts: Vec<Option<&String>> =
        (0..count).map(|index| info.infotexts.get(info.index_of_first_image + index)).collect();
    let mut pictures = Vec::with_capacity(count);
    for (index, (image, text)) in images.into_iter().zip(texts).enumerate() {
        monitor.check_cancelled()?;
        let file = BASE64_STANDARD.decode(image).map_err(|_| failed("a picture is not in Base64".to_owned()))?;
        let expected = expected(asked, asked.seed + index as i64);
        let text = text.map(String::as_str);
        pictures.push(finish(file, text, &expected, asked.generation.format, asked.limits).map_err(failed)?);
    }
    Ok(pictures)
}

impl Info {
    fn check(&self, asked: &Asked<'_>) -> Result<(), String> {
        let count = i64::from(asked.generation.pictures());
        if !self.all_seeds.iter().copied().eq(asked.seed..asked.seed + count) {
            return Err("it used other seeds".to_owned());
        }
        let wanted = asked.resolved.model_name.as_str();
        let used = self.sd_model_name.as_deref();
        if used != Some(wanted) {
            return Err(format!("it was to use the model \"{wanted}\", and reports \"{}\"", used.unwrap_or_default()));
        }
        match &asked.resolved.vae {
            Some(wanted) if self.sd_vae_name.as_ref() != Some(wanted) => {
                Err(format!("it was to use the VAE \"{wanted}\", and does not report it"))
            }
            _ => Ok(()),
        }
    }
}

/// What a picture must report.
fn expected(asked: &Asked<'_>, seed: i64) -> Expected {
    let (generation, resolved) = (asked.generation, asked.resolved);
    let is_flux = generation.is_flux();
    let mut settings = vec![
        ("Steps", Setting::Number(f64::from(generation.steps))),
        ("Sampler", Setting::Text(resolved.sampler.clone())),
        ("CFG scale", Setting::Number(if is_flux { 1.0 } else { generation.guidance })),
        ("Size", Setting::Text(format!("{}x{}", generation.width, generation.height))),
        ("Model", Setting::Text(resolved.model_name.clone())),
        ("Clip skip", Setting::NumberUnless(f64::from(generation.clip_skip), 1.0)),
    ];
    if let Some(schedule) = &resolved.schedule {
        settings.push(("Schedule type", Setting::Text(schedule.clone())));
    }
    match generation.checkpoint {
        Checkpoint::Flux(FluxVariant::Dev) => {
            settings.push(("Distilled CFG Scale", Setting::Number(generation.guidance)));
        }
        // It has none, which a note says.
        Checkpoint::Flux(FluxVariant::Schnell) | Checkpoint::Named(_) => {}
    }
    if let Some(start) = &generation.start {
        settings.push(("Denoising strength", Setting::Number(start.strength)));
    }
    if let Some(hires) = &generation.hires {
        settings.push(("Denoising strength", Setting::Number(hires.strength)));
        settings.push(("Hires upscaler", Setting::Text(hires.upscaler.clone())));
        settings.push(("Hires CFG Scale", Setting::NumberIfReported(generation.guidance)));
    }
    if generation.detailer.is_some() {
        settings.push(("ADetailer model", Setting::Reported));
    }
    let loras = generation.prompt.loras.iter().filter(|lora| asked.reports_loras && lora.weight != 0.0);
    Expected {
        size: asked.size,
        seed,
        settings,
        // The server leaves out what its list is written with.
        loras: loras.map(|lora| lora.name.replace([':', ','], "")).collect(),
    }
}
