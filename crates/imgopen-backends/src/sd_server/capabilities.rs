//! What an sd-server has, as `/sdcpp/v1/capabilities` says.

use imgopen_engine::{Model, ModelKind};
use serde::Deserialize;

use crate::http::{CallError, Http};
use crate::names::stem;
use crate::watched::Snapshot;

/// The path of the capabilities.
pub(super) const PATH: &str = "sdcpp/v1/capabilities";

/// The capabilities of a server. It looks for LoRAs and upscalers at each question.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Capabilities {
    pub model: Loaded,
    pub limits: Limits,
    #[serde(default)]
    pub samplers: Vec<String>,
    #[serde(default)]
    pub schedulers: Vec<String>,
    #[serde(default)]
    pub loras: Vec<Lora>,
    #[serde(default)]
    upscalers: Vec<Named>,
    #[serde(default)]
    pub output_formats: Vec<String>,
    /// What the server was started for: `img_gen`, `vid_gen`.
    #[serde(default)]
    pub supported_modes: Vec<String>,
    #[serde(default)]
    pub defaults: Defaults,
}

/// The one model that it was started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Loaded {
    /// The name of the file.
    pub name: String,
    #[serde(default)]
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Limits {
    pub min_width: u32,
    pub max_width: u32,
    pub min_height: u32,
    pub max_height: u32,
    pub max_batch_count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Lora {
    /// The name of the file without its extension.
    pub name: String,
    /// The path in the server's directory of LoRAs, by which requests name it.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Defaults {
    /// The seed that the server was started with.
    #[serde(default)]
    pub seed: Option<i64>,
}

impl Default for Limits {
    /// Those of all known versions.
    fn default() -> Self {
        Self { min_width: 64, max_width: 4096, min_height: 64, max_height: 4096, max_batch_count: 8 }
    }
}

impl Snapshot for Capabilities {
    async fn read(http: &Http) -> Result<Self, CallError> {
        http.get(PATH).await
    }
}

impl Capabilities {
    /// Returns the LoRA of that name, as prompts name it: by the path without the extension, or by the file's name alone.
    pub(super) fn lora(&self, name: &str) -> Option<&Lora> {
        lora(&self.loras, name)
    }

    /// Returns the LoRAs as engines list them.
    pub(super) fn lora_models(&self) -> Vec<Model> {
        let model = |lora: &Lora| Model::new(ModelKind::Lora, lora.path.clone(), lora.name.clone());
        self.loras.iter().map(model).collect()
    }

    /// The same with other LoRAs.
    pub(super) fn with_loras(&self, loras: Vec<Lora>) -> Self {
        Self { loras, ..self.clone() }
    }

    /// Returns the upscalers of the hi-res fix. `None` is one for the server, which then makes no second pass.
    pub(super) fn upscalers(&self) -> Vec<String> {
        let names = self.upscalers.iter().map(|upscaler| upscaler.name.clone());
        names.filter(|name| name != "None").collect()
    }

    /// Returns what a server that makes no pictures lacks.
    pub(super) fn missing(&self) -> Option<&'static str> {
        if !self.supported_modes.iter().any(|mode| mode == "img_gen") {
            return Some("a model that makes pictures; the one that it was started with makes videos");
        }
        let has_png = self.output_formats.iter().any(|format| format == "png");
        (!has_png).then_some("the output format PNG; build it with PNG")
    }
}

/// Returns the LoRA that a tag of a prompt names.
pub(super) fn lora<'a>(loras: &'a [Lora], name: &str) -> Option<&'a Lora> {
    let by_path = || loras.iter().find(|lora| stem(&lora.path) == name || lora.path == name);
    by_path().or_else(|| loras.iter().find(|lora| lora.name == name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn capabilities(loras: serde_json::Value) -> Capabilities {
        let limits =
            json!({"min_width": 64, "max_width": 4096, "min_height": 64, "max_height": 4096, "max_batch_count": 8});
        let model = json!({"name": "a.safetensors", "path": "x/a.safetensors", "stem": "a"});
        serde_json::from_value(json!({"model": model, "limits": limits, "loras": loras})).unwrap()
    }

    #[test]
    fn a_lora_is_found_by_its_path_or_its_name() {
        let known = capabilities(json!([
            {"name": "one", "path": "deep/one.safetensors"}, {"name": "one", "path": "one.safetensors"},
            {"name": "two.v1", "path": "deep/two.v1.safetensors"},
        ]));
        let path = |name: &str| known.lora(name).map(|lora| lora.path.as_str());
        assert_eq!(path("one"), Some("one.safetensors"));
        assert_eq!(
            (path("deep/one"), path("deep/one.safetensors")),
            (Some("deep/one.safetensors"), Some("deep/one.safetensors"))
        );
        assert_eq!((path("two.v1"), path("two")), (Some("deep/two.v1.safetensors"), None));
        assert!(known.missing().is_some_and(|missing| missing.contains("makes videos")));
    }
}
