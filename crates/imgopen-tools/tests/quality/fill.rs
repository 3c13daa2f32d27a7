//! Filled areas have the brightness, contrast and detail of their surroundings, and no visible border.

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, imageops};
use imgopen_engine::{Input, Monitor, PictureLimits};
use imgopen_picture as picture;
use imgopen_tools::fill::{self, Expansion, MASK_GROWTH};

use crate::support::{file, input, python};

/// A rectangle in pixels.
type Place = Box<dyn Fn(u32, u32) -> bool>;

fn rectangle(left: u32, top: u32, width: u32, height: u32) -> Place {
    Box::new(move |x, y| (left..left + width).contains(&x) && (top..top + height).contains(&y))
}

fn disc(center_x: u32, center_y: u32, radius: u32) -> Place {
    Box::new(move |x, y| x.abs_diff(center_x).pow(2) + y.abs_diff(center_y).pow(2) <= radius * radius)
}

fn mask(size: (u32, u32), place: &Place) -> GrayImage {
    GrayImage::from_fn(size.0, size.1, |x, y| Luma([if place(x, y) { 255 } else { 0 }]))
}

fn removed(photo: &RgbImage, mask: &GrayImage) -> RgbImage {
    let png = |image: DynamicImage| input(file(&image, ImageFormat::Png));
    let mask = Input { field: "maskImage".to_owned(), ..png(mask.clone().into()) };
    let limits = PictureLimits::default();
    let clean = fill::remove(&png(photo.clone().into()), &mask, &limits, &Monitor::new().0).unwrap();
    picture::decode(&clean.bytes, &limits).unwrap().image.to_rgb8()
}

/// For each pixel how far it lies in a mask, or, below 0, out of it: up to `most` in columns and rows.
fn depths(mask: &GrayImage, most: i32) -> Vec<i32> {
    let (width, height) = mask.dimensions();
    let white = |x: u32, y: u32| mask.get_pixel(x, y).0[0] > 127;
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let depth = |(x, y)| {
        let inside = white(x, y);
        let differs = |by: i32| {
            let range = |at: u32, size: u32| at.saturating_sub(by as u32)..(at + by as u32 + 1).min(size);
            range(y, height).any(|y| range(x, width).any(|x| white(x, y) != inside))
        };
        let steps = (1..=most).find(|by| differs(*by)).unwrap_or(most + 1);
        if inside { steps } else { -steps }
    };
    places.map(depth).collect()
}

/// What the pixels of a place are like, by their light.
#[derive(Debug, Clone, Copy)]
struct Look {
    mean: f64,
    deviation: f64,
    /// The mean difference of neighbours.
    gradient: f64,
}

fn look(image: &RgbImage, counts: impl Fn(u32, u32) -> bool) -> Look {
    let gray = imageops::grayscale(image);
    let at = |x: u32, y: u32| f64::from(gray.get_pixel(x, y).0[0]);
    let (mut sum, mut squares, mut count, mut steps, mut pairs) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y, _) in gray.enumerate_pixels().filter(|(x, y, _)| counts(*x, *y)) {
        sum += at(x, y);
        squares += at(x, y).powi(2);
        count += 1.0;
        for (right, down) in [(x + 1, y), (x, y + 1)] {
            if right < gray.width() && down < gray.height() && counts(right, down) {
                steps += (at(x, y) - at(right, down)).abs();
                pairs += 1.0;
            }
        }
    }
    let mean = sum / count;
    Look { mean, deviation: (squares / count - mean * mean).max(0.0).sqrt(), gradient: steps / pairs }
}

/// The mean difference of neighbours of which one was filled and one was not.
fn border_step(image: &RgbImage, filled: impl Fn(u32, u32) -> bool) -> f64 {
    let gray = imageops::grayscale(image);
    let at = |x: u32, y: u32| f64::from(gray.get_pixel(x, y).0[0]);
    let (mut steps, mut pairs) = (0.0, 0.0);
    for (x, y, _) in gray.enumerate_pixels() {
        for (right, down) in [(x + 1, y), (x, y + 1)] {
            if right < gray.width() && down < gray.height() && filled(x, y) != filled(right, down) {
                steps += (at(x, y) - at(right, down)).abs();
                pairs += 1.0;
            }
        }
    }
    steps / pairs
}

