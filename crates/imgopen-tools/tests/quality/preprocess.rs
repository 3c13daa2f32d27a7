//! Preprocessors match OpenCV, numpy and Pillow, and soft edges lie on edges.

use std::fs;
use std::path::PathBuf;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use imgopen_engine::{Monitor, PictureLimits};
use imgopen_picture as picture;
use imgopen_tools::preprocess::{Preprocessor, preprocess};

use crate::support::{file, python};

const PHOTOS: [&str; 6] = ["astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "retina"];

fn made(photo: &RgbImage, preprocessor: Preprocessor) -> DynamicImage {
    preprocess(DynamicImage::from(photo.clone()), preprocessor, &Monitor::new().0).unwrap()
}

/// What a line of Python makes of `image`, RGB in an array, with numpy as `np`.
fn theirs(photo: &RgbImage, name: &str, line: &str) -> DynamicImage {
    let path = |kind: &str| -> PathBuf {
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("preprocess-{name}-{kind}.png"))
    };
    let (from, to) = (path("from"), path("to"));
    fs::write(&from, file(&DynamicImage::from(photo.clone()), ImageFormat::Png)).unwrap();
    let script = format!(
        "import cv2, sys, numpy as np\nfrom PIL import Image\nimage = np.asarray(Image.open(sys.argv[1]))\n{line}\n\
         Image.fromarray(np.ascontiguousarray(result)).save(sys.argv[2])"
    );
    python::run(&script, &[from.to_str().unwrap(), to.to_str().unwrap()]);
    picture::decode(&fs::read(&to).unwrap(), &PictureLimits::default()).unwrap().image
}

/// The greatest and the mean difference of samples.
fn difference(a: &DynamicImage, b: &DynamicImage) -> (u8, f64) {
    assert_eq!((a.color(), a.width(), a.height()), (b.color(), b.width(), b.height()));
    let differences = a.as_bytes().iter().zip(b.as_bytes()).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    (differences.max().unwrap_or_default(), sum as f64 / a.as_bytes().len() as f64)
}

/// The part of `found` that lies on `wanted`, each two-valued.
fn part(found: &GrayImage, wanted: &GrayImage) -> f64 {
    let both = found.iter().zip(wanted.iter()).filter(|(found, wanted)| **found > 0 && **wanted > 0).count();
    both as f64 / found.iter().filter(|sample| **sample > 0).count() as f64
}

#[test]
fn canny_is_opencvs() {
    let line = "result = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200)";
    for name in PHOTOS {
        let photo = python::photo(name);
        let ours = made(&photo, Preprocessor::Canny).to_luma8();
        let theirs = theirs(&photo, &format!("{name}-canny"), line).to_luma8();
        let (precision, recall) = (part(&ours, &theirs), part(&theirs, &ours));
        let edges = theirs.iter().filter(|sample| **sample > 0).count();
        println!("{name}: precision {precision:.5}, recall {recall:.5} of {edges} edge pixels");
        assert!(edges > 300 && precision >= 0.9999 && recall >= 0.9999, "{name}: {precision} {recall}");
    }
}

#[test]
fn scribbles_and_line_art_are_the_web_uis_formulas() {
    let scribble = "x = image.astype(np.float32)\n\
        depth = np.min(cv2.GaussianBlur(x, (0, 0), 5.0) - cv2.GaussianBlur(x, (0, 0), 0.5), axis=2)\n\
        result = np.where(depth > 16, 255, 0).astype(np.uint8)";
    let lines = "x = image.astype(np.float32)\n\
        depth = np.min(cv2.GaussianBlur(x, (0, 0), 6.0) - x, axis=2).clip(0, 255)\n\
        result = (depth / max(16, np.median(depth[depth > 8])) * 127).clip(0, 255).astype(np.uint8)";
    for name in PHOTOS {
        let photo = python::photo(name);
        let expected = theirs(&photo, &format!("{name}-scribble"), scribble).to_luma8();
        let ours = made(&photo, Preprocessor::Scribble).to_luma8();
        let (precision, recall) = (part(&ours, &expected), part(&expected, &ours));
        let expected = theirs(&photo, &format!("{name}-lineart"), lines);
        let (most, mean) = difference(&made(&photo, Preprocessor::LineArt), &expected);
        println!("{name}: strokes {precision:.5} and {recall:.5} alike, lines at most {most} and {mean:.4} apart");
        assert!(precision > 0.999 && recall > 0.999, "{name}: {precision} {recall}");
        assert!(most <= 1 && mean < 0.02, "{name}: {most} {mean}");
    }
}

