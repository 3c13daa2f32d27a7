//! Reads and writes EXIF's UserComment.
//!
//! The Stable Diffusion web UI writes how a picture was made into the comment of JPEG and WebP files, in big-endian UTF-16.
//! Other programs use the other codes of characters that the standard knows, or leave the code away.

use encoding_rs::{ISO_2022_JP, SHIFT_JIS};

/// The codes of characters, which begin a comment.
const UNICODE: &[u8; 8] = b"UNICODE\0";
const ASCII: &[u8; 8] = b"ASCII\0\0\0";
const JIS: &[u8; 8] = b"JIS\0\0\0\0\0";
const UNDEFINED: &[u8; 8] = &[0; 8];

/// Decodes a comment from data whose lower bytes come first if `is_little`. `None` for one that is empty.
pub(super) fn decode(comment: &[u8], is_little: bool) -> Option<String> {
    let (text, code) = match comment.split_first_chunk::<8>() {
        Some((code, text)) => (text, code.to_ascii_uppercase()),
        None => (comment, Vec::new()),
    };
    let is = |known: &[u8; 8]| code == known;
    let text = if is(UNICODE) {
        // Some programs write UTF-8 here.
        if text.contains(&0) || text.starts_with(&[0xfe, 0xff]) || text.starts_with(&[0xff, 0xfe]) || !has_steps(text) {
            utf_16(text, is_little)
        } else {
            narrow(text)
        }
    } else if is(JIS) {
        japanese(text)
    } else if is(ASCII) || is(UNDEFINED) {
        unknown(text, is_little)
    } else {
        unknown(comment, is_little)
    };
    let text = text.trim_matches('\0');
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// Encodes a comment as the web UI does.
pub(super) fn encode(text: &str) -> Vec<u8> {
    UNICODE.iter().copied().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect()
}

fn has_steps(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"Steps: ").is_some()
}

/// Decodes a text of an unknown code.
fn unknown(text: &[u8], is_little: bool) -> String {
    let zeros = text.iter().filter(|byte| **byte == 0).count();
    let trailing = text.iter().rev().take_while(|byte| **byte == 0).count();
    // Every second byte of letters in UTF-16 is zero.
    if zeros - trailing > text.len().saturating_sub(trailing) / 4 { utf_16(text, is_little) } else { narrow(text) }
}

/// Decodes UTF-8, or else Latin-1.
pub(super) fn narrow(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => text.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Decodes the code of the standard, or else that of piexif. The former begins its Japanese parts by an escape character.
fn japanese(text: &[u8]) -> String {
    let encoding = if text.contains(&0x1b) { ISO_2022_JP } else { SHIFT_JIS };
    let (decoded, has_errors) = encoding.decode_without_bom_handling(text);
    if has_errors { narrow(text) } else { decoded.into_owned() }
}

/// Decodes UTF-16 in the byte order of its mark, or else in that which makes more of the text ASCII, because programs do not
/// agree on it.
fn utf_16(bytes: &[u8], is_little: bool) -> String {
    let pairs = bytes.as_chunks::<2>().0;
    let [high, low] = [0, 1].map(|at| pairs.iter().filter(|pair| pair[at] == 0 && pair[1 - at] != 0).count());
    let (pairs, is_little) = match pairs {
        [[0xfe, 0xff], rest @ ..] => (rest, false),
        [[0xff, 0xfe], rest @ ..] => (rest, true),
        pairs => (pairs, if high == low { is_little } else { low > high }),
    };
    let unit = if is_little { u16::from_le_bytes } else { u16::from_be_bytes };
    String::from_utf16_lossy(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: &str = "a cat — 猫\nSteps: 20, Sampler: Euler a";

    fn with(code: &[u8], text: &[u8]) -> Option<String> {
        decode(&[code, text].concat(), false)
    }

    #[test]
    fn unicode_is_read_in_both_byte_orders() {
        assert_eq!(decode(&encode(MADE), false).as_deref(), Some(MADE));
        assert_eq!(decode(&encode(MADE), true).as_deref(), Some(MADE));
        let little: Vec<u8> = MADE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(with(UNICODE, &little).as_deref(), Some(MADE));
        let marked: Vec<u8> = "\u{feff}猫".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(with(UNICODE, &marked).as_deref(), Some("猫"));
        // No letter shows the order, so that of the data counts.
        let [big, little] = [[0x73, 0x2b], [0x2b, 0x73]];
        assert_eq!(decode(&[&UNICODE[..], &big].concat(), false).as_deref(), Some("猫"));
        assert_eq!(decode(&[&UNICODE[..], &little].concat(), true).as_deref(), Some("猫"));
        assert_eq!(with(UNICODE, MADE.as_bytes()).as_deref(), Some(MADE));
    }

    #[test]
    fn other_codes_are_read() {
        assert_eq!(with(ASCII, b"a dog, Steps: 9\0\0").as_deref(), Some("a dog, Steps: 9"));
        assert_eq!(with(ASCII, MADE.as_bytes()).as_deref(), Some(MADE));
        assert_eq!(with(ASCII, b"caf\xe9, Steps: 9").as_deref(), Some("café, Steps: 9"));
        assert_eq!(with(UNDEFINED, b"a dog, Steps: 9").as_deref(), Some("a dog, Steps: 9"));
        assert_eq!(with(UNDEFINED, &encode(MADE)[8..]).as_deref(), Some(MADE));
        assert_eq!(with(b"", b"a dog, Steps: 9").as_deref(), Some("a dog, Steps: 9"));
        assert_eq!(with(b"", b"short").as_deref(), Some("short"));
    }

    /// The bytes of `猫` are from the tables of the standards JIS X 0208 and JIS X 0201.
    #[test]
    fn japanese_is_read_as_of_the_standard_and_of_piexif() {
        assert_eq!(with(JIS, b"\x1b$BG-\x1b(B, Steps: 9").as_deref(), Some("猫, Steps: 9"));
        assert_eq!(with(JIS, b"\x94\x4c, Steps: 9").as_deref(), Some("猫, Steps: 9"));
    }

    #[test]
    fn an_empty_comment_is_none() {
        for empty in [&b""[..], b"\0", UNDEFINED, &[0; 264], b"ASCII\0\0\0          \0", b"UNICODE\0\0\0\0\0"] {
            assert_eq!(decode(empty, false), None, "{empty:?}");
        }
    }
}
