//! Styles are recognised in pictures drawn to have them.
#![allow(clippy::unwrap_used)]

mod support;

use fastrand::Rng;
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, imageops};
use imgopen_engine::{Engine, Grade, Monitor};
use imgopen_tools::Style;
use imgopen_tools::style::{labels, measure};
use proptest::prelude::*;
use serde_json::json;

use support::{URL, file, input, job, run};

fn named(image: impl Into<DynamicImage>) -> Vec<(String, f64)> {
    let labels = labels(&measure(image.into(), &Monitor::new().0).unwrap());
    labels.into_iter().map(|label| (label.label, label.confidence.unwrap())).collect()
}

fn has(labels: &[(String, f64)], name: &str) -> bool {
    labels.iter().any(|(label, _)| label == name)
}

/// Discs of one colour each on one background, without soft edges.
fn discs(ground: [u8; 3], palette: &[[u8; 3]]) -> RgbImage {
    let mut rng = Rng::with_seed(7);
    let mut image = RgbImage::from_pixel(400, 300, Rgb(ground));
    for index in 0..14 {
        let (cx, cy, radius) = (rng.i64(0..400), rng.i64(0..300), rng.i64(25..90));
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            if (i64::from(x) - cx).pow(2) + (i64::from(y) - cy).pow(2) < radius * radius {
                *pixel = Rgb(palette[index % palette.len()]);
            }
        }
    }
    image
}

/// Lines on paper, each with its own darkness from that range.
fn strokes(count: usize, darkness: std::ops::Range<f64>, thickness: f64, grain: f64) -> GrayImage {
    let mut rng = Rng::with_seed(3);
    let mut paper = vec![248.0; 400 * 300];
    for _ in 0..count {
        let (mut x, mut y) = (rng.f64() * 400.0, rng.f64() * 300.0);
        let (angle, dark) = (rng.f64() * 6.3, darkness.start + rng.f64() * (darkness.end - darkness.start));
        for _ in 0..120 {
            (x, y) = (x + angle.cos() * 0.7, y + angle.sin() * 0.7);
            let reach = thickness.ceil() as i64;
            for (dx, dy) in (-reach..=reach).flat_map(|dx| (-reach..=reach).map(move |dy| (dx, dy))) {
                let (px, py) = (x as i64 + dx, y as i64 + dy);
                let away = ((px as f64 - x).powi(2) + (py as f64 - y).powi(2)).sqrt();
                if (0..400).contains(&px) && (0..300).contains(&py) && away < thickness {
                    let cell: &mut f64 = &mut paper[(py * 400 + px) as usize];
                    *cell = cell.min(248.0 * (1.0 - dark));
                }
            }
        }
    }
    let samples = paper.iter().map(|tone| (tone + (rng.f64() - 0.5) * grain).clamp(0.0, 255.0) as u8).collect();
    GrayImage::from_raw(400, 300, samples).unwrap()
}

/// Soft light with grain, as in a photograph.
fn grainy(tone: impl Fn(f64, f64) -> [f64; 3]) -> RgbImage {
    let mut rng = Rng::with_seed(5);
    RgbImage::from_fn(360, 240, |x, y| {
        let wave =
            ((f64::from(x) / 23.0).sin() + (f64::from(y) / 31.0).cos() + (f64::from(x + 2 * y) / 9.0).sin()) / 3.0;
        Rgb(tone(wave, f64::from(y) / 240.0).map(|tone| (tone + rng.f64() * 12.0 - 6.0).clamp(0.0, 255.0) as u8))
    })
}

#[test]
fn flat_shapes_are_an_illustration() {
    let labels = named(discs([240, 230, 200], &[[200, 40, 40], [30, 90, 200], [250, 200, 30], [20, 20, 30]]));
    assert_eq!(labels[0].0, "illustration", "{labels:?}");
    assert!(!has(&labels, "photograph") && !has(&labels, "line art") && !has(&labels, "black and white"), "{labels:?}");
}

#[test]
fn grain_on_soft_light_is_a_photograph() {
    let labels = named(grainy(|wave, down| [120.0 + 70.0 * wave, 100.0 + 60.0 * down, 90.0 - 40.0 * wave]));
    assert_eq!(labels[0].0, "photograph", "{labels:?}");
    let labels = named(grainy(|wave, _| [120.0 + 70.0 * wave; 3]).clone());
    let gray = named(DynamicImage::from(grainy(|wave, _| [120.0 + 70.0 * wave; 3])).to_luma8());
    assert!(has(&gray, "photograph") && has(&gray, "black and white"), "{gray:?}");
    assert!(has(&labels, "photograph"), "{labels:?}");
}

#[test]
fn ink_is_line_art_and_pencil_a_sketch() {
    let ink = named(strokes(60, 0.9..1.0, 1.5, 0.0));
    assert!(has(&ink, "line art") && has(&ink, "black and white") && !has(&ink, "sketch"), "{ink:?}");
    let pencil = named(strokes(120, 0.25..0.5, 1.2, 8.0));
    assert!(has(&pencil, "sketch") && !has(&pencil, "line art") && !has(&pencil, "photograph"), "{pencil:?}");
    let silhouette =
        GrayImage::from_fn(200, 160, |x, y| Luma([if (60..140).contains(&x) && y > 50 { 0 } else { 255 }]));
    assert_eq!(named(silhouette)[0].0, "line art");
}

