//! Describing pictures with tiny nets that know colours only, and without nets.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage};
use imgopen_engine::{Engine, EngineError, Grade, JobRequest, Output, Registry};
use imgopen_neural::Describe;
use imgopen_types::operations::DESCRIBE_IMAGE;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{URL, assert_cancellable, colour_classes, hide, install, job, nets, png, run, show, tagger};

const FILE: &str = "packs/tags-1/efficientnet-lite0.onnx";

const TABLE: &str = "tag_id,name,category,count\n\
    1,general,9,1\n\
    2,red_(colour),0,1\n\
    3,blue_sky,0,1\n\
    4,someone,4,1\n";

fn plain(red: u8, green: u8, blue: u8) -> DynamicImage {
    RgbImage::from_pixel(60, 40, Rgb([red, green, blue])).into()
}

fn with_tags() -> (TempDir, Describe) {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "tags", |_| colour_classes());
    let engine = Describe::new(nets(models.path()));
    (models, engine)
}

/// Tags in the order of `TABLE`: the rating is always high, and the character's score is between the thresholds for red.
fn put_tagger(models: &Path, names: Option<(&str, &str)>) {
    let folder = models.join("tagger");
    fs::create_dir_all(&folder).unwrap();
    // Blue comes first.
    let weights = [[1.0; 3], [0.0, 0.0, 0.04], [0.04, 0.0, 0.0], [0.0, 0.0, 0.022]];
    fs::write(folder.join("wd.onnx"), tagger(448, &weights)).unwrap();
    if let Some((file, text)) = names {
        fs::write(folder.join(file), text).unwrap();
    }
}

async fn describe(engine: &Describe, image: &DynamicImage, fields: Value) -> Result<Output, EngineError> {
    run(engine, request(png(image), fields)).await
}

