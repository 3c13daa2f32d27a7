//! What the tests share: jobs, a runner, and a reader of the bitmap font.
#![allow(dead_code, clippy::unwrap_used)]

pub mod python;

use std::io::{Cursor, Write};

use bytes::Bytes;
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use imgopen_engines::{Engine, EngineError, Input, Job, Monitor, Output, PictureLimits};
use imgopen_types::{Operation, operations};
use serde_json::Value;

pub const URL: &str = "https://example.com/picture";

pub fn operation(id: &str) -> &'static Operation {
    operations::ALL.iter().copied().find(|operation| operation.id == id).unwrap()
}

pub fn job(id: &str, request: Value) -> Job {
    Job {
        task_id: "20000051".to_owned(),
        operation: operation(id),
        request,
        inputs: Vec::new(),
        directives: None,
        limits: PictureLimits::default(),
    }
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

/// A PNG of that size, 8 bits for each of three channels, with these chunks.
pub fn png_with(width: u32, height: u32, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let first: (&[u8; 4], &[u8]) = (b"IHDR", &header);
    for (kind, body) in [first].iter().chain(chunks).chain(&[(b"IEND", &[][..])]) {
        bytes.extend((body.len() as u32).to_be_bytes());
        let checked = [&kind[..], body].concat();
        bytes.extend(&checked);
        bytes.extend(crc(&checked).to_be_bytes());
    }
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// `size` zeros, deflated.
pub fn zeros(size: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}
