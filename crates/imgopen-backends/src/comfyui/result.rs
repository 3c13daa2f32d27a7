//! Verifies finished pictures, and writes them with a text of ours in place of the workflow.

use bytes::Bytes;
use image::DynamicImage;
use imgopen_engine::{EngineError, Format, Monitor, Picture, PictureLimits};
use imgopen_picture::{Attached, EncodeError, decode, encode_output};

use super::inputs::Kept;
use crate::pictures::put_back;
use crate::verify::check_size;

/// What a picture must be.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// The size, if it is known.
    pub size: Option<(u32, u32)>,
    pub seed: i64,
    /// The text about it.
    pub parameters: Option<String>,
    pub format: Format,
    pub limits: PictureLimits,
}

/// Verifies a picture, puts what was to be kept back into it, and writes it. Blocks.
pub(super) fn finish(
    file: &Bytes,
    expected: &Expected,
    kept: Option<&Kept>,
    name: &str,
    monitor: &Monitor,
) -> Result<Picture, EngineError> {
    monitor.check_cancelled()?;
    let failed = |problem: String| {
        EngineError::Failed(format!("the back end `{name}` did not make what was asked for: {problem}"))
    };
    let limits = PictureLimits { bytes: file.len() as u64, ..expected.limits };
    let decoded = decode(file, &limits).map_err(|problem| failed(format!("a picture that came back {problem}")))?;
    let image = match kept {
        Some(Kept { given, mask }) => put_back(&sized(decoded.image, expected).map_err(failed)?, given, mask).into(),
        None => sized(decoded.image, expected).map_err(failed)?,
    };
    let attached = Attached {
        profile: decoded.profile.as_deref(),
        parameters: expected.parameters.as_deref(),
        ..Attached::default()
    };
    let bytes = encode_output(&image, expected.format, &attached, monitor).map_err(|error| match error {
        EncodeError::Cancelled => EngineError::Cancelled,
        error => EngineError::Failed(error.to_string()),
    })?;
    let (width, height) = (image.width(), image.height());
    Ok(Picture { bytes, format: expected.format, width, height, seed: Some(expected.seed) })
}

fn sized(image: DynamicImage, expected: &Expected) -> Result<DynamicImage, String> {
    match expected.size {
        Some(size) => check_size(&image, size).map(|()| image),
        None => Ok(image),
    }
}
