//! Valid pictures of every kind are read correctly, and every kind of invalid one is rejected before it does harm.
#![allow(clippy::unwrap_used)]

mod support;

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, Rgba};
use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::{
    Attached, FileFormat, Format, PictureLimits, Problem, decode, decode_input, description, encode, inspect,
    parameters,
};
use proptest::prelude::*;

use support::{URL, file, input, photo, png_with, zeros};

const LIMITS: PictureLimits = PictureLimits { bytes: 1 << 25, pixels: 64_000_000, frames: 1, location: false };

#[test]
fn files_that_are_not_pictures_are_named() {
    for (bytes, problem) in [
        (&b""[..], "is an empty file"),
        (b"\x01\x02\x03", "is not a picture in a known format; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"hello, world", "is a text file; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"II+\0\x08\0\0\0", "is a TIFF file (BigTIFF); give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"II*\0\x10\0\0\0CR\x02\0", "is a raw photograph (CR2); give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"\0\0\0\x20ftypavif....", "is an AVIF file; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"\0\0\0\x20ftypheic....", "is a HEIC file; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"%PDF-1.7", "is a PDF file; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"\n <!DOCTYPE HTML><html>", "is an HTML page; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"<svg xmlns=", "is an SVG file; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
        (b"RIFF\x04\0\0\0WAVE", "is a sound (WAV) file; give a PNG, JPEG, WebP, GIF, BMP or TIFF file"),
    ] {
        assert_eq!(decode(bytes, &LIMITS).unwrap_err().to_string(), problem);
    }
}

#[test]
fn an_input_is_named_by_field_and_address_with_the_limit() {
    let limits = PictureLimits { bytes: 3, ..LIMITS };
    let error = decode_input(&input(&b"GIF89a"[..]), &limits, &Monitor::new().0).unwrap_err();
    let expected = format!("`sourceImage`: the picture at {URL} has 6 bytes; at most 3 are allowed");
    assert_eq!(error.to_string(), expected);
}

/// Decoders get files in parts.
#[test]
fn a_cancelled_job_is_decoded_no_further() {
    let mut random = fastrand::Rng::with_seed(5);
    let noise: DynamicImage = image::RgbImage::from_fn(800, 600, |_, _| Rgb([(); 3].map(|()| random.u8(..)))).into();
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg, ImageFormat::Bmp] {
        let input = input(file(&noise, format));
        let counted = |last| {
            let (monitor, _, checks) = Monitor::counted(last);
            (decode_input(&input, &LIMITS, &monitor), checks.count())
        };
        let (decoded, count) = counted(u64::MAX);
        assert_eq!(decoded.unwrap().image.width(), 800);
        assert!(count > 5, "{format:?}: {count}");
        for last in [1, count / 2, count] {
            let (decoded, looked) = counted(last);
            assert_eq!(decoded, Err(EngineError::Cancelled), "{format:?}: {last} of {count}");
            // Metadata that cannot be read does not end the work.
            assert!(looked <= last + 8, "{format:?}: {looked} of {last}");
        }
    }
}

