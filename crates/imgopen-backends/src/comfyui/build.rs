//! Makes a graph of a generation: one picture for each graph.

use imgopen_engine::EngineError;
use serde_json::Value;

use super::class::LORA;
use super::graph::{Builder, Link, PREFIX, SAVE};
use super::lists::Lists;
use super::resolve::{Model, Resolved, Upscaler};
use crate::generation::{Checkpoint, FluxVariant, Generation, Hires};

/// The names of uploaded pictures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Uploads {
    pub start: Option<String>,
    pub mask: Option<String>,
    /// One for each ControlNet unit.
    pub control: Vec<String>,
}

/// A graph for one picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub graph: Value,
    /// The nodes that make steps, with the steps of each.
    pub passes: Vec<(String, u32)>,
}

impl Picture {
    /// Returns how many steps it takes; 0 if that is not known.
    pub(super) fn steps(&self) -> u32 {
        self.passes.iter().map(|(_, steps)| steps).sum()
    }
}

/// The parts that a model consists of.
struct Parts {
    model: Link,
    encoder: Link,
    vae: Link,
}

/// Builds the graph of the picture with that seed, whose file's name begins with `prefix`.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the server lacks a node, or an input of one.
pub(super) fn picture(
    (generation, resolved): (&Generation, &Resolved),
    (lists, name): (&Lists, &str),
    uploads: &Uploads,
    seed: i64,
    prefix: &str,
) -> Result<Picture, EngineError> {
    let mut graph = Builder::new(lists, name);
    let Parts { model, encoder, vae } = parts(&mut graph, generation, resolved)?;
    let encode = |graph: &mut Builder<'_>, text: &str| {
        graph.node("CLIPTextEncode").input("text", text).input("clip", &encoder).add()
    };
    let mut positive = encode(&mut graph, &resolved.prompt)?;
    let mut negative = encode(&mut graph, &resolved.negative_prompt)?;
    if generation.checkpoint == Checkpoint::Flux(FluxVariant::Dev) {
        let guided = graph.node("FluxGuidance").input("conditioning", &positive);
        positive = guided.input("guidance", generation.guidance).add()?;
    }
    for (index, model) in resolved.control.iter().enumerate() {
        let unit = &generation.control[index];
        let picture = load(&mut graph, uploads.control.get(index))?;
        let net = graph.node("ControlNetLoader").input("control_net_name", model.as_str()).add()?;
        (positive, negative) = if graph.has("ControlNetApplyAdvanced") {
            let node = graph.node("ControlNetApplyAdvanced").input("positive", &positive).input("negative", &negative);
            let node = node.input("control_net", &net).input("image", &picture).input("strength", unit.weight);
            let node = node.input("start_percent", unit.start).input("end_percent", unit.end);
            let applied = node.optional("vae", &vae).add()?;
            (applied.clone(), applied.output(1))
        } else {
            if (unit.start, unit.end) != (0.0, 1.0) {
                let problem = format!("the back end `{name}` (ComfyUI) applies ControlNet to all steps; update it");
                return Err(EngineError::rejected(format!("{}.guidance_start", unit.path), problem));
            }
            let node = graph.node("ControlNetApply").input("conditioning", &positive).input("control_net", &net);
            (node.input("image", &picture).input("strength", unit.weight).add()?, negative)
        };
    }
    let latent = latent(&mut graph, generation, uploads, &vae)?;
    let sample = |graph: &mut Builder<'_>, latent: &Link, steps: u32, strength: f64| {
        let node = graph.node("KSampler").input("model", &model).input("positive", &positive);
        let node = node.input("negative", &negative).input("latent_image", latent).input("seed", seed);
        let cfg = if generation.is_flux() { 1.0 } else { generation.guidance };
        let node = node.input("steps", steps).input("cfg", cfg).input("denoise", strength);
        let node = node.input("sampler_name", resolved.sampler.sampler.as_str());
        node.input("scheduler", resolved.sampler.scheduler).add()
    };
    let strength = generation.start.as_ref().map_or(1.0, |start| start.strength);
    let mut made = sample(&mut graph, &latent, generation.steps, strength)?;
    let mut passes = vec![(made.node().to_owned(), generation.steps)];
    if let (Some(hires), Some(upscaler)) = (&generation.hires, &resolved.upscaler) {
        let larger = enlarged(&mut graph, hires, upscaler, &made, &vae)?;
        made = sample(&mut graph, &larger, hires.steps, hires.strength)?;
        passes.push((made.node().to_owned(), hires.steps));
    }
    let image = graph.node("VAEDecode").input("samples", &made).input("vae", &vae).add()?;
    graph.node(SAVE).input("images", &image).input(PREFIX, prefix).add()?;
    Ok(Picture { graph: graph.finish(), passes })
}

