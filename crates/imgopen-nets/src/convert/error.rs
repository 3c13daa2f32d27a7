//! How a conversion fails.

use crate::onnx::builder::TooLarge;

/// Why a model file cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The file is truncated, contradicts itself, or is of another format.
    #[error("it is not a valid {format} model: {problem}")]
    Broken {
        /// The format, such as `TFLite`.
        format: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// The file has something that is not converted, such as an operator.
    #[error("the {format} model cannot be converted: {what}")]
    Unsupported {
        /// The format, such as `TFLite`.
        format: &'static str,
        /// What it has that is not converted.
        what: String,
    },
}

/// The weights of an honest file are used once each.
pub(super) fn too_large(format: &'static str) -> impl Fn(TooLarge) -> ConvertError {
    move |TooLarge| ConvertError::Broken { format, problem: "its weights add up to more than the file has".to_owned() }
}
