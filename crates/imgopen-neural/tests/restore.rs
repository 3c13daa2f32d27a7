//! Repair of faces with tiny nets that repeat pixels and make them lighter, on a photograph of an astronaut.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use image::{DynamicImage, GenericImageView, Pixel};
use imgopen_engine::{Engine, EngineError, Format, Grade, Monitor, Output, Picture, PictureLimits, Registry};
use imgopen_nets::Dimension;
use imgopen_nets::onnx::{Builder, Setting};
use imgopen_neural::Restore;
use imgopen_picture::{Attached, Decoded, decode, encode};
use imgopen_types::operations::RESTORE_FACE;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{assert_cancellable, hide, install, job, nets, png, repeater, run, show};

/// 512x512 pixels, with one face.
const ASTRONAUT: &[u8] = include_bytes!("../../imgopen-cli/assets/astronaut.jpg");

/// A cheek, and how far from there repairs may reach.
const CHEEK: (u32, u32) = (205, 125);
const REACH: f64 = 130.0;

fn astronaut() -> DynamicImage {
    decode(ASTRONAUT, &PictureLimits::default()).unwrap().image
}

/// A net with the signature of Real-ESRGAN's that repeats pixels, and makes them lighter by 0.2.
fn lighter() -> Vec<u8> {
    let named = |name: &str| Dimension::Named(name.to_owned());
    let mut builder = Builder::new(1024, ["data", "output"].map(str::to_owned));
    builder.input("data", &[Dimension::Fixed(1), Dimension::Fixed(3), named("height"), named("width")]);
    builder.output("output", &[Dimension::Fixed(1), Dimension::Fixed(3), Dimension::Unknown, Dimension::Unknown]);
    let scales = builder.floats(&[1.0, 1.0, 4.0, 4.0]);
    let way = [
        ("mode", Setting::Text("nearest")),
        ("coordinate_transformation_mode", Setting::Text("asymmetric")),
        ("nearest_mode", Setting::Text("floor")),
    ];
    let large = builder.node("Resize", &["data", "", &scales], &way);
    let light = builder.number(0.2);
    builder.node_as("Add", &[&large, &light], "output", &[]);
    builder.finish()
}

/// A net with the signature of CodeFormer's, or of GFPGAN's without a weight, that makes faces lighter by up to 0.2.
fn restorer(takes_weight: bool) -> Vec<u8> {
    let sides = [1, 3, 512, 512].map(Dimension::Fixed);
    let mut builder = Builder::new(1024, ["face", "weight", "restored"].map(str::to_owned));
    builder.input("face", &sides);
    // From -1 to 1.
    let mut light = builder.number(0.4);
    if takes_weight {
        builder.input("weight", &[Dimension::Fixed(1)]);
        light = builder.node("Mul", &["weight", &light], &[]);
    }
    builder.output("restored", &sides);
    builder.node_as("Add", &["face", &light], "restored", &[]);
    builder.finish()
}

fn put(models: &Path, folder: &str, name: &str, net: &[u8]) {
    fs::create_dir_all(models.join(folder)).unwrap();
    fs::write(models.join(folder).join(name), net).unwrap();
}

fn with_pack(net: impl Fn() -> Vec<u8>) -> (TempDir, Restore) {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "upscale", |file| match file {
        "realesrgan-x4plus.onnx" => net(),
        _ => repeater(4),
    });
    let engine = Restore::new(nets(models.path()));
    (models, engine)
}

async fn restore(engine: &Restore, bytes: Bytes, fields: Value) -> Result<Output, EngineError> {
    run(engine, job(&RESTORE_FACE, "image", bytes, fields)).await
}

fn read(picture: &Picture) -> Decoded {
    decode(&picture.bytes, &PictureLimits::default()).unwrap()
}

/// Asserts that only pixels around the face differ, and none in its opacity. Returns how many do.
fn changed(before: &DynamicImage, after: &DynamicImage) -> usize {
    assert_eq!((before.color(), before.dimensions()), (after.color(), after.dimensions()));
    let (before, after) = (before.to_rgba16(), after.to_rgba16());
    let pixels = before.enumerate_pixels().zip(after.pixels());
    let differing = pixels.filter(|((x, y, before), after)| {
        assert_eq!(before.0[3], after.0[3], "{x},{y}");
        let distance = (f64::from(*x) - f64::from(CHEEK.0)).hypot(f64::from(*y) - f64::from(CHEEK.1));
        assert!(distance < REACH || before == after, "{x},{y}: {before:?} {after:?}");
        before != after
    });
    differing.count()
}

