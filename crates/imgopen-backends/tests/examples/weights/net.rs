//! A net as a list of named tensors, and its file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, View, serialize_to_file};

use crate::noise::{Noise, Scaled};

/// What a tensor contains.
#[derive(Clone, Copy)]
enum Fill {
    Ones,
    Zeros,
    /// Random numbers of a standard deviation.
    Random(f32),
}

struct Tensor {
    name: String,
    shape: Vec<usize>,
    fill: Fill,
}

/// A net.
#[derive(Default)]
pub struct Net(Vec<Tensor>);

/// A tensor that is filled when it is written, so that only one is in memory.
struct Written<'a> {
    tensor: &'a Tensor,
    noise: &'a BTreeMap<u32, Scaled>,
    seed: u64,
}

impl Net {
    fn put(&mut self, name: impl Into<String>, shape: &[usize], fill: Fill) {
        self.0.push(Tensor { name: name.into(), shape: shape.to_vec(), fill });
    }

    /// Adds random numbers of about this deviation.
    pub fn random(&mut self, name: impl Into<String>, shape: &[usize], deviation: f32) {
        // Smaller, so that the signal does not grow from layer to layer.
        self.put(name, shape, Fill::Random(0.7 * deviation));
    }

    /// Adds ones.
    pub fn ones(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.put(name, shape, Fill::Ones);
    }

    /// Adds a matrix.
    pub fn matrix(&mut self, name: &str, out: usize, from: usize) {
        self.random(format!("{name}.weight"), &[out, from], (from as f32).recip().sqrt());
    }

    /// Adds a matrix and a bias.
    pub fn linear(&mut self, name: &str, out: usize, from: usize) {
        self.matrix(name, out, from);
        self.put(format!("{name}.bias"), &[out], Fill::Zeros);
    }

    /// Adds a convolution with a square kernel.
    pub fn conv(&mut self, name: &str, out: usize, from: usize, kernel: usize) {
        self.conv_of(name, [out, from, kernel], ((from * kernel * kernel) as f32).recip().sqrt());
    }

    /// Adds a convolution of a kernel of one pixel that passes little on.
    pub fn faint_conv(&mut self, name: &str, channels: usize) {
        self.conv_of(name, [channels, channels, 1], 0.01);
    }

    fn conv_of(&mut self, name: &str, [out, from, kernel]: [usize; 3], deviation: f32) {
        self.random(format!("{name}.weight"), &[out, from, kernel, kernel], deviation);
        self.put(format!("{name}.bias"), &[out], Fill::Zeros);
    }

    /// Adds a normalization.
    pub fn norm(&mut self, name: &str, channels: usize) {
        self.ones(format!("{name}.weight"), &[channels]);
        self.put(format!("{name}.bias"), &[channels], Fill::Zeros);
    }

    /// Returns the number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes the file.
    pub fn write(&self, noise: &Noise, file: &Path) {
        let deviations = self.0.iter().filter_map(|tensor| match tensor.fill {
            Fill::Random(deviation) => Some(deviation),
            Fill::Ones | Fill::Zeros => None,
        });
        let mut scaled = BTreeMap::new();
        for deviation in deviations {
            scaled.entry(deviation.to_bits()).or_insert_with(|| noise.scaled(deviation));
        }
        let tensors = (1..).zip(&self.0);
        let written = tensors.map(|(seed, tensor)| (&tensor.name, Written { tensor, noise: &scaled, seed }));
        serialize_to_file(written, None, file).unwrap();
    }
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F16
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        const ONE: [u8; 2] = half::f16::ONE.to_le_bytes();
        let length = self.data_len();
        Cow::Owned(match self.tensor.fill {
            Fill::Ones => ONE.repeat(length / ONE.len()),
            Fill::Zeros => vec![0; length],
            Fill::Random(deviation) => self.noise[&deviation.to_bits()].bytes(length, self.seed),
        })
    }

    fn data_len(&self) -> usize {
        size_of::<half::f16>() * self.tensor.shape.iter().product::<usize>()
    }
}
