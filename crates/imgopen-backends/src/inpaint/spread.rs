//! Fills what is unknown of a picture with the colours around it, smoothly, so that a model begins with something
//! plausible.
//!
//! Push and pull: the picture is halved until all is known, and what is missing at a size is taken from the next
//! smaller one.

use image::{Rgb, RgbImage, RgbaImage};

/// Colours weighted by how far they are known, and how far they are known, from 0 to 1.
type Pixel = [f32; 4];

/// Fills a picture whose opacity says how far each pixel is known, and whose colours are weighted by it.
pub(super) fn spread(known: &RgbaImage) -> RgbImage {
    let (width, height) = (known.width() as usize, known.height() as usize);
    let pixels = known.pixels().map(|pixel| pixel.0.map(|sample| f32::from(sample) / 255.0)).collect();
    let filled = Level { width, height, pixels }.filled();
    RgbImage::from_fn(known.width(), known.height(), |x, y| {
        let [red, green, blue, _] = filled.pixels[y as usize * width + x as usize];
        Rgb([red, green, blue].map(|sample| (sample.clamp(0.0, 1.0) * 255.0).round() as u8))
    })
}

struct Level {
    width: usize,
    height: usize,
    pixels: Vec<Pixel>,
}

impl Level {
    fn filled(mut self) -> Self {
        if self.pixels.iter().all(|pixel| pixel[3] >= 1.0) {
            return self;
        }
        if self.pixels.len() == 1 {
            self.pixels[0] = match self.pixels[0] {
                [red, green, blue, known] if known > 0.0 => [red / known, green / known, blue / known, 1.0],
                _ => [0.5, 0.5, 0.5, 1.0],
            };
            return self;
        }
        let behind = self.halved().filled();
        for (at, pixel) in self.pixels.iter_mut().enumerate() {
            let missing = 1.0 - pixel[3];
            if missing > 0.0 {
                let colour = behind.between(at % self.width, at / self.width);
                pixel.iter_mut().zip(colour).for_each(|(sample, behind)| *sample += missing * behind);
            }
        }
        self
    }

    /// Each pixel stands for four. It is as far known as they are together.
    fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut pixels = vec![[0.0; 4]; width * height];
        for (at, pixel) in self.pixels.iter().enumerate() {
            let half = &mut pixels[at / self.width / 2 * width + at % self.width / 2];
            half.iter_mut().zip(pixel).for_each(|(sum, sample)| *sum += sample);
        }
        for pixel in &mut pixels {
            let known = pixel[3].max(1.0);
            pixel.iter_mut().for_each(|sample| *sample /= known);
        }
        Self { width, height, pixels }
    }

    /// Returns the colour at a pixel of the picture of twice the size, between those of this one.
    fn between(&self, x: usize, y: usize) -> Pixel {
        let along = |place: usize, length: usize| {
            let exact = ((place as f32 + 0.5) / 2.0 - 0.5).clamp(0.0, (length - 1) as f32);
            let first = exact as usize;
            (first, (first + 1).min(length - 1), exact.fract())
        };
        let ((left, right, across), (top, bottom, down)) = (along(x, self.width), along(y, self.height));
        let mix = |a: Pixel, b: Pixel, share: f32| -> Pixel {
            std::array::from_fn(|channel| a[channel] * (1.0 - share) + b[channel] * share)
        };
        let row = |y: usize| mix(self.pixels[y * self.width + left], self.pixels[y * self.width + right], across);
        mix(row(top), row(bottom), down)
    }
}

#[cfg(test)]
mod tests {
    use image::Rgba;

    use super::*;

    #[test]
    fn what_is_known_stays_and_the_rest_lies_between() {
        // Dark on the left, light on the right, unknown in between.
        let known = RgbaImage::from_fn(37, 11, |x, _| match x {
            0..9 => Rgba([20, 40, 60, 255]),
            28.. => Rgba([220, 200, 180, 255]),
            _ => Rgba([0; 4]),
        });
        let filled = spread(&known);
        for (x, y, pixel) in filled.enumerate_pixels() {
            match x {
                0..9 => assert_eq!(pixel.0, [20, 40, 60], "{x},{y}"),
                28.. => assert_eq!(pixel.0, [220, 200, 180], "{x},{y}"),
                _ => assert!((20..=220).contains(&pixel.0[0]) && (60..=180).contains(&pixel.0[2]), "{x},{y} {pixel:?}"),
            }
        }
        let red = |x: u32| filled.get_pixel(x, 5).0[0];
        assert!(
            red(10) < 90 && red(26) > 150 && red(10) < red(18) && red(18) < red(26),
            "{} {} {}",
            red(10),
            red(18),
            red(26)
        );
    }

    #[test]
    fn nothing_known_is_gray() {
        let filled = spread(&RgbaImage::new(3, 2));
        assert!(filled.pixels().all(|pixel| pixel.0 == [128; 3]));
        // Half known, black: the colour is black, not half black on gray.
        let filled = spread(&RgbaImage::from_pixel(1, 1, Rgba([0, 0, 0, 128])));
        assert_eq!(filled.get_pixel(0, 0).0, [0; 3]);
    }
}
