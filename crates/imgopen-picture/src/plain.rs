//! What readers miss that show the numbers of a file as they are, such as programs that train on pictures.

use crate::file_format::FileFormat;
use crate::header::{self, png_chunks, webp_chunks};
use crate::jpeg_outline::{self, Colors};

/// Returns whether plain readers get the pixels of a file right, but for their colour space and orientation: it is a PNG, JPEG or
/// WebP file, not in CMYK, and not gray with 16 bits, which Pillow cuts off above 255.
///
/// ```
/// use image::DynamicImage;
/// use imgopen_picture::{Format, encode, has_plain_pixels};
///
/// let [shallow, deep] = [DynamicImage::new_luma8(3, 2), DynamicImage::new_luma16(3, 2)];
/// assert!(has_plain_pixels(&encode(&shallow, Format::Png, &Default::default())?));
/// assert!(!has_plain_pixels(&encode(&deep, Format::Png, &Default::default())?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn has_plain_pixels(bytes: &[u8]) -> bool {
    const DEEP_GRAY: &[u8] = &[16, 0];
    let Ok((header, _)) = header::read(bytes) else { return false };
    match header.format {
        FileFormat::Png => !png_chunks(bytes).any(|(kind, body)| kind == b"IHDR" && body.get(8..10) == Some(DEEP_GRAY)),
        FileFormat::Jpeg => jpeg_outline::read(bytes)
            .is_ok_and(|outline| matches!(outline.colors, Colors::Gray | Colors::Rgb | Colors::YCbCr)),
        FileFormat::WebP => true,
        FileFormat::Gif | FileFormat::Bmp | FileFormat::Tiff => false,
    }
}

/// Returns whether a PNG, JPEG or WebP file says what its colours are, by a profile or by chunks of PNG.
/// [`to_srgb`](crate::to_srgb) finds out whether that is something else than sRGB.
pub fn has_color_space(bytes: &[u8]) -> bool {
    const CHUNKS: [&[u8; 4]; 4] = [b"iCCP", b"gAMA", b"cHRM", b"cICP"];
    let Ok((header, _)) = header::read(bytes) else { return false };
    match header.format {
        FileFormat::Png => png_chunks(bytes).any(|(kind, _)| CHUNKS.iter().any(|name| kind == *name)),
        FileFormat::Jpeg => jpeg_outline::read(bytes).is_ok_and(|outline| outline.profile().is_some()),
        FileFormat::WebP => webp_chunks(bytes).any(|(kind, _)| kind == b"ICCP"),
        FileFormat::Gif | FileFormat::Bmp | FileFormat::Tiff => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use image::DynamicImage;
    use imgopen_engine::Format;

    use super::*;
    use crate::{Attached, encode};

    fn written(image: &DynamicImage, format: Format, profile: Option<&[u8]>) -> Bytes {
        encode(image, format, &Attached { profile, ..Attached::default() }).unwrap()
    }

    #[test]
    fn a_profile_is_found_in_every_format() {
        let profile = [&[0; 16][..], b"RGB ", &[0; 108]].concat();
        for format in Format::ALL {
            for profile in [None, Some(&profile[..])] {
                let file = written(&DynamicImage::new_rgb8(3, 2), format, profile);
                assert_eq!(has_color_space(&file), profile.is_some(), "{format}");
                assert!(has_plain_pixels(&file), "{format}");
            }
        }
        assert!(!has_color_space(b"no picture") && !has_plain_pixels(b"no picture"));
    }

    #[test]
    fn cmyk_and_deep_gray_are_not_plain() {
        assert!(!has_plain_pixels(include_bytes!("../tests/data/jpeg/cmyk.jpg")));
        assert!(!has_plain_pixels(include_bytes!("../tests/data/jpeg/ycck.jpg")));
        for (image, is_plain) in [
            (DynamicImage::new_luma16(3, 2), false),
            (DynamicImage::new_luma_a16(3, 2), true),
            (DynamicImage::new_rgb16(3, 2), true),
            (DynamicImage::new_rgba8(3, 2), true),
        ] {
            assert_eq!(has_plain_pixels(&written(&image, Format::Png, None)), is_plain, "{:?}", image.color());
        }
    }
}
