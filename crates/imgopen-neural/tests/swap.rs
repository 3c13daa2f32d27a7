//! Swapping faces of a photograph with tiny nets: the mesh is the same oval in every face, and the net that paints faces makes
//! negatives.
#![allow(clippy::unwrap_used)]

mod support;

use std::slice;

use bytes::Bytes;
use image::{DynamicImage, ImageBuffer, RgbImage, Rgba, imageops};
use imgopen_engine::{
    Engine, EngineError, Grade, Input, Job, JobRequest, Monitor, Output, Picture, PictureLimits, Registry,
};
use imgopen_neural::Swap;
use imgopen_neural::faces::detect;
use imgopen_picture::{Attached, Decoded, Format, decode, encode};
use imgopen_types::Operation;
use imgopen_types::operations::{SWAP_FACE, SWAP_FACE_V2, SWAP_FACES};
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{URL, assert_cancellable, faces, hide, install, nets, png, run, show};

/// An astronaut, 512x512 pixels. Her face is between 178 and 273 across, and between 67 and 175 down.
const ASTRONAUT: &[u8] = include_bytes!("../../imgopen-cli/assets/astronaut.jpg");

fn astronaut() -> RgbImage {
    decode(ASTRONAUT, &PictureLimits::default()).unwrap().image.to_rgb8()
}

/// Her head, before a shuttle and a flag: 200x200 pixels.
fn head() -> DynamicImage {
    imageops::crop_imm(&astronaut(), 125, 20, 200, 200).to_image().into()
}

/// Another source: mirrored, and in other colours.
fn other() -> DynamicImage {
    let mut image = imageops::flip_horizontal(&head().to_rgb8());
    image.pixels_mut().for_each(|pixel| pixel.0 = [pixel.0[0] / 2 + 90, pixel.0[1] / 2 + 60, pixel.0[2] / 2 + 40]);
    image.into()
}

/// Whether a pixel of the head lies in a circle of that radius around the middle of the face.
fn is_face(x: u32, y: u32, radius: f32) -> bool {
    (x as f32 - 100.0).hypot(y as f32 - 100.0) < radius
}

/// The outline of a face, which is the oval of the tiny mesh where the detector has found the face.
struct Outline {
    centre: [f64; 2],
    radii: [f64; 2],
    /// The sine and the cosine of the angle by which it is turned clockwise.
    turned: (f64, f64),
}

impl Outline {
    /// By how many pixels it may be off: boxes are rounded, and a pixel that it crosses may change.
    const OFF: f64 = 2.0;

    /// Returns that of the only face of a picture.
    fn of(image: &DynamicImage) -> Self {
        let found = detect(image.clone(), &Monitor::new().0).unwrap();
        assert_eq!(found.len(), 1);
        let (place, points) = (&found[0].box_, found[0].landmarks.as_ref().unwrap());
        let [x, y, width, height] = [place.x, place.y, place.width, place.height].map(|number| number as f64);
        // The net is given one and a half times the box, as 192 pixels, in which the oval has radii of 52 and 62.
        let pixel = 1.5 * width.max(height) / 192.0;
        let eyes = [points[1].x - points[0].x, points[1].y - points[0].y];
        Self {
            centre: [x + width / 2.0, y + height / 2.0],
            radii: [52.0 * pixel, 62.0 * pixel],
            turned: eyes[1].atan2(eyes[0]).sin_cos(),
        }
    }

    /// Returns whether a pixel lies in it.
    fn has(&self, x: u32, y: u32) -> bool {
        let (x, y) = (f64::from(x) + 0.5 - self.centre[0], f64::from(y) + 0.5 - self.centre[1]);
        let (sine, cosine) = self.turned;
        let (across, down) = (cosine * x + sine * y, cosine * y - sine * x);
        (across / (self.radii[0] + Self::OFF)).hypot(down / (self.radii[1] + Self::OFF)) < 1.0
    }
}

fn engine(slope: f32) -> (TempDir, Swap) {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "faces", |_| faces::mesh(slope));
    let engine = Swap::new(nets(models.path()));
    (models, engine)
}

/// A job with pictures that give faces, and one that receives them.
fn job(operation: &'static Operation, sources: &[Bytes], target: Bytes, mut fields: Value) -> Job {
    let is_list = operation.id == "swap_faces";
    fields["businessTaskId"] = "1".into();
    fields["targetUrl"] = URL.into();
    fields["sourceUrl"] = if is_list { vec![URL; sources.len()].into() } else { URL.into() };
    let input = |field: String, bytes: &Bytes| Input { field, url: URL.to_owned(), bytes: bytes.clone() };
    let field = |index: usize| if is_list { format!("sourceUrl[{index}]") } else { "sourceUrl".to_owned() };
    let mut inputs: Vec<Input> = sources.iter().enumerate().map(|(index, bytes)| input(field(index), bytes)).collect();
    inputs.push(input("targetUrl".to_owned(), &target));
    Job::new(JobRequest::new("1", operation, fields), "run").with_inputs(inputs)
}

