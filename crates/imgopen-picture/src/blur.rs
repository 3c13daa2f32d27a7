//! Replaces pictures by ones in which nothing can be recognised.

use image::imageops::{self, FilterType};
use image::{DynamicImage, Rgba, RgbaImage};
use imgopen_engine::{EngineError, Monitor, Picture, PictureLimits};

use crate::decode::{Decoded, decode_result};
use crate::encode::Attached;
use crate::results::write;

/// The most fields along the longer side whose mean colours are all that is left of a picture.
const MOST_FIELDS: u32 = 16;

/// The fewest pixels along a side of a field, as far as the picture has them.
const FIELD: u32 = 8;

/// What is added up of the pixels of a field.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    /// Red, green and blue, each times the opacity.
    colours: [u64; 3],
    opacity: u64,
    count: u64,
}

/// Returns a picture of the same size and format in which nothing can be recognised, and which cannot be turned back: of the
/// pixels, the mean colours of at most 16 fields along a side are left, and of what else the file carries, nothing.
///
/// # Errors
///
/// [`EngineError::Failed`] if the picture cannot be read or written. [`EngineError::Cancelled`], within a row, but for the last
/// steps, which libraries finish first.
pub fn blurred(picture: &Picture, limits: &PictureLimits, monitor: &Monitor) -> Result<Picture, EngineError> {
    let Decoded { image, is_lossy_webp, .. } = decode_result(picture, limits, monitor)?;
    let (width, height, has_alpha) = (image.width(), image.height(), image.color().has_alpha());
    let fields = means(&image.into_rgba8(), monitor)?;
    let image = imageops::resize(&fields, width, height, FilterType::Triangle);
    monitor.check_cancelled()?;
    let image = DynamicImage::from(image);
    let image = if has_alpha { image } else { image.into_rgb8().into() };
    let attached = Attached { lossy: is_lossy_webp, ..Attached::default() };
    let written = write(&image, picture.format, &attached, monitor, |error| EngineError::Failed(error.to_string()))?;
    Ok(Picture { seed: picture.seed, ..written })
}

/// Returns the mean colours of the fields of a picture.
fn means(image: &RgbaImage, monitor: &Monitor) -> Result<RgbaImage, EngineError> {
    let (columns, rows) = fields(image.width(), image.height());
    let mut sums = vec![Sum::default(); columns as usize * rows as usize];
    for (y, row) in image.rows().enumerate() {
        monitor.check_cancelled()?;
        let first = y * rows as usize / image.height() as usize * columns as usize;
        for (x, Rgba([red, green, blue, opacity])) in row.enumerate() {
            let sum = &mut sums[first + x * columns as usize / image.width() as usize];
            let opacity = u64::from(*opacity);
            for (sum, sample) in sum.colours.iter_mut().zip([red, green, blue]) {
                *sum += u64::from(*sample) * opacity;
            }
            sum.opacity += opacity;
            sum.count += 1;
        }
    }
    let samples = sums.iter().flat_map(|sum| {
        let [red, green, blue] = sum.colours.map(|colour| mean(colour, sum.opacity));
        [red, green, blue, mean(sum.opacity, sum.count)]
    });
    Ok(RgbaImage::from_raw(columns, rows, samples.collect()).unwrap_or_default())
}

/// Returns a mean of samples, rounded; 0 of none.
fn mean(sum: u64, count: u64) -> u8 {
    u8::try_from((sum + count / 2).checked_div(count).unwrap_or_default()).unwrap_or(u8::MAX)
}

/// Returns how many fields there are along the sides of a picture.
fn fields(width: u32, height: u32) -> (u32, u32) {
    let longest = width.max(height).max(1);
    let most = (longest / FIELD).clamp(1, MOST_FIELDS);
    let along = |side: u32| {
        let fields = u64::from(side) * u64::from(most) / u64::from(longest);
        u32::try_from(fields).unwrap_or(most).max(1)
    };
    (along(width), along(height))
}

#[cfg(test)]
mod tests {
    use image::{GenericImageView, ImageBuffer, Rgb};
    use imgopen_engine::Format;

    use super::*;
    use crate::{Attached, decode, encode, parameters};

