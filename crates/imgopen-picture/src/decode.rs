//! Decodes pictures that strangers chose, after checking them in the header.

use std::fmt;
use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, DynamicImage, ImageDecoder, ImageResult, Limits};
use imgopen_engine::{EngineError, Input, Monitor, Picture, PictureLimits};

use crate::bmp_file;
use crate::carried::{Carried, is_lossy};
use crate::damage;
use crate::file_format::FileFormat;
use crate::gif_file;
use crate::header::{self, End, Header};
use crate::jpeg_outline::{self, Colors};
use crate::jpeg_reader;
use crate::metadata::parameters_with;
use crate::problem::{MAX_SIDE, Problem};
use crate::tiff_file;
use crate::watched::Watched;

/// The memory that decoders may use beside rows of pixels. A compressed colour profile of a few bytes may inflate to much.
const WORKING_MEMORY: u64 = 4 * 1024 * 1024;
/// The memory of the rows that a decoder holds, per column: four rows of four channels of 16 bits.
const BYTES_PER_COLUMN: u64 = 32;

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

/// Reads the header of a picture and checks it against the limits, without decoding pixels. Whether a JPEG file without its
/// end marker lacks pixels too shows only in [`decode`].
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
        return Err(match format {
            FileFormat::Tiff => Problem::TooManyPages { pages: frames, limit: limits.frames },
            _ => Problem::TooManyFrames { frames, limit: limits.frames },
        });
    }
    match end {
        End::Found => Ok(header),
        End::Missing => Err(Problem::Truncated(format)),
        End::WithoutScans => {
            let kind = "without the scans that have the detail or the colours of its pixels";
            Err(Problem::UnsupportedJpeg(kind.to_owned()))
        }
    }
}

/// As [`inspect`], and decodes a JPEG file without its end marker, because only its pixels show whether it is whole: for files
/// that are used as they are. May take seconds.
///
/// # Errors
///
/// As [`inspect`], and those of [`decode`] for such files.
pub fn inspect_whole(bytes: &[u8], limits: &PictureLimits) -> Result<Header, Problem> {
    let header = inspect(bytes, limits)?;
    if header.format == FileFormat::Jpeg && !jpeg_outline::read(bytes)?.has_end {
        decode(bytes, limits)?;
    }
    Ok(header)
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
/// assert_eq!(error.to_string(), "is an HTML page; give a PNG, JPEG, WebP, GIF, BMP or TIFF file");
/// ```
pub fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, Problem> {
    decode_watched(bytes, limits, None)
}

fn decode_watched(bytes: &[u8], limits: &PictureLimits, monitor: Option<&Monitor>) -> Result<Decoded, Problem> {
    let header = inspect(bytes, limits)?;
    let (mut image, profile) = pixels(bytes, &header, monitor)?;
    let carried = Carried::read(bytes, header.format, limits.location);
    image.apply_orientation(carried.orientation());
    let is_lossy_webp = header.format == FileFormat::WebP && is_lossy(bytes);
    let parameters = parameters_with(bytes, &carried);
    Ok(Decoded { image, header, profile, parameters, carried, is_lossy_webp })
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

/// Decodes an input picture of a job, and stops within the file when the job is cancelled.
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

/// Decodes a picture of a result, however large its file is, and stops within the file when the job is cancelled. Animations are
/// not decoded, whatever the limits say, because only their first frame would be.
///
/// # Errors
///
/// [`EngineError::Failed`] says what is wrong with the file. [`EngineError::Cancelled`].
pub fn decode_result(picture: &Picture, limits: &PictureLimits, monitor: &Monitor) -> Result<Decoded, EngineError> {
    monitor.check_cancelled()?;
    let limits = PictureLimits { bytes: u64::MAX, frames: 1, ..*limits };
    let decoded = decode_watched(&picture.bytes, &limits, Some(monitor));
    // A decoder that was stopped reports a damaged file.
    monitor.check_cancelled()?;
    decoded.map_err(|problem| EngineError::Failed(format!("the file {problem}")))
}

/// The pixels, as they are stored, and their colour profile.
type Pixels = (DynamicImage, Option<Vec<u8>>);

fn pixels(bytes: &[u8], header: &Header, monitor: Option<&Monitor>) -> Result<Pixels, Problem> {
    let mut bounds = Limits::no_limits();
    bounds.max_image_width = Some(header.width);
    bounds.max_image_height = Some(header.height);
    let file = Watched::new(Cursor::new(bytes), monitor);
    let read = match header.format {
        FileFormat::Png => {
            // The decoder writes the pixels into our buffer, which does not count. It reads each chunk whole, such as a long text.
            let chunks = 2 * bytes.len() as u64;
            bounds.max_alloc = Some(u64::from(header.width) * BYTES_PER_COLUMN + WORKING_MEMORY + chunks);
            PngDecoder::with_limits(file, bounds.clone()).and_then(|decoder| read(decoder, bounds))
        }
        FileFormat::Jpeg => return jpeg(bytes, monitor),
        FileFormat::WebP => WebPDecoder::new(file).and_then(|decoder| read(decoder, bounds)),
        FileFormat::Gif => return gif(bytes, monitor),
        FileFormat::Bmp => {
            let profile = bmp_file::outline(bytes)?.profile;
            let read = BmpDecoder::new(file).and_then(|decoder| read(decoder, bounds));
            read.map(|(image, _)| with_profile(image, profile.map(<[u8]>::to_vec)))
        }
        FileFormat::Tiff => return tiff(bytes, monitor),
    };
    read.map_err(|error| damage::problem(bytes, header.format, &error))
}

fn read(mut decoder: impl ImageDecoder, bounds: Limits) -> ImageResult<Pixels> {
    decoder.set_limits(bounds)?;
    let color = decoder.color_type();
    // A damaged profile does not make a picture unusable.
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| fits(profile, color));
    Ok((DynamicImage::from_decoder(decoder)?, profile))
}

fn jpeg(bytes: &[u8], monitor: Option<&Monitor>) -> Result<Pixels, Problem> {
    let outline = jpeg_outline::read(bytes)?;
    let image = jpeg_reader::decode(bytes, &outline, monitor)?;
    // CMYK was converted to sRGB, whatever profile there was.
    let is_converted = matches!(outline.colors, Colors::Cmyk | Colors::Ycck);
    let profile = outline.profile().filter(|profile| !is_converted && fits(profile, image.color()));
    Ok((image, profile))
}

fn gif(bytes: &[u8], monitor: Option<&Monitor>) -> Result<Pixels, Problem> {
    Ok(with_profile(gif_file::decode(bytes, monitor)?, gif_file::profile(bytes)))
}

fn tiff(bytes: &[u8], monitor: Option<&Monitor>) -> Result<Pixels, Problem> {
    let outline = tiff_file::outline(bytes)?;
    let image = tiff_file::decode(&outline, monitor)?;
    // CMYK was converted to sRGB, whatever profile there was.
    let profile = outline.profile.filter(|_| !outline.is_cmyk());
    Ok(with_profile(image, profile.map(<[u8]>::to_vec)))
}

/// Returns pixels with their profile, if it is for such.
fn with_profile(image: DynamicImage, profile: Option<Vec<u8>>) -> Pixels {
    let profile = profile.filter(|profile| fits(profile, image.color()));
    (image, profile)
}

/// Returns whether a profile is for such pixels. Byte 16 of a profile begins its colour space.
fn fits(profile: &[u8], color: ColorType) -> bool {
    match profile.get(16..20) {
        Some(b"RGB ") => color.has_color(),
        Some(b"GRAY") => !color.has_color(),
        _ => false,
    }
}
