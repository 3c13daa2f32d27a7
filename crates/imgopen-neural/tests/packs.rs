//! The packs themselves, on a photograph of an astronaut before a flag and a model of a shuttle.
//!
//! They are not part of the repository. `IMGOPEN_TEST_MODELS` names a models directory with those that you have pulled, whichever
//! they are; without it, nothing is tested.
#![allow(clippy::unwrap_used)]

mod support;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bytes::Bytes;
use image::DynamicImage;
use imgopen_engine::{Auditor, Engine, Format, Monitor, Picture, PictureLimits};
use imgopen_neural::{Background, Nets, Safety, SessionSettings, Upscale};
use imgopen_picture::decode;
use imgopen_tools::lanczos;
use imgopen_types::operations::{REMOVE_BACKGROUND, SUPER_RESOLUTION};
use serde_json::json;

use support::{job, png, run};

/// 512x512 pixels.
const ASTRONAUT: &[u8] = include_bytes!("../../imgopen-cli/assets/astronaut.jpg");

fn nets() -> Option<Nets> {
    let Some(models) = std::env::var_os("IMGOPEN_TEST_MODELS").map(PathBuf::from) else {
        eprintln!("IMGOPEN_TEST_MODELS is not set: nothing is tested");
        return None;
    };
    Some(Nets::in_models(&models, NonZeroUsize::new(2).unwrap(), SessionSettings::default()))
}

fn read(bytes: &[u8]) -> DynamicImage {
    decode(bytes, &PictureLimits::default()).unwrap().image
}

/// With ISNet by ONNX Runtime 1.32, refined in the same way in Python, 0.534 of the picture is opaque; with the net for people by
/// LiteRT 2.3, 0.545.
#[tokio::test(flavor = "multi_thread")]
async fn the_astronaut_is_cut_out() {
    let Some(engine) = nets().map(Background::new).filter(|engine| !engine.offers().is_empty()) else { return };
    let job = job(&REMOVE_BACKGROUND, "sourceImage", Bytes::from_static(ASTRONAUT), json!({}));
    let output = run(&engine, job).await.unwrap();
    eprintln!("{}", output.notes[0]);
    let cut = read(&output.pictures[0].bytes).into_rgba8();
    let share = cut.pixels().map(|pixel| f64::from(pixel.0[3]) / 255.0).sum::<f64>() / (512.0 * 512.0);
    let most = if output.notes[0].contains("isnet") { 0.01 } else { 0.03 };
    assert!((share - 0.534).abs() < most, "{share}");
    // Her face, her suit, the flag, and the model behind her.
    for ((x, y), is_subject) in [((220, 120), true), ((200, 400), true), ((60, 60), false), ((450, 120), false)] {
        let opacity = cut.get_pixel(x, y).0[3];
        assert_eq!(opacity > 250, is_subject, "{x},{y}: {opacity}");
        assert_eq!(opacity < 5, !is_subject, "{x},{y}: {opacity}");
    }
}

/// In a face that was averaged to half its size. With ncnn, neighbours differ 2.35 times as much as after resampling, and the
/// result is off by 7.3 of 255 on average; the original's differ 2.07 times as much.
#[tokio::test(flavor = "multi_thread")]
async fn detail_is_rebuilt() {
    let Some(engine) = nets().map(Upscale::new).filter(|engine| !engine.offers().is_empty()) else { return };
    let face = read(ASTRONAUT).crop_imm(160, 50, 128, 128);
    let small = face.thumbnail_exact(64, 64);
    let output = run(&engine, job(&SUPER_RESOLUTION, "image", png(&small), json!({"scale": 2}))).await.unwrap();
    eprintln!("{}", output.notes[0]);
    let large = read(&output.pictures[0].bytes);
    assert_eq!((large.width(), large.height()), (128, 128));
    // The squares of differences between neighbours, which blurring lowers.
    let sharpness = |image: &DynamicImage| {
        let gray = image.to_luma8();
        let steps = (0..127).flat_map(|x| (0..128).map(move |y| (x, y)));
        steps
            .map(|(x, y)| (f64::from(gray.get_pixel(x + 1, y).0[0]) - f64::from(gray.get_pixel(x, y).0[0])).powi(2))
            .sum::<f64>()
    };
    let resampled = lanczos::resize(small, 128, 128).unwrap();
    assert!(sharpness(&large) > 1.5 * sharpness(&resampled), "{} {}", sharpness(&large), sharpness(&resampled));
    // It is still the same picture.
    let off = |image: &DynamicImage| {
        let pairs = image.to_rgb8().into_raw().into_iter().zip(face.to_rgb8().into_raw());
        pairs.map(|(one, other)| f64::from(one.abs_diff(other))).sum::<f64>() / (3.0 * 128.0 * 128.0)
    };
    assert!(off(&large) < 9.0, "{}", off(&large));
}

/// With ONNX Runtime 1.32 and Pillow 0.0177. Yahoo's own steps compress what is squeezed as JPEG before, which is left out here.
#[test]
fn the_astronaut_is_safe_for_work() {
    let Some(safety) = nets().map(Safety::new).filter(|safety| safety.ready().is_ok()) else { return };
    let bytes = Bytes::from_static(ASTRONAUT);
    let picture = Picture { bytes, format: Format::Jpeg, width: 512, height: 512, seed: None };
    let labels = safety.audit(&picture, &PictureLimits::default(), &Monitor::new().0).unwrap();
    assert_eq!((labels.len(), labels[0].name.as_str()), (1, "nsfw"));
    assert!((labels[0].confidence - 0.0177).abs() < 0.003, "{}", labels[0].confidence);
}
