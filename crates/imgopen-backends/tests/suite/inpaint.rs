//! `outpaint` and `remove_object` by inpainting: with an engine that paints the masked part in one colour, and with a
//! fake web UI.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};
use imgopen_backends::{Backend, BackendSettings, Fleet, Generation, HOLE, InpaintSettings, Inpainter, Surroundings};
use imgopen_engine::{
    Devices, Engine, EngineError, Expected, Format, Grade, Input, Job, JobRequest, Model, ModelKind, Models, Monitor,
    Offer, Output, Picture, PictureLimits, Slots,
};
use imgopen_picture::{Attached, decode, encode, parameters};
use imgopen_types::Operation;
use imgopen_types::operations::{CHANGE_HAIRSTYLE, IMAGE_TO_IMAGE, OUTPAINT, REMOVE_OBJECT};
use serde_json::{Value, json};

use crate::fake::{Behaviour, Fake, Fault};
use crate::targets::sd_webui::faked;
use crate::targets::until;

const MODEL: &str = "inpainting.safetensors";
const START: &str = "alwayson_scripts.image_link";
const MASK: &str = "alwayson_scripts.mask_link";
/// What the engine paints.
const RED: [u8; 3] = [200, 30, 40];
/// How far the new part reaches beyond the hole where nothing is scaled.
const REACH: u32 = 8;

/// What the engine that is used does.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    Paint,
    /// Until it is cancelled.
    Hang,
    /// Makes pictures of another size.
    Shrink,
    /// Makes no picture.
    Nothing,
    Reject(&'static str),
    Away,
    /// It has never answered.
    New,
}

/// An engine for `image_to_image` that paints the masked part, and leaves the rest.
struct Painter {
    act: Act,
    jobs: Mutex<Vec<Job>>,
}

impl Painter {
    fn new(act: Act) -> Arc<Self> {
        Arc::new(Self { act, jobs: Mutex::default() })
    }

    fn jobs(&self) -> Vec<Job> {
        self.jobs.lock().unwrap().clone()
    }
}

fn picture_of(job: &Job, field: &str) -> DynamicImage {
    decode(&job.input(field).unwrap().bytes, job.limits()).unwrap().image
}

fn generation(job: &Job) -> Generation {
    Generation::read(job.checked_request()).unwrap()
}

/// Paints the masked part.
fn paint(job: &Job, act: &Act) -> Output {
    let asked = generation(job);
    let (start, mask) = (picture_of(job, START).into_rgb8(), picture_of(job, MASK).into_luma8());
    assert_eq!((start.dimensions(), mask.dimensions()), ((asked.width, asked.height), (asked.width, asked.height)));
    let painted = RgbImage::from_fn(asked.width, asked.height, |x, y| match mask.get_pixel(x, y).0 {
        [255] => Rgb(RED),
        [0] => *start.get_pixel(x, y),
        other => panic!("a gray mask: {other:?}"),
    });
    let painted = match act {
        Act::Shrink => image::imageops::resize(&painted, 64, 64, image::imageops::FilterType::Nearest),
        _ => painted,
    };
    let (width, height) = painted.dimensions();
    let bytes = encode(&painted.into(), Format::Png, &Attached::default()).unwrap();
    let seed = asked.seed.unwrap();
    let picture = |number: u32| {
        let seed = Some(seed + i64::from(number));
        Picture { bytes: bytes.clone(), format: Format::Png, width, height, seed }
    };
    let count = if *act == Act::Nothing { 0 } else { asked.pictures() };
    let notes =
        vec!["`steps`: at least 4".to_owned(), "`denoising_strength`: as ever".to_owned(), "unverified".to_owned()];
    Output { pictures: (0..count).map(picture).collect(), notes, ..Output::default() }
}

