//! Chooses the font for each character.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use cosmic_text::fontdb::{Database, FaceInfo, ID, Source, Style};
use cosmic_text::skrifa::{FontRef, MetadataProvider};
use cosmic_text::{Attrs, CacheKeyFlags, Fallback, Family, FontSystem, SwashCache};
use imgopen_engine::EngineError;
use unicode_script::Script;
use unicode_segmentation::UnicodeSegmentation;

use super::request::is_invisible;

/// The bundled fonts, in order of preference.
const EMBEDDED: [&[u8]; 10] = [
    include_bytes!("../../fonts/NotoSans.ttf"),
    include_bytes!("../../fonts/NotoSansCJK.otf"),
    include_bytes!("../../fonts/NotoEmoji.ttf"),
    include_bytes!("../../fonts/NotoSansArabic.ttf"),
    include_bytes!("../../fonts/NotoSansHebrew.ttf"),
    include_bytes!("../../fonts/NotoSansThai.ttf"),
    include_bytes!("../../fonts/NotoSansDevanagari.ttf"),
    include_bytes!("../../fonts/NotoSansBengali.ttf"),
    include_bytes!("../../fonts/NotoSansTamil.ttf"),
    include_bytes!("../../fonts/NotoSansCJKJapanese.otf"),
];
/// The index of the emoji font.
const EMOJI: usize = 2;
/// The index of the font with the Japanese forms of Chinese characters.
const JAPANESE: usize = 9;
/// The variation selector that asks for an emoji where a character also has a plain form.
const AS_EMOJI: char = '\u{fe0f}';
const WEIGHT: u16 = 500;
/// The brackets and quotation marks that come in pairs.
const BRACKETS: [(char, char); 16] = [
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
    ('«', '»'),
    ('‹', '›'),
    ('“', '”'),
    ('‘', '’'),
    ('（', '）'),
    ('［', '］'),
    ('「', '」'),
    ('『', '』'),
    ('【', '】'),
    ('〔', '〕'),
    ('《', '》'),
    ('〈', '〉'),
    ('⟨', '⟩'),
];

/// The bundled fonts and those of the machine, read when first needed.
#[derive(Debug, Default)]
pub(super) struct Library {
    embedded: OnceLock<Collection>,
    installed: OnceLock<Collection>,
}

/// Fonts, and what lays out texts with them.
#[derive(Debug)]
pub(super) struct Collection {
    database: Database,
    /// In order of preference.
    faces: Vec<ID>,
    setter: Mutex<Setter>,
}

/// Shapes texts and draws glyphs. Both cache what they have read of the fonts.
#[derive(Debug)]
pub(super) struct Setter {
    pub(super) system: FontSystem,
    pub(super) glyphs: SwashCache,
}

/// A part of a text with its attributes.
pub(super) type Span<'a> = (&'a str, Attrs<'a>);

impl Library {
    /// Returns the fonts that have all characters of a text: the bundled ones if they suffice.
    ///
    /// # Errors
    ///
    /// Names a character that no font has.
    pub(super) fn fonts_for(&self, text: &str) -> Result<&Collection, EngineError> {
        let embedded = self.embedded.get_or_init(Collection::embedded);
        if embedded.missing(text).is_none() {
            return Ok(embedded);
        }
        let installed = self.installed.get_or_init(Collection::installed);
        match installed.missing(text) {
            None => Ok(installed),
            Some(missing) => Err(without_font(missing)),
        }
    }
}

/// Returns the error about characters that no font has.
pub(super) fn without_font(characters: &str) -> EngineError {
    let codes = characters.chars().filter(|c| !is_invisible(*c)).map(|c| format!("U+{:04X}", u32::from(c)));
    let codes = codes.collect::<Vec<_>>().join(" ");
    let problem = format!(
        "no font has \"{characters}\" ({codes}); leave it out, or install a font that has it, such as one of Noto \
         (Debian's packages `fonts-noto-core` and `fonts-noto-cjk`), and restart the server"
    );
    EngineError::rejected("watermarkText", problem)
}

