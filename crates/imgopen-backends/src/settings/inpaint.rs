//! What an operator says about inpainting.

use serde::{Deserialize, Serialize};

use crate::generation::MAX_STEPS;

/// Sides of pictures that every back end takes are multiples of it.
pub(crate) const UNIT: u32 = 64;
/// The longest side of the squares that models are made with, in pixels.
const LONGEST: u32 = 2048;

/// How a back end inpaints for `outpaint` and `remove_object`. Only the model is needed.
///
/// ```
/// use imgopen_backends::InpaintSettings;
///
/// let settings: InpaintSettings = serde_json::from_str(r#"{"model": "sd-v1-5-inpainting.safetensors", "steps":
/// 40}"#)?; assert_eq!((settings.steps, settings.side), (40, 512));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InpaintSettings {
    /// The model, by its name in the back end's list. Those that were made for inpainting do best.
    pub model: String,
    /// What the new part shows where a request does not say it.
    #[serde(default = "prompt")]
    pub prompt: String,
    /// What the new part does not show where a request does not say it.
    #[serde(default = "negative_prompt")]
    pub negative_prompt: String,
    /// The diffusion steps where a request gives none. Default 30.
    #[serde(default = "steps")]
    pub steps: u32,
    /// The sampler where a request gives none, such as `DPM++ 2M Karras`; that of the driver unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// The CFG scale where a request gives none. Default 7.
    #[serde(default = "guidance")]
    pub guidance: u32,
    /// The side in pixels of the squares that the model was made with: 512 for Stable Diffusion 1.5, which is the
    /// default, 1024 for SDXL. Pictures are worked on with about as many pixels.
    #[serde(default = "side")]
    pub side: u32,
}

fn prompt() -> String {
    "background, natural continuation of the scene, highly detailed".to_owned()
}

fn negative_prompt() -> String {
    "text, watermark, frame, border, blurry".to_owned()
}

fn steps() -> u32 {
    30
}

fn guidance() -> u32 {
    7
}

fn side() -> u32 {
    512
}

impl InpaintSettings {
    /// Settings with a model and nothing else.
    pub fn new(model: impl Into<String>) -> Self {
        let (prompt, negative_prompt) = (prompt(), negative_prompt());
        let (steps, guidance, side) = (steps(), guidance(), side());
        Self { model: model.into(), prompt, negative_prompt, steps, sampler: None, guidance, side }
    }

    /// Checks what does not depend on the back end.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it and what to give.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.model.trim().is_empty() {
            return Err("`inpaint.model` is empty; name a model of the back end's list".to_owned());
        }
        if !(1..=MAX_STEPS).contains(&self.steps) {
            return Err(format!("`inpaint.steps` is {}; give a number from 1 to {MAX_STEPS}", self.steps));
        }
        if !(UNIT..=LONGEST).contains(&self.side) || !self.side.is_multiple_of(UNIT) {
            return Err(format!(
                "`inpaint.side` is {}; give a multiple of {UNIT} up to {LONGEST}, such as 512 for Stable Diffusion 1.5",
                self.side
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_settings_say_what_to_give() {
        let usable = InpaintSettings::new("a.safetensors");
        assert_eq!(usable.check(), Ok(()));
        assert_eq!(serde_json::from_str::<InpaintSettings>(r#"{"model": "a.safetensors"}"#).unwrap(), usable);
        for (settings, problem) in [
            (InpaintSettings { model: " ".to_owned(), ..usable.clone() }, "`inpaint.model` is empty"),
            (InpaintSettings { steps: 0, ..usable.clone() }, "`inpaint.steps` is 0; give a number from 1"),
            (InpaintSettings { side: 500, ..usable.clone() }, "`inpaint.side` is 500; give a multiple of 64"),
            (InpaintSettings { side: 0, ..usable.clone() }, "`inpaint.side` is 0"),
            (InpaintSettings { side: 4096, ..usable }, "up to 2048"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
