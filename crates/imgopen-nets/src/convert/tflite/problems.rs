//! The errors of this format.

use crate::convert::ConvertError;

/// The name of the format in messages.
pub(super) const FORMAT: &str = "TFLite";

/// The file contradicts itself.
pub(super) fn broken(problem: impl Into<String>) -> ConvertError {
    ConvertError::Broken { format: FORMAT, problem: problem.into() }
}

/// The file has something that is not converted.
pub(super) fn unsupported(what: impl Into<String>) -> ConvertError {
    ConvertError::Unsupported { format: FORMAT, what: what.into() }
}