impl Collection {
    fn embedded() -> Self {
        Self::new(Database::new())
    }

    fn installed() -> Self {
        let mut database = Database::new();
        database.load_system_fonts();
        Self::new(database)
    }

    /// Puts the bundled fonts before others.
    fn new(mut database: Database) -> Self {
        let mut others: Vec<&FaceInfo> = database.faces().filter(|face| face.style == Style::Normal).collect();
        others.sort_by_key(|face| (face.monospaced, face.weight.0.abs_diff(WEIGHT), face.post_script_name.clone()));
        let others: Vec<ID> = others.into_iter().map(|face| face.id).collect();
        let embedded = EMBEDDED.iter().flat_map(|font| database.load_font_source(Source::Binary(Arc::new(*font))));
        let faces = embedded.collect::<Vec<_>>().into_iter().chain(others).collect();
        // No locale: only the text decides how it looks.
        let system = FontSystem::new_with_locale_and_db_and_fallback("und".to_owned(), database.clone(), NoFallback);
        Self { database, faces, setter: Mutex::new(Setter { system, glyphs: SwashCache::new() }) }
    }

    /// Locks the layout engine of these fonts, which serves one text at a time.
    pub(super) fn setter(&self) -> &Mutex<Setter> {
        &self.setter
    }

    /// Returns the first cluster of characters that no font has.
    fn missing<'a>(&self, text: &'a str) -> Option<&'a str> {
        let clusters: Vec<&str> = text.graphemes(true).collect();
        let chosen = self.choose(&clusters);
        clusters.into_iter().zip(chosen).find_map(|(cluster, face)| face.is_none().then_some(cluster))
    }

    /// Splits a text into parts with their fonts. Characters that no font has get the first font.
    pub(super) fn spans<'a>(&'a self, text: &'a str) -> Vec<Span<'a>> {
        let clusters: Vec<&str> = text.graphemes(true).collect();
        let mut chosen: Vec<usize> = self.choose(&clusters).into_iter().map(Option::unwrap_or_default).collect();
        self.join(&clusters, &mut chosen);
        let mut spans: Vec<(Range<usize>, usize)> = Vec::new();
        for (cluster, face) in clusters.into_iter().zip(chosen) {
            let start = spans.last().map_or(0, |(range, _)| range.end);
            match spans.last_mut() {
                Some((range, last)) if *last == face => range.end += cluster.len(),
                _ => spans.push((start..start + cluster.len(), face)),
            }
        }
        spans.into_iter().filter_map(|(range, face)| Some((&text[range], self.attributes(face)?))).collect()
    }

    fn attributes(&self, face: usize) -> Option<Attrs<'_>> {
        let face = self.database.face(self.faces[face])?;
        let family = Family::Name(&face.families.first()?.0);
        let attributes = Attrs::new().family(family).weight(face.weight).stretch(face.stretch).style(face.style);
        Some(attributes.cache_key_flags(CacheKeyFlags::DISABLE_HINTING))
    }

    /// Returns the first font that has each cluster. Emoji that are asked for come first, and in a text with kana the Japanese
    /// forms of Chinese characters.
    fn choose(&self, clusters: &[&str]) -> Vec<Option<usize>> {
        let mut chosen = vec![None; clusters.len()];
        let as_emoji = |cluster: &str| cluster.contains(AS_EMOJI);
        self.choose_from(EMOJI, clusters, &mut chosen, as_emoji);
        if clusters.iter().any(|cluster| cluster.chars().any(is_kana)) {
            self.choose_from(JAPANESE, clusters, &mut chosen, |_| true);
        }
        for face in 0..self.faces.len() {
            self.choose_from(face, clusters, &mut chosen, |_| true);
        }
        chosen
    }

    /// Chooses a font for those clusters that it has, that are wanted, and that have none yet.
    fn choose_from(
        &self,
        face: usize,
        clusters: &[&str],
        chosen: &mut [Option<usize>],
        is_wanted: impl Fn(&str) -> bool,
    ) {
        let is_open = |index: &usize| chosen[*index].is_none() && is_wanted(clusters[*index]);
        let open: Vec<usize> = (0..clusters.len()).filter(is_open).collect();
        let open_clusters: Vec<&str> = open.iter().map(|index| clusters[*index]).collect();
        for (index, has) in open.iter().zip(self.has(face, &open_clusters)) {
            chosen[*index] = has.then_some(face);
        }
    }

    /// Assigns punctuation and spaces a font of letters that has them: that of the letters before them, or after them at the
    /// beginning; opening brackets that of the letters after them, and closing ones that of their opening ones.
    fn join(&self, clusters: &[&str], chosen: &mut [usize]) {
        let is_letter = |index: usize| chosen_letter(clusters[index], chosen[index]);
        // The font of the next letter from each place on.
        let mut next = vec![None; clusters.len()];
        let mut after = None;
        for index in (0..clusters.len()).rev() {
            if is_letter(index) {
                after = Some(chosen[index]);
            }
            next[index] = after;
        }
        let mut wanted: Vec<(usize, usize)> = Vec::new();
        let (mut before, mut open) = (None, Vec::new());
        for (index, after) in next.into_iter().enumerate() {
            if is_letter(index) {
                before = Some(chosen[index]);
                continue;
            }
            let pair = BRACKETS.iter().find(|(opening, _)| clusters[index].starts_with(*opening));
            let face = match (pair, open.last()) {
                (Some((_, closing)), _) => {
                    let face = after.or(before);
                    open.push((*closing, face));
                    face
                }
                (None, Some((closing, face))) if clusters[index].starts_with(*closing) => {
                    let face = *face;
                    open.pop();
                    face
                }
                _ => before.or(after),
            };
            wanted.extend(face.filter(|face| *face != EMOJI).map(|face| (index, face)));
        }
        for (index, face) in wanted {
            if chosen[index] != EMOJI && self.has(face, &clusters[index..=index]) == [true] {
                chosen[index] = face;
            }
        }
    }

    /// Returns whether a font has all visible characters of each cluster.
    fn has(&self, face: usize, clusters: &[&str]) -> Vec<bool> {
        if clusters.is_empty() {
            return Vec::new();
        }
        let has = self.database.with_face_data(self.faces[face], |data, index| {
            let characters = FontRef::from_index(data, index).ok()?.charmap();
            let has =
                |c: char| c == '\n' || is_invisible(c) || characters.map(c).is_some_and(|glyph| glyph.to_u32() > 0);
            Some(clusters.iter().map(|cluster| cluster.chars().all(has)).collect())
        });
        has.flatten().unwrap_or_else(|| vec![false; clusters.len()])
    }
}

