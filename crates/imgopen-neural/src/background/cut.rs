//! Applies opacity and colours that were worked out on a copy to the picture itself.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::parallel;

use super::foreground::{Estimate, foreground};
use super::matte::{Matte, opacity};
use crate::pixels::{Sample, is_deep};
use crate::plane::{Place, Plane, places};

/// How many rows a thread works on at a time.
const BAND: usize = 64;

/// What to do to a picture.
pub(super) struct Cut<'a> {
    pub matte: &'a Matte,
    pub estimate: &'a Estimate,
    /// What to put in place of the background; nothing if it becomes transparent.
    pub background: Option<[f32; 3]>,
}

/// Where the pixels of the picture lie on the copy.
struct Raster {
    columns: Vec<Place>,
    rows: Vec<Place>,
}

/// The planes of the copy along a row of the picture.
#[derive(Default)]
struct Row {
    factors: [Vec<f32>; 3],
    offset: Vec<f32>,
    front: [Vec<f32>; 3],
    back: [Vec<f32>; 3],
    mixed: Vec<f32>,
}

/// Cuts the subject out of a picture. A gray one stays gray, unless the background is to have a colour.
///
/// # Errors
///
/// [`EngineError::Cancelled`].
pub(super) fn cut(image: DynamicImage, cut: &Cut<'_>, monitor: &Monitor) -> Result<DynamicImage, EngineError> {
    let copy = &cut.matte.offset;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let raster = Raster { columns: places(copy.width, width), rows: places(copy.height, height) };
    let has_colour = image.color().has_color() || cut.background.is_some_and(|[r, g, b]| r != g || g != b);
    let is_opaque = cut.background.is_some();
    Ok(match (is_deep(&image), has_colour) {
        (false, true) => {
            let mut pixels = image.into_rgba8();
            cut.apply::<u8, 4>(&mut pixels, &raster, monitor)?;
            let image = DynamicImage::from(pixels);
            if is_opaque { image.into_rgb8().into() } else { image }
        }
        (false, false) => {
            let mut pixels = image.into_luma_alpha8();
            cut.apply::<u8, 2>(&mut pixels, &raster, monitor)?;
            let image = DynamicImage::from(pixels);
            if is_opaque { image.into_luma8().into() } else { image }
        }
        (true, true) => {
            let mut pixels = image.into_rgba16();
            cut.apply::<u16, 4>(&mut pixels, &raster, monitor)?;
            let image = DynamicImage::from(pixels);
            if is_opaque { image.into_rgb16().into() } else { image }
        }
        (true, false) => {
            let mut pixels = image.into_luma_alpha16();
            cut.apply::<u16, 2>(&mut pixels, &raster, monitor)?;
            let image = DynamicImage::from(pixels);
            if is_opaque { image.into_luma16().into() } else { image }
        }
    })
}

impl Cut<'_> {
    /// Works on samples of that many channels, of which the last is opacity.
    fn apply<S: Sample, const N: usize>(
        &self,
        samples: &mut [S],
        raster: &Raster,
        monitor: &Monitor,
    ) -> Result<(), EngineError> {
        let length = raster.columns.len() * N;
        let bands: Vec<(&mut [S], &[Place])> =
            samples.chunks_mut(length * BAND).zip(raster.rows.chunks(BAND)).collect();
        let done = parallel::map(bands, |(samples, rows)| -> Result<(), EngineError> {
            let mut row = Row::default();
            for (samples, place) in samples.chunks_exact_mut(length).zip(rows) {
                monitor.check_cancelled()?;
                row.read(self, *place, &raster.columns);
                for (x, pixel) in samples.as_chunks_mut::<N>().0.iter_mut().enumerate() {
                    self.pixel(pixel, &row, x);
                }
            }
            Ok(())
        });
        done.into_iter().collect()
    }

    fn pixel<S: Sample, const N: usize>(&self, pixel: &mut [S; N], row: &Row, x: usize) {
        let colours = N - 1;
        // A gray one has the same level three times.
        let own: [f32; 3] = std::array::from_fn(|channel| pixel[channel.min(colours - 1)].level());
        let [factors, front, back] =
            [&row.factors, &row.front, &row.back].map(|rows| [rows[0][x], rows[1][x], rows[2][x]]);
        let share = opacity(factors, row.offset[x], own);
        let opacity = share * pixel[colours].level();
        let (samples, alpha) = pixel.split_at_mut(colours);
        let level = |channel: usize| foreground(own[channel], share, front[channel], back[channel]);
        match self.background {
            Some(background) => {
                for (channel, sample) in samples.iter_mut().enumerate() {
                    *sample = S::nearest(opacity * level(channel) + (1.0 - opacity) * background[channel]);
                }
                alpha.fill(S::MOST);
            }
            None => {
                let is_seen = S::nearest(opacity) != S::default();
                for (channel, sample) in samples.iter_mut().enumerate() {
                    *sample = if is_seen { S::nearest(level(channel)) } else { S::default() };
                }
                alpha.fill(S::nearest(opacity));
            }
        }
    }
}

