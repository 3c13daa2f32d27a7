//! Enlarging is compared with a straightforward computation of the same filter, and keeps everything in a picture.
#![allow(clippy::unwrap_used)]

mod support;

use std::f64::consts::PI;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Pixel, Rgb, Rgba};
use imgopen_engine::{Engine, EngineError, Format, Monitor, Picture, PictureLimits};
use imgopen_picture::{Attached, Chroma, decode, encode};
use imgopen_tools::{Lanczos, lanczos};
use proptest::prelude::*;
use serde_json::json;

use support::{URL, file, input, job, run};

const LIMITS: PictureLimits = PictureLimits { bytes: 1 << 25, pixels: 64_000_000, frames: 1, location: false };

fn enlarge(bytes: Vec<u8>, scale: f64) -> Picture {
    lanczos::enlarge(&input(bytes), scale, &LIMITS, &Monitor::new().0).unwrap()
}

fn pixels(picture: &Picture) -> DynamicImage {
    decode(&picture.bytes, &LIMITS).unwrap().image
}

/// The weights of the source's pixels for one pixel of the result, from the definition of the filter.
fn weights(at: u32, from: u32, to: u32) -> Vec<(u32, f64)> {
    let center = (f64::from(at) + 0.5) * f64::from(from) / f64::from(to) - 0.5;
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    let kernel = |x: f64| if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 };
    let raw: Vec<_> = (0..from).map(|pixel| (pixel, kernel(f64::from(pixel) - center))).collect();
    let sum: f64 = raw.iter().map(|(_, weight)| weight).sum();
    raw.into_iter().filter(|(_, weight)| *weight != 0.0).map(|(pixel, weight)| (pixel, weight / sum)).collect()
}

/// One channel of the result, in floating point. Columns are resampled first and brought into range, then rows, as the
/// engine does it for 8 bits.
fn reference(
    from: (u32, u32),
    to: (u32, u32),
    brightest: f64,
    sample: impl Fn(u32, u32) -> f64,
) -> impl Fn(u32, u32) -> f64 {
    move |x, y| {
        let down = weights(y, from.1, to.1);
        let column = |x| down.iter().map(|(y, weight)| weight * sample(x, *y)).sum::<f64>().clamp(0.0, brightest);
        weights(x, from.0, to.0).into_iter().map(|(x, weight)| weight * column(x)).sum::<f64>().clamp(0.0, brightest)
    }
}

/// A picture with gradients, edges and noise. Deterministic.
fn busy<P: Pixel>(width: u32, height: u32, sample: impl Fn(u32) -> P::Subpixel) -> ImageBuffer<P, Vec<P::Subpixel>> {
    ImageBuffer::from_fn(width, height, |x, y| {
        let channels: Vec<_> = (0..u32::from(P::CHANNEL_COUNT))
            .map(|channel| {
                let noise = (x * 7919 + y * 104_729 + channel * 1299).wrapping_mul(2_654_435_761) >> 7;
                let edge = if (x / 5 + y / 3 + channel) % 2 == 0 { 60 } else { 0 };
                sample((x * 5 + y * 3 + edge + noise % 32 + channel * 20) % 256)
            })
            .collect();
        *P::from_slice(&channels)
    })
}

#[test]
fn colours_follow_the_definition_of_the_filter() {
    let source: ImageBuffer<Rgb<u8>, _> = busy(31, 23, |value| value as u8);
    for scale in [1.3, 2.0, 4.0] {
        let large = pixels(&enlarge(file(&source.clone().into(), ImageFormat::Png), scale)).to_rgb8();
        for channel in 0..3 {
            let sample = |x, y| f64::from(source.get_pixel(x, y).0[channel]);
            let expected = reference(source.dimensions(), large.dimensions(), 255.0, sample);
            for (x, y, pixel) in large.enumerate_pixels() {
                let expected = expected(x, y);
                assert!(
                    (f64::from(pixel.0[channel]) - expected).abs() <= 1.5,
                    "{scale}: {x},{y}: {} {expected}",
                    pixel.0[channel]
                );
            }
        }
    }
}

