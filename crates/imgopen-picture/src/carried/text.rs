//! The texts of PNG files.

use std::io::Read;

use flate2::bufread::ZlibDecoder;

use super::limits::{EACH, MOST};
use crate::header;

/// The most bytes that are inflated of the texts of a file together, with those of texts that turn out to be too large.
pub(super) const MOST_INFLATED: usize = 4 * MOST;

/// The chunk in which ComfyUI keeps its texts in animations, which may have a single frame. It is as the plain one otherwise.
pub(super) const COMFYUI: &[u8] = b"comf";

/// A text of a PNG file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    pub(super) keyword: String,
    pub(super) text: String,
    /// Whether it is in the international form, though it may have no need of it.
    pub(super) is_international: bool,
}

impl Text {
    pub(super) fn new(keyword: &str, text: &str) -> Self {
        Self { keyword: keyword.to_owned(), text: text.to_owned(), is_international: false }
    }

    /// Reads a chunk of any of the three forms, or of ComfyUI. `room` is how many bytes the text may have, and `budget` how many
    /// may still be inflated, from which those are taken that were.
    pub(super) fn read(kind: &[u8], body: &[u8], room: usize, budget: &mut usize) -> Option<Self> {
        let (keyword, rest) = split(body)?;
        if !(1..80).contains(&keyword.len()) {
            return None;
        }
        let (text, is_international) = match kind {
            b"tEXt" | COMFYUI if rest.len() <= room => (latin_1(rest), false),
            b"zTXt" => (latin_1(&inflated(rest.strip_prefix(b"\0")?, room, budget)?), false),
            b"iTXt" => {
                let ([is_compressed, method], rest) = rest.split_first_chunk::<2>()?;
                let (_language, rest) = split(rest)?;
                let (_translated, text) = split(rest)?;
                let text = match (is_compressed, method) {
                    (0, _) => text.to_vec(),
                    (1, 0) => inflated(text, room, budget)?,
                    _ => return None,
                };
                (String::from_utf8(text).ok()?, true)
            }
            _ => return None,
        };
        (text.len() <= room).then(|| Self { keyword: latin_1(keyword), text, is_international })
    }

    /// Returns the kind and the body of a chunk that holds it. The plain kind holds Latin-1 only, so other texts use the
    /// international one, as in the web UI.
    pub(super) fn chunk(&self) -> ([u8; 4], Vec<u8>) {
        let mut body = in_latin_1(&self.keyword).unwrap_or_default();
        match in_latin_1(&self.text).filter(|_| !self.is_international) {
            Some(text) => {
                body.push(0);
                body.extend(text);
                (*b"tEXt", body)
            }
            None => {
                body.extend([0; 5]);
                body.extend(self.text.as_bytes());
                (*b"iTXt", body)
            }
        }
    }
}

/// Returns the first text of a PNG file with that keyword.
pub(crate) fn first(bytes: &[u8], keyword: &str) -> Option<String> {
    with_keyword(bytes, keyword).next()
}

/// Returns the first text of a PNG file with that keyword, in capital or small letters.
pub(super) fn first_in_any_case(bytes: &[u8], keyword: &str) -> Option<String> {
    texts(bytes, |name| name.eq_ignore_ascii_case(keyword.as_bytes())).next()
}

/// Returns the last one.
pub(crate) fn last(bytes: &[u8], keyword: &str) -> Option<String> {
    with_keyword(bytes, keyword).last()
}

fn with_keyword<'a>(bytes: &'a [u8], keyword: &'a str) -> impl Iterator<Item = String> + 'a {
    texts(bytes, move |name| name == keyword.as_bytes())
}