#[test]
fn a_bomb_is_rejected_by_its_header() {
    let bomb = png_with(60_000, 60_000, &[(b"IDAT", &zeros(1 << 20))]);
    assert_eq!(
        decode(&bomb, &LIMITS).unwrap_err().to_string(),
        "is 60000x60000 pixels; at most 64000000 pixels in all are allowed"
    );
    let long = png_with(65_536, 1, &[]);
    assert_eq!(
        decode(&long, &LIMITS).unwrap_err().to_string(),
        "is 65536x1 pixels; at most 65535 on a side are allowed"
    );
    for (width, height) in [(60_000, 1070), (8001, 8000)] {
        let bomb = png_with(width, height, &[]);
        assert_eq!(decode(&bomb, &LIMITS), Err(Problem::TooManyPixels { width, height, limit: LIMITS.pixels }));
    }
    let mut jpeg = file(&photo(8, 8), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    assert!(matches!(decode(&jpeg, &LIMITS), Err(Problem::TooManyPixels { width: 65535, height: 65535, .. })));
    let mut webp = file(&photo(8, 8), ImageFormat::WebP);
    let lossless = webp.windows(4).position(|word| word == b"VP8L").unwrap();
    webp[lossless + 9..lossless + 13].fill(0xff);
    assert!(matches!(decode(&webp, &LIMITS), Err(Problem::TooManyPixels { width: 16384, .. })));
}

#[test]
fn a_picture_without_pixels_is_rejected() {
    assert_eq!(decode(&png_with(0, 5, &[]), &LIMITS), Err(Problem::NoPixels { width: 0, height: 5 }));
    let mut jpeg = file(&photo(8, 8), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 7].fill(0);
    assert_eq!(decode(&jpeg, &LIMITS), Err(Problem::NoPixels { width: 8, height: 0 }));
}

#[test]
fn a_file_truncated_anywhere_is_rejected() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let whole = file(&photo(40, 30), format);
        assert!(decode(&whole, &LIMITS).is_ok());
        // A JPEG file needs no end marker.
        let least = whole.len() - if format == ImageFormat::Jpeg { 2 } else { 0 };
        for end in 0..least {
            assert!(decode(&whole[..end], &LIMITS).is_err(), "{format:?} cut at {end} of {}", whole.len());
        }
        let problem = decode(&whole[..whole.len() / 2], &LIMITS).unwrap_err().to_string();
        assert!(problem.contains("file that ends too early"), "{problem}");
    }
}

#[test]
fn what_follows_a_picture_does_not_matter() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let mut bytes = file(&photo(40, 30), format);
        bytes.extend(b"trailing");
        assert!(decode(&bytes, &LIMITS).is_ok(), "{format:?}");
    }
}

#[test]
fn damaged_and_truncated_files_are_distinguished() {
    let mut bytes = file(&photo(40, 30), ImageFormat::Png);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let problem = decode(&bytes, &LIMITS).unwrap_err();
    assert!(matches!(problem, Problem::Damaged(FileFormat::Png, _)), "{problem}");
}

/// The rules are those of the standard of PNG: section 11.2.1 has the values of the header, and section 5.4 says that capital
/// letters begin the names of chunks that no decoder may pass over.
#[test]
fn what_is_wrong_with_a_png_file_is_said_in_plain_words() {
    let whole = support::small_png(&[]);
    let changed = |at: usize, value: u8| {
        let mut file = whole.clone();
        file[at] = value;
        let mut sum = flate2::Crc::new();
        sum.update(&file[12..29]);
        file[29..33].copy_from_slice(&sum.sum().to_be_bytes());
        file
    };
    let mut flipped = whole.clone();
    let pixels = flipped.windows(4).position(|word| word == b"IDAT").unwrap() + 6;
    flipped[pixels] ^= 0xff;
    let again = "get it again from its source, or save it again";
    let end = "which is not supported; save it again as PNG or JPEG";
    let xcode = png_with(2, 2, &[(b"CgBI", &[0x50, 0, 0x20, 6])]);
    for (file, problem) in [
        (
            changed(24, 7),
            format!(
                "is a damaged PNG file: its header gives 7 bits for the colour type 2, which has no such depth; {again}"
            ),
        ),
        (
            changed(25, 5),
            format!(
                "is a damaged PNG file: its header gives 8 bits for the colour type 5, which has no such depth; {again}"
            ),
        ),
        (changed(25, 3), format!("is a damaged PNG file: it has no palette (`PLTE`); {again}")),
        (changed(26, 1), format!("is a PNG file with the compression method 1, {end}")),
        (changed(28, 2), format!("is a PNG file with the interlace method 2, {end}")),
        (
            flipped,
            format!(
                "is a damaged PNG file: the checksum of its chunk `IDAT` is wrong, so bytes were changed on the way; {again}"
            ),
        ),
        (png_with(2, 2, &[]), format!("is a damaged PNG file: it has no pixels (`IDAT`); {again}")),
        (
            png_with(2, 2, &[(b"IDAT", b"nothing")]),
            format!("is a damaged PNG file: its compressed pixels are invalid or end too early; {again}"),
        ),
        (
            support::small_png(&[(b"JDAT", b"?")]),
            format!("is a PNG file with the chunk `JDAT`, which few programs know, {end}"),
        ),
        // Before the header, as Xcode writes it.
        ([&whole[..8], &xcode[33..49], &whole[8..]].concat(), format!("is a PNG file of Xcode (CgBI), {end}")),
    ] {
        assert_eq!(decode(&file, &LIMITS).unwrap_err().to_string(), problem);
    }
    // The words of decoders are not passed on for others, either.
    for format in [ImageFormat::WebP, ImageFormat::Bmp] {
        let whole = file(&photo(40, 30), format);
        for at in 0..whole.len().min(200) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let Err(problem) = decode(&damaged, &LIMITS) else { continue };
            let words = ["decoder", "decoding", "Error", "error"];
            let text = problem.to_string();
            assert!(!words.iter().any(|word| text.contains(word)), "{format:?} at {at}: {text}");
        }
    }
}

