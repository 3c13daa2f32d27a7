//! Cards are read back, and everything that a request can ask for is tried.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Cursor;
use std::time::{Duration, Instant};

use image::RgbImage;
use imgopen_engine::{
    Engine, EngineError, Format, Grade, Inputs, Job, JobRequest, ModelKind, Models, Monitor, Output, Picture,
    PictureLimits, TaskOptions,
};
use imgopen_picture as picture;
use imgopen_tools::Sandbox;
use serde_json::{Value, json};

use support::{run, shows};

fn quick() -> Sandbox {
    Sandbox::new().with_step_time(Duration::ZERO)
}

async fn make(id: &str, request: Value) -> Output {
    run(&quick(), job(id, request)).await.unwrap()
}

fn pixels(picture: &Picture) -> RgbImage {
    let decoded = picture::decode(&picture.bytes, &PictureLimits::default()).unwrap();
    assert_eq!((decoded.image.width(), decoded.image.height()), (picture.width, picture.height));
    assert_eq!(decoded.header.format.as_format(), Some(picture.format));
    decoded.image.to_rgb8()
}

/// The text chunk `parameters`, in the plain or the international form.
fn parameters(picture: &Picture) -> String {
    let mut reader = png::Decoder::new(Cursor::new(&picture.bytes)).read_info().unwrap();
    reader.finish().unwrap();
    let info = reader.info();
    let plain = info.uncompressed_latin1_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.text.clone()));
    let other = info.utf8_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.get_text().unwrap()));
    let mut texts: Vec<_> = plain.chain(other).collect();
    assert_eq!(texts.len(), 1);
    let (keyword, text) = texts.remove(0);
    assert_eq!(keyword, "parameters");
    text
}

#[tokio::test]
async fn a_card_shows_its_request() {
    let request = json!({
        "n_iter": 2, "batch_size": 1, "prompt": "a red lighthouse", "seed": "1221212", "width": 640, "height": 384,
        "alwayson_scripts": {"sd_model_checkpoint": "photon_v1.safetensors", "id_task": "pro1"},
    });
    let output = make("text_to_image", request).await;
    assert_eq!(output.pictures.len(), 2);
    let card = pixels(&output.pictures[1]);
    assert_eq!(card.dimensions(), (640, 384));
    // The title is as large as fits.
    assert!(shows(&card, "SANDBOX", 10));
    for text in ["640x384", "seed 1221213", "2/2", "text_to_image", "task 20000051", "a red lighthouse"] {
        assert!(shows(&card, text, 2), "{text}");
    }
    assert!(!shows(&card, "seed 1221212", 2));
}

#[tokio::test]
async fn a_card_is_readable_at_every_size() {
    for (width, height) in [(64, 64), (64, 4096), (4096, 64), (100, 70), (512, 512), (1023, 777), (1100, 1030)] {
        let request = json!({"width": width, "height": height, "seed": "5", "prompt": "p"});
        let card = pixels(&make("text_to_image", request).await.pictures[0]);
        let title = (width / 60).min(height / 32).max(1);
        let facts = (width.min(height) / 192).min(width / 256).max(1);
        assert!(shows(&card, "SANDBOX", title), "{width}x{height}");
        // A narrow card breaks what is longer than a line.
        let size: String = format!("{width}x{height}").chars().take(8).collect();
        assert!(shows(&card, &size, facts), "{width}x{height}");
        assert!(shows(&card, "seed 5", facts), "{width}x{height}");
        assert!(shows(&card, "1/1", facts), "{width}x{height}");
    }
}

