//! Measurements of a picture from which its style is guessed.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, RgbImage};
use imgopen_engine::{EngineError, Monitor};

use super::grid;
use super::strokes::{self, Strokes};
use crate::brightness::brightness;

/// The longest side, in pixels, of the copy on which all but the grid is measured.
const COPY: u32 = 512;
/// The most by which neighbours differ where the picture is flat, and where it has a soft transition.
const FLAT: u8 = 1;
const EDGE: u8 = 24;
/// The least change of a gradient that counts as grain, in quarters of a brightness level.
const GRAIN: u32 = 6;

/// The measurements of a picture. Shares range from 0 to 1, brightness and colour from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// The share of pixels equal to their neighbours, to within one level.
    pub flat: f64,
    /// The share of pixels on soft transitions: neighbours differ by 2 to 24 levels.
    pub soft: f64,
    /// The share of pixels on edges: neighbours differ by more.
    pub edges: f64,
    /// The share of soft transitions that are uneven, as film grain and surfaces make them.
    pub grain: f64,
    /// The number of colours, at 4 bits a channel, that cover nine tenths of the picture.
    pub colors: u32,
    /// The mean difference between a pixel's largest and smallest channel.
    pub chroma: f64,
    /// The difference that only one pixel in twenty exceeds.
    pub chroma_peak: f64,
    /// The share of all colour in the strongest twelfth of the hue circle.
    pub one_hue: f64,
    /// The median brightness.
    pub median: f64,
    /// The brightness that only one pixel in twenty falls below.
    pub shadows: f64,
    /// The share of pixels darker than a quarter of full brightness.
    pub dark: f64,
    /// The share of pixels brighter than three quarters of full brightness.
    pub bright: f64,
    /// The share of pixels that are nearly black or nearly white.
    pub extremes: f64,
    /// The smaller of the shares of nearly black and nearly white pixels.
    pub lesser_extreme: f64,
    /// Dark strokes on a light ground.
    pub strokes: Strokes,
    /// The confidence, from 0 to 1, that the picture consists of enlarged square pixels.
    pub grid: f64,
}

impl Measures {
    /// Measures a picture of 8 bits without transparency.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] for pixels that cannot be resampled, which decoded pictures do not have;
    /// [`EngineError::Cancelled`].
    pub(super) fn of(image: DynamicImage, monitor: &Monitor) -> Result<Self, EngineError> {
        // Each stage that sees the whole picture is one pass over it, or over samples.
        monitor.check_cancelled()?;
        let image = image.into_rgb8();
        monitor.check_cancelled()?;
        let grid = grid::certainty(&image);
        monitor.check_cancelled()?;
        let copy = copy(image)?;
        monitor.check_cancelled()?;
        let near = Neighbours::of(&copy);
        let tones = Tones::of(&copy);
        let pixels = f64::from(copy.width()) * f64::from(copy.height());
        let brightness = |from: usize, to: usize| f64::from(tones.gray[from..to].iter().sum::<u32>()) / pixels;
        let (black, white) = (brightness(0, 16), brightness(240, 256));
        Ok(Self {
            flat: near.part(near.flat),
            soft: near.part(near.soft),
            edges: near.part(near.edges),
            grain: near.grain as f64 / near.soft.max(1) as f64,
            colors: tones.colors(),
            chroma: tones.mean_chroma(),
            chroma_peak: quantile(&tones.chroma, 0.95),
            one_hue: tones.one_hue(),
            median: quantile(&tones.gray, 0.5),
            shadows: quantile(&tones.gray, 0.05),
            dark: brightness(0, 64),
            bright: brightness(192, 256),
            extremes: black + white,
            lesser_extreme: black.min(white),
            strokes: strokes::measure(&copy, monitor)?,
            grid,
        })
    }
}

/// Returns the copy that is measured; the picture itself if it is small.
fn copy(image: RgbImage) -> Result<RgbImage, EngineError> {
    let longest = image.width().max(image.height());
    if longest <= COPY {
        return Ok(image);
    }
    let side = |side: u32| ((u64::from(side) * u64::from(COPY) / u64::from(longest)) as u32).max(1);
    let mut copy = RgbImage::new(side(image.width()), side(image.height()));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Box));
    Resizer::new()
        .resize(&DynamicImage::from(image), &mut copy, &options)
        .map_err(|error| EngineError::Failed(format!("the picture cannot be resampled: {error}")))?;
    Ok(copy)
}

/// Counts of the differences between pixels and those to the right and below.
#[derive(Default)]
struct Neighbours {
    flat: u64,
    soft: u64,
    edges: u64,
    grain: u64,
}

impl Neighbours {
    fn of(image: &RgbImage) -> Self {
        let mut counts = Self::default();
        let (width, height) = (image.width() as usize, image.height() as usize);
        let row = |y: usize| image.as_raw()[y * width * 3..][..width * 3].as_chunks::<3>().0;
        for y in 0..height {
            counts.add(row(y), row((y + 1).min(height - 1)));
        }
        counts
    }

