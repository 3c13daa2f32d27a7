//! Saves the results of a job: completely or not at all, and never over an existing file.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use imgopen_client::retry_after;
use imgopen_engine::{Format, PictureLimits};
use imgopen_picture::{self as picture, Header};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::handle::Job;
use super::target::Target;
use crate::sizes::size;
use crate::{output, remote};

/// The longest pause within a download.
const PAUSE: Duration = Duration::from_secs(60);

/// The most bytes of a result: more than the largest trained network has.
const LARGEST: u64 = 4 << 30;

/// The most bytes of a picture, which is read completely to be described.
const LARGEST_PICTURE: u64 = 256 << 20;

/// The limits of a picture. What the server left in it stays.
const LIMITS: PictureLimits =
    PictureLimits { bytes: LARGEST_PICTURE, pixels: u64::MAX, frames: u32::MAX, location: true };

/// The most pixels of a picture that is converted, for which it must be decoded in memory. Larger ones stay as they are.
const MOST_PIXELS: u64 = 256_000_000;

/// The bytes at the beginning of a file that show whether it is a picture.
const BEGINNING: u64 = 64 << 10;

/// How often a result is fetched even if there is no time left.
const TRIES: u32 = 3;

/// The pause before the second download; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause, unless the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a result is fetched again, unless the server asks for more time: long enough for a restart.
const TROUBLE: Duration = Duration::from_secs(45);

/// A saved result.
#[derive(Debug)]
pub struct Saved {
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// The URL it was fetched from.
    pub url: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The width, height and format of a picture.
    pub picture: Option<(u32, u32, String)>,
    /// Why it is not in the format that the name in `--output` stands for, if it is not.
    pub unconverted: Option<String>,
}

impl Saved {
    /// Describes the result in JSON.
    pub fn as_json(&self) -> Value {
        let (width, height, format) = self.picture.clone().map_or((None, None, None), |(width, height, format)| {
            (Some(width), Some(height), Some(format.to_lowercase()))
        });
        json!({
            "path": self.path.display().to_string(), "url": self.url, "bytes": self.bytes,
            "width": width, "height": height, "format": format,
        })
    }

    /// Says why the file has another name than `--output` gave: its format could not be the one that the name stands for.
    pub fn note(&self) -> Option<String> {
        let ((_, _, format), why) = (self.picture.as_ref()?, self.unconverted.as_ref()?);
        let path = self.path.display();
        Some(format!("{path} is a {format} picture, as the server made it, and named so; it was not converted: {why}"))
    }

    /// Describes the result in text.
    pub fn as_text(&self) -> String {
        let path = match self.path.as_os_str() == "-" {
            true => Path::new("standard output"),
            false => self.path.strip_prefix(".").unwrap_or(&self.path),
        };
        let path = path.display();
        match &self.picture {
            Some((width, height, format)) => format!("{path}  {width}x{height} {format}, {}", size(self.bytes)),
            None => format!("{path}  {}", size(self.bytes)),
        }
    }
}

