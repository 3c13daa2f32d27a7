//! What BMP files carry: their density.

use super::contents::Carried;
use super::density::Density;
use crate::bmp_file;

/// Reads what a file carries.
pub(super) fn read(bytes: &[u8]) -> Carried {
    let density = bmp_file::outline(bytes).ok().and_then(|outline| Density::from_bmp(outline.density));
    Carried { density, ..Carried::default() }
}