impl Engine for Painter {
    fn name(&self) -> &'static str {
        "painter"
    }

    fn offers(&self) -> Vec<Offer> {
        let is_known = self.act != Act::New;
        let models = match is_known {
            true => Models::Listed(vec![Model::new(ModelKind::Checkpoint, MODEL, "")]),
            false => Models::Any,
        };
        let away = [Act::Away, Act::New].contains(&self.act).then(|| "it sleeps".to_owned());
        vec![Offer { models, away, is_known, ..Offer::new(&IMAGE_TO_IMAGE, Grade::Neural) }]
    }

    fn slots(&self) -> Slots {
        Slots::Own(3.try_into().unwrap())
    }

    fn free_places(&self, operation: &Operation, model: Option<&str>) -> Option<usize> {
        (*operation == IMAGE_TO_IMAGE && model == Some(MODEL)).then_some(2)
    }

    fn expect_job(&self, operation: &Operation, model: Option<&str>) -> Option<Expected> {
        (*operation == IMAGE_TO_IMAGE && model == Some(MODEL)).then(|| Expected::new(()))
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        Generation::read(request)?;
        match self.act {
            Act::Reject(field) => Err(EngineError::rejected(field, "not there")),
            _ => Ok(()),
        }
    }

    fn plan<'a>(&'a self, _: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        futures_util::future::ready(Ok(Some(json!({"kept": 1})))).boxed()
    }

    fn memory(&self, job: &Job) -> u64 {
        let asked = generation(job);
        u64::from(asked.width) * u64::from(asked.height) * 1_000_000
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        self.jobs.lock().unwrap().push(job.clone());
        let act = self.act.clone();
        Box::pin(async move {
            match act {
                Act::Hang => {
                    monitor.cancelled().await;
                    Err(EngineError::Cancelled)
                }
                Act::Reject(field) => Err(EngineError::rejected(field, "not there")),
                act => Ok(paint(&job, &act)),
            }
        })
    }
}

fn settings() -> InpaintSettings {
    InpaintSettings { prompt: "a meadow".to_owned(), steps: 9, ..InpaintSettings::new(MODEL) }
}

fn inpainter(engine: &Arc<Painter>) -> Inpainter {
    Inpainter::new(engine.clone(), "painter-inpaint", settings()).unwrap()
}

fn file(field: &str, image: impl Into<DynamicImage>, format: Format) -> Input {
    let attached = Attached { parameters: Some("a cat\nSteps: 20"), ..Attached::default() };
    let bytes = encode(&image.into(), format, &attached).unwrap();
    Input { field: field.to_owned(), url: "https://example.com/a.png".to_owned(), bytes }
}

fn textured(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7 % 251) as u8, (y * 5 % 241) as u8, ((x ^ y) % 200) as u8]))
}

/// A rectangle: left, top, width, height.
type Area = (u32, u32, u32, u32);

/// Whether a pixel lies in a rectangle, or at most that far from it.
fn is_near((x, y): (u32, u32), (left, top, width, height): Area, by: u32) -> bool {
    x + by >= left && x < left + width + by && y + by >= top && y < top + height + by
}

fn mask(size: (u32, u32), area: Area) -> GrayImage {
    GrayImage::from_fn(size.0, size.1, |x, y| Luma([if is_near((x, y), area, 0) { 255 } else { 0 }]))
}

fn removal(source: Input, area: Area) -> Job {
    let size = decode(&source.bytes, &PictureLimits::default()).unwrap().image;
    let mask = file("maskImage", mask((size.width(), size.height()), area), Format::Png);
    let body = json!({"businessTaskId": "1", "sourceImage": source.url, "maskImage": mask.url});
    Job::new(JobRequest::new("task-1", &REMOVE_OBJECT, body), "run-1").with_inputs(vec![source, mask])
}

fn outpainting(source: Input, changes: Value) -> Job {
    let mut body = json!({
        "businessTaskId": "1", "sourceImage": source.url, "imageCount": 1, "seed": 7,
        "verticalExpansionRatio": 1.5, "horizontalExpansionRatio": 2,
    });
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Job::new(JobRequest::new("task-1", &OUTPAINT, body), "run-1").with_inputs(vec![source])
}

async fn run(engine: &impl Engine, job: Job) -> Result<Output, EngineError> {
    engine.check(job.checked_request())?;
    engine.run(job, Monitor::new().0).await
}

