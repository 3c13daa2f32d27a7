//! The data directory: database, pictures and data sets, for one running service at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use imgopen_store::{SqliteStore, Store, StoreError};

#[cfg(unix)]
use crate::disk;

/// The directory of the pictures within the data directory.
pub(crate) const ASSETS: &str = "assets";

/// The file of the models' hashes within the data directory.
pub(crate) const HASHES: &str = "model-hashes.json";

/// The directory of the trainings' data sets within the data directory.
pub(crate) const DATA_SETS: &str = "datasets";

/// The directory of the models within the data directory, unless it is another one. It is the operator's.
pub(crate) const MODELS: &str = "models";

/// The file with the place of the newest task, beside the database.
pub(crate) const LAST_TASK: &str = "last-task";

/// The directory of a restore that is not complete.
pub(crate) const RESTORING: &str = "restore.partial";

/// The beginning of the names of directories with what was there before a restore.
pub(crate) const BEFORE_RESTORE: &str = "before-restore-";

/// The file that a running service holds locked.
pub(crate) const LOCK: &str = "service.lock";

/// Creates a directory that only its owner can read, because it holds prompts, pictures, and the secrets that sign
/// callbacks. An existing directory keeps its permissions until a service starts in it.
///
/// # Errors
///
/// When it cannot be created.
pub fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Takes from others what they may do with a data directory. Returns its earlier permission bits if they change.
///
/// # Errors
///
/// When others can read it and that cannot be changed; says what to do.
#[cfg(unix)]
pub(crate) fn close_to_others(directory: &Path) -> Result<Option<u32>, String> {
    disk::make_private(directory).map_err(|error| {
        let mode = disk::mode(directory).unwrap_or_default();
        format!(
            "others can read it (mode {mode:04o}), and with it prompts, pictures and signing secrets, and its permissions \
             cannot be changed: {error}; run `chmod 700` on it as its owner, or give another directory with --data-dir"
        )
    })
}

/// Whether a directory holds a database.
pub fn exists(directory: &Path) -> bool {
    directory.join(SqliteStore::FILE).is_file()
}

/// Opens the database in a directory, which must exist. A service may be running in it.
///
/// # Errors
///
/// When it cannot be opened, or belongs to a newer version.
pub fn open_store(directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(SqliteStore::open(directory)?))
}

/// Locks a data directory until the file is dropped. `None` if another process holds the lock.
pub(crate) fn lock(directory: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
