//! Finds the subject of a picture with a net.

use image::{DynamicImage, ImageBuffer, Luma};
use imgopen_engine::EngineError;
use imgopen_nets::{Dimension, Net, Port, Tensor};

use crate::pixels::{self, Channels, Sample};

/// The levels within which a net is sure that a pixel belongs to the background; as far from 1, to the subject.
const SURE: f32 = 0.02;

/// What a net finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subjects {
    /// Objects of any kind: ISNet, on 1024x1024 pixels.
    Any,
    /// People: MediaPipe's selfie segmentation, on 256x256 pixels.
    People,
}

impl Subjects {
    /// Returns the radius in which the edges of its masks are off, in pixels of a copy with that longest side.
    pub fn radius(self, longest: u32) -> usize {
        let (pixels, least) = match self {
            Subjects::Any => (1024, 3),
            Subjects::People => (256, 3),
        };
        ((2 * longest).div_ceil(pixels) as usize).max(least)
    }

    /// Returns the number for the net of a level from 0 to 1.
    fn number(self, level: f32) -> f32 {
        match self {
            Subjects::Any => level - 0.5,
            Subjects::People => level,
        }
    }
}

/// How a net takes a picture.
struct Layout {
    width: usize,
    height: usize,
    /// Whether each channel is a plane, or those of a pixel follow each other.
    is_planar: bool,
}

impl Layout {
    fn of(port: &Port) -> Option<Self> {
        use Dimension::Fixed;
        match *port.shape.as_deref()? {
            [_, Fixed(3), Fixed(height), Fixed(width)] => Some(Self { width, height, is_planar: true }),
            [_, Fixed(height), Fixed(width), Fixed(3)] => Some(Self { width, height, is_planar: false }),
            _ => None,
        }
    }
}

/// Returns how much of each pixel belongs to the subject, as a gray picture with the sides that the net takes. Transparent parts
/// are white for the net. Its run cannot be stopped.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails, or is not for this.
pub(super) fn find(net: &Net, image: &DynamicImage, subjects: Subjects) -> Result<DynamicImage, EngineError> {
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not find subjects", net.file().name()));
    let (input, output) = net.file().inputs().first().zip(net.file().outputs().first()).ok_or_else(unfit)?;
    let layout = Layout::of(input).ok_or_else(unfit)?;
    let side = |side: usize| u32::try_from(side).map_err(|_| unfit());
    let (width, height) = (side(layout.width)?, side(layout.height)?);
    let picture = tensor(&Channels::of(&pixels::resized(image, width, height)?)?, &layout, subjects)?;
    let [mask] = net.run(&[(input.name.as_str(), &picture)], [output.name.as_str()])?;
    let levels = mask.as_f32().filter(|levels| levels.len() == layout.width * layout.height).ok_or_else(unfit)?;
    let samples = levels.iter().map(|level| u16::nearest(decided(*level))).collect();
    let mask: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_raw(width, height, samples).ok_or_else(unfit)?;
    Ok(mask.into())
}

/// Returns a level of exactly 0 or 1 where the net is sure.
fn decided(level: f32) -> f32 {
    (level - SURE) / (1.0 - 2.0 * SURE)
}

fn tensor(picture: &Channels, layout: &Layout, subjects: Subjects) -> Result<Tensor, EngineError> {
    let count = layout.width * layout.height;
    let number = |channel: usize, index: usize| {
        let (level, opacity) = (picture.colours[channel].values[index], picture.opacity.values[index]);
        subjects.number(level * opacity + 1.0 - opacity)
    };
    let (shape, values): (_, Vec<f32>) = match layout.is_planar {
        true => {
            let values = (0..3).flat_map(|channel| (0..count).map(move |index| (channel, index)));
            ([1, 3, layout.height, layout.width], values.map(|(channel, index)| number(channel, index)).collect())
        }
        false => {
            let values = (0..count).flat_map(|index| (0..3).map(move |channel| (channel, index)));
            ([1, layout.height, layout.width, 3], values.map(|(channel, index)| number(channel, index)).collect())
        }
    };
    Tensor::new(shape, values).map_err(|error| EngineError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_net_is_sure_of_is_decided() {
        assert_eq!([-0.1, 0.0, 0.02].map(|level| u16::nearest(decided(level))), [0; 3]);
        assert_eq!([0.9801, 0.9998, 1.0].map(|level| u16::nearest(decided(level))), [u16::MAX; 3]);
        assert!((decided(0.5) - 0.5).abs() < 1e-6 && (decided(0.26) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn edges_are_refined_over_two_pixels_of_the_mask() {
        assert_eq!([100, 1024].map(|longest| Subjects::Any.radius(longest)), [3, 3]);
        assert_eq!([100, 640, 1024].map(|longest| Subjects::People.radius(longest)), [3, 5, 8]);
    }
}
