//! Paths of local pictures as texts. A request is JSON, which holds no path that is not UTF-8; such a path is written as
//! `file:caf%E9.png`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

/// The scheme of URLs of files.
const SCHEME: &str = "file:";

/// Returns what follows the scheme of a URL of a file, which may have capital letters.
fn after_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

/// Writes a path as a text. One that begins with `file:` itself is written as a URL too, so that it is not taken for one.
pub fn to_text(path: &OsStr) -> String {
    match path.to_str() {
        Some(text) if after_scheme(text).is_none() => text.to_owned(),
        _ => escaped(path),
    }
}

/// Writes an argument as a text: a path, or a text already, such as a URL.
pub fn argument_to_text(argument: &OsStr) -> String {
    argument.to_str().map_or_else(|| escaped(argument), str::to_owned)
}

/// Returns the file that a text names: a path, or a URL such as `file:///tmp/a%20photo.png`, which may name this machine as
/// `localhost`. A percent sign stands for itself if
/// there is such a file.
pub fn from_text(text: &str) -> PathBuf {
    let Some(rest) = after_scheme(text) else { return text.into() };
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let local = path.strip_prefix("localhost").filter(|path| rest.starts_with("//") && path.starts_with('/'));
    let path = local.unwrap_or(path);
    if Path::new(path).exists() { path.into() } else { unescaped(path) }
}

#[cfg(unix)]
fn escaped(path: &OsStr) -> String {
    use std::os::unix::ffi::OsStrExt;

    use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

    const SPECIAL: &AsciiSet = &CONTROLS.add(b'%');
    let scheme = if path.as_bytes().starts_with(b"/") { "file://" } else { "file:" };
    format!("{scheme}{}", percent_encode(path.as_bytes(), SPECIAL))
}

#[cfg(unix)]
fn unescaped(path: &str) -> PathBuf {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    OsString::from_vec(percent_decode_str(path).collect()).into()
}

#[cfg(not(unix))]
fn escaped(path: &OsStr) -> String {
    let text = path.to_string_lossy();
    if after_scheme(&text).is_some() { format!("file:{}", text.replace('%', "%25")) } else { text.into_owned() }
}

#[cfg(not(unix))]
fn unescaped(path: &str) -> PathBuf {
    percent_decode_str(path).decode_utf8_lossy().into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_survives_as_a_text() {
        use std::os::unix::ffi::OsStrExt;
        for (path, text) in [
            (&b"caf\xe9.png"[..], "file:caf%E9.png"),
            (b"/tmp/\xff/100%.png", "file:///tmp/%FF/100%25.png"),
            (b"photo 100%.png", "photo 100%.png"),
            ("caf\u{e9}.png".as_bytes(), "caf\u{e9}.png"),
            (b"file:a 100%.png", "file:file:a 100%25.png"),
            (b"file:///a.png", "file:file:///a.png"),
            (b"FILE:a.png", "file:FILE:a.png"),
        ] {
            let path = OsStr::from_bytes(path);
            assert_eq!(to_text(path), text);
            assert_eq!(from_text(text), Path::new(path), "{text}");
        }
    }

    #[test]
    fn a_file_url_that_was_given_stays_one() {
        assert_eq!(argument_to_text(OsStr::new("file:///a%20b.png")), "file:///a%20b.png");
    }

    #[test]
    fn a_file_url_is_decoded_unless_the_file_has_that_name() {
        assert_eq!(from_text("file:///nowhere/a%20b.png"), Path::new("/nowhere/a b.png"));
        assert_eq!(from_text("FILE:///nowhere/a%20b.png"), Path::new("/nowhere/a b.png"));
        assert_eq!(from_text("File:nowhere.png"), Path::new("nowhere.png"));
        assert_eq!(from_text("file:nowhere.png"), Path::new("nowhere.png"));
        assert_eq!(from_text("filé:nowhere.png"), Path::new("filé:nowhere.png"));
        assert_eq!(from_text("file:/nowhere/a.png"), Path::new("/nowhere/a.png"));
        assert_eq!(from_text("file://localhost/nowhere/a.png"), Path::new("/nowhere/a.png"));
        assert_eq!(from_text("file:localhost/a.png"), Path::new("localhost/a.png"));
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("a%20b.png");
        std::fs::write(&there, "").unwrap();
        assert_eq!(from_text(&format!("file://{}", there.display())), there);
    }
}
