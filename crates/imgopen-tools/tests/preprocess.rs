//! Preprocessors are compared with straightforward computations of the same rules, on pictures of every kind and size.
#![allow(clippy::unwrap_used)]

mod support;

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use imgopen_engine::{Engine, EngineError, Format, Grade, Job, Monitor, PictureLimits, Preprocessing, Resolution};
use imgopen_picture::{Attached, decode, encode};
use imgopen_tools::Preprocessors;
use imgopen_tools::preprocess::{Preprocessor, preprocess, preprocess_as};
use proptest::prelude::*;
use serde_json::json;

use support::{URL, file, input, job, request, run};

fn made(image: impl Into<DynamicImage>, preprocessor: Preprocessor) -> DynamicImage {
    preprocess(image.into(), preprocessor, &Monitor::new().0).unwrap()
}

/// As the preprocessor of the web UI with these settings.
fn made_as(image: impl Into<DynamicImage>, preprocessor: Preprocessor, asked: &Preprocessing) -> DynamicImage {
    preprocess_as(image.into(), preprocessor, asked, &Monitor::new().0).unwrap()
}

/// Settings with the web UI's defaults.
fn at(resolution: Resolution) -> Preprocessing {
    Preprocessing { resolution, threshold_a: None, threshold_b: None }
}

/// The thresholds of previews.
const USUAL: [i64; 2] = [100, 200];

/// Textbook Canny: whole arrays, one pixel at a time, the direction in floating point.
fn canny(gray: &GrayImage, [low, high]: [i64; 2]) -> GrayImage {
    let (width, height) = gray.dimensions();
    let at = |x: i64, y: i64| {
        let (x, y) = (x.clamp(0, i64::from(width) - 1), y.clamp(0, i64::from(height) - 1));
        i64::from(gray.get_pixel(x as u32, y as u32).0[0])
    };
    let gradient = |x: i64, y: i64| {
        let across = |y| at(x + 1, y) - at(x - 1, y);
        let down = |x| at(x, y + 1) - at(x, y - 1);
        (across(y - 1) + 2 * across(y) + across(y + 1), down(x - 1) + 2 * down(x) + down(x + 1))
    };
    let inside = |x: i64, y: i64| x >= 0 && y >= 0 && x < i64::from(width) && y < i64::from(height);
    let size = |x: i64, y: i64| if inside(x, y) { gradient(x, y).0.abs() + gradient(x, y).1.abs() } else { 0 };
    let greatest = |x: i64, y: i64| {
        let (gx, gy) = gradient(x, y);
        let slope = gy.abs() as f64 / gx.abs() as f64;
        let own = size(x, y);
        if slope < (std::f64::consts::PI / 8.0).tan() {
            own > size(x - 1, y) && own >= size(x + 1, y)
        } else if slope > (std::f64::consts::PI * 3.0 / 8.0).tan() {
            own > size(x, y - 1) && own >= size(x, y + 1)
        } else {
            let side = if (gx < 0) == (gy < 0) { 1 } else { -1 };
            own > size(x - side, y - 1) && own > size(x + side, y + 1)
        }
    };
    let mut edges = GrayImage::new(width, height);
    let mut found = Vec::new();
    let pixels = (0..i64::from(height)).flat_map(|y| (0..i64::from(width)).map(move |x| (x, y)));
    for (x, y) in pixels.filter(|(x, y)| size(*x, *y) > high && greatest(*x, *y)) {
        found.push((x, y));
        edges.put_pixel(x as u32, y as u32, Luma([255]));
    }
    while let Some((x, y)) = found.pop() {
        for (x, y) in (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (x + dx, y + dy))) {
            if inside(x, y) && edges.get_pixel(x as u32, y as u32).0[0] == 0 && size(x, y) > low && greatest(x, y) {
                found.push((x, y));
                edges.put_pixel(x as u32, y as u32, Luma([255]));
            }
        }
    }
    edges
}

