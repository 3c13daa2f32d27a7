//! Decodes pictures that strangers chose, after checking them in the header.

use std::fmt;
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageResult, Limits};
use imgopen_engine::{EngineError, Format, Input, Monitor, PictureLimits};

use crate::carried::{Carried, is_lossy};
use crate::header::{self, End, Header};
use crate::metadata::parameters;
use crate::problem::{MAX_SIDE, Problem};

/// The memory that decoders may use beside rows of pixels. A compressed colour profile of a few bytes may inflate to much.
const WORKING_MEMORY: u64 = 4 * 1024 * 1024;
/// The memory of the rows that a decoder holds, per column: four rows of four channels of 16 bits.
const BYTES_PER_COLUMN: u64 = 32;
/// How many bytes of a file a decoder gets before cancellation is checked again.
const PART: usize = 64 * 1024;

/// A picture in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The pixels, upright.
    pub image: DynamicImage,
    /// The header of the file. Width and height are those before the orientation was applied.
    pub header: Header,
    /// The colour profile (ICC), if the file has one for this kind of pixels.
    pub profile: Option<Vec<u8>>,
    /// How the picture was made, as the Stable Diffusion web UI writes it.
    pub parameters: Option<String>,
    /// What else the file carries.
    pub carried: Carried,
    /// Whether the file is a WebP file whose pixels have lost detail.
    pub is_lossy_webp: bool,
}

/// Reads the header of a picture and checks it against the limits, without decoding pixels.
///
/// # Errors
///
/// Every [`Problem`] that shows without decoding.
pub fn inspect(bytes: &[u8], limits: &PictureLimits) -> Result<Header, Problem> {
    let size = bytes.len() as u64;
    if size > limits.bytes {
        return Err(Problem::TooManyBytes { bytes: size, limit: limits.bytes });
    }
    let (header, end) = header::read(bytes)?;
    let Header { format, width, height, frames, .. } = header;
    if width == 0 || height == 0 {
        return Err(Problem::NoPixels { width, height });
    }
    if header.pixels() > limits.pixels {
        return Err(Problem::TooManyPixels { width, height, limit: limits.pixels });
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(Problem::TooLong { width, height });
    }
    if frames > limits.frames {
        return Err(Problem::TooManyFrames { frames, limit: limits.frames });
    }
    match end {
        End::Found => Ok(header),
        End::Missing => Err(Problem::Truncated(format)),
    }
}

/// Decodes a picture within the limits, and applies its orientation.
///
/// # Errors
///
/// Names the problem and the limit.
///
/// ```
/// use imgopen_picture::{PictureLimits, decode};
///
/// let error = decode(b"<html>", &PictureLimits::default()).unwrap_err();
/// assert_eq!(error.to_string(), "is an HTML page; give a PNG, JPEG or WebP file");
/// ```
pub fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, Problem> {
    decode_watched(bytes, limits, None)
}

fn decode_watched(bytes: &[u8], limits: &PictureLimits, monitor: Option<&Monitor>) -> Result<Decoded, Problem> {
    let header = inspect(bytes, limits)?;
    let (image, profile) = pixels(bytes, &header, monitor).map_err(|error| Problem::damaged(header.format, error))?;
    let carried = Carried::read(bytes, header.format, limits.location);
    let is_lossy_webp = header.format == Format::WebP && is_lossy(bytes);
    Ok(Decoded { image, header, profile, parameters: parameters(bytes), carried, is_lossy_webp })
}

/// An input picture of a job that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: the picture at {url} {problem}")]
pub struct InputError {
    /// The request's field that names it, such as `sourceImage`.
    pub field: String,
    /// Its address.
    pub url: String,
    /// What is wrong with it, as the rest of a sentence that begins with the picture.
    pub problem: String,
}

impl InputError {
    /// Rejects an input.
    pub fn new(input: &Input, problem: impl fmt::Display) -> Self {
        Self { field: input.field.clone(), url: input.url.clone(), problem: problem.to_string() }
    }
}

/// A rejection of the field that names the picture.
impl From<InputError> for EngineError {
    fn from(InputError { field, url, problem }: InputError) -> Self {
        Self::rejected(field, format!("the picture at {url} {problem}"))
    }
}

/// Decodes an input picture of a job, and stops within the file when the job is cancelled. The decoder of JPEG files cannot
/// be stopped; the limit of pixels bounds the time that it takes.
///
/// # Errors
///
/// [`EngineError::Rejected`] names the field, the address, the problem and the limit. [`EngineError::Cancelled`].
pub fn decode_input(input: &Input, limits: &PictureLimits, monitor: &Monitor) -> Result<Decoded, EngineError> {
    monitor.check_cancelled()?;
    let decoded = decode_watched(&input.bytes, limits, Some(monitor));
    // A decoder that was stopped reports a damaged file.
    monitor.check_cancelled()?;
    decoded.map_err(|problem| InputError::new(input, problem).into())
}

/// A file that cannot be read any further once its job is cancelled.
struct Watched<'a> {
    file: Cursor<&'a [u8]>,
    monitor: Option<&'a Monitor>,
    /// How many bytes may be read before the next check.
    left: usize,
}

impl Watched<'_> {
    fn check(&mut self) -> io::Result<()> {
        if self.left == 0 {
            if self.monitor.is_some_and(Monitor::is_cancelled) {
                return Err(io::Error::other(EngineError::Cancelled));
            }
            self.left = PART;
        }
        Ok(())
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let length = buffer.len().min(self.left);
        let count = self.file.read(&mut buffer[..length])?;
        self.left -= count;
        Ok(count)
    }
}

impl BufRead for Watched<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        let rest = self.file.fill_buf()?;
        Ok(&rest[..rest.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
        self.file.consume(count);
    }
}

impl Seek for Watched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

type Pixels = (DynamicImage, Option<Vec<u8>>);

fn pixels(bytes: &[u8], header: &Header, monitor: Option<&Monitor>) -> ImageResult<Pixels> {
    let mut bounds = Limits::no_limits();
    bounds.max_image_width = Some(header.width);
    bounds.max_image_height = Some(header.height);
    let file = Watched { file: Cursor::new(bytes), monitor, left: 0 };
    match header.format {
        Format::Png => {
            // The decoder writes the pixels into our buffer, which does not count.
            bounds.max_alloc = Some(u64::from(header.width) * BYTES_PER_COLUMN + WORKING_MEMORY);
            read(PngDecoder::with_limits(file, bounds.clone())?, bounds)
        }
        // Reads the whole file before it decodes.
        Format::Jpeg => read(JpegDecoder::new(file.file)?, bounds),
        Format::WebP => read(WebPDecoder::new(file)?, bounds),
    }
}

fn read(mut decoder: impl ImageDecoder, bounds: Limits) -> ImageResult<Pixels> {
    decoder.set_limits(bounds)?;
    let color = decoder.color_type();
    // Damaged metadata does not make a picture unusable.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| fits(profile, color));
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok((image, profile))
}

/// Returns whether a profile is for such pixels. Byte 16 of a profile begins its colour space.
fn fits(profile: &[u8], color: ColorType) -> bool {
    match profile.get(16..20) {
        Some(b"RGB ") => color.has_color(),
        Some(b"GRAY") => !color.has_color(),
        _ => false,
    }
}
