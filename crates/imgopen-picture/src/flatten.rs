//! Flattens pictures to 8 bits without transparency.

use image::{DynamicImage, GrayImage, RgbImage};

/// Converts a picture to 8 bits, gray or RGB, on white where it is transparent.
pub fn flatten(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_) => image,
        image => match (image.color().has_color(), image.color().has_alpha()) {
            (true, true) => {
                let (width, height, pixels) = (image.width(), image.height(), image.into_rgba8());
                let samples = pixels.as_chunks::<4>().0.iter().flat_map(|[r, g, b, a]| [*r, *g, *b].map(over(*a)));
                RgbImage::from_raw(width, height, samples.collect()).unwrap_or_default().into()
            }
            (false, true) => {
                let (width, height, pixels) = (image.width(), image.height(), image.into_luma_alpha8());
                let samples = pixels.as_chunks::<2>().0.iter().map(|[gray, a]| over(*a)(*gray));
                GrayImage::from_raw(width, height, samples.collect()).unwrap_or_default().into()
            }
            (true, false) => image.into_rgb8().into(),
            (false, false) => image.into_luma8().into(),
        },
    }
}

/// Composites samples of that opacity onto white.
fn over(alpha: u8) -> impl Fn(u8) -> u8 {
    let alpha = u32::from(alpha);
    move |sample| ((u32::from(sample) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use image::{LumaA, Rgba};

    use super::*;

    #[test]
    fn transparency_shows_white() {
        let image = image::RgbaImage::from_fn(3, 1, |x, _| Rgba([200, 0, 100, [0, 255, 51][x as usize]]));
        assert_eq!(flatten(image.into()).as_bytes(), [255, 255, 255, 200, 0, 100, 244, 204, 224]);
        let gray = image::ImageBuffer::from_fn(2, 1, |x, _| LumaA([0_u16, [0, 65535][x as usize]]));
        let flat = flatten(gray.into());
        assert_eq!((flat.as_bytes(), flat.color()), (&[255, 0][..], image::ColorType::L8));
    }

    #[test]
    fn sixteen_bits_are_rounded() {
        let image = image::ImageBuffer::from_pixel(1, 1, image::Luma([257_u16 * 7 + 128]));
        assert_eq!(flatten(image.into()).as_bytes(), [7]);
        let image = image::ImageBuffer::from_pixel(1, 1, image::Rgb([0_u16, 65535, 257 * 9 + 129]));
        assert_eq!(flatten(image.into()).as_bytes(), [0, 255, 10]);
    }
}
