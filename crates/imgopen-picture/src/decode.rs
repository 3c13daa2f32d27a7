//! Reading pictures that strangers chose, and writing pictures. All engines share it.
//!
//! The format is told by content, never by a name. Size, dimensions, frames and completeness are checked before a
//! decoder sees the file; then the pixels are decoded within a bound on memory. PNG, JPEG and WebP are read.
//!
//! - **Orientation** (EXIF) is applied, so that pixels lie as the picture is to be seen.
//! - **Depth** is kept: 8 or 16 bits. Palettes and fewer than 8 bits are expanded.
//! - **Colour profiles** come along when they fit the pixels; colours are not converted.
//! - **Animations** have more than one frame. More frames than the limit are refused, which is the default; below it
//!   the first frame is used.
//! - **JPEG in four channels** (CMYK) is refused, since its colours cannot be told without its profile.

use std::fmt;
use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageResult, Limits};
use imgopen_engine::{EngineError, Format, Input, PictureLimits};

use crate::header::{self, End, Header};
use crate::metadata::parameters;
use crate::problem::{MAX_SIDE, Problem};

/// What decoders may take beside rows of pixels, such as for a profile. A profile of a few bytes may inflate to much.
const WORKING_MEMORY: u64 = 4 * 1024 * 1024;
/// What the rows that a decoder holds take for each pixel: four rows of four channels of 16 bits.
const BYTES_PER_COLUMN: u64 = 32;

/// A picture in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The pixels, upright.
    pub image: DynamicImage,
    /// What the file's header says. Width and height are those before the picture was set upright.
    pub header: Header,
    /// The colour profile (ICC), if the file has one that fits the pixels.
    pub profile: Option<Vec<u8>>,
    /// How the picture was made, as the Stable Diffusion web UI writes it.
    pub parameters: Option<String>,
}

/// Reads what the header says, and checks it against the limits. No pixel is decoded.
///
/// # Errors
///
/// Everything that can be told without decoding: see [`Problem`].
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

/// Decodes a picture within the limits, and sets it upright.
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
    let header = inspect(bytes, limits)?;
    let (image, profile) = pixels(bytes, &header).map_err(|error| Problem::damaged(header.format, error))?;
    Ok(Decoded { image, header, profile, parameters: parameters(bytes) })
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

/// Decodes an input picture of a job.
///
/// # Errors
///
/// Names the field, the address, the problem and the limit.
pub fn decode_input(input: &Input, limits: &PictureLimits) -> Result<Decoded, InputError> {
    decode(&input.bytes, limits).map_err(|problem| InputError::new(input, problem))
}

type Pixels = (DynamicImage, Option<Vec<u8>>);

fn pixels(bytes: &[u8], header: &Header) -> ImageResult<Pixels> {
    let mut bounds = Limits::no_limits();
    bounds.max_image_width = Some(header.width);
    bounds.max_image_height = Some(header.height);
    let file = Cursor::new(bytes);
    match header.format {
        Format::Png => {
            // The pixels themselves go where the decoder is told to put them, and do not count.
            bounds.max_alloc = Some(u64::from(header.width) * BYTES_PER_COLUMN + WORKING_MEMORY);
            read(PngDecoder::with_limits(file, bounds.clone())?, bounds)
        }
        Format::Jpeg => read(JpegDecoder::new(file)?, bounds),
        Format::WebP => read(WebPDecoder::new(file)?, bounds),
    }
}

fn read(mut decoder: impl ImageDecoder, bounds: Limits) -> ImageResult<Pixels> {
    decoder.set_limits(bounds)?;
    let color = decoder.color_type();
    // Damaged extras do not spoil a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| fits(profile, color));
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok((image, profile))
}

/// Whether a profile is for such pixels. The colour space of a profile stands at byte 16.
fn fits(profile: &[u8], color: ColorType) -> bool {
    match profile.get(16..20) {
        Some(b"RGB ") => color.has_color(),
        Some(b"GRAY") => !color.has_color(),
        _ => false,
    }
}
