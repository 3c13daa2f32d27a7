//! What an engine is: something that carries out operations, and says which, with which models and how well.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use imgopen_types::Operation;
use serde_json::Value;

use crate::{EngineError, Job, Monitor, Output};

/// Something that carries out operations of the API.
///
/// Engines are shared by all workers. What uses the processor for long belongs on
/// [`spawn_blocking`](tokio::task::spawn_blocking), so that other jobs go on.
pub trait Engine: Send + Sync + 'static {
    /// Its name, such as `lanczos`. Results carry it.
    fn name(&self) -> &'static str;

    /// The operations that it carries out.
    fn offers(&self) -> Vec<Offer>;

    /// The models that it has beside those that its offers list: LoRAs, VAEs, embeddings.
    fn models(&self) -> Vec<Model> {
        Vec::new()
    }

    /// Looks at a request before it is accepted, so that what [`run`](Engine::run) would refuse is refused at once.
    ///
    /// It must be cheap, for it is called while a request is being answered and others wait: some milliseconds
    /// for values as large as a request may be. What takes longer, such as reading fonts, `run` finds out.
    ///
    /// `directives` is the value of the header `x-sandbox`.
    ///
    /// # Errors
    ///
    /// Some of those that `run` would end with for the same request, whatever its input pictures are.
    fn check(&self, operation: &Operation, request: &Value, directives: Option<&str>) -> Result<(), EngineError> {
        let _ = (operation, request, directives);
        Ok(())
    }

    /// Carries out a job. The future ends soon after `monitor` is cancelled, with [`EngineError::Cancelled`].
    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>>;
}

/// One operation that an engine carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The operation.
    pub operation: &'static Operation,
    /// How good the results are.
    pub grade: Grade,
    /// The models that a request may name.
    pub models: Models,
    /// Whether the request's input pictures are wanted.
    pub inputs: Inputs,
    /// The values that fields may have, where the contract leaves that to the server.
    pub values: Vec<FieldValues>,
}

/// The values that an engine takes in a field of which the contract does not say them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValues {
    /// The field, such as `preprocessor`.
    pub field: &'static str,
    /// The values, in the order in which people should see them.
    pub values: Vec<&'static str>,
}

/// How good results are, from a stand-in to the real thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// A labelled test card in place of a result.
    Sandbox,
    /// A rough result, such as an area filled with texture.
    Draft,
    /// The result of a classical method, without a neural network.
    Classical,
    /// The result of a neural network.
    Neural,
}

/// The models that a request may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Models {
    /// Any name, and none.
    Any,
    /// These; a request that names no model gets the engine's own choice.
    Listed(Vec<Model>),
}

/// A model that an engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What kind of model it is.
    pub kind: ModelKind,
    /// The name that requests use, which is the file's name with its ending, such as `photon_v1.safetensors`. An
    /// embedding's lies in a prompt without the ending, as [`short_name`](Model::short_name) gives it.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The base model that it was made from or fits, such as `SD 1.5`.
    pub base_model: Option<String>,
    /// The SHA-256 of the file, 64 hexadecimal digits in upper case.
    pub hash: Option<String>,
    /// The version, such as `v1`.
    pub version: Option<String>,
    /// The file, if the model is one on this machine.
    pub path: Option<PathBuf>,
}

/// The kinds of model that the API lists, each with an operation of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// A whole model, listed by `list_models`.
    Checkpoint,
    /// A low-rank adaptation, listed by `list_loras`.
    Lora,
    /// A variational autoencoder, listed by `list_vaes`.
    Vae,
    /// An embedding (textual inversion), listed by `list_embeddings`.
    Embedding,
}

/// Whether an engine wants the input pictures that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inputs {
    /// They are fetched before the job runs, and lie in [`Job::inputs`].
    Fetched,
    /// They are not looked at and need not be fetched.
    Unused,
}

/// A text that names no grade.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no grade; give one of sandbox, draft, classical, neural")]
pub struct UnknownGrade(pub String);

impl Grade {
    /// All grades, the lowest first.
    pub const ALL: [Grade; 4] = [Grade::Sandbox, Grade::Draft, Grade::Classical, Grade::Neural];

    /// The word for it, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Grade::Sandbox => "sandbox",
            Grade::Draft => "draft",
            Grade::Classical => "classical",
            Grade::Neural => "neural",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Grade {
    type Err = UnknownGrade;

    fn from_str(text: &str) -> Result<Self, UnknownGrade> {
        Self::ALL.into_iter().find(|grade| grade.as_str() == text).ok_or_else(|| UnknownGrade(text.to_owned()))
    }
}

impl Offer {
    /// An offer that takes any model and fetched inputs.
    pub fn new(operation: &'static Operation, grade: Grade) -> Self {
        Self { operation, grade, models: Models::Any, inputs: Inputs::Fetched, values: Vec::new() }
    }
}

impl Models {
    /// Whether a request may name this checkpoint.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Models::Any => true,
            Models::Listed(models) => checkpoints(models).any(|model| model.name == name),
        }
    }

    /// The names of the checkpoints that are listed.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Models::Any => Vec::new(),
            Models::Listed(models) => checkpoints(models).map(|model| model.name.clone()).collect(),
        }
    }
}

fn checkpoints(models: &[Model]) -> impl Iterator<Item = &Model> {
    models.iter().filter(|model| model.kind == ModelKind::Checkpoint)
}

impl Model {
    /// A model of which no more is known than this.
    pub fn new(kind: ModelKind, name: impl Into<String>, title: impl Into<String>) -> Self {
        Self { kind, name: name.into(), title: title.into(), base_model: None, hash: None, version: None, path: None }
    }

    /// The name without the file's ending, as a prompt names LoRAs and embeddings.
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
    fn grades_are_ordered_and_read_back() {
        assert!(Grade::ALL.is_sorted());
        for grade in Grade::ALL {
            assert_eq!(grade.to_string().parse(), Ok(grade));
        }
        let error = "best".parse::<Grade>().unwrap_err();
        assert_eq!(error.to_string(), "\"best\" is no grade; give one of sandbox, draft, classical, neural");
    }

    #[test]
    fn a_short_name_has_no_ending() {
        for (name, short) in [("a_v1.5.safetensors", "a_v1.5"), ("plain", "plain"), (".hidden", ".hidden")] {
            assert_eq!(Model::new(ModelKind::Lora, name, "").short_name(), short);
        }
    }

    #[test]
    fn only_checkpoints_are_named_as_models() {
        let models = [ModelKind::Checkpoint, ModelKind::Vae].map(|kind| Model::new(kind, format!("{kind:?}"), ""));
        let models = Models::Listed(models.to_vec());
        assert!(models.has("Checkpoint") && !models.has("Vae") && Models::Any.has("Vae"));
        assert_eq!(models.names(), ["Checkpoint"]);
    }
}
