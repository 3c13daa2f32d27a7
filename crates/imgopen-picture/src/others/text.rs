//! Names files of text: pages, markup, pointers, and pictures that are written as numbers.

/// How much of a file is looked at.
const WITHIN: usize = 8 * 1024;

/// The first lines of the pointers that Git LFS keeps in place of files.
const LFS: [&str; 2] = ["version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"];

/// The beginnings of pictures in base64: PNG, JPEG, WebP, GIF.
const BASE64: [&str; 4] = ["ivborw0kggo", "/9j/", "uklgr", "r0lgod"];

/// The elements that HTML pages begin with, if they do not say what they are.
const PAGES: [&str; 9] = ["html", "head", "body", "title", "meta", "script", "link", "div", "center"];

pub(super) fn name(bytes: &[u8]) -> Option<&'static str> {
    if let Some(name) = netpbm(bytes) {
        return Some(name);
    }
    let text = start(bytes);
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    match text {
        _ if LFS.iter().any(|line| text.starts_with(line)) => Some("a Git LFS pointer, which only stands for the file"),
        _ if text.starts_with('<') => markup(text),
        _ if text.starts_with("data:") || BASE64.iter().any(|start| text.starts_with(start)) => {
            Some("a picture in base64, as text")
        }
        _ if text.starts_with("%pdf-") => Some("a PDF file"),
        _ if text.starts_with("%!ps") => Some("a PostScript file"),
        _ if text.starts_with("/* xpm */") => Some("an XPM file"),
        _ if text.starts_with("#define ") && text.contains("_width ") => Some("an XBM file"),
        _ if is_json(text) => Some("a JSON file"),
        _ => None,
    }
}

/// Returns the beginning of a file as text in lower case, from UTF-8 or UTF-16. It may be cut within a character.
fn start(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(WITHIN)];
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    let text = match bytes {
        // With a byte order mark, or with a first character of ASCII.
        [0xff, 0xfe, ..] | [0x09..=0x7e, 0, 0x09..=0x7e, 0, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] | [0, 0x09..=0x7e, 0, 0x09..=0x7e, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    text.to_ascii_lowercase()
}

/// Names markup by its first element or its document type. What may stand before these is skipped.
fn markup(text: &str) -> Option<&'static str> {
    let (mut rest, mut is_xml) = (text, false);
    loop {
        rest = rest.trim_start();
        if let Some(kind) = rest.strip_prefix("<!doctype") {
            match kind.trim_start() {
                kind if kind.starts_with("html") => return Some("an HTML page"),
                kind if kind.starts_with("svg") => return Some("an SVG file"),
                // Declarations in brackets may have tags of their own.
                _ => return Some("an XML file"),
            }
        }
        let end = match rest {
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<?") => "?>",
            _ => break,
        };
        is_xml |= rest.starts_with("<?xml");
        match rest.split_once(end) {
            Some((_, after)) => rest = after,
            None => break,
        }
    }
    let element = rest.strip_prefix('<')?;
    let element = element.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next().unwrap_or_default();
    match element.rsplit(':').next().unwrap_or_default() {
        "svg" => Some("an SVG file"),
        name if PAGES.contains(&name) => Some("an HTML page"),
        name if is_xml || name.starts_with(|c: char| c.is_ascii_lowercase()) => Some("an XML file"),
        _ => None,
    }
}

/// Whether a text begins with an object, or a list of objects.
fn is_json(text: &str) -> bool {
    let mut signs = text.chars().filter(|c| !c.is_whitespace());
    matches!((signs.next(), signs.next()), (Some('{'), Some('"' | '}')) | (Some('['), Some('{' | '"')))
}

/// Names the formats of Netpbm by a letter and a digit, with white space behind.
fn netpbm(bytes: &[u8]) -> Option<&'static str> {
    let [b'P', kind, b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] = bytes else { return None };
    match kind {
        b'1' | b'4' => Some("a PBM file"),
        b'2' | b'5' => Some("a PGM file"),
        b'3' | b'6' => Some("a PPM file"),
        b'7' => Some("a PAM file"),
        b'F' | b'f' => Some("a PFM file"),
        _ => None,
    }
}
