//! Where results go, and under which names.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use imgopen_engine::Format;

use super::handle::Job;
use crate::failure::Failure;

/// The most characters of an id in a file name.
const LONGEST_ID: usize = 100;

/// The most names to try for one result.
const NAMES: usize = 1000;

/// Extensions of JPEG files beside those that the API knows.
const JPEG: &[&str] = &["jpe", "jfif", "jif", "jfi", "pjpeg", "pjp"];

/// Extensions of pictures, drawings and videos that are not written.
const UNWRITTEN: &[&str] = &[
    "ai", "apng", "avi", "avif", "avifs", "bmp", "cr2", "cur", "dds", "dib", "dng", "emf", "eps", "exr", "gif", "hdr",
    "heic", "heics", "heif", "hif", "icns", "ico", "j2k", "jp2", "jpf", "jpx", "jxl", "jxr", "mov", "mp4", "nef",
    "pam", "pbm", "pcx", "pdf", "pgm", "pnm", "ppm", "psd", "qoi", "svg", "tga", "tif", "tiff",
];

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into files.
    Files(Place),
    /// To standard output, which takes one.
    StandardOutput,
}

/// Where files are saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a directory, under names that are free.
    Directory(PathBuf),
    /// Under this name; several results are numbered.
    File(PathBuf),
}

impl Target {
    /// Interprets `--output` and creates the directory, before anything is sent. A path is a directory if it is one or has no
    /// extension; `-` is standard output, which cannot have JSON as well.
    ///
    /// # Errors
    ///
    /// If the file already exists or has the extension of a format that is not written, the directory cannot be created, or
    /// standard output cannot take a result.
    pub fn new(output: Option<&Path>, as_json: bool) -> anyhow::Result<Self> {
        let Some(output) = output else { return Ok(Target::Files(Place::Directory(PathBuf::from(".")))) };
        if output == Path::new("-") {
            check_standard_output(as_json)?;
            return Ok(Target::StandardOutput);
        }
        let text = output.to_string_lossy();
        let is_directory = text.ends_with(['/', std::path::MAIN_SEPARATOR]) || output.extension().is_none();
        if output.exists() && !output.is_dir() {
            let fix = "files are never overwritten; give another name or a directory";
            return Err(Failure::usage(format!("--output {text}: the file already exists; {fix}")).into());
        }
        let is_directory = is_directory || output.is_dir();
        if !is_directory {
            check_extension(output)?;
        }
        let directory = if is_directory { output } else { parent(output) };
        let cannot = || format!("--output {text}: cannot create the directory {}", directory.display());
        std::fs::create_dir_all(directory).with_context(cannot)?;
        let output = output.to_owned();
        Ok(Target::Files(if is_directory { Place::Directory(output) } else { Place::File(output) }))
    }

    /// The directory that results are written to until they are complete.
    pub fn directory(&self) -> PathBuf {
        match self {
            Target::Files(Place::Directory(directory)) => directory.clone(),
            Target::Files(Place::File(file)) => parent(file).to_owned(),
            Target::StandardOutput => std::env::temp_dir(),
        }
    }

    /// Returns the format that the name of the file asks for.
    pub fn format(&self) -> Option<Format> {
        match self {
            Target::Files(Place::File(file)) => named_format(file),
            Target::Files(Place::Directory(_)) | Target::StandardOutput => None,
        }
    }
}

/// Returns the format that the extension of a file stands for.
fn named_format(file: &Path) -> Option<Format> {
    let extension = file.extension()?.to_str()?.to_ascii_lowercase();
    match JPEG.contains(&extension.as_str()) {
        true => Some(Format::Jpeg),
        false => extension.parse().ok(),
    }
}

/// Refuses the extension of a format that no result is written in.
fn check_extension(file: &Path) -> Result<(), Failure> {
    let extension = file.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let Some(extension) = extension.filter(|extension| UNWRITTEN.contains(&extension.as_str())) else { return Ok(()) };
    let fix =
        "pictures are written as PNG, JPEG or WebP; give a name that ends with .png, .jpg or .webp, or a directory";
    Err(Failure::usage(format!("--output {}: no `.{extension}` file is written; {fix}", file.display())))
}

fn check_standard_output(as_json: bool) -> Result<(), Failure> {
    let problem = match as_json {
        true => "standard output has the JSON; leave out --json, or give a file or a directory",
        false if std::io::stdout().is_terminal() => {
            "standard output is a terminal; redirect it, or give a file or a directory"
        }
        false => return Ok(()),
    };
    Err(Failure::usage(format!("--output -: {problem}")))
}

