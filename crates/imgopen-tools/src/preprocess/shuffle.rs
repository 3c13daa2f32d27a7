//! Displaces the pixels of a picture by smooth noise, which keeps the style without the composition.
//!
//! Each pixel is taken from a position given by two noise fields, one for each axis. A field is a grid of random numbers,
//! 256 pixels apart, interpolated by cubics and stretched to reach from edge to edge.

use fastrand::Rng;
use imgopen_engine::{EngineError, Monitor};

use super::areas::cubic;
use super::raster::Raster;

/// The fixed seed: the same picture gives the same result.
const SEED: u64 = 12_345;
/// The approximate spacing of the grid in pixels.
const MESH: usize = 256;

/// Returns the displaced pixels.
pub(super) fn shuffle(raster: Raster<'_>) -> Result<Vec<u8>, EngineError> {
    let Raster { width, height, .. } = raster;
    let mut rng = Rng::with_seed(SEED);
    let across = Field::new(&mut rng, (width, height), width - 1, raster.monitor)?;
    let down = Field::new(&mut rng, (width, height), height - 1, raster.monitor)?;
    let (mut xs, mut ys) = (vec![0.0; width], vec![0.0; width]);
    let mut samples = vec![0; raster.samples.len()];
    for (y, row) in samples.chunks_exact_mut(width * raster.channels).enumerate() {
        raster.monitor.check_cancelled()?;
        across.row(y, &mut xs);
        down.row(y, &mut ys);
        match raster.channels {
            1 => take::<1>(raster, &xs, &ys, row),
            _ => take::<3>(raster, &xs, &ys, row),
        }
    }
    Ok(samples)
}

/// A field of noise over the picture.
struct Field {
    /// The random numbers, row by row.
    numbers: Vec<f64>,
    columns: usize,
    /// The spacing of the grid in pixels, horizontal and vertical.
    mesh: [f64; 2],
    /// Scale and offset that bring the noise between zero and the last pixel.
    offset: f64,
    factor: f64,
}

impl Field {
    /// Creates noise from 0 to `last` over a picture of that size.
    fn new(
        rng: &mut Rng,
        (width, height): (usize, usize),
        last: usize,
        monitor: &Monitor,
    ) -> Result<Self, EngineError> {
        let (columns, rows) = (width / MESH + 2, height / MESH + 2);
        let numbers = (0..columns * rows).map(|_| rng.f64()).collect();
        let mesh = [(width, columns), (height, rows)].map(|(side, meshes)| (side + 2 * MESH) as f64 / meshes as f64);
        let mut field = Self { numbers, columns, mesh, offset: 0.0, factor: 1.0 };
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut row = vec![0.0; width];
        for y in 0..height {
            monitor.check_cancelled()?;
            field.row(y, &mut row);
            let (low, high) = range(&row);
            (least, most) = (least.min(low), most.max(high));
        }
        field.offset = f64::from(least);
        field.factor = last as f64 / f64::from(most - least).max(f64::EPSILON);
        Ok(field)
    }

    /// Returns the noise of a row of the picture.
    fn row(&self, y: usize, out: &mut [f32]) {
        let knots = self.knots(y);
        let knot = |index: isize| knots[index.clamp(0, knots.len() as isize - 1) as usize];
        let mut start = 0;
        while start < out.len() {
            // From here to the next knot the noise is one polynomial.
            let place = self.place(start, 0);
            let cell = place.floor();
            let end = ((cell + 1.5) * self.mesh[0] - 0.5 - MESH as f64).ceil() as usize;
            let end = end.clamp(start + 1, out.len());
            let around = [-1, 0, 1, 2].map(|away| knot(cell as isize + away));
            let [a, b, c, d] = polynomial(around);
            let (first, step) = ((place - cell) as f32, (1.0 / self.mesh[0]) as f32);
            for (index, value) in (0_i32..).zip(&mut out[start..end]) {
                let t = first + step * index as f32;
                *value = a + t * (b + t * (c + t * d));
            }
            start = end;
        }
    }

    /// Returns the grid's columns interpolated at a row, scaled into range.
    fn knots(&self, y: usize) -> Vec<f64> {
        let rows = (self.numbers.len() / self.columns) as isize;
        let place = self.place(y, 1);
        let weights = cubic(place - place.floor());
        let row = |away: usize| (place.floor() as isize + away as isize - 1).clamp(0, rows - 1) as usize * self.columns;
        let starts = [0, 1, 2, 3].map(row);
        let knot = |column: usize| {
            let sum: f64 =
                starts.iter().zip(weights).map(|(start, weight)| self.numbers[start + column] * weight).sum();
            (sum - self.offset) * self.factor
        };
        (0..self.columns).map(knot).collect()
    }

    /// Returns the position of a pixel in the grid, without its border.
    fn place(&self, pixel: usize, axis: usize) -> f64 {
        ((pixel + MESH) as f64 + 0.5) / self.mesh[axis] - 0.5
    }
}

/// Returns the coefficients of the cubic through the second and third of four numbers: the weights of [`cubic`] by powers.
fn polynomial(numbers: [f64; 4]) -> [f32; 4] {
    let value = |part: f64| numbers.iter().zip(cubic(part)).map(|(number, weight)| number * weight).sum::<f64>();
    // Four values determine it.
    let [p, q, r, s] = [0.0, 1.0, -1.0, 2.0].map(value);
    let square = (q + r) / 2.0 - p;
    let cube = (s - p - 4.0 * square - (q - r)) / 6.0;
    [p, (q - r) / 2.0 - cube, square, cube].map(|number| number as f32)
}

fn range(row: &[f32]) -> (f32, f32) {
    row.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// Takes a row's pixels from their positions, with linear interpolation.
fn take<const CHANNELS: usize>(raster: Raster<'_>, xs: &[f32], ys: &[f32], row: &mut [u8]) {
    const ONE: i32 = 1 << 8;
    let (right, bottom) = (raster.width as i32 - 1, raster.height as i32 - 1);
    let pixels = raster.samples.as_chunks::<CHANNELS>().0;
    for ((out, x), y) in row.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(xs).zip(ys) {
        let [x, y] = [x, y].map(|place| (place * ONE as f32 + 0.5) as i32);
        let (x, y) = (x.clamp(0, right * ONE), y.clamp(0, bottom * ONE));
        let (left, top, part_x, part_y) = (x / ONE, y / ONE, x % ONE, y % ONE);
        let (beside, beneath) = ((left + 1).min(right), (top + 1).min(bottom));
        let corners = [(left, top), (beside, top), (left, beneath), (beside, beneath)];
        let corners = corners.map(|(x, y)| &pixels[y as usize * raster.width + x as usize]);
        for channel in 0..CHANNELS {
            let [a, b, c, d] = corners.map(|pixel| i32::from(pixel[channel]));
            let (above, below) = (a * ONE + (b - a) * part_x, c * ONE + (d - c) * part_x);
            out[channel] = ((above * ONE + (below - above) * part_y + ONE * ONE / 2) / (ONE * ONE)) as u8;
        }
    }
}
