//! The data directory: database, pictures and data sets, for one running service at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use imgopen_store::{SqliteStore, Store, StoreError};

/// The directory of the pictures within the data directory.
pub(crate) const ASSETS: &str = "assets";

/// The file of the models' hashes within the data directory.
pub(crate) const HASHES: &str = "model-hashes.json";

/// The file that a running service holds locked.
const LOCK: &str = "service.lock";

/// Creates a directory that only its owner can read, because it holds prompts, pictures, and the secrets that sign
/// callbacks. An existing directory keeps its permissions.
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