impl Place {
    /// Returns the place for a result of that extension, if it is in another format than the name says.
    pub fn with_extension(&self, extension: &str) -> Self {
        match self {
            Place::Directory(directory) => Place::Directory(directory.clone()),
            Place::File(file) => Place::File(file.with_extension(extension)),
        }
    }

    /// Returns the names to try for a result, in order; `number` counts several results from 1.
    pub fn names(&self, job: &Job, number: Option<usize>, extension: &str) -> impl Iterator<Item = PathBuf> + use<> {
        let number = number.map_or(String::new(), |number| format!("-{number}"));
        let (place, mut stem, extension) = match self {
            Place::Directory(directory) => {
                let id = job.platform_id.as_ref().unwrap_or(&job.id).chars().map(safe).take(LONGEST_ID);
                let stem = format!("{}-{}", job.operation.id, id.collect::<String>());
                (directory.join("-"), OsString::from(stem), OsString::from(extension))
            }
            Place::File(file) => {
                let part = |part: Option<&OsStr>| part.unwrap_or_default().to_owned();
                (file.clone(), part(file.file_stem()), part(file.extension()))
            }
        };
        stem.push(number);
        let copies = (2..=NAMES).map(|copy| format!(".{copy}"));
        std::iter::once(String::new()).chain(copies).map(move |copy| {
            let mut name = stem.clone();
            name.push(format!("{copy}."));
            name.push(&extension);
            place.with_file_name(name)
        })
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn safe(c: char) -> char {
    if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations;

    use super::*;

    fn names(place: &Place, number: Option<usize>) -> Vec<PathBuf> {
        let local = Default::default();
        let job =
            Job { operation: &operations::OUTPAINT, id: "a/b".to_owned(), platform_id: None, network: None, local };
        place.names(&job, number, "png").take(2).collect()
    }

    #[test]
    fn a_taken_name_is_followed_by_others() {
        let of = |names: [&str; 2]| names.map(PathBuf::from).to_vec();
        let directory = Place::Directory("out".into());
        assert_eq!(names(&directory, None), of(["out/outpaint-a_b.png", "out/outpaint-a_b.2.png"]));
        assert_eq!(names(&directory, Some(3)), of(["out/outpaint-a_b-3.png", "out/outpaint-a_b-3.2.png"]));
        assert_eq!(names(&Place::File("out/x.y.jpg".into()), Some(1)), of(["out/x.y-1.jpg", "out/x.y-1.2.jpg"]));
    }

    #[test]
    fn a_name_stands_for_a_format_that_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let target = |name: &str| Target::new(Some(&folder.path().join(name)), false);
        for (name, format) in [
            ("x.png", Some(Format::Png)),
            ("x.PNG", Some(Format::Png)),
            ("x.jpeg", Some(Format::Jpeg)),
            ("x.JPE", Some(Format::Jpeg)),
            ("x.jfif", Some(Format::Jpeg)),
            ("x.WebP", Some(Format::WebP)),
            ("x.gif.png", Some(Format::Png)),
            ("x.safetensors", None),
            ("x.v2", None),
        ] {
            assert_eq!(target(name).unwrap().format(), format, "{name}");
        }
        for (name, extension) in
            [("x.gif", "gif"), ("x.BMP", "bmp"), ("new/x.Tif", "tif"), ("x.avif", "avif"), ("x.png.heic", "heic")]
        {
            let problem = target(name).unwrap_err().to_string();
            let fix = "give a name that ends with .png, .jpg or .webp, or a directory";
            assert!(
                problem.contains(&format!("no `.{extension}` file is written")) && problem.ends_with(fix),
                "{problem}"
            );
        }
        assert!(!folder.path().join("new").exists(), "nothing is made for a name that is refused");
        assert!(UNWRITTEN.is_sorted() && UNWRITTEN.iter().all(|name| name.parse::<Format>().is_err()));
        // A directory may be called as it likes.
        for name in ["a.gif/", "b.gif"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            assert_eq!(target(name).unwrap().format(), None, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_stays_as_it_is() {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let file = Place::File(path(b"caf\xe9/caf\xe9.png"));
        assert_eq!(names(&file, None), [path(b"caf\xe9/caf\xe9.png"), path(b"caf\xe9/caf\xe9.2.png")]);
    }
}
