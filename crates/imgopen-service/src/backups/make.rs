//! Makes backups.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use imgopen_store::{AssetFile, Clock, Inspection, Moment};
use tempfile::TempDir;

use super::files::{copy_directory, copy_if_there, link_if_there};
use super::manifest::{BackupError, FILE, FORM, Manifest};
use crate::{assets, data_dir, disk};

/// How many rows are read at once.
const BATCH: usize = 1000;

/// How a backup is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// Whether pictures are hard links where possible. They take no space, and are lost with the disk.
    pub link: bool,
    /// Whether pictures may be missing in the data directory.
    pub incomplete: bool,
    /// The address of the bucket that has the pictures, such as `s3://bucket/prefix`. They are not copied then.
    pub bucket: Option<String>,
}

/// Copies a data directory into a directory that does not exist yet. A service may run in it. Blocks.
///
/// The pictures in it are those that the database refers to at one moment. They never change, and are deleted only once they
/// have expired, so that what is copied later fits the earlier database. Pictures in a bucket stay there, and the backup names it.
///
/// # Errors
///
/// When the database is missing or damaged, the backup exists, or a file cannot be copied. Then there is no backup.
pub fn backup(data_dir: &Path, target: &Path, options: BackupOptions, clock: &Clock) -> Result<Manifest, BackupError> {
    if !data_dir::exists(data_dir) {
        return Err(BackupError::NoData(data_dir.display().to_string()));
    }
    let (staging, parent) = stage(target)?;
    let made_at = clock.now();
    Inspection::open(data_dir)?.copy_to(staging.path())?;
    let copy = Inspection::open(staging.path())?;
    let damage = if copy.layout() == 0 { Some("it is empty".to_owned()) } else { copy.damage()?.into_iter().next() };
    if let Some(problem) = damage {
        return Err(BackupError::Damaged { path: data_dir.display().to_string(), problem });
    }
    let mut manifest = Manifest {
        form: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: made_at.rfc3339(),
        layout: copy.layout(),
        pictures: 0,
        picture_bytes: 0,
        missing: Vec::new(),
        expired: Vec::new(),
        data_sets: 0,
        bucket: options.bucket,
    };
    if manifest.bucket.is_none() {
        let (from, to) = (data_dir.join(data_dir::ASSETS), staging.path().join(data_dir::ASSETS));
        Pictures { from, to, link: options.link, clock, shelves: HashSet::new() }.copy(&copy, &mut manifest)?;
    }
    drop(copy);
    if let (Some(first), false) = (manifest.missing.first(), options.incomplete) {
        let (path, first) = (data_dir.display().to_string(), first.as_str().to_owned());
        return Err(BackupError::MissingPictures { path, missing: manifest.missing.len(), first });
    }
    let (from, to) = (data_dir.join(data_dir::DATA_SETS), staging.path().join(data_dir::DATA_SETS));
    manifest.data_sets = copy_directory(&from, &to, is_partial)?;
    let (from, to) = (data_dir.join(data_dir::HASHES), staging.path().join(data_dir::HASHES));
    copy_if_there(&from, &to).map_err(BackupError::at(&from))?;
    complete(staging, target, &parent, &manifest)?;
    Ok(manifest)
}

/// Makes a directory beside the target, whose name shows that it is not complete. It is deleted if the backup fails.
fn stage(target: &Path) -> Result<(TempDir, PathBuf), BackupError> {
    let Some(name) = target.file_name() else { return Err(BackupError::Name(target.display().to_string())) };
    refuse_existing(target)?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = format!("{}.partial-", name.to_string_lossy());
    let staging = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).map_err(BackupError::at(parent))?;
    #[cfg(unix)]
    disk::make_private(staging.path()).map_err(BackupError::at(staging.path()))?;
    Ok((staging, parent.to_owned()))
}

fn refuse_existing(target: &Path) -> Result<(), BackupError> {
    match target.symlink_metadata() {
        Ok(_) => Err(BackupError::Exists(target.display().to_string())),
        Err(_) => Ok(()),
    }
}

/// A data set that is still being fetched.
fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

/// Writes the manifest, and gives the backup its name once everything is on the disk.
fn complete(staging: TempDir, target: &Path, parent: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let file = staging.path().join(FILE);
    let text = serde_json::to_string_pretty(manifest).map_err(std::io::Error::from).map_err(BackupError::at(&file))?;
    std::fs::write(&file, text + "\n").map_err(BackupError::at(&file))?;
    disk::sync_file_system(staging.path()).map_err(BackupError::at(staging.path()))?;
    refuse_existing(target)?;
    std::fs::rename(staging.path(), target).map_err(BackupError::at(target))?;
    drop(staging.keep());
    disk::sync_directory(parent).map_err(BackupError::at(parent))
}

/// Copies the pictures of a database.
struct Pictures<'a> {
    from: PathBuf,
    to: PathBuf,
    link: bool,
    clock: &'a Clock,
    /// The directories that were made.
    shelves: HashSet<PathBuf>,
}

impl Pictures<'_> {
    fn copy(&mut self, rows: &Inspection, manifest: &mut Manifest) -> Result<(), BackupError> {
        let mut after = None;
        loop {
            let batch = rows.assets(after.as_ref(), BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.token.clone());
            for row in batch {
                match self.copy_one(&row)? {
                    Some(bytes) if bytes == row.bytes => {
                        manifest.pictures += 1;
                        manifest.picture_bytes += bytes;
                    }
                    None if is_expired(&row, self.clock.now()) => manifest.expired.push(row.token),
                    Some(_) | None => manifest.missing.push(row.token),
                }
            }
        }
    }

    fn copy_one(&mut self, row: &AssetFile) -> Result<Option<u64>, BackupError> {
        if !assets::is_token(&row.token) {
            return Ok(None);
        }
        let (from, to) = (assets::path(&self.from, &row.token), assets::path(&self.to, &row.token));
        if let Some(shelf) = to.parent().filter(|shelf| !self.shelves.contains(*shelf)) {
            std::fs::create_dir_all(shelf).map_err(BackupError::at(shelf))?;
            self.shelves.insert(shelf.to_owned());
        }
        let copied = if self.link { link_if_there(&from, &to) } else { copy_if_there(&from, &to) };
        copied.map_err(BackupError::at(&from))
    }
}

/// Whether a picture may have been deleted since the database was copied.
fn is_expired(row: &AssetFile, now: Moment) -> bool {
    row.expires_at.is_some_and(|end| end <= now)
}
