//! Preprocessors of ControlNet units, for back ends that have none: what this service makes, and what arrives there.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use image::imageops::crop_imm;
use image::{DynamicImage, Rgb, RgbImage};
use imgopen_backends::honesty;
use imgopen_backends::{Backend, BackendSettings, ControlMaps, Driver, Fleet, Kind, Surroundings};
use imgopen_engine::{
    Devices, Engine, EngineError, Grade, Input, Job, JobRequest, Monitor, Offer, Output, Picture, PictureLimits,
    Preprocessing, Resolution,
};
use imgopen_picture::{Attached, Format, decode, encode};
use imgopen_tools::Preprocessors;
use imgopen_tools::preprocess::{NEURAL, Preprocessor, preprocess_as};
use imgopen_types::operations::{CONTROLNET, PREVIEW_CONTROLNET};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::comfy_fake;
use crate::jobs::{controlnet, text_to_image};
use crate::sd_fake::SdBehaviour;
use crate::targets::comfyui::comfy;
use crate::targets::sd_server::sd_faked;
use crate::targets::{AnyFake, DEADLINE, QUICK, Target, carry_out, driver, driver_in, settings};

const KINDS: [Kind; 2] = [Kind::SdServer, Kind::ComfyUi];
const URL: &str = "https://example.com/c.png";
const FIELD: &str = "controlnet.args[0].image_link";

/// Blocks with edges of all strengths.
fn busy(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let block = if (x / 9 + y / 7) % 2 == 0 { 150 } else { 20 };
        Rgb([(block + x % 50) as u8, (block / 2 + y * 2 % 90) as u8, (x * y % 200) as u8])
    })
}

fn given(field: &str, image: &RgbImage) -> Input {
    let bytes = encode(&DynamicImage::from(image.clone()), Format::Png, &Attached::default()).unwrap();
    Input { field: field.to_owned(), url: URL.to_owned(), bytes }
}

/// A fake, with a ControlNet, and an engine that drives it.
async fn faked(kind: Kind) -> Target {
    if kind == Kind::ComfyUi {
        return comfy(comfy_fake::Behaviour::default()).await;
    }
    let (engine, fake) = sd_faked(SdBehaviour::default()).await;
    let mut target = Target::open("a fake", Arc::new(engine)).await;
    target.control_net = Some("random-cn.safetensors".to_owned());
    target.fake = Some(AnyFake::SdServer(fake));
    target
}

fn request(target: &Target, unit: Value, changes: Value) -> JobRequest {
    let mut all = json!({"model": target.control_net, "image_link": URL});
    all.as_object_mut().unwrap().extend(unit.as_object().unwrap().clone());
    controlnet(&target.model, all, changes)
}

/// Carries out a request whose control picture is that one.
async fn run(target: &Target, request: JobRequest, source: &RgbImage) -> Result<Output, EngineError> {
    target.engine.check(&request)?;
    let job = Job::new(request, "run").with_inputs(vec![given(FIELD, source)]);
    target.engine.run(job, Monitor::new().0).await
}

/// The control picture of the last job.
fn arrived(target: &Target) -> DynamicImage {
    let file = match &target.fake {
        Some(AnyFake::SdServer(fake)) => {
            BASE64_STANDARD.decode(fake.calls().last().unwrap()["control_image"].as_str().unwrap()).unwrap()
        }
        Some(AnyFake::ComfyUi(fake)) => {
            let graph = fake.posts().last().unwrap()["prompt"].clone();
            let mut nodes = graph.as_object().unwrap().values();
            let apply = nodes.find(|node| node["class_type"] == "ControlNetApplyAdvanced").unwrap();
            let load = &graph[apply["inputs"]["image"][0].as_str().unwrap()];
            fake.upload(load["inputs"]["image"].as_str().unwrap())
        }
        _ => panic!("it has no such fake"),
    };
    decode(&file, &PictureLimits::default()).unwrap().image
}

/// How much was sent for jobs.
fn sent(target: &Target) -> usize {
    match &target.fake {
        Some(AnyFake::SdServer(fake)) => fake.calls().len(),
        Some(AnyFake::ComfyUi(fake)) => fake.posts().len() + fake.uploads().len(),
        _ => panic!("it has no such fake"),
    }
}

