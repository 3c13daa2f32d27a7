//! Reads the texts in picture files.

use crate::carried::{self, Carried, text};
use crate::header;

/// Returns the description of the picture: the text `Description` of a PNG file, else the ImageDescription of its EXIF data.
/// The text is unchecked; it may be long or have several lines.
///
/// ```
/// use imgopen_picture::description;
///
/// assert_eq!(description(b"no picture"), None);
/// ```
pub fn description(bytes: &[u8]) -> Option<String> {
    text::first(bytes, "Description").or_else(|| carried::description_of(&carried::exif(bytes)?))
}

/// Returns how the picture was made, as the Stable Diffusion web UI writes it: lines with the prompt, the negative prompt and
/// the settings. Read from the text `parameters` of a PNG file, or else from the first of these that contains `Steps:`, because
/// cameras and people write there too: EXIF's UserComment, the comments of JPEG and GIF files and the text `Comment`, and XMP's
/// `exif:UserComment`.
pub fn parameters(bytes: &[u8]) -> Option<String> {
    let (header, _) = header::read(bytes).ok()?;
    parameters_with(bytes, &Carried::read(bytes, header.format, false))
}

/// The same for a file of which what it carries is known.
pub(crate) fn parameters_with(bytes: &[u8], carried: &Carried) -> Option<String> {
    text::first(bytes, "parameters").or_else(|| carried.parameters())
}

/// Returns the graph that ComfyUI made the picture with, in JSON, as its API takes it. Read from the text `prompt` of a PNG
/// file, or else from the field of its EXIF data that begins with that word.
pub fn comfyui_prompt(bytes: &[u8]) -> Option<String> {
    text::first(bytes, "prompt").or_else(|| carried::comfyui_text(&carried::exif(bytes)?, "prompt"))
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

    /// Bytes as piexif 1.1.3 writes them: no pointer stands behind the second directory, but the comment.
    #[test]
    fn comments_with_steps_are_parameters() {
        let with = |comment: &[u8]| {
            let mut data = b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0".to_vec();
            data.extend(b"\0\x01\x92\x86\0\x07");
            data.extend((comment.len() as u32).to_be_bytes());
            data.extend(40_u32.to_be_bytes());
            data.extend(comment);
            parameters(&png(Some(&data), &[]))
        };
        assert_eq!(with(b"UNICODE\0\0S\0t\0e\0p\0s\0:\0 \x009").as_deref(), Some("Steps: 9"));
        assert_eq!(with(b"ASCII\0\0\0a dog, Steps: 9, Seed: 7").as_deref(), Some("a dog, Steps: 9, Seed: 7"));
        assert_eq!(with(b"ASCII\0\0\0a picture of my cat"), None);
    }

    #[test]
    fn the_graph_of_comfyui_is_found_in_texts_and_fields() {
        let graph = r#"{"3": {"class_type": "KSampler"}}"#;
        assert_eq!(comfyui_prompt(&png(None, &[("prompt", graph)])).as_deref(), Some(graph));
        for (field, found) in
            [(format!("prompt:{graph}\0"), true), (format!("Prompt: {graph}\0"), true), ("Canon\0".to_owned(), false)]
        {
            let file = png(Some(&exif(field.as_bytes())), &[]);
            assert_eq!(comfyui_prompt(&file).as_deref(), Some(graph).filter(|_| found), "{field}");
            assert_eq!(description(&file).is_some(), !found || field.starts_with("Prompt: "), "{field}");
        }
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
