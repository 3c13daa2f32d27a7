//! Archives that are on this machine already, for machines without a network.

use std::fs;
use std::path::{Path, PathBuf};

use crate::catalogue::{Archive, Pack};
use crate::digest;
use crate::error::PullError;

/// Returns the archive of a pack: the file that was given, or one in the directory that was given, found by its name or else by
/// its contents.
///
/// # Errors
///
/// When the directory does not have it, or cannot be read.
pub(crate) fn find(pack: &Pack, given: &Path) -> Result<PathBuf, PullError> {
    let kind = fs::metadata(given).map_err(PullError::at(given))?;
    if !kind.is_dir() {
        return Ok(given.to_owned());
    }
    let archive = &pack.source.archive;
    let named = given.join(&archive.name);
    if named.exists() {
        return Ok(named);
    }
    let entries = fs::read_dir(given).map_err(PullError::at(given))?;
    // What cannot be read is another file, or missing.
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.into_iter().find(|path| is_archive(path, archive)).ok_or_else(|| PullError::NotThere {
        directory: given.display().to_string(),
        file: archive.name.clone(),
        pack: pack.name.clone(),
        command: pack.source.command(),
    })
}

fn is_archive(path: &Path, archive: &Archive) -> bool {
    let has_size = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == archive.bytes);
    has_size && digest::of_file(path).is_ok_and(|found| found == archive.sha256)
}

/// Checks size and digest of an archive. One that was given by hand may be another file altogether, which its name shows.
///
/// # Errors
///
/// When they are others, or the file cannot be read.
pub(crate) fn check(pack: &Pack, file: &Path, is_given: bool) -> Result<(), PullError> {
    let wrong = |what, found, expected| PullError::WrongArchive {
        file: file.display().to_string(),
        pack: pack.name.clone(),
        what,
        found,
        expected,
    };
    let Archive { name, bytes, sha256 } = &pack.source.archive;
    let size = fs::metadata(file).map_err(PullError::at(file))?.len();
    let is_named = file.file_name().is_some_and(|found| found == name.as_str());
    if size != *bytes && is_given && !is_named {
        return Err(PullError::OtherFile {
            given: file.display().to_string(),
            pack: pack.name.clone(),
            file: name.clone(),
            command: pack.source.command(),
        });
    }
    if size != *bytes {
        return Err(wrong("size", size.to_string(), bytes.to_string()));
    }
    let found = digest::of_file(file).map_err(PullError::at(file))?;
    if found == *sha256 { Ok(()) } else { Err(wrong("SHA-256", found, sha256.clone())) }
}
