//! Finds the local pictures that a request names.

use std::path::{Path, PathBuf};

use anyhow::Context;
use imgopen_engine::PictureLimits;
use imgopen_picture::{self as picture, FileFormat};
use imgopen_types::schema::{Field, Object, Shape};
use imgopen_types::{Operation, embedded, operations};
use serde_json::Value;

use super::{captions, endings};
use crate::failure::Failure;
use crate::request::paths;

/// How many characters of a text are shown that names no file.
const LONGEST_SHOWN: usize = 200;

/// A local picture that a request names.
#[derive(Debug, Clone)]
pub struct LocalFile {
    /// Its place in the request, as a JSON pointer.
    pub pointer: String,
    /// The file's path.
    pub path: PathBuf,
    /// The URL that takes its place until it is served.
    pub stand_in: String,
    /// The file's format.
    pub format: FileFormat,
    /// The caption beside a training picture.
    pub caption: Option<String>,
}

/// The paths of local pictures, by the URLs at which they are served.
#[derive(Debug, Clone, Default)]
pub struct LocalNames(pub Vec<(String, String)>);

impl LocalNames {
    /// Puts the paths in the place of URLs that only this command knows. A message about the address itself keeps it.
    pub fn put_into(&self, message: &str) -> String {
        if message.contains("--allow-network") {
            return message.to_owned();
        }
        self.0.iter().fold(message.to_owned(), |message, (url, path)| message.replace(url, path))
    }
}

/// Returns the local pictures of a request, and a field and problem for each that cannot be used.
pub fn find(operation: &Operation, request: &Value) -> (Vec<LocalFile>, Vec<(String, String)>) {
    let mut named = Vec::new();
    collect(operation.request, request, "", "", &mut named);
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for (field, pointer, text) in named {
        if is_web_url(&text) {
            continue;
        }
        match usable(operation, &text) {
            Ok((path, format, caption)) => {
                let stand_in = format!("http://{}.local.invalid", files.len());
                files.push(LocalFile { pointer, path, stand_in, format, caption });
            }
            Err(problem) => faults.push((field, problem)),
        }
    }
    (files, faults)
}

/// Puts a valid URL in the place of each file, so that the request can be checked before the files are served.
pub fn put_stand_ins(request: &mut Value, files: &[LocalFile]) {
    for file in files {
        if let Some(place) = request.pointer_mut(&file.pointer) {
            *place = Value::from(file.stand_in.as_str());
        }
    }
}

/// Replaces the stand-ins by the URLs at which the files are served.
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

fn is_web_url(text: &str) -> bool {
    let text = text.trim_start();
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    begins("http://") || begins("https://")
}

/// Collects every text that names a picture: the field, the JSON pointer, and the text.
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
            collect_value(member, &member.shape, value, (&field, &format!("{pointer}/{name}")), found);
        }
    }
}

fn collect_value(
    member: &'static Field,
    shape: &Shape,
    value: &Value,
    (field, pointer): (&str, &str),
    found: &mut Vec<(String, String, String)>,
) {
    match (shape, value) {
        (Shape::Object(schema), value) => collect(schema, value, field, pointer, found),
        (Shape::List(list), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let place = (&*format!("{field}[{index}]"), &*format!("{pointer}/{index}"));
                collect_value(member, &list.item, item, place, found);
            }
        }
        // The contract accepts a single text as a list of one.
        (_, Value::String(text)) if member.picture => {
            found.push((field.to_owned(), pointer.to_owned(), text.clone()));
        }
        _ => {}
    }
}

/// Returns the path of a picture, its format and its caption, or what is wrong with it.
fn usable(operation: &Operation, text: &str) -> Result<(PathBuf, FileFormat, Option<String>), String> {
    let (path, format) = inspect(text)?;
    let caption = if *operation == operations::SUBMIT_TRAINING { captions::beside(&path)? } else { None };
    Ok((path, format, caption))
}

/// Checks that a text is the path of a picture, and returns its format.
fn inspect(text: &str) -> Result<(PathBuf, FileFormat), String> {
    let path = paths::from_text(text);
    let Ok(facts) = std::fs::metadata(&path) else { return Err(missing(text)) };
    if !facts.is_file() {
        return Err(format!("{} is not a file; give the path of a picture", path.display()));
    }
    let bytes = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    // The server applies its own limits.
    let limits = PictureLimits { bytes: u64::MAX, pixels: u64::MAX, frames: u32::MAX, location: true };
    let header = picture::inspect(&bytes, &limits).map_err(|problem| format!("{} {problem}", path.display()))?;
    Ok((path, header.format))
}

/// Says what is wrong with a text that is neither a URL nor the path of a file.
fn missing(text: &str) -> String {
    if let Some(kind) = embedded(text) {
        return format!(
            "{kind} given, which is not taken; save the picture to a file and give its path, or give a URL"
        );
    }
    let shown = match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    };
    format!("{shown} is neither an existing file nor a URL that begins with http:// or https://; check the path")
}

/// Returns the pictures in a directory as texts, sorted by name.
///
/// # Errors
///
/// If the directory cannot be read or holds no picture.
pub fn pictures_of(directory: &Path) -> anyhow::Result<Vec<String>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot read the directory {}", directory.display()))?;
    let entries = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    // macOS puts files of such names beside others, on file systems of other systems.
    let is_beside = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("._"));
    let is_picture = |path: &PathBuf| path.is_file() && endings::is_picture(path) && !is_beside(path);
    let mut pictures: Vec<_> = entries.into_iter().filter(is_picture).collect();
    if pictures.is_empty() {
        return Err(Failure::usage(format!(
            "the directory {} holds no PNG, JPEG, WebP, GIF, BMP or TIFF file",
            directory.display()
        ))
        .into());
    }
    pictures.sort();
    Ok(pictures.iter().map(|path| paths::to_text(path.as_os_str())).collect())
}
