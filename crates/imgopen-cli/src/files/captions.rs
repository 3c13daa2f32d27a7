//! Captions in text files beside training pictures, where the trainer's own tools keep them.

use std::io::ErrorKind;
use std::path::Path;

/// The extensions of the text files, in the order in which they are looked for.
const EXTENSIONS: [&str; 4] = ["txt", "TXT", "caption", "CAPTION"];

/// The most characters of a caption that a self-hosted service keeps.
const LONGEST: usize = 2000;

/// Returns the caption of a picture: the first line with words, as for the trainer, of the text file of the same name.
///
/// # Errors
///
/// Names the text file that cannot be read, is not UTF-8, or is too long.
pub fn beside(picture: &Path) -> Result<Option<String>, String> {
    for extension in EXTENSIONS {
        let file = picture.with_extension(extension);
        let shown = file.display();
        let bytes = match std::fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.map_err(|error| format!("cannot read the caption {shown}: {error}"))?,
        };
        let text =
            String::from_utf8(bytes).map_err(|_| format!("the caption {shown} is not UTF-8; save it as UTF-8"))?;
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let Some(caption) = lines.find(|line| !line.is_empty()) else { continue };
        let length = caption.chars().count();
        if length > LONGEST {
            return Err(format!(
                "the caption {shown} has {length} characters in a line; at most {LONGEST} are allowed"
            ));
        }
        return Ok(Some(caption.to_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The caption of `a.b.png` with these files beside it.
    fn caption(files: &[(&str, &[u8])]) -> Result<Option<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let place = format!("{}/", directory.path().display());
        beside(&directory.path().join("a.b.png")).map_err(|problem| problem.replace(&place, ""))
    }

    #[test]
    fn a_caption_is_the_first_line_of_the_file_of_the_same_name() {
        let found = |files: &[(&str, &[u8])]| caption(files).unwrap();
        assert_eq!(found(&[("a.b.txt", b"a cat\n")]).as_deref(), Some("a cat"));
        assert_eq!(found(&[("a.b.caption", b"  a cat, sleeping \r\nmore")]).as_deref(), Some("a cat, sleeping"));
        assert_eq!(found(&[("a.b.caption", b"two"), ("a.b.txt", b"one")]).as_deref(), Some("one"));
        assert_eq!(found(&[("a.b.txt", b" \n"), ("a.b.caption", b"two")]).as_deref(), Some("two"));
        assert_eq!(found(&[("a.b.txt", "\u{feff}ein Hündchen 犬".as_bytes())]).as_deref(), Some("ein Hündchen 犬"));
        assert_eq!(found(&[("a.txt", b"of another"), ("b.txt", b"of another"), ("a.b.json", b"{}")]), None);
    }

    #[test]
    fn a_caption_that_cannot_be_used_is_named() {
        let problem = |text: &[u8]| caption(&[("a.b.txt", text)]).unwrap_err();
        assert_eq!(problem(b"\xff\xfea\0"), "the caption a.b.txt is not UTF-8; save it as UTF-8");
        let long = "the caption a.b.txt has 2001 characters in a line; at most 2000 are allowed";
        assert_eq!(problem("é".repeat(2001).as_bytes()), long);
    }
}
