//! The errors of this format.

use crate::convert::ConvertError;

/// The name of the format in messages.
pub(in crate::convert) const FORMAT: &str = "PyTorch";

/// The file contradicts itself.
pub(super) fn broken(problem: impl Into<String>) -> ConvertError {
    ConvertError::Broken { format: FORMAT, problem: problem.into() }
}

/// The file has something that is not read.
pub(super) fn unsupported(what: impl Into<String>) -> ConvertError {
    ConvertError::Unsupported { format: FORMAT, what: what.into() }
}
