//! Faces are found where people see them, with few false positives.
//!
//! The boxes were marked by hand: from the hairline or brows to the chin, from cheek to cheek.

use image::imageops::{self, FilterType};
use image::{DynamicImage, Rgb, RgbImage};
use imgopen_engine::{Monitor, PictureLimits};
use imgopen_neural::faces;
use imgopen_picture as picture;
use imgopen_types::Face;

use crate::python;

/// Left, top, width and height in pixels.
type Place = [f64; 4];

const ASTRONAUT: Place = [180.0, 78.0, 88.0, 100.0];
/// A group at a table: two faces tilted, one in profile, one with closed eyes.
const GROUP: [Place; 6] = [
    [65.0, 265.0, 100.0, 135.0],
    [272.0, 140.0, 100.0, 128.0],
    [465.0, 270.0, 110.0, 145.0],
    [748.0, 345.0, 108.0, 135.0],
    [905.0, 60.0, 108.0, 145.0],
    [1132.0, 268.0, 95.0, 130.0],
];
/// Pictures of scikit-image without people.
const NOBODY: [&str; 15] = [
    "coffee",
    "chelsea",
    "rocket",
    "brick",
    "coins",
    "moon",
    "grass",
    "gravel",
    "hubble_deep_field",
    "ihc",
    "page",
    "text",
    "retina",
    "clock_motion",
    "motorcycle_left",
];

fn found(image: &RgbImage) -> Vec<Face> {
    faces::detect(DynamicImage::from(image.clone()), &Monitor::new().0).unwrap()
}

/// The photograph of a group that a package for faces ships.
fn group() -> RgbImage {
    let bytes = python::packaged("insightface==2.1", "insightface/data/images/t1.jpg");
    picture::decode(&bytes, &PictureLimits::default()).unwrap().image.to_rgb8()
}

/// How many faces the six photographs of groups have that a package for faces ships.
const SAMPLES: [usize; 6] = [3, 3, 3, 4, 5, 4];

/// Those photographs.
pub fn samples() -> Vec<RgbImage> {
    let script = "import glob, os, subprocess, sys, tarfile\n\
        folder = sys.argv[1]\n\
        os.makedirs(folder, exist_ok=True)\n\
        pack = ['npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', folder, '@vladmandic/face-api@1.7.15']\n\
        if not glob.glob(folder + '/*.tgz'):\n    \
            subprocess.check_call(pack, stdout=subprocess.DEVNULL)\n\
        archive = tarfile.open(glob.glob(folder + '/*.tgz')[0])\n\
        for number in range(1, 7):\n    \
            data = archive.extractfile(f'package/demo/sample{number}.jpg').read()\n    \
            open(f'{folder}/sample{number}.jpg', 'wb').write(data)";
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("face-api");
    python::run(script, &[folder.to_str().unwrap()]);
    let read = |number: usize| {
        let bytes = std::fs::read(folder.join(format!("sample{number}.jpg"))).unwrap();
        picture::decode(&bytes, &PictureLimits::default()).unwrap().image.to_rgb8()
    };
    (1..=SAMPLES.len()).map(read).collect()
}

/// The picture at a share of its size.
fn shrunk(image: &RgbImage, share: f64) -> RgbImage {
    let [width, height] = [image.width(), image.height()].map(|side| (f64::from(side) * share).round() as u32);
    imageops::resize(image, width, height, FilterType::Triangle)
}

fn place(face: &Face) -> Place {
    [face.box_.x, face.box_.y, face.box_.width, face.box_.height].map(|number| number as f64)
}

/// Returns the intersection of two boxes over their union.
fn overlap(one: Place, other: Place) -> f64 {
    let along = |side: usize| {
        let end = (one[side] + one[side + 2]).min(other[side] + other[side + 2]);
        (end - one[side].max(other[side])).max(0.0)
    };
    let both = along(0) * along(1);
    both / (one[2] * one[3] + other[2] * other[3] - both)
}

/// The overlap of each marked face with its best box, and how many boxes are at no face.
fn matched(marked: &[Place], boxes: &[Place]) -> (Vec<f64>, usize) {
    let best = |place: &Place| boxes.iter().map(|found| overlap(*place, *found)).fold(0.0, f64::max);
    let is_wrong = |found: &&Place| marked.iter().all(|place| overlap(*place, **found) < 0.3);
    (marked.iter().map(best).collect(), boxes.iter().filter(is_wrong).count())
}

/// The boxes of OpenCV's Haar cascade for frontal faces, as it comes.
fn haar(image: &RgbImage, name: &str) -> Vec<Place> {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("haar-{name}.png"));
    image.save(&path).unwrap();
    let script = "import cv2, sys\n\
        cascade = cv2.CascadeClassifier(cv2.data.haarcascades + 'haarcascade_frontalface_default.xml')\n\
        for box in cascade.detectMultiScale(cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE)): print(*box)";
    let boxes = python::run(script, &[path.to_str().unwrap()]);
    let numbers = |line: &str| line.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<f64>>();
    boxes.lines().map(|line| numbers(line).try_into().unwrap()).collect()
}

