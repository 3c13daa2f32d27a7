//! Removing backgrounds with tiny nets whose masks are known.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use bytes::Bytes;
use image::{DynamicImage, ImageBuffer, Luma, Rgb, Rgba};
use imgopen_engine::{Engine, EngineError, Format, Grade, JobRequest, Output, Picture, PictureLimits, Registry};
use imgopen_neural::Background;
use imgopen_picture::{Attached, Decoded, decode, encode};
use imgopen_types::operations::REMOVE_BACKGROUND;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{
    URL, assert_cancellable, bright_objects, bright_people, hide, install, job, nets, own, png, run, runtime, show,
};

const WIDTH: u32 = 90;
const HEIGHT: u32 = 70;
const RADIUS: f64 = 24.0;

/// How far from an edge the mask is refined.
const REFINED: f64 = 12.0;

/// The distance of a pixel from the edge of a disc in the middle; negative within it.
fn distance(x: u32, y: u32) -> f64 {
    let off = |at: u32, side: u32| f64::from(at) + 0.5 - f64::from(side) / 2.0;
    off(x, WIDTH).hypot(off(y, HEIGHT)) - RADIUS
}

/// A bright disc before a dark background, both with a pattern.
fn disc() -> DynamicImage {
    let pixel = |x: u32, y: u32| {
        let pattern = ((x * 7 + y * 13) % 20) as u8;
        if distance(x, y) < 0.0 { [230 + pattern, 220, 200 + pattern] } else { [20, 30 + pattern, 60] }
    };
    ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Rgb(pixel(x, y))).into()
}

fn with_objects() -> (TempDir, Background) {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "background", |_| bright_objects(128));
    let engine = Background::new(nets(models.path()));
    (models, engine)
}

async fn remove(engine: &Background, bytes: Bytes, fields: Value) -> Result<Output, EngineError> {
    run(engine, job(&REMOVE_BACKGROUND, "sourceImage", bytes, fields)).await
}

