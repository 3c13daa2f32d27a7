//! Filled areas fit their surroundings, everything else stays as it was, and a seed determines the result.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Pixel, Rgb, RgbImage, Rgba};
use imgopen_engine::{Engine, EngineError, Format, Input, Monitor, Picture, PictureLimits};
use imgopen_picture::decode;
use imgopen_tools::Fill;
use imgopen_tools::fill::{self, Expansion, MASK_GROWTH};
use proptest::prelude::*;
use serde_json::{Value, json};

use support::{URL, file, input, job, request, run};

const LIMITS: PictureLimits = PictureLimits { bytes: 1 << 25, pixels: 64_000_000, frames: 1, location: false };

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    file(&image.into(), ImageFormat::Png)
}

fn masking(bytes: Vec<u8>) -> Input {
    Input { field: "maskImage".to_owned(), ..input(bytes) }
}

fn remove(source: Vec<u8>, mask: Vec<u8>) -> Result<Picture, EngineError> {
    fill::remove(&input(source), &masking(mask), &LIMITS, &Monitor::new().0)
}

fn outpaint(source: Vec<u8>, expansion: Expansion) -> Result<Vec<Picture>, EngineError> {
    fill::outpaint(&input(source), &expansion, &LIMITS, &Monitor::new().0)
}

fn pixels(picture: &Picture) -> DynamicImage {
    decode(&picture.bytes, &LIMITS).unwrap().image
}

/// A mask that is white in a rectangle of that size.
fn mask(size: (u32, u32), (left, top, width, height): (u32, u32, u32, u32)) -> GrayImage {
    GrayImage::from_fn(size.0, size.1, |x, y| {
        let inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
        Luma([if inside { 255 } else { 0 }])
    })
}

/// Returns whether a position is in a rectangle or near enough to change too.
fn may_change((x, y): (u32, u32), (left, top, width, height): (u32, u32, u32, u32)) -> bool {
    let growth = MASK_GROWTH as u32;
    x + growth >= left && x < left + width + growth && y + growth >= top && y < top + height + growth
}

/// A grainy texture of two tones. Deterministic.
fn grain(x: u32, y: u32) -> u32 {
    let noise = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 9;
    90 + noise % 24 + if (x / 6 + y / 6).is_multiple_of(2) { 50 } else { 0 }
}

fn textured<P: Pixel>(
    width: u32,
    height: u32,
    sample: impl Fn(u32) -> P::Subpixel,
) -> ImageBuffer<P, Vec<P::Subpixel>> {
    ImageBuffer::from_fn(width, height, |x, y| {
        let channels = (0..u32::from(P::CHANNEL_COUNT)).map(|channel| sample(grain(x, y) - 10 * channel));
        *P::from_slice(&channels.collect::<Vec<_>>())
    })
}

#[test]
fn all_kinds_of_pixels_are_filled_and_the_rest_is_left_alone() {
    let hole = (40, 30, 20, 15);
    let sources: Vec<DynamicImage> = vec![
        textured::<Luma<u8>>(100, 80, |value| value as u8).into(),
        textured::<LumaA<u8>>(100, 80, |value| value as u8).into(),
        textured::<Rgb<u8>>(100, 80, |value| value as u8).into(),
        textured::<Rgba<u8>>(100, 80, |value| value as u8).into(),
        textured::<Luma<u16>>(100, 80, |value| value as u16 * 257).into(),
        textured::<LumaA<u16>>(100, 80, |value| value as u16 * 257).into(),
        textured::<Rgb<u16>>(100, 80, |value| value as u16 * 257).into(),
        textured::<Rgba<u16>>(100, 80, |value| value as u16 * 257).into(),
    ];
    for source in sources {
        let mut spoilt = source.clone();
        for (x, y) in (30..45).flat_map(|y| (40..60).map(move |x| (x, y))) {
            image::GenericImage::put_pixel(&mut spoilt, x, y, Rgba([255, 0, 255, 255]));
        }
        let clean = pixels(&remove(png(spoilt.clone()), png(mask((100, 80), hole))).unwrap());
        assert_eq!(clean.color(), source.color());
        let (before, after, truth) = (spoilt.to_rgba16(), clean.to_rgba16(), source.to_rgba16());
        let mut off = 0.0;
        for (x, y, pixel) in after.enumerate_pixels() {
            if may_change((x, y), hole) {
                off += f64::from(pixel.0[1].abs_diff(truth.get_pixel(x, y).0[1])) / 257.0;
            } else {
                assert_eq!(pixel, before.get_pixel(x, y), "{:?} {x},{y}", source.color());
            }
        }
        // The texture alone spreads over 74 values.
        let mean = off / f64::from((20 + 4) * (15 + 4));
        assert!(mean < 16.0, "{:?}: {mean}", source.color());
    }
}

