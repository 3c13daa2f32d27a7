//! Restores backups.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use imgopen_store::{Clock, Inspection, Moment, Note, SqliteStore};

use super::files::{copy_directory, copy_if_there};
use super::manifest::{BackupError, Manifest};
use crate::data_dir::{ASSETS, BEFORE_RESTORE, DATA_SETS, HASHES, LOCK, MODELS, RESTORING};
use crate::{assets, data_dir, disk, home};

/// What a new file system has in its root.
const LOST_AND_FOUND: &str = "lost+found";

/// How many rows are read at once.
const BATCH: usize = 1000;

/// How a backup is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Whether what is in the data directory is moved aside.
    pub replace: bool,
    /// Whether pictures may be missing in the backup.
    pub incomplete: bool,
}

/// The outcome of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says about itself.
    pub manifest: Manifest,
    /// The directory with what was in the data directory before, if there was anything.
    pub kept: Option<PathBuf>,
    /// How many pictures were missing in the backup.
    pub missing: usize,
}

/// Checks a backup, and copies it into a data directory. Blocks.
///
/// The directory is locked meanwhile, so that no service starts in it. What is in it is moved into a directory inside it, but
/// for models. If the process is killed, a service does not start in the directory until the restore is repeated.
///
/// # Errors
///
/// When the backup is damaged or incomplete, the directory is not empty, a service runs in it, or a file cannot be copied.
pub fn restore(
    backup: &Path,
    data_dir: &Path,
    options: RestoreOptions,
    clock: &Clock,
) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(backup)?;
    let missing = check(backup, &manifest)?;
    if let (Some(first), false) = (missing.first(), options.incomplete) {
        let (path, first) = (backup.display().to_string(), first.clone());
        return Err(BackupError::Incomplete { path, missing: missing.len(), first });
    }
    data_dir::make_private(data_dir).map_err(BackupError::at(data_dir))?;
    let lock = data_dir::lock(data_dir).map_err(BackupError::at(data_dir))?;
    let _lock = lock.ok_or_else(|| BackupError::Occupied(data_dir.display().to_string()))?;
    let present = present(data_dir)?;
    if !present.is_empty() && !options.replace {
        return Err(BackupError::NotEmpty(data_dir.display().to_string()));
    }
    #[cfg(unix)]
    disk::make_private(data_dir).map_err(BackupError::at(data_dir))?;
    let staging = data_dir.join(RESTORING);
    if let Err(error) = copy(backup, &staging, &manifest) {
        // Nothing was replaced, so a service may start as before.
        drop(std::fs::remove_dir_all(&staging));
        return Err(error);
    }
    let kept = move_aside(data_dir, &present, clock.now(), |from, to| std::fs::rename(from, to))?;
    // The database last: what is there without it does not look whole.
    for name in [ASSETS, DATA_SETS, HASHES, SqliteStore::FILE] {
        let from = staging.join(name);
        if from.exists() {
            std::fs::rename(&from, data_dir.join(name)).map_err(BackupError::at(&from))?;
        }
    }
    disk::sync_directory(data_dir).map_err(BackupError::at(data_dir))?;
    std::fs::remove_dir_all(&staging).map_err(BackupError::at(&staging))?;
    disk::sync_directory(data_dir).map_err(BackupError::at(data_dir))?;
    Ok(Restored { manifest, kept, missing: missing.len() })
}

/// Checks the database of a backup and its pictures. Returns the names of pictures that were in it and are not now.
fn check(backup: &Path, manifest: &Manifest) -> Result<Vec<String>, BackupError> {
    let path = || backup.display().to_string();
    let rows = Inspection::open(backup)?;
    if rows.layout() > Inspection::KNOWN_LAYOUT {
        return Err(BackupError::Newer { path: path(), version: manifest.version.clone() });
    }
    if let Some(problem) = rows.damage()?.into_iter().next() {
        return Err(BackupError::Damaged { path: path(), problem });
    }
    let data_sets = entries(&backup.join(DATA_SETS))?;
    if data_sets < manifest.data_sets {
        return Err(BackupError::DataSets { path: path(), missing: manifest.data_sets - data_sets });
    }
    if manifest.bucket.is_some() {
        return Ok(Vec::new());
    }
    let expired: HashSet<_> = manifest.expired.iter().collect();
    let (mut missing, mut after) = (Vec::new(), None);
    loop {
        let batch = rows.assets(after.as_ref(), BATCH)?;
        let Some(last) = batch.last() else { return Ok(missing) };
        after = Some(last.token.clone());
        for row in batch {
            let file = assets::path(&backup.join(ASSETS), &row.token).metadata();
            let is_whole = file.as_ref().is_ok_and(|file| file.len() == row.bytes);
            if !is_whole && !expired.contains(&row.token) {
                missing.push(row.token.0);
            }
        }
    }
}

