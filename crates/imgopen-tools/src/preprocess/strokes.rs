//! Strokes where a picture is darker than its surroundings: scribbles and line art, by differences of Gaussians.

use image::GrayImage;
use imgopen_engine::EngineError;

use super::gaussian::{Blur, planar, stride};
use super::raster::Raster;

/// The deviations in pixels of the two blurs whose difference makes the strokes of a scribble.
const FINE: f64 = 0.5;
const COARSE: f64 = 5.0;

/// The deviation in pixels of the blur from which line art is the difference.
const SURROUNDINGS: f64 = 6.0;
/// The least difference that counts when the usual strength of a line is determined.
const LINE: f32 = 8.0;
/// The least strength that is assumed for a line, so that noise does not become lines.
const LEAST: f32 = 16.0;
/// The brightness of a line of usual strength.
const USUAL: f32 = 127.0;
/// The steps in which a difference of one level is represented.
const STEPS: f32 = 128.0;

/// Returns white strokes on black where all channels are darker than their surroundings by more than `least`: half the web UI's
/// threshold, which it compares with twice the difference.
pub(super) fn scribble(raster: Raster<'_>, least: f32) -> Result<GrayImage, EngineError> {
    let (mut fine, mut coarse) = (Blur::new(raster, FINE), Blur::new(raster, COARSE));
    let (mut near, mut far) = (fine.empty_row(), coarse.empty_row());
    let mut depths = vec![0.0; stride(raster.width)];
    let mut strokes = raster.gray();
    for (y, row) in strokes.chunks_exact_mut(raster.width).enumerate() {
        fine.row(y, &mut near)?;
        coarse.row(y, &mut far)?;
        draw(&far, &near, least, &mut depths, row);
    }
    Ok(strokes)
}

vectorised!(
    draw = draw_plainly(far: &'a [f32], near: &'a [f32], least: f32, depths: &'a mut [f32], row: &'a mut [u8])
);

#[inline(always)]
fn draw_plainly(far: &[f32], near: &[f32], least: f32, depths: &mut [f32], row: &mut [u8]) {
    least_difference(far, near, depths);
    for (pixel, depth) in row.iter_mut().zip(depths) {
        *pixel = if *depth > least { u8::MAX } else { 0 };
    }
}

/// Returns bright lines on black, brighter the darker they were than their surroundings. A line of median strength gets
/// half the full brightness.
pub(super) fn lines(raster: Raster<'_>) -> Result<GrayImage, EngineError> {
    let (depths, counts) = depths(raster)?;
    let strength = usual_strength(&counts).max(LEAST);
    let factor = USUAL / (strength * STEPS);
    let mut lines = raster.gray();
    for (lines, depths) in lines.chunks_exact_mut(raster.width).zip(depths.chunks_exact(raster.width)) {
        raster.monitor.check_cancelled()?;
        brighten(depths, factor, lines);
    }
    Ok(lines)
}

vectorised!(brighten = brighten_plainly(depths: &'a [u16], factor: f32, lines: &'a mut [u8]));

#[inline(always)]
fn brighten_plainly(depths: &[u16], factor: f32, lines: &mut [u8]) {
    for (pixel, depth) in lines.iter_mut().zip(depths) {
        *pixel = (f32::from(*depth) * factor).min(255.0) as i32 as u8;
    }
}

/// Returns how much darker each pixel is than its surroundings, in steps, with a histogram.
fn depths(raster: Raster<'_>) -> Result<(Vec<u16>, Vec<u32>), EngineError> {
    let mut blur = Blur::new(raster, SURROUNDINGS);
    let (mut far, mut here) = (blur.empty_row(), blur.empty_row());
    let mut row_depths = vec![0.0; stride(raster.width)];
    let mut counts = vec![0; 255 * STEPS as usize + 1];
    let mut depths = vec![0_u16; raster.width * raster.height];
    for (y, row) in depths.chunks_exact_mut(raster.width).enumerate() {
        blur.row(y, &mut far)?;
        planar(raster.row(y), &mut here, raster.channels, 0);
        measure(&far, &here, &mut row_depths, row);
        row.iter().for_each(|steps| counts[usize::from(*steps)] += 1);
    }
    Ok((depths, counts))
}

vectorised!(measure = measure_plainly(far: &'a [f32], here: &'a [f32], depths: &'a mut [f32], row: &'a mut [u16]));

#[inline(always)]
fn measure_plainly(far: &[f32], here: &[f32], depths: &mut [f32], row: &mut [u16]) {
    least_difference(far, here, depths);
    for (steps, depth) in row.iter_mut().zip(depths) {
        *steps = (*depth * STEPS + 0.5).clamp(0.0, 255.0 * STEPS) as i32 as u16;
    }
}

/// Returns the median of the differences that count; 0 if none does.
fn usual_strength(counts: &[u32]) -> f32 {
    let first = (LINE * STEPS) as usize + 1;
    let counted = &counts[first.min(counts.len())..];
    let total: u64 = counted.iter().map(|count| u64::from(*count)).sum();
    let mut passed = 0;
    let middle = counted.iter().position(|count| {
        passed += u64::from(*count);
        2 * passed >= total
    });
    match total {
        0 => 0.0,
        _ => (first + middle.unwrap_or_default()) as f32 / STEPS,
    }
}

/// Returns the smallest of the channels' differences `far - near`.
#[inline(always)]
fn least_difference(far: &[f32], near: &[f32], depths: &mut [f32]) {
    let length = depths.len();
    for (x, depth) in depths.iter_mut().enumerate() {
        *depth = far[x] - near[x];
    }
    for (far, near) in far.chunks_exact(length).zip(near.chunks_exact(length)).skip(1) {
        for ((depth, far), near) in depths.iter_mut().zip(far).zip(near) {
            let difference = far - near;
            *depth = if difference < *depth { difference } else { *depth };
        }
    }
}
