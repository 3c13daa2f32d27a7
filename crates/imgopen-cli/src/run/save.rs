//! Saving what a job made: whole or not at all, and over nothing.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use imgopen_engine::PictureLimits;
use imgopen_picture as picture;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::Job;
use crate::failure::Failure;
use crate::remote;

/// The longest pause between two pieces of a file.
const PAUSE: Duration = Duration::from_secs(60);

/// The most bytes of a result: more than the largest network that is trained has.
const LARGEST: u64 = 4 << 30;

/// The most bytes of a picture, which is read whole to be told of.
const LARGEST_PICTURE: u64 = 256 << 20;

/// The bytes at the beginning of a file that tell whether it is a picture.
const BEGINNING: u64 = 64 << 10;

/// How often a result is asked for.
const TRIES: u32 = 3;

/// The pause before the second try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The most of a name that an id makes up.
const LONGEST_ID: usize = 100;

/// How many names are tried for a result.
const NAMES: usize = 1000;

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into a folder, under names that are free.
    Folder(PathBuf),
    /// Under this name; further ones get numbers.
    File(PathBuf),
}

/// A result that was saved.
#[derive(Debug)]
pub struct Saved {
    /// Where.
    pub path: PathBuf,
    /// From where.
    pub url: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it is, if it is a picture: width, height, format.
    pub picture: Option<(u32, u32, String)>,
}

impl Target {
    /// What `--output` means: a folder, if it is one or looks like one, else a file. It is found out before anything is
    /// sent whether something can be written there.
    ///
    /// # Errors
    ///
    /// When the file is there already, or the folder cannot be made.
    pub fn new(output: Option<&Path>) -> anyhow::Result<Self> {
        let Some(output) = output else { return Ok(Target::Folder(PathBuf::from("."))) };
        let text = output.to_string_lossy();
        let is_folder = text.ends_with(['/', std::path::MAIN_SEPARATOR]) || output.extension().is_none();
        if output.exists() && !output.is_dir() {
            let message = format!(
                "--output {text}: it is there already, and nothing is overwritten; give another name or a folder"
            );
            return Err(Failure::usage(message).into());
        }
        let is_folder = is_folder || output.is_dir();
        let folder = if is_folder { output } else { parent(output) };
        let cannot = || format!("--output {text}: the folder {} cannot be made", folder.display());
        std::fs::create_dir_all(folder).with_context(cannot)?;
        Ok(if is_folder { Target::Folder(output.to_owned()) } else { Target::File(output.to_owned()) })
    }

    fn folder(&self) -> &Path {
        match self {
            Target::Folder(folder) => folder,
            Target::File(file) => parent(file),
        }
    }

    /// The names to try for a result, the best first. `number` counts the results from 1, of several.
    fn names(&self, job: &Job, number: Option<usize>, ending: &str) -> impl Iterator<Item = PathBuf> {
        let number = number.map_or(String::new(), |number| format!("-{number}"));
        let (first, stem, ending) = match self {
            Target::Folder(folder) => {
                let id = job.platform_id.as_ref().unwrap_or(&job.id).chars().map(plain).take(LONGEST_ID);
                let stem = format!("{}-{}{number}", job.operation.id, id.collect::<String>());
                (folder.join(format!("{stem}.{ending}")), stem, ending.to_owned())
            }
            Target::File(file) => {
                let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
                let (stem, ending) = (format!("{}{number}", text(file.file_stem())), text(file.extension()));
                (file.with_file_name(format!("{stem}.{ending}")), stem, ending)
            }
        };
        let others = first.clone();
        let others = (2..=NAMES).map(move |copy| others.with_file_name(format!("{stem}.{copy}.{ending}")));
        std::iter::once(first).chain(others)
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn plain(c: char) -> char {
    if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }
}

impl Saved {
    /// The result as JSON.
    pub fn told(&self) -> Value {
        let (width, height, format) = self.picture.clone().map_or((None, None, None), |(width, height, format)| {
            (Some(width), Some(height), Some(format.to_lowercase()))
        });
        json!({
            "path": self.path.display().to_string(), "url": self.url, "bytes": self.bytes,
            "width": width, "height": height, "format": format,
        })
    }

