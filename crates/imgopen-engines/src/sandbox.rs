//! Labelled test cards in place of results, for trying out everything around the engines.

use futures_util::future::BoxFuture;
use imgopen_types::{Operation, operations};

use crate::{Engine, EngineError, Grade, Inputs, Job, Models, Monitor, Offer, Output};

/// The engine that makes labelled test cards.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {}

/// A directive that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DirectiveError(String);

/// Checks the directives of a request: the value of the header `x-sandbox`, and those in the prompt.
///
/// # Errors
///
/// Names the directive that cannot be read, and tells the syntax.
pub fn check(directives: Option<&str>, prompt: Option<&str>) -> Result<(), DirectiveError> {
    let _ = (directives, prompt);
    Ok(())
}

/// Whether the sandbox stands in for the operation: it does for every job but training, and for prompt expansion.
pub(crate) fn serves(operation_id: &str) -> bool {
    served().any(|operation| operation.id == operation_id)
}

fn served() -> impl Iterator<Item = &'static Operation> {
    let serves = |operation: &&Operation| match operation.id {
        "submit_training" => false,
        "expand_prompt" => true,
        _ => operation.job.is_some(),
    };
    operations::ALL.iter().copied().filter(serves)
}

impl Sandbox {
    /// With the default pace.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = |operation| Offer { operation, grade: Grade::Sandbox, models: Models::Any, inputs: Inputs::Unused };
        served().map(offer).collect()
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Err(EngineError::Failed("test cards are not drawn yet".to_owned())) })
    }
}
