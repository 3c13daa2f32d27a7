//! The net that is being written: which of its values stands for which tensor of the file.

use std::collections::HashMap;

use super::model::{Data, Tensor};
use super::problems::{FORMAT, broken, unsupported};
use crate::convert::ConvertError;
use crate::convert::error::too_large;
use crate::onnx::builder::{Builder, Setting, Weights};

/// The order of the dimensions of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Layout {
    /// As in the file.
    Original,
    /// Of a picture: batch, channels, rows, columns. The file has batch, rows, columns, channels.
    Channels,
}

impl Layout {
    /// Where the dimensions of a picture in this order stand in the file.
    pub const CHANNELS: [usize; 4] = [0, 3, 1, 2];

    fn other(self) -> Self {
        match self {
            Layout::Original => Layout::Channels,
            Layout::Channels => Layout::Original,
        }
    }
}

pub(super) struct Graph<'a> {
    tensors: Vec<Tensor<'a>>,
    pub builder: Builder,
    /// The names of values, by tensor and layout.
    values: HashMap<(usize, Layout), String>,
    /// Tensors that have the elements of another one, which is a constant.
    aliases: HashMap<usize, usize>,
}

impl<'a> Graph<'a> {
    pub fn new(tensors: Vec<Tensor<'a>>, builder: Builder) -> Self {
        Self { tensors, builder, values: HashMap::new(), aliases: HashMap::new() }
    }

    /// Returns a tensor, whose index was checked when the file was read.
    pub fn tensor(&self, index: usize) -> &Tensor<'a> {
        &self.tensors[index]
    }

    pub fn shape(&self, index: usize) -> &[usize] {
        &self.tensors[index].shape
    }

    /// Returns batch, rows, columns and channels of a picture.
    pub fn picture(&self, index: usize) -> Result<[usize; 4], ConvertError> {
        let tensor = self.tensor(index);
        let name = tensor.name;
        tensor.shape[..]
            .try_into()
            .map_err(|_| unsupported(format!("the tensor `{name}` does not have the four dimensions of a picture")))
    }

    /// Returns the elements of a tensor, if it is a constant.
    pub fn constant(&self, index: usize) -> Result<Option<Data<'a>>, ConvertError> {
        let index = self.aliases.get(&index).copied().unwrap_or(index);
        self.tensors[index].constant()
    }

    /// Returns the elements of a tensor that has to be a constant of numbers with a fraction.
    pub fn weights(&self, index: usize) -> Result<(Weights, &'a [u8]), ConvertError> {
        match self.constant(index)? {
            Some(Data::F32(data)) => Ok((Weights::F32, data)),
            Some(Data::F16(data)) => Ok((Weights::F16, data)),
            Some(Data::I32(_)) | None => Err(self.not_constant(index)),
        }
    }

    /// Returns the elements of a tensor that has to be a short constant of whole numbers.
    pub fn ints(&self, index: usize) -> Result<Vec<i32>, ConvertError> {
        match self.constant(index)? {
            Some(Data::I32(data)) if data.len() <= 4 * 64 => {
                Ok(data.as_chunks().0.iter().map(|chunk| i32::from_le_bytes(*chunk)).collect())
            }
            _ => Err(self.not_constant(index)),
        }
    }

    fn not_constant(&self, index: usize) -> ConvertError {
        unsupported(format!("the tensor `{}` is not a constant of the kind that is needed", self.tensor(index).name))
    }

    /// Has a tensor stand for the elements of another one.
    pub fn alias(&mut self, index: usize, of: usize) -> Result<(), ConvertError> {
        if self.tensor(index).shape != self.tensor(of).shape {
            return Err(self.misshapen(index));
        }
        let of = self.aliases.get(&of).copied().unwrap_or(of);
        self.aliases.insert(index, of);
        Ok(())
    }

    pub fn misshapen(&self, index: usize) -> ConvertError {
        broken(format!("the tensor `{}` does not have the shape that its operator gives it", self.tensor(index).name))
    }

    /// Notes the value that a tensor has.
    pub fn set(&mut self, index: usize, layout: Layout, value: String) -> Result<(), ConvertError> {
        let is_made = self.is_made(index, layout) || self.is_made(index, layout.other());
        if is_made || self.constant(index)?.is_some() {
            return Err(broken(format!("the tensor `{}` is made twice", self.tensor(index).name)));
        }
        self.values.insert((index, layout), value);
        Ok(())
    }

    /// Returns whether a tensor has a value in a layout already.
    pub fn is_made(&self, index: usize, layout: Layout) -> bool {
        self.values.contains_key(&(index, layout))
    }

    /// Returns the name of a tensor's value in a layout. It is turned, or written as a constant, when it is first needed.
    pub fn value(&mut self, index: usize, layout: Layout) -> Result<String, ConvertError> {
        if let Some(value) = self.values.get(&(index, layout)) {
            return Ok(value.clone());
        }
        let value = match self.values.get(&(index, layout.other())).cloned() {
            // A constant may have fewer dimensions than a picture.
            Some(other) if self.constant(index)?.is_none() => self.turned(index, &other, layout)?,
            _ => self.written(index, layout)?,
        };
        self.values.insert((index, layout), value.clone());
        Ok(value)
    }

    fn turned(&mut self, index: usize, value: &str, layout: Layout) -> Result<String, ConvertError> {
        self.picture(index)?;
        let order = match layout {
            Layout::Channels => [0, 3, 1, 2],
            Layout::Original => [0, 2, 3, 1],
        };
        Ok(self.builder.node("Transpose", &[value], &[("perm", Setting::Ints(&order))]))
    }

    /// Writes a constant. In the layout of pictures, dimensions of one are put before those that it has.
    fn written(&mut self, index: usize, layout: Layout) -> Result<String, ConvertError> {
        let name = self.tensor(index).name;
        if self.constant(index)?.is_none() {
            return Err(broken(format!("the tensor `{name}` is used before it is made")));
        }
        let (kind, data) = self.weights(index)?;
        let shape = self.shape(index).to_vec();
        match layout {
            Layout::Original => {
                self.builder.reserve(data.len()).map_err(too_large(FORMAT))?;
                Ok(self.builder.weights(kind, &shape, data))
            }
            Layout::Channels => {
                let rank = shape.len();
                let missing = 4_usize.checked_sub(rank).ok_or_else(|| {
                    unsupported(format!("the tensor `{name}` has {rank} dimensions beside a picture"))
                })?;
                let mut sides = [1; 4];
                sides[missing..].copy_from_slice(&shape);
                self.ordered(kind, data, sides, Layout::CHANNELS)
            }
        }
    }

    /// Writes weights with their dimensions in another order: that with the index `order[0]` comes first.
    pub fn ordered(
        &mut self,
        kind: Weights,
        data: &[u8],
        shape: [usize; 4],
        order: [usize; 4],
    ) -> Result<String, ConvertError> {
        self.builder.reserve(data.len()).map_err(too_large(FORMAT))?;
        let strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
        let (sides, strides) = (order.map(|axis| shape[axis]), order.map(|axis| strides[axis]));
        let size = kind.size();
        let mut turned = Vec::with_capacity(data.len());
        for first in 0..sides[0] {
            for second in 0..sides[1] {
                for third in 0..sides[2] {
                    let start = first * strides[0] + second * strides[1] + third * strides[2];
                    for fourth in 0..sides[3] {
                        let at = (start + fourth * strides[3]) * size;
                        turned.extend_from_slice(&data[at..at + size]);
                    }
                }
            }
        }
        Ok(self.builder.weights(kind, &sides, &turned))
    }
}
