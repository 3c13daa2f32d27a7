//! Pictures of this machine in a request: found, looked at, and served to the server for as long as it needs them.
//!
//! Each is served at a path that nobody guesses, read-only, and nothing else is. The server must be able to reach this
//! machine, which `reach` finds out before anything is sent.

mod reach;
mod server;

use std::path::{Path, PathBuf};

use anyhow::Context;
use imgopen_engine::{Format, PictureLimits};
use imgopen_picture as picture;
use imgopen_types::Operation;
use imgopen_types::schema::{Object, Shape};
use serde_json::Value;

use crate::failure::Failure;
use crate::flags;

pub use reach::{Place, place};
pub use server::{FileServer, only};

/// A picture of this machine that a request names.
#[derive(Debug, Clone)]
pub struct LocalFile {
    /// Where it lies in the request, as a JSON pointer.
    pub pointer: String,
    /// The file.
    pub path: PathBuf,
    /// The address that stands for it until it is served.
    pub stand_in: String,
    /// What it is.
    pub format: Format,
}

/// The local pictures of a request, and what is wrong with those that cannot be used: the field and the problem.
pub fn find(operation: &Operation, request: &Value) -> (Vec<LocalFile>, Vec<(String, String)>) {
    let mut named = Vec::new();
    collect(operation.request, request, "", "", &mut named);
    let callback = operation.callback.as_ref().map(|callback| callback.field);
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for (field, pointer, text) in named.into_iter().filter(|(field, ..)| Some(field.as_str()) != callback) {
        if is_address(&text) {
            continue;
        }
        match look(&text) {
            Ok((path, format)) => {
                let stand_in = format!("http://{}.local.invalid", files.len());
                files.push(LocalFile { pointer, path, stand_in, format });
            }
            Err(problem) => faults.push((field, problem)),
        }
    }
    (files, faults)
}

/// Puts the addresses under which the files are served in the places of those that stood for them.
pub fn put_urls(value: &mut Value, files: &[LocalFile], urls: &[String]) {
    match value {
        Value::String(text) => {
            let found = files.iter().position(|file| file.stand_in == *text);
            if let Some(url) = found.and_then(|index| urls.get(index)) {
                *text = url.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put_urls(item, files, urls)),
        Value::Object(members) => members.values_mut().for_each(|value| put_urls(value, files, urls)),
        _ => {}
    }
}

/// Whether the text is an address of the web, not a file.
fn is_address(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    begins("http://") || begins("https://")
}

/// Every text that stands where a URL belongs: its field, its pointer, and itself.
fn collect(
    schema: &'static Object,
    value: &Value,
    field: &str,
    pointer: &str,
    found: &mut Vec<(String, String, String)>,
) {
    for member in schema.fields {
        let names = std::iter::once(member.name).chain(member.aliases.iter().copied());
        for name in names {
            let Some(value) = value.get(name) else { continue };
            let field = if field.is_empty() { member.name.to_owned() } else { format!("{field}.{}", member.name) };
            collect_value(&member.shape, value, &field, &format!("{pointer}/{name}"), found);
        }
    }
}

fn collect_value(shape: &Shape, value: &Value, field: &str, pointer: &str, found: &mut Vec<(String, String, String)>) {
    match (shape, value) {
        (Shape::Object(schema), value) => collect(schema, value, field, pointer, found),
        (Shape::List(list), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                collect_value(&list.item, item, &format!("{field}[{index}]"), &format!("{pointer}/{index}"), found);
            }
        }
        // One text where a list belongs is read as a list of it.
        (Shape::List(list), value @ Value::String(_)) => collect_value(&list.item, value, field, pointer, found),
        (shape, Value::String(text)) if flags::is_url(shape) => {
            found.push((field.to_owned(), pointer.to_owned(), text.clone()));
        }
        _ => {}
    }
}

/// Looks whether a text names a picture.
fn look(text: &str) -> Result<(PathBuf, Format), String> {
    let plain = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    let path = Path::new(plain);
    let Ok(facts) = std::fs::metadata(path) else {
        let other = "nor a URL that begins with http:// or https://";
        return Err(format!("{text:?} is neither a file that is there {other}; check the path"));
    };
    if !facts.is_file() {
        return Err(format!("{} is no file; give the path of a picture", path.display()));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    // The server's own limits are its own affair.
    let limits = PictureLimits { bytes: u64::MAX, pixels: u64::MAX, frames: u32::MAX };
    let header = picture::inspect(&bytes, &limits).map_err(|problem| format!("{} {problem}", path.display()))?;
    Ok((path.to_owned(), header.format))
}

/// The pictures of a folder, in the order of their names.
///
/// # Errors
///
/// When the folder cannot be read or holds no picture.
pub fn pictures_of(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("the folder {} cannot be read", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let is_picture = |path: &PathBuf| {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        path.is_file() && ending.is_some_and(|ending| ["png", "jpg", "jpeg", "webp"].contains(&ending.as_str()))
    };
    let mut pictures: Vec<_> = paths.into_iter().filter(is_picture).map(|path| path.display().to_string()).collect();
    if pictures.is_empty() {
        return Err(Failure::usage(format!("the folder {} holds no PNG, JPEG or WebP file", folder.display())).into());
    }
    pictures.sort();
    Ok(pictures)
}
