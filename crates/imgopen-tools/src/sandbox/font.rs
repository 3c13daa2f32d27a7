//! Writes texts in an 8x8 bitmap font.

use font8x8::{BASIC_FONTS, BLOCK_FONTS, BOX_FONTS, GREEK_FONTS, HIRAGANA_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};

/// The side of a glyph in the font's own pixels.
pub(super) const GLYPH: u32 = 8;
/// The colour of all texts. Nothing else on a card is as bright.
pub(super) const INK: Rgb<u8> = Rgb([255, 255, 255]);

/// The glyph for characters that the font lacks: an empty box.
const MISSING: [u8; 8] = [0x7f, 0x41, 0x41, 0x41, 0x41, 0x41, 0x7f, 0x00];

/// Returns the rows of a character from top to bottom; the lowest bit is the leftmost pixel.
fn glyph(character: char) -> [u8; 8] {
    let in_fonts = BASIC_FONTS
        .get(character)
        .or_else(|| LATIN_FONTS.get(character))
        .or_else(|| GREEK_FONTS.get(character))
        .or_else(|| HIRAGANA_FONTS.get(character))
        .or_else(|| BOX_FONTS.get(character))
        .or_else(|| BLOCK_FONTS.get(character));
    in_fonts.unwrap_or(MISSING)
}

/// Writes one line with its upper left corner at `x`, `y`, each font pixel `scale` wide, clipped to the canvas.
pub(super) fn write(canvas: &mut RgbImage, text: &str, x: u32, y: u32, scale: u32) {
    for (column, character) in text.chars().enumerate() {
        let left = x + column as u32 * GLYPH * scale;
        for (row, bits) in glyph(character).into_iter().enumerate() {
            for bit in (0..GLYPH).filter(|bit| bits >> bit & 1 == 1) {
                square(canvas, left + bit * scale, y + row as u32 * scale, scale);
            }
        }
    }
}

fn square(canvas: &mut RgbImage, left: u32, top: u32, side: u32) {
    for y in top..(top + side).min(canvas.height()) {
        for x in left..(left + side).min(canvas.width()) {
            canvas.put_pixel(x, y, INK);
        }
    }
}

/// Wraps a text into lines of at most `columns` characters, between words where possible.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut room = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let characters: Vec<char> = word.chars().collect();
        if let Some(line) = lines.last_mut()
            && characters.len() < room
        {
            line.push(' ');
            line.push_str(word);
            room -= characters.len() + 1;
            continue;
        }
        for piece in characters.chunks(columns) {
            room = columns - piece.len();
            lines.push(piece.iter().collect());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_between_words_or_within_long_ones() {
        assert_eq!(wrap("a cat on the\nmat", 6), ["a cat", "on the", "mat"]);
        assert_eq!(wrap("text_to_image x", 8), ["text_to_", "image x"]);
        assert_eq!(wrap("日本語", 2), ["日本", "語"]);
        assert_eq!(wrap(" \n", 8), Vec::<String>::new());
        assert_eq!(wrap("ab", 0), ["a", "b"]);
    }

    #[test]
    fn a_character_without_a_glyph_is_a_box() {
        assert_eq!(glyph('日'), MISSING);
        for character in ['A', 'é', 'Ω', 'あ'] {
            assert_ne!(glyph(character), MISSING);
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let mut canvas = RgbImage::new(5, 5);
        write(&mut canvas, "HH", 2, 2, 1);
        assert!(canvas.pixels().any(|pixel| *pixel == INK));
    }
}