/// Blocks, ramps and noise.
fn busy(width: u32, height: u32, seed: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        let noise = (x * 7919 + y * 104_729 + seed * 1299).wrapping_mul(2_654_435_761) >> 16;
        let block = if (x / 7 + y / 5 + seed).is_multiple_of(3) { 90 } else { 0 };
        Luma([(block + x * 3 + noise % (1 + seed * 13 % 140)) as u8])
    })
}

#[test]
fn canny_matches_its_definition() {
    for (seed, (width, height)) in (0..).zip([(1, 1), (1, 9), (9, 1), (2, 2), (3, 5), (40, 31), (67, 90), (128, 33)]) {
        let gray = busy(width, height, seed);
        let edges = made(gray.clone(), Preprocessor::Canny).to_luma8();
        assert_eq!(edges, canny(&gray, USUAL), "{width}x{height}");
    }
    let edges = made(busy(128, 128, 6), Preprocessor::Canny).to_luma8();
    assert!(edges.iter().filter(|sample| **sample == 255).count() > 200);
}

#[test]
fn brightness_has_the_weights_of_opencv() {
    // Steps of colour that are steep enough in one channel only if it has its weight.
    let step = |color: [u8; 3]| {
        let image = RgbImage::from_fn(16, 16, |x, _| if x < 8 { Rgb([0, 0, 0]) } else { Rgb(color) });
        made(image, Preprocessor::Canny).to_luma8().iter().any(|sample| *sample != 0)
    };
    // The gradient of a step is four times its height, so heights above 50 make edges.
    assert_eq!([step([169, 0, 0]), step([168, 0, 0])], [true, false]);
    assert_eq!([step([0, 87, 0]), step([0, 86, 0])], [true, false]);
    assert_eq!([step([0, 0, 255]), step([60, 60, 0])], [false, true]);
}

/// The kernel's weights from the middle outwards, over four deviations.
fn gaussian(deviation: f64) -> Vec<f64> {
    let reach = (4.0 * deviation).round() as i32;
    let raw: Vec<f64> = (-reach..=reach).map(|x| (-f64::from(x * x) / (2.0 * deviation * deviation)).exp()).collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|weight| weight / sum).collect()
}

/// One channel, blurred by the whole kernel at once.
fn blurred(image: &RgbImage, channel: usize, deviation: f64, (x, y): (u32, u32)) -> f64 {
    let weights = gaussian(deviation);
    let reach = weights.len() as i64 / 2;
    let mirrored = |at: i64, length: u32| {
        let period = 2 * (i64::from(length) - 1);
        let at = if period == 0 { 0 } else { at.rem_euclid(period) };
        at.min(period - at) as u32
    };
    let rows = (-reach..=reach).zip(&weights).map(|(dy, down)| {
        let columns = (-reach..=reach).zip(&weights).map(|(dx, across)| {
            let (x, y) = (mirrored(i64::from(x) + dx, image.width()), mirrored(i64::from(y) + dy, image.height()));
            f64::from(image.get_pixel(x, y).0[channel]) * across
        });
        columns.sum::<f64>() * down
    });
    rows.sum()
}

fn colors(width: u32, height: u32) -> RgbImage {
    let planes = [busy(width, height, 3), busy(width, height, 4), busy(width, height, 8)];
    RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|plane: usize| planes[plane].get_pixel(x, y).0[0])))
}

#[test]
fn scribbles_are_what_is_darker_than_around_in_all_channels() {
    for image in [colors(50, 45), colors(33, 7), colors(1, 20)] {
        let strokes = made(image.clone(), Preprocessor::Scribble).to_luma8();
        let mut both = [0, 0];
        for (x, y, pixel) in strokes.enumerate_pixels() {
            let depth = |channel| blurred(&image, channel, 5.0, (x, y)) - blurred(&image, channel, 0.5, (x, y));
            let least = (0..3).map(depth).fold(f64::INFINITY, f64::min);
            if (least - 16.0).abs() > 0.01 {
                assert_eq!(pixel.0[0], if least > 16.0 { 255 } else { 0 }, "{x},{y}: {least}");
            }
            both[usize::from(pixel.0[0] == 255)] += 1;
        }
        assert!(image.width() < 50 || both[0] > 20 && both[1] > 20, "{both:?}");
    }
}