/// Returns how many entries a directory has; none if it does not exist.
fn entries(directory: &Path) -> Result<u64, BackupError> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(entries.count() as u64),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(BackupError::at(directory)(error)),
    }
}

/// Lists what would be replaced.
fn present(data_dir: &Path) -> Result<Vec<OsString>, BackupError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data_dir).map_err(BackupError::at(data_dir))? {
        let entry = entry.map_err(BackupError::at(data_dir))?;
        let name = entry.file_name();
        let is_other = [LOCK, MODELS, RESTORING, LOST_AND_FOUND].iter().any(|known| name == *known);
        if !is_other && !name.to_string_lossy().starts_with(BEFORE_RESTORE) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Copies a backup, after what an interrupted restore had copied is removed.
fn copy(backup: &Path, staging: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    if staging.exists() {
        std::fs::remove_dir_all(staging).map_err(BackupError::at(staging))?;
    }
    data_dir::make_private(staging).map_err(BackupError::at(staging))?;
    for name in [ASSETS, DATA_SETS] {
        copy_directory(&backup.join(name), &staging.join(name), |_| false)?;
    }
    // The number that marks the directory in use stays with that: another one may come back as a disk. A bucket stays where it is,
    // and is known by its number.
    if manifest.bucket.is_none() {
        let noted = Inspection::open(backup)?.note(Note::Pictures)?;
        let pictures = staging.join(ASSETS);
        let adopted = data_dir::make_private(&pictures).and_then(|()| home::adopt(&pictures, noted));
        adopted.map_err(BackupError::at(&pictures))?;
    }
    for name in [HASHES, SqliteStore::FILE] {
        let from = backup.join(name);
        copy_if_there(&from, &staging.join(name)).map_err(BackupError::at(&from))?;
    }
    disk::sync_file_system(staging).map_err(BackupError::at(staging))
}

/// Moves what is there into a directory of its own, and returns that. `rename` moves a file or directory.
fn move_aside(
    data_dir: &Path,
    names: &[OsString],
    now: Moment,
    rename: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<Option<PathBuf>, BackupError> {
    if names.is_empty() {
        return Ok(None);
    }
    // Without colons, which other systems do not allow.
    let stamp: String = now.rfc3339().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let kept = data_dir.join(format!("{BEFORE_RESTORE}{stamp}"));
    data_dir::make_private(&kept).map_err(BackupError::at(&kept))?;
    for (index, name) in names.iter().enumerate() {
        let from = data_dir.join(name);
        if let Err(error) = rename(&from, &kept.join(name)) {
            // A mount point cannot be moved. What was moved before goes back, so that the directory is as it was.
            let back = |name: &&OsString| rename(&kept.join(name), &data_dir.join(name)).is_ok();
            if names[..index].iter().filter(back).count() == index {
                drop(std::fs::remove_dir(&kept));
                // As long as this is there, no service starts.
                drop(std::fs::remove_dir_all(data_dir.join(RESTORING)));
            }
            return Err(BackupError::at(&from)(error));
        }
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A data directory in the middle of a restore. Moving what is in it aside fails at some renames, counted from 0.
    fn moved_aside(fails: fn(usize) -> bool) -> (tempfile::TempDir, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        std::fs::create_dir(directory.path().join(RESTORING)).unwrap();
        let count = Cell::new(0);
        let rename = |from: &Path, to: &Path| match fails(count.replace(count.get() + 1)) {
            true => Err(io::Error::other("asked for by the test")),
            false => std::fs::rename(from, to),
        };
        let names = ["a", "b", "c"].map(OsString::from);
        let moved = move_aside(directory.path(), &names, Moment(0), rename);
        assert!(moved.is_err_and(|error| error.to_string().ends_with("c: asked for by the test")));
        let mut left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect::<Result<_, _>>().unwrap();
        left.sort_by_key(std::fs::DirEntry::file_name);
        let left = left.into_iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
        (directory, left)
    }

    #[test]
    fn what_cannot_be_moved_aside_stays_as_it_was() {
        let (directory, left) = moved_aside(|count| count == 2);
        assert_eq!(left, ["a", "b", "c"]);
        assert_eq!(std::fs::read_to_string(directory.path().join("a")).unwrap(), "a");
    }

    /// No service may start with half of the data, and nothing of it may be lost.
    #[test]
    fn what_cannot_be_moved_back_keeps_the_restore_interrupted() {
        let (directory, left) = moved_aside(|count| count == 2 || count == 3);
        let kept = format!("{BEFORE_RESTORE}19700101T000000Z");
        assert_eq!(left, ["b", &kept, "c", RESTORING]);
        assert_eq!(std::fs::read_to_string(directory.path().join(kept).join("a")).unwrap(), "a");
    }
}
