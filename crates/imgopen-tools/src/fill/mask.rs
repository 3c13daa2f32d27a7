//! Reads from a mask which pixels to fill.

use image::DynamicImage;
use imgopen_engine::{EngineError, Input, Monitor, PictureLimits};
use imgopen_picture::read_mask;

use crate::morphology::dilate;

/// How far a mask is grown, in pixels: edges of masks are soft, or do not quite reach the edge of the object.
pub(super) const GROWTH: usize = 2;

/// Returns the pixels that a mask file marks, row by row, grown by [`MASK_GROWTH`](super::MASK_GROWTH) if that leaves any
/// unmarked. `source` is the picture in `sourceImage`.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the file cannot be read, or if the mask has another size, marks nothing or everything, or is a
/// picture without holes, such as the source itself; [`EngineError::Cancelled`].
pub fn read_hole(
    input: &Input,
    limits: &PictureLimits,
    source: &DynamicImage,
    monitor: &Monitor,
) -> Result<Vec<bool>, EngineError> {
    let marked = read_mask(input, limits, ("sourceImage", source), monitor)?;
    let grown = dilate(&marked, source.width() as usize, GROWTH, monitor)?;
    Ok(if grown.iter().all(|marked| *marked) { marked } else { grown })
}