fn request(bytes: Bytes, mut fields: Value) -> imgopen_engine::Job {
    fields["callbackUrl"] = URL.into();
    job(&DESCRIBE_IMAGE, "image", bytes, fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_net_is_sure_of_is_named() {
    let (_models, engine) = with_tags();
    for (image, expected) in
        [(plain(250, 0, 0), "a tabby cat, mostly red"), (plain(0, 0, 250), "espresso, mostly blue")]
    {
        let output = describe(&engine, &image, json!({})).await.unwrap();
        let caption = output.caption.unwrap();
        assert!(caption.starts_with(expected) && caption.contains("landscape format"), "{caption}");
        let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
        let hash = support::hash(&colour_classes()).to_uppercase();
        let net = format!("the net `efficientnet-lite0.onnx` (SHA-256 {}…) of the pack `tags` names", &hash[..12]);
        assert!(note.starts_with("`model`: `clip` is not on this server; ") && note.contains(&net), "{note}");
    }
    // Neither: every class is as likely.
    let caption = describe(&engine, &plain(127, 127, 127), json!({})).await.unwrap().caption.unwrap();
    assert!(caption.starts_with("mostly gray") || caption.starts_with("black and white"), "{caption}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pack_a_draft_says_less() {
    let models = tempfile::tempdir().unwrap();
    let directory = install(models.path(), "tags", |_| colour_classes());
    hide(models.path());
    let nets = nets(models.path());
    let engine = Describe::new(nets.clone());
    let registry = Registry::default().with(engine.clone());
    let grade =
        || registry.pick("describe_image", None).map(|choice| (choice.engine.name().to_owned(), choice.offer.grade));
    assert_eq!(grade().unwrap(), ("describe".to_owned(), Grade::Draft));
    let output = describe(&engine, &plain(250, 0, 0), json!({"model": "clip"})).await.unwrap();
    let caption = output.caption.unwrap();
    assert!(caption.starts_with("mostly red, ") && !caption.contains("cat"), "{caption}");
    assert!(output.notes[0].contains("`imgopen models pull tags`"), "{:?}", output.notes);

    show(models.path());
    nets.look();
    assert_eq!(grade().unwrap().1, Grade::Neural);
    fs::write(directory.join("efficientnet-lite0.onnx"), b"something else").unwrap();
    nets.look();
    let broken = grade().unwrap_err().to_string();
    assert!(broken.contains("`imgopen models pull tags`"), "{broken}");
    let error = describe(&engine, &plain(250, 0, 0), json!({})).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tagger_writes_tags() {
    let models = tempfile::tempdir().unwrap();
    put_tagger(models.path(), Some(("selected_tags.csv", TABLE)));
    let engine = Describe::new(nets(models.path()));
    assert_eq!(engine.nets(&DESCRIBE_IMAGE), ["wd.onnx"]);
    let square = |colour: [u8; 3]| DynamicImage::from(RgbImage::from_pixel(50, 50, Rgb(colour)));
    let fields = || json!({"model": "deepdanbooru"});
    let output = describe(&engine, &square([250, 0, 0]), fields()).await.unwrap();
    assert_eq!(output.caption.as_deref(), Some("red \\(colour\\)"));
    let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
    assert!(note.starts_with("`model`: the tags are those of the net `wd.onnx` (SHA-256 "), "{note}");
    let both = describe(&engine, &square([250, 0, 250]), fields()).await.unwrap();
    assert_eq!(both.caption.as_deref(), Some("blue sky, red \\(colour\\)"));
    // Nothing but the rating.
    let none = describe(&engine, &square([0, 250, 0]), fields()).await.unwrap();
    assert!(none.caption.unwrap().contains("square format"));
    assert!(none.notes[0].contains("`wd.onnx`") && none.notes[0].contains("found no tag"), "{:?}", none.notes);
    // It is for tags alone.
    let clip = describe(&engine, &square([250, 0, 0]), json!({"model": "clip"})).await.unwrap();
    assert!(clip.caption.unwrap().starts_with("mostly red"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_no_draft_without_the_pack_and_captions_are() {
    let models = tempfile::tempdir().unwrap();
    put_tagger(models.path(), Some(("selected_tags.csv", TABLE)));
    let nets = nets(models.path());
    let engine = Describe::new(nets.clone());
    let registry = Registry::default().with(engine.clone());
    let offered = || registry.pick("describe_image", None).unwrap().offer.grade;
    assert_eq!(offered(), Grade::Neural);
    let job = |fields: Value| request(png(&plain(250, 0, 0)), fields);
    let grade = |model: &str| engine.grade(job(json!({"model": model})).checked_request(), Grade::Neural);
    assert_eq!((grade("deepdanbooru"), grade("clip")), (Grade::Neural, Grade::Draft));
    assert_eq!(engine.grade(job(json!({})).checked_request(), Grade::Neural), Grade::Draft);
    // Nor are tags made of a tagger whose tags have no names.
    fs::remove_file(models.path().join("tagger/selected_tags.csv")).unwrap();
    nets.look();
    assert_eq!((offered(), grade("deepdanbooru")), (Grade::Draft, Grade::Draft));
    assert_eq!(engine.nets(&DESCRIBE_IMAGE), [""; 0]);
    let (_models, whole) = with_tags();
    assert_eq!(whole.grade(job(json!({})).checked_request(), Grade::Neural), Grade::Neural);
}

/// The pack is for captions alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pack_leaves_tags_to_the_tagger() {
    let models = tempfile::tempdir().unwrap();
    let directory = install(models.path(), "tags", |_| colour_classes());
    fs::write(directory.join("efficientnet-lite0.onnx"), b"something else").unwrap();
    put_tagger(models.path(), Some(("selected_tags.csv", TABLE)));
    let engine = Describe::new(nets(models.path()));
    assert!(Registry::default().with(engine.clone()).pick("describe_image", None).is_ok());
    let job = |model: &str| request(png(&plain(250, 0, 0)), json!({"model": model}));
    engine.check(job("deepdanbooru").checked_request()).unwrap();
    let output = run(&engine, job("deepdanbooru")).await.unwrap();
    assert_eq!(output.caption.as_deref(), Some("red \\(colour\\)"));
    let refused = engine.check(job("clip").checked_request()).unwrap_err();
    let failed = run(&engine, job("clip")).await.unwrap_err();
    for error in [refused, failed] {
        assert!(matches!(error, EngineError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("`imgopen models pull tags`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deepdanbooru_takes_other_numbers() {
    let models = tempfile::tempdir().unwrap();
    let folder = models.path().join("deepdanbooru");
    fs::create_dir_all(&folder).unwrap();
    // Red comes first, from 0 to 1.
    fs::write(folder.join("net.onnx"), tagger(512, &[[10.0, 0.0, 0.0], [0.0, 0.0, 10.0], [9.0, 9.0, 9.0]])).unwrap();
    fs::write(folder.join("tags.txt"), "red_hair\nblue_hair\nrating:safe\n").unwrap();
    let engine = Describe::new(nets(models.path()));
    let output = describe(&engine, &plain(250, 0, 0), json!({"model": "deepdanbooru"})).await.unwrap();
    assert_eq!(output.caption.as_deref(), Some("red hair"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_without_names_are_not_guessed() {
    for (names, expected) in [
        (None, "neither `selected_tags.csv` nor `tags.txt`"),
        (Some(("selected_tags.csv", "name,category\na,0\n")), "it scores 4 tags, and `selected_tags.csv` names 1"),
        (Some(("selected_tags.csv", "name,category\na\n")), "`selected_tags.csv`: line 2 is not a tag"),
        (Some(("tags.txt", "a\n\nb\nc\n")), "`tags.txt`: line 2 is empty"),
    ] {
        let models = tempfile::tempdir().unwrap();
        put_tagger(models.path(), names);
        let engine = Describe::new(nets(models.path()));
        assert_eq!(engine.offers()[0].grade, Grade::Draft);
        let output = describe(&engine, &plain(250, 0, 0), json!({"model": "deepdanbooru"})).await.unwrap();
        assert!(output.caption.unwrap().starts_with("mostly red"));
        let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
        assert!(note.contains("`wd.onnx`") && note.contains("are not known: ") && note.contains(expected), "{note}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tagger_a_note_says_so() {
    let (_models, engine) = with_tags();
    let output = describe(&engine, &plain(250, 0, 0), json!({"model": "deepdanbooru"})).await.unwrap();
    assert!(output.caption.unwrap().starts_with("a tabby cat"));
    assert!(output.notes[0].starts_with("`model`: `deepdanbooru` is not on this server; "), "{:?}", output.notes);
}

#[test]
fn other_models_are_rejected() {
    let (_models, engine) = with_tags();
    let check = |model: Value| {
        let body = json!({"businessTaskId": "1", "image": URL, "callbackUrl": URL, "model": model});
        engine.check(&JobRequest::new("1", &DESCRIBE_IMAGE, body))
    };
    check(json!("clip")).unwrap();
    check(json!("deepdanbooru")).unwrap();
    for model in [json!("blip"), json!("CLIP"), json!(""), json!(7), json!(null)] {
        let error = check(model.clone()).unwrap_err().to_string();
        assert!(error.starts_with("`model`"), "{model}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_picture_is_described() {
    let (_models, engine) = with_tags();
    let deep = ImageBuffer::from_fn(30, 50, |x, y| Luma([(x * 2000 + y) as u16]));
    let clear = ImageBuffer::from_pixel(5, 5, LumaA([0_u8, 0]));
    for (image, expected) in [
        (DynamicImage::from(deep), "portrait format"),
        // Transparency is white.
        (DynamicImage::from(clear), "square format"),
        (DynamicImage::new_rgb8(1, 1), "square format"),
        (DynamicImage::new_rgb8(3000, 1), "landscape format"),
        (DynamicImage::new_rgba16(1, 3000), "portrait format"),
    ] {
        let caption = describe(&engine, &image, json!({})).await.unwrap().caption.unwrap();
        assert!(caption.contains(expected), "{caption}");
    }
    for bytes in [&b""[..], b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"] {
        let error = run(&engine, request(Bytes::from_static(bytes), json!({}))).await.unwrap_err();
        assert!(matches!(error, EngineError::Rejected { .. }), "{error:?}");
        assert!(error.to_string().starts_with("`image`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_are_always_the_same() {
    let (_models, engine) = with_tags();
    let image =
        ImageBuffer::from_fn(200, 120, |x, y| Rgb([(x * 7 % 256) as u8, (y * 11 % 256) as u8, (x * y % 256) as u8]));
    let image = DynamicImage::from(image);
    let first = describe(&engine, &image, json!({})).await.unwrap();
    for _ in 0..3 {
        assert_eq!(describe(&engine, &image, json!({})).await.unwrap(), first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_wherever_it_is_cancelled() {
    let (_models, engine) = with_tags();
    // Before each of two runs, each of the rounds that gather colours, and each stage.
    assert!(assert_cancellable(&engine, &request(png(&plain(250, 0, 0)), json!({}))).await > 20);
    let models = tempfile::tempdir().unwrap();
    put_tagger(models.path(), Some(("selected_tags.csv", TABLE)));
    let engine = Describe::new(nets(models.path()));
    let fields = json!({"model": "deepdanbooru"});
    assert!(assert_cancellable(&engine, &request(png(&plain(250, 0, 0)), fields)).await > 4);
}

#[test]
fn memory_is_that_of_picture_and_nets() {
    let (models, engine) = with_tags();
    let asked = |engine: &Describe, image: &DynamicImage, fields: Value| engine.memory(&request(png(image), fields));
    let memory = |engine: &Describe, image: &DynamicImage| asked(engine, image, json!({}));
    let (small, large) = (DynamicImage::new_rgb8(10, 10), DynamicImage::new_rgb8(1000, 1000));
    let own = memory(&engine, &small);
    assert_eq!(memory(&engine, &large) - own, 17 * (1_000_000 - 100));
    fs::remove_file(models.path().join(FILE)).unwrap();
    let without = Describe::new(nets(models.path()));
    assert!(memory(&without, &small) < own);
    put_tagger(models.path(), Some(("selected_tags.csv", TABLE)));
    let with_tagger = Describe::new(nets(models.path()));
    assert_eq!(memory(&with_tagger, &small), memory(&without, &small));
    let tags = asked(&with_tagger, &small, json!({"model": "deepdanbooru"}));
    assert!(tags > memory(&without, &small) + 3 * 448 * 448 * 4, "{tags}");
}