fn pixels(picture: &Picture) -> DynamicImage {
    let image = decode(&picture.bytes, &PictureLimits::default()).unwrap().image;
    assert_eq!((image.width(), image.height()), (picture.width, picture.height));
    image
}

#[tokio::test]
async fn an_object_is_painted_over_and_all_else_stays() {
    let (painter, area) = (Painter::new(Act::Paint), (300, 250, 50, 40));
    let source = textured(700, 600);
    let job = removal(file("sourceImage", source.clone(), Format::Png), area);
    let output = run(&inpainter(&painter), job).await.unwrap();
    let [picture] = &output.pictures[..] else { panic!("{output:?}") };
    for (x, y, pixel) in pixels(picture).to_rgb8().enumerate_pixels() {
        if is_near((x, y), area, 2) {
            assert_eq!(pixel.0, RED, "{x},{y}");
        } else if !is_near((x, y), area, REACH - 1) {
            assert_eq!(pixel, source.get_pixel(x, y), "{x},{y}");
        }
    }
    assert_eq!(
        (picture.format, picture.seed, parameters(&picture.bytes).as_deref()),
        (Format::Png, None, Some("a cat\nSteps: 20"))
    );
    let how = format!("made by inpainting with the model \"{MODEL}\" of the engine `painter`");
    assert_eq!(output.notes, [how, "unverified".to_owned()]);
}

#[tokio::test]
async fn a_back_end_gets_the_surroundings_of_a_hole_without_what_was_in_it() {
    let painter = Painter::new(Act::Paint);
    let mut source = RgbImage::from_pixel(700, 600, Rgb([90, 120, 150]));
    let area = (300, 250, 50, 40);
    for (x, y, pixel) in source.enumerate_pixels_mut().filter(|(x, y, _)| is_near((*x, *y), area, 0)) {
        *pixel = Rgb([(x % 256) as u8, 255, (y % 256) as u8]);
    }
    let engine = inpainter(&painter);
    let job = removal(file("sourceImage", source, Format::Png), area);
    let plan = engine.plan(job.checked_request()).await.unwrap();
    run(&engine, job.with_plan(plan.clone())).await.unwrap();
    let [inner] = &painter.jobs()[..] else { panic!("one job was expected") };
    assert_eq!((inner.task_id(), inner.run_id(), inner.operation().id), ("task-1", "run-1", "image_to_image"));
    assert_eq!((inner.plan(), generation(inner).seed), (Some(&json!({"kept": 1})), plan.unwrap()["seed"].as_i64()));
    let asked = generation(inner);
    assert_eq!((asked.prompt.full.as_str(), asked.steps, asked.width, asked.height), ("a meadow", 9, 512, 512));
    assert!(picture_of(inner, START).to_rgb8().pixels().all(|pixel| pixel.0 == [90, 120, 150]), "the object is seen");
    // The region has the hole in its middle.
    let white = picture_of(inner, MASK).to_luma8();
    assert_eq!(white.dimensions(), (512, 512));
    for (x, y, pixel) in white.enumerate_pixels() {
        let expected = if is_near((x + 69, y + 14), area, REACH - 1) { 255 } else { 0 };
        assert_eq!(pixel.0, [expected], "{x},{y}");
    }
}

