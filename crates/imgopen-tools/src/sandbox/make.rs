//! Makes the results of a plan: cards, and texts in place of results.

use image::DynamicImage;
use imgopen_engine::{EngineError, Format, Monitor, Output, Picture};
use imgopen_picture::{Attached, write};
use imgopen_types::{Face, FaceBox, Point, StyleLabel};

use super::card::Card;
use super::plan::{Cards, Kind, Plan};

/// The longer side of a preview in pixels.
const PREVIEW_SIDE: u32 = 256;

/// Makes the whole result.
pub(super) fn output(plan: &Plan, monitor: &Monitor) -> Result<Output, EngineError> {
    let operation = plan.operation;
    Ok(match &plan.kind {
        Kind::Cards(cards) => Output { pictures: pictures(plan, cards, monitor)?, ..Output::default() },
        Kind::Caption(model) => {
            let caption = format!("SANDBOX text of {operation}, in place of {model}: no picture was looked at");
            Output { caption: Some(caption), ..Output::default() }
        }
        Kind::Styles => Output { style_labels: styles(), ..Output::default() },
        Kind::Faces => Output { faces: vec![face()], ..Output::default() },
        Kind::Prompts(count) => {
            let prompt = |number| format!("sandbox, {}, variation {number}", plan.prompt);
            Output { prompts: (1..=*count).map(prompt).collect(), ..Output::default() }
        }
    })
}

/// Makes a small card that shows the step, if the results are cards.
pub(super) fn preview(plan: &Plan, step: u32, monitor: &Monitor) -> Result<Option<Picture>, EngineError> {
    let Kind::Cards(cards) = &plan.kind else { return Ok(None) };
    let longer = cards.width.max(cards.height);
    let shrink = |side: u32| if longer > PREVIEW_SIDE { (side * PREVIEW_SIDE / longer).max(1) } else { side };
    let mut card = card(plan, cards, 0);
    card.facts.insert(0, format!("preview {step}/{}", plan.steps));
    (card.width, card.height) = (shrink(cards.width), shrink(cards.height));
    picture(&card, Format::Png, None, cards.seed, monitor).map(Some)
}

fn pictures(plan: &Plan, cards: &Cards, monitor: &Monitor) -> Result<Vec<Picture>, EngineError> {
    let make = |index| {
        monitor.check_cancelled()?;
        let parameters = cards.parameters_of(index);
        picture(&card(plan, cards, index), cards.format, Some(&parameters), cards.seed_of(index), monitor)
    };
    (0..cards.count).map(make).collect()
}

fn card(plan: &Plan, cards: &Cards, index: u32) -> Card {
    let (width, height) = (cards.width, cards.height);
    let facts = [
        Some(format!("{width}x{height}")),
        cards.seed_of(index).map(|seed| format!("seed {seed}")),
        Some(format!("{}/{}", index + 1, cards.count)),
        Some(plan.operation.to_owned()),
        Some(format!("task {}", plan.task_id)),
        Some(plan.prompt.clone()),
    ];
    Card { width, height, pattern: plan.pattern(cards, index), facts: facts.into_iter().flatten().collect() }
}

fn picture(
    card: &Card,
    format: Format,
    parameters: Option<&str>,
    seed: Option<i64>,
    monitor: &Monitor,
) -> Result<Picture, EngineError> {
    let image = DynamicImage::ImageRgb8(card.draw());
    let attached = Attached { parameters, ..Attached::default() };
    let picture = write(&image, format, &attached, monitor, |error| EngineError::Failed(error.to_string()))?;
    Ok(Picture { seed, ..picture })
}

fn styles() -> Vec<StyleLabel> {
    vec![StyleLabel { label: "sandbox".to_owned(), confidence: Some(0.0) }]
}

/// Returns one face with a score of zero.
fn face() -> Face {
    let landmarks = [(208.0, 208.0), (304.0, 208.0), (256.0, 312.0)].map(|(x, y)| Point { x, y });
    let box_ = FaceBox { x: 128, y: 128, width: 256, height: 256 };
    Face { index: 1, box_, score: Some(0.0), landmarks: Some(landmarks.to_vec()) }
}