/// What `preview_controlnet` makes of a picture.
async fn preview(preprocessor: &str, source: &RgbImage) -> DynamicImage {
    let body = json!({"businessTaskId": "1", "sourceImage": URL, "preprocessor": preprocessor});
    let job = Job::new(JobRequest::new("1", &PREVIEW_CONTROLNET, body), "run");
    let job = job.with_inputs(vec![given("sourceImage", source)]);
    let output = Preprocessors::new().run(job, Monitor::new().0).await.unwrap();
    decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_that_arrives_is_the_one_that_a_preview_shows() {
    let source = busy(128, 64);
    for kind in KINDS {
        let target = faked(kind).await;
        for name in ["canny", "scribble", "softedge", "lineart", "threshold", "invert", "shuffle", "color"] {
            let unit = json!({"module": name, "processor_res": 64});
            let output = run(&target, request(&target, unit, json!({"width": 128})), &source).await.unwrap();
            assert!(arrived(&target) == preview(name, &source).await, "{kind}: {name}");
            let note = format!(
                "`controlnet.args[0].module`: the control picture `{name}` was made by the engine `preprocessors` of this \
                 service, at 128x64 pixels"
            );
            assert!(output.notes.contains(&note), "{kind}: {:?}", output.notes);
        }
        // Without one, the picture itself arrives.
        let output = run(&target, request(&target, json!({}), json!({"width": 128})), &source).await.unwrap();
        assert!(arrived(&target).to_rgb8() == source, "{kind}");
        assert!(output.notes.iter().all(|note| !note.contains("control picture")), "{:?}", output.notes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_unit_says_of_its_preprocessor_has_the_meaning_of_the_web_ui() {
    let source = busy(128, 64);
    let made = |one: Preprocessor, resolution: Resolution, threshold_a: Option<f64>, threshold_b: Option<f64>| {
        let asked = Preprocessing { resolution, threshold_a, threshold_b };
        preprocess_as(source.clone().into(), one, &asked, &Monitor::new().0).unwrap()
    };
    let edges = made(Preprocessor::Canny, Resolution::Shorter(64), None, None);
    let thresholds = made(Preprocessor::Canny, Resolution::Shorter(64), Some(20.0), Some(40.0));
    assert!(thresholds != edges);
    let within = made(Preprocessor::Threshold, Resolution::Within(64, 64), None, None).to_rgb8();
    assert_eq!(within.dimensions(), (64, 32));
    for kind in KINDS {
        let target = faked(kind).await;
        // What arrives for a result of 64x64 pixels.
        let arrives = async |unit: Value, note: &str| {
            let output = run(&target, request(&target, unit.clone(), json!({})), &source).await.unwrap();
            assert!(output.notes.iter().any(|own| own.ends_with(note)), "{kind}: {unit}: {:?}", output.notes);
            arrived(&target).to_rgb8()
        };
        for (unit, made) in [
            (json!({"module": "canny", "processor_res": 64}), &edges),
            (json!({"module": "canny", "processor_res": 64, "threshold_a": 20, "threshold_b": 40}), &thresholds),
        ] {
            let control = arrives(unit.clone(), "at 128x64 pixels, and fitted to 64x64").await;
            assert!(control == made.crop_imm(32, 0, 64, 64).to_rgb8(), "{kind}: {unit}");
        }
        let unit = json!({"module": "canny", "processor_res": 2048, "pixel_perfect": true, "threshold_a": 30});
        let control = arrives(unit, "at 128x64 pixels, and fitted to 64x64").await;
        let perfect = made(Preprocessor::Canny, Resolution::Covering(64, 64), Some(30.0), None);
        assert!(control == perfect.crop_imm(32, 0, 64, 64).to_rgb8(), "{kind}");
        let unit = json!({"module": "threshold", "pixel_perfect": true, "resize_mode": "Resize and Fill"});
        let control = arrives(unit, "at 64x32 pixels, and fitted to 64x64").await;
        assert!(crop_imm(&control, 0, 16, 64, 32).to_image() == within, "{kind}");
        let mut margin = (0..16).chain(48..64);
        assert!(margin.all(|y| (0..64).all(|x| control.get_pixel(x, y) == control.get_pixel(0, 0))), "{kind}");
        // What the web UI takes for nothing given.
        let unit = json!({"module": "canny", "processor_res": -1, "threshold_a": -1, "threshold_b": -1});
        arrives(unit, "at 1024x512 pixels, and fitted to 64x64").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_without_a_picture_reads_the_one_that_the_generation_starts_from() {
    let source = busy(128, 64);
    for kind in KINDS {
        let target = faked(kind).await;
        let unit = json!({"module": "canny", "processor_res": 64, "image_link": null});
        let changes = json!({"width": 128, "alwayson_scripts": {"image_link": URL}});
        let request = request(&target, unit, changes);
        target.engine.check(&request).unwrap();
        let job = Job::new(request, "run").with_inputs(vec![given("alwayson_scripts.image_link", &source)]);
        target.engine.run(job, Monitor::new().0).await.unwrap();
        assert!(arrived(&target) == preview("canny", &source).await, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_here_makes_is_refused_by_field() {
    for kind in KINDS {
        let target = faked(kind).await;
        let unknown = driver(kind, settings("http://127.0.0.1:1"), QUICK);
        let refused = |engine: &dyn Driver, unit: Value| match engine.check(&request(&target, unit, json!({}))) {
            Err(EngineError::Rejected { field: Some(field), problem }) => (field, problem),
            other => panic!("{kind}: {other:?}"),
        };
        let program = kind.program();
        for engine in [&*target.engine, &*unknown] {
            let (field, problem) = refused(engine, json!({"module": "openpose"}));
            let begins = format!(
                "the back end `mine` ({program}) does not offer preprocessors, and the engine `preprocessors` of this \
                 service, which makes its control pictures, says: \"openpose\" needs a network for poses, which A1111 and Forge \
                 have, as back ends with `preprocessors` in their settings; without it, give one of canny, "
            );
            let ends = "; A1111 and Forge have others; or give a finished control picture, and \"none\"";
            assert_eq!(field, "controlnet.args[0].module");
            assert!(problem.starts_with(&begins) && problem.ends_with(ends), "{problem}");
            let (field, problem) = refused(engine, json!({"module": "canny", "threshold_b": 300}));
            assert_eq!(
                (field.as_str(), problem.as_str()),
                ("controlnet.args[0].threshold_b", "300 given; give a number from 0 to 256, or leave it out for 200")
            );
        }
        // A program without the service makes nothing.
        let own = target.engine.settings().clone();
        let alone = driver_in(kind, own, &Surroundings::default(), QUICK);
        assert!(alone.refresh().await);
        let (field, problem) = refused(&*alone, json!({"module": "canny"}));
        let expected = format!(
            "the back end `mine` ({program}) does not offer preprocessors; make the control picture with `preview_controlnet`, \
             and give \"none\""
        );
        assert_eq!((field.as_str(), problem), ("controlnet.args[0].module", expected));
        assert_eq!(alone.check(&request(&target, json!({"module": "none"}), json!({}))), Ok(()));
        assert_eq!(sent(&target), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_cannot_be_read_is_named_and_nothing_is_sent() {
    for kind in KINDS {
        let target = faked(kind).await;
        let request = |unit: Value| request(&target, unit, json!({}));
        let broken = Input { bytes: b"8BPS\0\x01"[..].into(), ..given(FIELD, &busy(8, 8)) };
        let job = Job::new(request(json!({"module": "canny"})), "run").with_inputs(vec![broken]);
        let error = target.engine.run(job, Monitor::new().0).await.unwrap_err();
        let problem =
            format!("the picture at {URL} is a Photoshop file (PSD); give a PNG, JPEG, WebP, GIF, BMP or TIFF file");
        assert_eq!(error, EngineError::rejected(FIELD, problem), "{kind}");
        let long = busy(20, 2000);
        let unit = json!({"module": "canny", "processor_res": 2048});
        let error = run(&target, request(unit), &long).await.unwrap_err().to_string();
        let expected = "`controlnet.args[0].processor_res`: 2048x204800 pixels would be made of 20x2000 for the preprocessor; at \
                        most ";
        assert!(error.starts_with(expected), "{kind}: {error}");
        assert_eq!(sent(&target), 0, "{kind}");
    }
}

/// Finds depth by a net: the picture itself, darker.
struct Depth;

impl Engine for Depth {
    fn name(&self) -> &str {
        "nets"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&PREVIEW_CONTROLNET, Grade::Neural)]
    }

    fn run(&self, job: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async move {
            let source = job.input("sourceImage")?;
            let mut image = decode(&source.bytes, job.limits()).unwrap().image.to_rgb8();
            image.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|level| level / 2));
            let (width, height) = image.dimensions();
            let bytes = encode(&DynamicImage::from(image), Format::Png, &Attached::default()).unwrap();
            let picture = Picture { bytes, format: Format::Png, width, height, seed: None };
            let notes = vec!["depth was found by the net `any.onnx`".to_owned()];
            Ok(Output { pictures: vec![picture], notes, ..Output::default() })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_net_that_made_a_control_picture_is_named() {
    let source = busy(64, 64);
    for kind in KINDS {
        let target = faked(kind).await;
        let control_maps = Some(ControlMaps::new(Arc::new(Depth)));
        let around = Surroundings { control_maps, ..Surroundings::default() };
        let engine = driver_in(kind, target.engine.settings().clone(), &around, QUICK);
        assert!(engine.refresh().await);
        let asked = request(&target, json!({"module": "depth"}), json!({}));
        let job = Job::new(asked, "run").with_inputs(vec![given(FIELD, &source)]);
        let output = engine.run(job, Monitor::new().0).await.unwrap();
        let made = "`controlnet.args[0].module`: the control picture `depth` was made by the engine `nets` of this service, at \
                    64x64 pixels";
        let net = "`controlnet.args[0].module`: depth was found by the net `any.onnx`";
        for note in [made, net] {
            assert_eq!(output.notes.iter().filter(|own| *own == note).count(), 1, "{kind}: {:?}", output.notes);
        }
        let halved = |level: u8| level / 2;
        let expected = RgbImage::from_fn(64, 64, |x, y| Rgb(source.get_pixel(x, y).0.map(halved)));
        assert!(arrived(&target).to_rgb8() == expected, "{kind}");
    }
}

/// Makes control pictures when the test lets it.
#[derive(Clone)]
struct Held {
    go: Arc<Semaphore>,
    inside: Arc<Semaphore>,
}

impl Held {
    fn new() -> Self {
        Self { go: Arc::new(Semaphore::new(0)), inside: Arc::new(Semaphore::new(0)) }
    }

    fn surroundings(&self) -> Surroundings {
        let control_maps = ControlMaps::new(Arc::new(self.clone()));
        Surroundings { control_maps: Some(control_maps), ..Surroundings::default() }
    }

    /// Waits until it is at work.
    async fn begun(&self) {
        timeout(DEADLINE, self.inside.acquire()).await.expect("it begins").unwrap().forget();
    }
}

impl Engine for Held {
    fn name(&self) -> &str {
        "held"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&PREVIEW_CONTROLNET, Grade::Classical)]
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let own = self.clone();
        Box::pin(async move {
            monitor.fraction(1.0);
            own.inside.add_permits(1);
            monitor.until_cancelled(own.go.acquire()).await?.unwrap().forget();
            Preprocessors::new().run(job, monitor).await
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_cancelled_while_its_control_picture_is_made() {
    for kind in KINDS {
        let (target, held) = (faked(kind).await, Held::new());
        let engine = driver_in(kind, target.engine.settings().clone(), &held.surroundings(), QUICK);
        assert!(engine.refresh().await);
        let job = |unit: Value| {
            Job::new(request(&target, unit, json!({})), "run").with_inputs(vec![given(FIELD, &busy(64, 64))])
        };
        let (monitor, watch) = Monitor::new();
        let running = tokio::spawn(engine.run(job(json!({"module": "canny"})), monitor));
        held.begun().await;
        assert_eq!(watch.progress.borrow().percent, 0.0, "the back end has done nothing");
        watch.cancel.cancel();
        assert_eq!(running.await.unwrap(), Err(EngineError::Cancelled), "{kind}");
        timeout(DEADLINE, watch.ended()).await.expect("the work ends");
        assert_eq!(sent(&target), 0, "{kind}");
        held.go.add_permits(1);
        let output = engine.run(job(json!({"module": "canny"})), Monitor::new().0).await.unwrap();
        assert!(output.notes.iter().any(|note| note.contains("made by the engine `held`")), "{:?}", output.notes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_and_its_device_are_free_while_a_control_picture_is_made() {
    for kind in KINDS {
        let (target, held, devices) = (faked(kind).await, Held::new(), Devices::default());
        let own = BackendSettings { device: Some("gpu0".to_owned()), ..target.engine.settings().clone() };
        let engine = driver_in(kind, own, &held.surroundings(), QUICK);
        assert!(engine.refresh().await);
        let fleet = Fleet::of(vec![Backend::with_driver(kind, engine)], &devices).unwrap().remove(0);
        let asked = request(&target, json!({"module": "canny", "processor_res": 64}), json!({"width": 128}));
        assert_eq!(fleet.check(&asked), Ok(()));
        let job = Job::new(asked, "run").with_inputs(vec![given(FIELD, &busy(128, 64))]);
        let running = tokio::spawn(fleet.run(job, Monitor::new().0));
        held.begun().await;
        assert_eq!(fleet.backends()[0].jobs, 0, "{kind}");
        // The job is expected there, and keeps no other from it meanwhile.
        assert_eq!(fleet.free_places(&CONTROLNET, Some(&target.model)), Some(0), "{kind}");
        let training = timeout(DEADLINE, devices.take("gpu0", "trainer")).await.expect("the device is free");
        drop(training);
        let other = Job::new(text_to_image(&target.model, json!({})), "other");
        timeout(DEADLINE, fleet.run(other, Monitor::new().0)).await.expect("the back end is free").unwrap();
        held.go.add_permits(1);
        let output = timeout(DEADLINE, running).await.expect("the job ends").unwrap().unwrap();
        assert!(output.notes.iter().any(|note| note.contains("made by the engine `held`")), "{:?}", output.notes);
        assert!(arrived(&target) == preview("canny", &busy(128, 64)).await, "{kind}");
        let is_free = async || fleet.free_places(&CONTROLNET, Some(&target.model)) == Some(1);
        crate::targets::until("the place is free", is_free).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_pictures_count_in_the_memory_of_a_job() {
    for kind in KINDS {
        let target = faked(kind).await;
        let memory = |unit: Value| {
            let job =
                Job::new(request(&target, unit, json!({})), "run").with_inputs(vec![given(FIELD, &busy(128, 64))]);
            target.engine.memory(&job)
        };
        let plain = memory(json!({"module": "none"}));
        // 17 bytes for each pixel of the larger of the picture and what is worked at.
        assert_eq!(memory(json!({"module": "canny", "processor_res": 64})) - plain, 17 * 128 * 64, "{kind}");
        assert_eq!(memory(json!({"module": "canny"})) - plain, 17 * 1024 * 512, "{kind}");
        assert_eq!(memory(json!({"module": "invert"})) - plain, 17 * 128 * 64, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_names_all_that_is_made() {
    let row = honesty::row("controlnet", "controlnet.args[0].module").unwrap();
    let values = Preprocessors::new().offers().remove(0).values.remove(0).values;
    for kind in KINDS {
        let text = row.cell(kind).text;
        for name in values.iter().filter(|name| *name != "none") {
            assert!(text.contains(&format!("`{name}`")), "{kind}: {name}: {text}");
        }
        // Those that need networks, which these back ends have only in a service.
        let neural = NEURAL.map(|neural| neural.names[0]);
        assert!(neural.iter().all(|name| text.contains(&format!("`{name}`"))), "{kind}: {text}");
        assert_eq!(text.matches('`').count(), 2 * (values.len() - 1 + neural.len()), "{kind}: {text}");
        let target = faked(kind).await;
        for name in &values {
            let asked = request(&target, json!({"module": name, "processor_res": 64}), json!({}));
            assert!(carry_out(&*target.engine, asked).await.is_ok(), "{kind}: {name}");
        }
    }
}
