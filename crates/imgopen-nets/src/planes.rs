//! Pictures as nets take them: one plane of numbers for each channel.

use crate::tensor::{Tensor, Values, WrongLength, shown};

/// A picture of numbers with a fraction, plane by plane, each row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    channels: usize,
    width: usize,
    height: usize,
    values: Vec<f32>,
}

/// A part of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

impl Planes {
    /// Creates a picture.
    ///
    /// # Errors
    ///
    /// [`WrongLength`] if the number of values is not that of channels times height times width.
    pub fn new(channels: usize, width: usize, height: usize, values: Vec<f32>) -> Result<Self, WrongLength> {
        // It has the same rule.
        let tensor = Tensor::new([channels, height, width], values)?;
        match tensor.into_parts() {
            (_, Values::F32(values)) => Ok(Self { channels, width, height, values }),
            (shape, values) => Err(WrongLength { shape, elements: values.len() }),
        }
    }

    /// Creates a picture from what a net returns: a tensor of 1 x channels x height x width.
    ///
    /// # Errors
    ///
    /// Says what the tensor is in place of that.
    pub fn from_tensor(tensor: Tensor) -> Result<Self, String> {
        match tensor.into_parts() {
            (shape, Values::F32(values)) if matches!(shape[..], [1, _, _, _]) => {
                Ok(Self { channels: shape[1], height: shape[2], width: shape[3], values })
            }
            (shape, _) => Err(format!("a tensor of {} is not a picture in planes", shown(&shape))),
        }
    }

    /// Returns the picture as a tensor of 1 x channels x height x width.
    pub fn into_tensor(self) -> Tensor {
        let Self { channels, width, height, values } = self;
        Tensor::of_checked(vec![1, channels, height, width], Values::F32(values))
    }

    /// Returns the number of planes.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the values, plane by plane.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the values, plane by plane.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Creates a picture of zeros.
    pub(crate) fn zeros(channels: usize, width: usize, height: usize) -> Self {
        Self { channels, width, height, values: vec![0.0; channels * width * height] }
    }

    /// Copies a part of the picture.
    pub(crate) fn cut(&self, area: Area) -> Self {
        let mut values = Vec::with_capacity(self.channels * area.width * area.height);
        for channel in 0..self.channels {
            for y in area.top..area.top + area.height {
                values.extend_from_slice(&self.row(channel, y)[area.left..area.left + area.width]);
            }
        }
        Self { channels: self.channels, width: area.width, height: area.height, values }
    }

    /// Returns a row of a plane.
    pub(crate) fn row(&self, channel: usize, y: usize) -> &[f32] {
        let start = (channel * self.height + y) * self.width;
        &self.values[start..start + self.width]
    }

    /// Returns a row of a plane.
    pub(crate) fn row_mut(&mut self, channel: usize, y: usize) -> &mut [f32] {
        let start = (channel * self.height + y) * self.width;
        &mut self.values[start..start + self.width]
    }
}
