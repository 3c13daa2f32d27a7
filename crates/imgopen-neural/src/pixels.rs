//! Pixels of decoded pictures as numbers from 0 to 1, and back.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;
use imgopen_engine::EngineError;

use crate::plane::Plane;

/// The mean and the deviation of the colours of ImageNet, with which many nets were trained.
pub(crate) const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
pub(crate) const IMAGENET_DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// A sample of a channel: 8 or 16 bits.
pub(crate) trait Sample: Copy + Default + PartialEq + Send + Sync {
    /// The largest one, which is the number 1.
    const MOST: Self;

    /// Returns the number.
    fn level(self) -> f32;

    /// Returns the sample nearest to a number.
    fn nearest(level: f32) -> Self;
}

impl Sample for u8 {
    const MOST: Self = u8::MAX;

    fn level(self) -> f32 {
        f32::from(self) / 255.0
    }

    fn nearest(level: f32) -> Self {
        (level.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
    }
}

impl Sample for u16 {
    const MOST: Self = u16::MAX;

    fn level(self) -> f32 {
        f32::from(self) / 65_535.0
    }

    fn nearest(level: f32) -> Self {
        (level.clamp(0.0, 1.0) * 65_535.0 + 0.5) as u16
    }
}

/// The channels of a picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Channels {
    /// Red, green and blue, which are the same in a gray picture.
    pub colours: [Plane; 3],
    /// The opacity; all of it is 1 in a picture without transparency.
    pub opacity: Plane,
}

impl Channels {
    /// Reads the channels of a picture.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] for pixel types that decoded pictures do not have.
    pub fn of(image: &DynamicImage) -> Result<Self, EngineError> {
        use DynamicImage::*;
        let size = (image.width() as usize, image.height() as usize);
        Ok(match image {
            ImageLuma8(pixels) => split(pixels.as_raw(), 1, size),
            ImageLumaA8(pixels) => split(pixels.as_raw(), 2, size),
            ImageRgb8(pixels) => split(pixels.as_raw(), 3, size),
            ImageRgba8(pixels) => split(pixels.as_raw(), 4, size),
            ImageLuma16(pixels) => split(pixels.as_raw(), 1, size),
            ImageLumaA16(pixels) => split(pixels.as_raw(), 2, size),
            ImageRgb16(pixels) => split(pixels.as_raw(), 3, size),
            ImageRgba16(pixels) => split(pixels.as_raw(), 4, size),
            other => return Err(EngineError::Failed(format!("pixels of the type {:?} are not read", other.color()))),
        })
    }
}

fn split<S: Sample>(samples: &[S], channels: usize, (width, height): (usize, usize)) -> Channels {
    let plane = |channel: usize| {
        let values = samples.iter().skip(channel).step_by(channels).map(|sample| sample.level()).collect();
        Plane { width, height, values }
    };
    let colours = match channels {
        1 | 2 => {
            let gray = plane(0);
            [gray.clone(), gray.clone(), gray]
        }
        _ => [plane(0), plane(1), plane(2)],
    };
    let opacity = match channels {
        2 | 4 => plane(channels - 1),
        _ => Plane { width, height, values: vec![1.0; width * height] },
    };
    Channels { colours, opacity }
}

/// Sets pixels of a row of a picture, by their columns, to red, green, blue and opacity. A gray picture gets the mean of the
/// colours, and one without transparency no opacity.
///
/// # Errors
///
/// [`EngineError::Failed`] for pixel types that decoded pictures do not have.
pub(crate) fn set_row(
    image: &mut DynamicImage,
    y: usize,
    levels: impl Iterator<Item = (usize, [f32; 4])>,
) -> Result<(), EngineError> {
    use DynamicImage::*;
    let width = image.width() as usize;
    match image {
        ImageLuma8(pixels) => set(pixels, 1, y * width, levels),
        ImageLumaA8(pixels) => set(pixels, 2, y * width, levels),
        ImageRgb8(pixels) => set(pixels, 3, y * width, levels),
        ImageRgba8(pixels) => set(pixels, 4, y * width, levels),
        ImageLuma16(pixels) => set(pixels, 1, y * width, levels),
        ImageLumaA16(pixels) => set(pixels, 2, y * width, levels),
        ImageRgb16(pixels) => set(pixels, 3, y * width, levels),
        ImageRgba16(pixels) => set(pixels, 4, y * width, levels),
        other => return Err(EngineError::Failed(format!("pixels of the type {:?} are not written", other.color()))),
    }
    Ok(())
}

