//! What web UIs do with finished pictures.

use image::{DynamicImage, ImageBuffer, Rgb, Rgba};
use imgopen_backends::{BackendSettings, Driver, SdWebui};
use imgopen_engine::{Engine, EngineError, Grade, Input, Job, JobRequest, Monitor, Output, PictureLimits};
use imgopen_picture::{Attached, Decoded, Format, decode, description, encode, parameters, to_srgb, with_description};
use imgopen_types::Operation;
use imgopen_types::operations::{DESCRIBE_IMAGE, PREVIEW_CONTROLNET, RESTORE_FACE, SUPER_RESOLUTION};
use serde_json::{Value, json};

use crate::fake::{Behaviour, Fake, Fault};
use crate::jobs::input;
use crate::targets::{QUICK, settings};

const PICTURE: &str = "https://example.com/a.png";

async fn open(fake: &Fake, change: impl FnOnce(&mut BackendSettings)) -> SdWebui {
    let mut settings = settings(&fake.url);
    change(&mut settings);
    let engine = SdWebui::with_timing(settings, QUICK).unwrap();
    assert!(engine.refresh().await);
    engine
}

fn all(settings: &mut BackendSettings) {
    settings.upscaler = Some("R-ESRGAN 4x+".to_owned());
    settings.face_restorer = Some("CodeFormer".to_owned());
    settings.interrogators = vec!["clip".to_owned(), "deepdanbooru".to_owned()];
    settings.preprocessors = true;
}

async fn run(engine: &SdWebui, operation: &'static Operation, body: Value) -> Result<Output, EngineError> {
    let field = if *operation == PREVIEW_CONTROLNET { "sourceImage" } else { "image" };
    run_with(engine, operation, body, input(field)).await
}

async fn run_with(
    engine: &SdWebui,
    operation: &'static Operation,
    body: Value,
    input: Input,
) -> Result<Output, EngineError> {
    let request = JobRequest::new("task-1", operation, body);
    engine.check(&request)?;
    let job = Job::new(request, "run").with_inputs(vec![input]);
    engine.run(job, Monitor::new().0).await
}

/// Enlarges a picture with texts about it. Returns the result, which has the same texts, and the notes.
async fn enlarge(
    engine: &SdWebui,
    image: &DynamicImage,
    format: Format,
    profile: Option<&[u8]>,
) -> (Decoded, Vec<String>) {
    let attached = Attached { profile, parameters: Some("a cat\nSteps: 20"), ..Attached::default() };
    let bytes = with_description(&encode(image, format, &attached).unwrap(), "a lighthouse").unwrap();
    let body = json!({"businessTaskId": "1", "image": PICTURE, "scale": 2});
    let output = run_with(engine, &SUPER_RESOLUTION, body, Input { bytes, ..input("image") }).await.unwrap();
    let picture = &output.pictures[0];
    assert_eq!((picture.format, picture.width, picture.height), (format, 80, 60));
    assert_eq!(description(&picture.bytes).as_deref(), Some("a lighthouse"));
    assert!(parameters(&picture.bytes).unwrap().starts_with("a cat\nSteps: 20"));
    (decode(&picture.bytes, &PictureLimits::default()).unwrap(), output.notes)
}

#[tokio::test]
async fn they_are_offered_if_the_operator_names_what_they_take() {
    let fake = Fake::start(Behaviour::default()).await;
    let grade = |engine: &SdWebui, operation: &Operation| {
        engine.offers().into_iter().find(|offer| offer.operation == operation).map(|offer| offer.grade)
    };
    let operations = [&SUPER_RESOLUTION, &RESTORE_FACE, &DESCRIBE_IMAGE, &PREVIEW_CONTROLNET];
    let plain = open(&fake, |_| {}).await;
    assert!(operations.iter().all(|operation| grade(&plain, operation).is_none()));
    let full = open(&fake, all).await;
    assert!(operations.iter().all(|operation| grade(&full, operation) == Some(Grade::Neural)));
    let lanczos = open(&fake, |settings| settings.upscaler = Some("Lanczos".to_owned())).await;
    assert_eq!(grade(&lanczos, &SUPER_RESOLUTION), Some(Grade::Classical));
    let unknown = open(&fake, |settings| settings.upscaler = Some("Nope".to_owned())).await;
    assert_eq!(grade(&unknown, &SUPER_RESOLUTION), None);
    assert!(
        unknown.report().to_string().contains("super_resolution: needs the upscaler \"Nope\", which the settings name")
    );
}

#[tokio::test]
async fn pictures_are_enlarged_restored_described_and_read() {
    let fake = Fake::start(Behaviour::default()).await;
    let engine = open(&fake, all).await;
    let enlarged = run(&engine, &SUPER_RESOLUTION, json!({"businessTaskId": "1", "image": PICTURE, "scale": 4})).await;
    let enlarged = enlarged.unwrap().pictures.remove(0);
    assert_eq!((enlarged.width, enlarged.height), (320, 240));
    let body = json!({"businessTaskId": "1", "image": PICTURE, "fidelityWeight": "0.7"});
    let restored = run(&engine, &RESTORE_FACE, body).await.unwrap().pictures.remove(0);
    assert_eq!((restored.width, restored.height), (80, 60));
    let describe =
        |model: &str| json!({"businessTaskId": "1", "image": PICTURE, "model": model, "callbackUrl": PICTURE});
    let described = run(&engine, &DESCRIBE_IMAGE, describe("clip")).await.unwrap();
    assert_eq!(described.caption.as_deref(), Some("a lighthouse, a painting"));
    let failed = run(&engine, &DESCRIBE_IMAGE, describe("deepdanbooru")).await.unwrap_err();
    assert!(matches!(&failed, EngineError::Failed(error) if error.contains("no description")), "{failed:?}");
    let body = json!({"businessTaskId": "1", "sourceImage": PICTURE, "preprocessor": "shuffle"});
    assert_eq!(run(&engine, &PREVIEW_CONTROLNET, body).await.unwrap().pictures.len(), 1);
}

