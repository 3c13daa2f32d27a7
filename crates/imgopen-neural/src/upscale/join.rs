//! Makes pictures of the kind of their source from what nets return.

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Pixel};
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::Planes;

use crate::pixels::{Sample, is_deep};

/// The kind of pixels of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Join {
    is_deep: bool,
    has_colour: bool,
}

impl Join {
    pub fn of(image: &DynamicImage) -> Self {
        Self { is_deep: is_deep(image), has_colour: image.color().has_color() }
    }

    /// Makes a picture of three planes, and of the opacity if the source has one.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`], and [`EngineError::Failed`] if the planes do not have the size of the opacity.
    pub fn image(
        self,
        planes: Planes,
        opacity: Option<DynamicImage>,
        monitor: &Monitor,
    ) -> Result<DynamicImage, EngineError> {
        let unfit = || EngineError::Failed("the net returns a picture that does not fit its source".to_owned());
        if planes.channels() != 3 {
            return Err(unfit());
        }
        let size = (planes.width(), planes.height());
        let image = match self.is_deep {
            false => {
                let opacity = opacity.map(|opacity| opacity.into_luma8().into_raw());
                let samples = self.samples::<u8>(&planes, opacity.as_deref(), monitor)?;
                drop(planes);
                match (self.has_colour, opacity.is_some()) {
                    (false, false) => filled::<Luma<u8>>(size, samples).map(DynamicImage::from),
                    (false, true) => filled::<image::LumaA<u8>>(size, samples).map(DynamicImage::from),
                    (true, false) => filled::<image::Rgb<u8>>(size, samples).map(DynamicImage::from),
                    (true, true) => filled::<image::Rgba<u8>>(size, samples).map(DynamicImage::from),
                }
            }
            true => {
                let opacity = opacity.map(|opacity| opacity.into_luma16().into_raw());
                let samples = self.samples::<u16>(&planes, opacity.as_deref(), monitor)?;
                drop(planes);
                match (self.has_colour, opacity.is_some()) {
                    (false, false) => filled::<Luma<u16>>(size, samples).map(DynamicImage::from),
                    (false, true) => filled::<image::LumaA<u16>>(size, samples).map(DynamicImage::from),
                    (true, false) => filled::<image::Rgb<u16>>(size, samples).map(DynamicImage::from),
                    (true, true) => filled::<image::Rgba<u16>>(size, samples).map(DynamicImage::from),
                }
            }
        };
        image.ok_or_else(unfit)
    }

    /// Returns the samples of all pixels, one after the other.
    fn samples<S: Sample>(
        self,
        planes: &Planes,
        opacity: Option<&[S]>,
        monitor: &Monitor,
    ) -> Result<Vec<S>, EngineError> {
        let count = planes.width() * planes.height();
        let (red, rest) = planes.values().split_at(count);
        let (green, blue) = rest.split_at(count);
        let mut samples = Vec::with_capacity(count * 4);
        for index in 0..count {
            if index % planes.width() == 0 {
                monitor.check_cancelled()?;
            }
            let colour = [red[index], green[index], blue[index]];
            match self.has_colour {
                true => samples.extend(colour.map(S::nearest)),
                false => samples.push(S::nearest(colour.iter().sum::<f32>() / 3.0)),
            }
            samples.extend(opacity.and_then(|opacity| opacity.get(index)));
        }
        Ok(samples)
    }
}

fn filled<P: Pixel>(
    (width, height): (usize, usize),
    samples: Vec<P::Subpixel>,
) -> Option<ImageBuffer<P, Vec<P::Subpixel>>> {
    ImageBuffer::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, samples)
}

/// Returns the opacity of a picture as a gray one; `None` if it has none.
pub(super) fn opacity(image: &DynamicImage) -> Option<DynamicImage> {
    let (width, height) = (image.width(), image.height());
    let shallow = |samples: &[u8], channels: usize| {
        let samples = samples.iter().skip(channels - 1).step_by(channels).copied().collect();
        GrayImage::from_raw(width, height, samples).map(DynamicImage::from)
    };
    let deep = |samples: &[u16], channels: usize| {
        let samples: Vec<u16> = samples.iter().skip(channels - 1).step_by(channels).copied().collect();
        ImageBuffer::<Luma<u16>, _>::from_raw(width, height, samples).map(DynamicImage::from)
    };
    match image {
        DynamicImage::ImageLumaA8(pixels) => shallow(pixels.as_raw(), 2),
        DynamicImage::ImageRgba8(pixels) => shallow(pixels.as_raw(), 4),
        DynamicImage::ImageLumaA16(pixels) => deep(pixels.as_raw(), 2),
        DynamicImage::ImageRgba16(pixels) => deep(pixels.as_raw(), 4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_becomes_one_of_the_same_kind() {
        let planes = || Planes::new(3, 2, 1, vec![0.0, 1.0, 0.5, 1.0, 1.0, 1.0]).unwrap();
        for image in [
            DynamicImage::new_luma8(2, 1),
            DynamicImage::new_luma_a8(2, 1),
            DynamicImage::new_rgb8(2, 1),
            DynamicImage::new_rgba8(2, 1),
            DynamicImage::new_luma16(2, 1),
            DynamicImage::new_luma_a16(2, 1),
            DynamicImage::new_rgb16(2, 1),
            DynamicImage::new_rgba16(2, 1),
        ] {
            let made = Join::of(&image).image(planes(), opacity(&image), &Monitor::new().0).unwrap();
            assert_eq!(made.color(), image.color());
            let first = if image.color().has_color() { [0.0, 0.5, 1.0] } else { [0.5; 3] };
            for (sample, level) in made.to_rgb16().get_pixel(0, 0).0.iter().zip(first) {
                assert!((f32::from(*sample) / 65_535.0 - level).abs() < 0.003, "{:?}: {sample}", image.color());
            }
            let opacity = made.to_rgba8().get_pixel(0, 0).0[3];
            assert_eq!(opacity, if image.color().has_alpha() { 0 } else { 255 });
        }
    }

    #[test]
    fn planes_of_another_number_are_an_error() {
        let planes = Planes::new(1, 2, 1, vec![0.0; 2]).unwrap();
        assert!(Join { is_deep: false, has_colour: true }.image(planes, None, &Monitor::new().0).is_err());
    }
}
