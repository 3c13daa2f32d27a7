//! Draws a test card.

use image::{Rgb, RgbImage};

use super::font::{self, GLYPH};

/// The word across every card.
const TITLE: &str = "SANDBOX";
const STRIPE: Rgb<u8> = Rgb([232, 176, 0]);
const BANNER: Rgb<u8> = Rgb([0, 0, 0]);

/// What a card shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// The number from which the background is derived.
    pub pattern: u64,
    /// The facts, the most important first. Each begins a line; those that do not fit are left out.
    pub facts: Vec<String>,
}

impl Card {
    /// Draws the card. Equal cards give equal pixels.
    pub(super) fn draw(&self) -> RgbImage {
        let mut canvas = self.background();
        let below = self.banner(&mut canvas);
        self.write_facts(&mut canvas, below);
        canvas
    }

    /// Slanted stripes in two dark colours.
    fn background(&self) -> RgbImage {
        let hash = mix(self.pattern);
        let hue = (hash % 360) as u32;
        let (one, other) = (dark(hue, 72), dark((hue + 20 + (hash >> 16) as u32 % 40) % 360, 112));
        let stripe = (self.width.max(self.height) / (6 + (hash >> 32) as u32 % 10)).max(4);
        let rises = hash >> 48 & 1 == 1;
        let height = self.height;
        RgbImage::from_fn(self.width, height, |x, y| {
            let along = if rises { x + y } else { x + (height - y) };
            if (along / stripe).is_multiple_of(2) { one } else { other }
        })
    }

    /// Writes the title across the whole width, and returns the first row below it.
    fn banner(&self, canvas: &mut RgbImage) -> u32 {
        let letters = TITLE.len() as u32 * GLYPH;
        let scale = (self.width / (letters + 4)).min(self.height / (4 * GLYPH)).max(1);
        let stripe = if scale > 1 { scale } else { 0 };
        let bottom = (GLYPH + 1) * scale + stripe;
        for y in 0..bottom.min(self.height) {
            let color = if y + stripe < bottom { BANNER } else { STRIPE };
            for x in 0..self.width {
                canvas.put_pixel(x, y, color);
            }
        }
        let left = self.width.saturating_sub(letters * scale) / 2;
        font::write(canvas, TITLE, left, scale, scale);
        bottom
    }

    fn write_facts(&self, canvas: &mut RgbImage, top: u32) {
        // A task's id fits one line from 256 pixels on.
        let scale = (self.width.min(self.height) / 192).min(self.width / (32 * GLYPH)).max(1);
        let (margin, gap) = if self.width.min(self.height) < 128 { (0, 0) } else { (4 * scale, 2 * scale) };
        let columns = self.width.saturating_sub(2 * margin) / (GLYPH * scale);
        let line = GLYPH * scale + gap;
        let rows = (self.height + gap).saturating_sub(top + margin) / line;
        let lines = self.facts.iter().flat_map(|fact| font::wrap(fact, columns as usize));
        for (text, row) in lines.zip(0..rows) {
            font::write(canvas, &text, margin, top + margin + row * line, scale);
        }
    }
}

/// Returns a saturated colour of a hue in degrees, no brighter than `value`.
fn dark(hue: u32, value: u32) -> Rgb<u8> {
    let low = value / 4;
    let part = hue % 60;
    let rising = low + (value - low) * part / 60;
    let falling = value - (value - low) * part / 60;
    let (r, g, b) = match hue / 60 {
        0 => (value, rising, low),
        1 => (falling, value, low),
        2 => (low, value, rising),
        3 => (low, falling, value),
        4 => (rising, low, value),
        _ => (value, low, falling),
    };
    Rgb([r, g, b].map(|channel| channel as u8))
}

/// Hashes a number (SplitMix64), so that consecutive seeds look different.
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
