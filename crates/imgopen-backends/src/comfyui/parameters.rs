//! The text about a picture, in the form of the web UI, which ComfyUI does not write.

use std::fmt::Write as _;

use super::resolve::Resolved;
use crate::generation::{Checkpoint, FluxVariant, Generation};
use crate::names::stem;

/// Describes how a picture was made.
pub(super) fn parameters(generation: &Generation, resolved: &Resolved, seed: i64, version: Option<&str>) -> String {
    let Generation { prompt, negative_prompt, steps, guidance, width, height, .. } = generation;
    let mut settings = Settings::default();
    settings.add("Steps", steps);
    settings.add("Sampler", &resolved.sampler.label);
    settings.add("Schedule type", resolved.sampler.schedule());
    match generation.checkpoint {
        Checkpoint::Named(_) => settings.add("CFG scale", guidance),
        Checkpoint::Flux(variant) => {
            settings.add("CFG scale", 1);
            if variant == FluxVariant::Dev {
                settings.add("Distilled CFG Scale", guidance);
            }
        }
    }
    settings.add("Seed", seed);
    settings.add("Size", format!("{width}x{height}"));
    settings.add("Model", stem(resolved.model.file()));
    if let Some(vae) = &resolved.vae {
        settings.add("VAE", vae);
    }
    let hires = generation.hires.as_ref();
    let strength = generation.start.as_ref().map(|start| start.strength).or(hires.map(|hires| hires.strength));
    if let Some(strength) = strength {
        settings.add("Denoising strength", strength);
    }
    if generation.clip_skip > 1 {
        settings.add("Clip skip", generation.clip_skip);
    }
    if let Some(mask) = generation.start.as_ref().and_then(|start| start.mask.as_ref()) {
        settings.add("Mask blur", mask.blur.0);
    }
    if let Some(hires) = hires {
        match hires.scale {
            Some(scale) => settings.add("Hires upscale", scale),
            None => settings.add("Hires resize", format!("{}x{}", hires.width, hires.height)),
        }
        settings.add("Hires steps", hires.steps);
        settings.add("Hires upscaler", &hires.upscaler);
    }
    for (index, (unit, model)) in generation.control.iter().zip(&resolved.control).enumerate() {
        let text = format!(
            "Module: {}, Model: {}, Weight: {}, Guidance Start: {}, Guidance End: {}",
            unit.module.as_deref().unwrap_or("None"),
            stem(model),
            unit.weight,
            unit.start,
            unit.end
        );
        settings.add(&format!("ControlNet {index}"), text);
    }
    settings.add("Version", format!("ComfyUI {}", version.unwrap_or_default()).trim_end());
    text(&prompt.full, negative_prompt, &settings)
}

/// Puts prompts and settings together.
pub(super) fn text(prompt: &str, negative_prompt: &str, settings: &Settings) -> String {
    match negative_prompt {
        "" => format!("{prompt}\n{}", settings.0),
        negative => format!("{prompt}\nNegative prompt: {negative}\n{}", settings.0),
    }
}

/// Settings in one line.
#[derive(Debug, Default)]
pub(super) struct Settings(String);

impl Settings {
    /// Adds a setting. A value that would look like several is put into quotes.
    pub(super) fn add(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        let value = match value.contains([',', ':', '\n']) {
            true => serde_json::Value::from(value).to_string(),
            false => value,
        };
        let comma = if self.0.is_empty() { "" } else { ", " };
        let _ = write!(self.0, "{comma}{name}: {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infotext::Infotext;

    #[test]
    fn what_is_written_can_be_read() {
        let mut settings = Settings::default();
        settings.add("Steps", 4);
        settings.add("ControlNet 0", "Module: None, Weight: 0.8");
        settings.add("Seed", 7);
        let text = text("a cat", "", &settings);
        assert_eq!(text, "a cat\nSteps: 4, ControlNet 0: \"Module: None, Weight: 0.8\", Seed: 7");
        let read = Infotext::parse(&text);
        assert_eq!((read.get("Seed"), read.get("ControlNet 0")), (Some("7"), Some("Module: None, Weight: 0.8")));
    }
}
