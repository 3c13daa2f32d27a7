//! Blends marks into pixels.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};

use super::layer::{Depth, Layer, Mark, times};

/// The mean brightness below which white letters are easier to read, by the contrast measure of WCAG.
const MIDDLE: f64 = 0.46;
/// About how many pixels of the background are sampled.
const SAMPLES: usize = 4096;

/// Blends one mark into a picture at several positions. A gray picture takes gray marks only.
pub(super) struct Blend<'a>(Box<dyn Printer + 'a>);

trait Printer {
    fn print(&mut self, x: i64, y: i64, monitor: &Monitor) -> Result<(), EngineError>;
}

impl<'a> Blend<'a> {
    /// Prepares a mark with an opacity from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] for pixels that decoded pictures do not have.
    pub(super) fn new(image: &'a mut DynamicImage, mark: &Mark, opacity: f64) -> Result<Self, EngineError> {
        let width = image.width() as usize;
        Ok(Self(match image {
            DynamicImage::ImageLuma8(image) => Box::new(Pixels::<u8, 1>::new(image, width, mark, opacity)),
            DynamicImage::ImageLumaA8(image) => Box::new(Pixels::<u8, 2>::new(image, width, mark, opacity)),
            DynamicImage::ImageRgb8(image) => Box::new(Pixels::<u8, 3>::new(image, width, mark, opacity)),
            DynamicImage::ImageRgba8(image) => Box::new(Pixels::<u8, 4>::new(image, width, mark, opacity)),
            DynamicImage::ImageLuma16(image) => Box::new(Pixels::<u16, 1>::new(image, width, mark, opacity)),
            DynamicImage::ImageLumaA16(image) => Box::new(Pixels::<u16, 2>::new(image, width, mark, opacity)),
            DynamicImage::ImageRgb16(image) => Box::new(Pixels::<u16, 3>::new(image, width, mark, opacity)),
            DynamicImage::ImageRgba16(image) => Box::new(Pixels::<u16, 4>::new(image, width, mark, opacity)),
            other => {
                return Err(EngineError::Failed(format!(
                    "pixels of the kind {:?} cannot be printed on",
                    other.color()
                )));
            }
        }))
    }

    /// Blends a copy with its upper left corner at a position, clipped to the picture, until the job is cancelled.
    pub(super) fn at(&mut self, x: i64, y: i64, monitor: &Monitor) -> Result<(), EngineError> {
        self.0.print(x, y, monitor)
    }
}

struct Pixels<'a, T, const N: usize> {
    pixels: &'a mut [[T; N]],
    width: usize,
    mark: Layer<T>,
    /// The layer for a light background.
    on_light: Option<Layer<T>>,
}

/// The part of a copy that is inside the picture.
struct Part {
    /// Its first pixel in the picture.
    left: usize,
    top: usize,
    /// Its first pixel in the mark.
    skipped: (usize, usize),
    width: usize,
    height: usize,
}

impl<'a, T: Depth, const N: usize> Pixels<'a, T, N> {
    fn new(samples: &'a mut [T], width: usize, mark: &Mark, opacity: f64) -> Self {
        let (mark, on_light) = match mark {
            Mark::Shallow(layer) => (layer.faded(opacity), None),
            Mark::Deep(layer) => (layer.faded(opacity), None),
            Mark::Text { on_dark, on_light } => (on_dark.faded(opacity), Some(on_light.faded(opacity))),
        };
        Self { pixels: samples.as_chunks_mut().0, width, mark, on_light }
    }

    fn part(&self, x: i64, y: i64) -> Option<Part> {
        // The first pixel in the picture and in the mark, and the number of pixels, along one axis.
        let along = |place: i64, mark: u32, side: usize| {
            let (first, end) = (place.max(0), (place + i64::from(mark)).min(side as i64));
            (first < end).then_some((first as usize, (first - place) as usize, (end - first) as usize))
        };
        let (left, skipped_left, width) = along(x, self.mark.width, self.width)?;
        let (top, skipped_top, height) = along(y, self.mark.height, self.pixels.len() / self.width)?;
        Some(Part { left, top, skipped: (skipped_left, skipped_top), width, height })
    }

    /// Returns whether the background is light. Transparent pixels do not count.
    fn is_light(&self, part: &Part) -> bool {
        let step = (part.width * part.height).div_ceil(SAMPLES).max(1);
        let rows = (part.top..part.top + part.height).step_by(step.isqrt().max(1));
        let (mut light, mut all) = (0.0, 0.0);
        for row in rows {
            let row = &self.pixels[row * self.width + part.left..][..part.width];
            for pixel in row.iter().step_by(step.isqrt().max(1)) {
                let pixel = pixel.map(|sample| f64::from(sample.into()) / f64::from(T::MAX));
                let alpha = if N.is_multiple_of(2) { pixel[N - 1] } else { 1.0 };
                let bright = if N < 3 { pixel[0] } else { 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2] };
                light += bright * alpha;
                all += alpha;
            }
        }
        light > MIDDLE * all
    }
}

