//! Face detection: positions, order, and no false positives.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage, imageops};
use imgopen_engine::{Engine, Grade, Input, JobRequest, Monitor, PictureLimits};
use imgopen_neural::{Faces, faces};
use imgopen_types::Face;
use imgopen_types::operations::DETECT_FACES;
use proptest::prelude::*;
use serde_json::json;

use support::{URL, assert_cancellable, job, png, run};

/// A portrait of 160x160 pixels.
fn portrait() -> RgbImage {
    image::load_from_memory(include_bytes!("data/face.jpg")).unwrap().to_rgb8()
}

/// The position of the face in it: brows to chin, cheek to cheek.
const PLACE: [f64; 4] = [37.0, 50.0, 94.0, 94.0];

fn found_in(bytes: Bytes) -> Vec<Face> {
    let input = Input { field: "imageUrl".to_owned(), url: URL.to_owned(), bytes };
    faces::find(&input, &PictureLimits::default(), &Monitor::new().0).unwrap()
}

fn found(image: &DynamicImage) -> Vec<Face> {
    found_in(png(image))
}

/// A picture of many colours.
fn colours(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x * y) as u8])).into()
}

/// Returns pictures side by side on a gray background of that size.
fn montage(size: (u32, u32), parts: &[(RgbImage, i64, i64)]) -> DynamicImage {
    let mut ground = RgbImage::from_pixel(size.0, size.1, Rgb([120, 120, 120]));
    for (part, x, y) in parts {
        imageops::replace(&mut ground, part, *x, *y);
    }
    ground.into()
}

/// Returns the intersection of a box and a face over their union.
fn overlap(face: &Face, [x, y, width, height]: [f64; 4]) -> f64 {
    let [left, top, wide, high] =
        [face.box_.x, face.box_.y, face.box_.width, face.box_.height].map(|number| number as f64);
    let along = |a: f64, a_side: f64, b: f64, b_side: f64| ((a + a_side).min(b + b_side) - a.max(b)).max(0.0);
    let both = along(left, wide, x, width) * along(top, high, y, height);
    both / (wide * high + width * height - both)
}

#[test]
fn a_face_is_found_whatever_the_pixels_are() {
    let portrait = DynamicImage::from(portrait());
    let pictures = [
        portrait.to_luma8().into(),
        portrait.to_luma_alpha8().into(),
        portrait.to_rgba8().into(),
        portrait.to_luma16().into(),
        portrait.to_rgb16().into(),
        portrait.to_rgba16().into(),
        portrait.clone(),
    ];
    for picture in pictures {
        let faces = found(&picture);
        assert_eq!(faces.len(), 1, "{:?}", picture.color());
        assert!(overlap(&faces[0], PLACE) > 0.7, "{:?}", faces[0]);
        assert!((0.75..=1.0).contains(&faces[0].score.unwrap()) && faces[0].index == 1);
    }
    for format in [ImageFormat::Jpeg, ImageFormat::WebP] {
        let mut bytes = Cursor::new(Vec::new());
        portrait.write_to(&mut bytes, format).unwrap();
        assert_eq!(found_in(bytes.into_inner().into()).len(), 1);
    }
}

/// The points as they were marked by hand in the portrait.
#[test]
fn landmarks_are_where_eyes_nose_and_mouth_are() {
    let faces = found(&portrait().into());
    let points = faces[0].landmarks.as_ref().unwrap();
    assert_eq!(points.len(), 6);
    for (point, (x, y)) in points.iter().zip([(62.5, 81.0), (106.7, 83.0), (85.0, 107.0), (84.0, 125.0)]) {
        assert!((point.x - x).hypot(point.y - y) < 6.0, "{point:?} {x},{y}");
    }
}

#[test]
fn several_faces_are_counted_from_left_to_right() {
    let portrait = portrait();
    let small = imageops::resize(&portrait, 110, 110, imageops::FilterType::Triangle);
    let parts = [(portrait.clone(), 420, 20), (small, 40, 250), (imageops::rotate180(&portrait), 220, 120)];
    let faces = found(&montage((640, 400), &parts));
    assert_eq!(faces.iter().map(|face| face.index).collect::<Vec<_>>(), [1, 2, 3]);
    let small = PLACE.map(|number| number * 110.0 / 160.0);
    assert!(overlap(&faces[0], [40.0 + small[0], 250.0 + small[1], small[2], small[3]]) > 0.6, "{faces:?}");
    let turned = [220.0 + 160.0 - 37.0 - 94.0, 120.0 + 160.0 - 50.0 - 94.0, 94.0, 94.0];
    assert!(overlap(&faces[1], turned) > 0.6, "{faces:?}");
    assert!(overlap(&faces[2], [457.0, 70.0, 94.0, 94.0]) > 0.6, "{faces:?}");
}

