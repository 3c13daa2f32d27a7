//! Models that requests name beside a checkpoint, and how their names are compared.

use crate::model::{Model, ModelKind};

/// A model that a request names beside its checkpoint, as the request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedModel {
    /// What it is.
    pub kind: NamedKind,
    /// Its name.
    pub name: String,
}

/// The kinds of model that requests name beside a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamedKind {
    /// The base model of a training.
    Base,
    /// A ControlNet.
    Control,
    /// A LoRA in a prompt.
    Lora,
    /// A VAE.
    Vae,
}

/// The extensions of files of models.
const EXTENSIONS: &[&str] = &["safetensors", "ckpt", "pt", "pth", "bin", "gguf", "sft"];

impl NamedKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Base, Self::Control, Self::Lora, Self::Vae];

    /// Returns its name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Control => "control",
            Self::Lora => "lora",
            Self::Vae => "vae",
        }
    }

    /// Returns the kind under which models of this kind are listed; `None` for those that are not.
    const fn listed_as(self) -> Option<ModelKind> {
        match self {
            Self::Base => Some(ModelKind::Checkpoint),
            Self::Control => None,
            Self::Lora => Some(ModelKind::Lora),
            Self::Vae => Some(ModelKind::Vae),
        }
    }
}

impl NamedModel {
    /// Returns whether a program might take the name for that of a file that it lists: with directories or without, with an
    /// extension or without, with the hash that the web UI appends or without, in any case.
    ///
    /// ```
    /// use imgopen_engine::{NamedKind, NamedModel};
    ///
    /// let named = NamedModel { kind: NamedKind::Control, name: "control_canny".to_owned() };
    /// assert!(named.is_name_of("sd15/Control_Canny.safetensors") && named.is_name_of("control_canny [d14c016b]"));
    /// assert!(!named.is_name_of("control_depth"));
    /// ```
    pub fn is_name_of(&self, listed: &str) -> bool {
        let (named, listed) = (file(&self.name), file(listed));
        named == listed || stem(&named) == stem(&listed)
    }

    /// Returns whether a listed model is this one.
    pub fn is(&self, model: &Model) -> bool {
        self.kind.listed_as() == Some(model.kind) && (self.is_name_of(&model.name) || self.is_name_of(&model.title))
    }
}

/// The name of a file without directories and hash, in lower case.
fn file(name: &str) -> String {
    let name = name.trim().to_lowercase();
    let name = name.rsplit_once(" [").map_or(name.as_str(), |(name, _)| name);
    name.rsplit(['/', '\\']).next().unwrap_or(name).to_owned()
}

/// The same without the extension of a model.
fn stem(file: &str) -> &str {
    match file.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && EXTENSIONS.contains(&extension) => stem,
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(name: &str) -> NamedModel {
        NamedModel { kind: NamedKind::Lora, name: name.to_owned() }
    }

    #[test]
    fn a_file_is_known_by_every_name_that_a_program_may_give_it() {
        for name in
            ["ink.v2", "INK.V2", "style/ink.v2", "other\\ink.v2", "ink.v2.safetensors", " ink.v2.pt ", "ink.v2 [0a1b]"]
        {
            assert!(lora(name).is_name_of("style/Ink.v2.safetensors"), "{name}");
        }
        for name in ["ink", "v2", "ink.v3", "style", ""] {
            assert!(!lora(name).is_name_of("style/Ink.v2.safetensors"), "{name}");
        }
    }

    #[test]
    fn only_models_of_the_kind_are_meant() {
        let model = |kind| Model::new(kind, "ink_file.safetensors", "ink");
        assert!(lora("ink").is(&model(ModelKind::Lora)) && lora("ink_file").is(&model(ModelKind::Lora)));
        assert!(!lora("ink").is(&model(ModelKind::Vae)));
        let control = NamedModel { kind: NamedKind::Control, ..lora("ink") };
        assert!(ModelKind::ALL.into_iter().all(|kind| !control.is(&model(kind))));
    }
}