#[test]
fn a_line_of_usual_strength_is_half_as_bright_as_can_be() {
    let image = colors(48, 40);
    let lines = made(image.clone(), Preprocessor::LineArt).to_luma8();
    let depth = |x, y| {
        let depth = |channel| blurred(&image, channel, 6.0, (x, y)) - f64::from(image.get_pixel(x, y).0[channel]);
        (0..3).map(depth).fold(f64::INFINITY, f64::min).clamp(0.0, 255.0)
    };
    let mut strengths: Vec<f64> =
        lines.enumerate_pixels().map(|(x, y, _)| depth(x, y)).filter(|depth| *depth > 8.0).collect();
    strengths.sort_by(f64::total_cmp);
    let median = strengths[strengths.len() / 2].max(16.0);
    for (x, y, pixel) in lines.enumerate_pixels() {
        let expected = (depth(x, y) / median * 127.0).min(255.0);
        assert!((f64::from(pixel.0[0]) - expected).abs() < 2.0, "{x},{y}: {} {expected}", pixel.0[0]);
    }
}

#[test]
fn soft_edges_stand_on_outlines() {
    let image = GrayImage::from_fn(96, 96, |x, y| if x > 30 && y > 20 { Luma([220]) } else { Luma([40]) });
    let edges = made(image, Preprocessor::SoftEdge).to_luma8();
    let at = |x, y| edges.get_pixel(x, y).0[0];
    assert!(at(30, 60) > 200 && at(31, 60) > 200 && at(60, 20) > 200, "{} {}", at(30, 60), at(60, 20));
    assert!(at(5, 5) == 0 && at(60, 60) == 0 && at(10, 90) == 0);
    // Soft: it falls off to both sides.
    assert!(at(28, 60) < at(30, 60) && at(28, 60) > 20 && at(33, 60) < at(31, 60));
    // Weak noise does not become edges.
    let noise = GrayImage::from_fn(64, 64, |x, y| Luma([127 + ((x * 31 + y * 17) % 3) as u8]));
    assert!(made(noise, Preprocessor::SoftEdge).to_luma8().iter().all(|sample| *sample < 60));
}

#[test]
fn threshold_needs_all_channels() {
    let image = RgbImage::from_raw(4, 1, vec![128, 128, 128, 127, 255, 255, 255, 255, 128, 200, 200, 10]).unwrap();
    assert_eq!(made(image, Preprocessor::Threshold).to_luma8().as_raw(), &[255, 0, 255, 0]);
}

#[test]
fn the_negative_of_the_negative_is_the_picture() {
    let image = DynamicImage::from(colors(20, 10));
    let negative = made(image.clone(), Preprocessor::Invert);
    assert!(negative.as_bytes().iter().zip(image.as_bytes()).all(|(a, b)| a + b == 255));
    assert_eq!(made(negative, Preprocessor::Invert), image);
    assert_eq!(made(image.clone(), Preprocessor::None), image);
}

#[test]
fn a_tile_keeps_means_and_loses_detail() {
    // Stripes that are finer than a block, and a ramp that is coarser.
    let stripes = GrayImage::from_fn(64, 64, |x, _| Luma([if x % 2 == 0 { 60 } else { 140 }]));
    assert!(made(stripes, Preprocessor::Tile).to_luma8().iter().all(|sample| *sample == 100));
    let ramp = GrayImage::from_fn(128, 32, |x, _| Luma([x as u8]));
    let tile = made(ramp, Preprocessor::Tile).to_luma8();
    assert!(
        tile.enumerate_pixels().filter(|(x, _, _)| (8..120).contains(x)).all(|(x, _, p)| p.0[0].abs_diff(x as u8) < 2)
    );
}

#[test]
fn the_grid_of_colours_has_cells_of_one_colour() {
    let image = made(colors(150, 70), Preprocessor::Color).to_rgb8();
    // Two cells across and one down.
    let (left, right) = (image.get_pixel(0, 0), image.get_pixel(149, 69));
    assert_ne!(left, right);
    assert!(image.enumerate_pixels().all(|(x, _, pixel)| pixel == if x < 75 { left } else { right }));
    let flat = made(RgbImage::from_pixel(200, 100, Rgb([1, 128, 255])), Preprocessor::Color).to_rgb8();
    assert!(flat.pixels().all(|pixel| pixel.0 == [1, 128, 255]));
}

