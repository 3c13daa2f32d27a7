//! Works out what to make for a request: how many cards, how large, with which seeds.

use std::fmt::Write as _;

use imgopen_engine::{EngineError, Format, PictureLimits};
use imgopen_types::{Operation, operations};

use super::card::mix;
use super::fields::Fields;
use crate::fields::{self, MOST_PICTURES};

const MAX_SIDE: u32 = 4096;
const MAX_PIXELS: u64 = 4096 * 4096;
const MAX_STEPS: u64 = 1000;
const DEFAULT_STEPS: u32 = 20;
/// The default side of a card, and the assumed side of input pictures.
const DEFAULT_SIDE: u32 = 512;
/// The side of a portrait by `instant_id`, the only one that the vendor's server makes.
const PORTRAIT_SIDE: u32 = 960;

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
    /// A text about a picture, in the name of a model.
    Caption(String),
    Styles,
    Faces,
    /// A number of prompts.
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
    /// The text for the PNG chunk in two parts: before and after the seed.
    pub parameters: (String, String),
}

impl Plan {
    /// Plans the results of a request.
    pub(super) fn of(operation: &Operation, fields: &Fields) -> Result<Self, EngineError> {
        let kind = match operation.id {
            "describe_image" => Kind::Caption(fields.model.as_deref().unwrap_or("clip").to_owned()),
            "recognize_style" => Kind::Styles,
            "detect_faces" => Kind::Faces,
            "expand_prompt" => Kind::Prompts(count("sequencesNum", fields.sequences_num, MOST_PICTURES, 1)?),
            _ => Kind::Cards(Cards::of(operation, fields)?),
        };
        Ok(Self {
            operation: operation.id,
            task_id: String::new(),
            steps: steps(fields)?,
            prompt: fields.prompt().unwrap_or_default().to_owned(),
            kind,
        })
    }

    /// Sets the task.
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

    /// Returns the number from which a card's background is derived: its seed, or else a hash of the task.
    pub(super) fn pattern(&self, cards: &Cards, index: u32) -> u64 {
        match cards.seed_of(index) {
            Some(seed) => seed.cast_unsigned(),
            None => self.task_id.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))),
        }
    }
}

impl Cards {
    fn of(operation: &Operation, fields: &Fields) -> Result<Self, EngineError> {
        let (width, height) = final_size(operation, fields)?;
        let format = match fields.format() {
            None => Format::Png,
            Some(name) => name
                .parse::<Format>()
                .map_err(|error| EngineError::rejected("alwayson_scripts.output_image_format", error.to_string()))?,
        };
        let seed = match operation.request.field("seed") {
            Some(_) => Some(seed(fields)?),
            None => None,
        };
        let parameters = parameters(operation, fields, (width, height))?;
        Ok(Self { count: cards(fields)?, width, height, seed, format, parameters })
    }

    /// Returns the seed of a card, counted from 0.
    pub(super) fn seed_of(&self, index: u32) -> Option<i64> {
        self.seed.map(|seed| seed.wrapping_add(i64::from(index)))
    }

    /// Returns the text for a card's PNG chunk.
    pub(super) fn parameters_of(&self, index: u32) -> String {
        let (before, after) = &self.parameters;
        let seed = self.seed_of(index).map(|seed| format!(", Seed: {seed}")).unwrap_or_default();
        format!("{before}{seed}{after}")
    }
}

fn count(field: &str, given: Option<u64>, limit: u64, default: u32) -> Result<u32, EngineError> {
    given.map_or(Ok(default), |given| fields::whole(field, given.into(), &(1..=limit), "the sandbox"))
}

fn seed(fields: &Fields) -> Result<i64, EngineError> {
    let problem = |given: &str| format!("{given:?} given, a whole number of 64 bits expected");
    let given = fields.seed().map_err(|given| EngineError::rejected("seed", problem(given)))?;
    Ok(fields::seed(given))
}

fn cards(fields: &Fields) -> Result<u32, EngineError> {
    if fields.image_count.is_some() {
        return count("imageCount", fields.image_count, MOST_PICTURES, 1);
    }
    let batches = count("n_iter", fields.n_iter, MOST_PICTURES, 1)?;
    let batch = count("batch_size", fields.batch_size, MOST_PICTURES, 1)?;
    let cards = batches * batch;
    if u64::from(cards) > MOST_PICTURES {
        let problem = format!(
            "{batches} given, with a `batch_size` of {batch} that makes {cards} pictures; the sandbox makes at most \
             {MOST_PICTURES}"
        );
        return Err(EngineError::rejected("n_iter", problem));
    }
    Ok(cards)
}

fn steps(fields: &Fields) -> Result<u32, EngineError> {
    let (name, given) = match fields.sample_step {
        Some(given) => ("sampleStep", Some(given)),
        None => ("steps", fields.steps),
    };
    match given {
        // `sampleStep` may be 0.
        Some(0) => Ok(1),
        given => count(name, given, MAX_STEPS, DEFAULT_STEPS),
    }
}

