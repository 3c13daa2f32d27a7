//! Reading the body of a callback.

use crate::envelope::{Answer, SUCCESS_CODE};
use crate::operation::Operation;
use crate::wire::{ReadError, read};
use crate::{Callback, Envelope};

/// Reads a pushed body. A failure need not hold any data.
pub(crate) fn pushed<T: Answer>(
    operation: &'static Operation,
    json: &[u8],
    success: fn(T) -> Callback,
) -> Result<Callback, ReadError> {
    let envelope: Envelope = read(json)?;
    if envelope.code != SUCCESS_CODE {
        return Ok(Callback::Failed { operation, envelope });
    }
    read(json).map(success)
}
