//! Soft edges without a neural network: the gradient at each pixel relative to that of its surroundings.
//!
//! The picture is blurred, the channel with the largest gradient is taken, and most of the mean gradient of the
//! surroundings is subtracted, so that outlines stay and texture fades. The result is scaled to the strongest edges.

use image::GrayImage;
use imgopen_engine::EngineError;

use super::gaussian::{Blur, stride};
use super::raster::Raster;

/// The deviation of the blur in pixels.
const BLUR: f64 = 2.0;
/// The radius of the surroundings, in pixels.
const AROUND: usize = 8;
/// The share of the surroundings' mean gradient that is subtracted.
const TAKEN: f32 = 0.75;
/// The share of the edges that reaches full brightness.
const BRIGHTEST: f64 = 0.03;
/// The least gradient that is shown at full brightness, in levels per pixel, so that noise does not become edges.
const LEAST: f64 = 2.5;
/// The least gradient that counts as an edge when the strongest are determined.
const SOME: f64 = 0.5;
/// The exponent of the curve from gradient to brightness.
const POWER: f64 = 0.8;
/// The steps in which a gradient of one is represented.
const STEPS: f32 = 128.0;

/// Returns soft edges, bright on black.
pub(super) fn edges(raster: Raster<'_>) -> Result<GrayImage, EngineError> {
    let mut slopes = slopes(raster)?;
    let counts = subtract_surroundings(&mut slopes, raster)?;
    let levels = levels(&counts);
    let mut edges = raster.gray();
    for (edges, slopes) in edges.chunks_exact_mut(raster.width).zip(slopes.chunks_exact(raster.width)) {
        raster.monitor.check_cancelled()?;
        edges.iter_mut().zip(slopes).for_each(|(edge, slope)| *edge = levels[usize::from(*slope)]);
    }
    Ok(edges)
}

/// Returns the gradient of the blurred picture at each pixel, in steps.
fn slopes(raster: Raster<'_>) -> Result<Vec<u16>, EngineError> {
    let Raster { width, height, .. } = raster;
    let mut blur = Blur::new(raster, BLUR);
    let mut rows = [blur.empty_row(), blur.empty_row(), blur.empty_row()];
    let mut steepest = vec![0.0; width];
    let mut slopes = vec![0_u16; width * height];
    // The border is replicated.
    rows[1..].iter_mut().try_for_each(|row| blur.row(0, row))?;
    for (y, out) in slopes.chunks_exact_mut(width).enumerate() {
        rows.rotate_left(1);
        blur.row((y + 1).min(height - 1), &mut rows[2])?;
        slope_row(&rows, &mut steepest, out);
    }
    Ok(slopes)
}

