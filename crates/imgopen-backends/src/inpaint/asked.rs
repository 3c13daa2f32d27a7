//! What a request asks for, as a request of `image_to_image`, and the words of the back end's engine in those of the
//! request.

use imgopen_engine::{EngineError, JobRequest};
use imgopen_picture::Expansion;
use imgopen_types::operations::{CHANGE_HAIRSTYLE, IMAGE_TO_IMAGE, OUTPAINT};
use imgopen_types::{ChangeHairstyleRequest, OutpaintRequest, RemoveObjectRequest};
use serde_json::json;

use crate::generation::MOST_PICTURES;
use crate::settings::InpaintSettings;

/// The field of `image_to_image` for the picture to start from.
pub(super) const START: &str = "alwayson_scripts.image_link";
/// The one for the mask.
pub(super) const MASK: &str = "alwayson_scripts.mask_link";
/// Nothing is fetched: the pictures come with the job.
pub(super) const NOWHERE: &str = "https://inpaint.invalid/picture.png";

/// A value of `image_to_image`, with the field of `outpaint` and the setting that it may come from.
struct Origin {
    field: &'static str,
    outpaint: Option<&'static str>,
    setting: Option<&'static str>,
}

const fn origin(field: &'static str, outpaint: Option<&'static str>, setting: Option<&'static str>) -> Origin {
    Origin { field, outpaint, setting }
}

/// The field of `change_hairstyle` from which the prompt comes first of all.
const HAIR_STYLE: &str = "hairStyle";

const ORIGINS: [Origin; 8] = [
    origin("prompt", Some("prompt"), Some("prompt")),
    origin("negative_prompt", Some("negativePrompt"), Some("negative_prompt")),
    origin("steps", Some("sampleStep"), Some("steps")),
    origin("sampler_index", Some("sampler"), Some("sampler")),
    origin("cfg_scale", Some("promptGuideFactor"), Some("guidance")),
    origin("seed", Some("seed"), None),
    origin("n_iter", Some("imageCount"), None),
    origin("alwayson_scripts.sd_model_checkpoint", None, Some("model")),
];

/// What a request asks for, with the operator's values where it asks for nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// How `outpaint` extends the picture. Its seed is not used.
    pub expansion: Option<Expansion>,
    /// The seed, if the request gives one.
    pub seed: Option<i64>,
    /// Whether hair is painted.
    pub is_hair: bool,
    prompt: String,
    negative_prompt: String,
    steps: i64,
    sampler: Option<String>,
    guidance: i64,
    /// The fields of the request that are given.
    given: Vec<&'static str>,
}

impl Asked {
    /// Reads a request of `outpaint`, `remove_object` or `change_hairstyle`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field that is out of range.
    pub fn read(request: &JobRequest, settings: &InpaintSettings) -> Result<Self, EngineError> {
        if *request.operation() == OUTPAINT {
            return Self::outpaint(&request.typed()?, settings);
        }
        if *request.operation() == CHANGE_HAIRSTYLE {
            return Ok(Self::hairstyle(&request.typed()?, settings));
        }
        request.typed::<RemoveObjectRequest>()?;
        Ok(Self::default_of(settings))
    }

    fn default_of(settings: &InpaintSettings) -> Self {
        Self {
            expansion: None,
            seed: None,
            is_hair: false,
            prompt: settings.prompt.clone(),
            negative_prompt: settings.negative_prompt.clone(),
            steps: settings.steps.into(),
            sampler: settings.sampler.clone(),
            guidance: settings.guidance.into(),
            given: Vec::new(),
        }
    }

    /// The operator's prompt is for backgrounds.
    fn hairstyle(request: &ChangeHairstyleRequest, settings: &InpaintSettings) -> Self {
        let colour = request.hair_color.as_deref().map(str::trim).filter(|colour| !colour.is_empty());
        let wishes = request.prompt.as_deref().map(str::trim).filter(|wishes| !wishes.is_empty());
        let mut parts = vec![format!("portrait of a person with a {} hairstyle", request.hair_style.trim())];
        parts.extend(colour.map(|colour| format!("{colour} hair")));
        parts.extend(wishes.map(str::to_owned));
        parts.push("detailed hair".to_owned());
        Self { is_hair: true, prompt: parts.join(", "), given: vec![HAIR_STYLE], ..Self::default_of(settings) }
    }

