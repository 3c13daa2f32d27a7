//! The base model of a training: which file it is, and of which family.

use std::path::PathBuf;

use imgopen_engine::Model;

/// A base model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    /// What the caller calls it.
    pub name: String,
    /// Its file, if the models folder has it.
    pub file: Option<PathBuf>,
    /// What it is made of.
    pub family: Family,
    /// Whether the file says so, or only its name was looked at.
    pub is_sure: bool,
}

/// The families that are trained in different ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Family {
    /// Stable Diffusion 1.
    Sd1,
    /// Stable Diffusion 2.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
    /// One that this kind of training is not for, by its name.
    Other(String),
}

impl Base {
    /// Looks for the file, by its name with or without the ending. What no file says, its name has to say.
    pub fn find(name: &str, models: &[Model]) -> Self {
        let found = models.iter().find(|model| model.name == name || model.short_name() == name);
        let file = found.and_then(|model| model.path.clone());
        let told = found.and_then(|model| model.base_model.as_deref()).map(Family::of);
        let is_sure = told.is_some();
        let family = told.unwrap_or_else(|| if is_xl(name) { Family::Sdxl } else { Family::Sd1 });
        Self { name: name.to_owned(), file, family, is_sure }
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

/// As `sd_xl_base_1.0`, `stable-diffusion-xl` and `juggernautXL_v9` are called; not as `foxlight`.
fn is_xl(name: &str) -> bool {
    let small = name.to_lowercase();
    let is_word = small.split(|c: char| !c.is_alphanumeric()).any(|word| word == "xl");
    is_word || small.contains("sdxl") || name.contains("XL")
}

#[cfg(test)]
mod tests {
    use imgopen_engine::ModelKind;

    use super::*;

    #[test]
    fn a_name_alone_tells_xl() {
        for name in ["sd_xl_base_1.0", "stabilityai/stable-diffusion-xl-base-1.0", "juggernautXL_v9", "my-sdxl"] {
            assert_eq!(Base::find(name, &[]).family, Family::Sdxl, "{name}");
        }
        for name in ["v1-5-pruned-emaonly", "foxlight", "pixels"] {
            assert_eq!(Base::find(name, &[]).family, Family::Sd1, "{name}");
        }
    }

    #[test]
    fn what_the_file_says_counts_more() {
        let model = |name: &str, base: &str| {
            let mut model = Model::new(ModelKind::Checkpoint, name, "");
            model.base_model = Some(base.to_owned());
            model.path = Some(PathBuf::from("/models").join(name));
            model
        };
        let models = [model("anime/trueXL.safetensors", "SD 1.5"), model("dev.safetensors", "FLUX.1")];
        let base = Base::find("anime/trueXL", &models);
        assert_eq!((base.family, base.is_sure), (Family::Sd1, true));
        assert_eq!(base.file, Some(PathBuf::from("/models/anime/trueXL.safetensors")));
        assert_eq!(Base::find("dev.safetensors", &models).family, Family::Other("FLUX.1".into()));
        assert_eq!(Base::find("trueXL", &models).file, None);
    }
}
