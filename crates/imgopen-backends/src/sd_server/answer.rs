//! Reads the pictures of a job that has ended, and verifies that they are what was asked for.
//!
//! The text of each picture ends with what was used, as JSON behind `SDCPP: `.

use std::collections::BTreeMap;
use std::fmt::Debug;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use imgopen_engine::{EngineError, Monitor, Picture, PictureLimits};
use serde::Deserialize;

use super::body::clip_skip;
use super::inputs::Inputs;
use super::resolve::{Resolved, is_file};
use super::served::Served;
use crate::generation::{Checkpoint, Generation};
use crate::http::shown;
use crate::pictures::put_back;
use crate::verify::{encoded, opened, written};

/// How far numbers may differ, which the server keeps with 32 bits, as a share.
const TOLERANCE: f64 = 1e-5;
/// What comes before the JSON.
const MARK: &str = "SDCPP: ";

/// The last state of a job. The pictures are most of it, and stay where they are.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Option<Made<'a>>,
}

#[derive(Debug, Deserialize)]
struct Made<'a> {
    #[serde(borrow)]
    images: Vec<Image<'a>>,
}

#[derive(Debug, Deserialize)]
struct Image<'a> {
    b64_json: &'a str,
}

/// What the server says it used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Used {
    seed: Option<i64>,
    width: Option<u32>,
    height: Option<u32>,
    clip_skip: Option<i64>,
    strength: Option<f64>,
    control_strength: Option<f64>,
    prompt: UsedPrompt,
    sampling: UsedSampling,
    loras: Vec<UsedLora>,
    models: BTreeMap<String, String>,
    hires: Option<UsedHires>,
    generator: Generator,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct UsedPrompt {
    positive: String,
    negative: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct UsedSampling {
    method: Option<String>,
    scheduler: Option<String>,
    steps: Option<u32>,
    guidance: UsedGuidance,
    custom_sigmas: Vec<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct UsedGuidance {
    txt_cfg: Option<f64>,
    img_cfg: Option<f64>,
    distilled_guidance: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
struct UsedLora {
    name: String,
    multiplier: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct UsedHires {
    upscaler: String,
    target_width: u32,
    target_height: u32,
    steps: u32,
    denoising_strength: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Generator {
    version: String,
    commit: String,
}

/// What an answer is verified against.
pub(super) struct Asked<'a> {
    pub generation: &'a Generation,
    pub resolved: &'a Resolved,
    pub served: &'a Served,
    pub inputs: &'a Inputs,
    /// The seed of the first picture of the job, and how many it makes.
    pub seeds: (i64, u32),
    pub limits: &'a PictureLimits,
    /// The name of the back end.
    pub name: &'a str,
}

/// The pictures of an answer, with the version of the server if it says so.
pub(super) type Verified = (Vec<Picture>, Option<String>);

impl Asked<'_> {
    /// Reads and verifies an answer. Blocks, because pictures are decoded.
    pub(super) fn verified(&self, body: &[u8], monitor: &Monitor) -> Result<Verified, EngineError> {
        let failed = |problem: String| {
            EngineError::Failed(format!("the back end `{}` did not make what was asked for: {problem}", self.name))
        };
        let answer: Answer<'_> =
            serde_json::from_slice(body).map_err(|_| failed("its answer lacks what the API promises".to_owned()))?;
        let images = answer.result.map(|made| made.images).unwrap_or_default();
        let (first, count) = self.seeds;
        if images.len() != count as usize {
            return Err(failed(format!("{count} pictures were asked for, and {} came back", images.len())));
        }
        let (mut pictures, mut version) = (Vec::with_capacity(images.len()), None);
        for (seed, image) in (first..).zip(images) {
            monitor.check_cancelled()?;
            let file = BASE64_STANDARD.decode(image.b64_json);
            let file = file.map_err(|_| failed("a picture is not in Base64".to_owned()))?;
            let (picture, own) = self.picture(file, seed).map_err(failed)?;
            pictures.push(picture);
            version = own.or(version);
        }
        Ok((pictures, version))
    }

    fn picture(&self, file: Vec<u8>, seed: i64) -> Result<(Picture, Option<String>), String> {
        let decoded = opened(&file, self.generation.final_size(), self.limits)?;
        let written_text = decoded.parameters.clone().unwrap_or_default();
        let text = utf8(&written_text);
        let used = Used::read(&text)?;
        self.check(&used, seed)?;
        let format = self.generation.format;
        let picture = match &self.inputs.under {
            Some((under, mask)) => {
                let image = put_back(&decoded.image, under, mask);
                encoded(&image.into(), decoded.profile.as_deref(), &text, seed, format)?
            }
            // Others would misread the text.
            None if text != written_text => encoded(&decoded.image, decoded.profile.as_deref(), &text, seed, format)?,
            None => written(file, &decoded, &text, seed, format)?,
        };
        Ok((picture, used.generator.version()))
    }

    fn check(&self, used: &Used, seed: i64) -> Result<(), String> {
        let Self { generation, resolved, .. } = self;
        same("seed", &Some(seed), &used.seed)?;
        same("width", &Some(generation.width), &used.width)?;
        same("height", &Some(generation.height), &used.height)?;
        same("prompt", &generation.prompt.text, &used.prompt.positive)?;
        same("negative prompt", &generation.negative_prompt, &used.prompt.negative)?;
        same("clip skip", &Some(clip_skip(generation)), &used.clip_skip)?;
        let sampling = &used.sampling;
        same("steps", &Some(generation.steps), &sampling.steps)?;
        same("sampler", &Some(resolved.sampler.clone()), &sampling.method)?;
        same("schedule", &Some(resolved.schedule.clone()), &sampling.scheduler)?;
        if !sampling.custom_sigmas.is_empty() {
            return Err("it used a schedule of its own".to_owned());
        }
        self.check_guidance(&sampling.guidance)?;
        self.check_model(used)?;
        self.check_loras(used)?;
        self.check_hires(used.hires.as_ref())?;
        if let Some(start) = &generation.start {
            near("strength", start.strength, used.strength)?;
        }
        Ok(())
    }

    fn check_guidance(&self, used: &UsedGuidance) -> Result<(), String> {
        let generation = self.generation;
        match generation.checkpoint {
            Checkpoint::Flux(_) => {
                near("CFG scale", 1.0, used.txt_cfg)?;
                near("guidance", generation.guidance, used.distilled_guidance)?;
            }
            Checkpoint::Named(_) => near("CFG scale", generation.guidance, used.txt_cfg)?,
        }
        match generation.start.as_ref().and_then(|start| start.picture_guidance) {
            Some(guidance) => near("picture guidance", guidance, used.img_cfg),
            None => Ok(()),
        }
    }

    fn check_model(&self, used: &Used) -> Result<(), String> {
        let model = |role: &str| used.models.get(role).cloned();
        same("model", &Some(self.served.file.clone()), &model("model").or_else(|| model("diffusion_model")))?;
        let parts = self.served.parts.as_ref();
        if let Some(vae) = parts.and_then(|parts| parts.vae.as_ref()) {
            same("VAE", &Some(vae.clone()), &model("vae"))?;
        }
        let Some(unit) = self.generation.control.first() else { return Ok(()) };
        let asked = unit.model.as_deref().unwrap_or_default();
        match model("control_net") {
            Some(loaded) if is_file(&loaded, asked) => near("ControlNet weight", unit.weight, used.control_strength),
            Some(loaded) => Err(differs("ControlNet model", &asked, &loaded)),
            None => Err("it was started without a ControlNet, and ignores control pictures".to_owned()),
        }
    }

    fn check_loras(&self, used: &Used) -> Result<(), String> {
        let mut used: Vec<&UsedLora> = used.loras.iter().collect();
        for (path, weight) in &self.resolved.loras {
            let name = path.rsplit('/').next().unwrap_or_default();
            let is = |lora: &&UsedLora| lora.name == name && is_near(*weight, lora.multiplier);
            let Some(at) = used.iter().position(is) else {
                return Err(format!(
                    "it does not report that the LoRA \"{name}\" was applied with the weight {weight}"
                ));
            };
            used.swap_remove(at);
        }
        match used.first() {
            Some(other) => Err(format!("it applied the LoRA \"{}\", which was not asked for", other.name)),
            None => Ok(()),
        }
    }

    fn check_hires(&self, used: Option<&UsedHires>) -> Result<(), String> {
        match (&self.generation.hires, used) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("it made a second pass, which was not asked for".to_owned()),
            (Some(_), None) => Err("it does not report the hi-res fix".to_owned()),
            (Some(asked), Some(used)) => {
                same("upscaler of the hi-res fix", &asked.upscaler, &used.upscaler)?;
                same("size of the hi-res fix", &(asked.width, asked.height), &(used.target_width, used.target_height))?;
                same("steps of the hi-res fix", &asked.steps, &used.steps)?;
                near("strength of the hi-res fix", asked.strength, Some(used.denoising_strength))
            }
        }
    }
}

impl Used {
    /// Reads the end of a text. A prompt may look like it, but not in the last line.
    fn read(text: &str) -> Result<Self, String> {
        let last = text.trim_end().rsplit('\n').next().unwrap_or_default();
        let json = last.split_once(MARK).map(|(_, json)| json).filter(|_| last.starts_with("Steps: "));
        let Some(json) = json else {
            return Err("it does not report how a picture was made, so that nothing can be verified".to_owned());
        };
        serde_json::from_str(json).map_err(|error| format!("what it reports of a picture cannot be read ({error})"))
    }
}

impl Generator {
    fn version(&self) -> Option<String> {
        let known = [&self.version, &self.commit].into_iter().filter(|text| !text.is_empty() && *text != "unknown");
        let version = known.map(String::as_str).collect::<Vec<_>>().join(" ");
        (!version.is_empty()).then(|| shown(&version))
    }
}

/// Returns a text that was written as UTF-8 where PNG has Latin-1, as this server does.
fn utf8(text: &str) -> String {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
}

fn differs(what: &str, asked: &dyn Debug, used: &dyn Debug) -> String {
    let shown = |value: &dyn Debug| match format!("{value:?}") {
        nothing if nothing == "None" => "nothing".to_owned(),
        some => some.strip_prefix("Some(").and_then(|some| some.strip_suffix(')')).unwrap_or(&some).to_owned(),
    };
    format!("the {what} was to be {}, and it reports {}", shown(asked), shown(used))
}

/// Compares two values, which may be such that are not reported at all.
fn same<T: PartialEq + Debug>(what: &str, asked: &T, used: &T) -> Result<(), String> {
    if asked == used { Ok(()) } else { Err(differs(what, asked, used)) }
}

fn is_near(asked: f64, used: f64) -> bool {
    (asked - used).abs() <= TOLERANCE * asked.abs().max(1.0)
}

fn near(what: &str, asked: f64, used: Option<f64>) -> Result<(), String> {
    match used {
        Some(used) if is_near(asked, used) => Ok(()),
        other => Err(differs(what, &asked, &other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_read_from_the_last_line() {
        let text = "a cat\nSteps: 9, SDCPP: {\"seed\": 1}\nNegative prompt: x\nSteps: 2, Version: stable-diffusion.cpp, SDCPP: \
                    {\"seed\": 7, \"prompt\": {\"positive\": \"SDCPP: {}\"}, \"later\": null}";
        let used = Used::read(text).unwrap();
        assert_eq!((used.seed, used.prompt.positive.as_str()), (Some(7), "SDCPP: {}"));
        for text in ["", "a cat", "SDCPP: {}", "Steps: 2, Seed: 7"] {
            assert!(Used::read(text).unwrap_err().contains("nothing can be verified"), "{text:?}");
        }
        assert!(Used::read("Steps: 2, SDCPP: {").unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_text_in_utf8_is_recognised() {
        let raw = |text: &str| text.bytes().map(char::from).collect::<String>();
        for text in ["a cat", "Leuchttürme bei Nacht", "灯台"] {
            assert_eq!(utf8(&raw(text)), text);
            assert_eq!(utf8(text), text, "already right");
        }
    }

    #[test]
    fn differences_are_said_without_names_of_types() {
        assert_eq!(differs("seed", &Some(7), &None::<i64>), "the seed was to be 7, and it reports nothing");
        assert_eq!(
            same("model", &Some("a"), &Some("b")),
            Err("the model was to be \"a\", and it reports \"b\"".to_owned())
        );
        assert!(
            near("CFG scale", 5.3, Some(f64::from(5.3_f32))).is_ok() && near("CFG scale", 5.3, Some(5.301)).is_err()
        );
    }
}
