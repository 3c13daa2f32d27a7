//! Gaussian blur in floating point, a row at a time, equal to OpenCV's `GaussianBlur`: the kernel reaches four deviations
//! to each side, and the picture is mirrored at its border without repeating the last pixel.

use imgopen_engine::EngineError;
use pulp::{Arch, Simd, WithSimd};

use super::raster::Raster;

/// Channels are padded to a multiple of this, which is a multiple of four vectors on every machine.
const BLOCK: usize = 32;

/// Blurs a picture row by row. The channels of a row follow one another, each padded to whole blocks.
pub(super) struct Blur<'a> {
    raster: Raster<'a>,
    /// The weights of the centre and of its neighbours outwards.
    weights: Vec<f32>,
    /// Ring of horizontally blurred rows, as many as the kernel is high.
    ring: Vec<f32>,
    /// The number of rows of the picture that went into the ring.
    taken: usize,
    /// The channels of a row with their borders.
    padded: Vec<f32>,
    /// The positions of a channel's border samples, each with the one that it mirrors.
    margin: Vec<[usize; 2]>,
    /// The positions of a sample's neighbours in a channel, pair by pair outwards.
    beside: Vec<[usize; 2]>,
    /// The positions of the rows above and below in the ring, pair by pair outwards.
    pairs: Vec<[usize; 2]>,
}

impl<'a> Blur<'a> {
    /// Prepares a blur with a standard deviation in pixels.
    pub(super) fn new(raster: Raster<'a>, deviation: f64) -> Self {
        let weights = weights(deviation);
        let rows = 2 * weights.len() - 1;
        let stride = stride(raster.width);
        let ring = vec![0.0; rows.min(raster.height) * raster.channels * stride];
        let reach = weights.len() - 1;
        let padded = vec![0.0; raster.channels * (stride + 2 * reach)];
        let (first, end) = (reach as isize, raster.width as isize);
        let outside = (-first..0).chain(end..end + first);
        let margin = outside.map(|x| [(x + first) as usize, mirrored(x, raster.width) + reach]).collect();
        let beside = (1..=reach).map(|away| [reach - away, reach + away]).collect();
        Self { raster, weights, ring, taken: 0, padded, margin, beside, pairs: Vec::new() }
    }

    /// Returns a buffer for [`row`](Blur::row).
    pub(super) fn empty_row(&self) -> Vec<f32> {
        vec![0.0; self.raster.channels * stride(self.raster.width)]
    }

    /// Fills `out` with row `y`, unless the job is cancelled. Rows must be requested from top to bottom.
    pub(super) fn row(&mut self, y: usize, out: &mut [f32]) -> Result<(), EngineError> {
        self.raster.monitor.check_cancelled()?;
        let reach = self.weights.len() - 1;
        while self.taken <= (y + reach).min(self.raster.height - 1) {
            self.take();
        }
        let length = out.len();
        let rows = self.ring.len() / length;
        let place = |y: isize| mirrored(y, self.raster.height) % rows * length;
        let y = y as isize;
        self.pairs.clear();
        self.pairs.extend((1..=reach as isize).map(|away| [place(y - away), place(y + away)]));
        let Self { ring: samples, pairs, weights, .. } = self;
        Arch::new().dispatch(Sums { samples, middle: place(y), pairs, weights, out });
        Ok(())
    }

    /// Blurs the next row horizontally into the ring.
    fn take(&mut self) {
        let Raster { width, height, channels, .. } = self.raster;
        let stride = stride(width);
        let rows = 2 * self.weights.len() - 1;
        let place = self.taken % rows.min(height) * channels * stride;
        let length = stride + self.margin.len();
        planar(self.raster.row(self.taken), &mut self.padded, channels, self.margin.len() / 2);
        let outs = self.ring[place..][..channels * stride].chunks_exact_mut(stride);
        for (samples, out) in self.padded.chunks_exact_mut(length).zip(outs) {
            for [at, mirrored] in &self.margin {
                samples[*at] = samples[*mirrored];
            }
            let (pairs, weights) = (&self.beside, &self.weights);
            Arch::new().dispatch(Sums { samples, middle: weights.len() - 1, pairs, weights, out });
        }
        self.taken += 1;
    }
}

