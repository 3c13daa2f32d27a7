//! Recognises pixel art by its grid: colours change only where enlarged pixels meet.

use image::RgbImage;

/// The most rows and columns that are sampled.
const LINES: u32 = 128;
/// The sides of enlarged pixels that are tried, in pixels.
const SIZES: std::ops::RangeInclusive<usize> = 2..=64;
/// The difference of neighbours above which there is a change.
const CHANGE: u8 = 8;
/// The fewest enlarged pixels along a side.
const PIXELS: usize = 12;
/// The longest side of pixel art that is not enlarged, if it has few colours.
const SMALL: u32 = 128;
const FEW: usize = 48;

/// Returns the confidence, from 0 to 1, that the picture is pixel art.
pub(super) fn certainty(image: &RgbImage) -> f64 {
    let (width, height) = image.dimensions();
    let across = changes(width, height, |along, line| image.get_pixel(along, line).0);
    let down = changes(height, width, |along, line| image.get_pixel(line, along).0);
    enlarged(&across).min(enlarged(&down)).max(sprite(image, &across))
}

/// Counts colour changes between each pixel and the one before, over lines spread over the picture.
fn changes(length: u32, lines: u32, at: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u32> {
    let looked_at = lines.min(LINES);
    let mut changes = vec![0; length as usize];
    for line in (0..looked_at).map(|line| (u64::from(line) * u64::from(lines) / u64::from(looked_at)) as u32) {
        for along in 1..length {
            let (a, b) = (at(along - 1, line), at(along, line));
            let differs = a.iter().zip(b).any(|(a, b)| a.abs_diff(b) > CHANGE);
            changes[along as usize] += u32::from(differs);
        }
    }
    changes
}

/// Returns the share of changes on the best fitting grid, beyond what chance would give.
fn enlarged(changes: &[u32]) -> f64 {
    let all: u32 = changes.iter().sum();
    let mut best = 0.0_f64;
    for size in SIZES.take_while(|size| changes.len() >= size * PIXELS) {
        let on = (0..size).map(|phase| changes.iter().skip(phase).step_by(size).sum::<u32>()).max().unwrap_or_default();
        let chance = 1.0 / size as f64;
        let places = changes.iter().filter(|count| **count > 0).count();
        if places >= PIXELS {
            best = best.max((f64::from(on) / f64::from(all) - chance) / (1.0 - chance));
        }
    }
    // Nearly all of them: a photograph has changes everywhere.
    ((best - 0.8) / 0.18).clamp(0.0, 1.0)
}

/// Returns whether this is a small picture of few colours with many changes.
fn sprite(image: &RgbImage, across: &[u32]) -> f64 {
    if image.width().max(image.height()) > SMALL || image.width().min(image.height()) < 8 {
        return 0.0;
    }
    let mut colors: Vec<[u8; 3]> = image.pixels().map(|pixel| pixel.0).collect();
    colors.sort_unstable();
    colors.dedup();
    let lines = f64::from(image.height().min(LINES));
    let busy = across.iter().map(|count| f64::from(*count)).sum::<f64>() / (lines * across.len() as f64);
    if (3..=FEW).contains(&colors.len()) { (busy / 0.1).min(1.0) * 0.8 } else { 0.0 }
}
