//! Enlarging by Lanczos resampling, without a neural network.

use futures_util::future::BoxFuture;
use imgopen_types::operations;

use crate::{Engine, EngineError, Grade, Inputs, Job, Models, Monitor, Offer, Output};

/// The engine that enlarges pictures by Lanczos resampling.
#[derive(Debug, Clone, Default)]
pub struct Lanczos {}

impl Lanczos {
    /// The engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Lanczos {
    fn name(&self) -> &'static str {
        "lanczos"
    }

    fn offers(&self) -> Vec<Offer> {
        let operation = &operations::ENLARGE_IMAGE;
        vec![Offer { operation, grade: Grade::Classical, models: Models::Any, inputs: Inputs::Fetched }]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Err(EngineError::Failed("pictures are not enlarged yet".to_owned())) })
    }
}