    fn outpaint(request: &OutpaintRequest, settings: &InpaintSettings) -> Result<Self, EngineError> {
        let count = u32::try_from(request.image_count).ok().filter(|count| (1..=MOST_PICTURES).contains(count));
        let count = count.ok_or_else(|| {
            let problem = format!("{} given; give a whole number from 1 to {MOST_PICTURES}", request.image_count);
            EngineError::rejected("imageCount", problem)
        })?;
        let (horizontal, vertical) = (request.horizontal_expansion_ratio, request.vertical_expansion_ratio);
        let expansion = Expansion { horizontal, vertical, count, seed: 0 };
        expansion.check()?;
        let mut asked = Self {
            expansion: Some(expansion),
            seed: request.seed.filter(|seed| *seed != -1),
            given: vec!["seed", "imageCount"],
            ..Self::default_of(settings)
        };
        let is_said = |text: &&String| !text.trim().is_empty();
        if let Some(prompt) = request.prompt.as_ref().filter(is_said) {
            asked.prompt.clone_from(prompt);
            asked.given.push("prompt");
        }
        if let Some(prompt) = &request.negative_prompt {
            asked.negative_prompt.clone_from(prompt);
            asked.given.push("negativePrompt");
        }
        if let Some(steps) = request.sample_step {
            asked.steps = steps;
            asked.given.push("sampleStep");
        }
        if let Some(sampler) = &request.sampler {
            asked.sampler = Some(sampler.as_str().to_owned());
            asked.given.push("sampler");
        }
        if let Some(guidance) = request.prompt_guide_factor {
            asked.guidance = guidance;
            asked.given.push("promptGuideFactor");
        }
        Ok(asked)
    }

    /// Returns how many pictures are made.
    pub fn count(&self) -> u32 {
        self.expansion.map_or(1, |expansion| expansion.count)
    }

    /// Returns the request that a back end is sent: pictures of that size from a picture and a mask. The masked part is
    /// made from noise, and its edge is ours.
    pub fn request(&self, task: &str, model: &str, (width, height): (u32, u32), seed: i64) -> JobRequest {
        let mut body = json!({
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "n_iter": self.count(),
            "batch_size": 1,
            "steps": self.steps,
            "cfg_scale": self.guidance,
            "seed": seed.to_string(),
            "width": width,
            "height": height,
            "denoising_strength": 1.0,
            "resize_mode": 0,
            "mask_blur": 0,
            "inpainting_fill": 1,
            "inpaint_full_res": false,
            "inpainting_mask_invert": 0,
            "alwayson_scripts": {
                "sd_model_checkpoint": model,
                "id_task": task,
                "image_link": NOWHERE,
                "mask_link": NOWHERE,
            },
        });
        if let Some(sampler) = &self.sampler {
            body["sampler_index"] = sampler.as_str().into();
        }
        JobRequest::new(task, &IMAGE_TO_IMAGE, body)
    }

    /// Says an error of the back end's engine in the words of the request. What the caller did not give is the
    /// operator's matter: the task waits until the settings fit.
    pub fn error(&self, error: EngineError) -> EngineError {
        let EngineError::Rejected { field: Some(field), problem } = error else { return error };
        if let Some(own) = self.field(&field) {
            return EngineError::rejected(own, problem);
        }
        match ORIGINS.iter().find(|origin| origin.field == field).and_then(|origin| origin.setting) {
            Some(setting) => EngineError::Unavailable {
                reason: format!("its operator set `inpaint.{setting}` to what does not fit: {problem}"),
                retry_after: None,
            },
            None => EngineError::Failed(format!("a picture for inpainting was refused: {problem}")),
        }
    }

    /// Says a note of the back end's engine in the words of the request. `None` for notes on fields that the caller
    /// cannot give.
    pub fn note(&self, note: &str) -> Option<String> {
        match note.strip_prefix('`').and_then(|note| note.split_once("`: ")) {
            Some((field, text)) => self.field(field).map(|own| format!("`{own}`: {text}")),
            None => Some(note.to_owned()),
        }
    }

