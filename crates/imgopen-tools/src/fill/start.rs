//! The initial guess at the coarsest scale: colours that pass smoothly from border to border, plus the detail mirrored at
//! the nearest border.

use fastrand::Rng;
use imgopen_engine::{EngineError, Monitor};

use super::canvas::{Area, Canvas, nearest};

/// The smoothing rounds for each pixel of the hole's depth.
const ROUNDS_PER_STEP: usize = 12;
/// The most pixels smoothed in all rounds together.
const MOST_PIXELS: usize = 8_000_000;

/// Cancellation is checked after this many pixels.
const PART: usize = 16_384;

/// The radius of the mean from which a pixel's difference counts as detail.
const DETAIL: usize = 6;
/// The radius in which the usual strength of detail is measured.
const USUAL: usize = 2;

/// What is added to smooth colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rough {
    /// The strength of the mirrored detail, from 0 to 1.
    pub detail: f32,
    /// The amplitude of noise, in standard deviations of the pixels at the border.
    pub noise: f32,
}

/// Fills the hole.
pub(super) fn fill(canvas: &mut Canvas, rough: Rough, seed: u64, monitor: &Monitor) -> Result<(), EngineError> {
    let (order, colours) = smooth(canvas, monitor)?;
    let whole = Area { left: 0, top: 0, right: canvas.width, bottom: canvas.height };
    let nearest = nearest(&canvas.hole, canvas.width, whole, monitor)?;
    let mut rng = Rng::with_seed(seed);
    let mut filled = Vec::with_capacity(order.len());
    for part in order.chunks(PART) {
        monitor.check_cancelled()?;
        filled.extend(part.iter().map(|at| {
            let near = nearest[*at] as usize;
            let usual = around(canvas, near, USUAL).map(|(_, deviation)| deviation);
            let detail = detail(canvas, *at, (near % canvas.width, near / canvas.width), usual);
            let noise = (rng.f32() - 0.5) * 2.0 * rough.noise;
            std::array::from_fn(|c| {
                let rough = detail[c] * rough.detail + usual[c] * noise;
                (colours[*at][c] + rough).round().clamp(0.0, 255.0) as u8
            })
        }));
    }
    for (at, pixel) in order.into_iter().zip(filled) {
        canvas.pixels[at] = pixel;
    }
    Ok(())
}

/// Returns a position mirrored at the nearest known pixel, if that position is known.
fn mirrored(canvas: &Canvas, at: usize, near: (usize, usize)) -> Option<usize> {
    let beyond = |near: usize, at: usize, size: usize| (2 * near).checked_sub(at).filter(|at| *at < size);
    let x = beyond(near.0, at % canvas.width, canvas.width)?;
    let y = beyond(near.1, at / canvas.width, canvas.height)?;
    Some(y * canvas.width + x).filter(|at| !canvas.hole[*at])
}

/// Returns the difference of the mirrored pixel from its surroundings, limited to what is usual near the border: farther
/// away there may be other content.
fn detail(canvas: &Canvas, at: usize, near: (usize, usize), usual: [f32; 4]) -> [f32; 4] {
    let Some(mirrored) = mirrored(canvas, at, near) else { return [0.0; 4] };
    let there = around(canvas, mirrored, DETAIL);
    std::array::from_fn(|c| {
        let most = 2.0 * usual[c];
        (f32::from(canvas.pixels[mirrored][c]) - there[c].0).clamp(-most, most)
    })
}

/// Returns the mean and the standard deviation of the known pixels around one, for each channel.
fn around(canvas: &Canvas, at: usize, reach: usize) -> [(f32, f32); 4] {
    let (x, y) = (at % canvas.width, at / canvas.width);
    let (mut sums, mut squares, mut count) = ([0_u32; 4], [0_u32; 4], 0);
    for y in y.saturating_sub(reach)..(y + reach + 1).min(canvas.height) {
        for x in x.saturating_sub(reach)..(x + reach + 1).min(canvas.width) {
            let at = y * canvas.width + x;
            if !canvas.hole[at] {
                count += 1;
                for (c, sample) in canvas.pixels[at].into_iter().enumerate() {
                    sums[c] += u32::from(sample);
                    squares[c] += u32::from(sample).pow(2);
                }
            }
        }
    }
    let count = (count as f32).max(1.0);
    std::array::from_fn(|c| {
        let mean = sums[c] as f32 / count;
        (mean, (squares[c] as f32 / count - mean * mean).max(0.0).sqrt())
    })
}

/// Returns the pixels of the hole, and colours for all pixels: those of the hole are the means of their surroundings,
/// smoothed until they hardly change.
fn smooth(canvas: &Canvas, monitor: &Monitor) -> Result<(Vec<usize>, Vec<[f32; 4]>), EngineError> {
    let depths = canvas.depths();
    let mut order: Vec<usize> = (0..depths.len()).filter(|at| canvas.hole[*at]).collect();
    order.sort_by_key(|at| depths[*at]);
    let mut colours: Vec<[f32; 4]> = canvas.pixels.iter().map(|pixel| pixel.map(f32::from)).collect();
    let mut known: Vec<bool> = canvas.hole.iter().map(|hole| !hole).collect();
    let deepest = order.last().map_or(0, |at| usize::from(depths[*at]));
    let rounds = (deepest * ROUNDS_PER_STEP).min(MOST_PIXELS / order.len().max(1)).max(1);
    for _ in 0..rounds {
        for part in order.chunks(PART) {
            monitor.check_cancelled()?;
            for at in part {
                if let Some(mean) = mean_around(&colours, &known, canvas.width, *at) {
                    colours[*at] = mean;
                    known[*at] = true;
                }
            }
        }
    }
    Ok((order, colours))
}

fn mean_around(colours: &[[f32; 4]], known: &[bool], width: usize, at: usize) -> Option<[f32; 4]> {
    let x = at % width;
    let beside = [
        (x > 0).then(|| at - 1),
        (x + 1 < width).then(|| at + 1),
        at.checked_sub(width),
        Some(at + width).filter(|below| *below < known.len()),
    ];
    let (mut sums, mut count) = ([0.0; 4], 0.0);
    for at in beside.into_iter().flatten().filter(|at| known[*at]) {
        sums.iter_mut().zip(colours[at]).for_each(|(sum, sample)| *sum += sample);
        count += 1.0;
    }
    (count > 0.0).then(|| sums.map(|sum| sum / count))
}
