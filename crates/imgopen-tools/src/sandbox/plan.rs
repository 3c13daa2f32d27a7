//! Works out what a request asks for: how many cards, how large, with which seeds.

use std::fmt::Write as _;

use imgopen_engine::{EngineError, Format, PictureLimits};
use imgopen_types::Operation;
use imgopen_types::schema::Shape;
use serde_json::Value;

use super::card::mix;
use crate::fields::{self, MOST_PICTURES};

const MAX_SIDE: u32 = 4096;
const MAX_PIXELS: u64 = 4096 * 4096;
const MAX_STEPS: u64 = 1000;
const DEFAULT_STEPS: u32 = 20;
/// The side of a card where nothing is said, and that of every input picture, since none is looked at.
const DEFAULT_SIDE: u32 = 512;

/// What to make.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub operation: &'static str,
    pub task_id: String,
    pub steps: u32,
    pub prompt: String,
    pub kind: Kind,
}

/// The kind of result.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Cards(Cards),
    /// A text about a picture, by the model of that name.
    Caption(String),
    Styles,
    Faces,
    /// That many prompts.
    Prompts(u32),
}

/// The cards to make.
#[derive(Debug, Clone)]
pub(super) struct Cards {
    pub count: u32,
    pub width: u32,
    pub height: u32,
    /// The first seed, if the operation has seeds.
    pub seed: Option<i64>,
    pub format: Format,
    /// The text for the PNG chunk, without the seed and what follows it, and what follows.
    pub parameters: (String, String),
}

/// The prompt of a request, whatever it is called.
pub(super) fn prompt(request: &Value) -> Option<&str> {
    request.get("prompt").or_else(|| request.get("sourcePrompt")).and_then(Value::as_str)
}

impl Plan {
    /// Reads a canonical request.
    pub(super) fn read(operation: &Operation, request: &Value) -> Result<Self, EngineError> {
        let kind = match operation.id {
            "describe_image" => Kind::Caption(text(request, "model").unwrap_or("clip").to_owned()),
            "recognize_style" => Kind::Styles,
            "detect_faces" => Kind::Faces,
            "expand_prompt" => Kind::Prompts(count(request, "sequencesNum", MOST_PICTURES, 1)?),
            _ => Kind::Cards(Cards::read(operation, request)?),
        };
        Ok(Self {
            operation: operation.id,
            task_id: String::new(),
            steps: steps(request)?,
            prompt: prompt(request).unwrap_or_default().to_owned(),
            kind,
        })
    }

    /// Says which task it is for.
    pub(super) fn for_task(self, task_id: &str) -> Self {
        Self { task_id: task_id.to_owned(), ..self }
    }

    /// Checks the size of the cards against the limits of the job.
    pub(super) fn check(&self, limits: &PictureLimits) -> Result<(), EngineError> {
        match &self.kind {
            Kind::Cards(cards) if u64::from(cards.width) * u64::from(cards.height) > limits.pixels => {
                let (width, height, limit) = (cards.width, cards.height, limits.pixels);
                let problem = format!("{width}x{height} pixels asked for; at most {limit} pixels in all are allowed");
                Err(EngineError::rejected("width", problem))
            }
            _ => Ok(()),
        }
    }

    /// What decides on the background of the card of that number: its seed, or else the task.
    pub(super) fn pattern(&self, cards: &Cards, index: u32) -> u64 {
        match cards.seed_of(index) {
            Some(seed) => seed.cast_unsigned(),
            None => self.task_id.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))),
        }
    }
}

impl Cards {
    fn read(operation: &Operation, request: &Value) -> Result<Self, EngineError> {
        let (width, height) = final_size(operation, request)?;
        let format = match request.pointer("/alwayson_scripts/output_image_format").and_then(Value::as_str) {
            None => Format::Png,
            Some(name) => name
                .parse::<Format>()
                .map_err(|error| EngineError::rejected("alwayson_scripts.output_image_format", error.to_string()))?,
        };
        let seed = match operation.request.field("seed") {
            Some(_) => Some(fields::seed(request)?),
            None => None,
        };
        let parameters = parameters(operation, request, (width, height))?;
        Ok(Self { count: cards(request)?, width, height, seed, format, parameters })
    }