#[test]
fn sixteen_bits_follow_the_definition_of_the_filter() {
    let source: ImageBuffer<Luma<u16>, _> = busy(17, 29, |value| (value * 257) as u16);
    let large = pixels(&enlarge(file(&source.clone().into(), ImageFormat::Png), 2.5));
    let DynamicImage::ImageLuma16(large) = large else { panic!("{:?}", large.color()) };
    // For 16 bits the engine begins with the rows.
    let sample = |y, x| f64::from(source.get_pixel(x, y).0[0]);
    let expected = reference((source.height(), source.width()), (large.height(), large.width()), 65535.0, sample);
    for (x, y, pixel) in large.enumerate_pixels() {
        let expected = expected(y, x);
        assert!((f64::from(pixel.0[0]) - expected).abs() <= 16.0, "{x},{y}: {} {expected}", pixel.0[0]);
    }
}

#[test]
fn transparent_pixels_do_not_colour_their_neighbours() {
    // Red on transparent black; the edge must stay red.
    let source =
        ImageBuffer::from_fn(16, 16, |x, _| if x < 8 { Rgba([255_u8, 0, 0, 255]) } else { Rgba([0, 0, 0, 0]) });
    let large = pixels(&enlarge(file(&source.clone().into(), ImageFormat::Png), 4.0)).to_rgba8();
    let alpha = reference((16, 16), (64, 64), 255.0, |x, y| f64::from(source.get_pixel(x, y).0[3]));
    for (x, y, pixel) in large.enumerate_pixels() {
        assert!((f64::from(pixel.0[3]) - alpha(x, y)).abs() <= 1.5);
        if pixel.0[3] > 8 {
            assert!(pixel.0[0] >= 250 && pixel.0[1] == 0 && pixel.0[2] == 0, "{x},{y}: {pixel:?}");
        }
    }
    assert!(large.pixels().any(|pixel| pixel.0[3] > 8 && pixel.0[3] < 250));
}

#[test]
fn depth_gray_and_transparency_are_kept() {
    let sources: Vec<DynamicImage> = vec![
        busy::<Luma<u8>>(9, 7, |value| value as u8).into(),
        busy::<LumaA<u8>>(9, 7, |value| value as u8).into(),
        busy::<Rgb<u8>>(9, 7, |value| value as u8).into(),
        busy::<Rgba<u8>>(9, 7, |value| value as u8).into(),
        busy::<Luma<u16>>(9, 7, |value| value as u16 * 257).into(),
        busy::<LumaA<u16>>(9, 7, |value| value as u16 * 257).into(),
        busy::<Rgb<u16>>(9, 7, |value| value as u16 * 257).into(),
        busy::<Rgba<u16>>(9, 7, |value| value as u16 * 257).into(),
    ];
    for source in sources {
        let large = enlarge(file(&source, ImageFormat::Png), 2.0);
        let large = pixels(&large);
        assert_eq!((large.color(), large.width(), large.height()), (source.color(), 18, 14));
        // A scale of 1 changes nothing.
        assert_eq!(pixels(&enlarge(file(&source, ImageFormat::Png), 1.0)), source);
    }
}

#[test]
fn a_flat_picture_stays_flat() {
    for value in [0_u8, 1, 127, 254, 255] {
        let source = ImageBuffer::from_pixel(13, 11, Rgba([value, 200, 3, 255]));
        let large = pixels(&enlarge(file(&source.into(), ImageFormat::Png), 3.7)).to_rgba8();
        assert!(large.pixels().all(|pixel| pixel.0 == [value, 200, 3, 255]));
    }
}

#[test]
fn the_format_is_that_of_the_input() {
    let source: DynamicImage = busy::<Rgb<u8>>(40, 30, |value| value as u8).into();
    for (from, format) in
        [(ImageFormat::Png, Format::Png), (ImageFormat::Jpeg, Format::Jpeg), (ImageFormat::WebP, Format::WebP)]
    {
        let large = enlarge(file(&source, from), 2.0);
        assert_eq!((large.format, large.width, large.height), (format, 80, 60));
        assert_eq!(image::guess_format(&large.bytes).unwrap(), from);
    }
}

