//! Writes the results of jobs.

use bytes::Bytes;
use image::DynamicImage;
use imgopen_engine::{EngineError, Format, Monitor, Picture};

use crate::decode::Decoded;
use crate::encode::{Attached, EncodeError, encode, encode_output};
use crate::file_format::FileFormat;

/// Writes a modified picture in the format of its source, or as PNG if that is not written ([`FileFormat::written`]), with its
/// chroma subsampling, its colour profile, the text of how it was made, and what else its file carries. `done` says what was done
/// to it, as the web UI's tab of extras does. `to_error` says what it means if the picture cannot be written.
///
/// # Errors
///
/// [`EngineError::Cancelled`], and what `to_error` returns.
pub fn write_like(
    source: &Decoded,
    image: &DynamicImage,
    done: &str,
    monitor: &Monitor,
    to_error: impl FnOnce(EncodeError) -> EngineError,
) -> Result<Picture, EngineError> {
    let attached = Attached {
        profile: source.profile.as_deref(),
        chroma: source.header.chroma,
        parameters: source.parameters.as_deref(),
        postprocessing: Some(done),
        carried: Some(&source.carried),
        lossy: source.is_lossy_webp,
    };
    write(image, source.header.format.written(), &attached, monitor, to_error)
}

/// Writes a picture that was read in another format, with what its file carries as far as the format has room for it.
///
/// # Errors
///
/// A side may be too long for the format.
pub fn convert(picture: &Decoded, format: Format) -> Result<Bytes, EncodeError> {
    let attached = Attached {
        profile: picture.profile.as_deref(),
        chroma: picture.header.chroma,
        parameters: picture.parameters.as_deref(),
        postprocessing: None,
        carried: Some(&picture.carried),
        lossy: picture.is_lossy_webp || picture.header.format == FileFormat::Jpeg,
    };
    encode(&picture.image, format, &attached)
}

/// Writes a new picture, such as a drawing of edges, as PNG.
///
/// # Errors
///
/// [`EngineError::Cancelled`] and [`EngineError::Failed`].
pub fn write_png(image: &DynamicImage, done: &str, monitor: &Monitor) -> Result<Picture, EngineError> {
    let attached = Attached { postprocessing: Some(done), ..Attached::default() };
    write(image, Format::Png, &attached, monitor, |error| EngineError::Failed(error.to_string()))
}

/// Writes a picture for a job.
///
/// # Errors
///
/// [`EngineError::Cancelled`], and what `to_error` returns.
pub fn write(
    image: &DynamicImage,
    format: Format,
    attached: &Attached<'_>,
    monitor: &Monitor,
    to_error: impl FnOnce(EncodeError) -> EngineError,
) -> Result<Picture, EngineError> {
    let bytes = encode_output(image, format, attached, monitor).map_err(|error| match error {
        EncodeError::Cancelled => EngineError::Cancelled,
        error => to_error(error),
    })?;
    Ok(Picture { bytes, format, width: image.width(), height: image.height(), seed: None })
}
