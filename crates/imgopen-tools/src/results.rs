//! Writes the results of tools.

use image::DynamicImage;
use imgopen_engine::Picture;
use imgopen_picture::{Attached, Decoded, EncodeError, Format, encode};

/// Writes a modified picture in the format of its source, with its colour profile, its chroma subsampling and the text of
/// how it was made. `done` says what was done to it, as the web UI's tab of extras does.
pub(crate) fn write_like(source: &Decoded, image: &DynamicImage, done: &str) -> Result<Picture, EncodeError> {
    let format = source.header.format;
    let attached = Attached {
        profile: source.profile.as_deref(),
        chroma: source.header.chroma,
        parameters: source.parameters.as_deref(),
        postprocessing: Some(done),
    };
    write(image, format, &attached)
}

/// Writes a new picture, such as a drawing of edges, as PNG.
pub(crate) fn write_png(image: &DynamicImage, done: &str) -> Result<Picture, EncodeError> {
    write(image, Format::Png, &Attached { postprocessing: Some(done), ..Attached::default() })
}

fn write(image: &DynamicImage, format: Format, attached: &Attached<'_>) -> Result<Picture, EncodeError> {
    let bytes = encode(image, format, attached)?;
    Ok(Picture { bytes, format, width: image.width(), height: image.height(), seed: None })
}
