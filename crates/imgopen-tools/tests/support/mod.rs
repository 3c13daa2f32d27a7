//! What the tests share: jobs, a runner, and a reader of the bitmap font.
#![allow(dead_code, clippy::unwrap_used)]

pub mod python;

use std::io::Cursor;

use bytes::Bytes;
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use imgopen_engine::{Engine, EngineError, Input, Job, JobRequest, Monitor, Output};
use imgopen_types::schema::Shape;
use imgopen_types::{Operation, operations};
use serde_json::Value;

pub const URL: &str = "https://example.com/picture";

pub fn operation(id: &str) -> &'static Operation {
    operations::ALL.iter().copied().find(|operation| operation.id == id).unwrap()
}

/// A request with those fields, and the ids and addresses that the operation requires beside them.
pub fn request(id: &str, fields: Value) -> JobRequest {
    let operation = operation(id);
    let mut body = fields;
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    for field in operation.request.fields.iter().filter(|field| field.required) {
        if body.get(field.name).is_none() && matches!(field.shape, Shape::Text(_)) {
            body[field.name] = URL.into();
        }
    }
    JobRequest::new("20000051", operation, body)
}

pub fn job(id: &str, fields: Value) -> Job {
    Job::new(request(id, fields), "run")
}

pub fn input(bytes: impl Into<Bytes>) -> Input {
    Input { field: "sourceImage".to_owned(), url: URL.to_owned(), bytes: bytes.into() }
}

pub async fn run(engine: &impl Engine, job: Job) -> Result<Output, EngineError> {
    engine.run(job, Monitor::new().0).await
}

/// Writes a picture by the image crate's own writers, which the engines do not use for PNG and JPEG.
pub fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Whether a text stands somewhere on a card in the 8x8 font, at that scale: every ink pixel is ink, every other is not.
pub fn shows(card: &RgbImage, text: &str, scale: u32) -> bool {
    let glyphs: Vec<[u8; 8]> = text.chars().map(|c| BASIC_FONTS.get(c).unwrap()).collect();
    let width = glyphs.len() as u32 * 8 * scale;
    let (Some(right), Some(bottom)) = (card.width().checked_sub(width), card.height().checked_sub(8 * scale)) else {
        return false;
    };
    (0..=bottom).any(|top| (0..=right).any(|left| stands_at(card, &glyphs, (left, top), scale)))
}

fn stands_at(card: &RgbImage, glyphs: &[[u8; 8]], (left, top): (u32, u32), scale: u32) -> bool {
    let cells = glyphs.iter().enumerate().flat_map(|(column, rows)| {
        let rows = rows.iter().enumerate();
        rows.flat_map(move |(row, bits)| {
            (0..8).map(move |bit| (column as u32 * 8 + bit, row as u32, bits >> bit & 1 == 1))
        })
    });
    cells.into_iter().all(|(x, y, ink)| {
        let middle = card.get_pixel(left + x * scale + scale / 2, top + y * scale + scale / 2);
        (middle.0.iter().all(|channel| *channel > 180)) == ink
    })
}

/// A picture of many colours.
pub fn photo(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x * y) as u8])).into()
}
