//! Puts a description into finished files, without decoding them.

use bytes::Bytes;
use png::text_metadata::{EncodableTextChunk, ITXtChunk};

use crate::carried;
use crate::file_format::FileFormat;
use crate::header;
use crate::jpeg_markers as markers;

/// The beginning of a PNG file up to the end of its header.
const PNG_START: usize = 33;
const APP1: u8 = 0xe1;
/// The name of EXIF data in a JPEG file, and the most bytes that are behind it.
const NAME: &[u8] = b"Exif\0\0";
const MOST: usize = 65_535 - 2 - NAME.len();
const SCAN: u8 = 0xda;

/// Returns a file with a description, where [`description`](crate::description) finds it first: in the text `Description` of a
/// PNG file, in EXIF's ImageDescription of others. Pixels, colour profiles and all else stay as they are; only if a JPEG file has no
/// room for both, other EXIF data is left out but for the orientation. `None` for files of formats that are not written, and if a
/// JPEG file has no room for the text, of some 65,000 bytes.
///
/// ```
/// use image::DynamicImage;
/// use imgopen_picture::{Format, description, encode, with_description};
///
/// let file = encode(&DynamicImage::new_rgb8(30, 20), Format::Jpeg, &Default::default())?;
/// let described = with_description(&file, "a cat on a mat").unwrap();
/// assert_eq!(description(&described).as_deref(), Some("a cat on a mat"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_description(file: &[u8], text: &str) -> Option<Bytes> {
    let (header, _) = header::read(file).ok()?;
    let text = text.replace('\0', " ");
    let described = match header.format {
        FileFormat::Png => png(file, &text),
        FileFormat::Jpeg => jpeg(file, &carried::described(file, &text, MOST)),
        FileFormat::WebP => {
            let exif = carried::described(file, &text, usize::MAX);
            carried::with_webp_exif(file, (header.width, header.height), &exif)
        }
        FileFormat::Gif | FileFormat::Bmp | FileFormat::Tiff => None,
    };
    described.map(Bytes::from)
}

fn png(file: &[u8], text: &str) -> Option<Vec<u8>> {
    let (start, rest) = file.split_at_checked(PNG_START)?;
    let mut described = start.to_vec();
    ITXtChunk::new("Description", text).encode(&mut described).ok()?;
    described.extend(rest);
    Some(described)
}

fn jpeg(file: &[u8], exif: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(2 + NAME.len() + exif.len()).ok()?;
    let mut described = [&[0xff, 0xd8, 0xff, APP1][..], &length.to_be_bytes(), NAME, exif].concat();
    let mut rest = file.get(2..)?;
    loop {
        let (marker, after) = markers::next(rest)?;
        if marker == SCAN {
            described.extend(rest);
            return Some(described);
        }
        let (body, after) = markers::body_of(marker, after)?;
        if !(marker == APP1 && body.starts_with(NAME)) {
            described.extend(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{DynamicImage, ExtendedColorType, ImageEncoder, Rgba, RgbaImage};
    use imgopen_engine::PictureLimits;

    use super::*;
    use crate::{Attached, Format, decode, description, encode, is_upright};

    fn picture() -> DynamicImage {
        RgbaImage::from_fn(9, 7, |x, y| Rgba([x as u8 * 20, y as u8 * 30, 3, 255 - x as u8])).into()
    }

    #[test]
    fn pixels_profiles_and_transparency_stay() {
        let limits = PictureLimits::default();
        let profile = [&[0; 16][..], b"RGB ", &[0; 108]].concat();
        for format in [Format::Png, Format::Jpeg, Format::WebP] {
            for profile in [None, Some(&profile[..])] {
                // With and without EXIF data of its own, and with and without transparency.
                for (image, parameters) in [(picture(), None), (picture().into_rgb8().into(), Some("a dog\nSteps: 20"))]
                {
                    let attached = Attached { profile, parameters, ..Attached::default() };
                    let file = encode(&image, format, &attached).unwrap();
                    let described = with_description(&file, "a cat — 猫").unwrap();
                    let again = with_description(&described, "another cat").unwrap();
                    let [before, after, last] = [&file, &described, &again].map(|file| decode(file, &limits).unwrap());
                    assert_eq!((&after.image, &after.profile), (&before.image, &before.profile), "{format}");
                    assert_eq!((&last.image, &last.profile), (&before.image, &before.profile), "{format}");
                    assert_eq!(description(&described).as_deref(), Some("a cat — 猫"), "{format}");
                    assert_eq!(description(&again).as_deref(), Some("another cat"), "{format}");
                }
            }
        }
    }

    #[test]
    fn markers_without_a_body_stay() {
        let file = encode(&picture(), Format::Jpeg, &Attached { parameters: Some("Steps: 20"), ..Attached::default() });
        let file = file.unwrap();
        let marked = [&file[..2], b"\xff\x01\xff\xd0", &file[2..]].concat();
        let described = with_description(&marked, "a cat").unwrap();
        assert_eq!(description(&described).as_deref(), Some("a cat"));
        let count = described.windows(NAME.len()).filter(|window| *window == NAME).count();
        assert!(count == 1 && described.windows(4).any(|window| window == b"\xff\x01\xff\xd0"), "{count}");
    }

    #[test]
    fn animations_and_unknown_chunks_stay() {
        // Extended, animated, 9x7; its background, a frame, and something else of odd length.
        let before = b"VP8X\x0a\0\0\0\x02\0\0\0\x08\0\0\x06\0\0";
        let after = b"ANIM\x06\0\0\0\0\0\0\0\0\0ANMF\x04\0\0\0abcdodd \x03\0\0\0xyz\0";
        let file = [&b"RIFF\x3e\0\0\0WEBP"[..], before, b"EXIF\x02\0\0\0MM", after].concat();
        let described = with_description(&file, "a cat").unwrap();
        assert_eq!(described[4..8], (described.len() as u32 - 8).to_le_bytes());
        // Animated, and with EXIF data.
        let before = b"WEBPVP8X\x0a\0\0\0\x0a\0\0\0\x08\0\0\x06\0\0";
        assert!(described[8..].starts_with(&[&before[..], after, b"EXIF"].concat()), "{}", described.escape_ascii());
        assert_eq!(description(&described).as_deref(), Some("a cat"));
    }

    #[test]
    fn the_orientation_stays() {
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new(&mut file);
        let turned = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        encoder.set_exif_metadata(turned.to_vec()).unwrap();
        encoder.write_image(&[0; 6], 2, 1, ExtendedColorType::Rgb8).unwrap();
        let described = with_description(&file, "a cat").unwrap();
        assert!(!is_upright(&described));
        let image = decode(&described, &PictureLimits::default()).unwrap().image;
        assert_eq!((image.width(), image.height()), (1, 2));
    }

    #[test]
    fn what_cannot_hold_it_is_left_alone() {
        assert_eq!(with_description(b"no picture", "a cat"), None);
        let file = encode(&picture(), Format::Jpeg, &Attached::default()).unwrap();
        assert_eq!(with_description(&file, &"x".repeat(70_000)), None);
    }
}