#[tokio::test]
async fn even_the_smallest_sizes_are_made() {
    for (width, height) in [(1, 1), (1, 300), (300, 1), (7, 9), (63, 20)] {
        let output = make("text_to_image", json!({"width": width, "height": height, "prompt": "p"})).await;
        assert_eq!(pixels(&output.pictures[0]).dimensions(), (width, height));
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_pixels_and_another_seed_others() {
    let card = async |seed: i64| make("controlnet", json!({"seed": seed, "prompt": "p"})).await.pictures.remove(0);
    assert_eq!(card(1).await, card(1).await);
    // Not only the digits differ.
    for (one, other) in [(1, 2), (2, 3), (1_000_000, 1_000_001)] {
        let (one, other) = (pixels(&card(one).await), pixels(&card(other).await));
        let differing = one.pixels().zip(other.pixels()).filter(|(one, other)| one != other).count();
        assert!(differing > 512 * 512 / 2, "{differing}");
    }
}

#[tokio::test]
async fn as_many_cards_as_requested_with_rising_seeds() {
    let output =
        make("image_to_image", json!({"n_iter": 3, "batch_size": 2, "seed": "10", "width": 64, "height": 64})).await;
    let seeds: Vec<_> = output.pictures.iter().map(|picture| picture.seed).collect();
    assert_eq!(seeds, (10..16).map(Some).collect::<Vec<_>>());
    let output = make("outpaint", json!({"imageCount": 3, "seed": -1})).await;
    let first = output.pictures[0].seed.unwrap();
    assert!((0..1 << 31).contains(&first));
    assert_eq!(output.pictures[2].seed, Some(first + 2));
    assert_eq!(make("text_to_image", json!({})).await.pictures.len(), 1);
    assert_eq!(make("remove_background", json!({})).await.pictures[0].seed, None);
}

#[tokio::test]
async fn the_format_is_the_requested_one() {
    for (name, format) in [("png", Format::Png), ("jpg", Format::Jpeg), ("jpeg", Format::Jpeg), ("webp", Format::WebP)]
    {
        let request = json!({"prompt": "boats", "seed": "3", "alwayson_scripts": {"output_image_format": name}});
        let output = make("text_to_image", request).await;
        assert_eq!(output.pictures[0].format, format);
        assert!(shows(&pixels(&output.pictures[0]), "boats", 2), "{name}");
    }
}

#[tokio::test]
async fn a_png_card_carries_the_parameters() {
    let request = json!({
        "prompt": "a cat", "negative_prompt": "blurry", "steps": 25, "seed": "7", "cfg_scale": 7.5, "width": 64,
        "height": 128, "sampler_index": "DPM++ 2M Karras", "batch_size": 2,
        "alwayson_scripts": {"sd_model_checkpoint": "photon_v1.safetensors"},
    });
    assert_eq!(
        parameters(&make("text_to_image", request).await.pictures[1]),
        "a cat\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 8, Size: 64x128, \
         Model: photon_v1.safetensors, Engine: sandbox"
    );
    let request = json!({"prompt": "猫 a cat", "enable_hr": true, "width": 64, "height": 64, "seed": "1"});
    assert_eq!(
        parameters(&make("text_to_image", request).await.pictures[0]),
        "猫 a cat\nSteps: 20, Seed: 1, Size: 64x64, Hires resize: 128x128, Engine: sandbox"
    );
    assert_eq!(
        parameters(&make("enlarge_image", json!({"scale": 1})).await.pictures[0]),
        "sandbox test card of enlarge_image\nSteps: 20, Size: 512x512, Engine: sandbox"
    );
}

#[tokio::test]
async fn texts_say_that_they_are_not_results() {
    let caption = make("describe_image", json!({"model": "deepdanbooru"})).await.caption.unwrap();
    assert!(caption.starts_with("SANDBOX text of describe_image, in place of deepdanbooru"));
    assert_eq!(make("recognize_style", json!({})).await.style_labels[0].label, "sandbox");
    let faces = make("detect_faces", json!({})).await.faces;
    assert_eq!((faces[0].index, faces[0].score), (1, Some(0.0)));
    let output = make("expand_prompt", json!({"sourcePrompt": "a girl", "sequencesNum": 3})).await;
    assert_eq!(output.prompts.len(), 3);
    assert!(output.prompts.iter().all(|prompt| prompt.starts_with("sandbox, a girl, ")));
    assert!(output.prompts.iter().collect::<std::collections::HashSet<_>>().len() == 3 && output.pictures.is_empty());
}

#[tokio::test]
async fn every_offer_is_served() {
    let offers = quick().offers();
    assert_eq!(offers.len(), 21);
    for offer in offers {
        assert_eq!((offer.grade, offer.inputs, offer.models), (Grade::Sandbox, Inputs::Unused, Models::Any));
        let output = make(offer.operation.id, json!({"sourcePrompt": "x"})).await;
        assert_ne!(output, Output::default(), "{}", offer.operation.id);
    }
    let kinds: Vec<_> = quick().models().iter().map(|model| model.kind).collect();
    assert_eq!(kinds, [ModelKind::Checkpoint, ModelKind::Lora, ModelKind::Vae, ModelKind::Embedding]);
    assert!(quick().models().iter().all(|model| model.name.starts_with("sandbox")));
}

#[tokio::test]
async fn steps_and_previews_are_shown_on_the_way() {
    let (monitor, mut watch) = Monitor::new();
    let mut progress = watch.progress.clone();
    let engine = Sandbox::new().with_step_time(Duration::from_millis(5));
    let task = tokio::spawn(engine.run(job("text_to_image", json!({"steps": 8, "prompt": "p"})), monitor));
    let mut seen = Vec::new();
    while seen.last() != Some(&100.0) {
        progress.changed().await.unwrap();
        seen.push(progress.borrow_and_update().percent);
    }
    assert!(seen.is_sorted() && seen.len() >= 4, "{seen:?}");
    task.await.unwrap().unwrap();
    let preview = watch.preview.borrow_and_update().clone().unwrap();
    let card = pixels(&preview);
    assert!(card.dimensions() == (256, 256) && shows(&card, "SANDBOX", 4) && shows(&card, "preview 8/8", 1));
}

#[tokio::test]
async fn the_default_pace_is_realistic() {
    let start = Instant::now();
    run(&Sandbox::new(), job("text_to_image", json!({}))).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

fn bare(id: &str, body: Value) -> JobRequest {
    JobRequest::new("20000051", support::operation(id), body)
}

fn job(id: &str, body: Value) -> Job {
    Job::new(bare(id, body), "run")
}

fn directives(text: &str) -> TaskOptions {
    TaskOptions { sandbox: Some(text.to_owned()) }
}

fn directed_with(text: &str, body: Value) -> Job {
    Job::new(bare("text_to_image", body).with_options(directives(text)), "run")
}

fn directed(directives: &str) -> Job {
    directed_with(directives, json!({"width": 64, "height": 64}))
}

#[tokio::test]
async fn directives_are_followed() {
    let start = Instant::now();
    run(&quick(), directed("delay=120ms")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120));

    let start = Instant::now();
    run(&quick(), directed_with("slow=60ms", json!({"steps": 2, "width": 64, "height": 64}))).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120));

    let error = run(&quick(), directed("fail=out of memory")).await.unwrap_err();
    assert_eq!(error.to_string(), "the engine failed: sandbox: out of memory");
    let request = json!({"prompt": "a cat [sandbox: fail]"});
    assert!(matches!(run(&quick(), job("text_to_image", request)).await, Err(EngineError::Failed(_))));

    let hang = tokio::time::timeout(Duration::from_millis(200), run(&quick(), directed("hang"))).await;
    assert!(hang.is_err());

    let panic = tokio::spawn(quick().run(directed("panic"), Monitor::new().0)).await.unwrap_err();
    assert!(panic.is_panic());

    assert!(matches!(run(&quick(), directed("explode")).await, Err(EngineError::Rejected { field: None, .. })));
}

