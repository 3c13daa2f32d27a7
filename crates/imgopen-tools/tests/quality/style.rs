//! Photographs, drawings and texts that scikit-image ships, and pictures made from them, get fitting labels.

use image::{DynamicImage, GrayImage, Luma, RgbImage, imageops};
use imgopen_engine::Monitor;
use imgopen_tools::style::{labels, measure};

use crate::support::python;

fn named(image: impl Into<DynamicImage>) -> Vec<String> {
    labels(&measure(image.into(), &Monitor::new().0).unwrap()).into_iter().map(|label| label.label).collect()
}

/// Prints wrong labels, and returns the number of right ones.
fn right(cases: impl IntoIterator<Item = (String, Vec<String>, bool)>) -> (usize, usize) {
    let cases: Vec<_> = cases.into_iter().collect();
    for (name, labels, fits) in &cases {
        println!("{} {name}: {}", if *fits { "right" } else { "WRONG" }, labels.join(", "));
    }
    (cases.iter().filter(|(_, _, fits)| *fits).count(), cases.len())
}

fn first(name: &str, labels: Vec<String>, wanted: &str) -> (String, Vec<String>, bool) {
    let fits = labels[0] == wanted;
    (format!("{name}, {wanted}"), labels, fits)
}

#[test]
fn photographs_are_photographs_first() {
    let colored = [
        "astronaut",
        "coffee",
        "chelsea",
        "rocket",
        "motorcycle_left",
        "motorcycle_right",
        "hubble_deep_field",
        "ihc",
        "retina",
    ];
    let (right, all) = right(colored.map(|name| first(name, named(python::photo(name)), "photograph")));
    println!("{right} of {all} photographs in colour");
    assert_eq!(right, all);
}

#[test]
fn gray_photographs_are_black_and_white_photographs() {
    let gray = ["camera", "coins", "moon", "brick", "grass", "gravel", "clock_motion", "microaneurysms", "cell"];
    let (right, all) = right(gray.map(|name| {
        let labels = named(python::photo(name));
        let fits = ["photograph", "black and white"].iter().all(|label| labels.contains(&label.to_string()));
        (name.to_owned(), labels, fits)
    }));
    println!("{right} of {all} photographs in gray");
    assert_eq!(right, all);
}

#[test]
fn photographs_stay_photographs_in_other_sizes_and_tones() {
    let cases = ["astronaut", "coffee", "chelsea", "rocket"].into_iter().flat_map(|name| {
        let photo = python::photo(name);
        let (width, height) = (photo.width(), photo.height());
        let sized = |percent: u32| {
            imageops::resize(&photo, width * percent / 100, height * percent / 100, imageops::FilterType::CatmullRom)
        };
        let gray = DynamicImage::from(photo.clone()).to_luma8();
        [
            first(&format!("{name} at 50 %"), named(sized(50)), "photograph"),
            first(&format!("{name} at 200 %"), named(sized(200)), "photograph"),
            first(&format!("{name} in gray"), named(gray), "photograph"),
        ]
    });
    let (right, all) = right(cases);
    println!("{right} of {all}");
    assert!(right >= 10, "{right} of {all}");
}

#[test]
fn texts_and_silhouettes_are_line_art() {
    let (right, all) = right(["page", "text", "horse"].map(|name| {
        let labels = named(python::photo(name));
        let fits = labels[..2].contains(&"line art".to_owned()) && !labels.contains(&"photograph".to_owned());
        (name.to_owned(), labels, fits)
    }));
    println!("{right} of {all} are line art");
    assert_eq!(right, all);
}

/// Areas of few colours, as a drawing program makes of a photograph.
fn flattened(photo: &RgbImage) -> RgbImage {
    let blurred = imageops::blur(photo, 4.0);
    let steps = |sample: u8| (sample / 64) * 64 + 32;
    RgbImage::from_fn(photo.width(), photo.height(), |x, y| image::Rgb(blurred.get_pixel(x, y).0.map(steps)))
}

/// Sixty pixels across, in few colours, enlarged.
fn pixelated(photo: &RgbImage) -> RgbImage {
    let small = imageops::resize(photo, 60, 45, imageops::FilterType::Triangle);
    let few = RgbImage::from_fn(60, 45, |x, y| image::Rgb(small.get_pixel(x, y).0.map(|sample| sample / 43 * 43)));
    imageops::resize(&few, 480, 360, imageops::FilterType::Nearest)
}

/// The outlines in ink.
fn inked(photo: &RgbImage) -> GrayImage {
    let gray = imageops::blur(&DynamicImage::from(photo.clone()).to_luma8(), 2.5);
    let coarse = imageops::blur(&gray, 3.0);
    GrayImage::from_fn(gray.width(), gray.height(), |x, y| {
        let depth = i32::from(coarse.get_pixel(x, y).0[0]) - i32::from(gray.get_pixel(x, y).0[0]);
        Luma([if depth > 4 { 15 } else { 250 }])
    })
}

#[test]
fn drawings_after_photographs_are_not_photographs() {
    let cases = ["astronaut", "coffee", "chelsea", "rocket"].into_iter().flat_map(|name| {
        let photo = python::photo(name);
        let inked = named(inked(&photo));
        let fits = inked[..2].contains(&"line art".to_owned());
        [
            first(name, named(flattened(&photo)), "illustration"),
            first(name, named(pixelated(&photo)), "pixel art"),
            (format!("{name}, line art"), inked, fits),
        ]
    });
    let (right, all) = right(cases);
    println!("{right} of {all} drawings");
    assert!(right >= 10, "{right} of {all}");
}