impl Row {
    fn read(&mut self, cut: &Cut<'_>, place: Place, columns: &[Place]) {
        let Self { factors, offset, front, back, mixed } = self;
        let mut read = |planes: &[Plane; 3], rows: &mut [Vec<f32>; 3]| {
            for (plane, row) in planes.iter().zip(rows) {
                plane.enlarge_row(place, columns, mixed, row);
            }
        };
        read(&cut.matte.factors, factors);
        read(&cut.estimate.front, front);
        read(&cut.estimate.back, back);
        cut.matte.offset.enlarge_row(place, columns, mixed, offset);
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, LumaA, Rgb, Rgba};

    use super::*;

    fn even(level: f32) -> Plane {
        Plane { width: 2, height: 2, values: vec![level; 4] }
    }

    fn matte(share: f32) -> Matte {
        Matte { factors: [even(0.0), even(0.0), even(0.0)], offset: even(share) }
    }

    fn estimate(front: f32, back: f32) -> Estimate {
        let three = |level: f32| [even(level), even(level), even(level)];
        Estimate { front: three(front), back: three(back) }
    }

    fn result(image: DynamicImage, share: f32, background: Option<[f32; 3]>) -> DynamicImage {
        let (matte, estimate) = (matte(share), estimate(1.0, 0.0));
        cut(image, &Cut { matte: &matte, estimate: &estimate, background }, &Monitor::new().0).unwrap()
    }

    #[test]
    fn the_subject_stays_and_the_background_is_cleared() {
        let image = DynamicImage::from(ImageBuffer::from_fn(5, 3, |x, y| Rgb([x as u8 * 50, y as u8 * 70, 9])));
        let kept = result(image.clone(), 1.0, None);
        assert_eq!((kept.to_rgb8().into_raw(), kept.color().has_alpha()), (image.to_rgb8().into_raw(), true));
        assert!(kept.to_rgba8().pixels().all(|pixel| pixel.0[3] == 255));
        assert!(result(image, 0.0, None).as_bytes().iter().all(|sample| *sample == 0));
    }

    /// By hand: the pixel is half white subject and half black background.
    #[test]
    fn a_mixed_pixel_gets_the_colour_of_the_subject() {
        let image = DynamicImage::from(ImageBuffer::from_pixel(3, 2, LumaA([32_768_u16, 65_535])));
        let DynamicImage::ImageLumaA16(cut) = result(image.clone(), 0.5, None) else { panic!() };
        let [gray, opacity] = cut.get_pixel(1, 1).0;
        assert!(gray >= 65_534 && opacity.abs_diff(32_768) <= 1, "{gray} {opacity}");
        // Half of it before a gray of 0.2 is 0.6.
        let DynamicImage::ImageLuma16(cut) = result(image, 0.5, Some([0.2; 3])) else { panic!() };
        assert!(cut.get_pixel(1, 1).0[0].abs_diff(39_321) <= 1, "{cut:?}");
    }

    #[test]
    fn what_was_transparent_stays_so() {
        let image = DynamicImage::from(ImageBuffer::from_pixel(2, 2, Rgba([200_u8, 100, 50, 128])));
        assert_eq!(result(image.clone(), 1.0, None), image);
        let clear = DynamicImage::from(ImageBuffer::from_pixel(2, 2, Rgba([200_u8, 100, 50, 0])));
        assert!(result(clear, 1.0, None).as_bytes().iter().all(|sample| *sample == 0));
    }

    #[test]
    fn a_gray_picture_becomes_coloured_only_before_a_colour() {
        let gray = DynamicImage::new_luma8(2, 2);
        for (background, expected) in [
            (None, image::ColorType::La8),
            (Some([0.5; 3]), image::ColorType::L8),
            (Some([1.0, 0.0, 0.0]), image::ColorType::Rgb8),
        ] {
            assert_eq!(result(gray.clone(), 0.5, background).color(), expected);
        }
    }
}