    fn picture(image: &DynamicImage, format: Format, attached: &Attached<'_>) -> Picture {
        let bytes = encode(image, format, attached).unwrap();
        Picture { bytes, format, width: image.width(), height: image.height(), seed: Some(7) }
    }

    fn blur(picture: &Picture) -> (Picture, DynamicImage) {
        let blurred = blurred(picture, &PictureLimits::default(), &Monitor::new().0).unwrap();
        let image = decode(&blurred.bytes, &PictureLimits::default()).unwrap().image;
        (blurred, image)
    }

    /// Squares of 4 pixels, of which four make a field.
    fn chequered() -> DynamicImage {
        ImageBuffer::from_fn(128, 64, |x, y| Rgb([if (x / 4 + y / 4) % 2 == 0 { 200 } else { 56 }, 40, 80_u8])).into()
    }

    #[test]
    fn only_rough_colours_are_left_in_the_same_size_and_format() {
        for format in Format::ALL {
            let source = picture(&chequered(), format, &Attached::default());
            let (blurred, image) = blur(&source);
            assert_eq!((blurred.format, blurred.seed), (format, Some(7)));
            assert_eq!((blurred.width, blurred.height, image.dimensions()), (128, 64, (128, 64)));
            let off = image.to_rgb8().pixels().map(|pixel| pixel.0[0].abs_diff(128)).max().unwrap();
            assert!(off <= 6, "{format}: {off}");
        }
    }

    #[test]
    fn nothing_else_of_the_file_is_left() {
        let attached = Attached { parameters: Some("a secret\nSteps: 20"), ..Attached::default() };
        for format in Format::ALL {
            let source = picture(&chequered(), format, &attached);
            assert!(parameters(&source.bytes).is_some());
            assert_eq!(parameters(&blur(&source).0.bytes), None, "{format}");
        }
    }

    /// By hand: each half is one field of 8 pixels, and hidden colours do not count.
    #[test]
    fn a_field_has_the_mean_of_its_pixels() {
        let image = RgbaImage::from_fn(16, 1, |x, _| match x {
            0..4 => Rgba([10, 20, 30, 255]),
            4..8 => Rgba([30, 40, 50, 255]),
            8..12 => Rgba([200, 0, 0, 255]),
            _ => Rgba([0, 99, 99, 0]),
        });
        let means = means(&image, &Monitor::new().0).unwrap();
        assert_eq!(means.as_raw(), &[20, 30, 40, 255, 200, 0, 0, 128]);
    }

    #[test]
    fn transparency_is_kept_as_roughly() {
        let image = RgbaImage::from_fn(64, 64, |x, _| Rgba([9, 9, 9, if x < 32 { 0 } else { 255 }]));
        let (_, blurred) = blur(&picture(&image.into(), Format::Png, &Attached::default()));
        let DynamicImage::ImageRgba8(blurred) = blurred else { panic!("{:?}", blurred.color()) };
        assert_eq!((blurred.get_pixel(2, 30).0[3], blurred.get_pixel(61, 30).0[3]), (0, 255));
    }

    #[test]
    fn a_field_is_large_however_small_the_picture_is() {
        let sizes = [(1, 1), (7, 3), (31, 8), (64, 48), (128, 128), (4000, 3000), (65_000, 1)];
        let expected = [(1, 1), (1, 1), (3, 1), (8, 6), (16, 16), (16, 12), (16, 1)];
        assert_eq!(sizes.map(|(width, height)| fields(width, height)), expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_blurred_and_a_cancelled_job_ends() {
        let source = picture(&chequered(), Format::Png, &Attached::default());
        let broken = Picture { bytes: source.bytes.slice(..60), ..source.clone() };
        let error = blurred(&broken, &PictureLimits::default(), &Monitor::new().0).unwrap_err();
        assert!(matches!(&error, EngineError::Failed(problem) if problem.starts_with("the file ")), "{error}");
        let (monitor, _watch, checks) = Monitor::counted(u64::MAX);
        blurred(&source, &PictureLimits::default(), &monitor).unwrap();
        for last in [1, checks.count() / 2, checks.count()] {
            let (monitor, _watch, _) = Monitor::counted(last);
            assert_eq!(blurred(&source, &PictureLimits::default(), &monitor), Err(EngineError::Cancelled), "{last}");
        }
    }
}