/// Whether a character is kana, which only Japanese has. The middle dot and the long vowel mark occur elsewhere.
fn is_kana(c: char) -> bool {
    matches!(c, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | 'ㇰ'..='ㇿ' | 'ｦ'..='ﾝ')
}

fn chosen_letter(cluster: &str, face: usize) -> bool {
    face == EMOJI || cluster.chars().any(char::is_alphanumeric)
}

/// Fonts are chosen before shaping.
struct NoFallback;

impl Fallback for NoFallback {
    fn common_fallback(&self) -> &[&'static str] {
        &[]
    }

    fn forbidden_fallback(&self) -> &[&'static str] {
        &[]
    }

    fn script_fallback(&self, _: Script, _: &str) -> &[&'static str] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families(text: &str) -> Vec<(String, String)> {
        let library = Library::default();
        let spans = library.fonts_for(text).unwrap().spans(text);
        let short = |family: String| family.replace("Noto ", "").replace(" Medium", "");
        spans
            .into_iter()
            .map(|(part, attributes)| (part.to_owned(), short(named(attributes.family).to_owned())))
            .collect()
    }

    fn named(family: Family<'_>) -> &str {
        match family {
            Family::Name(name) => name,
            other => panic!("{other:?}"),
        }
    }

    fn expect(text: &str, parts: &[(&str, &str)]) {
        let parts: Vec<_> = parts.iter().map(|(part, family)| ((*part).to_owned(), (*family).to_owned())).collect();
        assert_eq!(families(text), parts);
    }

