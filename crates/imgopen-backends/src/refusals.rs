//! How drivers say what a back end does not offer, and what they check of a generation in the same way.

use imgopen_engine::EngineError;

use crate::generation::{Checkpoint, ControlUnit, Fit, FluxVariant, Generation, Prompt};
use crate::names;

/// The field that names the model.
pub(crate) const CHECKPOINT: &str = "alwayson_scripts.sd_model_checkpoint";
/// The field that names the variant of FLUX.1.
pub(crate) const FLUX: &str = "comfyTaskType";
/// What is said of the hi-res fix of a picture that is given.
pub(crate) const HIRES_OF_PICTURES: &str =
    "a hi-res fix for a picture that is given; enlarge the result with `super_resolution`";

/// A back end, as refusals name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusals<'a> {
    /// The name of the back end.
    pub name: &'a str,
    pub program: &'static str,
}

/// The sides of pictures that a server makes; it rounds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sides {
    /// Of Stable Diffusion.
    pub multiple: u32,
    /// Of FLUX.1.
    pub flux_multiple: u32,
    pub least: u32,
    /// `None` if it makes all that requests may ask for.
    pub most: Option<u32>,
}

impl Sides {
    /// Says why a side is not one of them.
    fn problem(&self, side: u32, is_flux: bool) -> Option<String> {
        let Self { multiple, flux_multiple, least, most } = *self;
        let multiple = if is_flux { flux_multiple } else { multiple };
        let is_made = side >= least && side.is_multiple_of(multiple) && most.is_none_or(|most| side <= most);
        let to = most.map(|most| format!(" to {most}")).unwrap_or_default();
        (!is_made).then(|| format!("a side of {side} pixels; it makes multiples of {multiple} from {least}{to}"))
    }
}

impl Refusals<'_> {
    /// Refuses what the back end does not offer.
    pub(crate) fn refused(&self, field: &str, problem: &str) -> EngineError {
        let Self { name, program } = self;
        EngineError::rejected(field, format!("the back end `{name}` ({program}) does not offer {problem}"))
    }

    /// Refuses what is not in a list of the server.
    pub(crate) fn missing(&self, field: &str, what: &str, asked: &str, available: &[String]) -> EngineError {
        self.refused(field, &names::missing(what, asked, available))
    }

    /// Refuses a variant of FLUX.1 whose files the settings do not name.
    pub(crate) fn without_files(&self, variant: FluxVariant) -> EngineError {
        let problem = format!("files for {}; its operator can name them in the settings", variant.wire_name());
        self.refused(FLUX, &problem)
    }

    /// Refuses sizes that the server would round, before and after the hi-res fix.
    pub(crate) fn check_sides(&self, generation: &Generation, across: Sides, down: Sides) -> Result<(), EngineError> {
        let (large, high) = generation.final_size();
        let (x, y) = match &generation.hires {
            Some(hires) if hires.scale.is_none() => ("hr_resize_x", "hr_resize_y"),
            _ => ("hr_scale", "hr_scale"),
        };
        let sides = [
            ("width", generation.width, across),
            ("height", generation.height, down),
            (x, large, across),
            (y, high, down),
        ];
        let is_flux = generation.is_flux();
        let mut problems = sides.iter().filter_map(|(field, side, made)| Some((field, made.problem(*side, is_flux)?)));
        problems.next().map_or(Ok(()), |(field, problem)| Err(self.refused(field, &problem)))
    }

    /// Refuses syntax of prompts that only the web UI understands.
    pub(crate) fn check_syntax(&self, generation: &Generation) -> Result<(), EngineError> {
        let negative = Prompt { text: generation.negative_prompt.clone(), ..Prompt::default() };
        for (field, prompt) in [("prompt", &generation.prompt), ("negative_prompt", &negative)] {
            if let Some(syntax) = prompt.web_ui_syntax() {
                return Err(self.refused(field, &format!("`{syntax}`, which it takes as words; take it out")));
            }
        }
        Ok(())
    }

    /// Returns the ControlNet model of a unit. Only preprocessors of the web UI work without one.
    pub(crate) fn control_model<'u>(&self, unit: &'u ControlUnit) -> Result<&'u str, EngineError> {
        let field = || format!("{}.model", unit.path);
        let problem = "ControlNet units without a `model`; name the one that reads the control picture";
        unit.model.as_deref().ok_or_else(|| self.refused(&field(), problem))
    }

    /// Refuses to fit a picture in the latent space, which only the web UI does.
    pub(crate) fn check_fit(&self, generation: &Generation) -> Result<(), EngineError> {
        match &generation.start {
            Some(start) if start.fit == Fit::Latent => {
                Err(self.refused("resize_mode", "the mode 3; it takes 0, 1 and 2"))
            }
            _ => Ok(()),
        }
    }
}

