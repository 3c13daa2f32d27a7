//! Puts something onto a part of a picture, whatever the kind of its pixels.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::parallel;

use crate::pixels::Sample;

/// How many rows a thread works on at a time.
const BAND: usize = 16;

/// A part of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// What is put onto a picture.
pub(super) trait Patch: Sync {
    /// Writes the pixels of a row of the area.
    fn row(&self, y: u32, row: &mut Row);
}

/// A row of what is put onto a picture.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// For each pixel of the area, how much of the new colour shows: from 0 for none to 1.
    pub opacity: Vec<f32>,
    pub colours: Vec<[f32; 3]>,
}

impl Area {
    /// Returns the part of a picture around points, with a margin on all sides as a share of theirs; `None` if none of it lies
    /// within the picture.
    pub fn around(points: impl Iterator<Item = [f32; 2]>, margin: f32, width: u32, height: u32) -> Option<Self> {
        let nothing = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        let (least, most) = points.fold(nothing, |(least, most), [x, y]| {
            ([least[0].min(x), least[1].min(y)], [most[0].max(x), most[1].max(y)])
        });
        let range = |axis: usize, side: u32| {
            let more = margin * (most[axis] - least[axis]);
            // The conversion makes 0 of what is negative or not a number.
            let first = (least[axis] - more).floor() as u32;
            let end = ((most[axis] + more).ceil() as u32).min(side);
            (first < end).then(|| (first, end - first))
        };
        let ((left, width), (top, height)) = (range(0, width)?, range(1, height)?);
        Some(Self { left, top, width, height })
    }

    /// Copies that part of a picture.
    pub fn of(self, image: &DynamicImage) -> DynamicImage {
        image.crop_imm(self.left, self.top, self.width, self.height)
    }
}

/// Puts a patch onto a part of a picture. Opacity stays as it is, a gray picture stays gray, and pixels on which nothing shows stay
/// exactly the same.
///
/// # Errors
///
/// [`EngineError::Cancelled`], and [`EngineError::Failed`] for pixel types that decoded pictures do not have.
pub(super) fn paste(
    image: &mut DynamicImage,
    area: Area,
    patch: &impl Patch,
    monitor: &Monitor,
) -> Result<(), EngineError> {
    use DynamicImage::*;
    let width = image.width() as usize;
    match image {
        ImageLuma8(pixels) => onto::<u8, 1>(pixels, width, area, patch, monitor),
        ImageLumaA8(pixels) => onto::<u8, 2>(pixels, width, area, patch, monitor),
        ImageRgb8(pixels) => onto::<u8, 3>(pixels, width, area, patch, monitor),
        ImageRgba8(pixels) => onto::<u8, 4>(pixels, width, area, patch, monitor),
        ImageLuma16(pixels) => onto::<u16, 1>(pixels, width, area, patch, monitor),
        ImageLumaA16(pixels) => onto::<u16, 2>(pixels, width, area, patch, monitor),
        ImageRgb16(pixels) => onto::<u16, 3>(pixels, width, area, patch, monitor),
        ImageRgba16(pixels) => onto::<u16, 4>(pixels, width, area, patch, monitor),
        other => Err(EngineError::Failed(format!("pixels of the type {:?} are not written", other.color()))),
    }
}

fn onto<S: Sample, const N: usize>(
    samples: &mut [S],
    width: usize,
    area: Area,
    patch: &impl Patch,
    monitor: &Monitor,
) -> Result<(), EngineError> {
    let (first, count) = (area.left as usize * N, area.width as usize * N);
    let rows = samples.chunks_exact_mut((width * N).max(1)).skip(area.top as usize);
    let rows = rows.map(|row| row.get_mut(first..first + count).unwrap_or_default());
    let mut rows: Vec<(u32, &mut [S])> = (0..area.height).zip(rows).collect();
    let bands: Vec<&mut [(u32, &mut [S])]> = rows.chunks_mut(BAND).collect();
    let done = parallel::map(bands, |band| -> Result<(), EngineError> {
        let mut row = Row::default();
        for (y, samples) in band {
            monitor.check_cancelled()?;
            row.opacity.clear();
            row.opacity.resize(area.width as usize, 0.0);
            row.colours.clear();
            row.colours.resize(area.width as usize, [0.0; 3]);
            patch.row(*y, &mut row);
            let shown = row.opacity.iter().zip(&row.colours);
            for (pixel, (opacity, colour)) in samples.as_chunks_mut::<N>().0.iter_mut().zip(shown) {
                if *opacity > 0.0 {
                    mix(pixel, *opacity, *colour);
                }
            }
        }
        Ok(())
    });
    done.into_iter().collect()
}

