//! The order of glyphs on a line.
//!
//! The layout puts the parts of a word that are set in different fonts one after the other from left to right, in words that are
//! read from right to left, too. The levels that the bidirectional algorithm (UAX 9) gives to the glyphs are right, so a part of a
//! line of one such level is put in order again: what is read first stands on the right.

use std::cmp::Reverse;

use cosmic_text::LayoutGlyph;

/// A letter with its marks, or several letters that are drawn as one. These glyphs keep their places to each other.
type Cluster = Vec<LayoutGlyph>;

/// Returns the glyphs of a line, each where it belongs.
pub(super) fn placed(glyphs: &[LayoutGlyph]) -> Vec<LayoutGlyph> {
    if !glyphs.iter().any(|glyph| glyph.level.is_rtl()) {
        return glyphs.to_vec();
    }
    let mut clusters = clusters(glyphs);
    let parts = clusters.chunk_by_mut(|one, other| one[0].level == other[0].level);
    parts.filter(|part| part[0][0].level.is_rtl()).for_each(put_in_order);
    clusters.concat()
}

/// Moves the clusters of a part from right to left.
fn put_in_order(part: &mut [Cluster]) {
    if part.is_sorted_by_key(|cluster| Reverse(cluster[0].start)) {
        return;
    }
    let mut at = left(&part[0]);
    part.sort_by_key(|cluster| Reverse(cluster[0].start));
    for cluster in part {
        let by = at - left(cluster);
        cluster.iter_mut().for_each(|glyph| glyph.x += by);
        at += cluster.iter().map(|glyph| glyph.w).sum::<f32>();
    }
}

/// Returns the clusters of a line from left to right. They are put together first, because a mark may stand at the edge of the
/// next one.
fn clusters(glyphs: &[LayoutGlyph]) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> =
        glyphs.chunk_by(|one, other| one.start == other.start).map(<[_]>::to_vec).collect();
    clusters.sort_by(|one, other| left(one).total_cmp(&left(other)));
    clusters
}

/// Returns where a cluster begins on the left.
fn left(cluster: &[LayoutGlyph]) -> f32 {
    cluster.iter().map(|glyph| glyph.x).fold(f32::INFINITY, f32::min)
}

#[cfg(test)]
mod tests {
    use cosmic_text::{Buffer, Metrics, Shaping, Wrap};

    use super::*;
    use crate::watermark::fonts::Library;

    /// The glyphs of a text, as they are laid out in a line.
    fn laid_out(text: &str) -> Vec<LayoutGlyph> {
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
        buffer.layout_runs().flat_map(|run| run.glyphs.to_vec()).collect()
    }

    fn width(cluster: &[LayoutGlyph]) -> f32 {
        cluster.iter().map(|glyph| glyph.w).sum()
    }

    /// The clusters of a text from left to right as they are shown, in letters that do not join.
    fn shown(text: &str, glyphs: &[LayoutGlyph]) -> String {
        let clusters = clusters(&placed(glyphs));
        // Neither gaps nor overlaps.
        for pair in clusters.windows(2) {
            assert!((left(&pair[0]) + width(&pair[0]) - left(&pair[1])).abs() < 0.1, "{text}");
        }
        clusters.iter().map(|cluster| &text[cluster[0].start..cluster[0].end]).collect()
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
            assert_eq!(shown(text, &laid_out(text)), expected, "{text}");
        }
    }

    /// Hebrew letters with vowel points, and Arabic ones with vowel marks, beside a sign that their fonts do not have.
    #[test]
    fn marks_stay_with_their_letters() {
        for (text, expected) in [
            ("\u{5d1}\u{5b7}\u{2116}\u{5d2}\u{5b8}", "\u{5d2}\u{5b8}\u{2116}\u{5d1}\u{5b7}"),
            ("\u{5d3}\u{5b0}\u{5d1}\u{5b7}\u{2192}\u{5d2}", "\u{5d2}\u{2192}\u{5d1}\u{5b7}\u{5d3}\u{5b0}"),
            ("\u{62f}\u{64e}\u{2116}\u{631}\u{64f}", "\u{631}\u{64f}\u{2116}\u{62f}\u{64e}"),
            ("\u{631}\u{650}\u{62f}\u{64e}\u{2192}\u{648}", "\u{648}\u{2192}\u{62f}\u{64e}\u{631}\u{650}"),
        ] {
            let mut glyphs = laid_out(text);
            assert_eq!(shown(text, &glyphs), expected, "{text}");
            // A mark at the edge of the next letter.
            let widths: Vec<_> = glyphs.chunk_by(|one, other| one.start == other.start).map(width).collect();
            let mut count = 0;
            for (cluster, width) in glyphs.chunk_by_mut(|one, other| one.start == other.start).zip(widths) {
                for mark in cluster.iter_mut().filter(|glyph| glyph.w == 0.0) {
                    mark.x += width;
                    count += 1;
                }
            }
            assert!(count > 0, "{text}");
            assert_eq!(shown(text, &glyphs), expected, "{text}");
        }
    }

    /// The glyphs are those of HarfBuzz 14.5 with the same font: `hb-shape --no-positions` by their numbers.
    #[test]
    fn bengali_letters_are_joined_as_harfbuzz_joins_them() {
        for (text, expected) in [
            ("ত্র", vec![154]),
            ("প্র", vec![234, 281]),
            ("শ্রী", vec![246, 281, 61]),
            ("ন্দ্র", vec![349, 224, 324, 288]),
            ("স্ত্রী", vec![251, 305, 61]),
            ("র্ক", vec![25, 132]),
        ] {
            let glyphs: Vec<_> = laid_out(text).iter().map(|glyph| glyph.glyph_id).collect();
            assert_eq!(glyphs, expected, "{text}");
        }
    }
}
