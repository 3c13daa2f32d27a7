//! Marks are legible: Tesseract reads them on photographs, and their contrast suffices.
//!
//! Needs Debian's packages `tesseract-ocr` and `tesseract-ocr-chi-sim`.

use std::path::Path;
use std::process::Command;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, imageops};
use imgopen_engine::PictureLimits;
use imgopen_picture as picture;
use imgopen_tools::Watermark;
use serde_json::json;

use crate::support::{file, input, job, python, run};

const LATIN: &str = "Sample Photo 2026";
const CHINESE: &str = "图片水印测试样品";

/// The backgrounds of marks: light, dark and busy photographs, and none.
fn grounds() -> Vec<(&'static str, RgbImage)> {
    let flat = |gray: u8| RgbImage::from_pixel(512, 384, Rgb([gray; 3]));
    let photo = |name| (name, python::photo(name));
    let mut grounds = vec![("white", flat(255)), ("gray", flat(128)), ("black", flat(0))];
    grounds.extend(["astronaut", "coffee", "rocket", "chelsea", "moon", "gravel", "grass", "retina"].map(photo));
    grounds
}

/// Returns the picture with a text on it, written and read in that format.
fn marked(ground: &RgbImage, text: &str, position: &str, format: ImageFormat) -> RgbImage {
    let request = json!({"watermarkText": text, "position": position, "scale": 0.5});
    let bytes = file(&DynamicImage::from(ground.clone()), format);
    let job = job("watermark_image", request).with_inputs(vec![input(bytes)]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let output = runtime.block_on(run(&Watermark::new(), job)).unwrap();
    picture::decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image.to_rgb8()
}

/// Returns what Tesseract reads in the half with the mark, enlarged to its preferred letter size: unchanged, and reduced to
/// pixels as light or as dark as letters.
fn read(image: &RgbImage, position: &str, language: &str) -> String {
    let (width, height) = image.dimensions();
    let (wide, high) = (width * 54 / 100, height / 6);
    let top = if position.starts_with("top") { 0 } else { height - high };
    let part = imageops::crop_imm(image, width - wide, top, wide, high).to_image();
    let part = imageops::resize(&part, wide * 3, high * 3, imageops::FilterType::CatmullRom);
    let gray = imageops::grayscale(&part);
    let only = |fits: fn(u8) -> bool| {
        GrayImage::from_fn(gray.width(), gray.height(), |x, y| {
            Luma([if fits(gray.get_pixel(x, y).0[0]) { 0 } else { 255 }])
        })
    };
    let views: [DynamicImage; 3] = [part.into(), only(|value| value > 200).into(), only(|value| value < 55).into()];
    views.iter().map(|view| read_view(view, position, language)).collect::<Vec<_>>().join("\n")
}

fn read_view(view: &DynamicImage, position: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mark-{language}-{position}.png"));
    view.save(&path).unwrap();
    let output = Command::new("tesseract").arg(&path).args(["-", "-l", language, "--psm", "6"]).output();
    let output = output.unwrap_or_else(|error| {
        panic!("Tesseract cannot be run: {error}; install Debian's tesseract-ocr and tesseract-ocr-chi-sim")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}; install Debian's tesseract-ocr and tesseract-ocr-chi-sim");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the share of correct characters, without spaces, in the line most similar to the text.
fn accuracy(text: &str, read: &str) -> f64 {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let lines = read.lines().map(|line| strsim::normalized_levenshtein(&plain(text), &plain(line)));
    lines.fold(0.0, f64::max)
}

fn judge(text: &str, language: &str, least: f64) {
    let mut all = Vec::new();
    for (name, ground) in grounds() {
        for (position, format) in [("bottom-right", ImageFormat::Png), ("top-right", ImageFormat::Jpeg)] {
            let read = read(&marked(&ground, text, position, format), position, language);
            let accuracy = accuracy(text, &read);
            println!("{language}, {name}, {position}, {format:?}: {accuracy:.2} {:?}", read.trim());
            all.push(accuracy);
        }
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let perfect = all.iter().filter(|accuracy| **accuracy > 0.999).count();
    println!("{language}: {mean:.3} of the characters are read right, {perfect} of {} marks wholly", all.len());
    assert!(mean >= least, "{mean:.3} of the characters of {text} are read right");
}

#[test]
fn tesseract_reads_latin_marks() {
    judge(LATIN, "eng", 0.9);
}

#[test]
fn tesseract_reads_chinese_marks() {
    // Less than for Latin: strokes this fine are misread on busy grounds, such as half of them on grass.
    judge(CHINESE, "chi_sim", 0.85);
}

/// The contrast of two grays, as the guidelines for the web (WCAG) measure it: from 1 to 21.
fn contrast(one: u8, other: u8) -> f64 {
    let linear = |gray: u8| {
        let gray = f64::from(gray) / 255.0;
        if gray <= 0.04045 { gray / 12.92 } else { ((gray + 0.055) / 1.055).powf(2.4) }
    };
    let (one, other) = (linear(one) + 0.05, linear(other) + 0.05);
    one.max(other) / one.min(other)
}

#[test]
fn letters_stand_out_on_every_gray() {
    let mut least = f64::INFINITY;
    for gray in (0..=255).step_by(5) {
        let ground = RgbImage::from_pixel(512, 384, Rgb([gray; 3]));
        let marked = marked(&ground, "HHHH", "bottom-right", ImageFormat::Png);
        // Letters are what is brightest or darkest; the edge lies between them and the ground.
        let values = || marked.pixels().map(|pixel| pixel.0[0]);
        let counted = |value: u8| values().filter(|other| *other == value).count();
        let letter = match gray {
            0 => 255,
            255 => 0,
            _ if counted(255) > counted(0) => 255,
            _ => 0,
        };
        assert!(counted(letter) > 500, "{gray}: {} pixels of letters", counted(letter));
        least = least.min(contrast(letter, gray));
    }
    println!("the least contrast of letters and ground is {least:.2}");
    assert!(least >= 4.0, "{least:.2}");
}