#[test]
fn regular_patterns_are_restored() {
    let stripes = |x: u32, y: u32| Rgb(if ((x + 2 * y) / 5).is_multiple_of(2) { [200, 30, 60] } else { [20, 90, 160] });
    let picture = RgbImage::from_fn(120, 90, stripes);
    let clean = pixels(&remove(png(picture.clone()), png(mask((120, 90), (50, 40, 14, 12)))).unwrap());
    let off = clean.to_rgb8().iter().zip(picture.iter()).map(|(one, other)| one.abs_diff(*other)).max();
    assert!(off <= Some(2), "{off:?}");
    let plain = RgbImage::from_pixel(64, 64, Rgb([17, 99, 3]));
    let clean = pixels(&remove(png(plain.clone()), png(mask((64, 64), (0, 0, 64, 50)))).unwrap());
    assert!(clean.to_rgb8() == plain);
    let larger = outpaint(png(plain), Expansion { horizontal: 3.0, vertical: 1.5, count: 1, seed: 1 }).unwrap();
    assert!(pixels(&larger[0]).to_rgb8() == RgbImage::from_pixel(192, 96, Rgb([17, 99, 3])));
}

#[test]
fn pieces_far_apart_are_all_filled() {
    let mut spoilt = textured::<Rgb<u8>>(700, 500, |value| value as u8);
    let mut mask = GrayImage::new(700, 500);
    for (left, top) in [(10, 20), (640, 30), (300, 250), (5, 470), (660, 460)] {
        for (x, y) in (0..20).flat_map(|y| (0..25).map(move |x| (left + x, top + y))) {
            spoilt.put_pixel(x, y, Rgb([255, 255, 255]));
            mask.put_pixel(x, y, Luma([255]));
        }
    }
    let clean = pixels(&remove(png(spoilt), png(mask)).unwrap()).to_rgb8();
    assert!(clean.pixels().all(|pixel| pixel.0[0] < 190));
}

#[test]
fn masks_are_read_by_brightness_and_opacity_and_grown() {
    let picture = textured::<Rgb<u8>>(60, 60, |value| value as u8);
    let spoilt = |reach: u32| {
        let mut picture = picture.clone();
        for (x, y) in (20 - reach..30 + reach).flat_map(|y| (20 - reach..30 + reach).map(move |x| (x, y))) {
            picture.put_pixel(x, y, Rgb([255, 255, 255]));
        }
        png(picture)
    };
    let gone = |result: Picture| pixels(&result).to_rgb8().pixels().all(|pixel| pixel.0[0] < 190);
    let place = |x: u32, y: u32| (20..30).contains(&x) && (20..30).contains(&y);
    // The spoilt place reaches a pixel or two beyond the mask.
    for reach in 0..=MASK_GROWTH as u32 {
        assert!(gone(remove(spoilt(reach), png(mask((60, 60), (20, 20, 10, 10)))).unwrap()), "{reach}");
    }
    let gray = |light: u8| GrayImage::from_fn(60, 60, |x, y| Luma([if place(x, y) { light } else { 0 }]));
    assert!(gone(remove(spoilt(0), png(gray(128))).unwrap()));
    // A half opaque brush on black.
    assert!(gone(remove(spoilt(0), png(gray(90))).unwrap()));
    assert!(remove(spoilt(0), png(gray(0))).unwrap_err().to_string().contains("is black all over"));
    // White all over, but transparent outside the place.
    let alpha = ImageBuffer::from_fn(60, 60, |x, y| Rgba([255_u8, 255, 255, if place(x, y) { 255 } else { 0 }]));
    assert!(gone(remove(spoilt(0), png(alpha)).unwrap()));
    let deep = ImageBuffer::from_fn(60, 60, |x, y| Luma([if place(x, y) { 65_535_u16 } else { 300 }]));
    assert!(gone(remove(spoilt(0), png(deep)).unwrap()));
    // Holes in the picture itself.
    let holes = ImageBuffer::from_fn(60, 60, |x, y| {
        let Rgb([r, g, b]) = *picture.get_pixel(x, y);
        Rgba([r, g, b, if place(x, y) { 0 } else { 255 }])
    });
    assert!(gone(remove(spoilt(0), png(holes)).unwrap()));
    let whole = remove(spoilt(0), png(picture.clone())).unwrap_err().to_string();
    assert!(whole.contains("nothing in it is transparent"), "{whole}");
    // A JPEG's edges are soft.
    let jpeg = file(&gray(255).into(), ImageFormat::Jpeg);
    assert!(gone(remove(spoilt(0), jpeg).unwrap()));
}

