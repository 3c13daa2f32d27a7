//! A picture as plain samples.

use image::{DynamicImage, GrayImage, RgbImage};
use imgopen_engine::Monitor;

use crate::brightness::brightness;

/// Pixels of 8 bits in one or three channels, with the monitor of the job that works on them.
#[derive(Clone, Copy)]
pub struct Raster<'a> {
    pub samples: &'a [u8],
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub monitor: &'a Monitor,
}

impl<'a> Raster<'a> {
    /// Returns the pixels of a picture.
    pub fn of(image: &'a DynamicImage, monitor: &'a Monitor) -> Self {
        let (samples, channels) = (image.as_bytes(), usize::from(image.color().channel_count()));
        Self { samples, width: image.width() as usize, height: image.height() as usize, channels, monitor }
    }

    /// Returns the samples of a row.
    pub fn row(&self, y: usize) -> &'a [u8] {
        let length = self.width * self.channels;
        &self.samples[y * length..][..length]
    }

    /// Returns the samples row by row.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> {
        self.samples.chunks_exact(self.width * self.channels)
    }

    /// Returns a black picture of this size.
    pub fn gray(&self) -> GrayImage {
        GrayImage::new(self.width as u32, self.height as u32)
    }

    /// Makes a picture of this size and kind from other samples; an empty one if they are too few.
    pub fn with(&self, samples: Vec<u8>) -> DynamicImage {
        let (width, height) = (self.width as u32, self.height as u32);
        match self.channels {
            1 => GrayImage::from_raw(width, height, samples).unwrap_or_default().into(),
            _ => RgbImage::from_raw(width, height, samples).unwrap_or_default().into(),
        }
    }

    /// Computes the brightness of the pixels of a row.
    pub fn bright_row(&self, y: usize, gray: &mut [u8]) {
        match self.channels {
            1 => gray.copy_from_slice(self.row(y)),
            _ => weigh(self.row(y).as_chunks().0, gray),
        }
    }
}

vectorised!(weigh = weigh_plainly(pixels: &'a [[u8; 3]], gray: &'a mut [u8]));

#[inline(always)]
fn weigh_plainly(pixels: &[[u8; 3]], gray: &mut [u8]) {
    for (gray, pixel) in gray.iter_mut().zip(pixels) {
        *gray = brightness(*pixel);
    }
}
