//! Draws the contact sheet as one picture: thumbnails in rows, with captions in the 8x8 font.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage, imageops};

use crate::{Entry, Tile};

/// The side in pixels that pictures are fitted into.
const SIDE: u32 = 240;
const GAP: u32 = 16;
const COLUMNS: u32 = 6;
const WIDTH: u32 = GAP + COLUMNS * (SIDE + GAP);
/// The height of a line of words.
const LINE: u32 = 14;
const PAPER: Rgb<u8> = Rgb([250, 250, 248]);
const INK: Rgb<u8> = Rgb([20, 20, 24]);

/// Draws all entries below each other.
pub fn sheet(entries: &[Entry]) -> RgbImage {
    let parts: Vec<RgbImage> = entries.iter().map(part).collect();
    let height = parts.iter().map(RgbImage::height).sum();
    let mut sheet = RgbImage::from_pixel(WIDTH, height, PAPER);
    let mut top = 0;
    for part in parts {
        imageops::replace(&mut sheet, &part, 0, i64::from(top));
        top += part.height();
    }
    sheet
}

fn part(entry: &Entry) -> RgbImage {
    let tiles: Vec<(Tile, RgbImage)> = entry.inputs.iter().chain(&entry.outputs).map(fitted).collect();
    let words: Vec<String> = entry.words.iter().flat_map(|text| broken(text)).collect();
    let rows = tiles.chunks(COLUMNS as usize).map(row_height).sum::<u32>();
    let height = GAP + LINE + rows + words.len() as u32 * LINE + GAP;
    let mut part = RgbImage::from_pixel(WIDTH, height, PAPER);
    write(&mut part, GAP, GAP / 2, &entry.title);
    let mut top = GAP + LINE;
    for row in tiles.chunks(COLUMNS as usize) {
        for (column, (tile, image)) in (0..).zip(row) {
            let left = GAP + column * (SIDE + GAP);
            imageops::replace(&mut part, image, i64::from(left), i64::from(top));
            write(&mut part, left, top + image.height() + 3, &tile.caption);
        }
        top += row_height(row);
    }
    for line in words {
        write(&mut part, GAP, top, &line);
        top += LINE;
    }
    part
}

fn fitted(tile: &Tile) -> (Tile, RgbImage) {
    let image = tile.image.resize(SIDE, SIDE, imageops::FilterType::Triangle).to_rgb8();
    (Tile { image: tile.image.clone(), caption: tile.caption.clone() }, image)
}

fn row_height(row: &[(Tile, RgbImage)]) -> u32 {
    row.iter().map(|(_, image)| image.height()).max().unwrap_or(0) + LINE + GAP / 2
}

/// Wraps a text into lines that fit the sheet.
fn broken(text: &str) -> Vec<String> {
    let most = ((WIDTH - 2 * GAP) / 8) as usize;
    text.chars().collect::<Vec<_>>().chunks(most).map(|line| line.iter().collect()).collect()
}

/// Writes one line; characters that the font lacks become question marks.
fn write(image: &mut RgbImage, left: u32, top: u32, text: &str) {
    for (index, letter) in (0..).zip(text.chars()) {
        let rows = BASIC_FONTS
            .get(letter)
            .or_else(|| LATIN_FONTS.get(letter))
            .or_else(|| BASIC_FONTS.get('?'))
            .unwrap_or_default();
        for (y, bits) in (0..).zip(rows) {
            for x in (0..8).filter(|x| bits >> x & 1 == 1) {
                let (x, y) = (left + index * 8 + x, top + y);
                if x < image.width() && y < image.height() {
                    image.put_pixel(x, y, INK);
                }
            }
        }
    }
}
