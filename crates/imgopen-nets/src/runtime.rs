//! What runs nets.

mod apart;
#[cfg(feature = "ort")]
mod ort;
mod provider;
mod rten;
mod settings;

use std::fmt;

pub use self::apart::{Apart, ApartSettings, serve};
#[cfg(feature = "ort")]
pub use self::ort::{Ort, OrtSettings};
pub use self::provider::{Provider, UnknownProvider};
pub use self::rten::Rten;
pub use self::settings::RuntimeSettings;

use crate::tensor::Tensor;

/// Loads model files.
///
/// [`Net`](crate::Net) calls it with files and inputs that it has checked, and catches panics.
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// Returns the name, such as `rten`.
    fn name(&self) -> &'static str;

    /// Returns the name with all that decides whether a net can be run, such as what it is run on: the same text stands for the
    /// same behaviour.
    fn variant(&self) -> String {
        self.name().to_owned()
    }

    /// Loads an ONNX model. `side` is the longest side of the pictures that it is given where the model leaves that open, if it is
    /// known.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or not supported, or that the runtime itself does not work.
    fn load(&self, model: Vec<u8>, side: Option<usize>) -> Result<Box<dyn Program>, ProgramError>;
}

/// Why a runtime has not loaded a model, or not run it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// Something is wrong with the model, or not supported.
    #[error("{0}")]
    Model(String),
    /// The runtime does not work, which says nothing about the model.
    #[error("{0}")]
    Runtime(String),
    /// The process that loaded or ran the model was ended from outside, as by a system that is short of memory. That says little
    /// about the model. It is the error of what was under way; what waited for that process has [`Runtime`](Self::Runtime).
    #[error("{0}")]
    Killed(String),
}

impl From<String> for ProgramError {
    fn from(problem: String) -> Self {
        ProgramError::Model(problem)
    }
}

/// A loaded model.
pub trait Program: Send + Sync {
    /// Runs the net. Several runs may be under way at once; a runtime that cannot do that has them wait for each other.
    ///
    /// `inputs` are all inputs that the file declares, in its order, and `outputs` the indexes of the outputs that are wanted.
    ///
    /// # Errors
    ///
    /// What went wrong.
    fn run(&self, inputs: &[(&str, &Tensor)], outputs: &[usize]) -> Result<Vec<Tensor>, ProgramError>;

    /// Returns whether it cannot run any more, such as because the process that it lives in was ended while nothing ran. Nets of which
    /// that holds are loaded again before they are used.
    fn has_ended(&self) -> bool {
        false
    }
}
