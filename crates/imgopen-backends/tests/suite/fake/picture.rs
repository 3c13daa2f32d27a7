//! Draws pictures, and writes the text about each of them as Forge does.

use image::{Rgb, RgbImage};
use imgopen_picture::{Attached, Format, encode};
use serde_json::Value;

/// What a job makes, after everything that the server does not know was replaced.
#[derive(Debug, Clone)]
pub struct Made {
    pub prompt: String,
    pub negative_prompt: String,
    pub steps: i64,
    pub sampler: String,
    pub schedule: String,
    pub cfg_scale: f64,
    /// Of FLUX.1 alone. The source of Forge; not recorded.
    pub distilled: Option<f64>,
    /// As it was asked for.
    pub asked: (i64, i64),
    /// As it is.
    pub size: (u32, u32),
    pub strength: Option<f64>,
    pub clip_skip: i64,
    pub loras: Vec<String>,
    pub vae: Option<String>,
    /// Settings behind the clip skip.
    pub extra: String,
    /// Settings behind the names of LoRAs.
    pub control: String,
}

/// Returns the text about a picture.
pub fn infotext(made: &Made, seed: i64) -> String {
    let Made { prompt, negative_prompt, steps, sampler, schedule, asked: (width, height), .. } = made;
    let negative =
        if negative_prompt.is_empty() { String::new() } else { format!("\nNegative prompt: {negative_prompt}") };
    let optional =
        |name: &str, value: Option<String>| value.map(|value| format!(", {name}: {value}")).unwrap_or_default();
    let distilled = optional("Distilled CFG Scale", made.distilled.map(|guidance| format!("{guidance:?}")));
    let vae = optional("VAE", made.vae.clone());
    let strength = optional("Denoising strength", made.strength.map(|strength| strength.to_string()));
    let clip_skip = optional("Clip skip", (made.clip_skip > 1).then(|| made.clip_skip.to_string()));
    let hashes = made.loras.iter().map(|lora| format!("{lora}: 1235fd58d87f")).collect::<Vec<_>>().join(", ");
    let hashes = optional("Lora hashes", (!hashes.is_empty()).then(|| Value::from(hashes).to_string()));
    format!(
        "{prompt}{negative}\nSteps: {steps}, Sampler: {sampler}, Schedule type: {schedule}, CFG scale: {:?}{distilled}, Seed: {seed}, \
         Size: {width}x{height}, Model hash: 860760b08a, Model: random-sd15{vae}{strength}{clip_skip}{}{hashes}{}, \
         Version: f2.0.1v1.10.1-1.10.1",
        made.cfg_scale, made.extra, made.control
    )
}

/// Draws a picture that depends on everything that its text says.
pub fn draw((width, height): (u32, u32), text: &str) -> Vec<u8> {
    let hash = text.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let [red, green, blue, _] = hash.to_le_bytes();
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([red ^ x as u8, green ^ y as u8, blue]));
    let attached = Attached { parameters: Some(text), ..Attached::default() };
    encode(&image.into(), Format::Png, &attached).unwrap().into()
}
