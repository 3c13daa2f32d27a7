//! Where results are saved, and under which names.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::handle::Job;
use crate::failure::Failure;

/// The most characters of an id in a file name.
const LONGEST_ID: usize = 100;

/// The most names to try for one result.
const NAMES: usize = 1000;

/// Where results are saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In a directory, under names that are free.
    Directory(PathBuf),
    /// Under this name; several results are numbered.
    File(PathBuf),
}

impl Target {
    /// Interprets `--output` and creates the directory, before anything is sent. A path is a directory if it is one or has no
    /// extension.
    ///
    /// # Errors
    ///
    /// If the file already exists, or the directory cannot be created.
    pub fn new(output: Option<&Path>) -> anyhow::Result<Self> {
        let Some(output) = output else { return Ok(Target::Directory(PathBuf::from("."))) };
        let text = output.to_string_lossy();
        let is_directory = text.ends_with(['/', std::path::MAIN_SEPARATOR]) || output.extension().is_none();
        if output.exists() && !output.is_dir() {
            let fix = "files are never overwritten; give another name or a directory";
            return Err(Failure::usage(format!("--output {text}: the file already exists; {fix}")).into());
        }
        let is_directory = is_directory || output.is_dir();
        let directory = if is_directory { output } else { parent(output) };
        let cannot = || format!("--output {text}: cannot create the directory {}", directory.display());
        std::fs::create_dir_all(directory).with_context(cannot)?;
        Ok(if is_directory { Target::Directory(output.to_owned()) } else { Target::File(output.to_owned()) })
    }

    /// The directory that the results are written to.
    pub fn directory(&self) -> &Path {
        match self {
            Target::Directory(directory) => directory,
            Target::File(file) => parent(file),
        }
    }

    /// Returns the names to try for a result, in order; `number` counts several results from 1.
    pub fn names(&self, job: &Job, number: Option<usize>, extension: &str) -> impl Iterator<Item = PathBuf> + use<> {
        let number = number.map_or(String::new(), |number| format!("-{number}"));
        let (first, stem, extension) = match self {
            Target::Directory(directory) => {
                let id = job.platform_id.as_ref().unwrap_or(&job.id).chars().map(safe).take(LONGEST_ID);
                let stem = format!("{}-{}{number}", job.operation.id, id.collect::<String>());
                (directory.join(format!("{stem}.{extension}")), stem, extension.to_owned())
            }
            Target::File(file) => {
                let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
                let (stem, extension) = (format!("{}{number}", text(file.file_stem())), text(file.extension()));
                (file.with_file_name(format!("{stem}.{extension}")), stem, extension)
            }
        };
        let others = first.clone();
        let others = (2..=NAMES).map(move |copy| others.with_file_name(format!("{stem}.{copy}.{extension}")));
        std::iter::once(first).chain(others)
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn safe(c: char) -> char {
    if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }
}
