//! Saving what a job made: whole or not at all, and over nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use imgopen_service::engines::{PictureLimits, picture};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::Job;
use crate::failure::Failure;

/// The longest pause between two pieces of a file.
const PAUSE: Duration = Duration::from_secs(60);

/// The most of a name that an id makes up.
const LONGEST_ID: usize = 100;

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
        let is_folder =
            output.is_dir() || text.ends_with(['/', std::path::MAIN_SEPARATOR]) || output.extension().is_none();
        if !is_folder && output.exists() {
            let message = format!(
                "--output {text}: it is there already, and nothing is overwritten; give another name or a folder"
            );
            return Err(Failure::usage(message).into());
        }
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
    fn names(&self, job: &Job, number: Option<usize>, ending: &str) -> Box<dyn Iterator<Item = PathBuf>> {
        let number = number.map_or(String::new(), |number| format!("-{number}"));
        match self {
            Target::Folder(folder) => {
                let id: String =
                    job.platform_id.as_ref().unwrap_or(&job.id).chars().map(plain).take(LONGEST_ID).collect();
                let (folder, stem) = (folder.clone(), format!("{}-{id}{number}", job.operation.id));
                let ending = ending.to_owned();
                Box::new((1..=1000).map(move |copy| match copy {
                    1 => folder.join(format!("{stem}.{ending}")),
                    copy => folder.join(format!("{stem}.{copy}.{ending}")),
                }))
            }
            Target::File(file) if number.is_empty() => Box::new(std::iter::once(file.clone())),
            Target::File(file) => {
                let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
                let name = format!("{}{number}.{}", part(file.file_stem()), part(file.extension()));
                Box::new(std::iter::once(file.with_file_name(name)))
            }
        }
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

/// Fetches results and saves them.
///
/// # Errors
///
/// Names the result that could not be fetched or written.
pub async fn save(job: &Job, urls: &[String], target: &Target) -> anyhow::Result<Vec<Saved>> {
    // The results lie where the server says, possibly at another host, which must not see the access key.
    let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).read_timeout(PAUSE).build()?;
    let mut saved = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        let number = (urls.len() > 1).then_some(index + 1);
        let one = save_one(&http, job, url, target, number).await;
        saved.push(one.with_context(|| format!("the result {url} was not saved"))?);
    }
    Ok(saved)
}

async fn save_one(
    http: &reqwest::Client,
    job: &Job,
    url: &str,
    target: &Target,
    number: Option<usize>,
) -> anyhow::Result<Saved> {
    let mut response = http.get(url).send().await.and_then(reqwest::Response::error_for_status)?;
    let folder = target.folder();
    let cannot = || format!("the folder {} cannot be written into", folder.display());
    let mut file = NamedTempFile::with_prefix_in(".imgopen-", folder).with_context(cannot)?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await? {
        file.write_all(&chunk).with_context(cannot)?;
        bytes += chunk.len() as u64;
    }
    ensure!(bytes > 0, "it is empty");
    let picture = look(file.path())?;
    let ending = picture.as_ref().map_or_else(|| ending_of(url), |(.., ending)| (*ending).to_owned());
    let picture = picture.map(|(width, height, format, _)| (width, height, format));
    readable(&file)?;
    let path = keep(file, target.names(job, number, &ending))?;
    Ok(Saved { path, url: url.to_owned(), bytes, picture })
}

/// What a file is, if it is a picture.
fn look(path: &Path) -> anyhow::Result<Option<(u32, u32, String, &'static str)>> {
    let limits = PictureLimits { bytes: u64::MAX, pixels: u64::MAX, frames: u32::MAX };
    let header = picture::inspect(&std::fs::read(path)?, &limits).ok();
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

/// Temporary files are for their owner only; results are files as any other.
#[cfg(unix)]
fn readable(file: &NamedTempFile) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?)
}

#[cfg(not(unix))]
fn readable(_: &NamedTempFile) -> anyhow::Result<()> {
    Ok(())
}

/// The ending that an address has, for what is no picture.
fn ending_of(url: &str) -> String {
    let parsed = reqwest::Url::parse(url).ok();
    let path = parsed.as_ref().map_or("", |url| url.path());
    let ending = Path::new(path).extension().map(|ending| ending.to_string_lossy().into_owned());
    ending
        .filter(|ending| ending.len() <= 12 && ending.chars().all(|c| c.is_ascii_alphanumeric()))
        .unwrap_or_else(|| "bin".to_owned())
}