#[test]
fn a_rotated_face_is_found() {
    let portrait = portrait();
    for (turned, place) in [
        (imageops::rotate90(&portrait), [160.0 - 50.0 - 94.0, 37.0, 94.0, 94.0]),
        (imageops::rotate180(&portrait), [160.0 - 37.0 - 94.0, 160.0 - 50.0 - 94.0, 94.0, 94.0]),
        (imageops::rotate270(&portrait), [50.0, 160.0 - 37.0 - 94.0, 94.0, 94.0]),
    ] {
        let faces = found(&turned.into());
        assert_eq!(faces.len(), 1);
        assert!(overlap(&faces[0], place) > 0.7, "{faces:?}");
    }
}

#[test]
fn a_box_ends_at_the_edge_of_the_picture() {
    // Without the left cheek.
    let cut = imageops::crop_imm(&portrait(), 45, 0, 115, 160).to_image();
    let faces = found(&cut.into());
    assert_eq!(faces.len(), 1);
    let FaceBounds { left, top, right, bottom } = bounds(&faces[0]);
    assert!(left == 0 && top > 0 && right <= 115 && bottom <= 160, "{faces:?}");
}

struct FaceBounds {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

fn bounds(face: &Face) -> FaceBounds {
    let place = &face.box_;
    FaceBounds { left: place.x, top: place.y, right: place.x + place.width, bottom: place.y + place.height }
}

#[test]
fn nothing_is_found_in_pictures_without_faces() {
    for gray in [0, 128, 255] {
        assert_eq!(found(&GrayImage::from_pixel(640, 480, image::Luma([gray])).into()), []);
    }
    assert_eq!(found(&colours(700, 500)), []);
    for (width, height) in
        [(1, 1), (1, 4000), (4000, 1), (39, 39), (20, 21), (40, 40), (3000, 40), (65_535, 1), (30, 40_000)]
    {
        assert_eq!(found(&colours(width, height)), [], "{width}x{height}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gives_faces_and_names_a_bad_picture() {
    let job = |bytes: Bytes| job(&DETECT_FACES, "imageUrl", bytes, json!({}));
    let output = run(&Faces::new(), job(png(&portrait().into()))).await.unwrap();
    assert_eq!((output.faces.len(), output.pictures.len()), (1, 0));
    // The digits are those that `nets/README.md` has.
    let expected =
        "faces were found by the net `face_detection_full_range.tflite` (SHA-256 99BF9494D84F…) of the program itself";
    assert_eq!(output.notes, [expected]);
    let error = run(&Faces::new(), job(Bytes::from_static(b"GIF89a"))).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("`imageUrl`: the picture at {URL} is ")), "{error}");
}

/// The copies of the portrait have some twenty tiles.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_wherever_it_is_cancelled() {
    let job = job(&DETECT_FACES, "imageUrl", png(&portrait().into()), json!({}));
    assert!(assert_cancellable(&Faces::new(), &job).await > 20);
}

#[test]
fn no_pack_is_needed() {
    let offers = Faces::new().offers();
    let offer = &offers[0];
    assert_eq!((offers.len(), offer.grade, &offer.away), (1, Grade::Neural, &None));
}

#[test]
fn memory_is_that_of_picture_and_net() {
    let memory = |image: &DynamicImage| Faces::new().memory(&job(&DETECT_FACES, "imageUrl", png(image), json!({})));
    let (small, large) = (memory(&DynamicImage::new_rgb8(10, 10)), memory(&DynamicImage::new_rgb8(1000, 1000)));
    assert_eq!(large - small, 17 * (1_000_000 - 100));
    assert!(small > 32 * 1024 * 1024);
}

/// The published table is cut, so the contract keeps what it does not know; the engine does not drop it in silence.
#[test]
fn a_field_that_the_detector_does_not_know_is_rejected() {
    let check = |fields| Faces::new().check(&JobRequest::new("1", &DETECT_FACES, fields));
    assert_eq!(check(json!({"businessTaskId": "1", "imageUrl": URL})), Ok(()));
    let error = check(json!({"businessTaskId": "1", "imageUrl": URL, "maxFaces": 1})).unwrap_err().to_string();
    assert_eq!(error, "`maxFaces`: not known to the face detector; leave it out");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn parts_of_faces_give_boxes_within_the_picture(
        x in -120..300_i64, y in -120..300_i64, width in 1..320_u32, height in 1..320_u32, bright in -80..80_i32,
    ) {
        let portrait = imageops::brighten(&portrait(), bright);
        for face in found(&montage((width, height), &[(portrait.clone(), x, y), (portrait, x + 100, y + 90)])) {
            let FaceBounds { left, top, right, bottom } = bounds(&face);
            prop_assert!(left >= 0 && top >= 0 && left < right && top < bottom);
            prop_assert!(right <= i64::from(width) && bottom <= i64::from(height));
            prop_assert!((0.55..=1.0).contains(&face.score.unwrap()));
        }
    }
}
