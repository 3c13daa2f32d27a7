//! Reads from a mask which pixels of a picture it marks.

use image::DynamicImage;
use imgopen_engine::{EngineError, Input, Monitor, PictureLimits};

use crate::decode::{InputError, decode_input};

/// Returns the pixels that a mask marks, row by row: those that are lighter than mid gray and not transparent. `size`
/// is that of the picture of the field `of`.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the mask cannot be read, has another size, or marks nothing or everything;
/// [`EngineError::Cancelled`].
pub fn read_mask(
    input: &Input,
    limits: &PictureLimits,
    (of, size): (&str, (u32, u32)),
    monitor: &Monitor,
) -> Result<Vec<bool>, EngineError> {
    let mask = decode_input(input, limits, monitor)?.image;
    let wrong = |problem: String| EngineError::from(InputError::new(input, problem));
    let (width, height) = (mask.width(), mask.height());
    if (width, height) != size {
        let (wanted_width, wanted_height) = size;
        return Err(wrong(format!(
            "is {width}x{height} pixels, but the picture of `{of}` is {wanted_width}x{wanted_height}; give a mask of the \
             same size"
        )));
    }
    let marked = marked(&mask, monitor)?;
    if !marked.contains(&true) {
        return Err(wrong("is black all over, so that nothing is to be removed; paint white what is to go".to_owned()));
    }
    if !marked.contains(&false) {
        let problem = "is white all over, so that nothing is left to fill from; leave black what is to stay";
        return Err(wrong(problem.to_owned()));
    }
    Ok(marked)
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
