//! Names files of text: pages, markup, pointers, and pictures that are written as numbers.

/// How much of a file is looked at.
const WITHIN: usize = 8 * 1024;

/// The first lines of the pointers that Git LFS keeps in place of files.
const LFS: [&str; 2] = ["version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"];

/// The beginnings of pictures in base64: PNG, JPEG, WebP, GIF.
const BASE64: [&str; 4] = ["ivborw0kggo", "/9j/", "uklgr", "r0lgod"];
/// Shorter ones, which only count if all of the text is base64: BMP, TIFF, AVIF and HEIC, SVG and XML.
const SHORT_BASE64: [&str; 6] = ["qk", "suk", "tu0a", "aaaa", "phn2", "pd94"];
/// The fewest letters of such a text.
const LEAST_BASE64: usize = 16;
/// How addresses begin.
const SCHEMES: [&str; 6] = ["http://", "https://", "ftp://", "file://", "s3://", "gs://"];
/// How the names of pictures end.
const ENDINGS: [&str; 9] = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"];

/// The elements that HTML pages begin with, if they do not say what they are.
const PAGES: [&str; 33] = [
    "html", "head", "body", "title", "meta", "script", "link", "div", "center", "br", "hr", "p", "b", "i", "a", "h1",
    "h2", "h3", "h4", "pre", "span", "table", "font", "style", "base", "form", "img", "iframe", "noscript", "main",
    "section", "strong", "ul",
];

pub(super) fn name(bytes: &[u8]) -> Option<&'static str> {
    if let Some(name) = netpbm(bytes) {
        return Some(name);
    }
    let text = start(bytes);
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    match text {
        _ if text.starts_with('<') => markup(text),
        _ if is_base64(text) => Some("a picture in base64, as text"),
        _ if text.starts_with("%pdf-") => Some("a PDF file"),
        _ if text.starts_with("%!ps") => Some("a PostScript file"),
        _ if text.starts_with("/* xpm */") => Some("an XPM file"),
        _ if text.starts_with("#define ") && text.contains("_width ") => Some("an XBM file"),
        _ => pointer(text).or_else(|| is_json(text).then_some("a JSON file")),
    }
}

/// Names what stands for a file that is elsewhere.
fn pointer(text: &str) -> Option<&'static str> {
    let (line, rest) = text.trim_end().split_once(['\r', '\n']).unwrap_or((text.trim_end(), ""));
    let is_alone = rest.trim().is_empty();
    match line {
        _ if LFS.iter().any(|start| line.starts_with(start)) => {
            Some("a Git LFS pointer, which only stands for the file")
        }
        _ if line.starts_with("/annex/objects/") || line.contains(".git/annex/objects/") => {
            Some("a git-annex pointer, which only stands for the file")
        }
        _ if line.starts_with("# xet version") => Some("a Xet pointer, which only stands for the file"),
        _ if is_dvc(text) => Some("a DVC pointer, which only stands for the file"),
        _ if line.starts_with('[') && text.contains("[internetshortcut]") => {
            Some("an Internet shortcut, which only stands for the file")
        }
        "[desktop entry]" => Some("a desktop entry, which only stands for the file"),
        _ if is_alone
            && SCHEMES.iter().any(|scheme| line.starts_with(scheme))
            && !line.contains(char::is_whitespace) =>
        {
            Some("the address of a file, as text")
        }
        _ if is_alone && ENDINGS.iter().any(|ending| line.ends_with(ending)) => Some("the path of a file, as text"),
        _ => None,
    }
}

/// Whether a text has the keys of a file of DVC, of which only the first ones are sure to be seen.
fn is_dvc(text: &str) -> bool {
    let has_key = |key: &str| text.lines().any(|line| line.trim_start_matches(['-', ' ']).starts_with(key));
    let is_first =
        ["outs:", "md5:", "deps:", "wdir:", "frozen:", "desc:", "meta:"].iter().any(|key| text.starts_with(key));
    is_first && has_key("outs:") && has_key("path:") && (has_key("md5:") || has_key("hash:"))
}

/// Whether a text is a picture in base64, perhaps with the beginning of a `data:` URL, or in quotes.
fn is_base64(text: &str) -> bool {
    let text = text.trim_start_matches(['"', '\'']);
    if text.starts_with("data:") || BASE64.iter().any(|start| text.starts_with(start)) {
        return true;
    }
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "+/-_=\r\n".contains(letter);
    SHORT_BASE64.iter().any(|start| text.starts_with(start))
        && text.len() >= LEAST_BASE64
        && text.chars().all(is_letter)
}

/// Whether a file is text in UTF-8, UTF-16 or another extension of ASCII.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let text = start(bytes);
    let is_control = |sign: char| sign.is_control() && !matches!(sign, '\t' | '\n' | '\r' | '\x0c' | '\x1b');
    let unknown = text.chars().filter(|sign| *sign == char::REPLACEMENT_CHARACTER).count();
    !text.trim().is_empty() && !text.contains(is_control) && unknown * 8 < text.chars().count()
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
    if text.starts_with("<?php") {
        return Some("a PHP file");
    }
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