/// Returns the length of a channel in a row.
pub(super) fn stride(width: usize) -> usize {
    width.next_multiple_of(BLOCK)
}

/// Returns the weights from the centre outwards, which add up to 1 over the whole kernel.
fn weights(deviation: f64) -> Vec<f32> {
    let reach = ((deviation * 8.0 + 1.0).round() as usize | 1) / 2;
    let raw: Vec<f64> = (0..=reach).map(|away| (-0.5 * (away as f64 / deviation).powi(2)).exp()).collect();
    let sum = 2.0 * raw.iter().sum::<f64>() - 1.0;
    raw.iter().map(|weight| (weight / sum) as f32).collect()
}

/// Returns the pixel mirrored for a position outside; the last pixel is not repeated.
fn mirrored(at: isize, length: usize) -> usize {
    let period = 2 * (length as isize - 1);
    if period == 0 {
        return 0;
    }
    if (0..length as isize).contains(&at) {
        return at as usize;
    }
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}

vectorised!(pub(super) planar = planar_plainly(row: &'a [u8], out: &'a mut [f32], channels: usize, start: usize));

/// Splits a row into channels, in the layout of the blurred rows, each from `start` on.
#[inline(always)]
fn planar_plainly(row: &[u8], out: &mut [f32], channels: usize, start: usize) {
    let width = row.len() / channels;
    if channels == 1 {
        out[start..][..width].iter_mut().zip(row).for_each(|(sample, pixel)| *sample = f32::from(*pixel));
        return;
    }
    let (reds, rest) = out.split_at_mut(out.len() / 3);
    let (greens, blues) = rest.split_at_mut(rest.len() / 2);
    let [reds, greens, blues] = [reds, greens, blues].map(|samples| &mut samples[start..][..width]);
    let pixels = &row.as_chunks::<3>().0[..width];
    for x in 0..width {
        let [r, g, b] = pixels[x].map(f32::from);
        reds[x] = r;
        greens[x] = g;
        blues[x] = b;
    }
}

/// Weighted sums of samples by distance from the centre. The positions of a sample and its neighbours are those of the
/// first; the others follow one by one.
struct Sums<'a> {
    samples: &'a [f32],
    middle: usize,
    /// The neighbours on both sides, pair by pair outwards.
    pairs: &'a [[usize; 2]],
    weights: &'a [f32],
    /// The length is a multiple of a block.
    out: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let block = S::F32_LANES * 4;
        for (index, out) in self.out.chunks_exact_mut(block).enumerate() {
            let at = |start: usize| four::<S>(&self.samples[start + index * block..][..block]);
            let scale = simd.splat_f32s(self.weights[0]);
            let [mut a, mut b, mut c, mut d] = at(self.middle).map(|vector| simd.mul_f32s(vector, scale));
            for ([before, behind], weight) in self.pairs.iter().zip(&self.weights[1..]) {
                let weight = simd.splat_f32s(*weight);
                let (before, behind) = (at(*before), at(*behind));
                a = simd.mul_add_e_f32s(simd.add_f32s(before[0], behind[0]), weight, a);
                b = simd.mul_add_e_f32s(simd.add_f32s(before[1], behind[1]), weight, b);
                c = simd.mul_add_e_f32s(simd.add_f32s(before[2], behind[2]), weight, c);
                d = simd.mul_add_e_f32s(simd.add_f32s(before[3], behind[3]), weight, d);
            }
            S::as_mut_simd_f32s(out).0.copy_from_slice(&[a, b, c, d]);
        }
    }
}

/// Returns a block as four vectors.
#[inline(always)]
fn four<S: Simd>(block: &[f32]) -> [S::f32s; 4] {
    let vectors = S::as_simd_f32s(block).0;
    [vectors[0], vectors[1], vectors[2], vectors[3]]
}
