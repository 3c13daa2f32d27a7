//! Files of text, as editors write them: with or without a byte order mark.

use std::io;
use std::path::Path;

use imgopen_types::utf8;

/// Reads a file of text.
///
/// # Errors
///
/// If it cannot be read, or is not UTF-8; the error names its encoding.
pub fn read(path: &Path) -> io::Result<String> {
    of(&std::fs::read(path)?)
}

/// Returns bytes as text.
///
/// # Errors
///
/// If they are not UTF-8; the error names their encoding.
pub fn of(bytes: &[u8]) -> io::Result<String> {
    let text = utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("it is {error}")));
    text.map(str::to_owned)
}
