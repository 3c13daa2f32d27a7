//! Parses the headers of picture files without a decoder.

use crate::bmp_file;
use crate::chroma::Chroma;
use crate::file_format::{FileFormat, PNG_SIGNATURE};
use crate::gif_file;
use crate::jpeg_outline;
use crate::numbers::{be32, le16, le24, le32};
use crate::others;
use crate::problem::Problem;
use crate::tiff_file;

/// The header of a picture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The format, recognised by content.
    pub format: FileFormat,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The number of frames, 1 for a still picture; of a TIFF file that of its pages.
    pub frames: u32,
    /// The chroma subsampling.
    pub chroma: Chroma,
}

/// Whether a file is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Found,
    Missing,
    /// It is there, but not all scans of a JPEG file are.
    WithoutScans,
}

impl Header {
    /// Returns width times height.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// Recognises the format and parses its header.
pub(crate) fn read(bytes: &[u8]) -> Result<(Header, End), Problem> {
    if bytes.starts_with(PNG_SIGNATURE) {
        png(bytes)
    } else if bytes.starts_with(b"\xff\xd8") {
        jpeg(bytes)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        webp(bytes)
    } else if gif_file::is_gif(bytes) {
        gif(bytes)
    } else if bmp_file::is_bmp(bytes) {
        bmp(bytes)
    } else if tiff_file::is_tiff(bytes) {
        tiff(bytes)
    } else {
        Err(other(bytes))
    }
}

fn other(bytes: &[u8]) -> Problem {
    if bytes.is_empty() {
        return Problem::Empty;
    }
    others::name(bytes).map_or(Problem::NoPicture, Problem::WrongKind)
}

/// Walks all chunks, so that a missing end is noticed.
fn png(bytes: &[u8]) -> Result<(Header, End), Problem> {
    let (mut size, mut frames, mut end) = (None, 1, End::Missing);
    let mut rest = &bytes[PNG_SIGNATURE.len()..];
    while let Some((kind, body, after)) = png_chunk(rest) {
        match kind {
            b"IHDR" => size = be32(body, 0).zip(be32(body, 4)),
            // Its pixels are compressed in another way, and their channels exchanged.
            b"CgBI" => return Err(Problem::Unsupported(FileFormat::Png, "of Xcode (CgBI)".to_owned())),
            b"acTL" => frames = be32(body, 0).unwrap_or(1).max(1),
            b"IEND" => end = End::Found,
            _ => {}
        }
        rest = if end == End::Found { &[] } else { after };
    }
    let (width, height) = size.ok_or_else(|| lacking(FileFormat::Png, end))?;
    Ok((Header { format: FileFormat::Png, width, height, frames, chroma: Chroma::Full }, end))
}

/// Returns the kinds and bodies of the chunks of a PNG file.
pub(crate) fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes.strip_prefix(PNG_SIGNATURE).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, body, after) = png_chunk(rest)?;
        rest = after;
        Some((kind, body))
    })
}

/// Returns the kinds and bodies of those chunks whose checksum is right, as decoders do; that of pixels is left to them.
pub(crate) fn sound_png_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = PNG_SIGNATURE.len();
    png_chunks(bytes).filter(move |(kind, body)| {
        const BEFORE: usize = 8;
        let end = at + BEFORE + body.len();
        let written = be32(bytes, end);
        at = end + size_of::<u32>();
        *kind == b"IDAT" || written == Some(png_checksum(kind, body))
    })
}

/// Returns the checksum of a chunk.
pub(crate) fn png_checksum(kind: &[u8], body: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(kind);
    sum.update(body);
    sum.sum()
}

/// Returns where the first chunk of pixels of a PNG file begins.
pub(crate) fn png_pixels(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes.strip_prefix(PNG_SIGNATURE)?;
    loop {
        let (kind, _, after) = png_chunk(rest)?;
        if kind == b"IDAT" {
            return Some(bytes.len() - rest.len());
        }
        rest = after;
    }
}

