//! Reads from a mask which pixels to fill.

use image::DynamicImage;
use imgopen_engine::{EngineError, Input, Monitor, PictureLimits};
use imgopen_picture::{InputError, decode_input};

use super::canvas::bounds;
use crate::morphology::dilate;

/// How far a mask is grown, in pixels: edges of masks are soft, or do not quite reach the edge of the object.
pub(super) const GROWTH: usize = 2;

/// Returns the pixels that a mask marks, grown by [`GROWTH`] if that leaves any unmarked. `size` is that of the picture.
pub(super) fn read(
    input: &Input,
    limits: &PictureLimits,
    size: (u32, u32),
    monitor: &Monitor,
) -> Result<Vec<bool>, EngineError> {
    let mask = decode_input(input, limits, monitor)?.image;
    let wrong = |problem: String| EngineError::from(InputError::new(input, problem));
    let (width, height) = (mask.width(), mask.height());
    if (width, height) != size {
        let (wanted_width, wanted_height) = size;
        return Err(wrong(format!(
            "is {width}x{height} pixels, but the picture of `sourceImage` is {wanted_width}x{wanted_height}; give a \
             mask of the same size"
        )));
    }
    let marked = marked(&mask, monitor)?;
    if bounds(&marked, width as usize).is_none() {
        return Err(wrong("is black all over, so that nothing is to be removed; paint white what is to go".to_owned()));
    }
    if marked.iter().all(|marked| *marked) {
        let problem = "is white all over, so that nothing is left to fill from; leave black what is to stay";
        return Err(wrong(problem.to_owned()));
    }
    let grown = dilate(&marked, width as usize, GROWTH, monitor)?;
    Ok(if grown.iter().all(|marked| *marked) { marked } else { grown })
}

/// Returns the pixels that are lighter than mid gray. Transparent ones are dark.
fn marked(mask: &DynamicImage, monitor: &Monitor) -> Result<Vec<bool>, EngineError> {
    let pixels = mask.to_luma_alpha8();
    let mut marked = Vec::with_capacity(pixels.len() / 2);
    for row in pixels.chunks_exact(2 * mask.width() as usize) {
        monitor.check_cancelled()?;
        marked.extend(row.chunks_exact(2).map(|pixel| u32::from(pixel[0]) * u32::from(pixel[1]) >= 128 * 255));
    }
    Ok(marked)
}
