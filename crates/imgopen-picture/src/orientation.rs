//! How a file says that its pixels are to be turned.

use image::metadata::Orientation;

use crate::carried::Carried;
use crate::header;

/// Returns whether the pixels of a file are upright as they are stored. Otherwise its EXIF data, the page of a TIFF file, or XMP
/// where these say nothing, asks to turn or mirror them, which [`decode`](crate::decode) does, and many other programs do not.
///
/// ```
/// use image::DynamicImage;
/// use imgopen_picture::{Format, encode, is_upright};
///
/// let file = encode(&DynamicImage::new_rgb8(30, 20), Format::Jpeg, &Default::default())?;
/// assert!(is_upright(&file));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_upright(bytes: &[u8]) -> bool {
    orientation(bytes) == Orientation::NoTransforms
}

/// Returns the orientation that a file states.
fn orientation(bytes: &[u8]) -> Orientation {
    let header = header::read(bytes).ok();
    header.map_or(Orientation::NoTransforms, |(header, _)| Carried::read(bytes, header.format, false).orientation())
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::png::PngEncoder;
    use image::codecs::webp::WebPEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;

    /// EXIF data with one field, the orientation, in either byte order.
    fn data(orientation: u8, is_big: bool) -> Vec<u8> {
        match is_big {
            true => [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation], &[0; 6]].concat(),
            false => [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation], &[0; 7]].concat(),
        }
    }

    fn files(exif: &[u8]) -> [Vec<u8>; 3] {
        let [mut png, mut jpeg, mut webp] = [const { Vec::new() }; 3];
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&[0; 3], 1, 1, ExtendedColorType::Rgb8).unwrap();
        let mut encoder = JpegEncoder::new(&mut jpeg);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&[0; 3], 1, 1, ExtendedColorType::Rgb8).unwrap();
        let mut encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&[0; 3], 1, 1, ExtendedColorType::Rgb8).unwrap();
        [png, jpeg, webp]
    }

    #[test]
    fn the_orientation_is_found_in_every_format_and_byte_order() {
        for number in 1..=8 {
            for is_big in [false, true] {
                let data = data(number, is_big);
                // Under the name that begins it in JPEG files, too, which other formats do without.
                for file in files(&data).into_iter().chain(files(&[b"Exif\0\0", &data[..]].concat())) {
                    assert_eq!(orientation(&file).to_exif(), number);
                    assert_eq!(is_upright(&file), number == 1);
                }
            }
        }
        // Neither damaged data nor none at all turns anything.
        for file in files(b"MM") {
            assert!(is_upright(&file));
        }
        assert!(is_upright(b"no picture"));
    }
}