/// The picture turned clockwise about its middle, on gray, and a square place turned with it.
fn turned(image: &RgbImage, degrees: f64, [x, y, width, height]: Place) -> (RgbImage, Place) {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let middle = (f64::from(image.width()) / 2.0, f64::from(image.height()) / 2.0);
    let turned = RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (x, y) = (f64::from(x) + 0.5 - middle.0, f64::from(y) + 0.5 - middle.1);
        let (x, y) = (cosine * x + sine * y + middle.0 - 0.5, cosine * y - sine * x + middle.1 - 0.5);
        imageops::interpolate_bilinear(image, x as f32, y as f32).unwrap_or(Rgb([128; 3]))
    });
    let side = (width * height).sqrt();
    let (x, y) = (x + width / 2.0 - middle.0, y + height / 2.0 - middle.1);
    let (x, y) = (cosine * x - sine * y + middle.0, sine * x + cosine * y + middle.1);
    (turned, [x - side / 2.0, y - side / 2.0, side, side])
}

#[test]
fn a_portrait_and_a_group_are_found_whole() {
    let mut overlaps = Vec::new();
    for (name, image, marked) in
        [("astronaut", python::photo("astronaut"), &[ASTRONAUT][..]), ("group", group(), &GROUP[..])]
    {
        let faces = found(&image);
        let (ours, wrong) = matched(marked, &faces.iter().map(place).collect::<Vec<_>>());
        let (theirs, their_wrong) = matched(marked, &haar(&image, name));
        println!("{name}: overlaps {ours:.2?}, {wrong} wrong; Haar {theirs:.2?}, {their_wrong} wrong");
        for face in &faces {
            println!("  {:?} {:?}", place(face), face.score);
        }
        assert_eq!(wrong, 0, "{name}");
        assert!(ours.iter().all(|overlap| *overlap > 0.45), "{name}: {ours:?}");
        assert!(
            faces.is_sorted_by_key(|face| face.box_.x)
                && faces.iter().map(|face| face.index).eq(1..=faces.len() as i64)
        );
        overlaps.extend(ours);
    }
    let mean = overlaps.iter().sum::<f64>() / overlaps.len() as f64;
    println!("mean overlap {mean:.3}");
    assert!(mean > 0.6, "{mean:.3}");
}

/// Their faces have some 200 pixels, and 20 to 30 in the small copies.
#[test]
fn groups_are_found_large_and_small() {
    for share in [1.0, 0.12] {
        let counts: Vec<usize> = samples().iter().map(|image| found(&shrunk(image, share)).len()).collect();
        println!("{share}: {counts:?} of {SAMPLES:?}");
        assert_eq!(counts, SAMPLES, "{share}");
    }
    let share = 0.22;
    let marked = GROUP.map(|place| place.map(|number| number * share));
    let faces: Vec<Place> = found(&shrunk(&group(), share)).iter().map(place).collect();
    let (ours, wrong) = matched(&marked, &faces);
    println!("faces of some 25 pixels: overlaps {ours:.2?}, {wrong} wrong");
    assert!(ours.iter().all(|overlap| *overlap > 0.45) && wrong == 0, "{ours:?}, {wrong} wrong");
}

#[test]
fn tilted_faces_are_found() {
    let astronaut = python::photo("astronaut");
    let mut overlaps = Vec::new();
    for degrees in [-180, -135, -90, -60, -45, -30, -15, 15, 30, 45, 60, 90, 135] {
        let (image, marked) = turned(&astronaut, f64::from(degrees), ASTRONAUT);
        let faces: Vec<Place> = found(&image).iter().map(place).collect();
        let (ours, wrong) = matched(&[marked], &faces);
        println!("{degrees}°: overlap {:.2}, {wrong} wrong", ours[0]);
        assert!(ours[0] > 0.5 && wrong == 0, "{degrees}°: {ours:?}, {wrong} wrong");
        overlaps.extend(ours);
    }
    println!("mean overlap {:.3}", overlaps.iter().sum::<f64>() / overlaps.len() as f64);
}

#[test]
fn tilted_groups_are_mostly_found() {
    let group = group();
    let (mut all, mut seen, mut wrong) = (0, 0, 0);
    for degrees in [-45, -30, -15, 15, 30, 45] {
        let turned_places =
            GROUP.map(|place| turned(&RgbImage::new(group.width(), group.height()), f64::from(degrees), place).1);
        let (image, _) = turned(&group, f64::from(degrees), ASTRONAUT);
        let inside = |place: &Place| {
            let fits = |from: f64, side: f64, all: u32| from >= 0.0 && from + side <= f64::from(all);
            fits(place[0], place[2], image.width()) && fits(place[1], place[3], image.height())
        };
        let faces: Vec<Place> = found(&image).iter().map(place).collect();
        let marked: Vec<Place> = turned_places.into_iter().filter(inside).collect();
        // Boxes at faces that the edge cuts are not wrong.
        let (ours, _) = matched(&marked, &faces);
        let (_, beside) = matched(&turned_places, &faces);
        println!("{degrees}°: overlaps {ours:.2?}, {beside} wrong");
        all += ours.len();
        seen += ours.iter().filter(|overlap| **overlap > 0.4).count();
        wrong += beside;
    }
    println!("{seen} of {all} tilted faces found, {wrong} wrong");
    assert!(seen as f64 >= 0.9 * f64::from(all as u32) && wrong <= 1, "{seen} of {all}, {wrong} wrong");
}

#[test]
fn nothing_is_found_in_photographs_without_people() {
    let mut theirs = 0;
    for name in NOBODY {
        let image = python::photo(name);
        let faces = found(&image);
        theirs += haar(&image, name).len();
        assert_eq!(faces, [], "{name}");
    }
    println!("no face in {} pictures without people; Haar finds {theirs}", NOBODY.len());
}
