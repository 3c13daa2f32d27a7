//! Canny edges, identical to those of OpenCV's `Canny(gray, low, high)`.
//!
//! Sobel gradients of 3x3 pixels, with the border replicated; their magnitude is the sum of both components (L1). A pixel
//! is an edge where the magnitude is above the low threshold and a maximum across the edge; the direction is one of four,
//! decided in integers by the tangent of 22.5 degrees. Edges count if they are connected, over any of eight neighbours,
//! to a pixel above the high threshold.
//!
//! All loops over pixels work on rows of 16-bit values without branches, so that they vectorise.

use image::GrayImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::parallel;

use super::raster::Raster;

/// The pixels of a band of rows, which one thread handles.
const BAND: usize = 256 * 1024;
/// How many strong pixels are followed before cancellation is checked again.
const PART: usize = 16 * 1024;
/// The tangent of 22.5 degrees in 1/2^16. For integers below 1024 the high half of a product decides on which side of the
/// slope a gradient lies, because no such product is itself an integer.
const TAN_22: u32 = 2 * 13573;

/// States of pixels.
const WEAK: u8 = 1;
const STRONG: u8 = 2;

/// Returns the edges in white on black. At or below the lower threshold nothing is an edge, and above the higher one an edge is
/// certain; as in OpenCV, they may come in any order.
pub(super) fn edges(raster: Raster<'_>, [one, other]: [i16; 2]) -> Result<GrayImage, EngineError> {
    let thresholds = [one.min(other), one.max(other)];
    let mut marks = raster.gray();
    let length = (BAND / raster.width).max(1) * raster.width;
    let bands = marks.chunks_mut(length).enumerate().collect();
    let strong =
        parallel::map(bands, |(index, band)| suppress(raster, thresholds, index * length / raster.width, band));
    let strong = strong.into_iter().collect::<Result<Vec<_>, _>>()?;
    hysteresis(&mut marks, raster.width, strong.concat(), raster.monitor)?;
    let shown = parallel::map(marks.chunks_mut(length).collect(), |band| {
        raster.monitor.check_cancelled()?;
        show(band);
        Ok::<(), EngineError>(())
    });
    shown.into_iter().collect::<Result<(), EngineError>>()?;
    Ok(marks)
}

/// Marks the pixels of the rows from `first` on whose gradient is a maximum across the edge (non-maximum suppression).
/// Returns the positions of the strong ones.
fn suppress(
    raster: Raster<'_>,
    thresholds: [i16; 2],
    first: usize,
    marks: &mut [u8],
) -> Result<Vec<usize>, EngineError> {
    let (width, height) = (raster.width, raster.height as isize);
    let gray = |y: isize, row: &mut [u8]| raster.bright_row(y.clamp(0, height - 1) as usize, row);
    let mut strong = Vec::new();
    let mut rows = [(); 3].map(|()| vec![0; width]);
    let mut gradients = [(); 3].map(|()| Gradients::new(width));
    let mut sums = [(); 2].map(|()| vec![0; width + 2]);
    let above = first as isize - 1;
    gray(above - 1, &mut rows[1]);
    gray(above, &mut rows[2]);
    // The gradients are one row ahead of the marks, and the rows one ahead of the gradients.
    let mut ahead = |y: isize, gradients: &mut [Gradients; 3]| {
        rows.rotate_left(1);
        gray(y + 1, &mut rows[2]);
        gradients.rotate_left(1);
        match (0..height).contains(&y) {
            true => gradients[2].fill([&rows[0], &rows[1], &rows[2]], &mut sums),
            false => gradients[2].sizes.fill(0),
        }
    };
    ahead(above, &mut gradients);
    ahead(above + 1, &mut gradients);
    for (y, row) in (first..).zip(marks.chunks_exact_mut(width)) {
        raster.monitor.check_cancelled()?;
        ahead(y as isize + 1, &mut gradients);
        mark(&gradients, thresholds, row);
        // Eight pixels at a time; most have no mark.
        let (eights, rest) = row.as_chunks::<8>();
        let mut at = y * width;
        for eight in eights {
            let mut found = u64::from_le_bytes(*eight) & (u64::MAX / 255 * u64::from(STRONG));
            while found != 0 {
                strong.push(at + found.trailing_zeros() as usize / 8);
                found &= found - 1;
            }
            at += 8;
        }
        strong.extend((at..).zip(rest).filter(|(_, mark)| **mark == STRONG).map(|(at, _)| at));
    }
    Ok(strong)
}

/// Makes everything connected to strong pixels strong (hysteresis).
fn hysteresis(marks: &mut [u8], width: usize, mut strong: Vec<usize>, monitor: &Monitor) -> Result<(), EngineError> {
    let mut followed = 0_usize;
    while let Some(at) = strong.pop() {
        if followed.is_multiple_of(PART) {
            monitor.check_cancelled()?;
        }
        followed += 1;
        let x = at % width;
        let (left, right) = (x.min(1), (width - 1 - x).min(1));
        for middle in [at.checked_sub(width), Some(at), Some(at + width)].into_iter().flatten() {
            let Some(near) = marks.get_mut(middle - left..=middle + right) else { continue };
            for (place, mark) in (middle - left..).zip(near) {
                if *mark == WEAK {
                    *mark = STRONG;
                    strong.push(place);
                }
            }
        }
    }
    Ok(())
}