    /// The result for people.
    pub fn shown(&self) -> String {
        let path = self.path.strip_prefix(".").unwrap_or(&self.path).display();
        match &self.picture {
            Some((width, height, format)) => format!("{path}  {width}x{height} {format}, {}", size(self.bytes)),
            None => format!("{path}  {}", size(self.bytes)),
        }
    }
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Fetches one of the results of a job and saves it, trying again after a failure that may pass. `number` counts the
/// results from 1, of several.
///
/// # Errors
///
/// Names the result that could not be fetched or written.
pub async fn save(job: &Job, url: &str, target: &Target, number: Option<usize>) -> anyhow::Result<Saved> {
    // The results lie where the server says, possibly at another host, which must not see the access key.
    let http = remote::http(url).connect_timeout(Duration::from_secs(10)).read_timeout(PAUSE).build()?;
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match save_once(&http, job, url, target, number).await {
            Err(error) if may_pass(&error) => tokio::time::sleep(pause).await,
            done => return done.with_context(|| unsaved(url)),
        }
        pause *= 2;
    }
    save_once(&http, job, url, target, number).await.with_context(|| unsaved(url))
}

fn unsaved(url: &str) -> String {
    format!("the result {url} was not saved")
}

/// Whether another try may succeed: not all arrived, or the server was not able to answer.
fn may_pass(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<reqwest::Error>() else { return false };
    match error.status() {
        Some(status) => status.is_server_error() || [408, 429].contains(&status.as_u16()),
        None => !error.is_builder() && !error.is_redirect(),
    }
}

async fn save_once(
    http: &reqwest::Client,
    job: &Job,
    url: &str,
    target: &Target,
    number: Option<usize>,
) -> anyhow::Result<Saved> {
    let mut response = http.get(url).send().await.and_then(reqwest::Response::error_for_status)?;
    let fits = |bytes: u64| {
        ensure!(bytes <= LARGEST, "it has {bytes} bytes or more; at most {LARGEST} are taken");
        Ok(())
    };
    fits(response.content_length().unwrap_or_default())?;
    let folder = target.folder();
    let cannot = || format!("the folder {} cannot be written into", folder.display());
    let mut file = temporary(folder).with_context(cannot)?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await? {
        bytes += chunk.len() as u64;
        fits(bytes)?;
        file.write_all(&chunk).with_context(cannot)?;
    }
    ensure!(bytes > 0, "it is empty");
    let picture = look(file.path(), bytes)?;
    let ending = picture.as_ref().map_or_else(|| ending_of(url), |(.., ending)| *ending);
    let picture = picture.map(|(width, height, format, _)| (width, height, format));
    let path = keep(file, target.names(job, number, ending))?;
    Ok(Saved { path, url: url.to_owned(), bytes, picture })
}

/// A file without a name that matters yet, with the rights of any other.
fn temporary(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".imgopen-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less what the user's mask takes away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// What a file is, if it is a picture.
fn look(path: &Path, bytes: u64) -> anyhow::Result<Option<(u32, u32, String, &'static str)>> {
    let limits = PictureLimits { bytes: LARGEST_PICTURE, pixels: u64::MAX, frames: u32::MAX };
    let mut file = std::fs::File::open(path)?;
    let mut read = Vec::new();
    (&mut file).take(BEGINNING).read_to_end(&mut read)?;
    if let Err(picture::Problem::NoPicture | picture::Problem::WrongKind(_)) = picture::inspect(&read, &limits) {
        return Ok(None);
    }
    if bytes > LARGEST_PICTURE {
        return Ok(None);
    }
    file.read_to_end(&mut read)?;
    let header = picture::inspect(&read, &limits).ok();
    Ok(header.map(|header| (header.width, header.height, header.format.to_string(), header.format.extension())))
}

/// Gives the file its name, if that is free.
fn keep(mut file: NamedTempFile, names: impl Iterator<Item = PathBuf>) -> anyhow::Result<PathBuf> {
    let mut last = None;
    for name in names {
        match file.persist_noclobber(&name) {
            Ok(_) => return Ok(name),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                file = error.file;
                last = Some(name);
            }
            Err(error) => return Err(error.error).with_context(|| format!("{} cannot be written", name.display())),
        }
    }
    let name = last.unwrap_or_default();
    anyhow::bail!("{} is there already, and nothing is overwritten; give another name with --output", name.display())
}

/// The ending of what is no picture: the one of a trained network, where the address has it. Any other could be one that
/// makes a program of the file.
fn ending_of(url: &str) -> &'static str {
    let parsed = reqwest::Url::parse(url).ok();
    let path = parsed.as_ref().map_or("", |url| url.path());
    if path.to_ascii_lowercase().ends_with(".safetensors") { "safetensors" } else { "bin" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_gets_a_harmless_ending() {
        for (url, ending) in [
            ("http://a/lora.safetensors", "safetensors"),
            ("http://a/LORA.SAFETENSORS?signature=1", "safetensors"),
            ("http://a/lora.sh", "bin"),
            ("http://a/?name=lora.safetensors", "bin"),
            ("http://a/", "bin"),
        ] {
            assert_eq!(ending_of(url), ending, "{url}");
        }
    }

    /// What ends before the beginning does, and what goes on behind it.
    #[test]
    fn a_picture_is_known_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let kind = |content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            look(&file, content.len() as u64).unwrap().map(|(width, height, format, _)| (width, height, format))
        };
        for side in [8, 400] {
            let noise =
                image::RgbImage::from_fn(side, side, |_, _| image::Rgb(std::array::from_fn(|_| fastrand::u8(..))));
            noise.save_with_format(&file, image::ImageFormat::Png).unwrap();
            let content = std::fs::read(&file).unwrap();
            assert_eq!(content.len() as u64 > BEGINNING, side == 400);
            assert_eq!(kind(&content), Some((side, side, "PNG".to_owned())));
            assert_eq!(kind(&content[..content.len() / 2]), None);
        }
        assert_eq!(kind(b"#!/bin/sh\n"), None);
        assert_eq!(kind(&[0; 100_000]), None);
    }
}