    /// The seed of the card of that number, counted from 0: one more for each.
    pub(super) fn seed_of(&self, index: u32) -> Option<i64> {
        self.seed.map(|seed| seed.wrapping_add(i64::from(index)))
    }

    /// The text for the PNG chunk of the card of that number.
    pub(super) fn parameters_of(&self, index: u32) -> String {
        let (before, after) = &self.parameters;
        let seed = self.seed_of(index).map(|seed| format!(", Seed: {seed}")).unwrap_or_default();
        format!("{before}{seed}{after}")
    }
}

fn count(request: &Value, field: &str, limit: u64, default: u32) -> Result<u32, EngineError> {
    fields::count(request, field, limit, default, "the sandbox")
}

fn cards(request: &Value) -> Result<u32, EngineError> {
    if request.get("imageCount").is_some() {
        return count(request, "imageCount", MOST_PICTURES, 1);
    }
    let batches = count(request, "n_iter", MOST_PICTURES, 1)?;
    let batch = count(request, "batch_size", MOST_PICTURES, 1)?;
    if u64::from(batches * batch) > MOST_PICTURES {
        let problem = format!(
            "{batches} given, with a `batch_size` of {batch} that makes {} pictures; the sandbox makes at most {MOST_PICTURES}",
            batches * batch
        );
        return Err(EngineError::rejected("n_iter", problem));
    }
    Ok(batches * batch)
}

fn steps(request: &Value) -> Result<u32, EngineError> {
    let field = if request.get("sampleStep").is_some() { "sampleStep" } else { "steps" };
    match request.get(field).and_then(Value::as_u64) {
        // `sampleStep` may be 0.
        Some(0) => Ok(1),
        _ => count(request, field, MAX_STEPS, DEFAULT_STEPS),
    }
}

/// The size of the cards, after everything that changes it.
fn final_size(operation: &Operation, request: &Value) -> Result<(u32, u32), EngineError> {
    let ratio = |field: &str| request.get(field).and_then(Value::as_f64).unwrap_or(1.0);
    let ((width, height), fields) = match operation.id {
        "outpaint" => {
            let fields = ["horizontalExpansionRatio", "verticalExpansionRatio"];
            (fields.map(|field| scaled(DEFAULT_SIDE, ratio(field))).into(), fields)
        }
        "enlarge_image" => (square(scaled(DEFAULT_SIDE, ratio("scale"))), ["scale"; 2]),
        "super_resolution" => {
            let scale = request.get("scale").and_then(Value::as_f64).unwrap_or(2.0);
            (square(scaled(DEFAULT_SIDE, scale)), ["scale"; 2])
        }
        _ => hires(request, base_size(operation, request)?),
    };
    check_side(fields[0], width)?;
    check_side(fields[1], height)?;
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let problem = format!("{width}x{height} pixels asked for; the sandbox makes at most {MAX_PIXELS} in all");
        return Err(EngineError::rejected(fields[0], problem));
    }
    Ok((width, height))
}

fn check_side(field: &str, side: u32) -> Result<(), EngineError> {
    if (1..=MAX_SIDE).contains(&side) {
        return Ok(());
    }
    let problem = format!("{side} pixels asked for; the sandbox makes from 1 to {MAX_SIDE} a side");
    Err(EngineError::rejected(field, problem))
}

fn square(side: u32) -> (u32, u32) {
    (side, side)
}

fn scaled(side: u32, ratio: f64) -> u32 {
    (f64::from(side) * ratio).round() as u32
}

/// The size before the hi-res fix.
fn base_size(operation: &Operation, request: &Value) -> Result<(u32, u32), EngineError> {
    Ok((side(operation, request, "width")?, side(operation, request, "height")?))
}

