//! Every tool ends soon after its job is cancelled, in whatever stage it is.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use imgopen_engine::{Engine, EngineError, Input, Job, Monitor, Output};
use imgopen_tools::preprocess::Preprocessor;
use imgopen_tools::{Fill, Lanczos, Preprocessors, Prompts, Sandbox, Style, Watermark};
use serde_json::{Value, json};

use support::{URL, file, job, photo};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 700;
const ROWS: u64 = HEIGHT as u64;
/// How many more times a job may look after it was cancelled: every band and thread that is left looks once.
const MORE: u64 = 100;

/// A job of a tool on a large picture.
struct Case {
    name: String,
    engine: Arc<dyn Engine>,
    job: Job,
    /// How often it looks for its cancellation at least: once for each row in each stage over the whole picture.
    least: u64,
}

fn case(name: impl Into<String>, engine: impl Engine, operation: &str, fields: Value, least: u64) -> Case {
    let mask = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        Rgb([if (300..420).contains(&x) && (200..330).contains(&y) { 255 } else { 0 }; 3])
    });
    let picture = |field: &str, image: &DynamicImage, format| {
        let bytes = file(image, format).into();
        Input { field: field.to_owned(), url: URL.to_owned(), bytes }
    };
    let large = photo(WIDTH, HEIGHT);
    let inputs = vec![
        picture("sourceImage", &large, ImageFormat::Png),
        picture("imageUrl", &large, ImageFormat::Jpeg),
        picture("maskImage", &mask.into(), ImageFormat::Png),
        picture("watermarkImage", &photo(300, 200), ImageFormat::Png),
    ];
    let job = job(operation, fields).with_inputs(inputs);
    Case { name: name.into(), engine: Arc::new(engine), job, least }
}

fn cases() -> Vec<Case> {
    // Passes over all rows with a look for each, beside passes in bands.
    let passes = |preprocessor| match preprocessor {
        Preprocessor::SoftEdge | Preprocessor::Shuffle => 3 * ROWS,
        Preprocessor::Scribble | Preprocessor::LineArt => 2 * ROWS,
        Preprocessor::Canny | Preprocessor::Threshold | Preprocessor::Invert => ROWS,
        // Once for each row of cells.
        Preprocessor::Color => ROWS / 64,
        // Resampling cannot be stopped.
        Preprocessor::Tile | Preprocessor::None => 1,
    };
    let mut cases: Vec<_> = Preprocessor::ALL
        .into_iter()
        .map(|one| {
            let fields = json!({"preprocessor": one.as_str()});
            case(one.as_str(), Preprocessors::new(), "preview_controlnet", fields, 8 + passes(one))
        })
        .collect();
    let expansion = json!({"horizontalExpansionRatio": 1.1, "verticalExpansionRatio": 1.1, "imageCount": 1, "seed": 7});
    let text = json!({"watermarkText": "SAMPLE", "position": "tile", "scale": 0.3});
    let prompt = json!({"mode": 0, "sourcePrompt": "a lighthouse", "sequencesNum": 20});
    let cards = json!({"prompt": "a lighthouse", "batch_size": 4, "width": 512, "height": 512, "steps": 4});
    cases.extend([
        case("enlarge", Lanczos::new(), "enlarge_image", json!({"scale": 2}), 10),
        // Dilation in two passes, three times, on a copy of 512 pixels.
        case("style", Style::new(), "recognize_style", json!({}), 6 * 512 * ROWS / u64::from(WIDTH)),
        // The mask is read in one pass and grown in two, and the canvas is made in one.
        case("remove", Fill::new(), "remove_object", json!({}), 3 * ROWS + 130),
        case("outpaint", Fill::new(), "outpaint", expansion, 2 * ROWS),
        case("text", Watermark::new(), "watermark_image", text, ROWS / 2),
        case("stamp", Watermark::new(), "watermark_image", json!({"watermarkImage": URL}), 100),
        case("prompts", Prompts::new(), "expand_prompt", prompt, 20),
        case("sandbox", Sandbox::new().with_step_time(Duration::ZERO), "text_to_image", cards, 4 * 3),
    ]);
    cases
}

/// Runs a job that is cancelled when it looks for that for the `last`-th time. Returns how it ended, and how often it has
/// looked when its work, too, has ended.
async fn run(case: &Case, last: u64) -> (Result<Output, EngineError>, u64) {
    let (monitor, watch, checks) = Monitor::counted(last);
    let result = case.engine.run(case.job.clone(), monitor).await;
    watch.ended().await;
    (result, checks.count())
}

/// A stage that does not look is noticed by the count.
#[tokio::test(flavor = "multi_thread")]
async fn every_stage_looks_for_cancellation() {
    for case in cases() {
        let (result, count) = run(&case, u64::MAX).await;
        assert!(result.is_ok(), "{}: {result:?}", case.name);
        assert!(count >= case.least, "{}: {count} of {}", case.name, case.least);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_ends_without_a_result_wherever_it_is_cancelled() {
    for case in cases() {
        let (_, count) = run(&case, u64::MAX).await;
        for last in [1, count / 4, count / 2, 3 * count / 4, count - 1] {
            let last = last.max(1);
            let (result, looked) = run(&case, last).await;
            assert_eq!(result, Err(EngineError::Cancelled), "{}, {last} of {count}", case.name);
            assert!(looked <= last + MORE, "{}, {last} of {count}: {looked}", case.name);
        }
    }
}
