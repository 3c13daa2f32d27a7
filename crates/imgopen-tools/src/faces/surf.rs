//! SURF features, which are sums of gradients in cells, and the networks that score them.

use image::GrayImage;

use super::candidate::Candidate;
use super::model::{DIMENSIONS, Layer, Model, Network, Patch, WINDOW};

/// The sums of a cell: of both gradients and of their absolute values, each split by the sign of the other.
const CHANNELS: usize = 8;
/// The sum over all pixels above, for each channel and column. 40 gradients of up to 510 fit 16 bits.
type Row = [[i16; WINDOW]; CHANNELS];

/// Scores candidates, with reusable buffers.
pub(super) struct Scorer<'a> {
    patches: &'a [Patch],
    window: Vec<u8>,
    /// Two rows of the picture.
    rows: Vec<u8>,
    /// The first row is zero.
    sums: Vec<Row>,
    inputs: Vec<f32>,
    outputs: Vec<f32>,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let sums = vec![[[0; WINDOW]; CHANNELS]; WINDOW + 1];
        let window = vec![0; WINDOW * WINDOW];
        Self { patches: &model.patches, window, rows: Vec::new(), sums, inputs: Vec::new(), outputs: Vec::new() }
    }

    /// Returns the candidate with its new score, moved onto the face, if it reaches the network's threshold.
    pub(super) fn score(&mut self, network: &Network, image: &GrayImage, candidate: Candidate) -> Option<Candidate> {
        let Candidate { x, y, side, .. } = candidate;
        let outside = |at: i32, all: u32| at + side <= 0 || i64::from(at) >= i64::from(all);
        if side < 2 || outside(x, image.width()) || outside(y, image.height()) {
            return None;
        }
        let (x, y) = (x.max(0), y.max(0));
        self.look(image, x, y, side);
        self.sum_gradients();
        self.describe(network);
        for (index, layer) in network.layers.iter().enumerate() {
            let last = index + 1 == network.layers.len();
            layer.apply(&self.inputs, &mut self.outputs, if last { sigmoid } else { |value| value.max(0.0) });
            std::mem::swap(&mut self.inputs, &mut self.outputs);
        }
        let [score, right, down, grown] = [0, 1, 2, 3].map(|index| self.inputs.get(index).copied().unwrap_or(0.5));
        // Outputs of 0.5 leave position and size unchanged.
        let old = side as f32;
        let new = ((grown * 2.0 - 1.0) * old + old + 0.5).floor();
        let moved = |by: f32, at: i32| ((by * 2.0 - 1.0) * old + at as f32 + (old - new) * 0.5 + 0.5).floor() as i32;
        let face = Candidate { x: moved(right, x), y: moved(down, y), side: new as i32, score };
        (score > network.threshold).then_some(face)
    }

    /// Samples a square of the picture at the size of the window. Outside the picture it is black.
    fn look(&mut self, image: &GrayImage, x: i32, y: i32, side: i32) {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let (left, top, side) = (x as usize, y as usize, side as usize);
        // The pixel before a position, and the fraction beyond it in 1/32768 pixels.
        let before = |index: usize| {
            let place = index * side * 32_768 / WINDOW;
            let pixel = (place / 32_768).min(side - 2);
            (pixel, (place - 32_768 * pixel).min(32_767) as i16)
        };
        let columns: [(usize, i16); WINDOW] = std::array::from_fn(before);
        let beyond = columns.map(|(_, beyond)| beyond >> 8);
        let pixels = image.as_raw();
        let is_inside = left + side <= width && top + side <= height;
        for (index, samples) in self.window.chunks_exact_mut(WINDOW).enumerate() {
            let (down, below) = before(index);
            let y = top + down;
            let (upper, lower) = match is_inside {
                true => (&pixels[y * width + left..][..side], &pixels[(y + 1) * width + left..][..side]),
                false => {
                    self.rows.clear();
                    for y in [y, y + 1] {
                        let inside = if y < height { side.min(width - left) } else { 0 };
                        let row = pixels.get(y * width + left..).unwrap_or_default();
                        self.rows.extend_from_slice(&row[..inside]);
                        self.rows.resize(self.rows.len() + side - inside, 0);
                    }
                    self.rows.split_at(side)
                }
            };
            // In 1/128, which fits 16 bits.
            let across = |row: &[u8]| {
                let pixels = columns.map(|(right, _)| [i16::from(row[right]), i16::from(row[right + 1])]);
                let mut values = [0; WINDOW];
                for ((value, [left, right]), beyond) in values.iter_mut().zip(pixels).zip(beyond) {
                    *value = 128 * left + (right - left) * beyond;
                }
                values
            };
            for ((sample, upper), lower) in samples.iter_mut().zip(across(upper)).zip(across(lower)) {
                let more = (i32::from(lower - upper) * i32::from(below)) >> 16;
                *sample = ((upper + 2 * more as i16) >> 7) as u8;
            }
        }
    }

    fn sum_gradients(&mut self) {
        let rows = self.window.as_chunks::<WINDOW>().0;
        for y in 0..WINDOW {
            // At the edges twice the difference to the next pixel, elsewhere the difference between both neighbours.
            let (above, below) = (&rows[y.saturating_sub(1)], &rows[(y + 1).min(WINDOW - 1)]);
            let twice = if y == 0 || y + 1 == WINDOW { 2 } else { 1 };
            let down: [i16; WINDOW] = std::array::from_fn(|x| twice * (i16::from(below[x]) - i16::from(above[x])));
            let row = &rows[y];
            let slope = |before: usize, after: usize| i16::from(row[after]) - i16::from(row[before]);
            let mut across = [0; WINDOW];
            for (x, across) in across[1..WINDOW - 1].iter_mut().enumerate() {
                *across = slope(x, x + 2);
            }
            across[0] = 2 * slope(0, 1);
            across[WINDOW - 1] = 2 * slope(WINDOW - 2, WINDOW - 1);
            let (done, rest) = self.sums.split_at_mut(y + 1);
            let (upper, sums) = (&done[y], &mut rest[0]);
            add_by_sign(&across, &down, &upper[..4], &mut sums[..4]);
            add_by_sign(&down, &across, &upper[4..], &mut sums[4..]);
        }
    }

    /// Computes the features of a network, each normalised to length one, as its inputs.
    fn describe(&mut self, network: &Network) {
        self.inputs.clear();
        for feature in &network.features {
            let Patch { x, y, width, height } = self.patches[*feature];
            let (wide, high) = (width / 2, height / 2);
            let mut values = [0; DIMENSIONS];
            for (cell, values) in values.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
                let (left, top) = (x + cell % 2 * wide, y + cell / 2 * high);
                let (above, below) = (&self.sums[top], &self.sums[top + high]);
                for (channel, value) in values.iter_mut().enumerate() {
                    let columns = below[channel][left..left + wide].iter().zip(&above[channel][left..left + wide]);
                    *value = columns.map(|(below, above)| i32::from(below - above)).sum();
                }
            }
            let squares: f64 = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
            let length = squares.sqrt() as f32;
            self.inputs.extend(values.map(|value| if length > 0.0 { value as f32 / length } else { 0.0 }));
        }
    }
}

