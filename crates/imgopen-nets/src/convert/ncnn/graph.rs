//! The net that is being written: which of its values stands for which blob of the file.

use std::collections::HashMap;

use super::problems::{FORMAT, broken};
use super::ratio::Ratio;
use super::weights::Reader;
use crate::convert::ConvertError;
use crate::convert::error::too_large;
use crate::onnx::builder::{Builder, Weights};
use crate::tensor::Dimension;

/// The bytes that kernels may take which are not in the file.
const KERNELS: usize = 1024 * 1024;

/// A picture within the net.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// The name of its value.
    pub value: String,
    pub channels: usize,
    /// How many times as large as the input it is, if that is the same for every input.
    pub scale: Option<Ratio>,
}

pub(super) struct Graph<'a> {
    pub builder: Builder,
    blobs: HashMap<&'a str, Blob>,
    weights: Reader<'a>,
}

impl<'a> Graph<'a> {
    pub fn new(input: &'a str, channels: usize, outputs: &[&str], bin: &'a [u8]) -> Self {
        let taken = outputs.iter().copied().chain([input]).map(str::to_owned);
        let mut builder = Builder::new(bin.len().saturating_add(KERNELS), taken);
        builder.input(input, &shape(channels, ["height", "width"]));
        let blob = Blob { value: input.to_owned(), channels, scale: Some(Ratio::ONE) };
        Self { builder, blobs: HashMap::from([(input, blob)]), weights: Reader::new(bin) }
    }

    /// Returns a blob, of which the order of the layers says that it is made.
    pub fn blob(&self, name: &str) -> Result<&Blob, ConvertError> {
        self.blobs.get(name).ok_or_else(|| broken(format!("the blob `{name}` is not made")))
    }

    pub fn set(&mut self, name: &'a str, blob: Blob) {
        self.blobs.insert(name, blob);
    }

    /// Writes the next weights of the file, which have a tag, and returns the name of their value.
    pub fn tagged(&mut self, shape: &[usize]) -> Result<String, ConvertError> {
        let (kind, data) = self.weights.tagged(product(shape)?)?;
        self.written(kind, shape, data)
    }

    /// Writes the next weights of the file, which have no tag, and returns the name of their value.
    pub fn plain(&mut self, shape: &[usize]) -> Result<String, ConvertError> {
        let data = self.weights.plain(product(shape)?)?;
        self.written(Weights::F32, shape, data)
    }

    /// Takes room for weights that are not in the file.
    pub fn reserve(&mut self, count: usize) -> Result<(), ConvertError> {
        let bytes = count.checked_mul(Weights::F32.size()).ok_or_else(|| broken("a kernel is too large"))?;
        self.builder.reserve(bytes).map_err(too_large(FORMAT))
    }

    fn written(&mut self, kind: Weights, shape: &[usize], data: &[u8]) -> Result<String, ConvertError> {
        self.builder.reserve(data.len()).map_err(too_large(FORMAT))?;
        Ok(self.builder.weights(kind, shape, data))
    }

    /// Returns the file, with those blobs as outputs.
    pub fn finish(mut self, outputs: &[&str]) -> Result<Vec<u8>, ConvertError> {
        self.weights.finish()?;
        for name in outputs {
            let blob = self.blobs.get(name).ok_or_else(|| broken(format!("the blob `{name}` is not made")))?;
            let sides = [format!("{name}_height"), format!("{name}_width")];
            self.builder.output(name, &shape(blob.channels, [&sides[0], &sides[1]]));
            self.builder.node_as("Identity", &[&blob.value], name, &[]);
        }
        Ok(self.builder.finish())
    }
}

/// The shape of pictures of any size.
fn shape(channels: usize, sides: [&str; 2]) -> Vec<Dimension> {
    let [height, width] = sides.map(|side| Dimension::Named(side.to_owned()));
    vec![Dimension::Fixed(1), Dimension::Fixed(channels), height, width]
}

fn product(shape: &[usize]) -> Result<usize, ConvertError> {
    let product = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    product.ok_or_else(|| broken("a layer has more weights than any memory has room for"))
}
