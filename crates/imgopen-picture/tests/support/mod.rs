//! What the tests share: files in every format, and PNG files put together chunk by chunk.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{Cursor, Write};

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use imgopen_engine::Input;

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
