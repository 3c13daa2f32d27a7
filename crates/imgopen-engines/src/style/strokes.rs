//! Dark strokes on a light ground, such as ink on paper, whatever the light on the paper.

use image::RgbImage;

/// How far the brightest place that counts as paper is looked for, in pixels to each side.
const AROUND: usize = 12;
/// A stroke is thinner than this, in pixels.
const THIN: usize = 9;
/// Brightness beside the paper's, in percent: paper is above, ink below.
const PAPER: u32 = 85;
const INK: u32 = 70;

/// Measures of strokes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Strokes {
    /// The part of the picture that is paper: all but as bright as the brightest place around.
    pub paper: f64,
    /// The part that is ink: much darker.
    pub ink: f64,
    /// The part of the ink that lies in strokes, which are thinner than nine pixels.
    pub thin: f64,
    /// The brightness of the ink beside that of the paper around, in the mean.
    pub ink_tone: f64,
    /// The median brightness of the paper, from 0 to 255.
    pub paper_tone: f64,
}

/// Measures the strokes of a picture.
pub(super) fn measure(image: &RgbImage) -> Strokes {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let gray: Vec<u8> = image.pixels().map(|pixel| brightness(pixel.0)).collect();
    let ground = greatest(&gray, width, height, AROUND);
    let ink: Vec<u8> = gray.iter().zip(&ground).map(|(gray, ground)| u8::from(below(*gray, *ground, INK))).collect();
    let paper = gray.iter().zip(&ground).filter(|(gray, ground)| !below(**gray, **ground, PAPER)).count();
    let inked = ink.iter().filter(|ink| **ink == 1).count();
    let thick = opened(&ink, width, height).iter().filter(|ink| **ink == 1).count();
    let tone: f64 =
        (0..gray.len()).filter(|at| ink[*at] == 1).map(|at| f64::from(gray[at]) / f64::from(ground[at])).sum();
    let pixels = gray.len() as f64;
    Strokes {
        paper: paper as f64 / pixels,
        ink: inked as f64 / pixels,
        thin: 1.0 - thick as f64 / inked.max(1) as f64,
        ink_tone: tone / inked.max(1) as f64,
        paper_tone: f64::from(median(&ground)),
    }
}

fn brightness([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 9798 + u32::from(g) * 19235 + u32::from(b) * 3735 + (1 << 14)) >> 15) as u8
}

fn below(gray: u8, ground: u8, percent: u32) -> bool {
    u32::from(gray) * 100 < u32::from(ground) * percent
}

/// Removes what is thinner than a stroke may be, and leaves the rest.
fn opened(ink: &[u8], width: usize, height: usize) -> Vec<u8> {
    let flip = |samples: &[u8]| samples.iter().map(|sample| 1 - sample).collect::<Vec<_>>();
    let eroded = flip(&greatest(&flip(ink), width, height, THIN / 2));
    greatest(&eroded, width, height, THIN / 2)
}

/// The greatest sample in a square around each pixel, which reaches so far to each side.
fn greatest(samples: &[u8], width: usize, height: usize, reach: usize) -> Vec<u8> {
    let mut across = vec![0; samples.len()];
    for (row, out) in samples.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        for away in 0..=reach.min(width - 1) {
            raise(&mut out[away..], row);
            raise(out, &row[away..]);
        }
    }
    let mut greatest = vec![0; samples.len()];
    for (y, out) in greatest.chunks_exact_mut(width).enumerate() {
        for row in y.saturating_sub(reach)..(y + reach + 1).min(height) {
            raise(out, &across[row * width..][..width]);
        }
    }
    greatest
}

fn raise(samples: &mut [u8], others: &[u8]) {
    samples.iter_mut().zip(others).for_each(|(sample, other)| *sample = (*sample).max(*other));
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
    fn the_greatest_around_is_found() {
        let mut samples = vec![0; 7 * 5];
        samples[2 * 7 + 3] = 9;
        let around = greatest(&samples, 7, 5, 1);
        let expected = |x: usize, y: usize| if (2..=4).contains(&x) && (1..=3).contains(&y) { 9 } else { 0 };
        assert!((0..35).all(|at| around[at] == expected(at % 7, at / 7)));
        assert_eq!(greatest(&[1, 2, 3], 1, 3, 12), [3, 3, 3]);
        assert_eq!(greatest(&[1, 2, 3], 3, 1, 1), [2, 3, 3]);
    }

    #[test]
    fn thin_lines_are_strokes_and_blocks_are_not() {
        let picture = |thickness: u32| {
            RgbImage::from_fn(90, 60, |x, _| image::Rgb([if x % 45 < thickness { 20 } else { 230 }; 3]))
        };
        let strokes = measure(&picture(4));
        assert!(strokes.thin == 1.0 && strokes.paper > 0.85 && strokes.paper_tone == 230.0, "{strokes:?}");
        assert!((strokes.ink_tone - 20.0 / 230.0).abs() < 1e-9, "{strokes:?}");
        assert!(measure(&picture(20)).thin < 0.1);
    }
}
