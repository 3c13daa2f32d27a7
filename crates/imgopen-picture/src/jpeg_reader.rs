//! Decodes JPEG files.
//!
//! The decoder is given the tables, the pixels, and what the colours are: everything else is parsed in
//! `jpeg_outline`. It takes pixels that end too early for zeros, so they are followed by bits that no code begins with.

mod narrow;

use std::io::{self, BufReader, Read};

use image::{DynamicImage, GrayImage, RgbImage};
use imgopen_engine::Monitor;
use jpeg_decoder::{ColorTransform, Decoder, Error};

use crate::cmyk;
use crate::file_format::FileFormat;
use crate::jpeg_markers::{self as markers, is_frame};
use crate::jpeg_outline::{Colors, Outline};
use crate::problem::Problem;
use crate::watched::{PART, Watched};

/// The beginning of the file. The segment, of motion JPEG, makes the decoder use the standard tables for those that the
/// file lacks, as libjpeg does.
const BEGINNING: &[u8] = b"\xff\xd8\xff\xe0\0\x10AVI1\0\0\0\0\0\0\0\0\0\0";
/// Bits that are set, as bytes of pixels. No code begins with 16 of them, after the last bits of one that was cut off. More
/// would keep the decoder from finding the next marker.
const PADDING: &[u8] = b"\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0";
const END: &[u8] = b"\xff\xd9";

/// Decodes the pixels, as they are stored.
pub(crate) fn decode(bytes: &[u8], outline: &Outline<'_>, monitor: Option<&Monitor>) -> Result<DynamicImage, Problem> {
    let samples = samples(bytes, outline, monitor)?;
    let (width, height) = (outline.frame.width, outline.frame.height);
    let image = match outline.colors {
        Colors::Gray => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        Colors::Rgb | Colors::YCbCr => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        Colors::Cmyk | Colors::Ycck => {
            let samples = cmyk::to_rgb(samples, outline.profile().as_deref());
            RgbImage::from_raw(width, height, samples).map(DynamicImage::from)
        }
    };
    image.ok_or_else(|| Problem::Damaged(FileFormat::Jpeg, "it has fewer pixels than its header says".to_owned()))
}

/// Decodes the values of the pixels, row by row: gray, RGB, or how much there is of each ink.
pub(crate) fn samples(bytes: &[u8], outline: &Outline<'_>, monitor: Option<&Monitor>) -> Result<Vec<u8>, Problem> {
    if narrow::is_narrow(outline) {
        let pixels = decoded(&narrow::widened(bytes), ColorTransform::RGB, outline, monitor)?;
        return Ok(narrow::unsmoothed(pixels, outline));
    }
    let transform = match outline.colors {
        Colors::Gray => ColorTransform::Grayscale,
        Colors::Rgb => ColorTransform::RGB,
        Colors::YCbCr => ColorTransform::YCbCr,
        Colors::Cmyk => ColorTransform::CMYK,
        Colors::Ycck => ColorTransform::YCCK,
    };
    decoded(bytes, transform, outline, monitor)
}

/// Decodes the values of the pixels with that conversion of colours.
fn decoded(
    bytes: &[u8],
    transform: ColorTransform,
    outline: &Outline<'_>,
    monitor: Option<&Monitor>,
) -> Result<Vec<u8>, Problem> {
    let mut decoder = Decoder::new(BufReader::with_capacity(PART, Watched::new(Stream::new(bytes), monitor)));
    decoder.set_color_transform(transform);
    decoder.decode().map_err(|error| problem(&error, outline))
}

/// The decoder's errors all mean that its data is invalid or incomplete: what it cannot read was rejected before.
fn problem(error: &Error, outline: &Outline<'_>) -> Problem {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Problem::Truncated(FileFormat::Jpeg),
        _ if !outline.has_end => Problem::Truncated(FileFormat::Jpeg),
        _ => Problem::Damaged(FileFormat::Jpeg, "its compressed pixels are invalid or end too early".to_owned()),
    }
}

/// The file as the decoder gets it.
struct Stream<'a> {
    /// What comes next.
    parts: [&'a [u8]; 3],
    /// The file from the next marker or pixels on.
    rest: &'a [u8],
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between segments.
    Segments,
    /// Before or between pixels.
    Pixels,
    /// After the end marker.
    Ended,
}

impl<'a> Stream<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { parts: [BEGINNING, &[], &[]], rest: bytes.get(2..).unwrap_or(&[]), state: State::Segments }
    }

    /// Finds what comes next: a segment, or pixels with the restart marker behind them.
    fn advance(&mut self) {
        match self.state {
            State::Segments => self.segment(),
            State::Pixels => self.pixels(),
            State::Ended => {}
        }
    }

    /// Finds the next segment that the decoder needs.
    fn segment(&mut self) {
        while let Some((marker, after)) = markers::next(self.rest) {
            if marker == END[1] {
                break;
            }
            if matches!(marker, 0x01 | 0xd0..=0xd8) {
                self.rest = after;
                continue;
            }
            let Some((body, behind)) = markers::body(after) else { break };
            let segment = &self.rest[self.rest.len() - after.len() - 2..self.rest.len() - behind.len()];
            debug_assert!(segment.ends_with(body));
            self.rest = behind;
            if is_frame(marker) || matches!(marker, 0xc4 | 0xda | 0xdb | 0xdd) {
                self.parts[0] = segment;
                if marker == 0xda {
                    self.state = State::Pixels;
                }
                return;
            }
        }
        self.parts[0] = END;
        self.state = State::Ended;
    }

    /// Finds the pixels up to the next marker.
    fn pixels(&mut self) {
        let Some((marker, after)) = markers::next(self.rest) else {
            // The file ends here.
            self.parts = [without_fill(self.rest), PADDING, &[]];
            self.rest = &[];
            self.state = State::Segments;
            return;
        };
        let (pixels, from_marker) = self.rest.split_at(self.rest.len() - after.len() - 2);
        let pixels = without_fill(pixels);
        if matches!(marker, 0xd0..=0xd7) {
            self.parts = [pixels, PADDING, &from_marker[..2]];
            self.rest = after;
        } else {
            self.parts = [pixels, PADDING, &[]];
            self.rest = from_marker;
            self.state = State::Segments;
        }
    }
}

/// Returns pixels without the fill bytes before a marker. Pixels end in no such byte.
fn without_fill(pixels: &[u8]) -> &[u8] {
    let end = pixels.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    &pixels[..end]
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            match self.parts.iter_mut().find(|part| !part.is_empty()) {
                Some(part) => {
                    let length = part.len().min(buffer.len() - count);
                    buffer[count..count + length].copy_from_slice(&part[..length]);
                    *part = &part[length..];
                    count += length;
                }
                None if self.state == State::Ended => break,
                None => self.advance(),
            }
        }
        Ok(count)
    }
}
