//! Encodes pictures, with measured settings: see the README.

use std::borrow::Cow;

use bytes::Bytes;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType};
use imgopen_engine::{Format, Monitor};
use png::chunk::ChunkType;
use png::{BitDepth, ColorType, DeflateCompression, Filter};

use crate::carried::{self, Carried, Made};
use crate::chroma::Chroma;
use crate::colors;
use crate::flatten::flatten;
use crate::jpeg::{self, Colors};

/// The longest side of a JPEG file in pixels.
pub const MAX_JPEG_SIDE: u32 = 65_535;
/// The longest side of a WebP file in pixels.
pub const MAX_WEBP_SIDE: u32 = 16_383;
/// The quality of lossy WebP files, of 100: the loss is hardly visible.
const WEBP_QUALITY: f32 = 90.0;

/// What is written into a file beside the pixels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attached<'a> {
    /// The colour profile (ICC).
    pub profile: Option<&'a [u8]>,
    /// How the picture was made, where the Stable Diffusion web UI writes it: in the text `parameters` of PNG files, in
    /// EXIF's UserComment of others. A text too long for a JPEG file, of some 32,000 characters, is left out.
    pub parameters: Option<&'a str>,
    /// What was done to the finished picture: in the text `postprocessing` of PNG files, as the web UI does, and after the
    /// parameters in others.
    pub postprocessing: Option<&'a str>,
    /// The chroma subsampling. JPEG only.
    pub chroma: Chroma,
    /// What else the file of the source carries. What is no longer true of the picture is corrected.
    pub carried: Option<&'a Carried>,
    /// Whether to lose detail for a smaller file. WebP only.
    pub lossy: bool,
}

impl Attached<'_> {
    fn made(&self) -> Made<'_> {
        Made { parameters: self.parameters, postprocessing: self.postprocessing }
    }

    fn carried(&self) -> Cow<'_, Carried> {
        self.carried.map_or_else(|| Cow::Owned(Carried::default()), Cow::Borrowed)
    }

    /// Returns the profile for a format without PNG's chunks about colours.
    fn profile(&self, image: &DynamicImage) -> Option<Cow<'_, [u8]>> {
        let from_chunks = || colors::as_profile(self.carried?, !image.color().has_color()).map(Cow::Owned);
        self.profile.map(Cow::Borrowed).or_else(from_chunks)
    }
}

/// Why a picture cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A side is longer than the format allows.
    #[error("{width}x{height} pixels are too many for a {format} file; at most {limit} fit on a side")]
    TooLarge {
        /// The format.
        format: Format,
        /// The width in pixels.
        width: u32,
        /// The height in pixels.
        height: u32,
        /// The longest side in pixels.
        limit: u32,
    },
    /// The encoder failed.
    #[error("the {0} file cannot be written: {1}")]
    Writer(Format, String),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
}

/// Encodes a picture. PNG keeps 16 bits; JPEG and WebP have 8. JPEG has no transparency, so the picture is flattened onto
/// white.
///
/// # Errors
///
/// Pictures without pixels, and with sides longer than the format allows, cannot be written.
pub fn encode(image: &DynamicImage, format: Format, attached: &Attached<'_>) -> Result<Bytes, EncodeError> {
    write(image, format, attached, None)
}

/// The same for a job, which stops between bands of a JPEG file when it is cancelled. The encoders of PNG and WebP files
/// cannot be stopped; the pixels of the picture bound the time that they take.
///
/// # Errors
///
/// As [`encode`], and [`EncodeError::Cancelled`].
pub fn encode_output(
    image: &DynamicImage,
    format: Format,
    attached: &Attached<'_>,
    monitor: &Monitor,
) -> Result<Bytes, EncodeError> {
    if monitor.is_cancelled() {
        return Err(EncodeError::Cancelled);
    }
    let written = write(image, format, attached, Some(monitor));
    if monitor.is_cancelled() { Err(EncodeError::Cancelled) } else { written }
}

fn write(
    image: &DynamicImage,
    format: Format,
    attached: &Attached<'_>,
    monitor: Option<&Monitor>,
) -> Result<Bytes, EncodeError> {
    check_sides(format, image.width(), image.height())?;
    let result = match format {
        Format::Png => png(image, attached).map_err(|error| error.to_string()),
        Format::Jpeg => jpeg(image, attached, monitor),
        Format::WebP => webp(image, attached),
    };
    result.map(Bytes::from).map_err(|problem| EncodeError::Writer(format, problem))
}

/// Checks that a picture of that size fits the format, before it is made.
///
/// # Errors
///
/// Names the longest side of the format.
pub fn check_sides(format: Format, width: u32, height: u32) -> Result<(), EncodeError> {
    let limit = match format {
        Format::Png => i32::MAX.unsigned_abs(),
        Format::Jpeg => MAX_JPEG_SIDE,
        Format::WebP => MAX_WEBP_SIDE,
    };
    match width > limit || height > limit {
        true => Err(EncodeError::TooLarge { format, width, height, limit }),
        false => Ok(()),
    }
}