#[test]
fn masks_that_do_not_fit_are_rejected() {
    let picture = || png(textured::<Rgb<u8>>(60, 40, |value| value as u8));
    for (mask, problem) in [
        (
            GrayImage::new(40, 60),
            "is 40x60 pixels, but the picture of `sourceImage` is 60x40; give a mask of the same size",
        ),
        (GrayImage::new(60, 40), "is black all over, so that nothing is to be removed; paint white what is to go"),
        (
            GrayImage::from_pixel(60, 40, Luma([255])),
            "is white all over, so that nothing is left to fill from; leave black what is to stay",
        ),
    ] {
        let error = remove(picture(), png(mask)).unwrap_err();
        assert_eq!(error.to_string(), format!("`maskImage`: the picture at {URL} {problem}"));
    }
    let error = remove(picture(), b"<html>".to_vec()).unwrap_err();
    assert!(error.to_string().starts_with("`maskImage`: "), "{error}");
    let error = remove(b"<html>".to_vec(), picture()).unwrap_err();
    assert!(error.to_string().starts_with("`sourceImage`: "), "{error}");
}

#[test]
fn transparent_pixels_do_not_colour_what_is_filled() {
    // Red on transparent green, in squares as large as the patches.
    let picture = ImageBuffer::from_fn(96, 96, |x, y| match (x / 9 + y / 7) % 2 {
        0 => Rgba([200_u8, 0, 0, 255]),
        _ => Rgba([0, 255, 0, 0]),
    });
    let clean = pixels(&remove(png(picture), png(mask((96, 96), (30, 30, 30, 30)))).unwrap()).to_rgba8();
    let seen: Vec<_> = clean.pixels().filter(|pixel| pixel.0[3] > 8).collect();
    assert!(seen.iter().all(|pixel| pixel.0[0] >= 190 && pixel.0[1] <= 4));
    assert!(clean.pixels().any(|pixel| pixel.0[3] == 0));
}

#[test]
fn tiny_pictures_are_filled_with_the_nearest_pixels() {
    let dot = outpaint(png(RgbImage::from_pixel(1, 1, Rgb([9, 8, 7]))), Expansion { horizontal: 4.0, ..twice() });
    assert_eq!(pixels(&dot.unwrap()[0]).to_rgb8(), RgbImage::from_pixel(4, 2, Rgb([9, 8, 7])));
    let row = RgbImage::from_fn(5, 1, |x, _| Rgb([x as u8 * 40, 0, 0]));
    let clean = pixels(&remove(png(row), png(mask((5, 1), (2, 0, 3, 1)))).unwrap()).to_rgb8();
    assert_eq!(clean.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(), [0, 40, 40, 40, 40]);
    // Growing the mask would leave nothing.
    let clean =
        pixels(&remove(png(RgbImage::from_pixel(4, 4, Rgb([5, 6, 7]))), png(mask((4, 4), (0, 0, 4, 3)))).unwrap());
    assert_eq!(clean.to_rgb8(), RgbImage::from_pixel(4, 4, Rgb([5, 6, 7])));
}

