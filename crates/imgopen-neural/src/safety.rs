//! Audits pictures: finds out how likely one is pornographic, with Open-NSFW of the pack `safety`.
//!
//! The net sees the picture as its makers had it seen: squeezed to 256x256 pixels, whatever its shape, of which it gets the 224x224
//! in the middle. A picture with transparency is looked at twice, on white and as its colours are without transparency, because
//! those can be brought back; the higher number counts. Colour profiles do not matter to it.

use image::{DynamicImage, Rgb, RgbImage, imageops};
use imgopen_engine::{AuditLabel, Auditor, EngineError, Monitor, Picture, PictureLimits};
use imgopen_nets::{Net, Tensor};
use imgopen_picture::{decode_result, flatten};

use crate::nets::{Held, Nets, SAFETY, Weights, unavailable};
use crate::pixels;

/// What is found, as its makers call it.
const LABEL: &str = "nsfw";

/// The file of the net.
const FILE: &str = "open_nsfw.onnx";

/// The sides of what a picture is squeezed to.
const SQUEEZED: u32 = 256;

/// The sides of its middle, which the net sees.
const SEEN: u32 = 224;

/// The same, as the shape of the net's input: one picture of pixels with three channels.
const SHAPE: [usize; 4] = [1, SEEN as usize, SEEN as usize, 3];

/// The mean of blue, green and red in the pictures that the net was trained on.
const MEANS: [f32; 3] = [104.0, 117.0, 123.0];

/// The bytes that a run takes beside the weights at most, if the file does not determine them.
const WORKING: u64 = 64 * 1024 * 1024;

/// What audits pictures while the pack `safety` is installed. Its label is `nsfw`: not safe for work.
#[derive(Debug, Clone)]
pub struct Safety {
    nets: Nets,
}

impl Safety {
    /// Creates it.
    pub fn new(nets: Nets) -> Self {
        Self { nets }
    }

    /// Returns the net.
    ///
    /// # Errors
    ///
    /// Says why it cannot be used, and what to do.
    fn weights(&self) -> Result<Weights, String> {
        match self.nets.held(SAFETY) {
            Held::Missing => {
                Err(format!("the pack `{SAFETY}` is not installed; pull it with `imgopen models pull {SAFETY}`"))
            }
            Held::Broken(problem) => Err(problem),
            Held::Whole(all) => {
                let found = all.iter().find(|weights| weights.file.name() == FILE).cloned();
                found.ok_or_else(|| format!("the pack `{SAFETY}` does not have `{FILE}`; pull the built-in one"))
            }
        }
    }
}

impl Auditor for Safety {
    fn ready(&self) -> Result<(), String> {
        self.weights().map(drop)
    }

    fn memory(&self) -> u64 {
        // Without the net, nothing is audited.
        let Ok(weights) = self.weights() else { return 0 };
        let inputs = weights.file.inputs().iter().map(|port| (port.name.as_str(), &SHAPE[..]));
        weights.memory(&inputs.collect::<Vec<_>>(), WORKING)
    }

    fn audit(
        &self,
        picture: &Picture,
        limits: &PictureLimits,
        monitor: &Monitor,
    ) -> Result<Vec<AuditLabel>, EngineError> {
        let weights = self.weights().map_err(unavailable)?;
        let views = views(&decode_result(picture, limits, monitor)?.image)?;
        let session = self.nets.open(&weights)?;
        let mut highest = 0.0_f64;
        for view in views {
            monitor.check_cancelled()?;
            highest = highest.max(confidence(&session, &view)?);
        }
        Ok(vec![AuditLabel { name: LABEL.to_owned(), confidence: highest }])
    }
}

/// Returns the pictures to look at, squeezed.
fn views(image: &DynamicImage) -> Result<Vec<RgbImage>, EngineError> {
    let mut views = vec![squeezed(image)?];
    if image.color().has_alpha() {
        views.push(squeezed(&image.to_rgb8().into())?);
    }
    Ok(views)
}

/// Returns a copy of a picture as it is squeezed for the net, on white where it is transparent.
fn squeezed(image: &DynamicImage) -> Result<RgbImage, EngineError> {
    Ok(flatten(pixels::resized(image, SQUEEZED, SQUEEZED)?).into_rgb8())
}

