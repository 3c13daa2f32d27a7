//! Super resolution with tiny nets that repeat pixels, so that every pixel of the result is known.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use image::{DynamicImage, GenericImageView, ImageBuffer, Luma, Rgb, Rgba};
use imgopen_engine::{Engine, EngineError, Format, Grade, Monitor, Output, Picture, PictureLimits, Registry};
use imgopen_nets::runtime::{Program, ProgramError, Runtime};
use imgopen_nets::{SessionSettings, Tensor};
use imgopen_neural::{Nets, Upscale};
use imgopen_picture::{Attached, Decoded, decode, encode};
use imgopen_tools::Lanczos;
use imgopen_types::operations::SUPER_RESOLUTION;
use serde_json::json;
use tempfile::TempDir;

use support::{assert_cancellable, hide, install, job, nets, own, png, repeater, run, runtime, show};

fn factor(file: &str) -> usize {
    match file.strip_suffix(".onnx").and_then(|name| name.rsplit_once("-x")) {
        Some((_, "2")) => 2,
        Some((_, "3")) => 3,
        _ => 4,
    }
}

fn engine() -> (TempDir, Upscale) {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "upscale", |file| repeater(factor(file)));
    let engine = Upscale::new(nets(models.path()));
    (models, engine)
}

async fn enlarge(engine: &Upscale, bytes: Bytes, scale: u32) -> Result<Output, EngineError> {
    run(engine, job(&SUPER_RESOLUTION, "image", bytes, json!({"scale": scale}))).await
}

fn read(picture: &Picture) -> Decoded {
    decode(&picture.bytes, &PictureLimits::default()).unwrap()
}