#[tokio::test]
async fn a_request_is_checked_before_it_is_accepted() {
    let engine = quick();
    let check = |body: Value, text: Option<&str>| {
        let options = text.map(directives).unwrap_or_default();
        engine.check(&bare("text_to_image", body).with_options(options)).map(drop)
    };
    assert_eq!(check(json!({"prompt": "p"}), Some("hang")), Ok(()));
    assert!(matches!(check(json!({"prompt": "[sandbox: x]"}), None), Err(EngineError::Rejected { field: None, .. })));
    assert!(matches!(check(json!({}), Some("x")), Err(EngineError::Rejected { field: None, .. })));
    assert!(matches!(check(json!({"batch_size": 1000}), None), Err(EngineError::Rejected { .. })));
}

#[tokio::test]
async fn cancellation_ends_a_job_whatever_it_waits_for() {
    for directives in ["delay=10s", "hang", "slow=10s", "slow=1s"] {
        let (monitor, watch) = Monitor::new();
        let task = tokio::spawn(quick().run(directed(directives), monitor));
        tokio::time::sleep(Duration::from_millis(10)).await;
        watch.cancel.cancel();
        // Left alone, none of them would end before.
        let ended = tokio::time::timeout(Duration::from_secs(5), task).await.expect(directives);
        assert_eq!(ended.unwrap().unwrap_err(), EngineError::Cancelled, "{directives}");
    }
}

#[tokio::test]
async fn the_limits_of_the_job_hold_for_cards_too() {
    let limits = PictureLimits { pixels: 10_000, ..PictureLimits::default() };
    let error = run(&quick(), job("text_to_image", json!({})).with_limits(limits)).await.unwrap_err();
    assert_eq!(error.to_string(), "`width`: 512x512 pixels asked for; at most 10000 pixels in all are allowed");
}