fn twice() -> Expansion {
    Expansion { horizontal: 2.0, vertical: 2.0, count: 1, seed: 11 }
}

#[test]
fn the_picture_lies_in_the_middle_of_the_larger_one() {
    let picture = textured::<Rgb<u8>>(75, 51, |value| value as u8);
    for (horizontal, vertical, size) in [(1.5, 1.75, (113, 89)), (1.0, 2.0, (75, 102)), (4.0, 1.0, (300, 51))] {
        let expansion = Expansion { horizontal, vertical, count: 2, seed: 3 };
        let larger = outpaint(png(picture.clone()), expansion).unwrap();
        assert_eq!(larger.iter().map(|picture| picture.seed).collect::<Vec<_>>(), [Some(3), Some(4)]);
        let images: Vec<_> = larger.iter().map(|picture| pixels(picture).to_rgb8()).collect();
        assert!(images[0] != images[1]);
        for image in images {
            assert_eq!(image.dimensions(), size);
            let (left, top) = ((size.0 - 75) / 2, (size.1 - 51) / 2);
            assert!(image::imageops::crop_imm(&image, left, top, 75, 51).to_image() == picture);
            // No specks: everything is as light as the picture somewhere is, or made a little lighter or darker.
            assert!(image.pixels().all(|pixel| (50..200).contains(&pixel.0[0])));
        }
    }
    let same = outpaint(png(picture.clone()), Expansion { horizontal: 1.0, vertical: 1.0, ..twice() }).unwrap();
    assert!(pixels(&same[0]).to_rgb8() == picture);
}

#[test]
fn a_seed_decides_on_every_byte() {
    let picture = || png(textured::<Rgb<u8>>(90, 70, |value| value as u8));
    let make = |seed| outpaint(picture(), Expansion { seed, ..twice() }).unwrap().remove(0).bytes;
    // Concurrent work changes nothing.
    let at_once: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| make(5))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(at_once.iter().all(|bytes| *bytes == at_once[0]));
    assert!(make(6) != at_once[0]);
    let clean = || remove(picture(), png(mask((90, 70), (30, 20, 30, 30)))).unwrap().bytes;
    assert!(clean() == clean());
}

#[test]
fn the_format_is_that_of_the_input() {
    let picture: DynamicImage = textured::<Rgb<u8>>(64, 48, |value| value as u8).into();
    for (from, format) in
        [(ImageFormat::Png, Format::Png), (ImageFormat::Jpeg, Format::Jpeg), (ImageFormat::WebP, Format::WebP)]
    {
        let clean = remove(file(&picture, from), png(mask((64, 48), (20, 20, 10, 10)))).unwrap();
        assert_eq!((clean.format, clean.width, clean.height, clean.seed), (format, 64, 48, None));
        let larger = outpaint(file(&picture, from), twice()).unwrap();
        assert_eq!((larger[0].format, larger[0].width, larger[0].height), (format, 128, 96));
        assert_eq!(image::guess_format(&larger[0].bytes).unwrap(), from);
    }
    let text = |picture: &Picture| {
        let file = String::from_utf8_lossy(&picture.bytes).into_owned();
        let from = file.find("Postprocess").unwrap();
        file[from..].chars().take(90).collect::<String>()
    };
    let clean = remove(file(&picture, ImageFormat::Png), png(mask((64, 48), (20, 20, 10, 10)))).unwrap();
    assert!(text(&clean).starts_with("Postprocess removed pixels: 196, Postprocess filler: PatchMatch"));
    let larger = outpaint(file(&picture, ImageFormat::Png), twice()).unwrap();
    assert!(
        text(&larger[0])
            .starts_with("Postprocess outpaint to: 128x96, Postprocess seed: 11, Postprocess filler: PatchMatch")
    );
}