async fn swap(engine: &Swap, source: &DynamicImage, target: &DynamicImage) -> Result<Output, EngineError> {
    run(engine, job(&SWAP_FACE, &[png(source)], png(target), json!({}))).await
}

async fn rejection(engine: &Swap, job: Job) -> String {
    let error = run(engine, job).await.unwrap_err();
    assert!(matches!(error, EngineError::Rejected { .. }), "{error:?}");
    error.to_string()
}

fn read(picture: &Picture) -> Decoded {
    decode(&picture.bytes, &PictureLimits::default()).unwrap()
}

/// Asserts that pixels beyond the outline of the face are exactly the same, and returns by how much those of its middle differ on
/// average.
fn assert_only_face(made: &DynamicImage, before: &DynamicImage) -> f64 {
    assert_eq!(made.color(), before.color());
    let outline = Outline::of(before);
    let (made, before) = (made.to_rgba16(), before.to_rgba16());
    let (mut sum, mut count) = (0.0, 0.0);
    for (x, y, pixel) in made.enumerate_pixels() {
        let own = before.get_pixel(x, y);
        if !outline.has(x, y) {
            assert_eq!(pixel, own, "{x},{y}");
        }
        assert_eq!(pixel.0[3], own.0[3], "{x},{y}");
        if is_face(x, y, 25.0) {
            sum += pixel.0[..3].iter().zip(own.0).map(|(one, other)| f64::from(one.abs_diff(other))).sum::<f64>();
            count += 3.0 * 257.0;
        }
    }
    sum / count
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_face_changes_whatever_the_pixels_are() {
    let (_models, engine) = engine(0.0);
    let head = head();
    let deep = head.to_rgb16();
    let transparent = ImageBuffer::from_fn(200, 200, |x, y| {
        let [red, green, blue] = deep.get_pixel(x, y).0;
        Rgba([red, green, blue.saturating_sub((x % 7) as u16), if y < 110 { u16::MAX } else { 40_000 + x as u16 }])
    });
    for target in [
        head.clone(),
        head.to_luma8().into(),
        head.to_luma_alpha8().into(),
        head.to_rgba8().into(),
        head.to_luma16().into(),
        head.to_rgb16().into(),
        transparent.into(),
    ] {
        let output = swap(&engine, &other(), &target).await.unwrap();
        let off = assert_only_face(&read(&output.pictures[0]).image, &target);
        assert!(off > 1.5, "{:?}: {off}", target.color());
        assert_eq!(output.notes.len(), 1, "{:?}", output.notes);
        let note = &output.notes[0];
        assert!(note.contains("mesh of the net `face_landmark.onnx`") && note.ends_with("pack `faces`"), "{note}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_face_on_itself_stays_nearly_the_same() {
    let (_models, engine) = engine(0.0);
    let output = swap(&engine, &head(), &head()).await.unwrap();
    let off = assert_only_face(&read(&output.pictures[0]).image, &head());
    assert!(off < 1.0, "{off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_carries_is_kept() {
    let (_models, engine) = engine(0.0);
    let profile = [&[0; 16][..], b"RGB ", &[0; 108]].concat();
    let parameters = "a portrait\nSteps: 20";
    let attached = Attached { profile: Some(&profile), parameters: Some(parameters), ..Attached::default() };
    for format in [Format::Png, Format::Jpeg] {
        let bytes = encode(&head(), format, &attached).unwrap();
        let output = run(&engine, job(&SWAP_FACE, &[png(&other())], bytes, json!({}))).await.unwrap();
        let made = read(&output.pictures[0]);
        assert_eq!((output.pictures[0].format, made.profile.as_deref()), (format, Some(&profile[..])));
        if format == Format::Png {
            assert_eq!(made.parameters.as_deref(), Some(parameters));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_without_a_face_are_rejected_by_field() {
    let (_models, engine) = engine(0.0);
    let gray = png(&DynamicImage::new_rgb8(200, 200));
    let error = rejection(&engine, job(&SWAP_FACE, slice::from_ref(&gray), png(&head()), json!({}))).await;
    assert_eq!(error, "`sourceUrl`: no face was found in the picture; give one with a face");
    let error = rejection(&engine, job(&SWAP_FACES, &[png(&head())], gray.clone(), json!({}))).await;
    assert_eq!(error, "`targetUrl`: no face was found in the picture; give one with a face");
    let error = rejection(&engine, job(&SWAP_FACES, slice::from_ref(&gray), png(&head()), json!({}))).await;
    assert!(error.starts_with("`sourceUrl[0]`: no face was found"), "{error}");
    let error = rejection(&engine, job(&SWAP_FACE, &["<html>".into()], png(&head()), json!({}))).await;
    assert!(error.starts_with("`sourceUrl`: the picture at"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_in_profile_is_rejected() {
    // The tangent of 55 degrees.
    let (_models, engine) = engine(1.43);
    let error = rejection(&engine, job(&SWAP_FACE, &[png(&head())], png(&head()), json!({}))).await;
    assert!(error.starts_with("`sourceUrl`: the face is turned by 55°"), "{error}");
}

/// The net says how sure it is that there is a face: as with one that is covered.
#[tokio::test(flavor = "multi_thread")]
async fn a_face_that_does_not_show_enough_of_itself_is_rejected() {
    let models = tempfile::tempdir().unwrap();
    let with = |score: f32| {
        install(models.path(), "faces", |_| faces::mesh_scored(0.0, score));
        Swap::new(nets(models.path()))
    };
    // A sigmoid makes 0.48 of it, and 0.52 of the other one.
    let error = rejection(&with(-0.1), job(&SWAP_FACE, &[png(&other())], png(&head()), json!({}))).await;
    let problem = "the face that was found does not show enough of itself; give a picture in which nothing covers it";
    assert_eq!(error, format!("`sourceUrl`: {problem}"));
    assert_eq!(swap(&with(0.1), &other(), &head()).await.unwrap().pictures.len(), 1);
}

/// Two of her, side by side.
fn two() -> DynamicImage {
    let mut image = RgbImage::new(400, 200);
    for x in [0, 200] {
        imageops::replace(&mut image, &head().to_rgb8(), x, 0);
    }
    image.into()
}

/// Returns whether the face on the left and that on the right have changed.
fn changed(output: &Output) -> [bool; 2] {
    let (made, before) = (read(&output.pictures[0]).image.to_rgb8(), two().to_rgb8());
    [0, 200].map(|left| {
        let mut pixels = (75..125).flat_map(|x| (75..125).map(move |y| (left + x, y)));
        pixels.any(|(x, y)| made.get_pixel(x, y) != before.get_pixel(x, y))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_counted_from_the_left() {
    let (_models, engine) = engine(0.0);
    let of = |count: usize, fields: Value| job(&SWAP_FACES, &vec![png(&other()); count], png(&two()), fields);
    for (count, fields, expected, notes) in [
        (1, json!({}), [true, false], 2),
        (2, json!({}), [true, true], 1),
        (1, json!({"faceIdx": 1}), [true, false], 1),
        (1, json!({"faceIdx": 2}), [false, true], 1),
    ] {
        let output = run(&engine, of(count, fields.clone())).await.unwrap();
        assert_eq!((changed(&output), output.notes.len()), (expected, notes), "{fields}: {:?}", output.notes);
    }
    let error = rejection(&engine, of(1, json!({"faceIdx": 3}))).await;
    assert_eq!(error, "`faceIdx`: 3 given, but 2 faces were found in the target; give a number from 1 to 2");
    let request = of(2, json!({"faceIdx": 1})).checked_request().clone();
    assert!(engine.check(&request).unwrap_err().to_string().starts_with("`faceIdx`: it names one face"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_several_faces_gives_its_largest() {
    let (_models, engine) = engine(0.0);
    let output = swap(&engine, &two(), &head()).await.unwrap();
    assert_eq!(output.notes[1], "`sourceUrl`: 2 faces were found, of which the largest was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_cannot_be_repaired_says_so() {
    let (_models, engine) = engine(0.0);
    let fields = json!({"fidelityWeight": "0.7"});
    let output = run(&engine, job(&SWAP_FACE_V2, &[png(&other())], png(&head()), fields)).await.unwrap();
    assert!(assert_only_face(&read(&output.pictures[0]).image, &head()) > 1.5);
    let note = &output.notes[1];
    assert!(note.starts_with("the face was not repaired") && note.contains("`imgopen models pull upscale`"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nets_of_the_operator_paint_faces() {
    for has_mesh in [true, false] {
        let models = tempfile::tempdir().unwrap();
        if has_mesh {
            install(models.path(), "faces", |_| faces::mesh(0.0));
        }
        faces::put(models.path(), "inswapper_128.onnx", &faces::painter(512));
        faces::put(models.path(), "w600k_r50.onnx", &faces::recogniser(1.0));
        let engine = Swap::new(nets(models.path()));
        assert!(engine.offers().iter().all(|offer| offer.grade == Grade::Neural) && engine.offers().len() == 3);
        let mesh: &[&str] = if has_mesh { &["face_landmark.onnx"] } else { &[] };
        for offer in engine.offers() {
            assert_eq!(engine.nets(offer.operation), [&["inswapper_128.onnx", "w600k_r50.onnx"], mesh].concat());
        }
        let output = swap(&engine, &other(), &head()).await.unwrap();
        let made = read(&output.pictures[0]).image;
        let (made, before) = (made.to_rgb8(), head().to_rgb8());
        for (x, y, pixel) in made.enumerate_pixels() {
            let own = before.get_pixel(x, y);
            if is_face(x, y, 12.0) {
                // Resampled to 128 pixels a side and back.
                let negative = pixel.0.iter().zip(own.0).map(|(made, own)| made.abs_diff(255 - own)).max();
                assert!(negative < Some(60), "{x},{y}: {pixel:?} {own:?}");
            }
        }
        assert_eq!((made.get_pixel(2, 2), made.get_pixel(197, 2)), (before.get_pixel(2, 2), before.get_pixel(197, 2)));
        let [painted, unseen @ .., likeness] = &output.notes[..] else { panic!("{:?}", output.notes) };
        assert!(painted.starts_with("the face was painted by the net `inswapper_128.onnx`"), "{painted}");
        assert_eq!(unseen.len(), usize::from(!has_mesh), "{unseen:?}");
        assert!(unseen.iter().all(|note| note.contains("because the pack `faces` is not installed")), "{unseen:?}");
        assert!(likeness.starts_with("likeness to the source: "), "{likeness}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_net_without_its_matrix_is_refused_by_name() {
    let models = tempfile::tempdir().unwrap();
    faces::put(models.path(), "inswapper_128.onnx", &faces::painter(8));
    faces::put(models.path(), "w600k_r50.onnx", &faces::recogniser(1.0));
    let engine = Swap::new(nets(models.path()));
    let error = swap(&engine, &other(), &head()).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("\"inswapper_128.onnx\"") && error.to_string().contains("the matrix"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_net_that_fails_with_faces_does_not_count_any_more() {
    for (painter, recogniser, failing) in [
        (faces::painter(512), faces::recogniser(0.0), "\"w600k_r50.onnx\""),
        (faces::painter_times(512, 0.0), faces::recogniser(1.0), "\"inswapper_128.onnx\""),
        (faces::painter_times(512, f32::NAN), faces::recogniser(1.0), "\"inswapper_128.onnx\""),
    ] {
        let models = tempfile::tempdir().unwrap();
        install(models.path(), "faces", |_| faces::mesh(0.0));
        faces::put(models.path(), "inswapper_128.onnx", &painter);
        faces::put(models.path(), "w600k_r50.onnx", &recogniser);
        let engine = Swap::new(nets(models.path()));
        let error = swap(&engine, &other(), &head()).await.unwrap_err();
        assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains(failing), "{error}");
        assert!(engine.offers().iter().all(|offer| offer.grade == Grade::Classical));
        assert_eq!(swap(&engine, &other(), &head()).await.unwrap().pictures.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_net_that_paints_needs_one_that_recognises() {
    let models = tempfile::tempdir().unwrap();
    faces::put(models.path(), "inswapper_128.onnx", &faces::painter(512));
    install(models.path(), "faces", |_| faces::mesh(0.0));
    hide(models.path());
    let nets = nets(models.path());
    let engine = Swap::new(nets.clone());
    let registry = Registry::default().with(engine.clone());
    for operation in ["swap_face", "swap_face_v2", "swap_faces"] {
        let missing = registry.pick(operation, None).unwrap_err().to_string();
        assert!(missing.contains("`imgopen models pull faces`"), "{missing}");
    }
    show(models.path());
    nets.look();
    let choice = registry.pick("swap_faces", None).unwrap();
    assert_eq!((choice.engine.name(), choice.offer.grade), ("face-swap", Grade::Classical));
    let output = swap(&engine, &other(), &head()).await.unwrap();
    let note = &output.notes[0];
    assert!(note.contains("`inswapper_128.onnx` is not used, because it needs a net that recognises faces"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_wherever_it_is_cancelled() {
    let (_models, engine) = engine(0.0);
    let job = job(&SWAP_FACE, &[png(&other())], png(&head()), json!({}));
    assert!(assert_cancellable(&engine, &job).await > 2000);
}

#[test]
fn memory_grows_with_the_pictures() {
    let (_models, engine) = engine(0.0);
    let of = |side: u32| png(&DynamicImage::new_rgb8(side, side));
    let memory = |source: u32, target: u32| engine.memory(&job(&SWAP_FACE, &[of(source)], of(target), json!({})));
    let least = memory(10, 10);
    assert!(least > 64 * 1024 * 1024, "{least}");
    assert_eq!(memory(10, 1000) - least, (17 + 16) * (1_000_000 - 100));
    assert_eq!(memory(1000, 10) - least, (17 + 48) * (1_000_000 - 100));
}
