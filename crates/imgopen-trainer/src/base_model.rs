//! The base model of a training: its file and its family.

use std::path::PathBuf;

use imgopen_engine::Model;

/// A base model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseModel {
    /// The name in the request.
    pub name: String,
    /// Whether a models directory has it, of this process or of another one.
    pub is_listed: bool,
    /// Its file, if the models directory of this process has it.
    pub file: Option<PathBuf>,
    /// The family, which decides how it is trained.
    pub family: Family,
    /// Whether the file states the family. Otherwise it is guessed from the name.
    pub is_certain: bool,
}

/// The families of models that are trained in different ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Family {
    /// Stable Diffusion 1.
    Sd1,
    /// Stable Diffusion 2.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
    /// Another one, by its name. It cannot be trained.
    Other(String),
}

impl BaseModel {
    /// Finds the file by its name, with or without the extension. If no file states the family, the name decides.
    pub fn find(name: &str, models: &[Model]) -> Self {
        let found = models.iter().find(|model| model.name == name || model.short_name() == name);
        let file = found.and_then(|model| model.path.clone());
        let stated = found.and_then(|model| model.base_model.as_deref()).map(Family::of);
        let is_certain = stated.is_some();
        let family = stated.unwrap_or_else(|| if names_sdxl(name) { Family::Sdxl } else { Family::Sd1 });
        Self { name: name.to_owned(), is_listed: found.is_some(), file, family, is_certain }
    }
}

impl Family {
    fn of(base_model: &str) -> Self {
        match base_model {
            _ if base_model.starts_with("SDXL") => Self::Sdxl,
            _ if base_model.starts_with("SD 1") => Self::Sd1,
            _ if base_model.starts_with("SD 2") => Self::Sd2,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Matches names such as `sd_xl_base_1.0`, `stable-diffusion-xl` and `juggernautXL_v9`, but not `foxlight`.
fn names_sdxl(name: &str) -> bool {
    let lower = name.to_lowercase();
    let is_word = lower.split(|c: char| !c.is_alphanumeric()).any(|word| word == "xl");
    is_word || lower.contains("sdxl") || name.contains("XL")
}

#[cfg(test)]
mod tests {
    use imgopen_engine::ModelKind;

    use super::*;

    #[test]
    fn a_name_shows_sdxl() {
        for name in ["sd_xl_base_1.0", "stabilityai/stable-diffusion-xl-base-1.0", "juggernautXL_v9", "my-sdxl"] {
            assert_eq!(BaseModel::find(name, &[]).family, Family::Sdxl, "{name}");
        }
        for name in ["v1-5-pruned-emaonly", "foxlight", "pixels"] {
            assert_eq!(BaseModel::find(name, &[]).family, Family::Sd1, "{name}");
        }
    }

    #[test]
    fn the_file_overrules_the_name() {
        let model = |name: &str, base: &str| {
            let mut model = Model::new(ModelKind::Checkpoint, name, "");
            model.base_model = Some(base.to_owned());
            model.path = Some(PathBuf::from("/models").join(name));
            model
        };
        let models = [model("anime/trueXL.safetensors", "SD 1.5"), model("dev.safetensors", "FLUX.1")];
        let base = BaseModel::find("anime/trueXL", &models);
        assert_eq!((base.family, base.is_certain), (Family::Sd1, true));
        assert_eq!(base.file, Some(PathBuf::from("/models/anime/trueXL.safetensors")));
        assert_eq!(BaseModel::find("dev.safetensors", &models).family, Family::Other("FLUX.1".into()));
        assert_eq!(BaseModel::find("trueXL", &models).file, None);
    }
}
