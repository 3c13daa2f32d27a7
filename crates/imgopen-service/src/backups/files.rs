//! Copying files.

use std::fs::{DirEntry, FileType};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::manifest::BackupError;

/// Copies a directory with everything in it, but for entries that are to be skipped. What is deleted meanwhile is left out.
/// Returns how many entries the directory itself has in the copy.
pub fn copy_directory(from: &Path, to: &Path, skip: impl Fn(&Path) -> bool + Copy) -> Result<u64, BackupError> {
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(BackupError::at(from)(error)),
    };
    std::fs::create_dir_all(to).map_err(BackupError::at(to))?;
    let mut count = 0;
    for entry in entries {
        let entry = entry.map_err(BackupError::at(from))?;
        if !skip(&entry.path()) {
            let kind = entry.file_type().map_err(BackupError::at(&entry.path()))?;
            copy_entry(&entry, kind, &to.join(entry.file_name()), skip)?;
            count += 1;
        }
    }
    Ok(count)
}

fn copy_entry(
    entry: &DirEntry,
    kind: FileType,
    to: &Path,
    skip: impl Fn(&Path) -> bool + Copy,
) -> Result<(), BackupError> {
    let from = entry.path();
    if kind.is_dir() {
        return copy_directory(&from, to, skip).map(drop);
    }
    let copied = if kind.is_symlink() { copy_link(&from, to) } else { copy_if_there(&from, to).map(drop) };
    copied.map_err(BackupError::at(&from))
}

/// Copies a file, and returns its size. `None` if there is no such file.
pub fn copy_if_there(from: &Path, to: &Path) -> io::Result<Option<u64>> {
    match std::fs::copy(from, to) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a second name of a file, or copies it where that is not possible. Returns its size, or `None` if there is no such
/// file.
pub fn link_if_there(from: &Path, to: &Path) -> io::Result<Option<u64>> {
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(Some(to.metadata()?.len())),
        // Another disk, or a file system without links.
        Err(_) => copy_if_there(from, to),
    }
}

#[cfg(unix)]
fn copy_link(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(std::fs::read_link(from)?, to)
}

#[cfg(not(unix))]
fn copy_link(from: &Path, to: &Path) -> io::Result<()> {
    copy_if_there(from, to).map(drop)
}