    /// Returns the field of the request for one of `image_to_image`, if the request gives it.
    fn field(&self, field: &str) -> Option<&'static str> {
        let own = match (self.is_hair, field) {
            (true, "prompt") => HAIR_STYLE,
            _ => ORIGINS.iter().find(|origin| origin.field == field)?.outpaint?,
        };
        self.given.contains(&own).then_some(own)
    }
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations::REMOVE_OBJECT;
    use serde_json::Value;

    use super::*;
    use crate::generation::{Fill, Fit, Generation};

    const URL: &str = "https://example.com/a.png";

    fn settings() -> InpaintSettings {
        InpaintSettings { sampler: Some("Heun".to_owned()), ..InpaintSettings::new("a.safetensors") }
    }

    fn outpaint(more: Value) -> Result<Asked, EngineError> {
        let mut body = json!({
            "businessTaskId": "1", "sourceImage": URL, "imageCount": 2,
            "verticalExpansionRatio": 1.5, "horizontalExpansionRatio": 2,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Asked::read(&JobRequest::new("task", &OUTPAINT, body), &settings())
    }

    fn removal() -> Asked {
        let body = json!({"businessTaskId": "1", "sourceImage": URL, "maskImage": URL});
        Asked::read(&JobRequest::new("task", &REMOVE_OBJECT, body), &settings()).unwrap()
    }

    fn generation(asked: &Asked) -> Generation {
        Generation::read(&asked.request("task", "a.safetensors", (512, 448), 7)).unwrap()
    }

    #[test]
    fn what_a_request_gives_wins_over_the_settings() {
        let all = json!({
            "prompt": "a beach", "negativePrompt": "", "sampleStep": 12, "sampler": "Euler a", "promptGuideFactor": 9, "seed": 5,
        });
        let asked = outpaint(all).unwrap();
        let made = generation(&asked);
        assert_eq!((made.prompt.full.as_str(), made.negative_prompt.as_str()), ("a beach", ""));
        assert_eq!((made.steps, made.guidance, made.pictures(), asked.seed), (12, 9.0, 2, Some(5)));
        assert_eq!((made.sampling.unwrap().joint.as_str(), made.seed), ("Euler a", Some(7)));
    }

    #[test]
    fn the_settings_fill_in_the_rest() {
        for asked in [outpaint(json!({"prompt": " ", "seed": -1})).unwrap(), removal()] {
            let made = generation(&asked);
            assert_eq!((made.prompt.full, made.negative_prompt), (settings().prompt, settings().negative_prompt));
            assert_eq!((made.steps, made.guidance, asked.seed), (30, 7.0, None));
            assert_eq!((made.width, made.height, made.sampling.unwrap().joint.as_str()), (512, 448, "Heun"));
            let start = made.start.unwrap();
            let mask = start.mask.unwrap();
            assert_eq!((start.strength, start.fit, start.picture, mask.picture), (1.0, Fit::Stretch, START, MASK));
            assert_eq!((mask.blur, mask.fill, mask.only_masked, mask.inverted), ((0, 0), Fill::Original, None, false));
        }
    }

    #[test]
    fn values_out_of_range_are_rejected_by_field() {
        let error = outpaint(json!({"imageCount": 65})).unwrap_err();
        assert_eq!(error.to_string(), "`imageCount`: 65 given; give a whole number from 1 to 64");
        assert!(
            outpaint(json!({"verticalExpansionRatio": 5})).unwrap_err().to_string().contains("verticalExpansionRatio")
        );
    }

    #[test]
    fn errors_name_the_callers_fields_or_the_operators_settings() {
        let asked = outpaint(json!({"sampler": "PLMS"})).unwrap();
        let rejected = |field: &str| EngineError::rejected(field, "no such thing");
        assert_eq!(asked.error(rejected("sampler_index")), rejected("sampler"));
        assert_eq!(asked.error(rejected("n_iter")), rejected("imageCount"));
        for (asked, field, setting) in [
            (&asked, "prompt", "prompt"),
            (&asked, "alwayson_scripts.sd_model_checkpoint", "model"),
            (&removal(), "sampler_index", "sampler"),
        ] {
            let error = asked.error(rejected(field));
            let EngineError::Unavailable { reason, .. } = error else { panic!("{error}") };
            assert_eq!(reason, format!("its operator set `inpaint.{setting}` to what does not fit: no such thing"));
        }
        let failed = "the engine failed: a picture for inpainting was refused: no such thing";
        assert_eq!(asked.error(rejected("width")).to_string(), failed);
        assert_eq!(asked.error(EngineError::Cancelled), EngineError::Cancelled);
    }

    #[test]
    fn a_hairstyle_is_asked_for_by_its_words() {
        let hair = |more: Value| {
            let mut body = json!({"businessTaskId": "1", "sourceImage": URL, "hairStyle": " bob "});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Asked::read(&JobRequest::new("task", &CHANGE_HAIRSTYLE, body), &settings()).unwrap()
        };
        let asked = hair(json!({"hairColor": "brown", "prompt": "with a fringe"}));
        let words = "portrait of a person with a bob hairstyle, brown hair, with a fringe, detailed hair";
        assert_eq!(generation(&asked).prompt.full, words);
        assert_eq!((asked.count(), asked.seed, generation(&asked).steps), (1, None, 30));
        let plain = hair(json!({"hairColor": " "}));
        assert_eq!(generation(&plain).prompt.full, "portrait of a person with a bob hairstyle, detailed hair");
        assert_eq!(
            plain.error(EngineError::rejected("prompt", "too long")),
            EngineError::rejected("hairStyle", "too long")
        );
        assert!(matches!(plain.error(EngineError::rejected("steps", "too few")), EngineError::Unavailable { .. }));
    }

    #[test]
    fn notes_name_the_callers_fields() {
        let asked = outpaint(json!({"sampleStep": 9})).unwrap();
        assert_eq!(asked.note("`steps`: too few").as_deref(), Some("`sampleStep`: too few"));
        assert_eq!(asked.note("the seed is unverified").as_deref(), Some("the seed is unverified"));
        assert_eq!((asked.note("`denoising_strength`: as ever"), removal().note("`steps`: too few")), (None, None));
    }
}