fn read(picture: &Picture) -> Decoded {
    decode(&picture.bytes, &PictureLimits::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subject_stays_and_the_background_goes() {
    let (_models, engine) = with_objects();
    let output = remove(&engine, png(&disc()), json!({})).await.unwrap();
    assert_eq!((output.pictures.len(), output.pictures[0].format), (1, Format::Png));
    let (source, DynamicImage::ImageRgba8(cut)) = (disc().into_rgb8(), read(&output.pictures[0]).image) else {
        panic!()
    };
    assert_eq!(cut.dimensions(), (WIDTH, HEIGHT));
    let mut counts = (0, 0);
    for (x, y, pixel) in cut.enumerate_pixels() {
        let [red, green, blue] = source.get_pixel(x, y).0;
        if distance(x, y) < -REFINED {
            assert_eq!(pixel.0, [red, green, blue, 255], "{x},{y}");
            counts.0 += 1;
        } else if distance(x, y) > REFINED {
            assert_eq!(pixel.0, [0; 4], "{x},{y}");
            counts.1 += 1;
        } else if distance(x, y).abs() > 3.0 {
            assert_eq!(pixel.0[3] > 127, distance(x, y) < 0.0, "{x},{y}: {pixel:?}");
        }
    }
    assert!(counts.0 > 300 && counts.1 > 1000, "{counts:?}");
    let hash = support::hash(&bright_objects(128)).to_uppercase();
    let expected = format!(
        "the subject was found by the net `isnet-medium.onnx` (SHA-256 {}…) of the pack `background`",
        &hash[..12]
    );
    assert_eq!(output.notes, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn depth_gray_and_what_the_file_carries_are_kept() {
    let (_models, engine) = with_objects();
    let profile = [&[0; 16][..], b"GRAY", &[0; 108]].concat();
    let image = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| {
        Luma([if distance(x, y) < 0.0 { 60_001_u16 } else { 3_003 } + (x * 11) as u16])
    });
    let parameters = "a disc\nSteps: 20";
    let attached = Attached { profile: Some(&profile), parameters: Some(parameters), ..Attached::default() };
    let bytes = encode(&image.clone().into(), Format::Png, &attached).unwrap();
    let output = remove(&engine, bytes, json!({})).await.unwrap();
    let cut = read(&output.pictures[0]);
    assert_eq!((cut.profile.as_deref(), cut.parameters.as_deref()), (Some(&profile[..]), Some(parameters)));
    let DynamicImage::ImageLumaA16(pixels) = cut.image else { panic!("{:?}", cut.image.color()) };
    let (x, y) = (WIDTH / 2, HEIGHT / 2);
    assert_eq!(pixels.get_pixel(x, y).0, [image.get_pixel(x, y).0[0], 65_535]);
    assert_eq!(pixels.get_pixel(0, 0).0, [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transparency_of_the_source_counts_as_background() {
    let (_models, engine) = with_objects();
    let disc = disc().into_rgb8();
    let image = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| {
        let [red, green, blue] = disc.get_pixel(x, y).0;
        Rgba([red, green, blue, if x < WIDTH / 2 { 255 } else { 128 }])
    });
    let output = remove(&engine, png(&image.into()), json!({})).await.unwrap();
    let DynamicImage::ImageRgba8(cut) = read(&output.pictures[0]).image else { panic!() };
    let opacity = |x: u32| cut.get_pixel(x, HEIGHT / 2).0[3];
    assert_eq!((opacity(WIDTH / 2 - 5), opacity(WIDTH / 2 + 5), opacity(2)), (255, 128, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_can_have_a_colour() {
    let (_models, engine) = with_objects();
    for (format, fields) in
        [(Format::Jpeg, json!({"backgroundColor": "#ff0000"})), (Format::Png, json!({"backgroundColor": "F00"}))]
    {
        let bytes = encode(&disc(), format, &Attached::default()).unwrap();
        let output = remove(&engine, bytes, fields).await.unwrap();
        assert_eq!(output.pictures[0].format, format);
        let DynamicImage::ImageRgb8(cut) = read(&output.pictures[0]).image else { panic!() };
        let [red, green, blue] = cut.get_pixel(1, 1).0;
        assert!(red > 245 && green < 10 && blue < 10, "{red} {green} {blue}");
        assert!(cut.get_pixel(WIDTH / 2, HEIGHT / 2).0.iter().all(|sample| *sample > 190));
    }
    let body = json!({"businessTaskId": "1", "sourceImage": URL, "backgroundColor": "white"});
    let error = engine.check(&JobRequest::new("1", &REMOVE_BACKGROUND, body)).unwrap_err().to_string();
    assert!(error.starts_with("`backgroundColor`: \"white\" given; give a colour"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_found_by_the_other_pack() {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "portrait", |_| bright_people(64));
    let engine = Background::new(nets(models.path()));
    let output = remove(&engine, png(&disc()), json!({})).await.unwrap();
    let DynamicImage::ImageRgba8(cut) = read(&output.pictures[0]).image else { panic!() };
    assert_eq!((cut.get_pixel(WIDTH / 2, HEIGHT / 2).0[3], cut.get_pixel(0, 0).0), (255, [0; 4]));
    let note = &output.notes[0];
    assert!(note.contains("`selfie_segmentation.onnx`") && note.ends_with("finds people only"), "{note}");
    // The one for objects of any kind is preferred as soon as it is there.
    install(models.path(), "background", |_| bright_objects(64));
    let again = Background::new(nets(models.path()));
    let preferred = ["isnet-medium.onnx", "isnet-small.onnx", "selfie_segmentation.onnx"];
    assert_eq!(again.nets(&REMOVE_BACKGROUND), preferred);
    let output = remove(&again, png(&disc()), json!({})).await.unwrap();
    assert!(output.notes[0].contains("`isnet-medium.onnx`"), "{:?}", output.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn nets_of_the_operators_own_are_preferred() {
    for (folder, name, net) in [("rembg", "u2net.onnx", own::u2net()), ("BiRefNet", "any.onnx", own::birefnet())] {
        let (models, _) = with_objects();
        own::put(models.path(), folder, name, &net);
        let engine = Background::new(nets(models.path()));
        let output = remove(&engine, png(&disc()), json!({})).await.unwrap();
        let DynamicImage::ImageRgba8(cut) = read(&output.pictures[0]).image else { panic!() };
        let (x, y) = (WIDTH / 2, HEIGHT / 2);
        let [red, green, blue] = disc().into_rgb8().get_pixel(x, y).0;
        assert_eq!((cut.get_pixel(x, y).0, cut.get_pixel(0, 0).0), ([red, green, blue, 255], [0; 4]), "{name}");
        let note = &output.notes[0];
        assert!(
            note.contains(&format!("`{name}`")) && note.ends_with(&format!("of your own in `{folder}/`")),
            "{note}"
        );
        let error = remove(&engine, png(&DynamicImage::new_rgb8(50, 40)), json!({})).await.unwrap_err().to_string();
        assert!(error.starts_with("`sourceImage`: nothing in the picture stands out"), "{name}: {error}");
        assert!(
            assert_cancellable(&engine, &job(&REMOVE_BACKGROUND, "sourceImage", png(&disc()), json!({}))).await > 80
        );
    }
}

/// As a file that was made for another runtime.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_net_that_cannot_be_loaded_gives_way_to_the_pack() {
    let (models, _) = with_objects();
    own::put(models.path(), "rembg", "net.onnx", &own::unknown_operator());
    let engine = Background::new(nets(models.path()));
    assert_eq!(engine.nets(&REMOVE_BACKGROUND), ["isnet-medium.onnx", "isnet-small.onnx"]);
    let output = remove(&engine, png(&disc()), json!({})).await.unwrap();
    assert!(output.notes[0].contains("of the pack `background`"), "{:?}", output.notes);
    let files = imgopen_neural::own_files(models.path(), runtime());
    let problem = files[0].problem.as_deref().unwrap();
    assert!(problem.contains("\"net.onnx\"") && problem.contains("Telepathy"), "{problem}");
}

/// Its mask is no mask for dark pictures, for which the caller is not to be blamed.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_net_that_returns_no_numbers_is_blamed_itself() {
    let models = tempfile::tempdir().unwrap();
    own::put(models.path(), "rembg", "net.onnx", &own::dividing_u2net());
    let engine = Background::new(nets(models.path()));
    let flat = DynamicImage::new_rgb8(50, 40);
    let error = remove(&engine, png(&flat), json!({})).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
    let error = error.to_string();
    assert!(
        error.contains("\"net.onnx\" failed: its output `1959` has numbers that are not finite")
            && error
                .ends_with("replace the file in `rembg/` in the models directory, or touch it to have it tried again"),
        "{error}"
    );
    assert!(engine.offers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_without_a_subject_is_rejected() {
    for (pack, expected) in [
        ("background", "`sourceImage`: nothing in the picture stands out"),
        ("portrait", "`sourceImage`: nobody was found in the picture"),
    ] {
        let models = tempfile::tempdir().unwrap();
        install(models.path(), pack, |_| if pack == "portrait" { bright_people(32) } else { bright_objects(32) });
        let engine = Background::new(nets(models.path()));
        let error = remove(&engine, png(&DynamicImage::new_rgb8(50, 40)), json!({})).await.unwrap_err();
        assert!(matches!(error, EngineError::Rejected { .. }) && error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn packs_count_as_soon_as_they_are_seen() {
    let models = tempfile::tempdir().unwrap();
    let directory = install(models.path(), "background", |_| bright_objects(16));
    hide(models.path());
    let nets = nets(models.path());
    let engine = Background::new(nets.clone());
    let registry = Registry::default().with(engine.clone());
    let missing = registry.pick("remove_background", None).unwrap_err().to_string();
    assert!(missing.contains("`imgopen models pull background`"), "{missing}");

    show(models.path());
    nets.look();
    let choice = registry.pick("remove_background", None).unwrap();
    assert_eq!((choice.engine.name(), choice.offer.grade), ("segmentation", Grade::Neural));

    // Other bytes of the same size, with another time.
    let file = directory.join("isnet-small.onnx");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    nets.look();
    let broken = registry.pick("remove_background", None).unwrap_err().to_string();
    assert!(broken.contains("\"isnet-small.onnx\"") && broken.contains("`imgopen models pull background`"), "{broken}");
    assert!(engine.offers().iter().all(|offer| !offer.is_known));

    fs::remove_dir_all(&directory).unwrap();
    nets.look();
    assert!(engine.offers().is_empty());
}

/// It has the size of before and would run as well: only its SHA-256 is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_net_that_was_changed_after_its_pull_is_not_used() {
    let models = tempfile::tempdir().unwrap();
    let file = install(models.path(), "background", |_| bright_objects(128)).join("isnet-medium.onnx");
    let whole = fs::read(&file).unwrap();
    let [weight, other] = [1000.0_f32, 900.0].map(f32::to_le_bytes);
    let at = whole.windows(4).position(|bytes| bytes == weight).unwrap();
    fs::write(&file, [&whole[..at], &other, &whole[at + 4..]].concat()).unwrap();
    let engine = Background::new(nets(models.path()));
    let expected = "the model file \"isnet-medium.onnx\" was changed: it has another SHA-256 than when it was installed; pull it again \
                    with `imgopen models pull background`";
    let offers = engine.offers();
    assert_eq!(offers.len(), 1);
    assert_eq!((offers[0].away.as_deref(), offers[0].is_known), (Some(expected), false));
    let error = remove(&engine, png(&disc()), json!({})).await.unwrap_err();
    assert_eq!(error, EngineError::Unavailable { reason: expected.to_owned(), retry_after: None });
    fs::write(&file, whole).unwrap();
    let engine = Background::new(nets(models.path()));
    assert_eq!(remove(&engine, png(&disc()), json!({})).await.unwrap().pictures.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanishes_is_named_with_its_pull() {
    let (models, engine) = with_objects();
    fs::remove_file(models.path().join("packs/background-1/isnet-medium.onnx")).unwrap();
    let error = remove(&engine, png(&disc()), json!({})).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("isnet-medium.onnx") && error.contains("`imgopen models pull background`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_wherever_it_is_cancelled() {
    let (_models, engine) = with_objects();
    let job = job(&REMOVE_BACKGROUND, "sourceImage", png(&disc()), json!({}));
    // Means over the copy in 41 passes, each along both sides, and one pass over the picture.
    assert!(assert_cancellable(&engine, &job).await > 80 * u64::from(HEIGHT));
}

#[test]
fn memory_is_that_of_picture_net_and_planes() {
    let (_models, engine) = with_objects();
    let memory = |image: &DynamicImage| engine.memory(&job(&REMOVE_BACKGROUND, "sourceImage", png(image), json!({})));
    let (small, large) = (memory(&DynamicImage::new_rgb8(10, 10)), memory(&DynamicImage::new_rgb8(1000, 1000)));
    assert_eq!(large - small, 17 * (1_000_000 - 100));
    assert!(small > 160 * 1024 * 1024);
}
