//! The errors of this format.

use crate::convert::ConvertError;

/// The name of the format in messages.
pub(super) const FORMAT: &str = "ncnn";

/// The files contradict themselves or each other.
pub(super) fn broken(problem: impl Into<String>) -> ConvertError {
    ConvertError::Broken { format: FORMAT, problem: problem.into() }
}

/// The model has something that is not converted.
pub(super) fn unsupported(what: impl Into<String>) -> ConvertError {
    ConvertError::Unsupported { format: FORMAT, what: what.into() }
}
