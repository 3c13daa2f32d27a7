//! Reads the texts in picture files.

use exif::{In, Tag};

use crate::{header, user_comment};

/// Returns the description of the picture: the text `Description` of a PNG file, else the ImageDescription of its EXIF data.
/// The text is unchecked; it may be long or have several lines.
///
/// ```
/// use imgopen_picture::description;
///
/// assert_eq!(description(b"no picture"), None);
/// ```
pub fn description(bytes: &[u8]) -> Option<String> {
    header::text(bytes, b"Description").or_else(|| from_exif(bytes))
}

/// Returns how the picture was made, as the Stable Diffusion web UI writes it: lines with the prompt, the negative prompt and
/// the settings. Read from the text `parameters` of a PNG file, or else from EXIF's UserComment, if that contains `Steps:`,
/// because cameras write comments too.
pub fn parameters(bytes: &[u8]) -> Option<String> {
    let comment = || user_comment::comment(bytes).filter(|comment| comment.contains("Steps: "));
    header::text(bytes, b"parameters").or_else(comment)
}

/// Programs write UTF-8 where the standard asks for ASCII.
fn from_exif(bytes: &[u8]) -> Option<String> {
    match &user_comment::exif(bytes)?.get_field(Tag::ImageDescription, In::PRIMARY)?.value {
        exif::Value::Ascii(texts) => String::from_utf8(texts.first()?.clone()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::webp::WebPEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;

    /// EXIF data with one field, the description.
    fn exif(description: &[u8]) -> Vec<u8> {
        let mut data = b"II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0".to_vec();
        data.extend((description.len() as u32).to_le_bytes());
        data.extend(26_u32.to_le_bytes());
        data.extend([0; 4]);
        data.extend(description);
        data
    }

    fn png(exif: Option<&[u8]>, texts: &[(&str, &str)]) -> Vec<u8> {
        let mut info = png::Info::with_size(1, 1);
        info.exif_metadata = exif.map(Cow::Borrowed);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::with_info(&mut file, info).unwrap();
        for (keyword, text) in texts {
            match text.is_ascii() {
                true => encoder.add_text_chunk((*keyword).into(), (*text).into()).unwrap(),
                false => encoder.add_itxt_chunk((*keyword).into(), (*text).into()).unwrap(),
            }
        }
        encoder.write_header().unwrap().write_image_data(&[0]).unwrap();
        file
    }

    #[test]
    fn the_text_of_a_png_file_comes_first() {
        let both = png(Some(&exif(b"from EXIF\0")), &[("Title", "a title"), ("Description", "from the text")]);
        assert_eq!(description(&both).as_deref(), Some("from the text"));
        assert_eq!(description(&png(None, &[("Description", "ein Hündchen 犬")])).as_deref(), Some("ein Hündchen 犬"));
        assert_eq!(description(&png(None, &[("Comment", "no description")])), None);
        let file = png(None, &[("parameters", "a cat\nSteps: 20")]);
        assert_eq!((parameters(&file).as_deref(), description(&file)), (Some("a cat\nSteps: 20"), None));
    }

    #[test]
    fn exif_is_read_in_every_format() {
        let data = exif("a cat — 猫\0".as_bytes());
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new(&mut jpeg);
        encoder.set_exif_metadata(data.clone()).unwrap();
        encoder.write_image(&[0; 3], 1, 1, ExtendedColorType::Rgb8).unwrap();
        let mut webp = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(data.clone()).unwrap();
        encoder.write_image(&[0; 3], 1, 1, ExtendedColorType::Rgb8).unwrap();
        for file in [png(Some(&data), &[]), jpeg, webp] {
            assert_eq!(description(&file).as_deref(), Some("a cat — 猫"));
        }
    }

    #[test]
    fn comments_with_steps_are_parameters() {
        let with = |exif: &[u8]| parameters(&png(Some(exif), &[]));
        let made = "a cat — 猫\nSteps: 20, Sampler: Euler a";
        let data = user_comment::with_comment(made).unwrap();
        assert_eq!(with(&data).as_deref(), Some(made));
        // The lower byte first, and ASCII.
        let at = data.windows(8).position(|eight| eight == b"UNICODE\0").unwrap();
        let swapped: Vec<u8> = data[at + 8..].as_chunks::<2>().0.iter().flat_map(|[a, b]| [*b, *a]).collect();
        assert_eq!(with(&[&data[..at + 8], &swapped].concat()).as_deref(), Some(made));
        let mut ascii = user_comment::with_comment("Steps: 9, A").unwrap();
        ascii[at..at + 8].copy_from_slice(b"ASCII\0\0\0");
        ascii[at + 8..at + 30].copy_from_slice(b"a dog, Steps: 9, Seed ");
        assert_eq!(with(&ascii).as_deref(), Some("a dog, Steps: 9, Seed "));
        assert_eq!(with(&user_comment::with_comment("a picture of my cat").unwrap()), None);
    }

    #[test]
    fn damaged_exif_has_no_description() {
        let data = exif(b"a cat\0");
        for length in 0..data.len() {
            let said = description(&png(Some(&data[..length]), &[]));
            assert!(said.is_none() || said.as_deref() == Some("a cat"), "{length}: {said:?}");
        }
        assert_eq!(description(&png(Some(&exif(b"\xff\xfe\xff\xfe\0")), &[])), None);
    }
}
