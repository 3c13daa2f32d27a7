//! Gives hair another colour, and leaves its strands and lights as they are.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};

use super::hair::Hair;
use crate::background::matte::opacity;
use crate::lab;
use crate::pixels::{Sample, is_deep};
use crate::plane::{Place, places};

/// How much of the difference of a pixel's colour from the mean of the hair is left.
const VARIED: f32 = 0.5;

/// The range of the factor by which colours of darker and lighter strands are weaker and stronger.
const STRENGTH: [f32; 2] = [0.5, 1.2];

/// The least share of the contrast that is left of darker strands in light colours, and of lighter ones in dark colours.
const CONTRAST: f32 = 0.4;

/// The least share of its strength that a colour keeps which cannot be shown in full at its lightness.
const LEAST_STRENGTH: f32 = 0.7;

/// How far beyond 0 and 1 levels may be that count as these: half a level of 8 bits.
const BEYOND: f32 = 0.002;

/// How often the strength that can be shown is searched between two others.
const HALVINGS: usize = 8;

/// The opacity below which a pixel stays as it is.
const UNSEEN: f32 = 0.01;

/// Recolours hair to a colour in L*a*b*. A gray picture becomes a coloured one. Pixels that show no hair stay exactly as they are.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub(super) fn recolour(
    image: DynamicImage,
    hair: &Hair,
    target: [f32; 3],
    monitor: &Monitor,
) -> Result<DynamicImage, EngineError> {
    let width = image.width() as usize;
    let dye = Dye { mean: hair.mean, target };
    Ok(match (is_deep(&image), image.color().has_alpha()) {
        (false, false) => {
            let mut pixels = image.into_rgb8();
            dye.apply::<u8>(&mut pixels, width, 3, hair, monitor)?;
            pixels.into()
        }
        (false, true) => {
            let mut pixels = image.into_rgba8();
            dye.apply::<u8>(&mut pixels, width, 4, hair, monitor)?;
            pixels.into()
        }
        (true, false) => {
            let mut pixels = image.into_rgb16();
            dye.apply::<u16>(&mut pixels, width, 3, hair, monitor)?;
            pixels.into()
        }
        (true, true) => {
            let mut pixels = image.into_rgba16();
            dye.apply::<u16>(&mut pixels, width, 4, hair, monitor)?;
            pixels.into()
        }
    })
}

/// From which colour to which one.
struct Dye {
    mean: [f32; 3],
    target: [f32; 3],
}

impl Dye {
    fn apply<S: Sample>(
        &self,
        samples: &mut [S],
        width: usize,
        channels: usize,
        hair: &Hair,
        monitor: &Monitor,
    ) -> Result<(), EngineError> {
        let (part, matte) = (hair.part, &hair.matte);
        let columns: Vec<Place> = places(matte.offset.width, part.width as usize);
        let lines = places(matte.offset.height, part.height as usize);
        let mut factors: [Vec<f32>; 3] = Default::default();
        let (mut offset, mut mixed) = (Vec::new(), Vec::new());
        let rows = samples.chunks_exact_mut(width * channels).skip(part.top as usize);
        for (row, line) in rows.zip(lines) {
            monitor.check_cancelled()?;
            for (plane, row) in matte.factors.iter().zip(&mut factors) {
                plane.enlarge_row(line, &columns, &mut mixed, row);
            }
            matte.offset.enlarge_row(line, &columns, &mut mixed, &mut offset);
            let [first, second, third] = &factors;
            let pixels = row.chunks_exact_mut(channels).skip(part.left as usize);
            let fitted = first.iter().zip(second).zip(third).zip(&offset);
            for (pixel, (((first, second), third), offset)) in pixels.zip(fitted) {
                self.pixel(pixel, [*first, *second, *third], *offset);
            }
        }
        Ok(())
    }

    fn pixel<S: Sample>(&self, pixel: &mut [S], factors: [f32; 3], offset: f32) {
        let [red, green, blue, alpha @ ..] = pixel else { return };
        let own = [red.level(), green.level(), blue.level()];
        let share = opacity(factors, offset, own);
        if share < UNSEEN || alpha.first() == Some(&S::default()) {
            return;
        }
        let new = shown(self.dyed(lab::of(own))).map(|level| level.clamp(0.0, 1.0));
        for ((sample, own), new) in [red, green, blue].into_iter().zip(own).zip(new) {
            *sample = S::nearest(own + share * (new - own));
        }
    }

