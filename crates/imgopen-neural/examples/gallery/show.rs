//! The entries of the sheet: each tool with suitable pictures.

use image::{DynamicImage, GrayImage, Luma, imageops};
use imgopen_engine::{Output, PictureLimits};
use imgopen_picture as picture;
use serde_json::{Value, json};

use crate::{Entry, Result, Tile, Workshop, python};

const PHOTOS: [&str; 4] = ["astronaut", "chelsea", "coffee", "rocket"];

/// Returns all entries, in the order of the contract.
pub fn all(workshop: &Workshop) -> Result<Vec<Entry>> {
    let parts = [super_resolution, prompts, removed_objects, styles, outpainted, preprocessed, enlarged, watermarks];
    let mut entries = Vec::new();
    for part in parts {
        entries.extend(part(workshop)?);
    }
    Ok(entries)
}

pub fn photo(name: &str) -> DynamicImage {
    python::photo(name).into()
}

pub fn tile(image: &DynamicImage, caption: impl Into<String>) -> Tile {
    Tile { image: image.clone(), caption: caption.into() }
}

pub fn results(output: &Output) -> Result<Vec<Tile>> {
    let tiles = output.pictures.iter().map(|result| {
        let image = picture::decode(&result.bytes, &PictureLimits::default())?.image;
        let seed = result.seed.map_or(String::new(), |seed| format!(", seed {seed}"));
        let caption = format!("{}x{} {}{seed}", result.width, result.height, result.format);
        Ok(Tile { image, caption })
    });
    tiles.collect()
}

/// Returns an entry of one request and its results.
fn one(
    workshop: &Workshop,
    operation: &str,
    note: &str,
    request: Value,
    inputs: &[(&str, &DynamicImage)],
) -> Result<Entry> {
    let (title, output) = workshop.run(operation, request, inputs)?;
    let title = format!("{title}{note}");
    let inputs = inputs.iter().map(|(field, image)| tile(image, *field)).collect();
    Ok(Entry { title, inputs, outputs: results(&output)?, words: Vec::new() })
}

fn eye() -> DynamicImage {
    photo("chelsea").crop_imm(60, 60, 160, 120)
}

fn super_resolution(workshop: &Workshop) -> Result<Vec<Entry>> {
    let request = json!({"businessTaskId": "1", "image": "https://a", "scale": 2});
    Ok(vec![one(workshop, "super_resolution", ", 2 times", request, &[("image", &eye())])?])
}

fn enlarged(workshop: &Workshop) -> Result<Vec<Entry>> {
    let request = json!({"businessTaskId": "1", "sourceImage": "https://a", "scale": 3.5});
    Ok(vec![one(workshop, "enlarge_image", ", 3.5 times", request, &[("sourceImage", &eye())])?])
}

fn prompts(workshop: &Workshop) -> Result<Vec<Entry>> {
    let entries = [(0, "SD", "a girl"), (1, "SDXL", "a lighthouse on a cliff")].map(|(mode, family, prompt)| {
        let request = json!({
            "businessTaskId": "1", "mode": mode, "sourcePrompt": prompt, "topK": 40, "topP": 0.9, "sequencesNum": 3,
        });
        let (title, output) = workshop.run("expand_prompt", request, &[])?;
        let title = format!("{title}, {family}: \"{prompt}\"");
        Ok(Entry { title, inputs: Vec::new(), outputs: Vec::new(), words: output.prompts })
    });
    entries.into_iter().collect()
}

/// A white box on black.
fn mask(image: &DynamicImage, [left, top, right, bottom]: [u32; 4]) -> DynamicImage {
    let white = |x, y| (left..right).contains(&x) && (top..bottom).contains(&y);
    GrayImage::from_fn(image.width(), image.height(), |x, y| Luma([if white(x, y) { 255 } else { 0 }])).into()
}