/// Depth, channels and the format stay; only JPEG loses a little.
#[tokio::test]
async fn every_kind_of_picture_keeps_its_kind() {
    let (painter, area) = (Painter::new(Act::Paint), (60, 40, 30, 30));
    let (width, height) = (200, 150);
    let deep = |x: u32, y: u32| (x * 300 + y * 7) as u16;
    let kinds: [DynamicImage; 6] = [
        ImageBuffer::from_fn(width, height, |x, y| Luma([(x + y) as u8])).into(),
        ImageBuffer::from_fn(width, height, |x, y| LumaA([x as u8, y as u8])).into(),
        ImageBuffer::from_fn(width, height, |x, y| Rgba([x as u8, y as u8, 9, (x ^ y) as u8])).into(),
        ImageBuffer::from_fn(width, height, |x, y| Luma([deep(x, y)])).into(),
        ImageBuffer::from_fn(width, height, |x, y| Rgb([deep(x, y), deep(y, x), 7])).into(),
        ImageBuffer::from_fn(width, height, |x, y| Rgba([deep(x, y), deep(y, x), 7, deep(x, x)])).into(),
    ];
    for source in kinds {
        let output =
            run(&inpainter(&painter), removal(file("sourceImage", source.clone(), Format::Png), area)).await.unwrap();
        let made = pixels(&output.pictures[0]);
        assert_eq!(made.color(), source.color());
        let size = usize::from(source.color().bytes_per_pixel());
        let at = |image: &DynamicImage, x: u32, y: u32| {
            let place = (y * width + x) as usize * size;
            image.as_bytes()[place..place + size].to_vec()
        };
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            if !is_near((x, y), area, REACH - 1) {
                assert_eq!(at(&made, x, y), at(&source, x, y), "{:?} {x},{y}", source.color());
            }
        }
        // The middle of the hole is what was painted, and opaque.
        let painted = DynamicImage::from(RgbImage::from_pixel(1, 1, Rgb(RED)));
        let expected = if source.color().has_color() { RED[0] } else { painted.to_luma8().get_pixel(0, 0).0[0] };
        let [red, _, _, opacity] = made.to_rgba8().get_pixel(75, 55).0;
        assert!(red.abs_diff(expected) <= 1 && opacity == 255, "{:?}: {red} {opacity}", source.color());
    }
    let source = textured(width, height);
    let output = run(&inpainter(&painter), removal(file("sourceImage", source, Format::Jpeg), area)).await.unwrap();
    assert_eq!(output.pictures[0].format, Format::Jpeg);
}