#[test]
fn shuffling_moves_pixels_and_makes_no_others() {
    let image =
        RgbImage::from_fn(300, 200, |x, y| if x < 150 { Rgb([200, y as u8, 0]) } else { Rgb([40, y as u8, 90]) });
    let moved = made(image.clone(), Preprocessor::Shuffle).to_rgb8();
    assert_eq!(moved, made(image.clone(), Preprocessor::Shuffle).to_rgb8());
    assert_ne!(moved, image);
    // Between the two colours there is one seam only, so that nearly all pixels have one of them.
    let pure = moved.pixels().filter(|pixel| matches!(pixel.0, [200, _, 0] | [40, _, 90])).count();
    assert!(pure as f64 > 0.97 * 60_000.0, "{pure}");
    assert!(moved.pixels().all(|pixel| (40..=200).contains(&pixel.0[0]) && pixel.0[1] < 200 && pixel.0[2] <= 90));
    // From edge to edge.
    let rows: Vec<u8> = moved.pixels().map(|pixel| pixel.0[1]).collect();
    assert!(rows.iter().min() < Some(&3) && rows.iter().max() > Some(&196));
}

#[test]
fn thresholds_are_those_that_are_given() {
    let gray = busy(90, 70, 6);
    let with = |threshold_a: f64, threshold_b: f64| Preprocessing {
        resolution: Resolution::Shorter(70),
        threshold_a: Some(threshold_a),
        threshold_b: Some(threshold_b),
    };
    let edges = |asked: &Preprocessing| made_as(gray.clone(), Preprocessor::Canny, asked).to_luma8();
    let usual = canny(&gray, USUAL);
    // Fractions have no effect, and OpenCV takes the thresholds in any order.
    for (one, other, thresholds) in
        [(100.0, 200.0, USUAL), (20.0, 60.0, [20, 60]), (250.7, 90.2, [90, 250]), (0.0, 256.0, [0, 256])]
    {
        let expected = canny(&gray, thresholds);
        assert_eq!(edges(&with(one, other)), expected, "{one} {other}");
        assert_eq!(expected == usual, thresholds == USUAL, "{thresholds:?}");
    }
    assert_eq!(edges(&at(Resolution::Shorter(70))), usual);
    let image = RgbImage::from_raw(4, 1, vec![128, 128, 128, 127, 255, 255, 255, 255, 30, 31, 200, 90]).unwrap();
    let above = |threshold: f64| {
        let asked = Preprocessing { threshold_a: Some(threshold), ..at(Resolution::Shorter(1)) };
        made_as(image.clone(), Preprocessor::Threshold, &asked).to_luma8().into_raw()
    };
    assert_eq!([above(127.5), above(30.0), above(255.0)], [[255, 0, 0, 0], [255, 255, 0, 255], [0; 4]]);
    let image = colors(50, 45);
    let asked = Preprocessing { threshold_a: Some(9.0), ..at(Resolution::Shorter(45)) };
    let strokes = made_as(image.clone(), Preprocessor::Scribble, &asked).to_luma8();
    for (x, y, pixel) in strokes.enumerate_pixels() {
        let depth = |channel| blurred(&image, channel, 5.0, (x, y)) - blurred(&image, channel, 0.5, (x, y));
        let least = (0..3).map(depth).fold(f64::INFINITY, f64::min);
        if (least - 4.0).abs() > 0.01 {
            assert_eq!(pixel.0[0], if least > 4.0 { 255 } else { 0 }, "{x},{y}: {least}");
        }
    }
    assert_ne!(strokes, made(image, Preprocessor::Scribble).to_luma8());
}