/// Returns the kind and the body of the first chunk, and what follows it.
fn png_chunk(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    const AROUND: usize = 12;
    let length = be32(bytes, 0)? as usize;
    let (chunk, after) = bytes.split_at_checked(length.checked_add(AROUND)?)?;
    Some((&chunk[4..8], &chunk[8..8 + length], after))
}

/// Whether pixels are missing shows when they are decoded: a file that lacks nothing but the end marker is complete.
fn jpeg(bytes: &[u8]) -> Result<(Header, End), Problem> {
    let outline = jpeg_outline::read(bytes)?;
    let (width, height) = (outline.frame.width, outline.frame.height);
    let end = match outline.is_complete {
        true => End::Found,
        false if outline.has_end => End::WithoutScans,
        false => End::Missing,
    };
    Ok((Header { format: FileFormat::Jpeg, width, height, frames: 1, chroma: outline.chroma() }, end))
}

/// Walks all chunks within the length that the file declares.
fn webp(bytes: &[u8]) -> Result<(Header, End), Problem> {
    const BEFORE: usize = 8;
    let length = le32(bytes, 4).unwrap_or(0) as usize;
    let end = if bytes.len() - BEFORE >= length { End::Found } else { End::Missing };
    let (mut size, mut frames) = (None, 0);
    let mut rest = &bytes[12..];
    while let Some((kind, body, after)) = webp_chunk(rest) {
        let found = match kind {
            b"VP8X" => le24(body, 4).zip(le24(body, 7)).map(|(width, height)| (width + 1, height + 1)),
            b"VP8 " => le16(body, 6).zip(le16(body, 8)).map(|(width, height)| (width & 0x3fff, height & 0x3fff)),
            b"VP8L" => le32(body, 1).map(|bits| ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1)),
            _ => None,
        };
        frames += u32::from(kind == b"ANMF");
        size = size.or(found);
        rest = after;
    }
    let (width, height) = size.ok_or_else(|| lacking(FileFormat::WebP, end))?;
    Ok((Header { format: FileFormat::WebP, width, height, frames: frames.max(1), chroma: Chroma::Halved }, end))
}

/// Returns the kinds and bodies of the chunks of a WebP file.
pub(crate) fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, body, after) = webp_chunk(rest)?;
        rest = after;
        Some((kind, body))
    })
}

/// Returns the kind and the body of the first chunk, whose end may be missing, and what follows it.
fn webp_chunk(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (kind, rest) = bytes.split_at_checked(4)?;
    let length = le32(rest, 0)? as usize;
    let body = &rest[4..];
    let after = length.checked_add(length % 2).and_then(|padded| body.get(padded..)).unwrap_or(&[]);
    Some((kind, &body[..length.min(body.len())], after))
}

/// Whether all later frames are there does not matter: the first one is used.
fn gif(bytes: &[u8]) -> Result<(Header, End), Problem> {
    let outline = gif_file::outline(bytes)?;
    let (width, height) = outline.size();
    let end = if outline.is_whole { End::Found } else { End::Missing };
    Ok((Header { format: FileFormat::Gif, width, height, frames: outline.frames, chroma: Chroma::Full }, end))
}

fn bmp(bytes: &[u8]) -> Result<(Header, End), Problem> {
    let outline = bmp_file::outline(bytes)?;
    let end = if outline.is_whole { End::Found } else { End::Missing };
    let (width, height) = (outline.width, outline.height);
    Ok((Header { format: FileFormat::Bmp, width, height, frames: 1, chroma: Chroma::Full }, end))
}

fn tiff(bytes: &[u8]) -> Result<(Header, End), Problem> {
    let outline = tiff_file::outline(bytes)?;
    let end = if outline.is_whole { End::Found } else { End::Missing };
    let (width, height, frames) = (outline.width, outline.height, outline.pages);
    Ok((Header { format: FileFormat::Tiff, width, height, frames, chroma: Chroma::Full }, end))
}

/// Returns the problem of a file without dimensions: truncated before them, or damaged.
fn lacking(format: FileFormat, end: End) -> Problem {
    match end {
        End::Missing => Problem::Truncated(format),
        End::Found | End::WithoutScans => {
            Problem::Damaged(format, "it does not say how large the picture is".to_owned())
        }
    }
}
