//! Turns the pixels of training pictures upright: the trainer does not read how EXIF data says to turn them, so that a photograph
//! of a phone would be trained lying on its side.

use imgopen_engine::{EngineError, Input, PictureLimits};
use imgopen_picture::{Attached, InputError, decode, encode, is_upright};
use tokio::task::spawn_blocking;

/// Returns the picture with upright pixels, in its format. A file whose pixels are upright is not changed.
pub(crate) async fn upright(input: Input, limits: &PictureLimits) -> Result<Input, EngineError> {
    if is_upright(&input.bytes) {
        return Ok(input);
    }
    let limits = *limits;
    let turned = spawn_blocking(move || turn(input, &limits)).await;
    turned.unwrap_or_else(|error| Err(EngineError::Failed(error.to_string())))
}

fn turn(input: Input, limits: &PictureLimits) -> Result<Input, EngineError> {
    let decoded = decode(&input.bytes, limits).map_err(|problem| InputError::new(&input, problem))?;
    let (profile, chroma) = (decoded.profile.as_deref(), decoded.header.chroma);
    let attached = Attached { profile, chroma, ..Attached::default() };
    let bytes = encode(&decoded.image, decoded.header.format.written(), &attached);
    let bytes = bytes.map_err(|error| InputError::new(&input, format!("cannot be turned upright: {error}")))?;
    Ok(Input { bytes, ..input })
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};

    use super::*;

    /// A JPEG file that is white on the left and black on the right as it is stored.
    fn photograph(orientation: u8) -> Input {
        let picture = RgbImage::from_fn(64, 32, |x, _| if x < 32 { Rgb([255; 3]) } else { Rgb([0; 3]) });
        let exif = [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation], &[0; 7]].concat();
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new(&mut file);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&picture, 64, 32, ExtendedColorType::Rgb8).unwrap();
        Input { field: "fileUrlList[0]".to_owned(), url: "https://example.com/1".to_owned(), bytes: file.into() }
    }

    /// What a reader sees that does not know about orientations: the size, and where it is white.
    #[tokio::test]
    async fn the_pixels_are_as_a_viewer_shows_them() {
        for (orientation, size, white, black) in [
            (1, (64, 32), (5, 16), (58, 16)),
            (2, (64, 32), (58, 16), (5, 16)),
            (3, (64, 32), (58, 16), (5, 16)),
            (6, (32, 64), (16, 5), (16, 58)),
            (8, (32, 64), (16, 58), (16, 5)),
        ] {
            let given = photograph(orientation);
            let stored = upright(given.clone(), &PictureLimits::default()).await.unwrap();
            assert_eq!(stored == given, orientation == 1);
            assert!(is_upright(&stored.bytes));
            let seen = image::load_from_memory(&stored.bytes).unwrap().to_rgb8();
            let light = |(x, y): (u32, u32)| seen.get_pixel(x, y).0[0];
            assert_eq!(seen.dimensions(), size, "{orientation}");
            assert!(light(white) > 200 && light(black) < 50, "{orientation}");
        }
    }

    #[tokio::test]
    async fn a_picture_that_cannot_be_turned_is_named() {
        let limits = PictureLimits { pixels: 100, ..PictureLimits::default() };
        let error = upright(photograph(6), &limits).await.unwrap_err();
        let expected = "`fileUrlList[0]`: the picture at https://example.com/1 is 64x32 pixels; at most 100";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