impl Layer {
    fn apply(&self, inputs: &[f32], outputs: &mut Vec<f32>, activation: fn(f32) -> f32) {
        outputs.clear();
        let rows = self.weights.chunks_exact(self.inputs).zip(&self.biases);
        outputs.extend(rows.map(|(weights, bias)| activation(product(weights, inputs) + bias)));
    }
}

/// Adds values and their absolute values: in the first half where the others are not negative, else in the second.
fn add_by_sign(values: &[i16; WINDOW], others: &[i16; WINDOW], upper: &[[i16; WINDOW]], sums: &mut [[i16; WINDOW]]) {
    for (channel, (sums, upper)) in sums.iter_mut().zip(upper).enumerate() {
        let (absolute, flipped) = (channel % 2 == 1, if channel < 2 { -1 } else { 0 });
        for (((sum, upper), value), other) in sums.iter_mut().zip(upper).zip(values).zip(others) {
            let value = if absolute { (*value).max(-*value) } else { *value };
            *sum = upper + (value & ((other >> 15) ^ flipped));
        }
    }
}

/// Returns the inner product, in eight parallel sums.
fn product(weights: &[f32], inputs: &[f32]) -> f32 {
    let ((weights, last_weights), (inputs, last_inputs)) = (weights.as_chunks::<8>(), inputs.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (weights, inputs) in weights.iter().zip(inputs) {
        for index in 0..8 {
            sums[index] += weights[index] * inputs[index];
        }
    }
    let last = last_weights.iter().zip(last_inputs).map(|(weight, input)| weight * input).sum::<f32>();
    sums.iter().sum::<f32>() + last
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}
