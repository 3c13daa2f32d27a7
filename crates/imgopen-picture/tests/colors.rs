//! Colours look the same after they are converted. The expected numbers are those of the primaries of sRGB in Display P3, as
//! CSS Color 4 gives them: `color(display-p3 0.9175 0.2003 0.1386)`, `(0.4584 0.9853 0.2983)`, `(0 0 0.9596)`.
#![allow(clippy::unwrap_used)]

mod support;

use image::{DynamicImage, ImageBuffer, LumaA, Rgb};
use imgopen_picture::{
    Attached, Decoded, Format, PictureLimits, convert, decode, encode, is_space_writable, to_space_of, to_srgb,
};

use support::{deflated, png_with};

const PROFILE: &[u8] = include_bytes!("data/display-p3.icc");
/// The primaries of sRGB in Display P3, and gray.
const IN_P3: [[u8; 3]; 4] = [[234, 51, 35], [117, 251, 76], [0, 0, 245], [128, 128, 128]];
const IN_SRGB: [[u8; 3]; 4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]];

fn row(pixels: [[u8; 3]; 4]) -> DynamicImage {
    ImageBuffer::<Rgb<u8>, _>::from_raw(4, 1, pixels.concat()).unwrap().into()
}

fn decoded(file: &[u8]) -> Decoded {
    decode(file, &PictureLimits::default()).unwrap()
}

fn with_profile(pixels: [[u8; 3]; 4], format: Format) -> Decoded {
    decoded(&encode(&row(pixels), format, &Attached { profile: Some(PROFILE), ..Attached::default() }).unwrap())
}

fn with_chunks(pixels: [[u8; 3]; 4], chunks: &[(&[u8; 4], &[u8])]) -> Decoded {
    let pixels = deflated(&[vec![0], pixels.concat()].concat());
    decoded(&png_with(4, 1, &[chunks, &[(b"IDAT", &pixels[..])]].concat()))
}

/// The primaries and the white point of Display P3, times 100,000, and the gamma that stands for sRGB's curve.
fn p3_chunks() -> (Vec<u8>, Vec<u8>) {
    let numbers = [31_270_u32, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000];
    (45_455_u32.to_be_bytes().to_vec(), numbers.map(u32::to_be_bytes).concat())
}

/// Numbers of profiles are rounded, too: Little CMS 2.19 makes (255, 0, 3), (3, 255, 0) and (1, 0, 255) of the primaries.
fn assert_near(image: &DynamicImage, expected: [[u8; 3]; 4]) {
    let found = image.to_rgb8().into_raw();
    let expected = expected.concat();
    assert!(found.iter().zip(&expected).all(|(one, other)| one.abs_diff(*other) <= 3), "{found:?} for {expected:?}");
}

#[test]
fn colours_become_srgb_whatever_says_what_they_are() {
    let (gamma, primaries) = p3_chunks();
    for mut picture in [
        with_profile(IN_P3, Format::Png),
        with_profile(IN_P3, Format::WebP),
        with_chunks(IN_P3, &[(b"gAMA", &gamma), (b"cHRM", &primaries)]),
        with_chunks(IN_P3, &[(b"cHRM", &primaries)]),
        with_chunks(IN_P3, &[(b"cICP", &[12, 13, 0, 1]), (b"sRGB", &[0])]),
    ] {
        assert!(to_srgb(&mut picture));
        assert_near(&picture.image, IN_SRGB);
        assert_eq!(picture.profile, None);
        let again = picture.image.clone();
        assert!(!to_srgb(&mut picture));
        assert_eq!(picture.image, again);
    }
}

#[test]
fn sixteen_bits_become_srgb_in_sixteen_bits() {
    let deep = IN_P3.concat().into_iter().map(|sample| u16::from(sample) * 257).collect();
    let image: DynamicImage = ImageBuffer::<Rgb<u16>, Vec<u16>>::from_raw(4, 1, deep).unwrap().into();
    let file = encode(&image, Format::Png, &Attached { profile: Some(PROFILE), ..Attached::default() }).unwrap();
    let mut picture = decoded(&file);
    to_srgb(&mut picture);
    assert_near(&picture.image, IN_SRGB);
    assert_eq!(picture.image.color(), image::ColorType::Rgb16);
}

/// 55 of 255 in linear light is 128 in sRGB: 1.055 * (55 / 255)^(1 / 2.4) - 0.055 = 0.502.
#[test]
fn linear_light_becomes_srgb() {
    let linear = 100_000_u32.to_be_bytes();
    let mut picture = with_chunks([[55; 3], [0; 3], [255; 3], [55; 3]], &[(b"gAMA", &linear)]);
    to_srgb(&mut picture);
    assert_near(&picture.image, [[128; 3], [0; 3], [255; 3], [128; 3]]);

    let gray: DynamicImage = ImageBuffer::from_pixel(1, 1, LumaA([55_u8, 99])).into();
    let file = encode(&gray, Format::Png, &Attached::default()).unwrap();
    // Behind the header.
    let chunk = png_with(1, 1, &[(b"gAMA", &linear)]);
    let mut picture = decoded(&[&file[..33], &chunk[33..chunk.len() - 12], &file[33..]].concat());
    to_srgb(&mut picture);
    let DynamicImage::ImageLumaA8(gray) = &picture.image else { panic!("the kind changed") };
    assert!(gray.as_raw()[0].abs_diff(128) <= 2 && gray.as_raw()[1] == 99, "{:?}", gray.as_raw());
    // The curve 8 of H.273 is linear, 13 is that of sRGB, and 16 is HDR.
    for (transfer, expected) in [(8, 128), (13, 55), (16, 55)] {
        let chunk = png_with(1, 1, &[(b"cICP", &[1, transfer, 0, 1]), (b"gAMA", &45_455_u32.to_be_bytes())]);
        let mut picture = decoded(&[&file[..33], &chunk[33..chunk.len() - 12], &file[33..]].concat());
        assert_eq!(to_srgb(&mut picture), expected == 128);
        let DynamicImage::ImageLumaA8(gray) = &picture.image else { panic!("the kind changed") };
        assert!(gray.as_raw()[0].abs_diff(expected) <= 2 && gray.as_raw()[1] == 99, "{:?}", gray.as_raw());
    }
}

