//! Hair with a tiny net for which what is dark is a person, on a photograph of an astronaut.
#![allow(clippy::unwrap_used)]

mod support;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use futures_util::future::{self, BoxFuture, FutureExt};
use image::{DynamicImage, GenericImageView};
use imgopen_engine::{
    Engine, EngineError, Expected, Grade, Job, JobRequest, Monitor, Offer, Output, PictureLimits, Registry, Slots,
};
use imgopen_nets::Dimension;
use imgopen_nets::onnx::{Builder, Weights};
use imgopen_neural::Hairstyle;
use imgopen_picture::decode;
use imgopen_types::Operation;
use imgopen_types::operations::CHANGE_HAIRSTYLE;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{assert_cancellable, install, job, nets, png, run};

/// 512x512 pixels, with one face.
const ASTRONAUT: &[u8] = include_bytes!("../../imgopen-cli/assets/astronaut.jpg");

/// Dark hair on the left of the head and on the right.
const HAIR: [(u32, u32); 2] = [(162, 90), (290, 85)];

/// A cheek, the flag, the suit, the wall.
const OTHERS: [(u32, u32); 4] = [(205, 125), (40, 100), (150, 350), (380, 60)];

fn astronaut() -> DynamicImage {
    decode(ASTRONAUT, &PictureLimits::default()).unwrap().image
}

/// A net with the signature of MediaPipe's for which what is dark is a person.
fn dark_people(side: usize) -> Vec<u8> {
    let floats = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let mut builder = Builder::new(1024, ["input_1", "activation_10"].map(str::to_owned));
    builder.input("input_1", &[1, side, side, 3].map(Dimension::Fixed));
    builder.output("activation_10", &[1, side, side, 1].map(Dimension::Fixed));
    let column = builder.weights(Weights::F32, &[3, 1], &floats(&[-100.0; 3]));
    let sum = builder.node("MatMul", &["input_1", &column], &[]);
    let least = builder.number(165.0);
    let below = builder.node("Add", &[&sum, &least], &[]);
    builder.node_as("Sigmoid", &[&below], "activation_10", &[]);
    builder.finish()
}

fn models() -> TempDir {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "portrait", |_| dark_people(192));
    models
}

fn request(fields: Value, image: &DynamicImage) -> Job {
    job(&CHANGE_HAIRSTYLE, "sourceImage", png(image), fields)
}

fn read(output: &Output) -> DynamicImage {
    decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
}

/// An engine that keeps the jobs that it is given, and returns their pictures.
struct Painter {
    jobs: Mutex<Vec<Job>>,
    expected: Arc<()>,
    is_away: bool,
}

impl Painter {
    fn new(is_away: bool) -> Arc<Self> {
        Arc::new(Self { jobs: Mutex::default(), expected: Arc::new(()), is_away })
    }
}

impl Engine for Painter {
    fn name(&self) -> &str {
        "painter-hairstyle"
    }

    fn offers(&self) -> Vec<Offer> {
        let away = self.is_away.then(|| "it sleeps".to_owned());
        vec![Offer { away, ..Offer::new(&CHANGE_HAIRSTYLE, Grade::Neural) }]
    }

    fn slots(&self) -> Slots {
        Slots::Own(NonZeroUsize::new(3).unwrap())
    }

    fn pool(&self) -> &str {
        "painter"
    }

    fn free_places(&self, operation: &Operation, _: Option<&str>) -> Option<usize> {
        (*operation == CHANGE_HAIRSTYLE).then_some(2)
    }

    fn expect_job(&self, _: &Operation, _: Option<&str>) -> Option<Expected> {
        Some(Expected::new(self.expected.clone()))
    }