#[test]
fn jpeg_loses_little_and_keeps_gray_and_chroma_subsampling() {
    let smooth = ImageBuffer::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, 128]));
    let smooth = DynamicImage::from(smooth);
    for chroma in [Chroma::Full, Chroma::Halved] {
        let small = encode(&smooth, Format::Jpeg, &Attached { chroma, ..Attached::default() }).unwrap();
        let large = enlarge(small.to_vec(), 2.0);
        assert_eq!(decode(&large.bytes, &LIMITS).unwrap().header.chroma, chroma);
        let exact = lanczos::resize(smooth.clone(), 128, 128).unwrap().to_rgb8();
        let pairs = exact.iter().zip(pixels(&large).to_rgb8().into_raw());
        let differences: Vec<f64> = pairs.map(|(one, other)| f64::from(one.abs_diff(other))).collect();
        assert!(differences.iter().sum::<f64>() / (differences.len() as f64) < 2.5);
    }
    let gray = enlarge(file(&smooth.to_luma8().into(), ImageFormat::Jpeg), 2.0);
    assert_eq!(pixels(&gray).color(), image::ColorType::L8);
}

#[test]
fn a_colour_profile_is_kept() {
    let profile = profile(b"RGB ");
    for format in Format::ALL {
        let attached = Attached { profile: Some(&profile), ..Attached::default() };
        let small = encode(&busy::<Rgb<u8>>(8, 8, |value| value as u8).into(), format, &attached).unwrap();
        let large = decode(&enlarge(small.to_vec(), 2.0).bytes, &LIMITS).unwrap();
        assert_eq!(large.profile.as_ref(), Some(&profile), "{format}");
        // One for gray does not fit colours.
        let wrong = self::profile(b"GRAY");
        let attached = Attached { profile: Some(&wrong), ..Attached::default() };
        let small = encode(&busy::<Rgb<u8>>(8, 8, |value| value as u8).into(), format, &attached).unwrap();
        assert_eq!(decode(&small, &LIMITS).unwrap().profile, None, "{format}");
    }
}

fn profile(space: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![0; 200];
    profile[3] = 200;
    profile[16..20].copy_from_slice(space);
    profile[36..40].copy_from_slice(b"acsp");
    profile
}

#[test]
fn a_scale_out_of_bounds_is_rejected_with_what_would_fit() {
    let bytes = file(&DynamicImage::new_rgb8(100, 50), ImageFormat::Png);
    let limits = PictureLimits { pixels: 20_000, ..LIMITS };
    let error = lanczos::enlarge(&input(bytes), 4.0, &limits, &Monitor::new().0).unwrap_err();
    assert!(error.to_string().starts_with("`scale`: 4 given, which makes 400x200 pixels out of 100x50; at most 20000"));
    let bytes = file(&DynamicImage::new_rgb8(9000, 3), ImageFormat::WebP);
    let error = lanczos::enlarge(&input(bytes), 2.0, &LIMITS, &Monitor::new().0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`scale`: 2 given: 18000x6 pixels are too many for a WebP file; at most 16383 fit on a side"
    );
}

#[tokio::test]
async fn a_job_gives_one_picture_and_names_a_bad_input() {
    let bytes = file(&DynamicImage::new_luma8(10, 11), ImageFormat::Png);
    let job = |bytes: Vec<u8>| job("enlarge_image", json!({"scale": 1.5})).with_inputs(vec![input(bytes)]);
    let output = run(&Lanczos::new(), job(bytes.clone())).await.unwrap();
    assert_eq!((output.pictures.len(), output.pictures[0].width, output.pictures[0].height), (1, 15, 17));

    let error = run(&Lanczos::new(), job(b"\x01\x02\x03".to_vec())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`sourceImage`: the picture at {URL} is not a picture in a known format; give a PNG, JPEG, WebP, GIF, BMP or \
             TIFF file"
        )
    );
    let error = run(&Lanczos::new(), job(vec![]).with_inputs(vec![])).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed(_)));

    let (monitor, watch) = Monitor::new();
    watch.cancel.cancel();
    assert_eq!(Lanczos::new().run(job(bytes), monitor).await, Err(EngineError::Cancelled));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_size_is_exactly_the_rounded_one(width in 1..90_u32, height in 1..90_u32, scale in 1.0..=8.0_f64) {
        let large = enlarge(file(&DynamicImage::new_rgb8(width, height), ImageFormat::Png), scale);
        let expected = [width, height].map(|side| (f64::from(side) * scale).round() as u32);
        prop_assert_eq!([large.width, large.height], expected);
        let image = pixels(&large);
        prop_assert_eq!([image.width(), image.height()], expected);
    }
}
