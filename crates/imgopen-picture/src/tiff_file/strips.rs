//! Undoes the compression of strips and tiles.

use std::borrow::Cow;
use std::io::{self, Cursor, Read};

use flate2::bufread::ZlibDecoder;
use imgopen_engine::Monitor;
use weezl::LzwStatus;
use weezl::decode::{Configuration, Decoder};

use super::outline::{Colors, Compression, Outline, damaged, unsupported};
use crate::file_format::FileFormat;
use crate::jpeg_outline::{self, Colors as JpegColors};
use crate::jpeg_reader;
use crate::problem::Problem;

/// The markers at the beginning and at the end of a JPEG file.
const JPEG_START: &[u8] = b"\xff\xd8";
const JPEG_END: &[u8] = b"\xff\xd9";

/// Returns the rows of a strip or tile, which has at least so many, one after the other.
pub(super) fn open<'a>(
    outline: &Outline<'a>,
    part: &'a [u8],
    rows: u32,
    monitor: Option<&Monitor>,
) -> Result<Box<dyn Read + 'a>, Problem> {
    Ok(match outline.compression {
        Compression::None => Box::new(part),
        Compression::Deflate => Box::new(ZlibDecoder::new(part)),
        Compression::PackBits => Box::new(PackBits { rest: part, run: Run::Literal(0) }),
        // Codes of the old kind begin with their lowest bit. The first one clears the table.
        Compression::Lzw if matches!(part, [0, second, ..] if second & 1 == 1) => {
            return Err(unsupported("with LZW of the old kind"));
        }
        Compression::Lzw => Box::new(Lzw::new(part)),
        Compression::Jpeg => Box::new(Cursor::new(jpeg(outline, part, rows, monitor)?)),
    })
}

/// Decodes a strip or tile that is a JPEG file, whose tables may be elsewhere.
fn jpeg(outline: &Outline<'_>, part: &[u8], rows: u32, monitor: Option<&Monitor>) -> Result<Vec<u8>, Problem> {
    let file = match outline.tables {
        Some(tables) => {
            let tables = tables.strip_suffix(JPEG_END).unwrap_or(tables);
            Cow::Owned([tables, part.strip_prefix(JPEG_START).unwrap_or(part)].concat())
        }
        None => Cow::Borrowed(part),
    };
    if !file.starts_with(JPEG_START) {
        return Err(damaged("a strip or tile is not a JPEG file"));
    }
    let mut parsed = jpeg_outline::read(&file).map_err(within)?;
    let (width, height) = (parsed.frame.width, parsed.frame.height);
    if width != outline.chunk.0 || height < rows || height > outline.chunk.1 {
        let (wide, high) = outline.chunk;
        return Err(damaged(format!("a strip or tile of {wide}x{high} pixels has {width}x{height} in its JPEG file")));
    }
    if parsed.frame.channels() != outline.samples {
        let (found, channels) = (parsed.frame.channels(), outline.samples);
        return Err(damaged(format!("a strip or tile has {found} channels in its JPEG file, not {channels}")));
    }
    if !parsed.is_complete {
        return Err(damaged("a JPEG file in it ends too early"));
    }
    // The fields say what the colours are, and the JPEG file says nothing.
    parsed.colors = match outline.colors {
        Colors::Gray { .. } | Colors::Palette => JpegColors::Gray,
        Colors::Rgb => JpegColors::Rgb,
        Colors::YCbCr => JpegColors::YCbCr,
        Colors::Cmyk => JpegColors::Cmyk,
    };
    let mut samples = jpeg_reader::samples(&file, &parsed, monitor).map_err(within)?;
    if outline.colors == Colors::Cmyk {
        // JPEG files of their own have what each ink leaves.
        samples.iter_mut().for_each(|sample| *sample = 255 - *sample);
    }
    Ok(samples)
}