/// Noise, which is larger than a tile.
fn noise(width: u32, height: u32) -> DynamicImage {
    let sample = |x: u32, y: u32, step: u32| ((x * step) ^ (y * 31)).wrapping_mul(2_654_435_761).wrapping_shr(24) as u8;
    ImageBuffer::from_fn(width, height, |x, y| Rgb([7, 11, 13].map(|step| sample(x, y, step)))).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_make_the_whole_picture() {
    let (_models, engine) = engine();
    let source = noise(150, 83);
    for scale in [2, 4] {
        let output = enlarge(&engine, png(&source), scale).await.unwrap();
        let large = read(&output.pictures[0]).image;
        assert_eq!((large.width(), large.height()), (150 * scale, 83 * scale));
        assert_eq!(large.color(), source.color());
        for (x, y, pixel) in large.pixels() {
            assert_eq!(pixel, source.get_pixel(x / scale, y / scale), "{scale}: {x},{y}");
        }
        let note = &output.notes[0];
        assert!(note.starts_with("enlarged by the net `real") && note.ends_with(" of the pack `upscale`"), "{note}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pictures_take_the_net_for_their_scale() {
    let (_models, engine) = engine();
    let source = noise(1100, 1000);
    let output = enlarge(&engine, png(&source), 2).await.unwrap();
    assert!(output.notes[0].contains("`realesr-animevideov3-x2.onnx`"), "{:?}", output.notes);
    let large = read(&output.pictures[0]).image;
    for (x, y) in [(0, 0), (511, 777), (512, 776), (1099, 1), (2199, 1999)] {
        assert_eq!(large.get_pixel(x, y), source.get_pixel(x / 2, y / 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn depth_gray_and_what_the_file_carries_are_kept() {
    let (_models, engine) = engine();
    let source = ImageBuffer::from_fn(40, 30, |x, y| Luma([(x * 1500 + y * 17) as u16]));
    let attached = Attached { parameters: Some("a ramp\nSteps: 20"), ..Attached::default() };
    let bytes = encode(&source.clone().into(), Format::Png, &attached).unwrap();
    let large = read(&enlarge(&engine, bytes, 2).await.unwrap().pictures[0]);
    assert_eq!(large.parameters.as_deref(), Some("a ramp\nSteps: 20"));
    let DynamicImage::ImageLuma16(large) = large.image else { panic!("{:?}", large.image.color()) };
    for (x, y, pixel) in large.enumerate_pixels() {
        let expected = source.get_pixel(x / 2, y / 2).0[0];
        assert!(pixel.0[0].abs_diff(expected) <= 1, "{x},{y}: {pixel:?}, {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opacity_is_enlarged_apart_and_hides_no_colours() {
    let (_models, engine) = engine();
    // Red on the left; on the right a hidden green.
    let source = ImageBuffer::from_fn(40, 20, |x, _| Rgba(if x < 20 { [200_u8, 10, 20, 255] } else { [0, 255, 0, 0] }));
    let output = enlarge(&engine, png(&source.into()), 4).await.unwrap();
    let DynamicImage::ImageRgba8(large) = read(&output.pictures[0]).image else { panic!() };
    let opacity = |x: u32| large.get_pixel(x, 40).0[3];
    assert_eq!((opacity(40), opacity(120)), (255, 0));
    for (x, _, pixel) in large.enumerate_pixels().filter(|(.., pixel)| pixel.0[3] > 0) {
        let [red, green, blue, _] = pixel.0;
        assert!(red.abs_diff(200) <= 1 && green.abs_diff(10) <= 1 && blue.abs_diff(20) <= 1, "{x}: {pixel:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_at_the_tile_at_which_it_is_cancelled() {
    let (_models, engine) = engine();
    let job = job(&SUPER_RESOLUTION, "image", png(&noise(150, 83)), json!({"scale": 4}));
    // Once for each row of the result, and for each of at least six tiles.
    assert!(assert_cancellable(&engine, &job).await > 4 * 83 + 6);
    let (monitor, watch) = Monitor::new();
    engine.run(job, monitor).await.unwrap();
    assert_eq!(watch.progress.borrow().percent, 100.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_pixels_are_rejected_before_a_net_runs() {
    let (_models, engine) = engine();
    let limits = PictureLimits { pixels: 10_000, ..PictureLimits::default() };
    let job = job(&SUPER_RESOLUTION, "image", png(&noise(60, 50)), json!({"scale": 2})).with_limits(limits);
    let error = run(&engine, job).await.unwrap_err();
    assert!(error.to_string().starts_with("`scale`: 2 given, which makes 120x100 pixels"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_net_is_preferred_to_resampling_while_it_is_there() {
    let models = tempfile::tempdir().unwrap();
    let directory = install(models.path(), "upscale", |file| repeater(factor(file)));
    hide(models.path());
    let nets = nets(models.path());
    let registry = Registry::default().with(Lanczos::new()).with(Upscale::new(nets.clone()));
    let picked = || registry.pick("super_resolution", None).map(|choice| choice.engine.name().to_owned());
    assert_eq!(picked().unwrap(), "lanczos");
    show(models.path());
    nets.look();
    assert_eq!(picked().unwrap(), "realesrgan");
    assert_eq!(registry.pick("super_resolution", None).unwrap().offer.grade, Grade::Neural);
    // A damaged pack is no reason for a lower grade.
    std::fs::remove_file(directory.join("realesr-animevideov3-x4.onnx")).unwrap();
    nets.look();
    let error = picked().unwrap_err().to_string();
    assert!(
        error.contains("realesr-animevideov3-x4.onnx") && error.contains("`imgopen models pull upscale`"),
        "{error}"
    );
}

#[test]
fn memory_counts_the_planes_of_source_and_result() {
    let (_models, engine) = engine();
    let memory =
        |image: &DynamicImage| engine.memory(&job(&SUPER_RESOLUTION, "image", png(image), json!({"scale": 2})));
    // Both are too large for any other net than the fast one.
    let (one, other) = (memory(&DynamicImage::new_rgb8(1100, 1000)), memory(&DynamicImage::new_rgb8(2200, 1000)));
    // For each pixel of the source: four of the result at 17 bytes, their planes, and those of the source.
    assert_eq!(other - one, 1_100_000 * (4 * 17 + 4 * 12 + 48));
}

fn own_engine(net: &[u8]) -> (TempDir, Upscale) {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "upscale", |file| repeater(factor(file)));
    own::put(models.path(), "ESRGAN", "net.onnx", net);
    let engine = Upscale::new(nets(models.path()));
    (models, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn nets_of_the_operators_own_enlarge_by_the_scale() {
    let source = noise(150, 83);
    for (factor, side) in [(2, None), (4, None), (8, None), (2, Some(64)), (4, Some(48))] {
        let (_models, engine) = own_engine(&own::upscaler(factor, side));
        for scale in [2, 4] {
            let output = enlarge(&engine, png(&source), scale).await.unwrap();
            let large = read(&output.pictures[0]).image;
            assert_eq!((large.width(), large.height()), (150 * scale, 83 * scale));
            let note = &output.notes[0];
            assert!(note.ends_with("of your own in `ESRGAN/`"), "{note}");
            // Otherwise the result is resampled.
            if (factor as u32).is_multiple_of(scale) {
                for (x, y, pixel) in large.pixels() {
                    assert_eq!(pixel, source.get_pixel(x / scale, y / scale), "{factor} {side:?} {scale}: {x},{y}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn factors_other_than_the_scale_are_resampled() {
    let even = DynamicImage::from(ImageBuffer::from_pixel(140, 40, Rgb([200_u8, 90, 30])));
    for factor in [2, 3, 5] {
        let (_models, engine) = own_engine(&own::upscaler(factor, None));
        for scale in [2, 4] {
            let output = enlarge(&engine, png(&even), scale).await.unwrap();
            let large = read(&output.pictures[0]).image.into_rgb8();
            assert_eq!(large.dimensions(), (140 * scale, 40 * scale));
            assert!(large.pixels().all(|pixel| pixel.0 == [200, 90, 30]), "{factor} {scale}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_net_that_does_not_enlarge_gives_way_to_the_pack() {
    let (models, engine) = own_engine(&own::upscaler(1, None));
    assert!(engine.nets(&SUPER_RESOLUTION).iter().all(|net| net != "net.onnx"), "{:?}", engine.nets(&SUPER_RESOLUTION));
    let output = enlarge(&engine, png(&noise(40, 30)), 2).await.unwrap();
    assert!(output.notes[0].ends_with("of the pack `upscale`"), "{:?}", output.notes);
    let files = imgopen_neural::own_files(models.path(), runtime());
    let problem = files[0].problem.as_deref().unwrap();
    assert!(problem.starts_with("the model file \"net.onnx\" cannot be used: it makes 1x3x32x32 out of"), "{problem}");
}

/// A runtime some of whose next runs are ended from outside.
#[derive(Debug, Clone, Default)]
struct Interrupting {
    kills: Arc<AtomicUsize>,
}

struct Interrupted {
    program: Box<dyn Program>,
    kills: Arc<AtomicUsize>,
}

impl Runtime for Interrupting {
    fn name(&self) -> &'static str {
        "interrupting"
    }

    fn load(&self, model: Vec<u8>, side: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        Ok(Box::new(Interrupted { program: runtime().load(model, side)?, kills: self.kills.clone() }))
    }
}

impl Program for Interrupted {
    fn run(&self, inputs: &[(&str, &Tensor)], outputs: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        if self.kills.load(Ordering::SeqCst) > 0 {
            self.kills.fetch_sub(1, Ordering::SeqCst);
            return Err(ProgramError::Killed("signal: 9 (SIGKILL)".to_owned()));
        }
        self.program.run(inputs, outputs)
    }
}

/// As while memory is short for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_net_that_is_interrupted_once_is_used_again() {
    let models = tempfile::tempdir().unwrap();
    own::put(models.path(), "ESRGAN", "net.onnx", &own::upscaler(2, None));
    let runtime = Interrupting::default();
    let nets = Nets::run_by(Arc::new(runtime.clone()), models.path(), SessionSettings::default());
    let engine = Upscale::new(nets);
    let source = png(&noise(40, 30));
    for kills in [1, 0, 1] {
        runtime.kills.store(kills, Ordering::SeqCst);
        let made = enlarge(&engine, source.clone(), 2).await;
        match kills {
            0 => assert!(made.unwrap().notes[0].ends_with("of your own in `ESRGAN/`")),
            _ => assert!(matches!(made, Err(EngineError::Interrupted(_))), "{made:?}"),
        }
    }
    runtime.kills.store(1, Ordering::SeqCst);
    let error = enlarge(&engine, source, 2).await.unwrap_err().to_string();
    assert!(error.contains("\"net.onnx\" was interrupted: signal: 9 (SIGKILL), twice in a row"), "{error}");
    assert!(engine.offers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_an_own_net_ends_wherever_it_is_cancelled() {
    let (_models, engine) = own_engine(&own::upscaler(3, Some(64)));
    let source = png(&noise(200, 150));
    let job = job(&SUPER_RESOLUTION, "image", source, json!({"scale": 2}));
    assert!(assert_cancellable(&engine, &job).await > 20);
    // Planes, and what the net takes of a tile.
    assert!(engine.memory(&job) > 200 * 150 * (48 + 4 * 12));
}