/// By how much of 255 a cheek has become lighter, on average.
fn lightened(before: &DynamicImage, after: &DynamicImage) -> f64 {
    let area = |image: &DynamicImage| {
        let part = image.view(CHEEK.0 - 4, CHEEK.1 - 4, 9, 9);
        part.pixels().map(|(.., pixel)| f64::from(pixel.to_rgb().0[2])).sum::<f64>() / 81.0
    };
    area(after) - area(before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_net_that_repeats_pixels_changes_nothing() {
    let (_models, engine) = with_pack(|| repeater(4));
    let source = astronaut();
    let output = restore(&engine, png(&source), json!({})).await.unwrap();
    assert_eq!(read(&output.pictures[0]).image, source);
    let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
    assert!(note.starts_with("1 face was repaired by the net `realesrgan-x4plus.onnx`"), "{note}");
    assert!(note.ends_with("of the pack `upscale`"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_face_changes_and_the_weight_says_how_far() {
    let (_models, engine) = with_pack(lighter);
    let source = astronaut();
    for (weight, expected) in [(json!("0"), 51.0), (json!(0.5), 38.25), (Value::Null, 38.25), (json!("1"), 25.5)] {
        let fields = if weight.is_null() { json!({}) } else { json!({"fidelityWeight": weight}) };
        let output = restore(&engine, png(&source), fields).await.unwrap();
        let restored = read(&output.pictures[0]).image;
        assert!(changed(&source, &restored) > 5000);
        let found = lightened(&source, &restored);
        assert!((found - expected).abs() < 3.0, "{weight}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_picture_keeps_its_kind() {
    let (_models, engine) = with_pack(lighter);
    let mut faded = astronaut().to_rgba16();
    faded.enumerate_pixels_mut().for_each(|(x, _, pixel)| pixel.0[3] = u16::MAX - x as u16 * 60);
    let faded = DynamicImage::from(faded);
    for source in [
        DynamicImage::from(faded.to_luma8()),
        faded.to_luma_alpha8().into(),
        faded.to_luma16().into(),
        faded.to_rgb16().into(),
        faded.to_rgba8().into(),
        faded.clone(),
    ] {
        let attached = Attached { parameters: Some("a portrait\nSteps: 20"), ..Attached::default() };
        let bytes = encode(&source, Format::Png, &attached).unwrap();
        let output = restore(&engine, bytes, json!({})).await.unwrap();
        let restored = read(&output.pictures[0]);
        assert_eq!(restored.parameters.as_deref(), Some("a portrait\nSteps: 20"));
        assert!(changed(&source, &restored.image) > 5000, "{:?}", source.color());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nets_of_the_operators_own_are_preferred() {
    let source = astronaut();
    for (folder, takes_weight, weights) in
        [("CodeFormer", true, [("1", 51.0), ("0", 0.0)]), ("GFPGAN", false, [("1", 25.5), ("0", 51.0)])]
    {
        let models = tempfile::tempdir().unwrap();
        install(models.path(), "upscale", |_| repeater(4));
        put(models.path(), folder, "faces.onnx", &restorer(takes_weight));
        let engine = Restore::new(nets(models.path()));
        assert_eq!(engine.nets(&RESTORE_FACE), ["faces.onnx", "realesrgan-x4plus.onnx"]);
        for (weight, expected) in weights {
            let output = restore(&engine, png(&source), json!({"fidelityWeight": weight})).await.unwrap();
            let restored = read(&output.pictures[0]).image;
            changed(&source, &restored);
            let found = lightened(&source, &restored);
            assert!((found - expected).abs() < 4.0, "{folder} {weight}: {found}");
            let note = &output.notes[0];
            assert!(note.contains("`faces.onnx`") && note.ends_with(&format!("`{folder}/`")), "{note}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_requests_are_rejected_by_field() {
    let (_models, engine) = with_pack(|| repeater(4));
    let error = restore(&engine, png(&DynamicImage::new_rgb8(90, 80)), json!({})).await.unwrap_err().to_string();
    assert_eq!(error, "`image`: no face was found in the picture; give one with a face");
    for weight in [json!("much"), json!("1.5"), json!(-1), json!(true)] {
        let job = job(&RESTORE_FACE, "image", png(&astronaut()), json!({"fidelityWeight": weight}));
        let error = engine.check(job.checked_request()).unwrap_err().to_string();
        assert!(error.starts_with("`fidelityWeight`"), "{error}");
    }
    let error = restore(&engine, Bytes::from_static(b"no picture"), json!({})).await.unwrap_err();
    assert!(error.to_string().starts_with("`image`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_within_a_row_or_a_run() {
    let (_models, engine) = with_pack(lighter);
    let job = job(&RESTORE_FACE, "image", png(&astronaut()), json!({}));
    // At least once for each row of the face, as it is cut out and put back.
    assert!(assert_cancellable(&engine, &job).await > 200);
    let (monitor, watch) = Monitor::new();
    engine.run(job, monitor).await.unwrap();
    assert_eq!(watch.progress.borrow().percent, 100.0);
}

#[test]
fn it_is_offered_while_there_is_a_net() {
    let models = tempfile::tempdir().unwrap();
    let directory = install(models.path(), "upscale", |_| repeater(4));
    hide(models.path());
    let nets = nets(models.path());
    let registry = Registry::default().with(Restore::new(nets.clone()));
    let error = registry.pick("restore_face", None).unwrap_err().to_string();
    assert!(error.contains("`imgopen models pull upscale`"), "{error}");
    show(models.path());
    nets.look();
    let choice = registry.pick("restore_face", None).unwrap();
    assert_eq!((choice.engine.name(), choice.offer.grade), ("face-restoration", Grade::Neural));
    fs::remove_file(directory.join("realesrgan-x4plus.onnx")).unwrap();
    nets.look();
    let error = registry.pick("restore_face", None).unwrap_err().to_string();
    assert!(error.contains("realesrgan-x4plus.onnx") && error.contains("`imgopen models pull upscale`"), "{error}");
}

#[test]
fn memory_counts_the_net_and_the_picture() {
    let (_models, engine) = with_pack(|| repeater(4));
    let memory = |image: &DynamicImage| engine.memory(&job(&RESTORE_FACE, "image", png(image), json!({})));
    let (one, other) = (memory(&DynamicImage::new_rgb8(1000, 1000)), memory(&DynamicImage::new_rgb8(2000, 1000)));
    assert_eq!(other - one, 17_000_000);
    assert!(one > 17_000_000 + 32 * 1024 * 1024);
}