/// Returns the texts whose keywords are wanted.
fn texts<'a>(bytes: &'a [u8], is_wanted: impl Fn(&[u8]) -> bool + 'a) -> impl Iterator<Item = String> + 'a {
    let named = header::png_chunks(bytes).filter(move |(_, body)| split(body).is_some_and(|(name, _)| is_wanted(name)));
    let mut budget = MOST_INFLATED;
    named.filter_map(move |(kind, body)| Text::read(kind, body, MOST, &mut budget)).map(|text| text.text)
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(0, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn in_latin_1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

/// Inflates a text. One that is damaged or becomes too large is passed over, but counts.
fn inflated(bytes: &[u8], room: usize, budget: &mut usize) -> Option<Vec<u8>> {
    if *budget == 0 {
        return None;
    }
    let (most, mut text) = (room.min(*budget), Vec::new());
    let result = ZlibDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut text);
    *budget = budget.saturating_sub(text.len() + EACH);
    (result.is_ok() && text.len() <= most).then_some(text)
}

/// Decodes what ImageMagick writes into texts named `Raw profile type`: a name, a length, and hexadecimal digits.
pub(super) fn raw_profile(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_start().split_once('\n')?.1.trim_start().split_once('\n')?.1;
    let digits: Vec<u8> = digits
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    Some(digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Encodes data in the same way.
pub(super) fn raw_text(name: &str, data: &[u8]) -> String {
    const BYTES_OF_A_LINE: usize = 36;
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<_> = data.chunks(BYTES_OF_A_LINE).map(line).collect();
    format!("\n{name}\n{:8}\n{}\n", data.len(), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    #[test]
    fn a_text_is_written_as_it_is_read() {
        for (text, is_international, kind) in
            [("café", false, *b"tEXt"), ("猫", false, *b"iTXt"), ("café", true, *b"iTXt"), ("", false, *b"tEXt")]
        {
            let text = Text { keyword: "Title".to_owned(), text: text.to_owned(), is_international };
            let mut budget = MOST;
            let (written, body) = text.chunk();
            assert_eq!(written, kind);
            let read = Text::read(&written, &body, MOST, &mut budget).unwrap();
            assert_eq!((read.keyword, read.text), (text.keyword, text.text));
        }
        assert_eq!(Text::new("Title", "café").chunk().1, b"Title\0caf\xe9");
    }

    #[test]
    fn what_is_not_a_text_is_passed_over() {
        let mut budget = MOST;
        for (kind, body) in [
            (b"tEXt", &b"Title"[..]),
            (b"tEXt", b"\0text"),
            (b"zTXt", b"Title\0\0damaged"),
            (b"zTXt", b"Title\0\x01"),
            (b"iTXt", b"Title\0\0\0\0"),
            (b"iTXt", b"Title\0\x02\0\0\0text"),
            (b"iTXt", b"Title\0\0\0\0\0\xff"),
            (b"tIME", b"Title\0text"),
        ] {
            assert_eq!(Text::read(kind, body, MOST, &mut budget), None, "{body:?}");
        }
        for (kind, body) in
            [(b"tEXt", &b"Title\0text"[..]), (b"tEXt", b"Title\0\xe9\xe9"), (b"iTXt", b"Title\0\0\0\0\0text")]
        {
            assert_eq!(Text::read(kind, body, 3, &mut budget), None, "{body:?}");
        }
    }

    #[test]
    fn what_is_inflated_counts_though_it_is_not_kept() {
        let packed = |size: usize| {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&vec![b'a'; size]).unwrap();
            [b"Title\0\0", &encoder.finish().unwrap()[..]].concat()
        };
        let (large, small) = (packed(100_000), packed(100));
        let mut budget = 3000;
        // One byte more than there is room for is enough to know it.
        assert_eq!(Text::read(b"zTXt", &large, 1000, &mut budget), None);
        assert_eq!(budget, 3000 - 1001 - EACH);
        assert_eq!(Text::read(b"zTXt", &small, 1000, &mut budget).unwrap().text, "a".repeat(100));
        assert_eq!(budget, 3000 - 1001 - 100 - 2 * EACH);
        assert_eq!(Text::read(b"zTXt", b"Title\0\0damaged", 1000, &mut budget), None);
        assert!(budget <= 3000 - 1001 - 100 - 3 * EACH, "{budget}");
        assert_eq!(Text::read(b"zTXt", &large, MOST, &mut budget), None);
        assert_eq!(budget, 0);
        assert_eq!(Text::read(b"zTXt", &small, MOST, &mut budget), None);
        assert!(Text::read(b"tEXt", b"Title\0text", MOST, &mut budget).is_some());
    }

    #[test]
    fn hexadecimal_profiles_are_decoded() {
        assert_eq!(raw_profile("\nexif\n       4\n4d4d\n002a\n").as_deref(), Some(&b"MM\0*"[..]));
        assert_eq!(raw_profile("\nexif\n       4\n4d4x\n"), None);
        assert_eq!(raw_profile("exif"), None);
        let data: Vec<u8> = (0..100).collect();
        let text = raw_text("iptc", &data);
        assert!(text.starts_with("\niptc\n     100\n00010203"), "{text}");
        assert_eq!(raw_profile(&text), Some(data));
    }
}
