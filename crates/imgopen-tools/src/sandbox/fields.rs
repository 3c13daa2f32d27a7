//! The fields that decide on a card, over all operations.
//!
//! The sandbox serves operations that it does not know: one that is added to the document is served at once. So it does not
//! read requests as the types of their operations, but all as this one, of which each operation has a part.

use serde::Deserialize;
use serde_json::Number;

/// The fields that the sandbox uses, by their names on the wire.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    prompt: Option<String>,
    #[serde(rename = "sourcePrompt")]
    source_prompt: Option<String>,
    negative_prompt: Option<String>,
    #[serde(rename = "negativePrompt")]
    negative_prompt_of_tool: Option<String>,
    pub(super) steps: Option<u64>,
    #[serde(rename = "sampleStep")]
    pub(super) sample_step: Option<u64>,
    sampler_index: Option<String>,
    sampler: Option<String>,
    cfg_scale: Option<Number>,
    #[serde(rename = "promptGuideFactor")]
    prompt_guide_factor: Option<Number>,
    seed: Option<Seed>,
    pub(super) width: Option<u64>,
    pub(super) height: Option<u64>,
    pub(super) enable_hr: Option<bool>,
    pub(super) hr_scale: Option<f64>,
    pub(super) hr_resize_x: Option<u64>,
    pub(super) hr_resize_y: Option<u64>,
    pub(super) n_iter: Option<u64>,
    pub(super) batch_size: Option<u64>,
    #[serde(rename = "imageCount")]
    pub(super) image_count: Option<u64>,
    #[serde(rename = "sequencesNum")]
    pub(super) sequences_num: Option<u64>,
    #[serde(rename = "horizontalExpansionRatio")]
    pub(super) horizontal_ratio: Option<f64>,
    #[serde(rename = "verticalExpansionRatio")]
    pub(super) vertical_ratio: Option<f64>,
    pub(super) scale: Option<f64>,
    /// The name of the model that describes a picture.
    pub(super) model: Option<String>,
    alwayson_scripts: Scripts,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Scripts {
    sd_model_checkpoint: Option<String>,
    output_image_format: Option<String>,
}

/// A seed, which some operations write as text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Seed {
    Number(i64),
    Text(String),
}

impl Fields {
    /// Returns the prompt, whatever it is called.
    pub(super) fn prompt(&self) -> Option<&str> {
        self.prompt.as_deref().or(self.source_prompt.as_deref())
    }

    /// Returns the negative prompt, unless it is empty.
    pub(super) fn negative_prompt(&self) -> Option<&str> {
        let negative = self.negative_prompt.as_deref().or(self.negative_prompt_of_tool.as_deref());
        negative.filter(|negative| !negative.is_empty())
    }

    /// Returns the name of the sampler.
    pub(super) fn sampler(&self) -> Option<&str> {
        self.sampler_index.as_deref().or(self.sampler.as_deref())
    }

    /// Returns how closely to follow the prompt, as written in the request.
    pub(super) fn guidance(&self) -> Option<&Number> {
        self.cfg_scale.as_ref().or(self.prompt_guide_factor.as_ref())
    }

    /// Returns the checkpoint to use.
    pub(super) fn checkpoint(&self) -> Option<&str> {
        self.alwayson_scripts.sd_model_checkpoint.as_deref()
    }

    /// Returns the name of the format to write.
    pub(super) fn format(&self) -> Option<&str> {
        self.alwayson_scripts.output_image_format.as_deref()
    }

    /// Returns the seed, or the text that is not one.
    pub(super) fn seed(&self) -> Result<Option<i64>, &str> {
        match &self.seed {
            None => Ok(None),
            Some(Seed::Number(seed)) => Ok(Some(*seed)),
            Some(Seed::Text(text)) => text.trim().parse().map(Some).map_err(|_| text.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations;
    use imgopen_types::schema::Shape;
    use serde_json::json;

    use super::*;

    /// A name that is misspelt here would be ignored.
    #[test]
    fn every_field_is_one_of_the_contract() {
        let names = [
            "prompt",
            "sourcePrompt",
            "negative_prompt",
            "negativePrompt",
            "steps",
            "sampleStep",
            "sampler_index",
            "sampler",
            "cfg_scale",
            "promptGuideFactor",
            "seed",
            "width",
            "height",
            "enable_hr",
            "hr_scale",
            "hr_resize_x",
            "hr_resize_y",
            "n_iter",
            "batch_size",
            "imageCount",
            "sequencesNum",
            "horizontalExpansionRatio",
            "verticalExpansionRatio",
            "scale",
            "model",
            "alwayson_scripts",
        ];
        for name in names {
            assert!(operations::ALL.iter().any(|operation| operation.request.field(name).is_some()), "{name}");
        }
        for name in ["sd_model_checkpoint", "output_image_format"] {
            let scripts = operations::TEXT_TO_IMAGE.request.field("alwayson_scripts").unwrap();
            assert!(matches!(scripts.shape, Shape::Object(object) if object.field(name).is_some()), "{name}");
        }
    }

    #[test]
    fn names_of_all_families_are_read() {
        let read = |body| serde_json::from_value::<Fields>(body).unwrap();
        let old =
            read(json!({"prompt": "a", "negative_prompt": "", "sampler_index": "s", "cfg_scale": 7.5, "seed": "7"}));
        assert_eq!(
            (old.prompt(), old.negative_prompt(), old.sampler(), old.seed()),
            (Some("a"), None, Some("s"), Ok(Some(7)))
        );
        assert_eq!(old.guidance().unwrap().to_string(), "7.5");
        let new = read(json!({"sourcePrompt": "a", "negativePrompt": "b", "promptGuideFactor": 7, "seed": 7}));
        assert_eq!((new.prompt(), new.negative_prompt(), new.seed()), (Some("a"), Some("b"), Ok(Some(7))));
        assert_eq!(read(json!({"seed": "x"})).seed(), Err("x"));
    }
}