fn side(operation: &Operation, request: &Value, field: &str) -> Result<u32, EngineError> {
    match request.get(field) {
        Some(_) => count(request, field, u64::from(MAX_SIDE), DEFAULT_SIDE),
        None => Ok(default_side(operation, field)),
    }
}

/// The document's default, or the only value that it allows.
fn default_side(operation: &Operation, field: &str) -> u32 {
    let said = operation.request.field(field).and_then(|field| match (field.default, field.shape) {
        (Some(default), _) => default.parse().ok(),
        (None, Shape::Integer(rules)) => rules.one_of.first().and_then(|side| u32::try_from(*side).ok()),
        _ => None,
    });
    said.unwrap_or(DEFAULT_SIDE)
}

type SizeFrom = ((u32, u32), [&'static str; 2]);

/// The size after the hi-res fix, and the fields that decide on it. A target of 0 follows from the other and the shape.
fn hires(request: &Value, (width, height): (u32, u32)) -> SizeFrom {
    if request.get("enable_hr").and_then(Value::as_bool) != Some(true) {
        return ((width, height), ["width", "height"]);
    }
    let target = |field: &str| request.get(field).and_then(Value::as_u64).map_or(0, |side| side.min(1 << 20) as u32);
    let follow = |side: u32, of: u32, to: u32| scaled(to, f64::from(side) / f64::from(of));
    let resized = ["hr_resize_x", "hr_resize_y"];
    match (target("hr_resize_x"), target("hr_resize_y")) {
        (0, 0) => {
            let scale = request.get("hr_scale").and_then(Value::as_f64).unwrap_or(2.0);
            ((scaled(width, scale), scaled(height, scale)), ["hr_scale"; 2])
        }
        (x, 0) => ((x, follow(height, width, x)), resized),
        (0, y) => ((follow(width, height, y), y), resized),
        size => (size, resized),
    }
}

fn text<'a>(request: &'a Value, field: &str) -> Option<&'a str> {
    request.get(field).and_then(Value::as_str)
}

/// The text that the web UI writes into a PNG file, in two parts, between which the seed goes.
fn parameters(operation: &Operation, request: &Value, size: (u32, u32)) -> Result<(String, String), EngineError> {
    let card = format!("sandbox test card of {}", operation.id);
    let mut before = prompt(request).map_or(card, str::to_owned);
    let negative = text(request, "negative_prompt").or_else(|| text(request, "negativePrompt"));
    if let Some(negative) = negative.filter(|negative| !negative.is_empty()) {
        // Writing to a text cannot fail.
        let _ = write!(before, "\nNegative prompt: {negative}");
    }
    let _ = write!(before, "\nSteps: {}", steps(request)?);
    for (name, fields) in [("Sampler", ["sampler_index", "sampler"]), ("CFG scale", ["cfg_scale", "promptGuideFactor"])]
    {
        match fields.iter().find_map(|field| request.get(field)) {
            Some(Value::String(value)) => _ = write!(before, ", {name}: {value}"),
            Some(value) => _ = write!(before, ", {name}: {value}"),
            None => {}
        }
    }
    Ok((before, after_seed(operation, request, size)?))
}