/// Returns the numbers for the net: blue, green and red of each pixel of the middle, less their means.
fn numbers(squeezed: &RgbImage) -> Vec<f32> {
    let edge = (SQUEEZED - SEEN) / 2;
    let middle = imageops::crop_imm(squeezed, edge, edge, SEEN, SEEN).to_image();
    let [blue_mean, green_mean, red_mean] = MEANS;
    let numbers = middle.pixels().flat_map(|Rgb([red, green, blue])| {
        [f32::from(*blue) - blue_mean, f32::from(*green) - green_mean, f32::from(*red) - red_mean]
    });
    numbers.collect()
}

/// Returns how likely a picture is not safe for work, from 0 to 1, rounded to four digits. Runs the net, which cannot be stopped.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails, or is not for this.
fn confidence(net: &Net, squeezed: &RgbImage) -> Result<f64, EngineError> {
    const DIGITS: f64 = 10_000.0;
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not audit pictures", net.file().name()));
    let (input, output) = net.file().inputs().first().zip(net.file().outputs().first()).ok_or_else(unfit)?;
    let picture = Tensor::new(SHAPE, numbers(squeezed)).map_err(|error| EngineError::Failed(error.to_string()))?;
    let [shares] = net.run(&[(input.name.as_str(), &picture)], [output.name.as_str()])?;
    match shares.as_f32() {
        Some(&[_, unsafe_share]) if (0.0..=1.0).contains(&unsafe_share) => {
            Ok((f64::from(unsafe_share) * DIGITS).round() / DIGITS)
        }
        _ => Err(unfit()),
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, Rgba};

    use super::*;

    /// Places, and what the net sees there, by Pillow and NumPy.
    const PILLOW: [((usize, usize), [f32; 3]); 5] = [
        ((0, 0), [3.0, 1.0, 4.0]),
        ((223, 223), [33.0, 85.0, -28.0]),
        ((100, 40), [-22.0, 106.0, -97.0]),
        ((17, 201), [-23.0, -34.0, -1.0]),
        ((150, 150), [17.0, 67.0, -92.0]),
    ];

    /// Blue, green and red that the net sees at a place.
    fn seen(numbers: &[f32], x: usize, y: usize) -> [f32; 3] {
        let at = (y * SEEN as usize + x) * 3;
        [numbers[at], numbers[at + 1], numbers[at + 2]]
    }

    #[test]
    fn the_net_sees_the_middle_in_blue_green_and_red_less_their_means() {
        let image = ImageBuffer::from_fn(SQUEEZED, SQUEEZED, |x, y| Rgb([x as u8, y as u8, 7_u8]));
        let numbers = numbers(&squeezed(&image.into()).unwrap());
        assert_eq!(numbers.len(), 224 * 224 * 3);
        assert_eq!(seen(&numbers, 0, 0), [7.0 - 104.0, 16.0 - 117.0, 16.0 - 123.0]);
        assert_eq!(seen(&numbers, 223, 5), [7.0 - 104.0, 21.0 - 117.0, 239.0 - 123.0]);
    }

    /// By Pillow: `resize((256, 256), BILINEAR)`, `[16:240, 16:240, ::-1]` less the means, in NumPy.
    #[test]
    fn a_picture_of_any_shape_is_squeezed_as_pillow_does() {
        let image = ImageBuffer::from_fn(300, 520, |x, y| {
            Rgb([((x * 5 + y) % 256) as u8, ((x + y * 3) % 256) as u8, ((x * y) % 256) as u8])
        });
        let numbers = numbers(&squeezed(&image.into()).unwrap());
        for ((x, y), expected) in PILLOW {
            for (number, expected) in seen(&numbers, x, y).into_iter().zip(expected) {
                assert!((number - expected).abs() <= 1.0, "{x},{y}: {number} {expected}");
            }
        }
    }

    #[test]
    fn a_transparent_picture_is_looked_at_on_white_and_without_transparency() {
        let image = ImageBuffer::from_pixel(8, 8, Rgba([200_u8, 10, 20, 0])).into();
        let both = views(&image).unwrap();
        let [white, bare] = &both[..] else { panic!() };
        assert_eq!((white.get_pixel(9, 9).0, bare.get_pixel(9, 9).0), ([255; 3], [200, 10, 20]));
        let gray = ImageBuffer::from_pixel(8, 8, Luma([257_u16 * 100])).into();
        let one = views(&gray).unwrap();
        let [view] = &one[..] else { panic!() };
        assert_eq!(view.get_pixel(9, 9).0, [100; 3]);
    }
}
