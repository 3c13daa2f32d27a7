//! Checks a generation against what the server has, and finds the server's names for it.

use imgopen_engine::{EngineError, tags};

use super::class::LORA;
use super::lists::{Lists, find};
use super::sampling::Sampler;
use super::text::Text;
use crate::generation::{Checkpoint, ControlUnit, Generation};
use crate::kind::Kind;
use crate::refusals::{CHECKPOINT, FLUX, HIRES_OF_PICTURES, Refusals, Sides, schnell_note};
use crate::settings::{BackendSettings, FluxFiles};

const SIDES: Sides = Sides { multiple: 8, flux_multiple: 16, least: 16, most: None };
/// ComfyUI divides by it.
const MIN_STRENGTH: f64 = 0.01;

/// The server's names for what a generation asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolved {
    pub model: Model,
    pub sampler: Sampler,
    pub loras: Vec<Lora>,
    /// The VAE in place of the model's own.
    pub vae: Option<String>,
    /// The text encoders in place of the model's own.
    pub encoders: Option<[String; 2]>,
    pub upscaler: Option<Upscaler>,
    /// The models of ControlNet units.
    pub control: Vec<String>,
    pub prompt: String,
    pub negative_prompt: String,
    /// What the caller should know.
    pub notes: Vec<String>,
}

/// Where the model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Model {
    /// A checkpoint with all its parts.
    Checkpoint(String),
    /// A diffusion model alone.
    Diffusion(String),
}

/// A LoRA with its weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lora {
    pub file: String,
    pub weight: f64,
    pub text_weight: f64,
}

/// What enlarges pictures for the hi-res fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Upscaler {
    /// The latent picture, by this method.
    Latent(&'static str),
    /// The picture, by this method.
    Filter(&'static str),
    /// A model.
    Model(String),
}

impl Model {
    /// Returns the name of the file.
    pub(super) fn file(&self) -> &str {
        match self {
            Model::Checkpoint(file) | Model::Diffusion(file) => file,
        }
    }
}

/// The names of the web UI's upscalers that need no model.
const UPSCALERS: &[(&str, Upscaler)] = &[
    ("Latent", Upscaler::Latent("bilinear")),
    ("Latent (bicubic)", Upscaler::Latent("bicubic")),
    ("Latent (nearest-exact)", Upscaler::Latent("nearest-exact")),
    ("Lanczos", Upscaler::Filter("lanczos")),
    ("Nearest", Upscaler::Filter("nearest-exact")),
    // The web UI enlarges with Lanczos then.
    ("None", Upscaler::Filter("lanczos")),
];

/// Looks up what a generation asks for.
pub(super) fn resolve(
    generation: &Generation,
    lists: &Lists,
    settings: &BackendSettings,
    name: &str,
) -> Result<Resolved, EngineError> {
    let backend = Refusals { name, program: Kind::ComfyUi.program() };
    Resolver { generation, lists, settings, backend, notes: Vec::new() }.resolve()
}

struct Resolver<'a> {
    generation: &'a Generation,
    lists: &'a Lists,
    settings: &'a BackendSettings,
    backend: Refusals<'a>,
    notes: Vec<String>,
}

