//! Preprocessors that work on each pixel alone: threshold and negative.

use image::GrayImage;
use imgopen_engine::EngineError;

use super::raster::Raster;

/// Returns white where all channels are above the threshold, else black.
pub(super) fn threshold(raster: Raster<'_>, threshold: u8) -> Result<GrayImage, EngineError> {
    let mut two = raster.gray();
    for (row, two) in raster.rows().zip(two.chunks_exact_mut(raster.width)) {
        raster.monitor.check_cancelled()?;
        match raster.channels {
            1 => divide(row.as_chunks::<1>().0, threshold, two),
            _ => divide_colors(row.as_chunks().0, threshold, two),
        }
    }
    Ok(two)
}

vectorised!(divide = divide_plainly(pixels: &'a [[u8; 1]], threshold: u8, two: &'a mut [u8]));
vectorised!(divide_colors = divide_plainly(pixels: &'a [[u8; 3]], threshold: u8, two: &'a mut [u8]));

#[inline(always)]
fn divide_plainly<const CHANNELS: usize>(pixels: &[[u8; CHANNELS]], threshold: u8, two: &mut [u8]) {
    for (pixel, channels) in two.iter_mut().zip(pixels) {
        let least = channels.iter().fold(u8::MAX, |least, sample| least.min(*sample));
        *pixel = if least > threshold { u8::MAX } else { 0 };
    }
}

/// Returns the samples of the negative.
pub(super) fn invert(raster: Raster<'_>) -> Result<Vec<u8>, EngineError> {
    let mut negative = Vec::with_capacity(raster.samples.len());
    for row in raster.rows() {
        raster.monitor.check_cancelled()?;
        negative.extend(row.iter().map(|sample| !sample));
    }
    Ok(negative)
}
