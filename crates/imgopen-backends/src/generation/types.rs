//! What a generation consists of.

use imgopen_engine::{EngineError, Format, PictureLimits};
use imgopen_types::Operation;
use serde_json::{Map, Value};

use super::control::ControlUnit;
use super::fit::Fit;
use super::flux::FluxVariant;
use super::prompt::Prompt;
use super::sampling::Sampling;

/// The most pictures that one request makes.
pub const MOST_PICTURES: u32 = 64;
/// The longest side of a picture, in pixels.
pub const MAX_SIDE: u32 = 4096;
/// The most diffusion steps of a picture.
pub const MAX_STEPS: u32 = 1000;

/// Bytes for each pixel of a picture: as the server sends it, decoded, and encoded.
pub(crate) const PIXEL: u64 = 17;

/// The pictures to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The operation that asks for them.
    pub operation: &'static Operation,
    /// The model that makes them.
    pub checkpoint: Checkpoint,
    /// The VAE to use in place of the model's own.
    pub vae: Option<String>,
    /// What the pictures show.
    pub prompt: Prompt,
    /// What they do not show.
    pub negative_prompt: String,
    /// The width before the hi-res fix, in pixels.
    pub width: u32,
    /// The height before the hi-res fix, in pixels.
    pub height: u32,
    /// The diffusion steps of each picture.
    pub steps: u32,
    /// How closely the pictures follow the prompt: the CFG scale, or the guidance of FLUX.1.
    pub guidance: f64,
    /// The sampling method, if the request names one.
    pub sampling: Option<Sampling>,
    /// The seed of the first picture; each further one counts up from it. `None` asks for a random one.
    pub seed: Option<i64>,
    /// How many batches are made, one after the other.
    pub batches: u32,
    /// How many pictures each batch has.
    pub batch_size: u32,
    /// The layer of CLIP to stop at, counted from the last; 1 uses all.
    pub clip_skip: u32,
    /// The picture to start from; without one, pictures are made from noise.
    pub start: Option<Start>,
    /// The second pass at a larger size.
    pub hires: Option<Hires>,
    /// Whether faces are repaired afterwards.
    pub restore_faces: bool,
    /// The ControlNet units that are enabled.
    pub control: Vec<ControlUnit>,
    /// The settings of the ADetailer plug-in.
    pub detailer: Option<Value>,
    /// Other scripts of the web UI, by name.
    pub scripts: Map<String, Value>,
    /// Other settings of the web UI.
    pub settings: Map<String, Value>,
    /// Other members of the request.
    pub members: Map<String, Value>,
    /// The format of the result files.
    pub format: Format,
}

/// The model that makes the pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpoint {
    /// A Stable Diffusion model by its name in `list_models`.
    Named(String),
    /// A variant of FLUX.1, which the operator maps to files.
    Flux(FluxVariant),
}

/// The picture to start from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The field that names the picture.
    pub picture: &'static str,
    /// How the picture is fitted to the size.
    pub fit: Fit,
    /// How far it may be redrawn, from 0 to 1.
    pub strength: f64,
    /// Multiple of the noise that is added.
    pub noise_multiplier: Option<f64>,
    /// How closely the pictures follow it, for models that were trained to edit.
    pub picture_guidance: Option<f64>,
    /// What is redrawn; without a mask, all of it.
    pub mask: Option<Mask>,
}

/// The part of a picture that is redrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The field that names the mask, in which white is redrawn.
    pub picture: &'static str,
    /// The blur of its edge in pixels, horizontally and vertically.
    pub blur: (u32, u32),
    /// What fills the part before it is redrawn.
    pub fill: Fill,
    /// The margin in pixels, if only the part with its margin is redrawn, at the full size.
    pub only_masked: Option<u32>,
    /// Whether black is redrawn in place of white.
    pub inverted: bool,
}

/// What fills the masked part before it is redrawn. The values of `inpainting_fill` in the web UI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// 0: the blurred colours around it.
    Around,
    /// 1: the picture itself.
    Original,
    /// 2: noise in the latent space.
    Noise,
    /// 3: nothing in the latent space.
    Nothing,
}

/// The second pass at a larger size.
#[derive(Debug, Clone, PartialEq)]
pub struct Hires {
    /// The final width in pixels.
    pub width: u32,
    /// The final height in pixels.
    pub height: u32,
    /// The multiple, if the request asked for one and not for a size.
    pub scale: Option<u32>,
    /// The diffusion steps.
    pub steps: u32,
    /// The upscaler.
    pub upscaler: String,
    /// How far the enlarged picture may be redrawn, from 0 to 1.
    pub strength: f64,
}

impl Generation {
    /// Returns how many pictures are made in all.
    pub fn pictures(&self) -> u32 {
        self.batches * self.batch_size
    }

    /// Returns whether FLUX.1 makes them.
    pub(crate) fn is_flux(&self) -> bool {
        matches!(self.checkpoint, Checkpoint::Flux(_))
    }

    /// Returns the bytes that the finished pictures take here.
    pub(crate) fn memory(&self) -> u64 {
        let (width, height) = self.final_size();
        u64::from(self.pictures()) * u64::from(width) * u64::from(height) * PIXEL
    }

    /// Rejects pictures that are larger than results may be.
    pub(crate) fn check_pixels(&self, limits: &PictureLimits) -> Result<(), EngineError> {
        let ((width, height), limit) = (self.final_size(), limits.pixels);
        if u64::from(width) * u64::from(height) > limit {
            let problem = format!("{width}x{height} pixels asked for; at most {limit} pixels in all are allowed");
            return Err(EngineError::rejected("width", problem));
        }
        Ok(())
    }

    /// Returns the size of the finished pictures.
    pub fn final_size(&self) -> (u32, u32) {
        self.hires.as_ref().map_or((self.width, self.height), |hires| (hires.width, hires.height))
    }
}

impl Fill {
    /// Returns the value of `inpainting_fill`.
    pub const fn number(self) -> u8 {
        match self {
            Fill::Around => 0,
            Fill::Original => 1,
            Fill::Noise => 2,
            Fill::Nothing => 3,
        }
    }
}