fn removed_objects(workshop: &Workshop) -> Result<Vec<Entry>> {
    let objects = [("astronaut", [340, 0, 480, 272]), ("coffee", [500, 20, 590, 110]), ("rocket", [290, 60, 350, 395])];
    let entries = objects.map(|(name, place)| {
        let image = photo(name);
        let inputs = [("sourceImage", &image), ("maskImage", &mask(&image, place))];
        let request = json!({"businessTaskId": "1", "sourceImage": "https://a", "maskImage": "https://b"});
        one(workshop, "remove_object", "", request, &inputs)
    });
    entries.into_iter().collect()
}

fn styles(workshop: &Workshop) -> Result<Vec<Entry>> {
    let entries = ["astronaut", "coffee", "camera", "page", "horse", "logo"].map(|name| {
        let image = photo(name);
        let request = json!({"businessTaskId": "1", "sourceImage": "https://a"});
        let (title, output) = workshop.run("recognize_style", request, &[("sourceImage", &image)])?;
        let words = output.style_labels.iter();
        let words = words.map(|label| format!("{} {}", label.label, label.confidence.unwrap_or_default()));
        Ok(Entry { title, inputs: vec![tile(&image, name)], outputs: Vec::new(), words: words.collect() })
    });
    entries.into_iter().collect()
}

fn outpainted(workshop: &Workshop) -> Result<Vec<Entry>> {
    let entries = PHOTOS.map(|name| {
        let request = json!({
            "businessTaskId": "1", "sourceImage": "https://a", "imageCount": 2, "seed": 7,
            "horizontalExpansionRatio": 1.5, "verticalExpansionRatio": 1.25,
        });
        one(workshop, "outpaint", ", 1.5 times as wide, 1.25 times as high", request, &[("sourceImage", &photo(name))])
    });
    entries.into_iter().collect()
}

/// One entry for all preprocessors of a photograph.
fn preprocessed(workshop: &Workshop) -> Result<Vec<Entry>> {
    let entries = ["astronaut", "chelsea"].map(|name| {
        let image = photo(name);
        let mut entry =
            Entry { title: String::new(), inputs: vec![tile(&image, name)], outputs: Vec::new(), words: Vec::new() };
        for preprocessor in workshop.values("preview_controlnet", "preprocessor")? {
            let request = json!({"businessTaskId": "1", "sourceImage": "https://a", "preprocessor": preprocessor});
            // A cat has no face for `mediapipe_face`.
            let (title, output) = match workshop.run("preview_controlnet", request, &[("sourceImage", &image)]) {
                Ok(made) => made,
                Err(error) => {
                    entry.words.push(format!("{preprocessor}: refused: {error}"));
                    continue;
                }
            };
            entry.words.push(format!("{preprocessor}: {title}"));
            entry.words.extend(output.notes.clone());
            entry
                .outputs
                .extend(results(&output)?.into_iter().map(|tile| Tile { caption: preprocessor.clone(), ..tile }));
        }
        entry.title = "preview_controlnet".to_owned();
        Ok(entry)
    });
    entries.into_iter().collect()
}

fn watermarks(workshop: &Workshop) -> Result<Vec<Entry>> {
    let logo = imageops::resize(&photo("logo").to_rgba8(), 200, 200, imageops::FilterType::Triangle).into();
    let marks = [
        ("coffee", json!({"watermarkText": "© Example 2026", "opacity": 0.8})),
        (
            "chelsea",
            json!({"watermarkText": "水印 ウォーターマーク", "position": "tile", "opacity": 0.4, "scale": 0.3}),
        ),
        ("astronaut", json!({"watermarkText": "two lines,\nin the middle", "position": "center", "scale": 0.6})),
        ("rocket", json!({"watermarkImage": "https://b", "position": "top-left", "scale": 0.2})),
    ];
    let entries = marks.map(|(name, mut request)| {
        let note = format!(", {request}");
        request["businessTaskId"] = json!("1");
        request["sourceImage"] = json!("https://a");
        let image = photo(name);
        let inputs = [("sourceImage", &image), ("watermarkImage", &logo)];
        let inputs = if request.get("watermarkImage").is_some() { &inputs[..] } else { &inputs[..1] };
        one(workshop, "watermark_image", &note, request, inputs)
    });
    entries.into_iter().collect()
}