#[test]
fn animations_need_a_limit_that_allows_them_and_give_their_first_frame() {
    let still = photo(6, 5).to_rgb8();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 6, 5);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_animated(3, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&still).unwrap();
    writer.write_image_data(&[0; 90]).unwrap();
    writer.write_image_data(&[9; 90]).unwrap();
    writer.finish().unwrap();
    assert_eq!(
        decode(&bytes, &LIMITS).unwrap_err().to_string(),
        "has 3 frames; at most 1 allowed, give a still picture"
    );
    let limits = PictureLimits { frames: 3, ..LIMITS };
    assert_eq!(decode(&bytes, &limits).unwrap().image.to_rgb8(), still);

    // As many frames as there are chunks of that name.
    let still = file(&photo(6, 5), ImageFormat::WebP);
    let extended = [&[2, 0, 0, 0, 5, 0, 0, 4, 0, 0][..], &[]].concat();
    let mut body = b"WEBPVP8X\x0a\0\0\0".to_vec();
    body.extend(extended);
    for _ in 0..2 {
        body.extend(b"ANMF");
        body.extend((still.len() as u32 - 12 + 16).to_le_bytes());
        body.extend([0; 16]);
        body.extend(&still[12..]);
    }
    let bytes = [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat();
    assert_eq!(inspect(&bytes, &LIMITS), Err(Problem::TooManyFrames { frames: 2, limit: 1 }));
}

#[test]
fn orientation_is_applied() {
    let upright = ImageBuffer::from_fn(3, 2, |x, y| Rgb([x as u8 * 100, y as u8 * 200, 7]));
    let upright = DynamicImage::from(upright);
    // The picture as a camera stores it for each orientation, by the inverse transformation.
    let stored = |orientation: u8| match orientation {
        2 => upright.fliph(),
        3 => upright.rotate180(),
        4 => upright.flipv(),
        5 => upright.rotate90().fliph(),
        6 => upright.rotate270(),
        7 => upright.rotate270().fliph(),
        8 => upright.rotate90(),
        _ => upright.clone(),
    };
    for orientation in 1..=8 {
        let exif = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], b"\0\0\0\0\0\0"].concat();
        let stored = stored(orientation);
        let pixels = file(&stored, ImageFormat::Png);
        // The chunk goes after the header.
        let chunk = png_with(1, 1, &[(b"eXIf", &exif)]);
        let bytes = [&pixels[..33], &chunk[33..chunk.len() - 12], &pixels[33..]].concat();
        assert_eq!(decode(&bytes, &LIMITS).unwrap().image, upright, "PNG, {orientation}");

        let jpeg = file(&photo(stored.width() * 8, stored.height() * 8), ImageFormat::Jpeg);
        let body = [b"Exif\0\0", &exif[..]].concat();
        let segment = [b"\xff\xe1", &(body.len() as u16 + 2).to_be_bytes()[..], &body].concat();
        let bytes = [&jpeg[..2], &segment, &jpeg[2..]].concat();
        let image = decode(&bytes, &LIMITS).unwrap().image;
        assert_eq!((image.width(), image.height()), (24, 16), "JPEG, {orientation}");
    }
}

