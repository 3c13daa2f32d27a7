//! Says why a file cannot be decoded. The words of decoders are for people who know the formats, so they are not passed on.

use std::io;

use image::ImageError;

use crate::file_format::{FileFormat, PNG_SIGNATURE};
use crate::header;
use crate::numbers::be32;
use crate::problem::Problem;

/// What is wrong if nothing else is.
const PIXELS: &str = "its compressed pixels are invalid or end too early";
/// The bytes before the body of a chunk.
const BEFORE: usize = 8;
/// The bytes of the header of a PNG file.
const HEADER: usize = 13;
/// The colour type of PNG files with a palette.
const INDEXED: u8 = 3;

/// Returns the problem of a file whose header was read, and whose pixels the image crate cannot decode.
pub(crate) fn problem(bytes: &[u8], format: FileFormat, error: &ImageError) -> Problem {
    let is_cut = matches!(error, ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof);
    match format {
        _ if matches!(error, ImageError::Limits(_)) => {
            Problem::Unsupported(format, "whose texts or profile take far more memory than its pixels".to_owned())
        }
        // That its last chunk is there is known.
        FileFormat::Png => png(bytes),
        _ if is_cut => Problem::Truncated(format),
        _ => damaged(format, PIXELS),
    }
}

fn damaged(format: FileFormat, problem: impl Into<String>) -> Problem {
    Problem::Damaged(format, problem.into())
}

/// Walks the chunks that no decoder may pass over.
fn png(bytes: &[u8]) -> Problem {
    let (mut at, mut color, mut has_palette, mut has_pixels) = (PNG_SIGNATURE.len(), None, false, false);
    for (kind, body) in header::png_chunks(bytes) {
        let end = at + BEFORE + body.len();
        let is_sound = be32(bytes, end) == Some(header::png_checksum(kind, body));
        at = end + size_of::<u32>();
        if kind.first().is_some_and(u8::is_ascii_lowercase) {
            continue;
        }
        let name = kind.escape_ascii();
        match kind {
            _ if !is_sound => {
                let problem = format!("the checksum of its chunk `{name}` is wrong, so bytes were changed on the way");
                return damaged(FileFormat::Png, problem);
            }
            b"IHDR" => match png_header(body) {
                Ok(found) => color = Some(found),
                Err(problem) => return problem,
            },
            _ if color.is_none() => return damaged(FileFormat::Png, "it does not begin with its header (`IHDR`)"),
            b"PLTE" => has_palette = true,
            b"IDAT" => has_pixels = true,
            b"IEND" => break,
            _ => {
                return Problem::Unsupported(
                    FileFormat::Png,
                    format!("with the chunk `{name}`, which few programs know"),
                );
            }
        }
    }
    let problem = match (has_pixels, color == Some(INDEXED) && !has_palette) {
        (false, _) => "it has no pixels (`IDAT`)",
        (true, true) => "it has no palette (`PLTE`)",
        (true, false) => PIXELS,
    };
    damaged(FileFormat::Png, problem)
}

/// Returns the colour type in the header of a PNG file, if the header is valid.
fn png_header(body: &[u8]) -> Result<u8, Problem> {
    let [_, _, _, _, _, _, _, _, depth, color, compression, filter, interlace] = *body else {
        return Err(damaged(FileFormat::Png, format!("its header has {} bytes instead of {HEADER}", body.len())));
    };
    let is_known = match color {
        0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
        INDEXED => matches!(depth, 1 | 2 | 4 | 8),
        2 | 4 | 6 => matches!(depth, 8 | 16),
        _ => false,
    };
    if !is_known {
        let problem = format!("its header gives {depth} bits for the colour type {color}, which has no such depth");
        return Err(damaged(FileFormat::Png, problem));
    }
    for (name, method, most) in [("compression", compression, 0), ("filter", filter, 0), ("interlace", interlace, 1)] {
        if method > most {
            return Err(Problem::Unsupported(FileFormat::Png, format!("with the {name} method {method}")));
        }
    }
    Ok(color)
}