/// Returns the size of the cards, after everything that changes it.
fn final_size(operation: &Operation, fields: &Fields) -> Result<(u32, u32), EngineError> {
    let ((width, height), names) = match operation.id {
        "outpaint" => {
            let names = ["horizontalExpansionRatio", "verticalExpansionRatio"];
            let ratios = [fields.horizontal_ratio, fields.vertical_ratio];
            (ratios.map(|ratio| scaled(DEFAULT_SIDE, ratio.unwrap_or(1.0))).into(), names)
        }
        "enlarge_image" => (square(scaled(DEFAULT_SIDE, fields.scale.unwrap_or(1.0))), ["scale"; 2]),
        "super_resolution" => (square(scaled(DEFAULT_SIDE, fields.scale.unwrap_or(2.0))), ["scale"; 2]),
        _ => hires(fields, base_size(operation, fields)?),
    };
    check_side(names[0], width)?;
    check_side(names[1], height)?;
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let problem = format!("{width}x{height} pixels asked for; the sandbox makes at most {MAX_PIXELS} in all");
        return Err(EngineError::rejected(names[0], problem));
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

/// Returns the size before the hi-res fix.
fn base_size(operation: &Operation, fields: &Fields) -> Result<(u32, u32), EngineError> {
    let side = |name: &str, given| count(name, given, u64::from(MAX_SIDE), default_side(operation, name));
    Ok((side("width", fields.width)?, side("height", fields.height)?))
}

/// Returns the document's default, or that of the operation.
fn default_side(operation: &Operation, field: &str) -> u32 {
    let default = operation.request.field(field).and_then(|field| field.default?.parse().ok());
    default.unwrap_or(if *operation == operations::INSTANT_ID { PORTRAIT_SIDE } else { DEFAULT_SIDE })
}

type SizeFrom = ((u32, u32), [&'static str; 2]);

/// Returns the size after the hi-res fix, and the fields that decide on it. A target of 0 follows from the other one and
/// the aspect ratio.
fn hires(fields: &Fields, (width, height): (u32, u32)) -> SizeFrom {
    if fields.enable_hr != Some(true) {
        return ((width, height), ["width", "height"]);
    }
    let target = |side: Option<u64>| side.map_or(0, |side| side.min(1 << 20) as u32);
    let follow = |side: u32, of: u32, to: u32| scaled(to, f64::from(side) / f64::from(of));
    let resized = ["hr_resize_x", "hr_resize_y"];
    match (target(fields.hr_resize_x), target(fields.hr_resize_y)) {
        (0, 0) => {
            let scale = fields.hr_scale.unwrap_or(2.0);
            ((scaled(width, scale), scaled(height, scale)), ["hr_scale"; 2])
        }
        (x, 0) => ((x, follow(height, width, x)), resized),
        (0, y) => ((follow(width, height, y), y), resized),
        size => (size, resized),
    }
}

/// Returns the text that the web UI writes into a PNG file in two parts, between which the seed goes.
fn parameters(operation: &Operation, fields: &Fields, size: (u32, u32)) -> Result<(String, String), EngineError> {
    let card = format!("sandbox test card of {}", operation.id);
    let mut before = fields.prompt().map_or(card, str::to_owned);
    // Writing to a string cannot fail.
    if let Some(negative) = fields.negative_prompt() {
        let _ = write!(before, "\nNegative prompt: {negative}");
    }
    let _ = write!(before, "\nSteps: {}", steps(fields)?);
    if let Some(sampler) = fields.sampler() {
        let _ = write!(before, ", Sampler: {sampler}");
    }
    if let Some(guidance) = fields.guidance() {
        let _ = write!(before, ", CFG scale: {guidance}");
    }
    Ok((before, after_seed(operation, fields, size)?))
}

fn after_seed(operation: &Operation, fields: &Fields, (width, height): (u32, u32)) -> Result<String, EngineError> {
    let (base_width, base_height) = base_size(operation, fields)?;
    let mut after = match hires(fields, (base_width, base_height)) {
        (_, ["width", _]) => format!(", Size: {width}x{height}"),
        _ => format!(", Size: {base_width}x{base_height}, Hires resize: {width}x{height}"),
    };
    if let Some(model) = fields.checkpoint() {
        after.push_str(", Model: ");
        after.push_str(model);
    }
    after.push_str(", Engine: sandbox");
    Ok(after)
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations::{OUTPAINT, TEXT_TO_IMAGE};
    use serde_json::{Value, json};

    use super::*;

    fn cards(operation: &Operation, request: Value) -> Cards {
        match Plan::of(operation, &serde_json::from_value(request).unwrap()).unwrap().kind {
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
        assert_eq!(size(&operations::INSTANT_ID, json!({"width": 640, "height": 800})), (640, 800));
        assert_eq!(size(&operations::REMOVE_BACKGROUND, json!({})), (512, 512));
    }

    #[test]
    fn excessive_requests_are_rejected_by_field() {
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
            let error = Plan::of(&TEXT_TO_IMAGE, &serde_json::from_value(request.clone()).unwrap()).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{field}`: ")), "{request}: {error}");
        }
        let error = Plan::of(&OUTPAINT, &serde_json::from_value(json!({"imageCount": 65})).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "`imageCount`: 65 given, the sandbox takes a whole number from 1 to 64");
    }

    #[test]
    fn seeds_are_numbers_or_texts_or_random() {
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