fn set<S: Sample>(samples: &mut [S], channels: usize, first: usize, levels: impl Iterator<Item = (usize, [f32; 4])>) {
    for (x, [red, green, blue, opacity]) in levels {
        let gray = (red + green + blue) / 3.0;
        let pixel = &mut samples[(first + x) * channels..][..channels];
        let levels = match channels {
            1 | 2 => [gray, opacity, 0.0, 0.0],
            _ => [red, green, blue, opacity],
        };
        pixel.iter_mut().zip(levels).for_each(|(sample, level)| *sample = S::nearest(level));
    }
}

/// Returns a copy of a picture with another size, by a triangle filter over all pixels that a pixel of the copy covers. It
/// cannot be stopped; the limit of pixels bounds the time that it takes.
///
/// # Errors
///
/// [`EngineError::Failed`] for pixel types that decoded pictures do not have.
pub(crate) fn resized(image: &DynamicImage, width: u32, height: u32) -> Result<DynamicImage, EngineError> {
    let mut copy = DynamicImage::new(width, height, image.color());
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(image.color().has_alpha());
    Resizer::new()
        .resize(image, &mut copy, &options)
        .map_err(|error| EngineError::Failed(format!("the picture cannot be resampled: {error}")))?;
    Ok(copy)
}

/// Returns whether the samples of a picture have 16 bits.
pub(crate) fn is_deep(image: &DynamicImage) -> bool {
    image.color().bytes_per_pixel() / image.color().channel_count() > 1
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, LumaA, Rgb};

    use super::*;

    #[test]
    fn every_sample_is_the_one_nearest_to_its_number() {
        assert!((0..=u8::MAX).all(|sample| u8::nearest(sample.level()) == sample));
        assert!((0..=u16::MAX).all(|sample| u16::nearest(sample.level()) == sample));
        assert_eq!((u8::nearest(-1.0), u8::nearest(2.0), u8::nearest(f32::NAN)), (0, 255, 0));
    }

    #[test]
    fn channels_are_numbers_from_0_to_1() {
        let gray = ImageBuffer::from_pixel(2, 1, LumaA([0_u16, 65_535]));
        let channels = Channels::of(&gray.into()).unwrap();
        assert!(channels.colours.iter().all(|plane| plane.values == [0.0, 0.0]));
        assert_eq!(channels.opacity.values, [1.0, 1.0]);
        let colour = ImageBuffer::from_pixel(1, 2, Rgb([255_u8, 51, 0]));
        let channels = Channels::of(&colour.into()).unwrap();
        assert_eq!(channels.colours.map(|plane| plane.values[1]), [1.0, 0.2, 0.0]);
        assert_eq!(channels.opacity.values, [1.0, 1.0]);
    }

    #[test]
    fn pixels_of_a_row_are_set() {
        let levels = [(1, [0.2, 0.4, 0.6, 0.8])];
        let mut gray = DynamicImage::from(ImageBuffer::from_pixel(2, 2, LumaA([7_u8, 9])));
        set_row(&mut gray, 1, levels.into_iter()).unwrap();
        assert_eq!(gray.as_bytes(), [7, 9, 7, 9, 7, 9, 102, 204]);
        let mut colour = DynamicImage::from(ImageBuffer::from_pixel(2, 1, Rgb([1_u16, 2, 3])));
        set_row(&mut colour, 0, levels.into_iter()).unwrap();
        assert_eq!(colour.into_rgb16().into_raw(), [1, 2, 3, 13_107, 26_214, 39_321]);
    }

    /// By hand: hidden colours do not count.
    #[test]
    fn a_smaller_copy_leaves_hidden_colours_out() {
        let image = ImageBuffer::from_fn(2, 2, |x, _| LumaA(if x == 0 { [200_u8, 255] } else { [10, 0] }));
        let copy = resized(&image.into(), 1, 1).unwrap();
        let DynamicImage::ImageLumaA8(copy) = copy else { panic!("{copy:?}") };
        let [gray, opacity] = copy.get_pixel(0, 0).0;
        assert!(gray.abs_diff(200) <= 1 && opacity.abs_diff(128) <= 1, "{gray} {opacity}");
    }
}
