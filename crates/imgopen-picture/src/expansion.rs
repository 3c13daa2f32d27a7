//! How large `outpaint` makes pictures, whichever engine paints them.

use image::{DynamicImage, ImageBuffer, Pixel, imageops};
use imgopen_engine::{EngineError, PictureLimits};

/// The longest side of an outpainted picture, in pixels, which is also that of input pictures.
pub const LONGEST_SIDE: u32 = u16::MAX as u32;

/// The most pictures of one request.
const MOST: u32 = 64;
/// The fields of the ratios of width and height.
const RATIOS: [&str; 2] = ["horizontalExpansionRatio", "verticalExpansionRatio"];

/// How a picture is extended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expansion {
    /// The new width as a multiple of the old one, from 1 to 4. No side may exceed [`LONGEST_SIDE`].
    pub horizontal: f64,
    /// The new height as a multiple of the old one, from 1 to 4.
    pub vertical: f64,
    /// The number of pictures to make, from 1 to 64.
    pub count: u32,
    /// The seed of the first picture; further ones count up.
    pub seed: i64,
}

impl Expansion {
    fn ratios(&self) -> [(&'static str, f64); 2] {
        [(RATIOS[0], self.horizontal), (RATIOS[1], self.vertical)]
    }

    /// Checks ratios and count.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field that is out of range.
    pub fn check(&self) -> Result<(), EngineError> {
        for (field, ratio) in self.ratios() {
            if !(1.0..=4.0).contains(&ratio) {
                return Err(EngineError::rejected(field, format!("{ratio} given, a number from 1 to 4 expected")));
            }
        }
        if !(1..=MOST).contains(&self.count) {
            let problem = format!("{} given, a whole number from 1 to {MOST} expected", self.count);
            return Err(EngineError::rejected("imageCount", problem));
        }
        Ok(())
    }

    /// Returns the new size, if it is allowed for that number of pictures.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field that asks for too many pixels.
    pub fn size(&self, (width, height): (u32, u32), limits: &PictureLimits) -> Result<(u32, u32), EngineError> {
        let grown = |side: u32, ratio: f64| (f64::from(side) * ratio).round();
        let (wide, high) = (grown(width, self.horizontal), grown(height, self.vertical));
        for ((field, ratio), (before, side)) in self.ratios().into_iter().zip([(width, wide), (height, high)]) {
            if side > f64::from(LONGEST_SIDE) {
                return Err(too_long(field, ratio, before, side));
            }
        }
        let limit = limits.pixels;
        if wide * high > limit as f64 {
            let (field, ratio) = self.larger();
            let problem = format!(
                "{ratio} given, which with the other ratio makes {wide}x{high} pixels out of {width}x{height}; at most \
                 {limit} pixels in all are allowed"
            );
            return Err(EngineError::rejected(field, problem));
        }
        let most = (limit as f64 / (wide * high)).floor();
        if f64::from(self.count) > most {
            let count = self.count;
            let problem = format!(
                "{count} given, which makes {count} pictures of {wide}x{high} pixels; at most {limit} pixels in all \
                 are allowed, so give at most {most}"
            );
            return Err(EngineError::rejected("imageCount", problem));
        }
        Ok((wide as u32, high as u32))
    }

    /// Returns where the picture lies in the middle of one of the new size: the column and row of its first pixel.
    #[must_use]
    pub fn corner((width, height): (u32, u32), (wide, high): (u32, u32)) -> (u32, u32) {
        ((wide - width) / 2, (high - height) / 2)
    }

    /// Returns the field of the larger ratio, with the ratio.
    #[must_use]
    pub fn larger(&self) -> (&'static str, f64) {
        let [horizontal, vertical] = self.ratios();
        if vertical.1 > horizontal.1 { vertical } else { horizontal }
    }
}

/// Returns a picture of that size with this one in the middle, as [`Expansion::corner`] says. The rest is black, or
/// transparent where the picture can be. Depth and channels stay.
#[must_use]
pub fn centred(image: &DynamicImage, size: (u32, u32)) -> DynamicImage {
    use DynamicImage::*;
    match image {
        ImageLuma8(image) => middle(image, size).into(),
        ImageLumaA8(image) => middle(image, size).into(),
        ImageRgb8(image) => middle(image, size).into(),
        ImageRgba8(image) => middle(image, size).into(),
        ImageLuma16(image) => middle(image, size).into(),
        ImageLumaA16(image) => middle(image, size).into(),
        ImageRgb16(image) => middle(image, size).into(),
        ImageRgba16(image) => middle(image, size).into(),
        // Pictures that were read are of the kinds above.
        other => middle(&other.to_rgba16(), size).into(),
    }
}

fn middle<P: Pixel>(source: &ImageBuffer<P, Vec<P::Subpixel>>, size: (u32, u32)) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let mut larger = ImageBuffer::new(size.0, size.1);
    let (left, top) = Expansion::corner(source.dimensions(), size);
    imageops::replace(&mut larger, source, left.into(), top.into());
    larger
}

/// Rejects a side that would be too long.
fn too_long(field: &str, ratio: f64, before: u32, side: f64) -> EngineError {
    let most = (f64::from(LONGEST_SIDE) / f64::from(before) * 1000.0).floor() / 1000.0;
    let problem = format!(
        "{ratio} given, which makes a side of {side} pixels out of {before}; a side has at most {LONGEST_SIDE}, so give \
         at most {most}"
    );
    EngineError::rejected(field, problem)
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, LumaA};

    use super::*;

    #[test]
    fn a_picture_lies_in_the_middle_of_a_larger_one_of_its_kind() {
        let deep: DynamicImage = ImageBuffer::from_pixel(2, 1, Luma([40_000_u16])).into();
        let DynamicImage::ImageLuma16(larger) = centred(&deep, (5, 2)) else { panic!("the kind changed") };
        assert_eq!(larger.into_raw(), [0, 40_000, 40_000, 0, 0, 0, 0, 0, 0, 0]);
        let clear: DynamicImage = ImageBuffer::from_pixel(1, 1, LumaA([7_u8, 255])).into();
        assert_eq!(centred(&clear, (1, 3)).as_bytes(), [0, 0, 7, 255, 0, 0]);
        assert_eq!(centred(&clear, (1, 1)), clear);
    }
}