    fn add(&mut self, row: &[[u8; 3]], below: &[[u8; 3]]) {
        let weighted = |pixel: &[u8; 3]| u32::from(pixel[0]) + 2 * u32::from(pixel[1]) + u32::from(pixel[2]);
        for (x, pixel) in row.iter().enumerate() {
            let (left, right) = (&row[x.saturating_sub(1)], row.get(x + 1).unwrap_or(pixel));
            match distance(pixel, right).max(distance(pixel, &below[x])) {
                0..=FLAT => self.flat += 1,
                difference if difference > EDGE => self.edges += 1,
                _ => {
                    self.soft += 1;
                    let bend = (weighted(left) + weighted(right)).abs_diff(2 * weighted(pixel));
                    self.grain += u64::from(bend >= GRAIN);
                }
            }
        }
    }

    fn part(&self, count: u64) -> f64 {
        count as f64 / (self.flat + self.soft + self.edges) as f64
    }
}

/// Returns the largest difference of a channel.
fn distance(a: &[u8; 3], b: &[u8; 3]) -> u8 {
    a[0].abs_diff(b[0]).max(a[1].abs_diff(b[1])).max(a[2].abs_diff(b[2]))
}

/// Histograms of brightness, chroma, hues and colours.
struct Tones {
    gray: Vec<u32>,
    chroma: Vec<u32>,
    /// The sum of chroma in each twenty-fourth of the hue circle.
    hues: [u64; 24],
    palette: Vec<u32>,
}

impl Tones {
    fn of(image: &RgbImage) -> Self {
        let mut tones = Self { gray: vec![0; 256], chroma: vec![0; 256], hues: [0; 24], palette: vec![0; 4096] };
        for pixel in image.pixels() {
            let [r, g, b] = pixel.0;
            let (most, least) = (r.max(g).max(b), r.min(g).min(b));
            tones.gray[usize::from(brightness(pixel.0))] += 1;
            tones.chroma[usize::from(most - least)] += 1;
            tones.hues[hue(r, g, b)] += u64::from(most - least);
            let [r, g, b] = pixel.0.map(|channel| usize::from(channel >> 4));
            tones.palette[r << 8 | g << 4 | b] += 1;
        }
        tones
    }

    fn colors(&self) -> u32 {
        let mut counts = self.palette.clone();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let wanted = 0.9 * f64::from(counts.iter().sum::<u32>());
        let mut covered = 0.0;
        let before = counts.iter().take_while(|count| {
            covered += f64::from(**count);
            covered < wanted
        });
        before.count() as u32 + 1
    }

    fn mean_chroma(&self) -> f64 {
        let sum: u64 = (0..).zip(&self.chroma).map(|(chroma, count): (u64, _)| chroma * u64::from(*count)).sum();
        sum as f64 / f64::from(self.chroma.iter().sum::<u32>())
    }

    fn one_hue(&self) -> f64 {
        let twelfth = |start: usize| self.hues[start] + self.hues[(start + 1) % 24];
        let most = (0..24).map(twelfth).max().unwrap_or_default();
        most as f64 / self.hues.iter().sum::<u64>().max(1) as f64
    }
}

/// Returns the twenty-fourth of the hue circle that contains a colour.
fn hue(r: u8, g: u8, b: u8) -> usize {
    let [r, g, b] = [r, g, b].map(i32::from);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = (most - least).max(1);
    let twenty_fourths = match most {
        most if most == r => (4 * (g - b)).div_euclid(range),
        most if most == g => 8 + (4 * (b - r)).div_euclid(range),
        _ => 16 + (4 * (r - g)).div_euclid(range),
    };
    twenty_fourths.rem_euclid(24) as usize
}

/// Returns the quantile of a histogram.
fn quantile(counts: &[u32], part: f64) -> f64 {
    let wanted = part * f64::from(counts.iter().sum::<u32>());
    let mut passed = 0.0;
    let value = counts.iter().position(|count| {
        passed += f64::from(*count);
        passed >= wanted
    });
    value.unwrap_or_default() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_lie_in_parts_of_equal_width() {
        // Once around the circle in 1440 steps of one of 240 channel values.
        let colour = |step: u16| {
            let (sixth, part) = (step / 240, (step % 240) as u8);
            match sixth {
                0 => [240, part, 0],
                1 => [240 - part, 240, 0],
                2 => [0, 240, part],
                3 => [0, 240 - part, 240],
                4 => [part, 0, 240],
                _ => [240, 0, 240 - part],
            }
        };
        let mut counts = [0; 24];
        for step in 0..1440 {
            let [r, g, b] = colour(step);
            let hue = hue(r, g, b);
            // Hues between two parts may belong to either.
            assert!(step % 60 == 0 || hue == usize::from(step / 60), "{step}: {hue}");
            counts[hue] += 1;
        }
        assert!(counts.iter().all(|count| (59..=61).contains(count)), "{counts:?}");
        assert_eq!([hue(200, 0, 1), hue(200, 1, 0), hue(9, 9, 9)], [23, 0, 0]);
    }
}