#[tokio::test]
async fn a_picture_is_extended_on_all_sides() {
    let painter = Painter::new(Act::Paint);
    let source = textured(301, 200);
    let inside = (150, 50, 301, 200);
    let asked = json!({"imageCount": 2, "prompt": "a beach", "sampleStep": 4});
    let output =
        run(&inpainter(&painter), outpainting(file("sourceImage", source.clone(), Format::WebP), asked)).await.unwrap();
    assert_eq!(output.pictures.iter().map(|picture| picture.seed).collect::<Vec<_>>(), [Some(7), Some(8)]);
    let inner = &painter.jobs()[0];
    // 602 x 300 pixels, brought to about as many as a square of 512 has.
    let asked = generation(inner);
    assert_eq!((asked.width, asked.height, asked.prompt.full.as_str(), asked.steps), (704, 384, "a beach", 4));
    assert!(output.notes.contains(&"`sampleStep`: at least 4".to_owned()), "{:?}", output.notes);
    for picture in &output.pictures {
        assert_eq!((picture.width, picture.height, picture.format), (602, 300, Format::WebP));
        for (x, y, pixel) in pixels(picture).to_rgb8().enumerate_pixels() {
            let is_deep = is_near((x, y), (inside.0 + REACH, inside.1 + REACH, 301 - 2 * REACH, 200 - 2 * REACH), 0);
            if is_deep {
                assert_eq!(pixel, source.get_pixel(x - inside.0, y - inside.1), "{x},{y}");
            } else if !is_near((x, y), inside, 0) {
                assert!(pixel.0.iter().zip(RED).all(|(found, red)| found.abs_diff(red) <= 1), "{x},{y} {pixel:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_large_picture_is_worked_on_at_the_size_of_the_model_which_is_said() {
    let painter = Painter::new(Act::Paint);
    let source = textured(1200, 900);
    let job = outpainting(file("sourceImage", source.clone(), Format::Png), json!({"horizontalExpansionRatio": 1}));
    let output = run(&inpainter(&painter), job).await.unwrap();
    let asked = generation(&painter.jobs()[0]);
    assert_eq!((asked.width, asked.height), (512, 512));
    let scaled = "the new part was made in a picture of 512x512 pixels, enlarged to 1200x1350".to_owned();
    assert!(output.notes.contains(&scaled), "{:?}", output.notes);
    let made = pixels(&output.pictures[0]).to_rgb8();
    // The edge fades over more pixels, and the sides that stay have none.
    let reach = (1350_u32 * 8).div_ceil(512);
    for y in reach..900 - reach {
        for x in [0, 1, 600, 1199] {
            assert_eq!(made.get_pixel(x, 225 + y), source.get_pixel(x, y), "{x},{y}");
        }
    }
}

#[tokio::test]
async fn nothing_is_painted_where_nothing_is_asked_for() {
    let painter = Painter::new(Act::Hang);
    let source = textured(50, 40);
    let same = json!({"verticalExpansionRatio": 1, "horizontalExpansionRatio": 1});
    let output =
        run(&inpainter(&painter), outpainting(file("sourceImage", source.clone(), Format::Png), same)).await.unwrap();
    assert_eq!(pixels(&output.pictures[0]), source.into());
    assert_eq!(output.notes, ["the size stays as it is, so that nothing was painted"]);
    assert!(painter.jobs().is_empty());
}

#[tokio::test]
async fn the_offers_are_those_of_the_engine_that_is_used() {
    let painter = Painter::new(Act::Paint);
    let engine = inpainter(&painter);
    let offers = engine.offers();
    let ids: Vec<_> = offers.iter().map(|offer| (offer.operation.id, offer.grade, offer.away.clone())).collect();
    assert_eq!(ids, [("outpaint", Grade::Neural, None), ("remove_object", Grade::Neural, None)]);
    assert_eq!(
        (engine.name(), engine.slots(), engine.free_places(&OUTPAINT, None)),
        ("painter-inpaint", painter.slots(), Some(2))
    );
    assert_eq!((engine.pool(), engine.free_places(&IMAGE_TO_IMAGE, Some(MODEL))), ("painter", None));
    let away = |engine: Arc<dyn Engine>, settings| {
        Inpainter::new(engine, "a", settings).unwrap().offers()[0].away.clone().unwrap()
    };
    assert_eq!(away(Painter::new(Act::Away), settings()), "it sleeps");
    let is_known = |act: Act| inpainter(&Painter::new(act)).offers().iter().all(|offer| offer.is_known);
    assert_eq!([Act::Paint, Act::Away, Act::New].map(is_known), [true, true, false]);
    let missing = away(painter.clone(), InpaintSettings::new("other.safetensors"));
    assert_eq!(
        missing,
        "`painter` does not have the model \"other.safetensors\", which its operator set as `inpaint.model`"
    );
    // It offers no `image_to_image` itself.
    assert!(away(Arc::new(engine), settings()).contains("does not serve `image_to_image`"));
}

#[tokio::test]
async fn the_engine_that_is_used_learns_the_key() {
    let painter = Painter::new(Act::Paint);
    let source = file("sourceImage", textured(100, 80), Format::Png);
    let job = outpainting(source, json!({}));
    let request = job.checked_request().clone().with_key("ak_1");
    let job = Job::new(request, "run-1").with_inputs(job.inputs().to_vec());
    run(&inpainter(&painter), job).await.unwrap();
    assert_eq!(painter.jobs()[0].checked_request().key(), "ak_1");
}

#[tokio::test]
async fn a_back_end_inpaints_if_its_settings_say_so() {
    let painter: Arc<dyn Engine> = Painter::new(Act::Paint);
    let read = |json: &str| serde_json::from_str::<BackendSettings>(json).unwrap();
    let none = read(r#"{"url": "http://a.example"}"#);
    assert!(Inpainter::of(&painter, &none).unwrap().is_none());
    let some = read(r#"{"url": "http://a.example", "withhold": ["outpaint"], "inpaint": {"model": "a.safetensors"}}"#);
    assert_eq!(some.check(), Ok(()));
    let engine = Inpainter::of(&painter, &some).unwrap().unwrap();
    let offers = engine.offers();
    assert_eq!((engine.name(), offers.len(), offers[0].operation.id), ("painter-inpaint", 1, "remove_object"));
    let wrong = read(r#"{"url": "http://a.example", "inpaint": {"model": "a.safetensors", "side": 500}}"#);
    assert!(wrong.check().unwrap_err().contains("`inpaint.side` is 500"));
    assert!(Inpainter::of(&painter, &wrong).is_err());
}

/// As an engine uses it that has found the hair.
#[tokio::test]
async fn hair_is_painted_over_by_words_of_the_request() {
    let (painter, area) = (Painter::new(Act::Paint), (300, 250, 50, 40));
    let engine: Arc<dyn Engine> = painter.clone();
    let read = |json: &str| serde_json::from_str::<BackendSettings>(json).unwrap();
    let settings = read(&format!(r#"{{"url": "http://a.example", "inpaint": {{"model": "{MODEL}"}}}}"#));
    let restyler = Inpainter::restyler(&engine, &settings).unwrap().unwrap();
    let offers: Vec<_> = restyler.offers().iter().map(|offer| offer.operation.id).collect();
    assert_eq!((restyler.name(), offers), ("painter-hairstyle", vec!["change_hairstyle"]));
    assert!(restyler.expect_job(&CHANGE_HAIRSTYLE, None).is_some() && restyler.expect_job(&OUTPAINT, None).is_none());
    assert_eq!((restyler.free_places(&CHANGE_HAIRSTYLE, None), restyler.free_places(&OUTPAINT, None)), (Some(2), None));
    let source = textured(700, 600);
    let image = file("sourceImage", source.clone(), Format::Png);
    let mask = file(HOLE, mask((700, 600), area), Format::Png);
    let body = json!({"businessTaskId": "1", "sourceImage": image.url, "hairStyle": "bob", "hairColor": "brown"});
    let job = Job::new(JobRequest::new("task-1", &CHANGE_HAIRSTYLE, body), "run-1").with_inputs(vec![image, mask]);
    let output = run(&restyler, job).await.unwrap();
    for (x, y, pixel) in pixels(&output.pictures[0]).to_rgb8().enumerate_pixels() {
        if is_near((x, y), area, 2) {
            assert_eq!(pixel.0, RED, "{x},{y}");
        } else if !is_near((x, y), area, REACH - 1) {
            assert_eq!(pixel, source.get_pixel(x, y), "{x},{y}");
        }
    }
    let words = "portrait of a person with a bob hairstyle, brown hair, detailed hair";
    assert_eq!(generation(&painter.jobs()[0]).prompt.full, words);
    for withheld in [
        r#"{"url": "http://a.example"}"#,
        r#"{"url": "http://a.example", "withhold": ["change_hairstyle"], "inpaint": {"model": "a"}}"#,
    ] {
        assert!(Inpainter::restyler(&engine, &read(withheld)).unwrap().is_none());
    }
}

/// As the program makes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_ends_of_one_kind_inpaint_together() {
    let fakes = [Fake::start(Behaviour::default()).await, Fake::start(Behaviour::default()).await];
    let open = async |name: &str, fake: &Fake, inpaint: Option<InpaintSettings>| {
        let url = fake.url.parse().unwrap();
        let settings = BackendSettings { name: Some(name.to_owned()), inpaint, ..BackendSettings::new(url) };
        Backend::discover(settings, &Surroundings::default()).await.unwrap()
    };
    let small = InpaintSettings { steps: 2, side: 64, ..InpaintSettings::new("random-sd15.safetensors") };
    let both = vec![open("1", &fakes[0], None).await, open("2", &fakes[1], Some(small.clone())).await];
    let fleet = Fleet::of(both, &Devices::default()).unwrap().remove(0);
    let inpainter = fleet.inpainter().unwrap().unwrap();
    assert_eq!((inpainter.name(), inpainter.slots()), ("sd-webui-inpaint", fleet.slots()));
    let job = || outpainting(file("sourceImage", textured(40, 40), Format::Png), json!({}));
    let output = run(&inpainter, job()).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height), (80, 60));
    // Counted by both before the job is polled, and once while the back end has it.
    let free = || {
        let of_fleet = fleet.free_places(&IMAGE_TO_IMAGE, Some("random-sd15.safetensors"));
        (of_fleet, inpainter.free_places(&OUTPAINT, None))
    };
    until("the place is free again", async || free() == (Some(2), Some(2))).await;
    let running = inpainter.run(job(), Monitor::new().0);
    assert_eq!(free(), (Some(1), Some(1)));
    fakes.iter().for_each(|fake| fake.set(|behaviour| behaviour.step = Duration::from_millis(500)));
    let running = tokio::spawn(running);
    until("a back end works", async || fakes.iter().any(|fake| fake.current().is_some())).await;
    assert_eq!(free(), (Some(1), Some(1)));
    assert!(running.await.unwrap().is_ok());
    until("the place is free once more", async || free() == (Some(2), Some(2))).await;
    // One that is dropped is expected no more.
    drop(inpainter.run(job(), Monitor::new().0));
    assert_eq!(free(), (Some(2), Some(2)));
    let none = vec![open("1", &fakes[0], None).await];
    assert!(Fleet::of(none, &Devices::default()).unwrap()[0].inpainter().unwrap().is_none());
    let other = InpaintSettings { steps: 3, ..small.clone() };
    let different = vec![open("1", &fakes[0], Some(other)).await, open("2", &fakes[1], Some(small)).await];
    let error = Fleet::of(different, &Devices::default()).unwrap()[0].inpainter().unwrap_err();
    assert!(error.contains("different settings `inpaint`"), "{error}");
}

#[tokio::test]
async fn errors_name_no_field_of_another_operation() {
    let source = || file("sourceImage", textured(80, 60), Format::Png);
    let rejecting = |field| inpainter(&Painter::new(Act::Reject(field)));
    let job = outpainting(source(), json!({"sampler": "PLMS"}));
    let error = rejecting("sampler_index").check(job.checked_request()).unwrap_err();
    assert_eq!(error, EngineError::rejected("sampler", "not there"));
    let error = rejecting("sampler_index").run(job, Monitor::new().0).await.unwrap_err();
    assert_eq!(error, EngineError::rejected("sampler", "not there"));
    let job = removal(source(), (10, 10, 5, 5));
    let error = rejecting("sampler_index").run(job.clone(), Monitor::new().0).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Unavailable { .. }) && error.to_string().contains("`inpaint.sampler`"),
        "{error}"
    );
    let error = rejecting("width").run(job, Monitor::new().0).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed(_)), "{error}");
}

#[tokio::test]
async fn unusable_results_are_failures() {
    let source = || file("sourceImage", textured(80, 60), Format::Png);
    for (act, problem) in
        [(Act::Shrink, "is 64x64 pixels in place of"), (Act::Nothing, "0 pictures came back in place of 1")]
    {
        let error = run(&inpainter(&Painter::new(act)), removal(source(), (10, 10, 5, 5))).await.unwrap_err();
        assert!(matches!(&error, EngineError::Failed(text) if text.contains(problem)), "{error}");
    }
}

#[tokio::test]
async fn unusable_pictures_are_rejected_by_the_callers_field() {
    let engine = inpainter(&Painter::new(Act::Paint));
    let source = || file("sourceImage", textured(80, 60), Format::Png);
    let rejected = async |job: Job| match run(&engine, job).await {
        Err(EngineError::Rejected { field: Some(field), problem }) => (field, problem),
        other => panic!("{other:?}"),
    };
    let black = rejected(removal(source(), (0, 0, 0, 0))).await;
    assert!(black.0 == "maskImage" && black.1.contains("black all over"), "{black:?}");
    let limits = PictureLimits { pixels: 5000, ..PictureLimits::default() };
    let large = rejected(outpainting(source(), json!({})).with_limits(limits)).await;
    assert!(large.0 == "horizontalExpansionRatio" && large.1.contains("at most 5000 pixels"), "{large:?}");
    let many = rejected(outpainting(source(), json!({"imageCount": 65}))).await;
    assert_eq!(many.0, "imageCount");
}

#[tokio::test]
async fn a_cancelled_job_ends_with_that_of_the_engine() {
    let painter = Painter::new(Act::Hang);
    let (monitor, watch) = Monitor::new();
    let job = removal(file("sourceImage", textured(80, 60), Format::Png), (10, 10, 5, 5));
    let running = tokio::spawn(inpainter(&painter).run(job, monitor));
    until("the engine works", async || !painter.jobs().is_empty()).await;
    watch.cancel.cancel();
    assert_eq!(running.await.unwrap(), Err(EngineError::Cancelled));
    watch.ended().await;
    // One that is cancelled before it begins never reaches the engine.
    let painter = Painter::new(Act::Paint);
    let (monitor, watch) = Monitor::new();
    watch.cancel.cancel();
    let job = removal(file("sourceImage", textured(80, 60), Format::Png), (10, 10, 5, 5));
    assert_eq!(inpainter(&painter).run(job, monitor).await, Err(EngineError::Cancelled));
    assert!(painter.jobs().is_empty());
}

#[tokio::test]
async fn memory_is_that_of_the_pictures_and_of_the_engine() {
    let painter = Painter::new(Act::Paint);
    let engine = inpainter(&painter);
    let source = || file("sourceImage", textured(100, 80), Format::Png);
    let of_engine = 512 * 512 * 1_000_000;
    let once = engine.memory(&outpainting(source(), json!({})));
    let twice = engine.memory(&outpainting(source(), json!({"imageCount": 2})));
    assert!(once > of_engine + 100 * 80 * 3 * 30 && twice == once + 100 * 80 * 3 * 8, "{once} {twice}");
    let bad = Input { bytes: "no picture".into(), ..source() };
    assert_eq!(engine.memory(&outpainting(bad, json!({}))), 0);
}

/// The whole way to a web UI and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_ui_extends_a_picture() {
    let (target, fake) = faked(Behaviour::default()).await;
    let engine: Arc<dyn Engine> = target.engine.clone();
    let settings = InpaintSettings { steps: 2, side: 64, ..InpaintSettings::new(target.model.clone()) };
    let inpainter = Inpainter::new(engine, "mine-inpaint", settings).unwrap();
    assert!(inpainter.offers().iter().all(|offer| offer.away.is_none()));
    let source = textured(40, 40);
    let asked = json!({"imageCount": 2, "prompt": "a beach", "horizontalExpansionRatio": 1.5, "sampler": "Euler a"});
    let output = run(&inpainter, outpainting(file("sourceImage", source, Format::Png), asked.clone())).await.unwrap();
    let sizes: Vec<_> = output.pictures.iter().map(|picture| (picture.width, picture.height, picture.seed)).collect();
    assert_eq!(sizes, [(60, 60, Some(7)), (60, 60, Some(8))]);
    let [call] = &fake.calls()[..] else { panic!("{:?}", fake.calls().len()) };
    assert_eq!((&call["prompt"], &call["n_iter"], &call["width"]), (&json!("a beach"), &json!(2), &json!(64)));
    assert_eq!((&call["denoising_strength"], &call["mask_blur_x"]), (&json!(1.0), &json!(0)));
    assert!(call["mask"].is_string() && call["force_task_id"].as_str().unwrap().contains("task-1"), "{call}");
    // What the server lacks is said in the caller's words, while the caller is there.
    let job = outpainting(file("sourceImage", textured(40, 40), Format::Png), json!({"sampler": "PLMS 2"}));
    let error = inpainter.check(job.checked_request()).unwrap_err();
    assert!(error.to_string().starts_with("`sampler`: the back end `mine`"), "{error}");
    // A picture of another size than was asked for is no result.
    fake.set(|behaviour| behaviour.fault = Fault::Makes(32, 32));
    let job = outpainting(file("sourceImage", textured(40, 40), Format::Png), asked);
    assert!(matches!(run(&inpainter, job).await, Err(EngineError::Failed(_))));
}