impl Resolver<'_> {
    fn resolve(mut self) -> Result<Resolved, EngineError> {
        self.backend.check_sides(self.generation, SIDES, SIDES)?;
        self.check_start()?;
        self.backend.check_syntax(self.generation)?;
        let (model, encoders, own_vae) = self.model()?;
        let sampler = self.sampler()?;
        let loras = self.loras()?;
        let vae = match &self.generation.vae {
            Some(vae) => Some(self.listed("VAELoader", "vae_name", "alwayson_scripts.sd_vae", "VAE", vae)?),
            None => own_vae,
        };
        let upscaler = self.upscaler()?;
        let control = self.generation.control.iter().map(|unit| self.unit(unit)).collect::<Result<Vec<_>, _>>()?;
        let translate =
            |text: &str, field: &str| Text::translate(text, field, &self.lists.embeddings, self.backend.name);
        let prompt = translate(&self.generation.prompt.text, "prompt")?;
        let negative_prompt = translate(&self.generation.negative_prompt, "negative_prompt")?;
        self.note(&sampler, prompt.has_weights || negative_prompt.has_weights);
        Ok(Resolved {
            model,
            sampler,
            loras,
            vae,
            encoders,
            upscaler,
            control,
            prompt: prompt.text,
            negative_prompt: negative_prompt.text,
            notes: self.notes,
        })
    }

    fn check_start(&self) -> Result<(), EngineError> {
        let Generation { start, hires, .. } = self.generation;
        let strengths = [start.as_ref().map(|start| start.strength), hires.as_ref().map(|hires| hires.strength)];
        if let Some(strength) = strengths.into_iter().flatten().find(|strength| *strength < MIN_STRENGTH) {
            let problem = format!("a strength of {strength}; it redraws from {MIN_STRENGTH}");
            return Err(self.backend.refused("denoising_strength", &problem));
        }
        if start.is_some() && hires.is_some() {
            return Err(self.backend.refused("enable_hr", HIRES_OF_PICTURES));
        }
        self.backend.check_fit(self.generation)
    }

    /// Returns the model, and for FLUX.1 the text encoders and the VAE that the operator named.
    fn model(&self) -> Result<Files, EngineError> {
        match &self.generation.checkpoint {
            Checkpoint::Named(name) => {
                let file = self.listed("CheckpointLoaderSimple", "ckpt_name", CHECKPOINT, "model", name)?;
                Ok((Model::Checkpoint(file), None, None))
            }
            Checkpoint::Flux(variant) => {
                let files = self.settings.flux_files(*variant).ok_or_else(|| self.backend.without_files(*variant))?;
                flux(files, self.lists)
                    .map_err(|problem| self.backend.refused(FLUX, &format!("it: it lacks {problem}")))
            }
        }
    }

    fn sampler(&self) -> Result<Sampler, EngineError> {
        let listed = self.lists.listed("KSampler", "sampler_name");
        let asked = self.generation.sampling.as_ref();
        let missing = || {
            let asked = asked.map(|asked| asked.joint.as_str()).unwrap_or_default();
            self.backend.missing("sampler_index", "sampler", asked, &Sampler::names(&listed))
        };
        let sampler = Sampler::find(asked, self.generation.is_flux(), &listed).ok_or_else(missing)?;
        let schedules = self.lists.listed("KSampler", "scheduler");
        match schedules.iter().any(|known| known == sampler.scheduler) {
            true => Ok(sampler),
            false => Err(missing()),
        }
    }

    fn loras(&self) -> Result<Vec<Lora>, EngineError> {
        let listed = self.lists.listed("LoraLoader", LORA);
        let uses = self.generation.prompt.loras.iter();
        let loras = uses.map(|lora| {
            let unknown = || EngineError::rejected("prompt", tags::unknown_lora(&lora.name));
            let file = find(&listed, &lora.name).cloned().ok_or_else(unknown)?;
            Ok(Lora { file, weight: lora.weight, text_weight: lora.text_weight })
        });
        loras.collect()
    }

    fn upscaler(&self) -> Result<Option<Upscaler>, EngineError> {
        let Some(hires) = &self.generation.hires else { return Ok(None) };
        let asked = hires.upscaler.as_str();
        if let Some((_, known)) = UPSCALERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(asked)) {
            return Ok(Some(known.clone()));
        }
        let listed = self.lists.listed("UpscaleModelLoader", "model_name");
        let names =
            || UPSCALERS.iter().map(|(name, _)| (*name).to_owned()).chain(listed.iter().cloned()).collect::<Vec<_>>();
        let found = find(&listed, asked).cloned();
        found
            .map(|model| Some(Upscaler::Model(model)))
            .ok_or_else(|| self.backend.missing("hr_upscaler", "upscaler", asked, &names()))
    }

    fn unit(&self, unit: &ControlUnit) -> Result<String, EngineError> {
        let field = format!("{}.model", unit.path);
        let model = self.backend.control_model(unit)?;
        // The web UI's names end with a hash.
        let plain = model.rsplit_once(" [").map_or(model, |(plain, _)| plain);
        self.listed("ControlNetLoader", "control_net_name", &field, "ControlNet model", plain)
    }

    /// Collects what the caller should know about the result.
    fn note(&mut self, sampler: &Sampler, has_weights: bool) {
        if sampler.is_adaptive() {
            self.notes.push("`steps`: the sampler DPM adaptive chooses its own steps".to_owned());
        }
        self.notes.extend(schnell_note(self.generation));
        if has_weights {
            self.notes
                .push("`prompt`: ComfyUI does not normalise weights in parentheses as the web UI does".to_owned());
        }
    }

    fn listed(&self, class: &str, input: &str, field: &str, what: &str, asked: &str) -> Result<String, EngineError> {
        let listed = self.lists.listed(class, input);
        find(&listed, asked).cloned().ok_or_else(|| self.backend.missing(field, what, asked, &listed))
    }
}

/// The model, its text encoders, and its VAE, where they are not those of a checkpoint.
type Files = (Model, Option<[String; 2]>, Option<String>);

/// Finds the files of FLUX.1 that an operator named: a checkpoint, or a diffusion model with two text encoders and a
/// VAE.
///
/// # Errors
///
/// Says what is missing.
pub(super) fn flux(files: &FluxFiles, lists: &Lists) -> Result<Files, String> {
    let checkpoint = find(&lists.listed("CheckpointLoaderSimple", "ckpt_name"), &files.checkpoint).cloned();
    let diffusion = || find(&lists.listed("UNETLoader", "unet_name"), &files.checkpoint).cloned();
    let model = checkpoint.map(Model::Checkpoint).or_else(|| diffusion().map(Model::Diffusion));
    let unlisted = |name: &str| format!("the file \"{name}\", which the settings name and the server does not list");
    let model = model.ok_or_else(|| unlisted(&files.checkpoint))?;
    let (mut encoders, mut vae) = (Vec::new(), None);
    for module in &files.modules {
        if let Some(encoder) = find(&lists.listed("DualCLIPLoader", "clip_name1"), module) {
            encoders.push(encoder.clone());
        } else if let Some(found) = find(&lists.listed("VAELoader", "vae_name"), module) {
            vae = Some(found.clone());
        } else {
            return Err(unlisted(module));
        }
    }
    let encoders = match (encoders.len(), &model) {
        (0, Model::Checkpoint(_)) => None,
        _ => Some(<[String; 2]>::try_from(encoders).map_err(|found| {
            format!("two text encoders, CLIP-L and T5; the settings name {} in `modules`", found.len())
        })?),
    };
    if vae.is_none() && matches!(model, Model::Diffusion(_)) {
        return Err("a VAE; name it in the settings, in `modules`".to_owned());
    }
    Ok((model, encoders, vae))
}