#[test]
fn too_much_is_rejected_with_what_would_fit() {
    let small = PictureLimits { pixels: 20_000, ..LIMITS };
    let picture = || input(png(textured::<Rgb<u8>>(100, 50, |value| value as u8)));
    let rejected =
        |expansion| fill::outpaint(&picture(), &expansion, &small, &Monitor::new().0).unwrap_err().to_string();
    assert_eq!(
        rejected(Expansion { horizontal: 2.5, ..twice() }),
        "`horizontalExpansionRatio`: 2.5 given, which with the other ratio makes 250x100 pixels out of 100x50; at most \
         20000 pixels in all are allowed"
    );
    assert_eq!(
        rejected(Expansion { horizontal: 1.0, vertical: 1.5, count: 3, seed: 1 }),
        "`imageCount`: 3 given, which makes 3 pictures of 100x75 pixels; at most 20000 pixels in all are allowed, so \
         give at most 2"
    );
    for (horizontal, vertical, field) in [
        (0.9, 1.0, "horizontalExpansionRatio"),
        (f64::NAN, 1.0, "horizontalExpansionRatio"),
        (1.0, 4.1, "verticalExpansionRatio"),
    ] {
        let error = rejected(Expansion { horizontal, vertical, ..twice() });
        assert!(error.starts_with(&format!("`{field}`: ")) && error.contains("from 1 to 4"), "{error}");
    }
    let strip = input(png(RgbImage::new(30_000, 60)));
    let error =
        fill::outpaint(&strip, &Expansion { horizontal: 4.0, vertical: 1.0, ..twice() }, &LIMITS, &Monitor::new().0);
    assert_eq!(
        error.unwrap_err().to_string(),
        "`horizontalExpansionRatio`: 4 given, which makes a side of 120000 pixels out of 30000; a side has at most \
         65535, so give at most 2.184"
    );
    let wide = input(file(&RgbImage::new(10_000, 1).into(), ImageFormat::WebP));
    let error = fill::outpaint(&wide, &twice(), &LIMITS, &Monitor::new().0).unwrap_err();
    assert!(error.to_string().contains("at most 16383 fit on a side"), "{error}");
}

