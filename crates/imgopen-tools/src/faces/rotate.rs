//! Rotated copies of a picture, in which tilted faces are upright.

use image::{GrayImage, imageops};

/// A rotated copy.
pub(super) struct Rotated {
    pub(super) image: GrayImage,
    /// Width and height before rotation.
    pub(super) before: (u32, u32),
    /// The cosine of the rotation.
    cosine: f32,
    sine: f32,
}

impl Rotated {
    /// Returns the picture unchanged.
    pub(super) fn upright(image: GrayImage) -> Self {
        Self { before: image.dimensions(), image, cosine: 1.0, sine: 0.0 }
    }

    /// Returns a copy in which faces tilted clockwise by `degrees` are upright. It contains the whole rotated picture; its
    /// corners are black.
    pub(super) fn new(image: &GrayImage, degrees: f32) -> Self {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let rotated = match degrees {
            90.0 => imageops::rotate270(image),
            -90.0 => imageops::rotate90(image),
            180.0 | -180.0 => imageops::rotate180(image),
            _ => {
                let (width, height) = (image.width() as f32, image.height() as f32);
                let wide = width * cosine.abs() + height * sine.abs();
                let high = width * sine.abs() + height * cosine.abs();
                let mut copy =
                    Self { image: GrayImage::new(wide as u32, high as u32), before: image.dimensions(), cosine, sine };
                copy.fill(image);
                copy.image
            }
        };
        Self { image: rotated, before: image.dimensions(), cosine, sine }
    }

    /// Returns the position in the original picture of a position in the copy.
    pub(super) fn back(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = (x - self.image.width() as f32 / 2.0, y - self.image.height() as f32 / 2.0);
        let (width, height) = (self.before.0 as f32, self.before.1 as f32);
        (self.cosine * x - self.sine * y + width / 2.0, self.sine * x + self.cosine * y + height / 2.0)
    }

    fn fill(&mut self, image: &GrayImage) {
        let (width, height) = (image.width() as i32, image.height() as i32);
        let pixels = image.as_raw();
        let mut filled = GrayImage::new(self.image.width(), self.image.height());
        for (y, row) in filled.chunks_exact_mut(self.image.width() as usize).enumerate() {
            // In 1/65536 pixels; from pixel to pixel the position moves by the same step.
            let fine = |value: f32| (value * 65_536.0) as i32;
            let (first_x, first_y) = self.back(0.5, y as f32 + 0.5);
            let (mut x, mut y) = (fine(first_x - 0.5), fine(first_y - 0.5));
            for pixel in row {
                let (left, top) = (x >> 16, y >> 16);
                let (right, down) = (x >> 8 & 255, y >> 8 & 255);
                (x, y) = (x + fine(self.cosine), y + fine(self.sine));
                if left < 0 || top < 0 || left + 1 >= width || top + 1 >= height {
                    continue;
                }
                let at = (top * width + left) as usize;
                let row = |at: usize| i32::from(pixels[at]) * (256 - right) + i32::from(pixels[at + 1]) * right;
                *pixel = ((row(at) * (256 - down) + row(at + width as usize) * down) >> 16) as u8;
            }
        }
        self.image = filled;
    }
}