vectorised!(show = show_plainly(marks: &'a mut [u8]));

#[inline(always)]
fn show_plainly(marks: &mut [u8]) {
    for mark in marks {
        *mark = if *mark == STRONG { u8::MAX } else { 0 };
    }
}

/// The gradients of a row.
struct Gradients {
    /// Horizontal, to the right.
    across: Vec<i16>,
    /// Vertical, downwards.
    down: Vec<i16>,
    /// Their magnitudes, between two zeros.
    sizes: Vec<i16>,
}

impl Gradients {
    fn new(width: usize) -> Self {
        Self { across: vec![0; width], down: vec![0; width], sizes: vec![0; width + 2] }
    }

    /// Computes the gradients from a row and those above and below it. `sums` are as long as `sizes`.
    fn fill(&mut self, rows: [&[u8]; 3], [smooth, steep]: &mut [Vec<i16>; 2]) {
        columns(rows, smooth, steep);
        finish(smooth, steep, self);
    }
}

vectorised!(columns = columns_plainly(rows: [&'a [u8]; 3], smooth: &'a mut [i16], steep: &'a mut [i16]));
vectorised!(finish = finish_plainly(smooth: &'a [i16], steep: &'a [i16], gradients: &'a mut Gradients));
vectorised!(mark = mark_plainly(gradients: &'a [Gradients; 3], thresholds: [i16; 2], marks: &'a mut [u8]));

/// Computes the gradients from the column sums.
#[inline(always)]
fn finish_plainly(smooth: &[i16], steep: &[i16], gradients: &mut Gradients) {
    let width = gradients.across.len();
    let (across, down) = (&mut gradients.across[..width], &mut gradients.down[..width]);
    let sizes = &mut gradients.sizes[1..][..width];
    let (left, right) = (&smooth[..width], &smooth[2..][..width]);
    let [a, b, c] = [&steep[..width], &steep[1..][..width], &steep[2..][..width]];
    for x in 0..width {
        let (to_right, to_bottom) = (right[x] - left[x], a[x] + 2 * b[x] + c[x]);
        across[x] = to_right;
        down[x] = to_bottom;
        sizes[x] = to_right.abs() + to_bottom.abs();
    }
}

/// Computes the column sums of three rows, weighted 1, 2, 1 and -1, 0, 1, with the border replicated once on each side.
#[inline(always)]
fn columns_plainly([above, here, below]: [&[u8]; 3], smooth: &mut [i16], steep: &mut [i16]) {
    let width = here.len();
    let (above, below) = (&above[..width], &below[..width]);
    let (inner_smooth, inner_steep) = (&mut smooth[1..][..width], &mut steep[1..][..width]);
    for x in 0..width {
        let [a, b, c] = [above[x], here[x], below[x]].map(i16::from);
        inner_smooth[x] = a + 2 * b + c;
        inner_steep[x] = c - a;
    }
    for sums in [smooth, steep] {
        sums[0] = sums[1];
        sums[width + 1] = sums[width];
    }
}

/// Returns all bits, or none.
#[inline(always)]
fn mask(condition: bool) -> i16 {
    -i16::from(condition)
}

/// Returns one number where the mask has all bits, else the other. An `if` would not vectorise.
#[inline(always)]
fn pick(mask: i16, one: i16, other: i16) -> i16 {
    (one & mask) | (other & !mask)
}

/// Marks the pixels whose gradient is a maximum across the edge. Of two equal ones in a row or column the first is taken;
/// on diagonals neither, as in OpenCV.
#[inline(always)]
fn mark_plainly([above, here, below]: &[Gradients; 3], [low, high]: [i16; 2], marks: &mut [u8]) {
    let width = marks.len();
    let (across, down) = (&here.across[..width], &here.down[..width]);
    let [a0, a1, a2] = [&above.sizes[..width], &above.sizes[1..][..width], &above.sizes[2..][..width]];
    let [h0, h1, h2] = [&here.sizes[..width], &here.sizes[1..][..width], &here.sizes[2..][..width]];
    let [b0, b1, b2] = [&below.sizes[..width], &below.sizes[1..][..width], &below.sizes[2..][..width]];
    for x in 0..width {
        let (size, along, up) = (h1[x], across[x].unsigned_abs(), down[x].unsigned_abs());
        let slope = ((u32::from(along) * TAN_22) >> 16) as u16;
        let level = mask(up <= slope);
        let upright = mask(up > slope + 2 * along);
        let falling = (across[x] ^ down[x]) >> 15;
        let before = pick(level, h0[x], pick(upright, a1[x], pick(falling, a2[x], a0[x])));
        let behind = pick(level, h2[x], pick(upright, b1[x], pick(falling, b0[x], b2[x])));
        let straight = (level | upright) & 1;
        let greatest = mask(size > before) & mask(size + straight > behind) & mask(size > low);
        // 0, 1 or 2.
        marks[x] = ((greatest & 1) + (greatest & mask(size > high) & 1)) as u8;
    }
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;

    use super::*;

    #[test]
    fn bands_meet_without_a_seam() {
        let mut random = fastrand::Rng::with_seed(3);
        let coarse = image::RgbImage::from_fn(70, 80, |_, _| image::Rgb([(); 3].map(|()| random.u8(..))));
        let photo = crate::lanczos::resize(coarse.into(), 700, 800).unwrap();
        for image in [photo.clone(), DynamicImage::from(photo.to_luma8())] {
            let monitor = Monitor::new().0;
            let raster = Raster::of(&image, &monitor);
            let mut whole = raster.gray();
            let strong = suppress(raster, [100, 200], 0, &mut whole).unwrap();
            hysteresis(&mut whole, raster.width, strong, &monitor).unwrap();
            show(&mut whole);
            assert!(whole.iter().filter(|edge| **edge == 255).count() > 10_000);
            assert!(raster.width * raster.height > 2 * BAND);
            assert!(edges(raster, [200, 100]).unwrap() == whole);
        }
    }
}