#[test]
fn invalid_requests_are_rejected_before_the_job() {
    let check = |fields: Value| Fill::new().check(&request("outpaint", fields)).map(drop);
    let ratios = json!({"horizontalExpansionRatio": 1.5, "verticalExpansionRatio": 1, "imageCount": 1});
    let with = |field: &str, value: Value| {
        let mut request = ratios.clone();
        request[field] = value;
        request
    };
    for fields in [ratios.clone(), with("seed", json!(-1)), with("seed", json!("7")), with("imageCount", json!(64))] {
        assert_eq!(check(fields.clone()), Ok(()), "{fields}");
    }
    for (field, value) in [
        ("seed", json!("x")),
        ("imageCount", json!(65)),
        ("imageCount", json!(0)),
        ("horizontalExpansionRatio", json!(0.5)),
        ("verticalExpansionRatio", json!(5)),
        ("verticalExpansionRatio", json!(null)),
    ] {
        let error = check(with(field, value)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{field}`: ")), "{error}");
    }
    assert!(Fill::new().check(&request("remove_object", json!({}))).is_ok());
}

#[tokio::test]
async fn jobs_are_carried_out() {
    let picture = png(textured::<Rgb<u8>>(64, 48, |value| value as u8));
    let inputs = vec![input(picture.clone()), masking(png(mask((64, 48), (20, 20, 10, 10))))];
    let output = run(&Fill::new(), job("remove_object", json!({})).with_inputs(inputs)).await.unwrap();
    assert_eq!((output.pictures.len(), output.pictures[0].width), (1, 64));
    let fields = json!({"horizontalExpansionRatio": 2, "verticalExpansionRatio": 1, "imageCount": 2});
    let output = run(&Fill::new(), job("outpaint", fields).with_inputs(vec![input(picture)])).await.unwrap();
    let seeds: Vec<_> = output.pictures.iter().map(|picture| picture.seed.unwrap()).collect();
    assert!((0..1 << 31).contains(&seeds[0]) && seeds[1] == seeds[0] + 1);
}

#[test]
fn cancellation_stops_the_work_and_progress_is_reported() {
    let picture = input(png(textured::<Rgb<u8>>(700, 700, |value| value as u8)));
    let (monitor, watch) = Monitor::new();
    let work = std::thread::spawn({
        let expansion = Expansion { horizontal: 4.0, vertical: 4.0, count: 4, seed: 1 };
        move || fill::outpaint(&picture, &expansion, &LIMITS, &monitor)
    });
    while watch.progress.borrow().percent < 5.0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    watch.cancel.cancel();
    assert_eq!(work.join().unwrap(), Err(EngineError::Cancelled));
    let percent = watch.progress.borrow().percent;
    assert!((5.0..100.0).contains(&percent), "{percent}");

    let (monitor, watch) = Monitor::new();
    let picture = input(png(textured::<Rgb<u8>>(64, 48, |value| value as u8)));
    fill::remove(&picture, &masking(png(mask((64, 48), (20, 20, 10, 10)))), &LIMITS, &monitor).unwrap();
    assert_eq!(watch.progress.borrow().percent, 100.0);
}

#[test]
fn a_hole_larger_than_the_canvas_is_filled_too() {
    let picture = textured::<Rgb<u8>>(3000, 2800, |value| value as u8);
    let hole = (700, 600, 1500, 1700);
    let clean = pixels(&remove(png(picture.clone()), png(mask((3000, 2800), hole))).unwrap()).to_rgb8();
    for (x, y, pixel) in clean.enumerate_pixels() {
        match may_change((x, y), hole) {
            false => assert_eq!(pixel, picture.get_pixel(x, y), "{x},{y}"),
            true => assert!((50..200).contains(&pixel.0[0]), "{x},{y}: {pixel:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is marked, other pixels stay exactly, and filled ones have existing colours.
    #[test]
    fn any_mask_on_any_small_picture_is_filled(
        (width, height) in (1_u32..40, 1_u32..40),
        marks in prop::collection::vec((0_u32..40, 0_u32..40, 1_u32..16, 1_u32..16), 1..4),
    ) {
        let marked = |x: u32, y: u32| {
            marks.iter().any(|(left, top, wide, high)| {
                (*left..left + wide).contains(&x) && (*top..top + high).contains(&y)
            })
        };
        let mask = GrayImage::from_fn(width, height, |x, y| Luma([if marked(x, y) { 255 } else { 0 }]));
        let picture = RgbImage::from_fn(width, height, |x, y| {
            if marked(x, y) { Rgb([255, 0, 0]) } else { Rgb([100 + (x % 8) as u8, 140, 160 + (y % 8) as u8]) }
        });
        let lights = mask.pixels().filter(|pixel| pixel.0[0] > 0).count();
        let result = remove(png(picture.clone()), png(mask));
        if lights == 0 || lights == (width * height) as usize {
            let rejected = matches!(result, Err(EngineError::Rejected { .. }));
            prop_assert!(rejected);
            return Ok(());
        }
        let clean = pixels(&result.unwrap()).to_rgb8();
        for (x, y, pixel) in clean.enumerate_pixels() {
            let changes = marks.iter().any(|mark| may_change((x, y), *mark));
            if changes {
                prop_assert!(pixel.0[1] > 90 && pixel.0[0] < 180, "{}, {}: {:?}", x, y, pixel);
            } else {
                prop_assert_eq!(pixel, picture.get_pixel(x, y));
            }
        }
    }

    #[test]
    fn sizes_are_rounded(width in 1_u32..50, height in 1_u32..50, horizontal in 1.0..4.0, vertical in 1.0..4.0) {
        let picture = png(RgbImage::from_pixel(width, height, Rgb([80, 90, 100])));
        let larger = outpaint(picture, Expansion { horizontal, vertical, count: 1, seed: 1 }).unwrap();
        let grown = |side: u32, ratio: f64| (f64::from(side) * ratio).round() as u32;
        prop_assert_eq!((larger[0].width, larger[0].height), (grown(width, horizontal), grown(height, vertical)));
        prop_assert!(pixels(&larger[0]).to_rgb8().pixels().all(|pixel| pixel.0 == [80, 90, 100]));
    }
}