fn parts(graph: &mut Builder<'_>, generation: &Generation, resolved: &Resolved) -> Result<Parts, EngineError> {
    let (mut model, loaded) = match &resolved.model {
        Model::Checkpoint(file) => {
            let loaded = graph.node("CheckpointLoaderSimple").input("ckpt_name", file.as_str()).add()?;
            (loaded.clone(), Some(loaded))
        }
        Model::Diffusion(file) => {
            let node = graph.node("UNETLoader").input("unet_name", file.as_str());
            (node.optional("weight_dtype", "default").add()?, None)
        }
    };
    let own = |output: u32| loaded.as_ref().map(|loaded| loaded.output(output));
    let encoder = match &resolved.encoders {
        Some([first, second]) => {
            let node = graph.node("DualCLIPLoader").input("clip_name1", first.as_str());
            Some(node.input("clip_name2", second.as_str()).input("type", "flux").add()?)
        }
        None => own(1),
    };
    let vae = match &resolved.vae {
        Some(vae) => Some(graph.node("VAELoader").input("vae_name", vae.as_str()).add()?),
        None => own(2),
    };
    let absent = || EngineError::Failed("a model without its text encoders and VAE was resolved".to_owned());
    let (mut encoder, vae) = (encoder.ok_or_else(absent)?, vae.ok_or_else(absent)?);
    for lora in &resolved.loras {
        let node = graph.node("LoraLoader").input("model", &model).input("clip", &encoder);
        let node = node.input(LORA, lora.file.as_str()).input("strength_model", lora.weight);
        model = node.input("strength_clip", lora.text_weight).add()?;
        encoder = model.output(1);
    }
    if generation.clip_skip > 1 {
        let layer = -i64::from(generation.clip_skip);
        encoder = graph.node("CLIPSetLastLayer").input("clip", &encoder).input("stop_at_clip_layer", layer).add()?;
    }
    Ok(Parts { model, encoder, vae })
}

fn load(graph: &mut Builder<'_>, file: Option<&String>) -> Result<Link, EngineError> {
    let absent = || EngineError::Failed("a picture was not uploaded".to_owned());
    graph.node("LoadImage").input("image", file.ok_or_else(absent)?.as_str()).add()
}

/// What is sampled: noise, or the picture that is given.
fn latent(
    graph: &mut Builder<'_>,
    generation: &Generation,
    uploads: &Uploads,
    vae: &Link,
) -> Result<Link, EngineError> {
    let Some(start) = &generation.start else {
        // FLUX.1 has four times as many channels.
        let large = "EmptySD3LatentImage";
        let class = if generation.is_flux() && graph.has(large) { large } else { "EmptyLatentImage" };
        let node = graph.node(class).input("width", generation.width).input("height", generation.height);
        return node.input("batch_size", 1).add();
    };
    let picture = load(graph, uploads.start.as_ref())?;
    let latent = graph.node("VAEEncode").input("pixels", &picture).input("vae", vae).add()?;
    let (Some(_), Some(mask)) = (&start.mask, &uploads.mask) else { return Ok(latent) };
    let mask = graph.node("LoadImageMask").input("image", mask.as_str()).input("channel", "red").add()?;
    graph.node("SetLatentNoiseMask").input("samples", &latent).input("mask", &mask).add()
}

/// Enlarges a latent picture to the size of the second pass.
fn enlarged(
    graph: &mut Builder<'_>,
    hires: &Hires,
    upscaler: &Upscaler,
    made: &Link,
    vae: &Link,
) -> Result<Link, EngineError> {
    if let Upscaler::Latent(method) = upscaler {
        return match hires.scale {
            Some(scale) => {
                let node = graph.node("LatentUpscaleBy").input("samples", made).input("upscale_method", *method);
                node.input("scale_by", f64::from(scale)).add()
            }
            None => {
                let node = graph.node("LatentUpscale").input("samples", made).input("upscale_method", *method);
                node.input("width", hires.width).input("height", hires.height).input("crop", "disabled").add()
            }
        };
    }
    let mut image = graph.node("VAEDecode").input("samples", made).input("vae", vae).add()?;
    let method = match upscaler {
        Upscaler::Model(file) => {
            let model = graph.node("UpscaleModelLoader").input("model_name", file.as_str()).add()?;
            image = graph.node("ImageUpscaleWithModel").input("upscale_model", &model).input("image", &image).add()?;
            "lanczos"
        }
        Upscaler::Filter(method) | Upscaler::Latent(method) => method,
    };
    let node = graph.node("ImageScale").input("image", &image).input("upscale_method", method);
    let image = node.input("width", hires.width).input("height", hires.height).input("crop", "disabled").add()?;
    graph.node("VAEEncode").input("pixels", &image).input("vae", vae).add()
}