/// Returns the problem of the TIFF file that a JPEG file is in.
fn within(problem: Problem) -> Problem {
    match problem {
        Problem::UnsupportedJpeg(kind) => unsupported(format!("with JPEG in it {kind}")),
        Problem::Truncated(_) => damaged("a JPEG file in it ends too early"),
        Problem::Damaged(FileFormat::Jpeg, problem) => damaged(format!("in a JPEG file in it, {problem}")),
        other => damaged(format!("a JPEG file in it {other}")),
    }
}

struct Lzw<'a> {
    decoder: Decoder,
    rest: &'a [u8],
}

impl<'a> Lzw<'a> {
    fn new(part: &'a [u8]) -> Self {
        // Like libtiff, which does not read beyond the last row.
        let configuration = Configuration::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
        Self { decoder: configuration.with_yield_on_full_buffer(true).build(), rest: part }
    }
}

impl Read for Lzw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut is_last_try = false;
        loop {
            let result = self.decoder.decode_bytes(self.rest, buffer);
            self.rest = self.rest.get(result.consumed_in..).unwrap_or_default();
            match result.status {
                _ if result.consumed_out > 0 => return Ok(result.consumed_out),
                Ok(LzwStatus::Ok) => {}
                // It says so of a code that clears the table, too, if it has read all bytes before. Others may be behind that.
                Ok(LzwStatus::NoProgress) if !is_last_try => is_last_try = true,
                Ok(LzwStatus::Done | LzwStatus::NoProgress) => return Ok(0),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            }
        }
    }
}

struct PackBits<'a> {
    rest: &'a [u8],
    run: Run,
}

/// Bytes that come next.
enum Run {
    /// So many of the file.
    Literal(usize),
    /// The same byte so many times.
    Repeated(u8, usize),
}

impl PackBits<'_> {
    /// Reads what comes next. Returns whether there is something.
    fn advance(&mut self) -> bool {
        while let Some((code, rest)) = self.rest.split_first() {
            self.rest = rest;
            match code.cast_signed() {
                count @ 0.. => {
                    self.run = Run::Literal(usize::from(count.unsigned_abs()) + 1);
                    return true;
                }
                // This does nothing.
                i8::MIN => {}
                count => {
                    let Some((byte, rest)) = rest.split_first() else { return false };
                    self.rest = rest;
                    self.run = Run::Repeated(*byte, usize::from(count.unsigned_abs()) + 1);
                    return true;
                }
            }
        }
        false
    }
}

impl Read for PackBits<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.run {
                Run::Literal(0) | Run::Repeated(_, 0) => {
                    if buffer.is_empty() || !self.advance() {
                        return Ok(0);
                    }
                }
                Run::Literal(left) => {
                    let count = buffer.len().min(*left).min(self.rest.len());
                    let (literal, rest) = self.rest.split_at(count);
                    buffer[..count].copy_from_slice(literal);
                    self.rest = rest;
                    *left -= count;
                    return Ok(count);
                }
                Run::Repeated(byte, left) => {
                    let count = buffer.len().min(*left);
                    buffer[..count].fill(*byte);
                    *left -= count;
                    return Ok(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8], at_once: usize) -> Vec<u8> {
        let (mut source, mut made) = (PackBits { rest: bytes, run: Run::Literal(0) }, Vec::new());
        let mut buffer = vec![0; at_once];
        loop {
            match source.read(&mut buffer).unwrap() {
                0 => return made,
                count => made.extend(&buffer[..count]),
            }
        }
    }

    /// The example of Apple's technical note 1023, which TIFF 6.0 cites.
    #[test]
    fn packed_bits_are_unpacked_however_they_are_read() {
        let packed = [0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7, 0xaa, 0x80];
        let expected = [&[0xaa_u8; 3][..], &[0x80, 0x00, 0x2a], &[0xaa; 4], &[0x80, 0x00, 0x2a, 0x22], &[0xaa; 10]];
        for at_once in [1, 2, 7, 100] {
            assert_eq!(unpacked(&packed, at_once), expected.concat());
        }
        // What is cut off is missing.
        assert_eq!(unpacked(&packed[..5], 9), [0xaa, 0xaa, 0xaa, 0x80, 0x00]);
        assert_eq!(unpacked(&packed[..7], 9), [0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a]);
    }
}