fn mix<S: Sample, const N: usize>(pixel: &mut [S; N], opacity: f32, colour: [f32; 3]) {
    let level = |sample: S, new: f32| {
        let own = sample.level();
        S::nearest(own + opacity * (new - own))
    };
    match N {
        // Gray, with or without opacity.
        1 | 2 => pixel[0] = level(pixel[0], colour.iter().sum::<f32>() / 3.0),
        _ => pixel.iter_mut().zip(colour).for_each(|(sample, new)| *sample = level(*sample, new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of a colour on even columns.
    struct Stripes;

    impl Patch for Stripes {
        fn row(&self, y: u32, row: &mut Row) {
            for (x, (opacity, colour)) in row.opacity.iter_mut().zip(&mut row.colours).enumerate() {
                *opacity = if x % 2 == 0 { 0.5 } else { 0.0 };
                *colour = [1.0, 0.5, y as f32];
            }
        }
    }

    #[test]
    fn only_the_pixels_on_which_something_shows_change() {
        let area = Area { left: 1, top: 1, width: 3, height: 2 };
        for image in [
            DynamicImage::new_luma8(5, 4),
            DynamicImage::new_luma_a8(5, 4),
            DynamicImage::new_rgb8(5, 4),
            DynamicImage::new_rgba8(5, 4),
            DynamicImage::new_luma16(5, 4),
            DynamicImage::new_luma_a16(5, 4),
            DynamicImage::new_rgb16(5, 4),
            DynamicImage::new_rgba16(5, 4),
        ] {
            let mut made = image.clone();
            paste(&mut made, area, &Stripes, &Monitor::new().0).unwrap();
            assert_eq!(made.color(), image.color());
            let (before, after) = (image.to_rgba16(), made.to_rgba16());
            for (x, y, pixel) in after.enumerate_pixels() {
                let own = before.get_pixel(x, y).0;
                let is_changed = (x == 1 || x == 3) && (y == 1 || y == 2);
                if !is_changed {
                    assert_eq!(pixel.0, own, "{:?} {x},{y}", image.color());
                    continue;
                }
                let row = (y - 1) as f32;
                let expected = match image.color().has_color() {
                    true => [0.5, 0.25, row / 2.0],
                    false => [(1.5 + row) / 6.0; 3],
                };
                for (sample, expected) in pixel.0.iter().zip(expected) {
                    assert!((f32::from(*sample) / 65_535.0 - expected).abs() < 0.003, "{:?} {x},{y}", image.color());
                }
                assert_eq!(pixel.0[3], own[3]);
            }
        }
    }

    #[test]
    fn an_area_lies_within_the_picture() {
        let points = || [[2.0, 3.0], [12.0, 23.0]].into_iter();
        let area = Area::around(points(), 0.5, 100, 100).unwrap();
        assert_eq!(area, Area { left: 0, top: 0, width: 17, height: 33 });
        assert_eq!(Area::around(points(), 0.0, 10, 10), Some(Area { left: 2, top: 3, width: 8, height: 7 }));
        assert_eq!(Area::around(points(), 0.0, 2, 10), None);
        assert_eq!(Area::around([[f32::NAN; 2]].into_iter(), 0.0, 10, 10), None);
        assert_eq!(Area::around(std::iter::empty(), 0.0, 10, 10), None);
    }

    #[test]
    fn a_cancelled_job_ends_within_a_band() {
        let (monitor, _watch, checks) = Monitor::counted(3);
        let mut image = DynamicImage::new_rgb8(8, 90);
        let area = Area { left: 0, top: 0, width: 8, height: 90 };
        assert_eq!(paste(&mut image, area, &Stripes, &monitor), Err(EngineError::Cancelled));
        // Each band that a thread takes up afterwards looks once.
        assert!(checks.count() <= 3 + 90 / BAND as u64 + 1, "{}", checks.count());
    }
}
