//! Reads TIFF files: the first page that is neither a preview nor a mask.
//!
//! The image crate's decoder is not used, because it reads no palettes, no gray with transparency and no YCbCr, and converts
//! CMYK without its profile. Libraries undo the compression; JPEG is read as in JPEG files.

mod directory;
mod outline;
mod pixels;
mod strips;

use self::directory::File;

pub(crate) use self::directory::Directory;
pub(crate) use self::outline::outline;
pub(crate) use self::pixels::decode;

/// Whether a file has the mark of TIFF.
pub(crate) fn is_tiff(bytes: &[u8]) -> bool {
    // Canon's raw photographs have another mark behind it.
    File::read(bytes).is_some() && !bytes.starts_with(b"II*\0\x10\0\0\0CR")
}
