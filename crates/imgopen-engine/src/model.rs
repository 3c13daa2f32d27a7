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

impl Model {
    /// Creates a model of which only this is known.
    pub fn new(kind: ModelKind, name: impl Into<String>, title: impl Into<String>) -> Self {
        Self { kind, name: name.into(), title: title.into(), base_model: None, hash: None, version: None, path: None }
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
}
