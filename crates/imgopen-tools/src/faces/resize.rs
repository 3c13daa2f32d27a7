//! Resampling of gray pictures.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::GrayImage;
use imgopen_engine::EngineError;

/// Returns the picture at another size.
pub fn resized(gray: &GrayImage, width: u32, height: u32) -> Result<GrayImage, EngineError> {
    if (width, height) == gray.dimensions() {
        return Ok(gray.clone());
    }
    let mut smaller = GrayImage::new(width, height);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(gray, &mut smaller, &options)
        .map_err(|error| EngineError::Failed(format!("the picture cannot be resampled: {error}")))?;
    Ok(smaller)
}
