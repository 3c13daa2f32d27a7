//! What an engine offers.

use std::fmt;
use std::str::FromStr;

use imgopen_types::Operation;

use crate::model::{Model, ModelKind};

/// An engine's statement that it carries out one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The operation.
    pub operation: &'static Operation,
    /// How good the results are.
    pub grade: Grade,
    /// The models that a request may name.
    pub models: Models,
    /// What the engine does with the pictures that a request names.
    pub inputs: Inputs,
    /// The values of fields whose set the contract leaves to the server.
    pub values: Vec<FieldValues>,
    /// Why the offer cannot be used now, such as "http://127.0.0.1:8188 does not answer"; `None` if it can. An offer that
    /// is away keeps its place: requests wait for it and never go to a lower grade.
    pub away: Option<String>,
    /// Whether it is known that the engine can serve this, as it is unless the program that it drives has not answered since the
    /// engine was created, or lacks something for what its operator named. While an offer is away, requests wait for it if it is
    /// known, and are rejected otherwise.
    pub is_known: bool,
    /// Whether runs only prepare the work and end without a result, because what would finish it is not configured. Such an
    /// offer accepts tasks, but the operation counts as missing.
    pub prepares_only: bool,
}

/// The values that an engine takes in a field whose set the contract leaves to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValues {
    /// The field, such as `preprocessor`.
    pub field: &'static str,
    /// The values, in the order in which to show them.
    pub values: Vec<String>,
}

/// How good results are, from a placeholder to a neural network's.
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
    /// Any name, or none.
    Any,
    /// These; a request that names no model gets the engine's default.
    Listed(Vec<Model>),
}

/// What an engine does with the pictures that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inputs {
    /// It needs all of them: they are fetched before the job runs and returned by [`Job::input`](crate::Job::input).
    Fetched,
    /// It does not look at them, and they are not fetched.
    Unused,
    /// It fetches them one at a time with [`Job::fetch`](crate::Job::fetch), as a training with a hundred pictures does.
    OnDemand,
}

/// A text that does not name a grade.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a grade; give one of sandbox, draft, classical, neural")]
pub struct UnknownGrade(pub String);

impl Grade {
    /// All grades, the lowest first.
    pub const ALL: [Grade; 4] = [Grade::Sandbox, Grade::Draft, Grade::Classical, Grade::Neural];

    /// Returns its name, in lower case.
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
    /// Creates an offer that takes any model and fetched inputs, is not away, and is known.
    pub fn new(operation: &'static Operation, grade: Grade) -> Self {
        let (models, inputs) = (Models::Any, Inputs::Fetched);
        let values = Vec::new();
        Self { operation, grade, models, inputs, values, away: None, is_known: true, prepares_only: false }
    }
}

impl Models {
    /// Returns whether a request may name this checkpoint.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Models::Any => true,
            Models::Listed(models) => checkpoints(models).any(|model| model.name == name),
        }
    }

    /// Returns the names of the listed checkpoints.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_are_ordered_and_parse_from_their_names() {
        assert!(Grade::ALL.is_sorted());
        for grade in Grade::ALL {
            assert_eq!(grade.to_string().parse(), Ok(grade));
        }
        let error = "best".parse::<Grade>().unwrap_err();
        assert_eq!(error.to_string(), "\"best\" is not a grade; give one of sandbox, draft, classical, neural");
    }

    #[test]
    fn requests_name_checkpoints_only() {
        let models = [ModelKind::Checkpoint, ModelKind::Vae].map(|kind| Model::new(kind, format!("{kind:?}"), ""));
        let models = Models::Listed(models.to_vec());
        assert!(models.has("Checkpoint") && !models.has("Vae") && Models::Any.has("Vae"));
        assert_eq!(models.names(), ["Checkpoint"]);
    }
}