    #[test]
    fn every_font_is_read_and_is_of_the_weight() {
        let collection = Collection::embedded();
        assert_eq!(collection.faces.len(), EMBEDDED.len());
        assert!(collection.database.faces().all(|face| face.weight.0 == WEIGHT));
    }

    #[test]
    fn punctuation_goes_with_the_letters_before_it() {
        expect("Photo — 2024", &[("Photo — 2024", "Sans")]);
        expect("“你好”——世界", &[("“你好”——世界", "Sans CJK SC")]);
        expect("Café 你好", &[("Café ", "Sans"), ("你好", "Sans CJK SC")]);
        expect("שלום a", &[("שלום ", "Sans Hebrew"), ("a", "Sans")]);
    }

    #[test]
    fn chinese_characters_have_japanese_forms_in_a_text_with_kana() {
        expect("直す", &[("直", "Sans CJK JP"), ("す", "Sans CJK SC")]);
        expect("写真カメラ", &[("写真", "Sans CJK JP"), ("カメラ", "Sans CJK SC")]);
        expect("直・海", &[("直・海", "Sans CJK SC")]);
        expect("한국直", &[("한국直", "Sans CJK SC")]);
    }

    #[test]
    fn brackets_go_with_what_they_enclose() {
        expect("a (שלום) b", &[("a ", "Sans"), ("(שלום) ", "Sans Hebrew"), ("b", "Sans")]);
        expect("שלום (a) שלום", &[("שלום ", "Sans Hebrew"), ("(a) ", "Sans"), ("שלום", "Sans Hebrew")]);
        expect("a “你”", &[("a ", "Sans"), ("“你”", "Sans CJK SC")]);
        expect("((a) 你)", &[("((a) ", "Sans"), ("你", "Sans CJK SC"), (")", "Sans")]);
        expect("a ((", &[("a ((", "Sans")]);
        expect("don’t)", &[("don’t)", "Sans")]);
    }

    #[test]
    fn emoji_are_taken_where_they_are_meant() {
        expect("a 👩‍👧 b", &[("a ", "Sans"), ("👩‍👧", "Emoji"), (" b", "Sans")]);
        expect("1 1\u{fe0f}\u{20e3}", &[("1 ", "Sans"), ("1\u{fe0f}\u{20e3}", "Emoji")]);
    }

    #[test]
    fn common_scripts_need_no_installed_fonts() {
        let texts = [
            "Ελληνικά",
            "Кириллица",
            "한국어 워터마크",
            "日本語の透かし",
            "繁體中文浮水印",
            "العربية",
            "ภาษาไทย",
            "हिन्दी",
            "বাংলা ক্ষ্ণ ১২৩",
            "தமிழ் ஸ்ரீ",
        ];
        for text in texts.into_iter().chain(["© ® ™ € £ ¥ → №", "🎉❤️🇩🇪"]) {
            assert_eq!(Collection::embedded().missing(text), None, "{text}");
        }
    }

    #[test]
    fn a_character_that_no_font_has_is_named() {
        // A noncharacter, which no font has.
        let error = Library::default().fonts_for("a\u{10ffff}").unwrap_err().to_string();
        assert!(error.starts_with("`watermarkText`: no font has \"\u{10ffff}\" (U+10FFFF); leave it out"), "{error}");
    }
}