/// What a caller should know of the guidance of FLUX.1 schnell.
pub(crate) fn schnell_note(generation: &Generation) -> Option<String> {
    let is_schnell = generation.checkpoint == Checkpoint::Flux(FluxVariant::Schnell);
    is_schnell.then(|| "`fluxGuidance`: FLUX.1 schnell was made without guidance and ignores it".to_owned())
}

#[cfg(test)]
mod tests {
    use imgopen_engine::JobRequest;
    use imgopen_types::operations::{IMAGE_TO_IMAGE, TEXT_TO_IMAGE};
    use serde_json::{Value, json};

    use super::*;

    const MINE: Refusals<'static> = Refusals { name: "mine", program: "ComfyUI" };

    fn made(operation: &'static imgopen_types::Operation, body: Value) -> Generation {
        Generation::read(&JobRequest::new("task", operation, body)).unwrap()
    }

    #[test]
    fn a_size_that_would_be_rounded_is_refused_by_its_field() {
        let sides = Sides { multiple: 8, flux_multiple: 16, least: 16, most: Some(128) };
        let checked = |body: Value| {
            let mut size = json!({"prompt": "a", "width": 64, "height": 64});
            size.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            MINE.check_sides(&made(&TEXT_TO_IMAGE, size), sides, sides).map_err(|error| error.to_string())
        };
        assert_eq!(checked(json!({"width": 128, "height": 16})), Ok(()));
        assert_eq!(checked(json!({"enable_hr": true, "hr_scale": 2})), Ok(()));
        assert!(sides.problem(72, false).is_none() && sides.problem(72, true).is_some());
        for (body, field, side) in [
            (json!({"width": 70}), "width", 70),
            (json!({"height": 8}), "height", 8),
            (json!({"height": 136}), "height", 136),
            (json!({"enable_hr": true, "hr_scale": 3}), "hr_scale", 192),
            (json!({"enable_hr": true, "hr_resize_x": 96, "hr_resize_y": 100}), "hr_resize_y", 100),
        ] {
            let expected = format!(
                "`{field}`: the back end `mine` (ComfyUI) does not offer a side of {side} pixels; it makes \
                 multiples of 8 from 16 to 128"
            );
            assert_eq!(checked(body), Err(expected));
        }
    }

    #[test]
    fn syntax_of_the_web_ui_alone_is_refused_in_both_prompts() {
        for (field, other) in [("prompt", "negative_prompt"), ("negative_prompt", "prompt")] {
            let error = MINE.check_syntax(&made(&TEXT_TO_IMAGE, json!({field: "a AND b", other: "c"}))).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{field}`: the back end `mine`")), "{error}");
            assert_eq!(MINE.check_syntax(&made(&TEXT_TO_IMAGE, json!({field: "a and b", other: "c"}))), Ok(()));
        }
    }

    #[test]
    fn a_picture_is_not_fitted_in_the_latent_space() {
        let fitted = |mode: u8| {
            let link = json!({"image_link": "https://example.com/a.png"});
            let body = json!({"prompt": "a", "resize_mode": mode, "alwayson_scripts": link});
            MINE.check_fit(&made(&IMAGE_TO_IMAGE, body)).map_err(|error| error.to_string())
        };
        assert_eq!((fitted(0), fitted(2)), (Ok(()), Ok(())));
        assert!(fitted(3).unwrap_err().starts_with("`resize_mode`: the back end `mine` (ComfyUI) does not offer"));
    }
}