/// Fetches one of the results of a job and saves it, fetching again after errors that may pass, within a time; `number` counts
/// several results from 1.
///
/// # Errors
///
/// If the result cannot be fetched or written.
pub async fn save(
    job: &Job,
    url: &str,
    target: &Target,
    number: Option<usize>,
    within: Duration,
) -> anyhow::Result<Saved> {
    let unsaved = || format!("the result {url} was not saved");
    // The server may name another host, which must not see the access key.
    let http = remote::http(url).connect_timeout(Duration::from_secs(10)).read_timeout(PAUSE).build()?;
    let directory = target.directory();
    let (start, mut tried, mut pause) = (Instant::now(), 0, FIRST_PAUSE);
    let (file, bytes) = loop {
        let failed = match fetch(&http, url, &directory).await {
            Ok(fetched) => break fetched,
            Err(failed) => failed,
        };
        tried += 1;
        let wait = failed.wait(pause, tried, start.elapsed(), within);
        let Some(wait) = wait else { return Err(failed.error).with_context(unsaved) };
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    keep_as(job, url, target, number, file, bytes).await.with_context(unsaved)
}

/// Why a result was not fetched.
#[derive(Debug)]
struct Unfetched {
    error: anyhow::Error,
    /// Whether another download may succeed.
    may_pass: bool,
    /// How long the server asks to wait before that.
    asked: Option<Duration>,
}

impl Unfetched {
    /// An answer that may not be the server's own, such as the page of a proxy.
    fn odd(problem: &'static str) -> Self {
        Self { error: anyhow!(problem), may_pass: true, asked: None }
    }

    /// Returns how long to wait before the next download; `None` if there is none.
    fn wait(&self, pause: Duration, tried: u32, elapsed: Duration, within: Duration) -> Option<Duration> {
        let wait = pause.max(self.asked.unwrap_or_default());
        let end = if self.asked.is_some() { within } else { within.min(TROUBLE) };
        let has_time = elapsed.saturating_add(wait) <= end || (tried < TRIES && wait <= LONGEST_PAUSE);
        (self.may_pass && has_time).then_some(wait)
    }
}

impl From<reqwest::Error> for Unfetched {
    fn from(error: reqwest::Error) -> Self {
        let may_pass = match error.status() {
            Some(status) => status.is_server_error() || [408, 425, 429].contains(&status.as_u16()),
            None => !error.is_builder() && !error.is_redirect(),
        };
        Self { error: error.into(), may_pass, asked: None }
    }
}

impl From<anyhow::Error> for Unfetched {
    fn from(error: anyhow::Error) -> Self {
        Self { error, may_pass: false, asked: None }
    }
}

/// Fetches a result into a temporary file, and returns that with its size.
async fn fetch(http: &reqwest::Client, url: &str, directory: &Path) -> Result<(NamedTempFile, u64), Unfetched> {
    let mut response = http.get(url).send().await?;
    if let Err(error) = response.error_for_status_ref() {
        return Err(Unfetched { asked: retry_after(response.headers()), ..error.into() });
    }
    let fits = |bytes: u64| {
        ensure!(bytes <= LARGEST, "it has {bytes} bytes or more; at most {LARGEST} are accepted");
        Ok(())
    };
    fits(response.content_length().unwrap_or_default())?;
    let cannot = || cannot_write(directory);
    let mut file = temporary(directory).with_context(cannot)?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await? {
        bytes += chunk.len() as u64;
        fits(bytes)?;
        file.write_all(&chunk).with_context(cannot)?;
    }
    if bytes == 0 {
        return Err(Unfetched::odd("it is empty"));
    }
    let (_, beginning) = beginning(file.path()).context("cannot read what was fetched")?;
    if is_page(&beginning) {
        return Err(Unfetched::odd("it is an HTML page in place of the result"));
    }
    Ok((file, bytes))
}

/// Whether a file is a web page, by its beginning.
fn is_page(beginning: &[u8]) -> bool {
    matches!(picture::inspect(beginning, &LIMITS), Err(picture::Problem::WrongKind("an HTML page")))
}

fn cannot_write(directory: &Path) -> String {
    format!("cannot write to the directory {}", directory.display())
}

/// Saves what was fetched under the name that it is to have, in the format that the name stands for.
async fn keep_as(
    job: &Job,
    url: &str,
    target: &Target,
    number: Option<usize>,
    mut file: NamedTempFile,
    mut bytes: u64,
) -> anyhow::Result<Saved> {
    let mut picture = inspect(file.path(), bytes)?;
    let mut unconverted = None;
    let named = target.format();
    ensure!(
        picture.is_some() || named.is_none() || bytes > LARGEST_PICTURE,
        "it is not a picture in a known format; save it as a file with the extension .bin"
    );
    let differs = |picture: Option<Header>| {
        named.filter(|format| picture.is_some_and(|picture| picture.format.as_format() != Some(*format)))
    };
    if differs(picture).is_some() && picture.is_some_and(|picture| picture.frames > 1) {
        unconverted = Some("an animation would lose its frames".to_owned());
    } else if let Some(format) = differs(picture) {
        let from = file.path().to_owned();
        match tokio::task::spawn_blocking(move || converted(&from, format)).await? {
            Ok(converted) => {
                let directory = target.directory();
                let cannot = || cannot_write(&directory);
                file = temporary(&directory).with_context(cannot)?;
                file.write_all(&converted).with_context(cannot)?;
                bytes = converted.len() as u64;
                picture = inspect(file.path(), bytes)?;
            }
            // The result is worth more than its format.
            Err(error) => unconverted = Some(format!("{error:#}")),
        }
    }
    let extension = picture.map_or_else(|| extension_of(url), |picture| picture.format.extension());
    let is_renamed = differs(picture).is_some();
    let picture = picture.map(|Header { width, height, format, .. }| (width, height, format.to_string()));
    let path = match target {
        Target::Files(place) if is_renamed => {
            keep(file, place.with_extension(extension).names(job, number, extension))?
        }
        Target::Files(place) => keep(file, place.names(job, number, extension))?,
        Target::StandardOutput => {
            output::print_file(file.as_file_mut()).context("cannot write to standard output")?;
            PathBuf::from("-")
        }
    };
    Ok(Saved { path, url: url.to_owned(), bytes, picture, unconverted })
}

/// Creates a temporary file with the usual permissions.
fn temporary(directory: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".imgopen-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask applies.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

/// Opens a file and reads its beginning.
fn beginning(path: &Path) -> std::io::Result<(std::fs::File, Vec<u8>)> {
    let mut file = std::fs::File::open(path)?;
    let mut read = Vec::new();
    (&mut file).take(BEGINNING).read_to_end(&mut read)?;
    Ok((file, read))
}

/// Returns the header of a picture, or nothing for other files.
fn inspect(path: &Path, bytes: u64) -> anyhow::Result<Option<Header>> {
    let (mut file, mut read) = beginning(path)?;
    if let Err(picture::Problem::NoPicture | picture::Problem::WrongKind(_)) = picture::inspect(&read, &LIMITS) {
        return Ok(None);
    }
    if bytes > LARGEST_PICTURE {
        return Ok(None);
    }
    file.read_to_end(&mut read)?;
    Ok(picture::inspect(&read, &LIMITS).ok())
}

/// Converts a picture, with what its file carries.
fn converted(path: &Path, format: Format) -> anyhow::Result<Vec<u8>> {
    let file = std::fs::read(path)?;
    let limits = PictureLimits { pixels: MOST_PIXELS, ..LIMITS };
    let decoded = picture::decode(&file, &limits).map_err(|problem| anyhow::anyhow!("it {problem}"))?;
    Ok(picture::convert(&decoded, format)?.to_vec())
}

/// Moves the file to the first free name.
fn keep(mut file: NamedTempFile, names: impl Iterator<Item = PathBuf>) -> anyhow::Result<PathBuf> {
    let mut last = None;
    for name in names {
        match file.persist_noclobber(&name) {
            Ok(_) => return Ok(name),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                file = error.file;
                last = Some(name);
            }
            Err(error) => return Err(error.error).with_context(|| format!("cannot write {}", name.display())),
        }
    }
    let name = last.unwrap_or_default();
    anyhow::bail!("{} already exists; files are never overwritten; give another name with --output", name.display())
}

/// Returns the extension for a file that is not a picture. Of the URL's extensions only that of trained networks is kept;
/// any other might make the file executable.
fn extension_of(url: &str) -> &'static str {
    let parsed = reqwest::Url::parse(url).ok();
    let path = parsed.as_ref().map_or("", |url| url.path());
    if path.to_ascii_lowercase().ends_with(".safetensors") { "safetensors" } else { "bin" }
}

