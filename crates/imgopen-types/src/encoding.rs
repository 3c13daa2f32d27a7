//! The encoding of JSON text: UTF-8, with or without a byte order mark.

/// A text that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotUtf8 {
    /// It is in another encoding of Unicode, such as `UTF-16`.
    #[error("encoded as {0}; encode it as UTF-8")]
    Other(&'static str),
    /// It is not UTF-8 from this byte on, counted from 1.
    #[error("not UTF-8 from byte {0} on; encode it as UTF-8")]
    Invalid(usize),
}

/// Returns bytes as text, without the byte order mark that some programs put before it.
///
/// # Errors
///
/// If the bytes are not UTF-8. UTF-16 and UTF-32 are named, by their byte order mark or because JSON begins with ASCII.
///
/// ```
/// use imgopen_types::utf8;
///
/// assert_eq!(utf8(b"\xEF\xBB\xBF{}"), Ok("{}"));
/// assert_eq!(utf8(b"{\0}\0").unwrap_err().to_string(), "encoded as UTF-16; encode it as UTF-8");
/// ```
pub fn utf8(bytes: &[u8]) -> Result<&str, NotUtf8> {
    match bytes {
        // The marks of UTF-32 begin as those of UTF-16, so they are looked for first.
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] | [0, 0, 0, 1..=0xFF, ..] | [1..=0xFF, 0, 0, 0, ..] => {
            Err(NotUtf8::Other("UTF-32"))
        }
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, 1..=0xFF, ..] | [1..=0xFF, 0, ..] => Err(NotUtf8::Other("UTF-16")),
        _ => {
            let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            let mark = bytes.len() - text.len();
            std::str::from_utf8(text).map_err(|error| NotUtf8::Invalid(mark + error.valid_up_to() + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text in an encoding of units of this size.
    fn encoded(units: &[u32], size: usize, is_big_endian: bool) -> Vec<u8> {
        let bytes = units.iter().flat_map(|unit| match is_big_endian {
            true => unit.to_be_bytes()[4 - size..].to_vec(),
            false => unit.to_le_bytes()[..size].to_vec(),
        });
        bytes.collect()
    }

    #[test]
    fn other_encodings_are_named_with_and_without_a_mark() {
        for json in ["{\"a\":\"é\"}", "\u{FEFF}{}", "[]", " 1", "\u{FEFF}\"日\""] {
            let units: Vec<u32> = json.chars().map(u32::from).collect();
            for is_big_endian in [true, false] {
                for (size, name) in [(2, "UTF-16"), (4, "UTF-32")] {
                    let bytes = encoded(&units, size, is_big_endian);
                    assert_eq!(utf8(&bytes), Err(NotUtf8::Other(name)), "{json:?} {size} {is_big_endian}");
                }
            }
        }
    }

    #[test]
    fn a_mark_is_skipped_once_and_the_first_wrong_byte_is_named() {
        assert_eq!(utf8(b""), Ok(""));
        assert_eq!(utf8(b"7"), Ok("7"));
        assert_eq!(utf8("\u{FEFF}é".as_bytes()), Ok("é"));
        assert_eq!(utf8("\u{FEFF}\u{FEFF}{}".as_bytes()), Ok("\u{FEFF}{}"));
        // "é" in Latin-1, with and without a mark before the text.
        assert_eq!(utf8(b"{\"a\":\"\xE9\"}"), Err(NotUtf8::Invalid(7)));
        assert_eq!(utf8(b"\xEF\xBB\xBF{\"a\":\"\xE9\"}"), Err(NotUtf8::Invalid(10)));
    }
}
