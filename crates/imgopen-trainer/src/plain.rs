//! Writes training pictures again that the trainer would read wrongly.
//!
//! sd-scripts reads the numbers in a file by Pillow's `convert("RGB")`. It does not read how EXIF data says to turn them, nor any
//! colour space, takes CMYK without its profile, and makes white of most gray of 16 bits. It finds PNG, JPEG, WebP and BMP files.

use image::DynamicImage;
use imgopen_engine::{EngineError, Format, Input, Monitor, PictureLimits};
use imgopen_picture::{
    Attached, InputError, decode_input, encode, has_color_space, has_plain_pixels, is_upright, to_srgb,
};
use tokio::task::spawn_blocking;

/// Returns the picture as the trainer reads it rightly. A file of which that is true is not changed. One that is only to be
/// turned keeps its format; others become PNG files with 8 bits in sRGB.
pub(crate) async fn plain(input: Input, limits: &PictureLimits, monitor: &Monitor) -> Result<Input, EngineError> {
    let bytes = &input.bytes;
    if has_plain_pixels(bytes) && is_upright(bytes) && !has_color_space(bytes) {
        return Ok(input);
    }
    let (limits, monitor) = (*limits, monitor.clone());
    let written = spawn_blocking(move || write(input, &limits, &monitor)).await;
    written.unwrap_or_else(|error| Err(EngineError::Failed(error.to_string())))
}

fn write(input: Input, limits: &PictureLimits, monitor: &Monitor) -> Result<Input, EngineError> {
    let mut decoded = decode_input(&input, limits, monitor)?;
    let (profile, chroma) = (decoded.profile.clone(), decoded.header.chroma);
    let is_same = !to_srgb(&mut decoded) && has_plain_pixels(&input.bytes);
    let format = decoded.header.format.as_format().filter(|_| is_same);
    if format.is_some() && is_upright(&input.bytes) {
        return Ok(input);
    }
    let written = match format {
        Some(format) => {
            let attached = Attached { profile: profile.as_deref(), chroma, ..Attached::default() };
            encode(&decoded.image, format, &attached)
        }
        None => encode(&shallow(decoded.image), Format::Png, &Attached::default()),
    };
    let bytes =
        written.map_err(|error| InputError::new(&input, format!("cannot be written for the trainer: {error}")))?;
    Ok(Input { bytes, ..input })
}

/// Returns a picture with 8 bits.
fn shallow(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma16(_) => image.into_luma8().into(),
        DynamicImage::ImageLumaA16(_) => image.into_luma_alpha8().into(),
        DynamicImage::ImageRgb16(_) => image.into_rgb8().into(),
        DynamicImage::ImageRgba16(_) => image.into_rgba8().into(),
        shallow => shallow,
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Luma, Rgb, RgbImage};

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
            let stored = plain(given.clone(), &PictureLimits::default(), &Monitor::new().0).await.unwrap();
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
        let error = plain(photograph(6), &limits, &Monitor::new().0).await.unwrap_err();
        let expected = "`fileUrlList[0]`: the picture at https://example.com/1 is 64x32 pixels; at most 100";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[tokio::test]
    async fn a_cancelled_job_turns_no_more_pictures() {
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        let result = plain(photograph(6), &PictureLimits::default(), &monitor).await;
        assert_eq!(result.unwrap_err(), EngineError::Cancelled);
    }

    fn file(bytes: &[u8]) -> Input {
        let bytes = bytes.to_vec().into();
        Input { field: "fileUrlList[0]".to_owned(), url: "https://example.com/1".to_owned(), bytes }
    }

    fn png(image: &DynamicImage, profile: Option<&[u8]>) -> Input {
        file(&encode(image, Format::Png, &Attached { profile, ..Attached::default() }).unwrap())
    }

    /// Returns what the trainer gets, if that is not the file itself, by a reader without colour spaces.
    async fn written(given: &Input) -> Option<DynamicImage> {
        let stored = plain(given.clone(), &PictureLimits::default(), &Monitor::new().0).await.unwrap();
        assert!(stored == *given || stored.bytes.starts_with(b"\x89PNG"));
        (stored != *given).then(|| image::load_from_memory(&stored.bytes).unwrap())
    }

    /// The PNG file beside it is what Little CMS makes of it.
    #[tokio::test]
    async fn cmyk_becomes_srgb_by_its_profile() {
        let image = written(&file(include_bytes!("../tests/data/cmyk-profile.jpg"))).await.unwrap().into_rgb8();
        let expected = image::load_from_memory(include_bytes!("../tests/data/cmyk-profile.png")).unwrap().into_rgb8();
        assert_eq!(image.dimensions(), expected.dimensions());
        let sum: u32 = image.iter().zip(expected.iter()).map(|(one, other)| u32::from(one.abs_diff(*other))).sum();
        assert!(sum < image.len() as u32, "{sum} for {}", image.len());
    }

    /// Pillow makes white of everything above 255.
    #[tokio::test]
    async fn gray_of_sixteen_bits_keeps_its_shades() {
        let deep: DynamicImage = ImageBuffer::from_fn(4, 1, |x, _| Luma([x as u16 * 16_448])).into();
        assert_eq!(written(&png(&deep, None)).await.unwrap().as_bytes(), [0, 64, 128, 192]);
        let coloured: DynamicImage = ImageBuffer::from_fn(4, 1, |x, _| Rgb([x as u16 * 16_448; 3])).into();
        assert_eq!(written(&png(&coloured, None)).await, None);
    }

    /// The red of sRGB in Display P3, by CSS Color 4: `color(display-p3 0.9175 0.2003 0.1386)`.
    #[tokio::test]
    async fn colours_of_another_space_become_srgb_and_others_stay() {
        let image: DynamicImage = RgbImage::from_pixel(2, 2, Rgb([234, 51, 35])).into();
        let profile: &[u8] = include_bytes!("../tests/data/display-p3.icc");
        let red = written(&png(&image, Some(profile))).await.unwrap().into_rgb8().get_pixel(0, 0).0;
        assert!(red.iter().zip([255, 0, 0]).all(|(found, expected)| found.abs_diff(expected) <= 3), "{red:?}");
        assert_eq!(written(&png(&image, None)).await, None);
    }

    /// Red, and a transparent pixel beside it, by Pillow 13.0.
    #[tokio::test]
    async fn formats_that_the_trainer_does_not_find_become_png() {
        let gif = b"GIF89a\x02\0\x01\0\x80\0\0\xff\0\0\0\0\0\x21\xf9\x04\x01\0\0\x01\0\x2c\0\0\0\0\x02\0\x01\0\0\
            \x02\x02\x44\x0a\0\x3b";
        let image = written(&file(gif)).await.unwrap();
        assert_eq!(image.as_bytes(), [255, 0, 0, 255, 0, 0, 0, 0]);
    }
}