/// Returns OpenCV's result for the same, with the named method.
fn theirs(photo: &RgbImage, mask: &GrayImage, name: &str, method: &str) -> RgbImage {
    let script = "import cv2, sys\n\
        photo, mask = cv2.imread(sys.argv[1]), cv2.imread(sys.argv[2], 0)\n\
        mask = cv2.dilate(mask, None, iterations=2)\n\
        cv2.imwrite(sys.argv[3], cv2.inpaint(photo, mask, 3, getattr(cv2, sys.argv[4])))";
    let path = |what: &str| {
        let file = format!("filled-{name}-{what}.png");
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file).to_str().unwrap().to_owned()
    };
    let files = [path("photo"), path("mask"), path(method)];
    photo.save(&files[0]).unwrap();
    mask.save(&files[1]).unwrap();
    python::run(script, &[&files[0], &files[1], &files[2], method]);
    image::open(&files[2]).unwrap().to_rgb8()
}

/// Whether what is filled has the light, the contrast and the detail of what it should look like.
fn check_alike(name: &str, filled: Look, wanted: Look) {
    println!("{name}: {filled:.1?}, wanted {wanted:.1?}");
    let (contrast, detail) = (filled.deviation / wanted.deviation, filled.gradient / wanted.gradient);
    assert!((filled.mean - wanted.mean).abs() < 12.0, "{name}: {filled:?} {wanted:?}");
    assert!((0.55..1.5).contains(&contrast), "{name}: contrast {contrast:.2}");
    assert!((0.55..1.5).contains(&detail), "{name}: detail {detail:.2}");
}

/// Nothing stands there, so the photograph itself shows what is wanted.
#[test]
fn a_piece_of_ground_comes_back_as_it_was() {
    let cases: [(&str, Place); 4] = [
        ("coffee", rectangle(440, 30, 110, 90)),
        ("chelsea", disc(60, 60, 30)),
        ("grass", disc(256, 256, 60)),
        ("gravel", disc(200, 300, 60)),
    ];
    for (name, place) in cases {
        let photo = python::photo(name);
        let clean = removed(&photo, &mask(photo.dimensions(), &place));
        assert_ne!(clean, photo, "{name}: nothing was filled");
        check_alike(name, look(&clean, &place), look(&photo, &place));
    }
}

#[test]
fn what_was_removed_looks_like_what_lies_around() {
    // Nothing but sky lies around the rocket, so that this is what is wanted.
    let cases: [(&str, Place); 1] = [("rocket", rectangle(290, 70, 60, 200))];
    for (name, place) in cases {
        let photo = python::photo(name);
        let mask = mask(photo.dimensions(), &place);
        let clean = removed(&photo, &mask);
        let (width, depths) = (photo.width(), depths(&mask, 24));
        let depth = |x: u32, y: u32| depths[(y * width + x) as usize];
        let growth = MASK_GROWTH as i32;
        let inside = look(&clean, |x, y| depth(x, y) > 0);
        let around = look(&clean, |x, y| (-24..-growth).contains(&depth(x, y)));
        check_alike(name, inside, around);
    }
}

#[test]
fn no_border_is_to_be_seen() {
    let cases: [(&str, Place); 4] = [
        ("astronaut", rectangle(350, 0, 125, 288)),
        ("rocket", rectangle(290, 70, 60, 200)),
        ("chelsea", disc(60, 60, 30)),
        ("gravel", disc(200, 300, 60)),
    ];
    for (name, place) in cases {
        let photo = python::photo(name);
        let mask = mask(photo.dimensions(), &place);
        let clean = removed(&photo, &mask);
        let (width, depths) = (photo.width(), depths(&mask, 24));
        let growth = MASK_GROWTH as i32;
        let depth = |x: u32, y: u32| depths[(y * width + x) as usize];
        let step = border_step(&clean, |x, y| depth(x, y) >= -growth);
        let around = look(&clean, |x, y| (-24..-growth).contains(&depth(x, y))).gradient;
        println!("{name}: neighbours differ by {step:.2} across the border, by {around:.2} around it");
        // A border that is too smooth can be seen as well.
        assert!((0.3..1.25).contains(&(step / around)), "{name}: {step:.2} {around:.2}");
    }
}

