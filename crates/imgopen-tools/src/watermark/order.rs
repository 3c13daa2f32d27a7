//! The order of glyphs on a line.
//!
//! The layout puts the parts of a word that are set in different fonts one after the other from left to right, in words that are
//! read from right to left, too. The levels that the bidirectional algorithm (UAX 9) gives to the glyphs are right, so a part of a
//! line of one such level is put in order again: what is read first stands on the right.

use std::cmp::Reverse;
use std::ops::Range;

use cosmic_text::LayoutGlyph;

/// Returns the glyphs of a line from left to right, each where it belongs.
pub(super) fn placed(glyphs: &[LayoutGlyph]) -> Vec<LayoutGlyph> {
    let mut placed = glyphs.to_vec();
    if placed.iter().any(|glyph| glyph.level.is_rtl()) {
        placed.sort_by(|one, other| one.x.total_cmp(&other.x));
        let parts = placed.chunk_by_mut(|one, other| one.level == other.level);
        parts.filter(|part| part.iter().all(|glyph| glyph.level.is_rtl())).for_each(put_in_order);
    }
    placed
}

/// Moves the clusters of glyphs of a part from right to left. The glyphs of a cluster, such as a letter with its marks, keep their
/// places to each other.
fn put_in_order(part: &mut [LayoutGlyph]) {
    let clusters: Vec<Range<usize>> = clusters(part);
    if clusters.is_sorted_by_key(|cluster| Reverse(part[cluster.start].start)) {
        return;
    }
    let mut left = part[0].x;
    let mut ordered = clusters;
    ordered.sort_by_key(|cluster| Reverse(part[cluster.start].start));
    for cluster in ordered {
        let glyphs = &mut part[cluster];
        let by = left - glyphs[0].x;
        glyphs.iter_mut().for_each(|glyph| glyph.x += by);
        left += glyphs.iter().map(|glyph| glyph.w).sum::<f32>();
    }
}

/// Returns where each cluster lies.
fn clusters(part: &[LayoutGlyph]) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |cluster: &[LayoutGlyph]| {
        let start = end;
        end += cluster.len();
        start..end
    };
    part.chunk_by(|one, other| one.start == other.start).map(range).collect()
}

#[cfg(test)]
mod tests {
    use cosmic_text::{Buffer, Metrics, Shaping, Wrap};

    use super::*;
    use crate::watermark::fonts::Library;

    /// The characters of a text from left to right as they are shown, in Hebrew letters that do not join.
    fn shown(text: &str) -> String {
        let library = Library::default();
        let fonts = library.fonts_for(text).unwrap();
        let mut setter = fonts.setter().lock().unwrap();
        let metrics = Metrics::new(100.0, 130.0);
        let mut buffer = Buffer::new_empty(metrics);
        let spans = fonts.spans(text);
        let plain = spans[0].1.clone();
        buffer.set_rich_text(spans, &plain, Shaping::Advanced, None);
        buffer.set_wrap(Wrap::None);
        buffer.set_metrics_and_size(metrics, None, None);
        buffer.shape_until_scroll(&mut setter.system, false);
        let mut shown = String::new();
        for run in buffer.layout_runs() {
            let mut glyphs = placed(run.glyphs);
            glyphs.sort_by(|one, other| one.x.total_cmp(&other.x));
            // Neither gaps nor overlaps.
            for pair in glyphs.windows(2) {
                assert!((pair[0].x + pair[0].w - pair[1].x).abs() < 0.1, "{text}");
            }
            shown.extend(glyphs.iter().map(|glyph| &run.text[glyph.start..glyph.end]));
        }
        shown
    }

    /// Written by hand after UAX 9. The letters are alef, bet, gimel, dalet, he and vav.
    #[test]
    fn brackets_and_signs_stand_where_the_bidirectional_algorithm_puts_them() {
        for (text, expected) in [
            ("\u{5d0}\u{5d1}\u{5d2}", "\u{5d2}\u{5d1}\u{5d0}"),
            ("\u{5d0} ABC (\u{5d3}\u{5d4})", ")\u{5d4}\u{5d3}( ABC \u{5d0}"),
            // Signs that the font has, and that it does not have.
            ("[\u{5d0}\u{2122}] x", "x ]\u{2122}\u{5d0}["),
            ("\u{5d0}\u{5d1}\u{2116}5", "5\u{2116}\u{5d1}\u{5d0}"),
            ("\u{5d0}\u{2116}\u{5d1}", "\u{5d1}\u{2116}\u{5d0}"),
            ("\u{5d0}\u{2192}\u{5d1}\u{2192}\u{5d2}", "\u{5d2}\u{2192}\u{5d1}\u{2192}\u{5d0}"),
            // Within a text that is read from left to right.
            ("a (\u{5d0}\u{5d1}) b", "a (\u{5d1}\u{5d0}) b"),
            ("a \u{5d0}\u{2116}\u{5d1} b", "a \u{5d1}\u{2116}\u{5d0} b"),
            ("(\u{5d0} 12 \u{5d1})", ")\u{5d1} 12 \u{5d0}("),
            ("\u{5d0} {b \u{5d1}} \u{5d2}", "\u{5d2} }\u{5d1} b{ \u{5d0}"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