    fn plan<'a>(&'a self, _: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        future::ready(Ok(Some(json!({"kept": 1})))).boxed()
    }

    fn memory(&self, _: &Job) -> u64 {
        1 << 40
    }

    fn run(&self, job: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        // It is still expected while it arrives.
        assert_eq!(Arc::strong_count(&self.expected), 2);
        self.jobs.lock().unwrap().push(job);
        future::ready(Ok(Output { notes: vec!["painted".to_owned()], ..Output::default() })).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hair_gets_another_colour_and_all_else_stays() {
    let models = models();
    let engine = Hairstyle::new(nets(models.path()));
    assert_eq!(engine.nets(&CHANGE_HAIRSTYLE), ["selfie_segmentation.onnx"]);
    let source = astronaut();
    for image in [source.clone(), source.to_rgba16().into(), source.to_luma8().into()] {
        let job = request(json!({"hairStyle": "keep", "hairColor": "#3050a0"}), &image);
        engine.check(job.checked_request()).unwrap();
        let output = run(&engine, job).await.unwrap();
        assert!(output.notes[0].starts_with("the hair was recoloured"), "{:?}", output.notes);
        assert!(output.notes[1].contains("`selfie_segmentation.onnx`"), "{:?}", output.notes);
        let dyed = read(&output);
        assert_eq!(dyed.color().has_alpha(), image.color().has_alpha());
        assert_eq!(
            dyed.color().bytes_per_pixel() / dyed.color().channel_count(),
            image.color().bytes_per_pixel() / image.color().channel_count()
        );
        for (x, y) in HAIR {
            let [red, _, blue, _] = dyed.get_pixel(x, y).0;
            assert!(blue > red.saturating_add(25), "{x},{y}: {:?}", dyed.get_pixel(x, y));
        }
        for (x, y) in OTHERS {
            assert_eq!(dyed.get_pixel(x, y), image.get_pixel(x, y), "{x},{y}");
        }
        // Hair is found around the head only.
        for (x, y, pixel) in dyed.pixels().filter(|(x, y, _)| *y > 400 || *x < 10) {
            assert_eq!(pixel, image.get_pixel(x, y), "{x},{y}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_painter_other_styles_are_refused() {
    let models = models();
    let engine = Hairstyle::new(nets(models.path()));
    let refusal = |fields: Value| {
        engine.check(request(fields, &DynamicImage::new_rgb8(8, 8)).checked_request()).unwrap_err().to_string()
    };
    let error = refusal(json!({"hairStyle": "bob", "hairColor": "brown"}));
    assert!(error.starts_with("`hairStyle`: no back end is configured that paints hair"), "{error}");
    assert!(error.contains("give \"keep\" and `hairColor`") && error.contains("`inpaint`"), "{error}");
    assert!(refusal(json!({"hairStyle": "keep"})).starts_with("`hairColor`: needed"));
    assert!(refusal(json!({"hairStyle": "keep", "hairColor": "mauve"})).starts_with("`hairColor`: \"mauve\" given"));
    let nobody = request(json!({"hairStyle": "keep", "hairColor": "red"}), &DynamicImage::new_rgb8(90, 80));
    let error = run(&engine, nobody).await.unwrap_err().to_string();
    assert_eq!(error, "`sourceImage`: no face was found in the picture; give a portrait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_painter_is_given_a_mask_of_the_hair() {
    let (models, painter) = (models(), Painter::new(false));
    let engine = Hairstyle::with_painter(nets(models.path()), painter.clone());
    let source = astronaut();
    let bob = request(json!({"hairStyle": "bob", "hairColor": "brown", "prompt": "with a fringe"}), &source);
    engine.check(bob.checked_request()).unwrap();
    assert_eq!(engine.plan(bob.checked_request()).await.unwrap(), Some(json!({"kept": 1})));
    assert_eq!(engine.memory(&bob), 1 << 40);
    let output = run(&engine, bob.clone().with_plan(Some(json!({"kept": 1})))).await.unwrap();
    assert_eq!((output.notes[0].as_str(), output.notes.len()), ("painted", 2));
    assert_eq!(Arc::strong_count(&painter.expected), 1);
    let jobs = painter.jobs.lock().unwrap().clone();
    let [given] = &jobs[..] else { panic!("{}", jobs.len()) };
    assert_eq!(
        (given.plan(), given.task_id(), given.run_id()),
        (Some(&json!({"kept": 1})), bob.task_id(), bob.run_id())
    );
    assert_eq!(given.input("sourceImage").unwrap().bytes, bob.input("sourceImage").unwrap().bytes);
    let mask = decode(&given.input("maskImage").unwrap().bytes, given.limits()).unwrap().image.to_luma8();
    assert_eq!(mask.dimensions(), source.dimensions());
    assert!(mask.pixels().all(|pixel| [0, 255].contains(&pixel.0[0])));
    assert!(HAIR.iter().all(|(x, y)| mask.get_pixel(*x, *y).0 == [255]));
    assert!(OTHERS.iter().all(|(x, y)| mask.get_pixel(*x, *y).0 == [0]));
    // A long style may cover what is beside the neck.
    let beside = (165, 170);
    assert_eq!(mask.get_pixel(beside.0, beside.1).0, [0]);
    run(&engine, request(json!({"hairStyle": "long waves"}), &source)).await.unwrap();
    let jobs = painter.jobs.lock().unwrap();
    let long = decode(&jobs[1].input("maskImage").unwrap().bytes, jobs[1].limits()).unwrap().image.to_luma8();
    assert_eq!((long.get_pixel(beside.0, beside.1).0, long.get_pixel(CHEEK.0, CHEEK.1).0), ([255], [0]));
}

const CHEEK: (u32, u32) = OTHERS[0];

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_style_needs_no_painter() {
    let (models, painter) = (models(), Painter::new(false));
    let engine = Hairstyle::with_painter(nets(models.path()), painter.clone());
    let job = request(json!({"hairStyle": "Keep", "hairColor": "black"}), &astronaut());
    assert_eq!(engine.plan(job.checked_request()).await.unwrap(), None);
    assert_eq!(engine.grade(job.checked_request(), Grade::Neural), Grade::Draft);
    let bob = request(json!({"hairStyle": "bob", "hairColor": "brown"}), &astronaut());
    assert_eq!(engine.grade(bob.checked_request(), Grade::Neural), Grade::Neural);
    let output = run(&engine, job).await.unwrap();
    assert!(output.notes[0].starts_with("the hair was recoloured"), "{:?}", output.notes);
    assert!(painter.jobs.lock().unwrap().is_empty());
}

#[test]
fn it_has_the_name_and_the_places_of_its_painter() {
    let models = models();
    let registry = |is_away: bool| {
        let nets = nets(models.path());
        let painted = Hairstyle::with_painter(nets.clone(), Painter::new(is_away));
        assert_eq!((painted.slots(), painted.pool()), (Slots::Own(NonZeroUsize::new(3).unwrap()), "painter"));
        assert_eq!(painted.free_places(&CHANGE_HAIRSTYLE, None), Some(2));
        Registry::default().with(Hairstyle::new(nets)).with(painted)
    };
    let choice = registry(false).pick("change_hairstyle", None).unwrap();
    assert_eq!((choice.engine.name(), choice.offer.grade), ("painter-hairstyle", Grade::Neural));
    let choice = registry(true).find("change_hairstyle", None).unwrap();
    assert_eq!(choice.offer.away.as_deref(), Some("it sleeps"));
    let none = tempfile::tempdir().unwrap();
    let registry = Registry::default()
        .with(Hairstyle::new(nets(none.path())))
        .with(Hairstyle::with_painter(nets(none.path()), Painter::new(false)));
    let error = registry.pick("change_hairstyle", None).unwrap_err().to_string();
    assert!(error.contains("`imgopen models pull portrait`"), "{error}");
    let alone = Registry::default().with(Hairstyle::new(nets(models.path())));
    let choice = alone.pick("change_hairstyle", None).unwrap();
    assert_eq!((choice.engine.name(), choice.offer.grade), ("hairstyle", Grade::Draft));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_within_a_row_or_a_run() {
    let models = models();
    let engine = Hairstyle::new(nets(models.path()));
    let job = request(json!({"hairStyle": "keep", "hairColor": "red"}), &astronaut());
    assert!(assert_cancellable(&engine, &job).await > 400);
}
