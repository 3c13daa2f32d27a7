//! Measures dark strokes on a light background, such as ink on paper, under uneven light too.

use image::RgbImage;
use imgopen_engine::{EngineError, Monitor};

use crate::brightness::brightness;
use crate::morphology::dilate;

/// The radius, in pixels, in which the brightest pixel counts as paper.
const AROUND: usize = 12;
/// The width in pixels below which something is a stroke.
const THIN: usize = 9;
/// Brightness relative to the paper, in percent: paper is above, ink below.
const PAPER: u32 = 85;
const INK: u32 = 70;

/// Measurements of strokes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Strokes {
    /// The share of the picture that is paper: nearly as bright as the brightest pixel around.
    pub paper: f64,
    /// The share that is ink: much darker.
    pub ink: f64,
    /// The share of the ink in strokes, which are thinner than nine pixels.
    pub thin: f64,
    /// The mean brightness of the ink relative to the paper around it.
    pub ink_tone: f64,
    /// The median brightness of the paper, from 0 to 255.
    pub paper_tone: f64,
}

/// Measures the strokes of a picture.
pub(super) fn measure(image: &RgbImage, monitor: &Monitor) -> Result<Strokes, EngineError> {
    let width = image.width() as usize;
    let gray: Vec<u8> = image.pixels().map(|pixel| brightness(pixel.0)).collect();
    let ground = dilate(&gray, width, AROUND, monitor)?;
    let ink: Vec<u8> = gray.iter().zip(&ground).map(|(gray, ground)| u8::from(below(*gray, *ground, INK))).collect();
    let paper = gray.iter().zip(&ground).filter(|(gray, ground)| !below(**gray, **ground, PAPER)).count();
    let inked = ink.iter().filter(|ink| **ink == 1).count();
    let thick = opened(&ink, width, monitor)?.iter().filter(|ink| **ink == 1).count();
    let tone: f64 =
        (0..gray.len()).filter(|at| ink[*at] == 1).map(|at| f64::from(gray[at]) / f64::from(ground[at])).sum();
    let pixels = gray.len() as f64;
    Ok(Strokes {
        paper: paper as f64 / pixels,
        ink: inked as f64 / pixels,
        thin: 1.0 - thick as f64 / inked.max(1) as f64,
        ink_tone: tone / inked.max(1) as f64,
        paper_tone: f64::from(median(&ground)),
    })
}

fn below(gray: u8, ground: u8, percent: u32) -> bool {
    u32::from(gray) * 100 < u32::from(ground) * percent
}

/// Removes strokes, and leaves wider areas.
fn opened(ink: &[u8], width: usize, monitor: &Monitor) -> Result<Vec<u8>, EngineError> {
    let flip = |samples: &[u8]| samples.iter().map(|sample| 1 - sample).collect::<Vec<_>>();
    let eroded = flip(&dilate(&flip(ink), width, THIN / 2, monitor)?);
    dilate(&eroded, width, THIN / 2, monitor)
}

fn median(samples: &[u8]) -> u8 {
    let mut counts = [0_usize; 256];
    samples.iter().for_each(|sample| counts[usize::from(*sample)] += 1);
    let mut passed = 0;
    let middle = counts.iter().position(|count| {
        passed += count;
        2 * passed >= samples.len()
    });
    middle.unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thin_lines_are_strokes_and_blocks_are_not() {
        let picture = |thickness: u32| {
            RgbImage::from_fn(90, 60, |x, _| image::Rgb([if x % 45 < thickness { 20 } else { 230 }; 3]))
        };
        let measure = |image: &RgbImage| measure(image, &Monitor::new().0).unwrap();
        let strokes = measure(&picture(4));
        assert!(strokes.thin == 1.0 && strokes.paper > 0.85 && strokes.paper_tone == 230.0, "{strokes:?}");
        assert!((strokes.ink_tone - 20.0 / 230.0).abs() < 1e-9, "{strokes:?}");
        assert!(measure(&picture(20)).thin < 0.1);
    }
}
