//! URLs in requests, and what is given in their place.

use std::ops::Range;

/// The pattern of URLs. It is matched without a regular expression, which would take longer for a list of pictures than
/// everything else that a reader does.
pub(crate) const ADDRESS: &str = r"^\s*[Hh][Tt][Tt][Pp][Ss]?://.+";

/// What a URL is, in messages.
pub(crate) const EXPECTED: &str = "a URL that begins with http:// or https://";

/// The beginnings of pictures in base64: PNG, JPEG, WebP, GIF, TIFF of either byte order, SVG with and without a declaration.
const PICTURES: [&str; 8] = ["iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD", "SUkqA", "TU0AK", "PHN2Z", "PD94bWwg"];
/// From this length on, a text of nothing but the characters of base64 is taken for base64, whatever it begins with.
const LONG: usize = 256;

/// Whether a text matches [`ADDRESS`], with the white space of ECMA-262.
pub(crate) fn matches(text: &str) -> bool {
    let text = text.trim_start_matches(is_blank);
    let Some((scheme, rest)) = text.split_at_checked(4) else { return false };
    let rest = rest.strip_prefix(['s', 'S']).unwrap_or(rest);
    let rest = rest.strip_prefix("://").filter(|_| scheme.eq_ignore_ascii_case("http"));
    // A dot matches no end of a line.
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['\n', '\r', '\u{2028}', '\u{2029}']))
}

/// Returns in what form a text holds the bytes of a file, if it holds them instead of a URL: as a `data:` URL or in base64.
///
/// ```
/// use imgopen_types::embedded;
///
/// assert_eq!(embedded("data:image/png;base64,iVBORw0KGgo="), Some("a `data:` URL"));
/// assert_eq!(embedded("iVBORw0KGgoAAAANSUhEUgAA"), Some("a file in base64"));
/// assert_eq!(embedded("https://example.com/a.png"), None);
/// ```
pub fn embedded(text: &str) -> Option<&'static str> {
    let text = text.trim_matches(|c| is_blank(c) || matches!(c, '"' | '\''));
    if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return Some("a `data:` URL");
    }
    let is_base64 = match after_announcement(text) {
        Some(rest) => !rest.is_empty() && rest.bytes().all(is_digit),
        None => (is_picture(text) || (text.len() >= LONG && !text.starts_with('/'))) && text.bytes().all(is_digit),
    };
    is_base64.then_some("a file in base64")
}

/// Returns what follows `base64,`, such as of a `data:` URL that has lost its scheme.
fn after_announcement(text: &str) -> Option<&str> {
    let (announcement, rest) = text.split_once(',')?;
    let kind = announcement.len().checked_sub("base64".len()).and_then(|start| announcement.split_at_checked(start));
    let (before, coding) = kind?;
    (coding.eq_ignore_ascii_case("base64") && (before.is_empty() || before.ends_with(';'))).then_some(rest)
}

/// Whether a text begins as pictures in base64 do.
fn is_picture(text: &str) -> bool {
    let has = |range: Range<usize>, digits: &str| text.get(range) == Some(digits);
    // What is reserved in the header of BMP is zero, and AVIF and HEIC have `ftyp` behind a small length.
    let is_bmp = text.starts_with("Qk") && has(8..12, "AAAA");
    let is_heif = text.starts_with("AAAA") && has(6..10, "Z0eX");
    is_bmp || is_heif || PICTURES.iter().any(|start| text.starts_with(start))
}

fn is_blank(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// Whether a byte occurs in base64 of either alphabet, which may be broken into lines.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;

    use super::*;

    #[test]
    fn addresses_match_as_the_regular_expression_says() {
        let regex = Regex::new(ADDRESS).unwrap();
        for text in [
            "http://x",
            "https://x",
            "https://",
            "http:///",
            "https:/x",
            " http://x",
            "HTTP://x",
            "hTTpS://x",
            "httpss://x",
            "ttp://x",
            "ftp://x",
            "\t\r\n Https://x ",
            "",
            "http",
            "http://\n",
            "häh://x",
        ] {
            for text in [text.to_owned(), format!("{text}\n"), format!("\n{text}"), format!("{text}\n\rä")] {
                assert_eq!(matches(&text), regex.is_match(&text), "{text:?}");
            }
        }
        // The small engine knows the blanks of ASCII only, and one end of a line.
        for end in ["\r", "\u{2028}", "\u{2029}"] {
            assert!(!matches(&format!("http://{end}x")));
        }
        assert!(!matches("\u{85}http://x"));
        assert!(matches("\u{feff}\u{a0}\u{3000}http://x"));
    }

    #[test]
    fn files_in_place_of_addresses_are_recognised() {
        let long = "QUJD".repeat(64);
        let lines = format!("{}\n{}\n", "QUJD".repeat(60), "_-8=".repeat(4));
        for base64 in [
            "/9j/4AAQSkZJRgABAQAAAQABAAD/",
            "UklGRiQAAABXRUJQ",
            "\"R0lGODlhAQABAAAAACw=\"",
            "Qk06AAAAAAAAADYAAAAoAAAA",
            "SUkqAAgAAAA=",
            "TU0AKgAAAAg=",
            "AAAAIGZ0eXBhdmlmAAAAAA==",
            "AAAAGGZ0eXBoZWljAAAAAA==",
            "PHN2ZyB4bWxucz0iIi8+",
            "PD94bWwgdmVyc2lvbj0iMS4wIj8+",
            "image/png;base64,iVBORw0KGgo=",
            "image/bmp;charset=x;BASE64,AAEC",
            "base64,AAEC",
            &long,
            &lines,
        ] {
            assert_eq!(embedded(base64), Some("a file in base64"), "{base64}");
        }
        for url in ["data:,x", " DATA:image/jpeg;base64,/9j/4AAQ", "data:image/svg+xml;utf8,<svg/>"] {
            assert_eq!(embedded(url), Some("a `data:` URL"), "{url}");
        }
        let path = format!("/{}", "home/me/".repeat(40));
        for other in
            ["cat.png", "/9j/cat.jpg", "ftp://example.com/a.png", "", "QUJD", &path, "blob:https://example.com/1"]
                .into_iter()
                .chain(["Qkcat", "base64,", "base64,cat.png", "mybase64,AAEC", "cats,AAEC", "AAAAcat"])
        {
            assert_eq!(embedded(other), None, "{other}");
        }
    }
}
