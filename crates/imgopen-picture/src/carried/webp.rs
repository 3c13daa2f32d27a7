//! What WebP files carry, in chunks beside that of the pixels.

use super::contents::Carried;
use super::limits::MOST;
use crate::header::webp_chunks;

/// The flags of what an extended file has.
const HAS_XMP: u8 = 1 << 2;
const HAS_EXIF: u8 = 1 << 3;
const HAS_ALPHA: u8 = 1 << 4;
const HAS_PROFILE: u8 = 1 << 5;
/// The bit of the header of lossless pixels that says that some are transparent, in its fifth byte.
const ALPHA_BIT: u8 = 1 << 4;

/// Reads what a file carries.
pub(super) fn read(bytes: &[u8]) -> Carried {
    let xmp = chunk(bytes, b"XMP ").and_then(|packet| String::from_utf8(packet.to_vec()).ok());
    Carried { xmp, ..Carried::default() }
}

/// Returns the EXIF data of a file.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    webp_chunks(bytes).find(|(kind, _)| *kind == b"EXIF").map(|(_, body)| body)
}

/// Returns the body of the first chunk of that kind that is not too large.
fn chunk<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    webp_chunks(bytes).find(|(name, body)| *name == kind && body.len() <= MOST).map(|(_, body)| body)
}

/// Returns whether the pixels of a still picture have lost detail.
pub(crate) fn is_lossy(bytes: &[u8]) -> bool {
    webp_chunks(bytes).any(|(kind, _)| kind == b"VP8 ")
}

/// What is put beside the pixels.
pub(crate) struct Parts<'a> {
    pub(crate) profile: Option<&'a [u8]>,
    pub(crate) exif: Option<&'a [u8]>,
    pub(crate) xmp: Option<&'a [u8]>,
}

/// Puts a file together from the pixels of another one. A file with nothing but pixels stays simple.
pub(crate) fn assemble(file: Vec<u8>, size: (u32, u32), parts: &Parts<'_>) -> Vec<u8> {
    let all = [(parts.profile, HAS_PROFILE), (parts.exif, HAS_EXIF), (parts.xmp, HAS_XMP)];
    let has = |(part, flag): &(Option<&[u8]>, u8)| if part.is_some() { *flag } else { 0 };
    let mut flags: u8 = all.iter().map(has).sum();
    if flags == 0 {
        return file;
    }
    let pixels: Vec<_> =
        webp_chunks(&file).filter(|(kind, _)| [b"VP8 ", b"VP8L", b"ALPH"].iter().any(|name| kind == *name)).collect();
    if pixels.iter().any(is_clear) {
        flags |= HAS_ALPHA;
    }
    let mut whole = b"RIFF\0\0\0\0WEBP".to_vec();
    put(&mut whole, b"VP8X", &header(flags, size));
    parts.profile.into_iter().for_each(|profile| put(&mut whole, b"ICCP", profile));
    for (kind, body) in pixels {
        put(&mut whole, kind, body);
    }
    parts.exif.into_iter().for_each(|data| put(&mut whole, b"EXIF", data));
    parts.xmp.into_iter().for_each(|packet| put(&mut whole, b"XMP ", packet));
    put_length(&mut whole);
    whole
}

/// Puts EXIF data into a file in place of its own. All else stays, and a file with nothing but pixels becomes an extended one.
/// `None` if it would become too large for the format.
pub(crate) fn with_exif(file: &[u8], size: (u32, u32), exif: &[u8]) -> Option<Vec<u8>> {
    let extended = webp_chunks(file).find(|(kind, _)| *kind == b"VP8X").map(|(_, body)| body.to_vec());
    let flags = if webp_chunks(file).any(|chunk| is_clear(&chunk)) { HAS_ALPHA } else { 0 };
    let mut extended = extended.unwrap_or_else(|| header(flags, size));
    *extended.first_mut()? |= HAS_EXIF;
    let mut whole = b"RIFF\0\0\0\0WEBP".to_vec();
    put(&mut whole, b"VP8X", &extended);
    for (kind, body) in webp_chunks(file).filter(|(kind, _)| *kind != b"VP8X" && *kind != b"EXIF") {
        put(&mut whole, kind, body);
    }
    put(&mut whole, b"EXIF", exif);
    put_length(&mut whole);
    u32::try_from(whole.len()).is_ok().then_some(whole)
}

/// Returns whether a chunk holds pixels of which some may be transparent.
fn is_clear((kind, body): &(&[u8], &[u8])) -> bool {
    match *kind {
        b"ALPH" => true,
        b"VP8L" => body.get(4).is_some_and(|byte| byte & ALPHA_BIT != 0),
        _ => false,
    }
}

/// Returns the body of the header of an extended file: flags, and the size of the picture.
fn header(flags: u8, (width, height): (u32, u32)) -> Vec<u8> {
    let [width, height] = [width, height].map(|side| side.saturating_sub(1).to_le_bytes());
    [&[flags, 0, 0, 0], &width[..3], &height[..3]].concat()
}

/// Puts in how long a file is.
fn put_length(file: &mut [u8]) {
    let length = (file.len() - 8) as u32;
    file[4..8].copy_from_slice(&length.to_le_bytes());
}

/// Adds a chunk, of even length.
fn put(file: &mut Vec<u8>, kind: &[u8], body: &[u8]) {
    file.extend(kind);
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    file.resize(file.len().next_multiple_of(2), 0);
}