#[test]
fn a_tile_is_reduced_at_the_rate_that_is_given() {
    let image = DynamicImage::from(colors(64, 48));
    let tile = |threshold_a: Option<f64>| {
        let asked = Preprocessing { threshold_a, ..at(Resolution::Shorter(512)) };
        made_as(image.clone(), Preprocessor::Tile, &asked)
    };
    // As in the web UI, little is none.
    assert_eq!([tile(None), tile(Some(1.0)), tile(Some(1.05))], [(); 3].map(|()| image.clone()));
    assert_eq!(tile(Some(8.0)), made(image.clone(), Preprocessor::Tile));
    assert_ne!(tile(Some(2.0)), tile(Some(8.0)));
    let stripes = GrayImage::from_fn(64, 64, |x, _| Luma([if x % 2 == 0 { 60 } else { 140 }]));
    let asked = Preprocessing { threshold_a: Some(2.0), ..at(Resolution::Shorter(512)) };
    let tile = made_as(stripes, Preprocessor::Tile, &asked).to_luma8();
    assert!(tile.iter().all(|sample| *sample == 100));
}

#[test]
fn a_picture_is_brought_to_the_resolution_before_it_is_read() {
    // Each pixel becomes a block, or the other way round.
    let small = GrayImage::from_fn(20, 10, |x, y| Luma([if (x / 5 + y / 5) % 2 == 0 { 255 } else { 0 }]));
    let large = GrayImage::from_fn(80, 40, |x, y| *small.get_pixel(x / 4, y / 4));
    let (shrunk, grown) = (at(Resolution::Shorter(10)), at(Resolution::Within(90, 40)));
    assert_eq!(made_as(large.clone(), Preprocessor::Threshold, &shrunk).to_luma8(), small);
    assert_eq!(made_as(small.clone(), Preprocessor::Threshold, &grown).to_luma8(), large);
    for one in Preprocessor::ALL {
        let made_at = made_as(large.clone(), one, &at(Resolution::Covering(160, 200)));
        let size = match one {
            Preprocessor::Invert | Preprocessor::Tile | Preprocessor::None => (80, 40),
            _ => (400, 200),
        };
        assert_eq!((made_at.width(), made_at.height()), size, "{one}");
        // A size that stays changes nothing.
        if one != Preprocessor::Tile {
            assert_eq!(made_as(large.clone(), one, &at(Resolution::Shorter(40))), made(large.clone(), one), "{one}");
        }
    }
}

#[test]
fn every_kind_of_picture_is_taken() {
    let pictures: Vec<DynamicImage> = vec![
        ImageBuffer::from_pixel(9, 7, Luma([7_u8])).into(),
        ImageBuffer::from_pixel(9, 7, LumaA([7_u8, 100])).into(),
        ImageBuffer::from_pixel(9, 7, Rgb([7_u8, 8, 9])).into(),
        ImageBuffer::from_pixel(9, 7, Rgba([7_u8, 8, 9, 0])).into(),
        ImageBuffer::from_pixel(9, 7, Luma([7_u16])).into(),
        ImageBuffer::from_pixel(9, 7, LumaA([7_u16, 9])).into(),
        ImageBuffer::from_pixel(9, 7, Rgb([700_u16, 8, 9])).into(),
        ImageBuffer::from_pixel(9, 7, Rgba([7_u16, 8, 9, 65535])).into(),
    ];
    for picture in pictures {
        let plain = made(picture.clone(), Preprocessor::None);
        for one in Preprocessor::ALL {
            let made = made(picture.clone(), one);
            assert_eq!((made.width(), made.height()), (9, 7));
            // Of one colour before, of one colour after.
            let pixels = usize::from(made.color().channel_count());
            let first = &made.as_bytes()[..pixels];
            assert!(made.as_bytes().chunks(pixels).all(|pixel| pixel == first), "{one}");
            use Preprocessor::{Color, Shuffle, Tile};
            if matches!(one, Color | Shuffle | Tile) {
                assert_eq!(made, plain, "{one}");
            }
            if matches!(
                one,
                Preprocessor::Canny | Preprocessor::Scribble | Preprocessor::SoftEdge | Preprocessor::LineArt
            ) {
                assert_eq!((first, made.color()), (&[0][..], image::ColorType::L8), "{one}");
            }
        }
    }
}

fn asked(preprocessor: &str) -> Job {
    let bytes = file(&colors(40, 30).into(), ImageFormat::Png);
    job("preview_controlnet", json!({"preprocessor": preprocessor})).with_inputs(vec![input(bytes)])
}

