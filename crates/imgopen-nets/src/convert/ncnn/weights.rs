//! Reads `.bin` files: weights without any marks of where they belong, but for a tag before those that may be of several kinds.

use super::problems::{broken, unsupported};
use crate::convert::ConvertError;
use crate::onnx::builder::Weights;

/// The tags of `ModelBin`.
const HALF: u32 = 0x0130_6b47;
const SINGLE: [u32; 2] = [0, 0x0002_c056];

/// The rest of a file.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bin: &'a [u8]) -> Self {
        Self { rest: bin }
    }

    /// Reads `count` weights with a tag.
    pub fn tagged(&mut self, count: usize) -> Result<(Weights, &'a [u8]), ConvertError> {
        let tag = self.take(4)?.first_chunk().copied().map(u32::from_le_bytes);
        match tag {
            Some(HALF) => {
                let bytes = count.checked_mul(2).ok_or_else(ends)?;
                let weights = self.take(bytes)?;
                // They fill whole words.
                self.take(bytes % 4)?;
                Ok((Weights::F16, weights))
            }
            Some(tag) if SINGLE.contains(&tag) => Ok((Weights::F32, self.plain(count)?)),
            tag => Err(unsupported(format!(
                "it has weights with the tag {:#010x}, such as quantised ones",
                tag.unwrap_or(0)
            ))),
        }
    }

    /// Reads `count` numbers of single precision, which have no tag.
    pub fn plain(&mut self, count: usize) -> Result<&'a [u8], ConvertError> {
        self.take(count.checked_mul(4).ok_or_else(ends)?)
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), ConvertError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(broken(format!("its weights have {left} bytes more than its layers take"))),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], ConvertError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or_else(ends)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn ends() -> ConvertError {
    broken("its weights end too early")
}
