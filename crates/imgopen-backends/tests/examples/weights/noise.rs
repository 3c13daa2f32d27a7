//! Random numbers by the gigabyte, in a build without optimizations too.

use std::f32::consts::TAU;

use half::f16;

/// How many numbers are drawn; tensors are put together of stretches of them.
const DRAWN: usize = 1 << 18;

/// The longest stretch.
const STRETCH: usize = 1 << 12;

/// Numbers of the standard normal distribution.
pub struct Noise(Vec<f32>);

/// The same numbers at another deviation, as 16-bit floats.
pub struct Scaled(Vec<u8>);

impl Noise {
    /// Draws the numbers, always the same.
    pub fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        // By Box and Muller; the first factor takes no zero.
        let mut normal = || (-2.0 * (1.0 - random.f32()).ln()).sqrt() * (TAU * random.f32()).cos();
        Self((0..DRAWN).map(|_| normal()).collect())
    }

    /// Scales them.
    pub fn scaled(&self, deviation: f32) -> Scaled {
        Scaled(self.0.iter().flat_map(|number| f16::from_f32(number * deviation).to_le_bytes()).collect())
    }
}

impl Scaled {
    /// Returns this many bytes of random numbers. The same seed gives the same ones.
    pub fn bytes(&self, length: usize, seed: u64) -> Vec<u8> {
        let (mut random, mut bytes) = (fastrand::Rng::with_seed(seed), Vec::with_capacity(length));
        while bytes.len() < length {
            let stretch = (2 * random.usize(STRETCH / 2..=STRETCH)).min(length - bytes.len());
            let start = 2 * random.usize(0..DRAWN - STRETCH);
            bytes.extend_from_slice(&self.0[start..start + stretch]);
        }
        bytes
    }
}