#[tokio::test]
async fn the_offer_lists_what_is_served() {
    let offers = Preprocessors::new().offers();
    assert_eq!((offers.len(), offers[0].grade, offers[0].values.len()), (1, Grade::Classical, 1));
    let listed = &offers[0].values[0];
    assert_eq!((listed.field, listed.values.len()), ("preprocessor", 10));
    for name in listed.values.iter().map(String::as_str).chain(["t2ia_color_grid", "Lineart_Standard"]) {
        let output = run(&Preprocessors::new(), asked(name)).await.unwrap();
        let [picture] = &output.pictures[..] else { panic!("{output:?}") };
        assert_eq!((picture.format, picture.width, picture.height), (Format::Png, 40, 30));
        let read = decode(&picture.bytes, &PictureLimits::default()).unwrap().image;
        assert_eq!(read, made(colors(40, 30), name.parse().unwrap()), "{name}");
    }
}

/// The red of sRGB in Display P3 is `color(display-p3 0.9175 0.2003 0.1386)`, as CSS Color 4 says.
#[tokio::test]
async fn colours_look_as_they_did() {
    let red: DynamicImage = RgbImage::from_pixel(130, 70, Rgb([234, 51, 35])).into();
    let attached = Attached { profile: Some(include_bytes!("data/display-p3.icc")), ..Attached::default() };
    for format in [Format::Png, Format::WebP] {
        let bytes = encode(&red, format, &attached).unwrap();
        for (preprocessor, expected) in [
            ("none", [255, 0, 0]),
            ("tile", [255, 0, 0]),
            ("shuffle", [255, 0, 0]),
            ("color", [255, 0, 0]),
            ("invert", [0, 255, 255]),
        ] {
            let job = job("preview_controlnet", json!({"preprocessor": preprocessor}))
                .with_inputs(vec![input(bytes.clone())]);
            let output = run(&Preprocessors::new(), job).await.unwrap();
            let read = decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap();
            assert_eq!(read.profile, None);
            // Little CMS 2.19 makes (255, 0, 3) of it.
            let near = |pixel: &Rgb<u8>| pixel.0.iter().zip(expected).all(|(one, other)| one.abs_diff(other) <= 3);
            assert!(
                read.image.to_rgb8().pixels().all(near),
                "{preprocessor}: {:?}",
                read.image.to_rgb8().get_pixel(0, 0)
            );
        }
    }
}

#[tokio::test]
async fn unknown_preprocessors_are_rejected_before_and_in_the_job() {
    let engine = Preprocessors::new();
    let check = |fields| engine.check(&request("preview_controlnet", fields)).map(drop);
    assert_eq!(check(json!({"preprocessor": "canny"})), Ok(()));
    let error = check(json!({"preprocessor": "scribble_hed"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`preprocessor`: \"scribble_hed\" is not a preprocessor of this engine; give one of canny, scribble, softedge, \
         lineart, threshold, invert, tile, shuffle, color, none; did you mean scribble?"
    );
    assert_eq!(run(&engine, asked("scribble_hed")).await.unwrap_err(), error);
    // Networks that only back ends have.
    for (name, need) in [
        ("openpose_full", "a network for poses"),
        ("Normal_BAE", "a network for surfaces"),
        ("mlsd", "a network for straight lines"),
        ("seg_ofade20k", "a network that knows the 150 classes of ADE20K"),
    ] {
        let error = check(json!({"preprocessor": name})).unwrap_err().to_string();
        let begins = format!("`preprocessor`: \"{name}\" needs {need}, which A1111 and Forge have, as back ends with");
        assert!(
            error.starts_with(&begins)
                && error.ends_with(
                    "without it, give one of canny, scribble, softedge, lineart, \
            threshold, invert, tile, shuffle, color, none"
                ),
            "{error}"
        );
    }
    for (fields, problem) in [
        (json!({}), "missing; give "),
        (json!({"preprocessor": " "}), "missing; give one of canny, "),
        (json!({"preprocessor": 7}), "7 given"),
    ] {
        let error = check(fields).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`preprocessor`: {problem}")), "{error}");
    }
    let broken = asked("canny").with_inputs(vec![input(b"8BPS\0\x01".to_vec())]);
    let error = run(&engine, broken).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`sourceImage`: the picture at {URL} is a Photoshop file (PSD); give a PNG, JPEG, WebP, GIF, BMP or TIFF file"
        )
    );
}

