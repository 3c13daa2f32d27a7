//! What is known of a model.

use std::path::PathBuf;

/// A model that an engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The kind, which decides on the list that names it.
    pub kind: ModelKind,
    /// The name that requests use: the file's name with its extension, such as `photon_v1.safetensors`. Prompts name
    /// LoRAs and embeddings without the extension, by their [`short_name`](Model::short_name).
    pub name: String,
    /// The name to show to people.
    pub title: String,
    /// The base model that it was made from or fits, such as `SD 1.5`.
    pub base_model: Option<String>,
    /// The SHA-256 of the file, 64 hexadecimal digits in upper case.
    pub hash: Option<String>,
    /// The version, such as `v1`.
    pub version: Option<String>,
    /// The path of the file, if it is on this machine.
    pub path: Option<PathBuf>,
    /// The id of the access key that alone may see and use it; `None` if all may.
    pub owner: Option<String>,
}

/// The kinds of model that the API lists, each with its own operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// A complete model, listed by `list_models`.
    Checkpoint,
    /// A low-rank adaptation, listed by `list_loras`.
    Lora,
    /// A variational autoencoder, listed by `list_vaes`.
    Vae,
    /// An embedding (textual inversion), listed by `list_embeddings`.
    Embedding,
}

impl ModelKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Checkpoint, Self::Lora, Self::Vae, Self::Embedding];

    /// Returns its name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Lora => "lora",
            Self::Vae => "vae",
            Self::Embedding => "embedding",
        }
    }
}

impl Model {
    /// Creates a model of which only this is known.
    pub fn new(kind: ModelKind, name: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            title: title.into(),
            base_model: None,
            hash: None,
            version: None,
            path: None,
            owner: None,
        }
    }

    /// Returns whether an access key may see and use it.
    pub fn is_for(&self, key: &str) -> bool {
        self.owner.as_deref().is_none_or(|owner| owner == key)
    }

    /// Returns the name without directories and extension.
    pub fn stem(&self) -> &str {
        let short = self.short_name();
        short.rsplit(['/', '\\']).next().unwrap_or(short)
    }

    /// Returns the name without the file's extension, as prompts name LoRAs and embeddings.
    pub fn short_name(&self) -> &str {
        match self.name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => &self.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_has_no_extension() {
        for (name, short) in [("a_v1.5.safetensors", "a_v1.5"), ("plain", "plain"), (".hidden", ".hidden")] {
            assert_eq!(Model::new(ModelKind::Lora, name, "").short_name(), short);
        }
    }

    #[test]
    fn a_stem_has_no_directories() {
        for name in ["ink.v2.safetensors", "style/ink.v2.safetensors", "style\\sub\\ink.v2.pt"] {
            assert_eq!(Model::new(ModelKind::Lora, name, "").stem(), "ink.v2");
        }
    }

    #[test]
    fn a_model_with_an_owner_is_for_no_other() {
        let mut model = Model::new(ModelKind::Lora, "ink.safetensors", "");
        assert!(model.is_for("a"));
        model.owner = Some("a".to_owned());
        assert!(model.is_for("a") && !model.is_for("b") && !model.is_for(""));
    }
}