#[cfg(test)]
mod tests {
    use super::super::target::Place;
    use super::*;

    #[test]
    fn a_file_that_is_not_a_picture_gets_a_harmless_extension() {
        for (url, extension) in [
            ("http://a/lora.safetensors", "safetensors"),
            ("http://a/LORA.SAFETENSORS?signature=1", "safetensors"),
            ("http://a/lora.sh", "bin"),
            ("http://a/?name=lora.safetensors", "bin"),
            ("http://a/", "bin"),
        ] {
            assert_eq!(extension_of(url), extension, "{url}");
        }
    }

    #[test]
    fn a_picture_is_converted_to_the_format_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let image = image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([x as u8 * 9, y as u8 * 9, 7]));
        for (from, format, name) in [
            (image::ImageFormat::Jpeg, Format::Png, "x.PNG"),
            (image::ImageFormat::Png, Format::Jpeg, "x.jpeg"),
            (image::ImageFormat::Png, Format::WebP, "x.webp"),
        ] {
            assert_eq!(Target::Files(Place::File(name.into())).format(), Some(format));
            image.save_with_format(&file, from).unwrap();
            let before = picture::decode(&std::fs::read(&file).unwrap(), &LIMITS).unwrap();
            assert_ne!(before.header.format.as_format(), Some(format));
            let after = picture::decode(&converted(&file, format).unwrap(), &LIMITS).unwrap();
            assert_eq!((after.header.format.as_format(), after.header.width), (Some(format), 16));
            assert!(format == Format::Jpeg || after.image == before.image, "{name}");
        }
        assert_eq!(Target::Files(Place::File("x.safetensors".into())).format(), None);
        assert_eq!(Target::Files(Place::Directory("x.png".into())).format(), None);
    }

    /// The file says that it has 400 million pixels, which would take over a gigabyte.
    #[test]
    fn a_picture_that_is_too_large_is_not_decoded() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.jpeg");
        image::RgbImage::new(16, 16).save(&file).unwrap();
        let mut content = std::fs::read(&file).unwrap();
        let sizes = content.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap() + 5;
        for at in [sizes, sizes + 2] {
            content[at..at + 2].copy_from_slice(&20_000_u16.to_be_bytes());
        }
        std::fs::write(&file, content).unwrap();
        let error = converted(&file, Format::Png).unwrap_err().to_string();
        assert!(error.contains("256000000"), "{error}");
    }

    #[tokio::test]
    async fn a_result_that_cannot_be_converted_is_kept_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wide.webp");
        // WebP has no sides over 16383 pixels.
        let wide = image::RgbImage::new(17_000, 1);
        let mut content = std::io::Cursor::new(Vec::new());
        wide.write_to(&mut content, image::ImageFormat::Png).unwrap();
        let content = content.into_inner();
        let (url, server) = served(content.clone());
        let target = Target::Files(Place::File(path.clone()));
        let saved = save(&job(), &url, &target, None, Duration::ZERO).await.unwrap();
        server.join().unwrap();
        assert!(!path.exists(), "it is not a WebP file");
        assert_eq!(saved.path, path.with_extension("png"));
        assert_eq!(std::fs::read(&saved.path).unwrap(), content);
        assert_eq!(saved.picture, Some((17_000, 1, "PNG".to_owned())));
        let note = saved.note().unwrap();
        assert!(note.contains("wide.png is a PNG picture, as the server made it") && note.contains("16383"), "{note}");
    }

    /// Red and blue, twice.
    #[tokio::test]
    async fn an_animation_keeps_its_frames_and_its_format() {
        const FRAME: &[u8] = b",\0\0\0\0\x02\0\x01\0\0\x02\x02\x44\x0a\0";
        let screen = b"GIF89a\x02\0\x01\0\x80\0\0\xff\0\0\0\0\xff".as_slice();
        let content = [screen, FRAME, FRAME, b";"].concat();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("moving.png");
        let (url, server) = served(content.clone());
        let target = Target::Files(Place::File(path.clone()));
        let saved = save(&job(), &url, &target, None, Duration::ZERO).await.unwrap();
        server.join().unwrap();
        assert!(!path.exists(), "it is not a PNG file");
        assert_eq!(saved.path, path.with_extension("gif"));
        assert_eq!(std::fs::read(&saved.path).unwrap(), content);
        assert_eq!(saved.picture, Some((2, 1, "GIF".to_owned())));
        let note = saved.note().unwrap();
        assert!(note.ends_with("it was not converted: an animation would lose its frames"), "{note}");
    }

    #[test]
    fn a_download_that_may_pass_is_repeated_while_there_is_time() {
        let seconds = Duration::from_secs;
        let failed = |may_pass: bool, asked: Option<u64>| Unfetched {
            may_pass,
            asked: asked.map(seconds),
            ..Unfetched::odd("no")
        };
        let wait = |failed: &Unfetched, tried: u32, elapsed: u64, within: u64| {
            failed.wait(FIRST_PAUSE, tried, seconds(elapsed), seconds(within))
        };
        assert_eq!(wait(&failed(true, None), 10, 40, 600), Some(FIRST_PAUSE));
        assert_eq!(wait(&failed(true, None), 10, 45, 600), None);
        assert_eq!(wait(&failed(true, None), 2, 40, 0), Some(FIRST_PAUSE), "three times in any case");
        assert_eq!(wait(&failed(true, None), 3, 40, 0), None);
        assert_eq!(wait(&failed(true, Some(60)), 10, 500, 600), Some(seconds(60)));
        assert_eq!(wait(&failed(true, Some(60)), 1, 541, 600), None);
        assert_eq!(wait(&failed(false, Some(1)), 1, 0, 600), None);
    }

    #[test]
    fn a_page_is_recognised_by_its_beginning() {
        for page in ["<html>", "\u{FEFF}\n <!DOCTYPE HTML PUBLIC", "<!-- down --><Head><title>", "<body>"] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for other in ["", "<", "<svg", "<?xml", "html", "\u{89}PNG"] {
            assert!(!is_page(other.as_bytes()), "{other}");
        }
    }

    /// Serves a result once. Returns its URL, and the thread that serves it.
    fn served(body: Vec<u8>) -> (String, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/result", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
            stream.write_all(&body).unwrap();
        });
        (url, server)
    }

    fn job() -> Job {
        let operation = imgopen_types::operation::find("enlarge_image").unwrap();
        let (id, local) = ("1".to_owned(), crate::files::local::LocalNames::default());
        Job { operation, id, platform_id: None, network: None, local }
    }

    /// Covers files shorter and longer than the part that is read first.
    #[test]
    fn a_picture_is_recognised_by_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let kind = |content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            let header = inspect(&file, content.len() as u64).unwrap();
            header.map(|header| (header.width, header.height, header.format.to_string()))
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
