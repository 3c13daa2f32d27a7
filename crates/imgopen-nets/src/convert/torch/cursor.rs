//! Reads the bytes of a file in order. Every length is compared with what is left, and nothing is copied.

use super::problems::broken;
use crate::convert::ConvertError;

/// The longest line.
const LINE: usize = 256;

/// The rest of a file.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(file: &'a [u8]) -> Self {
        Self { rest: file }
    }

    /// Returns how many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ConvertError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(ends)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ConvertError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or_else(ends)?;
        self.rest = rest;
        Ok(*array)
    }

    pub fn byte(&mut self) -> Result<u8, ConvertError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Reads a text of that many bytes.
    pub fn text(&mut self, count: usize) -> Result<&'a str, ConvertError> {
        text(self.take(count)?)
    }

    /// Reads a text up to the end of its line, which is left out.
    pub fn line(&mut self) -> Result<&'a str, ConvertError> {
        let end = self.rest.iter().take(LINE).position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or_else(|| broken("a name in it has no end"))?)?;
        self.take(1)?;
        text(line)
    }
}

fn text(bytes: &[u8]) -> Result<&str, ConvertError> {
    str::from_utf8(bytes).map_err(|_| broken("a text in it is not UTF-8"))
}

fn ends() -> ConvertError {
    broken("it ends too early")
}