vectorised!(slope_row = slope_row_plainly(rows: &'a [Vec<f32>; 3], steepest: &'a mut [f32], out: &'a mut [u16]));

/// Returns the largest Sobel gradient of the channels at each pixel of a row.
#[inline(always)]
fn slope_row_plainly([above, here, below]: &[Vec<f32>; 3], steepest: &mut [f32], out: &mut [u16]) {
    let length = stride(steepest.len());
    steepest.fill(0.0);
    let channels = above.chunks_exact(length).zip(here.chunks_exact(length)).zip(below.chunks_exact(length));
    for ((above, here), below) in channels {
        let width = steepest.len();
        let sides = |x: usize| [x.saturating_sub(1), (x + 1).min(width - 1)];
        let square = |x: usize, [left, right]: [usize; 2]| {
            let across = above[right] - above[left] + 2.0 * (here[right] - here[left]) + below[right] - below[left];
            let down = below[left] - above[left] + 2.0 * (below[x] - above[x]) + below[right] - above[right];
            across * across + down * down
        };
        for x in [0, width - 1] {
            steepest[x] = steepest[x].max(square(x, sides(x)));
        }
        if width > 2 {
            inner_slopes([above, here, below], &mut steepest[1..width - 1]);
        }
    }
    for (slope, square) in out.iter_mut().zip(steepest) {
        *slope = (square.sqrt() * (STEPS / 8.0)) as i32 as u16;
    }
}

/// The same as at the borders, in a form that vectorises.
#[inline(always)]
fn inner_slopes([above, here, below]: [&[f32]; 3], steepest: &mut [f32]) {
    let count = steepest.len();
    let [a0, a1, a2] = [&above[..count], &above[1..][..count], &above[2..][..count]];
    let [h0, h2] = [&here[..count], &here[2..][..count]];
    let [b0, b1, b2] = [&below[..count], &below[1..][..count], &below[2..][..count]];
    for x in 0..count {
        let across = a2[x] - a0[x] + 2.0 * (h2[x] - h0[x]) + b2[x] - b0[x];
        let down = b0[x] - a0[x] + 2.0 * (b1[x] - a1[x]) + b2[x] - a2[x];
        let square = across * across + down * down;
        steepest[x] = if square > steepest[x] { square } else { steepest[x] };
    }
}

/// Subtracts the surroundings' gradient, and counts the remaining values.
fn subtract_surroundings(slopes: &mut [u16], raster: Raster<'_>) -> Result<Vec<u32>, EngineError> {
    let Raster { width, height, .. } = raster;
    let original = slopes.to_vec();
    let row = |y: usize| &original[y * width..][..width];
    let mut columns = vec![0_u32; width];
    let mut counts = vec![0; usize::from(u16::MAX) + 1];
    (0..AROUND.min(height)).for_each(|y| add(&mut columns, row(y)));
    for (y, out) in slopes.chunks_exact_mut(width).enumerate() {
        raster.monitor.check_cancelled()?;
        if y + AROUND < height {
            add(&mut columns, row(y + AROUND));
        }
        if y > AROUND {
            subtract(&mut columns, row(y - AROUND - 1));
        }
        let rows = (y + AROUND).min(height - 1) + 1 - y.saturating_sub(AROUND);
        subtract_row(&columns, rows, out);
        out.iter().for_each(|step| counts[usize::from(*step)] += 1);
    }
    Ok(counts)
}

fn add(columns: &mut [u32], row: &[u16]) {
    columns.iter_mut().zip(row).for_each(|(sum, slope)| *sum += u32::from(*slope));
}

fn subtract(columns: &mut [u32], row: &[u16]) {
    columns.iter_mut().zip(row).for_each(|(sum, slope)| *sum -= u32::from(*slope));
}

/// A sliding window over column sums, clipped at the borders.
fn subtract_row(columns: &[u32], rows: usize, out: &mut [u16]) {
    let width = columns.len();
    let mut sum: u32 = columns[..AROUND.min(width)].iter().sum();
    for x in 0..width {
        if x + AROUND < width {
            sum += columns[x + AROUND];
        }
        if x > AROUND {
            sum -= columns[x - AROUND - 1];
        }
        let pixels = ((x + AROUND).min(width - 1) + 1 - x.saturating_sub(AROUND)) * rows;
        let around = sum as f32 / pixels as f32;
        out[x] = (f32::from(out[x]) - TAKEN * around).max(0.0) as u16;
    }
}

/// Returns the brightness of each step.
fn levels(counts: &[u32]) -> Vec<u8> {
    let full = steepest(counts).max(LEAST * f64::from(STEPS));
    let rising = (0..counts.len().min(full as usize)).map(|step| (255.0 * (step as f64 / full).powf(POWER)) as u8);
    rising.chain(std::iter::repeat(u8::MAX)).take(counts.len()).collect()
}

/// Returns the step that few edges reach.
fn steepest(counts: &[u32]) -> f64 {
    let edges = &counts[(SOME * f64::from(STEPS)) as usize..];
    let total: u64 = edges.iter().map(|count| u64::from(*count)).sum();
    let mut passed = 0;
    let step = counts.iter().rposition(|count| {
        passed += u64::from(*count);
        passed as f64 > total as f64 * BRIGHTEST
    });
    if total == 0 { 0.0 } else { step.unwrap_or_default() as f64 }
}
