//! Puts notes into finished PNG files, and reads them.

use bytes::Bytes;
use png::text_metadata::{EncodableTextChunk, ITXtChunk};

use crate::carried::text;
use crate::header;

/// The keyword of the text that holds the notes, beside `parameters` and `postprocessing`.
const KEYWORD: &str = "notes";

/// Returns a PNG file with notes in its text `notes`, for people who look at the picture long after the task. The
/// pixels and all other texts stay as they are. The file is returned in parts, which share the memory of the one that
/// is given. `None` for files of other formats, and for PNG files without pixels.
///
/// ```
/// use image::DynamicImage;
/// use imgopen_picture::{Format, encode, notes, with_notes};
///
/// let file = encode(&DynamicImage::new_rgb8(30, 20), Format::Png, &Default::default())?;
/// let noted = with_notes(&file, "made by an upscaler").unwrap().concat();
/// assert_eq!(notes(&noted).as_deref(), Some("made by an upscaler"));
/// assert_eq!(with_notes(&"no picture".into(), "made by an upscaler"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_notes(file: &Bytes, notes: &str) -> Option<[Bytes; 3]> {
    let pixels = header::png_pixels(file)?;
    let mut chunk = Vec::new();
    ITXtChunk::new(KEYWORD, notes).encode(&mut chunk).ok()?;
    Some([file.slice(..pixels), chunk.into(), file.slice(pixels..)])
}

/// Returns the notes in a PNG file. Those of earlier tasks, which the file carries on, come before them and are not returned.
pub fn notes(bytes: &[u8]) -> Option<String> {
    text::last(bytes, KEYWORD)
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;
    use imgopen_engine::PictureLimits;

    use super::*;
    use crate::{Attached, Format, decode, encode};

    #[test]
    fn pixels_and_other_texts_stay() {
        let image = DynamicImage::ImageRgb8(image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8, y as u8, 3])));
        let attached = Attached { parameters: Some("a cat 猫\nSteps: 20"), ..Attached::default() };
        let file = encode(&image, Format::Png, &attached).unwrap();
        let text = "`module`: `canny` was made by another preprocessor\nthe seed — 7 — is unverified";
        let noted = with_notes(&file, text).unwrap().concat();
        assert_eq!((notes(&noted).as_deref(), notes(&file)), (Some(text), None));
        let [noted_picture, picture] = [&noted[..], &file].map(|file| decode(file, &PictureLimits::default()).unwrap());
        assert_eq!((noted_picture.image, noted_picture.parameters), (picture.image, picture.parameters));
        // Readers that look no further than the pixels find them, with a checksum that is right.
        let reader = png::Decoder::new(std::io::Cursor::new(&noted)).read_info().unwrap();
        let found = &reader.info().utf8_text;
        assert!(found.iter().any(|chunk| chunk.keyword == KEYWORD && chunk.get_text().unwrap() == text), "{found:?}");
    }

    #[test]
    fn other_files_are_left_alone() {
        for format in [Format::Jpeg, Format::WebP] {
            let file = encode(&DynamicImage::new_rgb8(3, 2), format, &Attached::default()).unwrap();
            assert_eq!(with_notes(&file, "a note"), None, "{format}");
        }
        let file = encode(&DynamicImage::new_rgb8(3, 2), Format::Png, &Attached::default()).unwrap();
        let pixels = header::png_pixels(&file).unwrap();
        for end in 0..=pixels {
            assert_eq!(with_notes(&file.slice(..end), "a note"), None, "{end}");
        }
    }
}
