//! Reads the header of a safetensors file: names and shapes of its tensors, and texts. The tensors are not read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::Metadata;

/// The longest header in bytes. Those of the largest models have less than one million; a LoRA's texts about its training,
/// with a picture among them, take some more.
pub(super) const LONGEST: u64 = 16 * 1024 * 1024;

/// The size of the header's length field in bytes.
const LENGTH: u64 = 8;

/// Why a file cannot be used, as the rest of a sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("its header has {0} bytes, and at most {LONGEST} are read; it is probably not a safetensors file")]
    TooLong(u64),
    #[error("it has {size} bytes of {expected}; it is probably still being written, or was truncated on the way")]
    Truncated { size: u64, expected: u64 },
    #[error("it has {size} bytes, but its header describes {expected}")]
    Longer { size: u64, expected: u64 },
    #[error("its header is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

/// Reads the header of a file of that size, and checks that the size matches the tensors.
pub(super) fn read(path: &Path, size: u64) -> Result<Metadata, Problem> {
    let mut file = File::open(path)?;
    if size < LENGTH {
        return Err(Problem::Truncated { size, expected: LENGTH });
    }
    let mut length = [0; LENGTH as usize];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST {
        return Err(Problem::TooLong(length));
    }
    if size < LENGTH + length {
        return Err(Problem::Truncated { size, expected: LENGTH + length });
    }
    let mut header = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut header)?;
    let header: Metadata = serde_json::from_slice(&header)?;
    let expected = LENGTH + length + header.data_len() as u64;
    match size {
        _ if size < expected => Err(Problem::Truncated { size, expected }),
        _ if size > expected => Err(Problem::Longer { size, expected }),
        _ => Ok(header),
    }
}
