//! Finds the subject of a picture with a net.

use image::{DynamicImage, ImageBuffer, Luma};
use imgopen_engine::EngineError;
use imgopen_nets::{Dimension, ModelFile, Net, Port, Tensor};

use crate::nets::{Cutter, FREE_SIDE, cutter};
use crate::pixels::{self, Channels, IMAGENET_DEVIATION, IMAGENET_MEAN, Sample};

/// The levels within which a net is sure that a pixel belongs to the background; as far from 1, to the subject.
const SURE: f32 = 0.02;

/// The least level of a mask that is stretched, below which it shows that nothing was found.
const STRETCHED: f32 = 0.5;

/// How far beyond 0 and 1 numbers of a mask may be.
const PAST: f32 = 0.05;

/// The least number that the samples of a picture are divided by.
const LEAST: f32 = 1e-6;

/// What a net finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subjects {
    /// Objects of any kind.
    Any,
    /// People.
    People,
}

/// How a net is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finder {
    /// ISNet of the pack, on 1024x1024 pixels.
    Isnet,
    /// MediaPipe's selfie segmentation, on 256x256 pixels.
    Selfie,
    /// One of the operator's own, on a copy with that longest side.
    Own { cutter: Cutter, side: u32 },
}

impl Finder {
    /// Returns how a net of the operator's own is used.
    pub fn own(file: &ModelFile) -> Self {
        let layout = file.inputs().first().and_then(Layout::of);
        let side = layout.map_or(FREE_SIDE, |layout| layout.width.max(layout.height));
        Finder::Own { cutter: cutter(file), side: u32::try_from(side).unwrap_or(u32::MAX) }
    }

    pub fn subjects(self) -> Subjects {
        match self {
            Finder::Isnet | Finder::Own { .. } => Subjects::Any,
            Finder::Selfie => Subjects::People,
        }
    }

    /// Returns the radius in which the edges of its masks are off, in pixels of a copy with that longest side.
    pub fn radius(self, longest: u32) -> usize {
        const FEWEST: usize = 3;
        let pixels = match self {
            Finder::Isnet => 1024,
            Finder::Selfie => 256,
            Finder::Own { side, .. } => side.max(1),
        };
        ((2 * longest).div_ceil(pixels) as usize).max(FEWEST)
    }

    /// Returns the number for the net of a level from 0 to 1 in a channel. `most` is the largest level of the picture, by which rembg
    /// divides for all nets.
    fn number(self, level: f32, channel: usize, most: f32) -> f32 {
        let share = level / most.max(LEAST);
        match self {
            Finder::Isnet => level - 0.5,
            Finder::Selfie => level,
            Finder::Own { cutter: Cutter::Isnet, .. } => share - 0.5,
            Finder::Own { cutter: Cutter::Anime, .. } => share - IMAGENET_MEAN[channel],
            Finder::Own { cutter: Cutter::U2net | Cutter::Birefnet, .. } => {
                (share - IMAGENET_MEAN[channel]) / IMAGENET_DEVIATION[channel]
            }
        }
    }

    /// Returns the mask, from 0 to 1, of what the net returns.
    fn mask(self, levels: &[f32]) -> Vec<f32> {
        match self {
            Finder::Isnet | Finder::Selfie => levels.to_vec(),
            // Some exports leave the last sigmoid to the program that runs them.
            Finder::Own { .. } if levels.iter().any(|level| !(-PAST..=1.0 + PAST).contains(level)) => {
                stretched(levels.iter().map(|number| 1.0 / (1.0 + (-number).exp())).collect())
            }
            Finder::Own { .. } => stretched(levels.to_vec()),
        }
    }
}

/// Stretches a mask to all levels from 0 to 1, unless nothing in it is likely to be a subject.
fn stretched(mut levels: Vec<f32>) -> Vec<f32> {
    let (least, most) = levels
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), level| (least.min(*level), most.max(*level)));
    if most >= STRETCHED && most > least {
        levels.iter_mut().for_each(|level| *level = (*level - least) / (most - least));
    }
    levels
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
        let size = |side: &Dimension| match side {
            Fixed(size) => *size,
            Dimension::Named(_) | Dimension::Unknown => FREE_SIDE,
        };
        match port.shape.as_deref()? {
            [_, Fixed(3), height, width] => Some(Self { width: size(width), height: size(height), is_planar: true }),
            [_, Fixed(height), Fixed(width), Fixed(3)] => {
                Some(Self { width: *width, height: *height, is_planar: false })
            }
            _ => None,
        }
    }
}