    /// Returns the new colour of a strand: the mean becomes the target, darker strands stay darker, and lighter ones lighter.
    fn dyed(&self, [lightness, a, b]: [f32; 3]) -> [f32; 3] {
        let ([from, mean_a, mean_b], [to, target_a, target_b]) = (self.mean, self.target);
        let is_darker = to <= from;
        let squeezed = if is_darker { to / from.max(1.0) } else { (100.0 - to) / (100.0 - from).max(1.0) };
        // On the side of black or white that the target is near, there is no room for more.
        let contrast = if (lightness < from) == is_darker { squeezed } else { squeezed.max(CONTRAST) };
        let new = to + contrast * (lightness - from);
        let [least, most] = STRENGTH;
        let strength = (new / to.max(1.0)).clamp(least, most);
        let tinted = |target: f32, own: f32, mean: f32| target * strength + VARIED * (own - mean);
        [new, tinted(target_a, a, mean_a), tinted(target_b, b, mean_b)]
    }
}

/// Returns the levels of a colour. One that cannot be shown at its lightness gets weaker, so that strands do not run together, but not
/// so weak that it is another colour.
fn shown([lightness, a, b]: [f32; 3]) -> [f32; 3] {
    let levels = |strength: f32| lab::to_rgb([lightness, a * strength, b * strength]);
    let fits = |levels: [f32; 3]| levels.iter().all(|level| (-BEYOND..=1.0 + BEYOND).contains(level));
    if fits(levels(1.0)) {
        return levels(1.0);
    }
    let (mut least, mut most) = (LEAST_STRENGTH, 1.0);
    for _ in 0..HALVINGS {
        let middle = (least + most) / 2.0;
        if fits(levels(middle)) {
            least = middle;
        } else {
            most = middle;
        }
    }
    levels(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By NumPy, in double precision. Without the least contrast, and with each level cut off by itself, both greens were
    /// nearly the same, as were black and what was lit.
    #[test]
    fn strands_are_seen_in_pure_colours_too() {
        let levels = |colour: [u8; 3]| colour.map(|level| f32::from(level) / 255.0);
        let mean = lab::of(levels([110, 85, 60]));
        let (dark, light): ([u8; 3], [u8; 3]) = ([40, 28, 18], [200, 170, 130]);
        for (target, own, expected) in [
            ([0, 255, 0], dark, [0, 221, 45]),
            ([0, 255, 0], light, [135, 255, 104]),
            ([255, 255, 255], dark, [217, 226, 234]),
            ([0, 0, 0], light, [35, 34, 30]),
            ([48, 80, 158], dark, [0, 29, 64]),
            ([48, 80, 158], light, [133, 157, 255]),
        ] {
            let dye = Dye { mean, target: lab::of(levels(target)) };
            let mut pixel = own;
            dye.pixel(&mut pixel, [0.0; 3], 1.0);
            assert!(pixel.iter().zip(expected).all(|(one, other)| one.abs_diff(other) <= 2), "{target:?}: {pixel:?}");
        }
    }

    #[test]
    fn the_mean_becomes_the_target_and_strands_keep_their_order() {
        for (from, to) in [([50.0, 5.0, 20.0], [15.0, 1.0, 3.0]), ([20.0, 2.0, 8.0], [75.0, 4.0, 30.0])] {
            let dye = Dye { mean: from, target: to };
            let dyed = dye.dyed(from);
            assert!(dyed.iter().zip(to).all(|(one, other)| (one - other).abs() < 1e-3), "{dyed:?}");
            let lights: Vec<f32> = (0..=100).map(|light| dye.dyed([light as f32, from[1], from[2]])[0]).collect();
            assert!(lights.windows(2).all(|pair| pair[0] < pair[1]), "{lights:?}");
            assert!(lights[0] >= -0.001 && lights[100] <= 100.001, "{lights:?}");
        }
    }

    #[test]
    fn pixels_without_hair_and_hidden_ones_stay() {
        let dye = Dye { mean: [50.0, 0.0, 0.0], target: [30.0, 40.0, 20.0] };
        let pixel = |opacity: f32, alpha: u8| {
            let mut pixel = [128_u8, 126, 124, alpha];
            dye.pixel(&mut pixel, [0.0; 3], opacity);
            pixel
        };
        assert_eq!((pixel(0.0, 255), pixel(1.0, 0)), ([128, 126, 124, 255], [128, 126, 124, 0]));
        let [red, green, blue, alpha] = pixel(1.0, 255);
        assert!(red > green && red > blue && alpha == 255, "{red} {green} {blue}");
        // By hand: half of the way.
        let [half, ..] = pixel(0.5, 255);
        assert!(half.abs_diff(((u16::from(red) + 128) / 2) as u8) <= 1, "{half} {red}");
    }
}