#[test]
fn threshold_negative_and_grid_are_exact() {
    let rules = [
        (Preprocessor::Threshold, "result = np.where(image.min(axis=2) > 127, 255, 0).astype(np.uint8)"),
        (Preprocessor::Invert, "result = 255 - image"),
        (
            Preprocessor::Color,
            "h, w = image.shape[:2]\n\
             small = cv2.resize(image, (w // 64, h // 64), interpolation=cv2.INTER_CUBIC)\n\
             result = cv2.resize(small, (w, h), interpolation=cv2.INTER_NEAREST)",
        ),
    ];
    for (preprocessor, line) in rules {
        for name in PHOTOS {
            let photo = python::photo(name);
            let theirs = theirs(&photo, &format!("{name}-{preprocessor}"), line);
            let (most, mean) = difference(&made(&photo, preprocessor), &theirs);
            println!("{preprocessor} of {name}: at most {most} apart, {mean:.4} in the mean");
            // OpenCV's fixed point rounds the grid's colours by up to one step differently.
            let allowed = u8::from(preprocessor == Preprocessor::Color);
            assert!(most <= allowed, "{preprocessor} of {name}: {most}");
        }
    }
}

#[test]
fn a_tile_is_pillows() {
    let line = "h, w = image.shape[:2]\n\
        small = Image.fromarray(image).resize((w // 8, h // 8), Image.BOX)\n\
        result = np.asarray(small.resize((w, h), Image.BICUBIC))";
    for name in PHOTOS {
        let photo = python::photo(name);
        let theirs = theirs(&photo, &format!("{name}-tile"), line);
        let ours = made(&photo, Preprocessor::Tile);
        let (_, mean) = difference(&ours, &theirs);
        let pairs = ours.as_bytes().iter().zip(theirs.as_bytes());
        let near =
            pairs.filter(|(ours, theirs)| ours.abs_diff(**theirs) <= 2).count() as f64 / ours.as_bytes().len() as f64;
        println!("{name}: {near:.4} within 2 steps, {mean:.4} apart in the mean");
        // Pillow resamples columns last, so that what exceeds the range is cut off elsewhere.
        assert!(near > 0.99 && mean < 0.4, "{name}: {near} {mean}");
    }
}

/// Of the brightest soft edges most lie within three pixels of one of Canny's edges. These surroundings are wider than a
/// soft edge is bright, so that it covers a part of them only.
#[test]
fn soft_edges_lie_on_edges() {
    let line = "edges = cv2.Canny(cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.4), 40, 90)\n\
        result = cv2.dilate(edges, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))";
    for name in PHOTOS {
        let photo = python::photo(name);
        let wide = theirs(&photo, &format!("{name}-wide"), line).to_luma8();
        let soft = made(&photo, Preprocessor::SoftEdge).to_luma8();
        let bright = GrayImage::from_raw(
            soft.width(),
            soft.height(),
            soft.iter().map(|sample| if *sample > 100 { 255 } else { 0 }).collect(),
        )
        .unwrap();
        let (on, covered) = (part(&bright, &wide), part(&wide, &bright));
        let chance = wide.iter().filter(|sample| **sample > 0).count() as f64 / wide.len() as f64;
        println!("{name}: {on:.3} of bright soft edges on edges, by chance {chance:.3}; {covered:.3} covered");
        assert!(on > 0.5 && on > 1.5 * chance, "{name}: {on:.3}, by chance {chance:.3}");
        assert!(covered > 0.22, "{name}: {covered:.3} covered");
    }
}

#[test]
fn shuffling_keeps_colours_and_loses_places() {
    for name in PHOTOS {
        let photo = python::photo(name);
        let moved = made(&photo, Preprocessor::Shuffle).to_rgb8();
        let histogram = |image: &RgbImage| {
            let mut counts = vec![0.0; 512];
            image.pixels().for_each(|pixel| {
                let [r, g, b] = pixel.0.map(|sample| usize::from(sample / 32));
                counts[r * 64 + g * 8 + b] += 1.0 / f64::from(image.width() * image.height());
            });
            counts
        };
        let common: f64 = histogram(&photo).iter().zip(histogram(&moved)).map(|(a, b)| a.min(b)).sum();
        let still = photo.pixels().zip(moved.pixels()).filter(|(a, b)| a == b).count() as f64;
        let still = still / f64::from(photo.width() * photo.height());
        println!("{name}: {common:.3} of the colours are common, {still:.4} of the pixels are as before");
        assert!(common > 0.5 && still < 0.5, "{name}: {common:.3} {still:.3}");
    }
}