#[test]
fn pixel_art_is_recognised_at_any_size() {
    let mut rng = Rng::with_seed(9);
    let palette: Vec<[u8; 3]> = (0..7).map(|_| [rng.u8(..), rng.u8(..), rng.u8(..)]).collect();
    let sprite = RgbImage::from_fn(40, 32, |_, _| Rgb(palette[rng.usize(..7)]));
    for scale in [1, 2, 5, 8, 16] {
        let large = imageops::resize(&sprite, 40 * scale, 32 * scale, imageops::FilterType::Nearest);
        // A margin shifts the grid.
        let framed = imageops::crop_imm(&large, scale / 2, scale / 3, 38 * scale, 30 * scale).to_image();
        let labels = named(framed);
        assert!(has(&labels, "pixel art") && !has(&labels, "photograph"), "{scale}: {labels:?}");
        // Without its grid it is less sure.
        assert!(scale == 1 || labels[0].0 == "pixel art", "{scale}: {labels:?}");
    }
    assert!(!has(&named(discs([255; 3], &[[0; 3]])), "pixel art"));
}

#[test]
fn tones_are_recognised() {
    let dark = named(grainy(|wave, _| [25.0 + 20.0 * wave; 3]));
    assert!(has(&dark, "low key") && !has(&dark, "high key"), "{dark:?}");
    let bright = named(grainy(|wave, _| [225.0 + 20.0 * wave; 3]));
    assert!(has(&bright, "high key") && !has(&bright, "low key"), "{bright:?}");
    let vivid = named(discs([255, 220, 0], &[[255, 0, 60], [0, 120, 255]]));
    assert!(has(&vivid, "vivid") && !has(&vivid, "pastel"), "{vivid:?}");
    let pastel = named(discs([250, 235, 240], &[[200, 225, 245], [245, 205, 215], [210, 240, 205]]));
    assert!(has(&pastel, "pastel") && !has(&pastel, "vivid"), "{pastel:?}");
    let sepia = named(grainy(|wave, _| [112.0, 88.0, 60.0].map(|tone| tone * (1.2 + 0.8 * wave))));
    assert!(has(&sepia, "monochrome") && !has(&sepia, "black and white"), "{sepia:?}");
}

#[test]
fn what_has_no_style_is_abstract() {
    let mut rng = Rng::with_seed(1);
    let pictures: [DynamicImage; 4] = [
        RgbImage::from_pixel(50, 40, Rgb([10, 200, 90])).into(),
        GrayImage::from_fn(256, 100, |x, _| Luma([x as u8])).into(),
        RgbImage::from_fn(200, 200, |_, _| Rgb([rng.u8(..), rng.u8(..), rng.u8(..)])).into(),
        GrayImage::new(1, 1).into(),
    ];
    for picture in pictures {
        let labels = named(picture);
        let kinds = ["photograph", "illustration", "line art", "sketch", "pixel art"];
        assert!(has(&labels, "abstract") && !kinds.iter().any(|kind| has(&labels, kind)), "{labels:?}");
    }
}

#[test]
fn transparency_and_depth_make_no_difference() {
    let image = discs([255; 3], &[[200, 40, 40], [30, 90, 200]]);
    let seen = named(image.clone());
    let clear = ImageBuffer::from_fn(400, 300, |x, y| match image.get_pixel(x, y).0 {
        [255, 255, 255] => Rgba([0, 0, 0, 0]),
        [r, g, b] => Rgba([r, g, b, 255]),
    });
    assert_eq!(named(clear), seen);
    assert_eq!(named(DynamicImage::from(image).to_rgb16()), seen);
}

#[tokio::test]
async fn a_job_gives_labels_and_names_a_bad_input() {
    let offers = Style::new().offers();
    assert_eq!((offers.len(), offers[0].operation.id, offers[0].grade), (1, "recognize_style", Grade::Draft));
    let job = |bytes: Vec<u8>| job("recognize_style", json!({})).with_inputs(vec![input(bytes)]);
    let bytes = file(&discs([255; 3], &[[200, 40, 40], [30, 90, 200]]).into(), ImageFormat::Png);
    let output = run(&Style::new(), job(bytes)).await.unwrap();
    assert!(output.pictures.is_empty() && output.style_labels[0].label == "illustration", "{output:?}");
    let error = run(&Style::new(), job(b"8BPS\0\x01".to_vec())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`sourceImage`: the picture at {URL} is a Photoshop file (PSD); give a PNG, JPEG, WebP, GIF, BMP or TIFF file"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn labels_are_sorted_different_and_in_range(width in 1..80_u32, height in 1..80_u32, seed: u64, spread in 1..=255_u8) {
        let mut rng = Rng::with_seed(seed);
        let image = RgbImage::from_fn(width, height, |_, _| Rgb([rng.u8(..spread), rng.u8(..spread), rng.u8(..spread)]));
        let labels = named(image);
        prop_assert!(!labels.is_empty());
        prop_assert!(labels.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        prop_assert!(labels.iter().all(|(_, confidence)| (0.1..=1.0).contains(confidence)));
        let mut names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), labels.len());
    }
}