/// Returns how much of each pixel belongs to the subject, as a gray picture with the sides of the net's mask. Transparent parts
/// are white for the net. Its run cannot be stopped.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails, or is not for this.
pub(super) fn find(net: &Net, image: &DynamicImage, finder: Finder) -> Result<DynamicImage, EngineError> {
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not find subjects", net.file().name()));
    let (input, output) = net.file().inputs().first().zip(net.file().outputs().first()).ok_or_else(unfit)?;
    let layout = Layout::of(input).ok_or_else(unfit)?;
    let side = |side: usize| u32::try_from(side).map_err(|_| unfit());
    let (width, height) = (side(layout.width)?, side(layout.height)?);
    let picture = tensor(&Channels::of(&pixels::resized(image, width, height)?)?, &layout, finder)?;
    let [mask] = net.run(&[(input.name.as_str(), &picture)], [output.name.as_str()])?;
    let (height, width) = match *mask.shape() {
        [1, 1, height, width] | [1, height, width, 1] => (side(height)?, side(width)?),
        _ => return Err(unfit()),
    };
    let levels = finder.mask(mask.as_f32().ok_or_else(unfit)?);
    let samples = levels.iter().map(|level| u16::nearest(decided(*level))).collect();
    let mask: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_raw(width, height, samples).ok_or_else(unfit)?;
    match width > 0 && height > 0 {
        true => Ok(mask.into()),
        false => Err(unfit()),
    }
}

/// Returns a level of exactly 0 or 1 where the net is sure.
fn decided(level: f32) -> f32 {
    (level - SURE) / (1.0 - 2.0 * SURE)
}

fn tensor(picture: &Channels, layout: &Layout, finder: Finder) -> Result<Tensor, EngineError> {
    let count = layout.width * layout.height;
    let level = |channel: usize, index: usize| {
        let (level, opacity) = (picture.colours[channel].values[index], picture.opacity.values[index]);
        level * opacity + 1.0 - opacity
    };
    let all = (0..3).flat_map(|channel| (0..count).map(move |index| (channel, index)));
    let most = all.map(|(channel, index)| level(channel, index)).fold(0.0, f32::max);
    let number = |channel: usize, index: usize| finder.number(level(channel, index), channel, most);
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

    const BIREFNET: Finder = Finder::Own { cutter: Cutter::Birefnet, side: 1024 };
    const U2NET: Finder = Finder::Own { cutter: Cutter::U2net, side: 320 };

    #[test]
    fn what_a_net_is_sure_of_is_decided() {
        assert_eq!([-0.1, 0.0, 0.02].map(|level| u16::nearest(decided(level))), [0; 3]);
        assert_eq!([0.9801, 0.9998, 1.0].map(|level| u16::nearest(decided(level))), [u16::MAX; 3]);
        assert!((decided(0.5) - 0.5).abs() < 1e-6 && (decided(0.26) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn edges_are_refined_over_two_pixels_of_the_mask() {
        assert_eq!([100, 1024].map(|longest| Finder::Isnet.radius(longest)), [3, 3]);
        assert_eq!([100, 640, 1024].map(|longest| Finder::Selfie.radius(longest)), [3, 5, 8]);
        assert_eq!([U2NET, BIREFNET].map(|finder| finder.radius(1024)), [7, 3]);
    }

    /// By hand, from what rembg gives to the nets.
    #[test]
    fn each_kind_of_net_gets_its_numbers() {
        let near = |number: f32, expected: f32| assert!((number - expected).abs() < 1e-5, "{number} {expected}");
        near(Finder::Isnet.number(0.75, 1, 1.0), 0.25);
        near(Finder::Isnet.number(0.75, 1, 0.8), 0.25);
        near(Finder::Selfie.number(0.75, 1, 0.8), 0.75);
        let own = |cutter| Finder::Own { cutter, side: 1024 };
        // A dark picture is made bright first.
        near(own(Cutter::Isnet).number(0.75, 1, 0.8), 0.4375);
        near(own(Cutter::Anime).number(0.4, 2, 0.8), 0.094);
        near(BIREFNET.number(0.485, 0, 1.0), 0.0);
        near(BIREFNET.number(0.612, 1, 0.9), 1.0);
        near(U2NET.number(0.4, 2, 0.8), (0.5 - 0.406) / 0.225);
        for finder in [U2NET, BIREFNET, own(Cutter::Isnet), own(Cutter::Anime)] {
            assert!(finder.number(0.0, 0, 0.0).is_finite());
        }
    }

    #[test]
    fn masks_of_own_nets_are_stretched_if_something_was_found() {
        assert_eq!(U2NET.mask(&[0.25, 0.5, 0.75]), [0.0, 0.5, 1.0]);
        assert_eq!(U2NET.mask(&[0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]);
        assert_eq!(U2NET.mask(&[0.7, 0.7]), [0.7, 0.7]);
        assert_eq!(BIREFNET.mask(&[-1000.0, 0.0, 1000.0]), [0.0, 0.5, 1.0]);
        assert_eq!(BIREFNET.mask(&[0.5, 0.75, 1.0]), [0.0, 0.5, 1.0]);
        assert!(BIREFNET.mask(&[-9.0, -8.0]).iter().all(|level| *level < 0.01));
        assert_eq!(Finder::Isnet.mask(&[0.2, 0.6]), [0.2, 0.6]);
    }
}
