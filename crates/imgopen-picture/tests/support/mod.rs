//! What the tests share: files in every format, and PNG files put together chunk by chunk.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{Cursor, Write};

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use imgopen_engine::{EngineError, Input, Monitor};
use imgopen_picture::{EncodeError, PictureLimits, decode, write_like};

pub const URL: &str = "https://example.com/picture";

pub fn input(bytes: impl Into<Bytes>) -> Input {
    Input { field: "sourceImage".to_owned(), url: URL.to_owned(), bytes: bytes.into() }
}

/// Writes a picture by the image crate's own writers, which the engines do not use for PNG and JPEG.
pub fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
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

/// Bytes, deflated.
pub fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A black PNG of 2x2 pixels with these chunks before its pixels.
pub fn small_png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let pixels = deflated(&[0; 14]);
    png_with(2, 2, &[chunks, &[(b"IDAT", &pixels[..])]].concat())
}

/// The bodies of the chunks of that kind before the pixels of a PNG file.
pub fn chunks<'a>(file: &'a [u8], kind: &[u8; 4]) -> Vec<&'a [u8]> {
    let (mut rest, mut found) = (&file[8..], Vec::new());
    loop {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        match &rest[4..8] {
            b"IDAT" => return found,
            name if name == kind => found.push(&rest[8..8 + length]),
            _ => {}
        }
        rest = &rest[12 + length..];
    }
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

pub const DONE: &str = "Postprocess upscaler: Nearest";

/// The file after a tool: upright, of twice the width and height.
pub fn enlarged(file: &[u8], limits: &PictureLimits) -> Vec<u8> {
    let decoded = decode(file, limits).unwrap();
    let (width, height) = (decoded.image.width() * 2, decoded.image.height() * 2);
    let image = decoded.image.resize_exact(width, height, image::imageops::FilterType::Nearest);
    let failed = |error: EncodeError| EngineError::Failed(error.to_string());
    write_like(&decoded, &image, DONE, &Monitor::new().0, failed).unwrap().bytes.to_vec()
}