impl<T: Depth, const N: usize> Printer for Pixels<'_, T, N> {
    fn print(&mut self, x: i64, y: i64, monitor: &Monitor) -> Result<(), EngineError> {
        let Some(part) = self.part(x, y) else { return Ok(()) };
        let on_light = self.on_light.as_ref().filter(|_| self.is_light(&part));
        let mark = on_light.unwrap_or(&self.mark);
        for row in 0..part.height {
            monitor.check_cancelled()?;
            let from = (part.skipped.1 + row) * mark.width as usize + part.skipped.0;
            let to = (part.top + row) * self.width + part.left;
            let pixels = self.pixels[to..][..part.width].iter_mut();
            for (pixel, mark) in pixels.zip(&mark.pixels[from..]).filter(|(_, mark)| mark[3] > T::default()) {
                *pixel = over(*pixel, *mark);
            }
        }
        Ok(())
    }
}

/// Returns a pixel with the mark blended in.
fn over<T: Depth, const N: usize>(pixel: [T; N], mark: [T; 4]) -> [T; N] {
    let solid = T::cut(T::MAX);
    if N.is_multiple_of(2) && pixel[N - 1] != solid {
        return over_transparent(pixel, mark);
    }
    let rest = T::MAX - mark[3].into();
    let colours = if N < 3 { 1 } else { 3 };
    std::array::from_fn(|channel| match channel < colours {
        true => T::cut(mark[channel].into() + times::<T>(pixel[channel].into(), rest)),
        false => solid,
    })
}

fn over_transparent<T: Depth, const N: usize>(pixel: [T; N], mark: [T; 4]) -> [T; N] {
    let max = f64::from(T::MAX);
    let number = |value: T| f64::from(value.into()) / max;
    let below = number(pixel[N - 1]) * (1.0 - number(mark[3]));
    let alpha = number(mark[3]) + below;
    std::array::from_fn(|channel| {
        let value = match channel == N - 1 {
            true => alpha,
            false => (number(mark[channel]) + number(pixel[channel]) * below) / alpha,
        };
        T::cut((value.min(1.0) * max).round() as u32)
    })
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, LumaA, Rgb, Rgba};

    use super::*;

    fn mark(pixel: [u8; 4], width: u32, height: u32) -> Mark {
        let image = ImageBuffer::from_pixel(width, height, Rgba(pixel));
        Mark::picture(image.into(), false)
    }

    fn printed(mut image: DynamicImage, mark: &Mark, opacity: f64, place: (i64, i64)) -> DynamicImage {
        let monitor = Monitor::new().0;
        Blend::new(&mut image, mark, opacity).unwrap().at(place.0, place.1, &monitor).unwrap();
        image
    }

    #[test]
    fn opacities_multiply() {
        let ground = ImageBuffer::from_pixel(3, 2, Rgb([100_u8, 100, 100])).into();
        let image = printed(ground, &mark([200, 0, 100, 128], 1, 1), 0.5, (1, 1)).into_rgb8();
        // A quarter of the mark, three quarters of the ground.
        assert_eq!(image.get_pixel(1, 1).0, [125, 75, 100]);
        assert!(image.enumerate_pixels().all(|(x, y, pixel)| (x, y) == (1, 1) || pixel.0 == [100; 3]));
    }

    #[test]
    fn transparent_ground_takes_the_colour_of_the_mark() {
        let ground = ImageBuffer::from_pixel(1, 1, Rgba([9_u8, 9, 9, 0])).into();
        assert_eq!(
            printed(ground, &mark([200, 10, 100, 128], 1, 1), 1.0, (0, 0)).into_rgba8().get_pixel(0, 0).0,
            [199, 10, 100, 128]
        );
        let ground = ImageBuffer::from_pixel(1, 1, LumaA([0_u8, 128])).into();
        let image = printed(ground, &mark([255, 255, 255, 128], 1, 1), 1.0, (0, 0));
        assert_eq!(image.into_luma_alpha8().get_pixel(0, 0).0, [170, 192]);
    }

    #[test]
    fn sixteen_bits_are_printed_in_sixteen_bits() {
        let ground = ImageBuffer::from_pixel(2, 1, Luma([1000_u16])).into();
        let image = printed(ground, &mark([255, 255, 255, 255], 1, 1), 0.5, (1, 0)).into_luma16();
        assert_eq!((image.get_pixel(0, 0).0, image.get_pixel(1, 0).0), ([1000], [33268]));
    }

    #[test]
    fn what_lies_beyond_the_edges_is_cut_off() {
        for place in [(-2, -2), (3, 3), (-100, 0), (0, 100), (i64::from(u32::MAX), 0), (-1, 3)] {
            let ground = ImageBuffer::from_pixel(4, 4, Rgb([0_u8; 3])).into();
            let image = printed(ground, &mark([255; 4], 3, 3), 1.0, place).into_rgb8();
            for (x, y, pixel) in image.enumerate_pixels() {
                let (x, y) = (i64::from(x) - place.0, i64::from(y) - place.1);
                let inside = (0..3).contains(&x) && (0..3).contains(&y);
                assert_eq!(pixel.0 == [255; 3], inside);
            }
        }
    }

    #[test]
    fn letters_suit_the_ground() {
        let layer = |value| Layer { width: 2, height: 2, pixels: vec![[value, value, value, 255]; 4] };
        let text = Mark::Text { on_dark: layer(255), on_light: layer(0) };
        for (ground, letter) in [(0_u8, 255), (100, 255), (130, 0), (255, 0)] {
            let ground = ImageBuffer::from_pixel(2, 2, Luma([ground])).into();
            assert!(printed(ground, &text, 1.0, (0, 0)).into_luma8().pixels().all(|pixel| pixel.0 == [letter]));
        }
    }
}
