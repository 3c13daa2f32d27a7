//! Runs the net that names what a photograph shows.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::{Dimension, Net, Tensor};

use super::classes::COUNT;
use crate::pixels;

/// The shares of the shorter side that the net is shown, from the middle of the picture. It is less easily misled by the mean of two.
const SHARES: [f64; 2] = [1.0, 0.875];

/// The number that is taken off samples, and the one by which they are divided then.
const MIDDLE: f32 = 127.0;
const SCALE: f32 = 128.0;

/// Returns the probabilities of all classes.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails or is another one; [`EngineError::Cancelled`], which is seen before each run.
pub(super) fn probabilities(net: &Net, image: &DynamicImage, monitor: &Monitor) -> Result<Vec<f32>, EngineError> {
    let mut means = vec![0.0; COUNT];
    for share in SHARES {
        monitor.check_cancelled()?;
        let found = run(net, &middle(image, share))?;
        means.iter_mut().zip(found).for_each(|(mean, found)| *mean += found / SHARES.len() as f32);
    }
    Ok(means)
}

/// Returns a square out of the middle of a picture.
fn middle(image: &DynamicImage, share: f64) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let side = ((f64::from(width.min(height)) * share).round() as u32).max(1);
    image.crop_imm((width - side.min(width)) / 2, (height - side.min(height)) / 2, side, side)
}

fn run(net: &Net, square: &DynamicImage) -> Result<Vec<f32>, EngineError> {
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not name {COUNT} things", net.file().name()));
    let (input, output) = net.file().inputs().first().zip(net.file().outputs().first()).ok_or_else(unfit)?;
    let Some(&[_, Dimension::Fixed(3), Dimension::Fixed(height), Dimension::Fixed(width)]) = input.shape.as_deref()
    else {
        return Err(unfit());
    };
    let [across, down] = [width, height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let copy = pixels::resized(square, across, down)?.into_rgb8();
    let channels = (0..3).flat_map(|channel| copy.as_raw().iter().skip(channel).step_by(3));
    let values: Vec<f32> = channels.map(|sample| (f32::from(*sample) - MIDDLE) / SCALE).collect();
    let picture = Tensor::new([1, 3, height, width], values).map_err(|error| EngineError::Failed(error.to_string()))?;
    let [found] = net.run(&[(input.name.as_str(), &picture)], [output.name.as_str()])?;
    let found = found.as_f32().filter(|found| found.len() == COUNT).ok_or_else(unfit)?;
    Ok(found.to_vec())
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    #[test]
    fn the_middle_is_square() {
        let image = DynamicImage::from(RgbImage::from_fn(40, 20, |x, _| Rgb([x as u8, 0, 0])));
        let whole = middle(&image, 1.0).into_rgb8();
        assert_eq!((whole.dimensions(), whole.get_pixel(0, 0).0[0]), ((20, 20), 10));
        let less = middle(&image, 0.875).into_rgb8();
        assert_eq!((less.dimensions(), less.get_pixel(0, 0).0[0]), ((18, 18), 11));
        assert_eq!(middle(&DynamicImage::new_rgb8(1, 900), 0.875).into_rgb8().dimensions(), (1, 1));
    }
}
