//! Parses the headers of BMP files, whose pixels the image crate decodes.

use crate::file_format::FileFormat;
use crate::numbers::{le16, le32};
use crate::problem::Problem;

/// The bytes of the first header, behind which the second one begins with its own length.
const FIRST: usize = 14;
/// The lengths of the second header: of OS/2 and Windows 2, of Windows 3, and of its extensions up to version 5.
const CORE: u32 = 12;
const INFO: [u32; 5] = [40, 52, 56, 108, VERSION_5];
const VERSION_5: u32 = 124;
/// Those of OS/2 2.
const OS2: [u32; 2] = [16, 64];
/// What a file of version 5 says about its colours if a profile is in it.
const EMBEDDED: &[u8] = b"DEBM";

/// What a file says before its pixels.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Whether the pixels are there up to their end, as far as that shows without decoding them.
    pub(crate) is_whole: bool,
    /// The pixels on a metre, across and down; 0 if unknown.
    pub(crate) density: (u32, u32),
    /// The colour profile.
    pub(crate) profile: Option<&'a [u8]>,
}

/// Whether a file has the mark of BMP and a header of one of its sizes.
pub(crate) fn is_bmp(bytes: &[u8]) -> bool {
    let is_known = |length: u32| length == CORE || INFO.contains(&length) || OS2.contains(&length);
    bytes.starts_with(b"BM") && le32(bytes, FIRST).is_some_and(is_known)
}

/// Parses a file that begins as BMP files do. What the decoder does not support is named here.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Problem> {
    let truncated = || Problem::Truncated(FileFormat::Bmp);
    let short = |at: usize| le16(bytes, FIRST + at).ok_or_else(truncated);
    let long = |at: usize| le32(bytes, FIRST + at).ok_or_else(truncated);
    let length = long(0)?;
    if OS2.contains(&length) {
        return Err(unsupported("with a header of OS/2"));
    }
    let pixels = le32(bytes, 10).ok_or_else(truncated)? as usize;
    if pixels < FIRST + length as usize {
        return Err(damaged("it says that its pixels begin in its header"));
    }
    let is_core = length == CORE;
    let (width, height, bits, compression, density) = match is_core {
        true => (short(4)?, short(6)?, short(10)?, 0, (0, 0)),
        false => {
            let (width, height) = (long(4)?.cast_signed(), long(8)?.cast_signed());
            let width = u32::try_from(width).map_err(|_| damaged("its width is negative"))?;
            // If the height is negative, the first row is the upper one.
            (width, height.unsigned_abs(), short(14)?, long(16)?, (long(24)?, long(28)?))
        }
    };
    check_kind(bits, compression, is_core)?;
    let profile = match length == VERSION_5 && bytes.get(FIRST + 56..FIRST + 60) == Some(EMBEDDED) {
        true => {
            let start = FIRST.saturating_add(long(112)? as usize);
            bytes.get(start..start.saturating_add(long(116)? as usize))
        }
        false => None,
    };
    let is_packed = matches!(compression, 1 | 2);
    let row = (u64::from(width) * u64::from(bits)).div_ceil(32) * 4;
    let end = row.saturating_mul(height.into()).saturating_add(pixels as u64);
    Ok(Outline { width, height, is_whole: is_packed || end <= bytes.len() as u64, density, profile })
}

/// Checks that the decoder knows how the pixels are stored.
fn check_kind(bits: u32, compression: u32, is_core: bool) -> Result<(), Problem> {
    let kind = match (compression, bits) {
        (0, 1 | 4 | 8 | 24) | (1, 8) | (2, 4) | (3, 16 | 32) => return Ok(()),
        (0, 2 | 16 | 32) if !is_core => return Ok(()),
        (4, _) => "that has a JPEG file in it".to_owned(),
        (5, _) => "that has a PNG file in it".to_owned(),
        (11..=13, _) => "in CMYK".to_owned(),
        (0..=3, _) => format!("of {bits} bits for each pixel"),
        _ => format!("with the compression {compression}"),
    };
    Err(unsupported(kind))
}

fn unsupported(kind: impl Into<String>) -> Problem {
    Problem::Unsupported(FileFormat::Bmp, kind.into())
}

fn damaged(problem: &str) -> Problem {
    Problem::Damaged(FileFormat::Bmp, problem.to_owned())
}