fn png(image: &DynamicImage, attached: &Attached<'_>) -> Result<Vec<u8>, png::EncodingError> {
    let mut info = png::Info::with_size(image.width(), image.height());
    info.icc_profile = attached.profile.map(Cow::Borrowed);
    let (color, depth, pixels) = png_pixels(image);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::with_info(&mut file, info)?;
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_filter(Filter::Adaptive);
    encoder.set_deflate_compression(DeflateCompression::FdeflateUltraFast);
    let mut writer = encoder.write_header()?;
    let size = (image.width(), image.height());
    for (kind, body) in attached.carried().png_chunks(size, attached.made(), attached.profile.is_some()) {
        writer.write_chunk(ChunkType(kind), &body)?;
    }
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}

fn png_pixels(image: &DynamicImage) -> (ColorType, BitDepth, Cow<'_, [u8]>) {
    use {BitDepth::Eight, BitDepth::Sixteen, ColorType::*};
    match image {
        DynamicImage::ImageLuma8(image) => (Grayscale, Eight, Cow::Borrowed(image.as_raw())),
        DynamicImage::ImageLumaA8(image) => (GrayscaleAlpha, Eight, Cow::Borrowed(image.as_raw())),
        DynamicImage::ImageRgb8(image) => (Rgb, Eight, Cow::Borrowed(image.as_raw())),
        DynamicImage::ImageRgba8(image) => (Rgba, Eight, Cow::Borrowed(image.as_raw())),
        DynamicImage::ImageLuma16(image) => (Grayscale, Sixteen, big_endian(image.as_raw())),
        DynamicImage::ImageLumaA16(image) => (GrayscaleAlpha, Sixteen, big_endian(image.as_raw())),
        DynamicImage::ImageRgb16(image) => (Rgb, Sixteen, big_endian(image.as_raw())),
        DynamicImage::ImageRgba16(image) => (Rgba, Sixteen, big_endian(image.as_raw())),
        other => (Rgba, Sixteen, Cow::Owned(big_endian(&other.to_rgba16()).into_owned())),
    }
}

fn big_endian(samples: &[u16]) -> Cow<'static, [u8]> {
    Cow::Owned(samples.iter().flat_map(|sample| sample.to_be_bytes()).collect())
}

fn jpeg(image: &DynamicImage, attached: &Attached<'_>, monitor: Option<&Monitor>) -> Result<Vec<u8>, String> {
    let (profile, carried) = (attached.profile(image), attached.carried());
    let preamble = jpeg::Preamble { profile: profile.as_deref(), density: carried.jpeg_density() };
    let image = match image {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_) => Cow::Borrowed(image),
        other => Cow::Owned(flatten(other.clone())),
    };
    let colors = if image.color().has_color() { Colors::Rgb(attached.chroma) } else { Colors::Gray };
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels = jpeg::Pixels { samples: image.as_bytes(), width, height, colors };
    let mut file = jpeg::write(&pixels, preamble, monitor)?;
    let segments = carried.jpeg_segments((image.width(), image.height()), attached.made());
    carried::insert_segments(&mut file, &segments);
    Ok(file)
}

fn webp(image: &DynamicImage, attached: &Attached<'_>) -> Result<Vec<u8>, String> {
    let (width, height) = (image.width(), image.height());
    if width == 0 || height == 0 {
        return Err("the picture has no pixels".to_owned());
    }
    // All pixels of the format have colours, for which a profile of gray is none.
    let is_gray = !image.color().has_color();
    let in_srgb = is_gray.then(|| colors::gray_in_srgb(image, attached.profile, &attached.carried())).flatten();
    let image = in_srgb.as_ref().unwrap_or(image);
    let file = match attached.lossy {
        true => lossy_webp(image)?,
        false => lossless_webp(image).map_err(|error| error.to_string())?,
    };
    let profile = attached.profile(image).filter(|_| !is_gray);
    let (exif, xmp) = attached.carried().webp_parts((width, height), attached.made());
    let parts = carried::WebPParts {
        profile: profile.as_deref(),
        exif: exif.as_deref(),
        xmp: xmp.as_deref().map(str::as_bytes),
    };
    Ok(carried::assemble_webp(file, (width, height), &parts))
}

fn lossless_webp(image: &DynamicImage) -> image::ImageResult<Vec<u8>> {
    let mut file = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut file);
    let (width, height) = (image.width(), image.height());
    if image.color().has_alpha() {
        encoder.encode(&image.to_rgba8(), width, height, ExtendedColorType::Rgba8)?;
    } else {
        encoder.encode(&image.to_rgb8(), width, height, ExtendedColorType::Rgb8)?;
    }
    Ok(file)
}

fn lossy_webp(image: &DynamicImage) -> Result<Vec<u8>, String> {
    let (width, height) = (image.width(), image.height());
    let written = if image.color().has_alpha() {
        webp::Encoder::from_rgba(&image.to_rgba8(), width, height).encode_simple(false, WEBP_QUALITY)
    } else {
        webp::Encoder::from_rgb(&image.to_rgb8(), width, height).encode_simple(false, WEBP_QUALITY)
    };
    written.map(|file| file.to_vec()).map_err(|error| format!("libwebp reports {error:?}"))
}
