//! Gaussian blur, a row at a time, in floating point, as OpenCV's `GaussianBlur` does it for such pixels: the kernel
//! reaches four deviations to each side, and the picture is mirrored at its margin without repeating the last pixel.

use pulp::{Arch, Simd, WithSimd};

use super::Raster;

/// Channels are padded to a multiple of this, which is one of four vectors on every machine.
const BLOCK: usize = 32;

/// Rows of a picture, blurred. The channels of a row lie one behind the other, each padded to whole blocks.
pub(super) struct Blur<'a> {
    raster: Raster<'a>,
    /// The weight of the middle and of its neighbours outwards.
    weights: Vec<f32>,
    /// Rows that are blurred along themselves; as many as the kernel is high, used again in turns.
    ring: Vec<f32>,
    /// How many rows of the picture went into the ring.
    taken: usize,
    /// A channel of a row with its margin.
    padded: Vec<f32>,
    /// Where a sample's neighbours lie in it, pair by pair outwards.
    beside: Vec<[usize; 2]>,
    /// Where the rows above and below lie in the ring, pair by pair outwards.
    pairs: Vec<[usize; 2]>,
}

impl<'a> Blur<'a> {
    /// Blurs by a Gaussian of that deviation in pixels.
    pub(super) fn new(raster: Raster<'a>, deviation: f64) -> Self {
        let weights = weights(deviation);
        let rows = 2 * weights.len() - 1;
        let stride = stride(raster.width);
        let ring = vec![0.0; rows.min(raster.height) * raster.channels * stride];
        let padded = vec![0.0; stride + 2 * weights.len()];
        let reach = weights.len() - 1;
        let beside = (1..=reach).map(|away| [reach - away, reach + away]).collect();
        Self { raster, weights, ring, taken: 0, padded, beside, pairs: Vec::new() }
    }

    /// A row for [`row`](Blur::row) to fill.
    pub(super) fn empty_row(&self) -> Vec<f32> {
        vec![0.0; self.raster.channels * stride(self.raster.width)]
    }

    /// Fills `out` with row `y`. Rows are asked for from the top down.
    pub(super) fn row(&mut self, y: usize, out: &mut [f32]) {
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
    }

    /// Blurs the next row along itself into the ring.
    fn take(&mut self) {
        let Raster { width, height, channels, .. } = self.raster;
        let stride = stride(width);
        let rows = 2 * self.weights.len() - 1;
        let place = self.taken % rows.min(height) * channels * stride;
        let row = self.raster.row(self.taken);
        for (channel, out) in self.ring[place..][..channels * stride].chunks_exact_mut(stride).enumerate() {
            pad(row, channel, channels, self.weights.len() - 1, &mut self.padded);
            let Self { padded: samples, beside: pairs, weights, .. } = self;
            Arch::new().dispatch(Sums { samples, middle: weights.len() - 1, pairs, weights, out });
        }
        self.taken += 1;
    }
}

/// The length of a channel in a row.
pub(super) fn stride(width: usize) -> usize {
    width.next_multiple_of(BLOCK)
}

/// The weights of the middle and outwards, which add up to 1 over the whole kernel.
fn weights(deviation: f64) -> Vec<f32> {
    let reach = ((deviation * 8.0 + 1.0).round() as usize | 1) / 2;
    let raw: Vec<f64> = (0..=reach).map(|away| (-0.5 * (away as f64 / deviation).powi(2)).exp()).collect();
    let sum = 2.0 * raw.iter().sum::<f64>() - 1.0;
    raw.iter().map(|weight| (weight / sum) as f32).collect()
}

/// The pixel that stands for one outside: the margin mirrors, its last pixel once.
fn mirrored(at: isize, length: usize) -> usize {
    let period = 2 * (length as isize - 1);
    if period == 0 {
        return 0;
    }
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}

/// A row as it is, in the form of the blurred ones.
#[inline(always)]
pub(super) fn planar(row: &[u8], out: &mut [f32], channels: usize) {
    let stride = out.len() / channels;
    for (channel, out) in out.chunks_exact_mut(stride).enumerate() {
        one_channel(row, channel, channels, &mut out[..row.len() / channels]);
    }
}

#[inline(always)]
fn one_channel(row: &[u8], channel: usize, channels: usize, out: &mut [f32]) {
    match channels {
        1 => out.iter_mut().zip(row).for_each(|(sample, pixel)| *sample = f32::from(*pixel)),
        _ => {
            let pixels = row.as_chunks::<3>().0;
            out.iter_mut().zip(pixels).for_each(|(sample, pixel)| *sample = f32::from(pixel[channel]));
        }
    }
}

/// Takes one channel out of a row and mirrors it by `reach` at both ends.
fn pad(row: &[u8], channel: usize, channels: usize, reach: usize, padded: &mut [f32]) {
    let width = row.len() / channels;
    one_channel(row, channel, channels, &mut padded[reach..][..width]);
    for away in 1..=reach as isize {
        padded[reach - away as usize] = padded[reach + mirrored(-away, width)];
        padded[reach + width - 1 + away as usize] = padded[reach + mirrored(width as isize - 1 + away, width)];
    }
}

/// The sums of samples, weighted by how far they lie from the middle one. Where a sample and its neighbours lie is told
/// for the first of them; the others follow one by one.
struct Sums<'a> {
    samples: &'a [f32],
    middle: usize,
    /// The neighbours on both sides, pair by pair outwards.
    pairs: &'a [[usize; 2]],
    weights: &'a [f32],
    /// As long as some whole blocks.
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

/// A block as four vectors.
#[inline(always)]
fn four<S: Simd>(block: &[f32]) -> [S::f32s; 4] {
    let vectors = S::as_simd_f32s(block).0;
    [vectors[0], vectors[1], vectors[2], vectors[3]]
}
