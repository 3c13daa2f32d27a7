//! Captions in text files beside training pictures, where the trainer's own tools keep them.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::endings;

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

/// Files in which other trainers keep the captions of a whole folder.
const LISTS: [&str; 3] = ["metadata.jsonl", "metadata.json", "metadata.csv"];

/// Returns notes on what lies beside training pictures, looks like theirs, and is not used: text files of no picture, lists of
/// captions, and pictures in subfolders.
pub fn unused(pictures: &[PathBuf]) -> Vec<String> {
    let folders: BTreeSet<&Path> = pictures.iter().filter_map(|picture| picture.parent()).collect();
    folders.into_iter().flat_map(|folder| unused_in(folder, pictures)).collect()
}

fn unused_in(folder: &Path, pictures: &[PathBuf]) -> Vec<String> {
    let used: HashSet<OsString> = pictures
        .iter()
        .filter(|picture| picture.parent() == Some(folder))
        .flat_map(|picture| EXTENSIONS.map(|extension| picture.with_extension(extension)))
        .filter_map(|file| file.file_name().map(OsStr::to_owned))
        .collect();
    let names = names_in(folder);
    let is_caption = |name: &&OsString| {
        let extension = Path::new(name).extension();
        extension.is_some_and(|ending| EXTENSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
    };
    let mut notes = Vec::new();
    let strays: Vec<_> = names.iter().filter(is_caption).filter(|name| !used.contains(*name)).collect();
    if let [first, others @ ..] = strays.as_slice() {
        let first = folder.join(first);
        let belong = match others.len() {
            0 => " belongs".to_owned(),
            1 => " and 1 more text file belong".to_owned(),
            count => format!(" and {count} more text files belong"),
        };
        notes.push(format!("{}{belong} to no picture; the caption of `a.png` is `a.txt`", first.display()));
    }
    if let Some(list) = names.iter().find(|name| LISTS.iter().any(|list| name.eq_ignore_ascii_case(list))) {
        let list = folder.join(list);
        notes.push(format!("{} is not read; put each caption into a text file beside its picture", list.display()));
    }
    let has_pictures =
        |name: &&OsString| names_in(&folder.join(name)).iter().any(|name| endings::is_picture(Path::new(name)));
    if let Some(inner) = names.iter().find(has_pictures) {
        let inner = folder.join(inner);
        notes.push(format!("the pictures in the folder {} are not used; give that folder", inner.display()));
    }
    notes
}

/// Returns the sorted names in a folder; nothing for a file.
fn names_in(folder: &Path) -> Vec<OsString> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_caption_and_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        let pictures = ["a.png", "b.b.jpg"].map(|name| folder.join(name));
        let put = |name: &str| std::fs::write(folder.join(name), "x").unwrap();
        let notes = || {
            let place = format!("{}/", folder.display());
            unused(&pictures).iter().map(|note| note.replace(&place, "")).collect::<Vec<_>>()
        };
        for name in ["a.png", "b.b.jpg", "a.txt", "a.caption", "b.b.TXT", "c.json"] {
            put(name);
        }
        assert!(notes().is_empty(), "{:?}", notes());
        put("a.png.txt");
        assert_eq!(notes(), ["a.png.txt belongs to no picture; the caption of `a.png` is `a.txt`"]);
        for name in ["b.txt", "z.Caption", "metadata.jsonl"] {
            put(name);
        }
        std::fs::create_dir(folder.join("10_cat")).unwrap();
        put("10_cat/notes.md");
        let found = notes();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "a.png.txt and 2 more text files belong to no picture; the caption of `a.png` is `a.txt`");
        assert_eq!(found[1], "metadata.jsonl is not read; put each caption into a text file beside its picture");
        put("10_cat/1.PNG");
        assert_eq!(notes()[2], "the pictures in the folder 10_cat are not used; give that folder");
    }

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