#[test]
fn a_disc_put_onto_a_texture_gives_way_to_texture() {
    for name in ["brick", "grass", "gravel"] {
        let photo = python::photo(name);
        let place = disc(256, 256, 50);
        let mut spoilt = photo.clone();
        for (x, y, pixel) in spoilt.enumerate_pixels_mut().filter(|(x, y, _)| place(*x, *y)) {
            *pixel = Rgb([255, (x % 256) as u8, (y % 256) as u8]);
        }
        let mask = mask(photo.dimensions(), &place);
        let clean = removed(&spoilt, &mask);
        let (truth, ours) = (look(&photo, &place), look(&clean, &place));
        let telea = look(&theirs(&spoilt, &mask, name, "INPAINT_TELEA"), &place);
        println!("{name}: {ours:.1?}, it was {truth:.1?}; OpenCV's Telea {telea:.1?}");
        assert!((ours.mean - truth.mean).abs() < 8.0, "{name}: {ours:?} {truth:?}");
        let off =
            |look: Look| (look.deviation / truth.deviation).ln().abs() + (look.gradient / truth.gradient).ln().abs();
        assert!(off(ours) < 0.8, "{name}: {:.2}", off(ours));
        assert!(off(ours) < 0.6 * off(telea), "{name}: {:.2}, Telea {:.2}", off(ours), off(telea));
    }
}

#[test]
fn beyond_the_edges_there_is_more_of_the_same() {
    // The least share of the detail. The edge of the rocket's photograph is full of lights and girders, which are things
    // and not texture: beyond it there is more of the sky, and a quarter of the detail.
    for (name, detail) in [("grass", 0.5), ("gravel", 0.5), ("coffee", 0.5), ("rocket", 0.2)] {
        let photo = python::photo(name);
        let (width, height) = photo.dimensions();
        let expansion = Expansion { horizontal: 1.25, vertical: 1.25, count: 2, seed: 7 };
        let limits = PictureLimits::default();
        let source = input(file(&photo.clone().into(), ImageFormat::Png));
        let made = fill::outpaint(&source, &expansion, &limits, &Monitor::new().0).unwrap();
        let [larger, other] =
            [0, 1].map(|number: usize| picture::decode(&made[number].bytes, &limits).unwrap().image.to_rgb8());
        let (left, top) = ((larger.width() - width) / 2, (larger.height() - height) / 2);
        let inside = rectangle(left, top, width, height);
        assert!(imageops::crop_imm(&larger, left, top, width, height).to_image() == photo, "{name}");
        let margin = rectangle(left + 24, top + 24, width - 48, height - 48);
        let new = look(&larger, |x, y| !inside(x, y));
        let old = look(&larger, |x, y| inside(x, y) && !margin(x, y));
        let step = border_step(&larger, &inside);
        let differ = larger.pixels().zip(other.pixels()).filter(|(one, other)| one != other).count();
        let differ = differ as f64 / f64::from(larger.width() * larger.height() - width * height);
        println!("{name}: {new:.1?} beyond {old:.1?}, {step:.1} across the edge, seeds differ in {differ:.2} of it");
        assert!((new.mean - old.mean).abs() < 15.0, "{name}: {new:?} {old:?}");
        assert!((detail..1.5).contains(&(new.gradient / old.gradient)), "{name}: {new:?} {old:?}");
        assert!(step < 1.25 * old.gradient, "{name}: {step:.2} {:.2}", old.gradient);
        assert!(differ > 0.3, "{name}: {differ:.2}");
    }
}