#[test]
fn palettes_and_few_bits_are_expanded() {
    let encode = |color, depth, palette: Option<&[u8]>, transparent: Option<&[u8]>, data: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        palette.into_iter().for_each(|palette| encoder.set_palette(palette.to_vec()));
        transparent.into_iter().for_each(|transparent| encoder.set_trns(transparent.to_vec()));
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        decode(&bytes, &LIMITS).unwrap().image
    };
    let palette = Some(&[255, 0, 0, 0, 0, 255][..]);
    let image = encode(png::ColorType::Indexed, png::BitDepth::One, palette, None, &[0b0100_0000]);
    assert_eq!(image.as_rgb8().unwrap().as_raw(), &[255, 0, 0, 0, 0, 255]);
    let image = encode(png::ColorType::Indexed, png::BitDepth::Eight, palette, Some(&[10, 200]), &[1, 0]);
    assert_eq!(image.as_rgba8().unwrap().as_raw(), &[0, 0, 255, 200, 255, 0, 0, 10]);
    let image = encode(png::ColorType::Grayscale, png::BitDepth::Four, None, None, &[0x0f]);
    assert_eq!(image.as_luma8().unwrap().as_raw(), &[0, 255]);
}

#[test]
fn lossless_formats_keep_every_pixel() {
    let opaque = photo(33, 21);
    let clear = DynamicImage::from(ImageBuffer::from_fn(33, 21, |x, y| Rgba([x as u8, y as u8, 9, (x * y) as u8])));
    for image in [opaque, clear] {
        for format in [Format::Png, Format::WebP] {
            let bytes = encode(&image, format, &Attached::default()).unwrap();
            assert_eq!(decode(&bytes, &LIMITS).unwrap().image, image, "{format}");
        }
    }
    let white = encode(&DynamicImage::new_rgba8(8, 8), Format::Jpeg, &Attached::default()).unwrap();
    assert_eq!(decode(&white, &LIMITS).unwrap().image.to_rgb8().get_pixel(4, 4).0, [255; 3]);
    assert!(encode(&DynamicImage::new_rgb8(16_384, 1), Format::WebP, &Attached::default()).is_err());
    for format in [Format::Png, Format::Jpeg, Format::WebP] {
        for nothing in [DynamicImage::new_rgb8(0, 1), DynamicImage::new_luma8(1, 0), DynamicImage::new_rgba16(0, 0)] {
            assert!(encode(&nothing, format, &Attached::default()).is_err(), "{format}");
        }
    }
}

#[test]
fn every_format_keeps_how_the_picture_was_made() {
    let made = "a cat — 猫\nNegative prompt: dog\nSteps: 20, Seed: 7";
    let done = "Upscaler: Lanczos, Scale: 2";
    let written = |format, made| {
        let attached = Attached { parameters: made, postprocessing: Some(done), ..Attached::default() };
        let bytes = encode(&photo(33, 21), format, &attached).unwrap();
        assert_eq!(description(&bytes), None);
        assert_eq!(parameters(&bytes), decode(&bytes, &LIMITS).unwrap().parameters);
        parameters(&bytes)
    };
    assert_eq!(written(Format::Png, Some(made)).as_deref(), Some(made));
    for format in [Format::Jpeg, Format::WebP] {
        assert_eq!(written(format, Some(made)), Some(format!("{made}, Postprocessing: \"{done}\"")));
        assert_eq!(written(format, None), None);
    }
    // A JPEG segment cannot hold more.
    let fits = "Steps: 1".to_owned() + &" ".repeat(32_600);
    let (long, done) = (format!("{fits}{}", " ".repeat(400)), None);
    for (text, kept) in [(&fits, true), (&long, false)] {
        let attached = Attached { parameters: Some(text), postprocessing: done, ..Attached::default() };
        let bytes = encode(&photo(8, 8), Format::Jpeg, &attached).unwrap();
        assert_eq!(decode(&bytes, &LIMITS).unwrap().parameters.is_some(), kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_bytes_make_the_reader_panic(start in 0..8_usize, rest in prop::collection::vec(any::<u8>(), 0..400)) {
        let starts: [&[u8]; 8] = [
            b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF\0\x01\0\0WEBP", b"GIF89a",
            b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08",
        ];
        let bytes = [starts[start], &rest].concat();
        let _ = decode(&bytes, &LIMITS);
        let _ = (description(&bytes), parameters(&bytes));
    }

    #[test]
    fn no_change_of_a_picture_makes_the_reader_panic(
        format in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let format = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP][format];
        let mut bytes = file(&photo(24, 17), format);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let limits = PictureLimits { pixels: 1_000_000, ..LIMITS };
        if let Ok(decoded) = decode(&bytes, &limits) {
            prop_assert!(decoded.header.pixels() <= limits.pixels);
        }
    }
}