fn after_seed(operation: &Operation, request: &Value, (width, height): (u32, u32)) -> Result<String, EngineError> {
    let mut after = match hires(request, base_size(operation, request)?) {
        (_, ["width", _]) => format!(", Size: {width}x{height}"),
        _ => {
            let (base_width, base_height) = base_size(operation, request)?;
            format!(", Size: {base_width}x{base_height}, Hires resize: {width}x{height}")
        }
    };
    if let Some(model) = request.pointer("/alwayson_scripts/sd_model_checkpoint").and_then(Value::as_str) {
        after.push_str(", Model: ");
        after.push_str(model);
    }
    after.push_str(", Engine: sandbox");
    Ok(after)
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations::{self, OUTPAINT, TEXT_TO_IMAGE};
    use serde_json::json;

    use super::*;

    fn cards(operation: &Operation, request: Value) -> Cards {
        match Plan::read(operation, &request).unwrap().kind {
            Kind::Cards(cards) => cards,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sizes_follow_the_request() {
        for (request, size) in [
            (json!({}), (512, 512)),
            (json!({"width": 768, "height": 64}), (768, 64)),
            (json!({"width": 300, "enable_hr": false, "hr_scale": 3}), (300, 512)),
            (json!({"width": 300, "enable_hr": true}), (600, 1024)),
            (json!({"width": 300, "enable_hr": true, "hr_scale": 3}), (900, 1536)),
            (json!({"enable_hr": true, "hr_scale": 3, "hr_resize_x": 700, "hr_resize_y": 900}), (700, 900)),
            (json!({"width": 256, "enable_hr": true, "hr_resize_x": 512, "hr_resize_y": 0}), (512, 1024)),
            (json!({"width": 256, "enable_hr": true, "hr_resize_y": 1024}), (512, 1024)),
        ] {
            let cards = cards(&TEXT_TO_IMAGE, request.clone());
            assert_eq!((cards.width, cards.height), size, "{request}");
        }
        let size = |operation, request| {
            let cards = cards(operation, request);
            (cards.width, cards.height)
        };
        let ratios = json!({"verticalExpansionRatio": 1.5, "horizontalExpansionRatio": 1.75});
        assert_eq!(size(&OUTPAINT, ratios), (896, 768));
        assert_eq!(size(&operations::ENLARGE_IMAGE, json!({"scale": 8})), (4096, 4096));
        assert_eq!(size(&operations::SUPER_RESOLUTION, json!({})), (1024, 1024));
        assert_eq!(size(&operations::INSTANT_ID, json!({})), (960, 960));
        assert_eq!(size(&operations::REMOVE_BACKGROUND, json!({})), (512, 512));
    }

    #[test]
    fn absurd_requests_are_refused_by_field() {
        for (request, field) in [
            (json!({"width": 4097}), "width"),
            (json!({"height": 1_000_000_000_000_u64}), "height"),
            (json!({"width": 4096, "enable_hr": true, "hr_scale": 2}), "hr_scale"),
            (json!({"enable_hr": true, "hr_scale": 0}), "hr_scale"),
            (json!({"enable_hr": true, "hr_resize_x": 5000}), "hr_resize_x"),
            (json!({"enable_hr": true, "hr_resize_x": 5, "hr_resize_y": u64::MAX}), "hr_resize_y"),
            (json!({"batch_size": 65}), "batch_size"),
            (json!({"n_iter": 9, "batch_size": 8}), "n_iter"),
            (json!({"steps": 1001}), "steps"),
            (json!({"seed": "99999999999999999999"}), "seed"),
            (json!({"alwayson_scripts": {"output_image_format": "gif"}}), "alwayson_scripts.output_image_format"),
        ] {
            let error = Plan::read(&TEXT_TO_IMAGE, &request).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{field}`: ")), "{request}: {error}");
        }
        let error = Plan::read(&OUTPAINT, &json!({"imageCount": 65})).unwrap_err();
        assert_eq!(error.to_string(), "`imageCount`: 65 given, the sandbox takes a whole number from 1 to 64");
    }

    #[test]
    fn seeds_are_read_from_numbers_and_texts_or_drawn() {
        for (seed, expected) in [(json!(7), 7), (json!("1221212"), 1_221_212), (json!("-5"), -5)] {
            let cards = cards(&TEXT_TO_IMAGE, json!({"seed": seed}));
            assert_eq!((cards.seed, cards.seed_of(3)), (Some(expected), Some(expected + 3)));
        }
        for request in [json!({}), json!({"seed": "-1"}), json!({"seed": -1})] {
            let seeds = [(); 2].map(|()| cards(&TEXT_TO_IMAGE, request.clone()).seed.unwrap());
            assert!(seeds.iter().all(|seed| (0..1 << 31).contains(seed)) && seeds[0] != seeds[1]);
        }
        assert_eq!(cards(&operations::REMOVE_BACKGROUND, json!({})).seed, None);
    }
}