/// A job for the control picture of another engine's job.
fn asked_as(preprocessor: &str, asked: Preprocessing) -> Job {
    let request = request("preview_controlnet", json!({"preprocessor": preprocessor})).with_preprocessing(asked);
    let bytes = file(&colors(40, 30).into(), ImageFormat::Png);
    Job::new(request, "run").with_inputs(vec![input(bytes)])
}

#[tokio::test]
async fn a_control_picture_is_made_as_another_engine_asks() {
    let engine = Preprocessors::new();
    let given = Preprocessing { threshold_a: Some(30.0), threshold_b: Some(60.0), ..at(Resolution::Shorter(60)) };
    let output = run(&engine, asked_as("canny", given)).await.unwrap();
    let read = decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image;
    assert_eq!((read.width(), read.height()), (80, 60));
    assert_eq!(read, made_as(colors(40, 30), Preprocessor::Canny, &given));
    // At the size of the source, the result is that of a preview, to the byte.
    let same = run(&engine, asked_as("canny", at(Resolution::Shorter(30)))).await.unwrap();
    assert_eq!(same.pictures[0].bytes, run(&engine, asked("canny")).await.unwrap().pictures[0].bytes);
    for (field, out, problem) in [
        (
            "threshold_a",
            Preprocessing { threshold_a: Some(-5.0), ..given },
            "-5 given; give a number from 0 to 256, or ",
        ),
        (
            "threshold_b",
            Preprocessing { threshold_b: Some(257.0), ..given },
            "257 given; give a number from 0 to 256, or ",
        ),
    ] {
        let job = asked_as("canny", out);
        let error = engine.check(job.checked_request()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{field}`: {problem}")), "{error}");
        assert_eq!(run(&engine, job).await.unwrap_err(), error);
        // What it does not take has no effect.
        assert_eq!(engine.check(asked_as("softedge", out).checked_request()), Ok(()));
    }
}

#[tokio::test]
async fn a_resolution_is_bounded_and_its_memory_counted() {
    let engine = Preprocessors::new();
    let limits = PictureLimits { pixels: 4800, ..PictureLimits::default() };
    let job = |name: &str, side: u32| asked_as(name, at(Resolution::Shorter(side))).with_limits(limits);
    assert!(run(&engine, job("canny", 60)).await.is_ok());
    let error = run(&engine, job("canny", 61)).await.unwrap_err();
    let problem = "81x61 pixels would be made of 40x30 for the preprocessor; at most 4800 pixels in all and 65535 on a side are \
                   allowed";
    assert_eq!(error, EngineError::rejected("resolution", problem));
    // It is not brought to it.
    assert!(run(&engine, job("invert", 61)).await.is_ok());
    let pixels = |name: &str, side: u32| engine.memory(&job(name, side)) / 17;
    assert_eq!([pixels("canny", 15), pixels("canny", 60), pixels("canny", 600)], [1200, 4800, 4800]);
    assert_eq!((pixels("invert", 60), engine.memory(&asked("canny")) / 17), (1200, 1200));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_size_is_kept(width in 1..150_u32, height in 1..150_u32, which in 0..10_usize, gray: bool) {
        let image = DynamicImage::from(colors(width, height));
        let image = if gray { image.to_luma8().into() } else { image };
        let made = made(image, Preprocessor::ALL[which]);
        prop_assert_eq!((made.width(), made.height()), (width, height));
    }

    #[test]
    fn canny_is_its_definition(width in 1..40_u32, height in 1..40_u32, seed in 0..1000_u32) {
        let gray = busy(width, height, seed);
        prop_assert_eq!(made(gray.clone(), Preprocessor::Canny).to_luma8(), canny(&gray, USUAL));
    }
}