/// The server draws the same whatever it is sent, in sRGB.
#[tokio::test]
async fn results_are_written_as_their_sources_with_what_those_carry() {
    let fake = Fake::start(Behaviour::default()).await;
    let engine = open(&fake, all).await;
    let plain = DynamicImage::new_rgb8(40, 30);
    let (expected, notes) = enlarge(&engine, &plain, Format::Png, None).await;
    assert_eq!((&expected.profile, notes), (&None, Vec::<String>::new()));
    enlarge(&engine, &plain, Format::Jpeg, None).await;
    let (gray, _) = enlarge(&engine, &DynamicImage::new_luma8(40, 30), Format::Png, None).await;
    assert!(gray.image == DynamicImage::from(expected.image.to_luma8()));

    let profile: &[u8] = include_bytes!("../data/display-p3.icc");
    let deep = ImageBuffer::from_fn(40, 30, |x, _| Rgba([65_535_u16, 0, 0, if x < 20 { 65_535 } else { 9 }]));
    let (mut wide, notes) = enlarge(&engine, &deep.into(), Format::Png, Some(profile)).await;
    assert_eq!(wide.profile.as_deref(), Some(profile));
    assert!(to_srgb(&mut wide));
    let (found, expected) = (wide.image.to_rgb8(), expected.image.to_rgb8());
    assert!(found.iter().zip(expected.iter()).all(|(found, expected)| found.abs_diff(*expected) <= 6));
    let lost = [
        "the back end got its colours in sRGB, so that others are lost",
        "the back end got 8 of its 16 bits for each colour",
        "what is transparent became white, because the back end knows no transparency",
    ];
    assert_eq!(notes, lost.map(|lost| format!("`image`: {lost}")));
}

/// The profile of the source says only how its colours are read.
#[tokio::test]
async fn a_result_whose_colours_cannot_be_converted_back_is_in_srgb() {
    let fake = Fake::start(Behaviour::default()).await;
    let engine = open(&fake, all).await;
    let image: DynamicImage = ImageBuffer::from_pixel(40, 30, Rgb([255_u8, 0, 0])).into();
    let (expected, _) = enlarge(&engine, &image, Format::Png, None).await;
    let profile: &[u8] = include_bytes!("../data/one-way.icc");
    let (made, notes) = enlarge(&engine, &image, Format::Png, Some(profile)).await;
    assert!(made.image == expected.image);
    assert_eq!(made.profile, None);
    assert_eq!(notes, ["`image`: the back end got its colours in sRGB, so that others are lost"]);
}

#[tokio::test]
async fn a_result_too_large_for_the_format_of_its_source_is_refused() {
    let fake = Fake::start(Behaviour::default()).await;
    let engine = open(&fake, all).await;
    let bytes = encode(&DynamicImage::new_rgb8(9000, 3), Format::WebP, &Attached::default()).unwrap();
    let body = json!({"businessTaskId": "1", "image": PICTURE, "scale": 2});
    let refused = run_with(&engine, &SUPER_RESOLUTION, body, Input { bytes, ..input("image") }).await.unwrap_err();
    let expected = "`scale`: 2 given: 18000x6 pixels are too many for a WebP file; at most 16383 fit on a side";
    assert_eq!(refused.to_string(), expected);
}

#[tokio::test]
async fn what_was_not_done_as_asked_for_is_a_failure() {
    let fake = Fake::start(Behaviour::default()).await;
    let engine = open(&fake, all).await;
    let enlarge = json!({"businessTaskId": "1", "image": PICTURE});
    let restore = json!({"businessTaskId": "1", "image": PICTURE});
    for (fault, operation, body, problem) in [
        (Fault::Makes(80, 60), &SUPER_RESOLUTION, enlarge.clone(), "160x120 pixels were to come back, and 80x60 did"),
        (
            Fault::Writes("Lanczos", "R-ESRGAN 4x+"),
            &SUPER_RESOLUTION,
            enlarge,
            "\"Postprocess upscaler: R-ESRGAN 4x+\"",
        ),
        (Fault::Writes("GFPGAN", "CodeFormer"), &RESTORE_FACE, restore, "\"CodeFormer visibility: 1\""),
    ] {
        fake.set(|behaviour| behaviour.fault = fault);
        match run(&engine, operation, body).await {
            Err(EngineError::Failed(error)) => assert!(error.contains(problem), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_field() {
    let fake = Fake::start(Behaviour::default()).await;
    let gfpgan = open(&fake, |settings| {
        settings.face_restorer = Some("GFPGAN".to_owned());
        settings.interrogators = vec!["clip".to_owned()];
        settings.preprocessors = true;
    });
    let engine = gfpgan.await;
    for (field, operation, body) in [
        ("fidelityWeight", &RESTORE_FACE, json!({"businessTaskId": "1", "image": PICTURE, "fidelityWeight": "0.7"})),
        (
            "model",
            &DESCRIBE_IMAGE,
            json!({"businessTaskId": "1", "image": PICTURE, "model": "deepdanbooru", "callbackUrl": PICTURE}),
        ),
        (
            "preprocessor",
            &PREVIEW_CONTROLNET,
            json!({"businessTaskId": "1", "sourceImage": PICTURE, "preprocessor": "mlsd"}),
        ),
    ] {
        match run(&engine, operation, body).await {
            Err(EngineError::Rejected { field: Some(rejected), .. }) => assert_eq!(rejected, field),
            other => panic!("`{field}`: {other:?}"),
        }
    }
}