/// WebP has no gray, so that a profile for gray would be void. The numbers are those of the test before.
#[test]
fn gray_looks_the_same_in_webp() {
    let gray: DynamicImage = ImageBuffer::from_pixel(1, 1, LumaA([55_u8, 99])).into();
    let file = encode(&gray, Format::Png, &Attached::default()).unwrap();
    let chunk = png_with(1, 1, &[(b"gAMA", &100_000_u32.to_be_bytes())]);
    for (chunk, expected) in [(&chunk[33..chunk.len() - 12], 128), (&[][..], 55)] {
        let source = decoded(&[&file[..33], chunk, &file[33..]].concat());
        let written = decoded(&convert(&source, Format::WebP).unwrap());
        let [red, green, blue, alpha] = written.image.to_rgba8().get_pixel(0, 0).0;
        assert!(red.abs_diff(expected) <= 2 && (green, blue, alpha) == (red, red, 99), "{red} {green} {blue} {alpha}");
        assert!(!convert(&source, Format::WebP).unwrap().windows(4).any(|four| four == b"ICCP"));
    }
}

#[test]
fn what_is_srgb_keeps_its_numbers() {
    let (gamma, _) = p3_chunks();
    let srgb = [31_270_u32, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000].map(u32::to_be_bytes).concat();
    let cases: [&[(&[u8; 4], &[u8])]; 7] = [
        &[],
        &[(b"sRGB", &[0])],
        &[(b"gAMA", &gamma), (b"cHRM", &srgb)],
        &[(b"cICP", &[1, 13, 0, 1])],
        // HDR, and nonsense.
        &[(b"cICP", &[9, 16, 0, 1])],
        &[(b"cHRM", &[0; 32])],
        &[(b"gAMA", &[0; 4])],
    ];
    for chunks in cases {
        let mut picture = with_chunks(IN_P3, chunks);
        to_srgb(&mut picture);
        assert_eq!(picture.image, row(IN_P3), "{chunks:?}");
    }
}

#[test]
fn a_mark_gets_the_colours_of_the_picture() {
    let plain = || decoded(&encode(&row(IN_SRGB), Format::Png, &Attached::default()).unwrap());
    let wide = || with_profile(IN_P3, Format::Png);
    assert_near(&to_space_of(wide(), &plain()), IN_SRGB);
    assert_near(&to_space_of(plain(), &wide()), IN_P3);
    assert_eq!(to_space_of(wide(), &wide()), row(IN_P3));
    assert_eq!(to_space_of(plain(), &plain()), row(IN_SRGB));
}

/// The profile has a table that takes red for blue, and none for the way back. Little CMS 2 makes (0, 1, 254), (9, 255, 0) and
/// (255, 0, 0) of the primaries by it.
#[test]
fn some_spaces_can_only_be_read() {
    let profile: &[u8] = include_bytes!("data/one-way.icc");
    let attached = Attached { profile: Some(profile), ..Attached::default() };
    let mut picture = decoded(&encode(&row(IN_SRGB), Format::Png, &attached).unwrap());
    assert!(!is_space_writable(&picture));
    let plain = decoded(&encode(&row(IN_SRGB), Format::Png, &Attached::default()).unwrap());
    assert!(is_space_writable(&plain) && is_space_writable(&with_profile(IN_P3, Format::Png)));
    assert_eq!(to_space_of(plain, &picture), row(IN_SRGB));
    assert!(to_srgb(&mut picture));
    let found = picture.image.to_rgb8();
    let [red, blue] = [found.get_pixel(0, 0).0, found.get_pixel(2, 0).0];
    assert!(red[0] < 40 && red[2] > 215 && blue[0] > 215 && blue[2] < 40, "{found:?}");
}

#[test]
fn formats_without_the_chunks_get_a_profile() {
    let (gamma, primaries) = p3_chunks();
    let picture = with_chunks(IN_P3, &[(b"gAMA", &gamma), (b"cHRM", &primaries)]);
    let mut webp = decoded(&convert(&picture, Format::WebP).unwrap());
    assert!(webp.profile.is_some());
    to_srgb(&mut webp);
    assert_near(&webp.image, IN_SRGB);
    let plain = with_chunks(IN_SRGB, &[(b"sRGB", &[0])]);
    assert_eq!(decoded(&convert(&plain, Format::WebP).unwrap()).profile, None);
}
