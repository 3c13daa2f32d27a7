//! Depth: what is near is white.

use image::{DynamicImage, GrayImage};
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::{ModelFile, Session, Tensor};

use crate::nets::{Weights, has_attention, sizes};
use crate::pixels::{self, Channels, IMAGENET_DEVIATION, IMAGENET_MEAN, Sample};
use crate::plane::{Plane, places};

/// The bytes that a run takes beside the weights at most, if the file does not determine them.
const WORKING: u64 = 3072 * 1024 * 1024;

/// How pictures are brought to a size for a net that takes any: Depth Anything, as it does itself, and nets of convolutions, such
/// as MiDaS.
const ATTENTION: Sizing = Sizing { shorter: 518, longest: 1036, multiple: 14 };
const CONVOLUTION: Sizing = Sizing { shorter: 384, longest: 768, multiple: 32 };

/// How pictures are brought to a size.
#[derive(Debug, Clone, Copy)]
struct Sizing {
    /// The shorter side.
    shorter: u32,
    /// The longest that the other may be, which bounds the time and the memory of a run.
    longest: u32,
    /// Sides are multiples of this.
    multiple: u32,
}

impl Sizing {
    fn of(file: &ModelFile) -> Self {
        if has_attention(file) { ATTENTION } else { CONVOLUTION }
    }

    fn size(self, width: u32, height: u32) -> (u32, u32) {
        let (least, most) = (f64::from(width.min(height).max(1)), f64::from(width.max(height).max(1)));
        let factor = (f64::from(self.shorter) / least).min(f64::from(self.longest) / most);
        let multiple = f64::from(self.multiple);
        let side = |side: u32| ((f64::from(side) * factor / multiple).round().max(1.0) * multiple) as u32;
        (side(width), side(height))
    }
}

/// Returns how many bytes a run takes with its weights.
pub(super) fn memory(weights: &Weights) -> u64 {
    let largest = Sizing::of(&weights.file).longest as usize;
    let (height, width) = match sizes(weights.file.inputs()) {
        Some((height, width)) => (height.unwrap_or(largest), width.unwrap_or(largest)),
        None => (largest, largest),
    };
    let shape = [1, 3, height, width];
    let inputs = weights.file.inputs().iter().map(|port| (port.name.as_str(), &shape[..]));
    weights.memory(&inputs.collect::<Vec<_>>(), WORKING)
}

/// Returns the map of a picture, at its size. The run of the net cannot be stopped.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails, or is not for this; [`EngineError::Cancelled`].
pub(super) fn map(session: &Session, image: &DynamicImage, monitor: &Monitor) -> Result<GrayImage, EngineError> {
    let file = session.file();
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not find depth", file.name()));
    let (input, output) = file.inputs().first().zip(file.outputs().first()).ok_or_else(unfit)?;
    let free = Sizing::of(file).size(image.width(), image.height());
    let (height, width) = sizes(file.inputs()).ok_or_else(unfit)?;
    let side = |fixed: Option<usize>, free: u32| fixed.map_or(Ok(free), u32::try_from).map_err(|_| unfit());
    let (width, height) = (side(width, free.0)?, side(height, free.1)?);
    let picture = tensor(&Channels::of(&pixels::resized(image, width, height)?)?)?;
    monitor.stage(0.4)?;
    let [made] = session.run(&[(input.name.as_str(), &picture)], [output.name.as_str()])?;
    drop(picture);
    monitor.stage(0.8)?;
    let (height, width) = match *made.shape() {
        [1, height, width] | [1, 1, height, width] if width > 0 && height > 0 => (height, width),
        _ => return Err(unfit()),
    };
    let values = made.as_f32().ok_or_else(unfit)?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(unfit());
    }
    let near = Plane { width, height, values: stretched(values) };
    enlarged(&near, image.width(), image.height(), monitor)
}

/// Returns the numbers for a net: planes with the mean and the deviation of ImageNet.
fn tensor(picture: &Channels) -> Result<Tensor, EngineError> {
    let (width, height) = (picture.opacity.width, picture.opacity.height);
    let mut values = Vec::with_capacity(3 * width * height);
    for ((plane, mean), deviation) in picture.colours.iter().zip(IMAGENET_MEAN).zip(IMAGENET_DEVIATION) {
        values.extend(plane.values.iter().map(|level| (level - mean) / deviation));
    }
    Tensor::new([1, 3, height, width], values).map_err(|error| EngineError::Failed(error.to_string()))
}

/// Brings numbers to the range from 0 to 1; to 0 if they are all the same.
fn stretched(values: &[f32]) -> Vec<f32> {
    let range = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), value| (least.min(*value), most.max(*value)));
    let (least, width) = (range.0, range.1 - range.0);
    values.iter().map(|value| if width > 0.0 { (value - least) / width } else { 0.0 }).collect()
}

fn enlarged(map: &Plane, width: u32, height: u32, monitor: &Monitor) -> Result<GrayImage, EngineError> {
    let (columns, rows) = (places(map.width, width as usize), places(map.height, height as usize));
    let mut image = GrayImage::new(width, height);
    let (mut mixed, mut row) = (Vec::new(), Vec::new());
    for (place, samples) in rows.into_iter().zip(image.chunks_exact_mut((width as usize).max(1))) {
        monitor.check_cancelled()?;
        map.enlarge_row(place, &columns, &mut mixed, &mut row);
        samples.iter_mut().zip(&row).for_each(|(sample, level)| *sample = u8::nearest(*level));
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_multiples_that_the_net_takes() {
        assert_eq!(ATTENTION.size(640, 480), (686, 518));
        assert_eq!(ATTENTION.size(480, 640), (518, 686));
        assert_eq!(ATTENTION.size(10_000, 10), (1036, 14));
        assert_eq!(CONVOLUTION.size(100, 100), (384, 384));
        assert_eq!(ATTENTION.size(1, 1), (518, 518));
    }

    #[test]
    fn numbers_fill_the_range() {
        assert_eq!(stretched(&[-2.0, 0.0, 6.0]), [0.0, 0.25, 1.0]);
        assert_eq!(stretched(&[7.0, 7.0]), [0.0, 0.0]);
    }
}
