//! The data directory: database, pictures and data sets, for one running service at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use imgopen_store::{SqliteStore, Store, StoreError};

#[cfg(unix)]
use crate::disk;
use crate::moved;

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

/// Opens the database in a directory, which must exist, for a service. It ends a move that was interrupted.
///
/// # Errors
///
/// When it cannot be opened, belongs to a newer version, or was moved to another database.
pub fn open_store(directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
    moved::abandon(directory)?;
    Ok(Arc::new(SqliteStore::open(directory)?))
}

/// What a command does with the database in a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only reads.
    Reading,
    /// It may write, which a move would not notice.
    Writing,
}

/// Opens the database in a directory, which must exist, for a command. A service may be running in it. A command that writes ends a
/// move that was interrupted.
///
/// # Errors
///
/// When it cannot be opened, belongs to a newer version, was moved to another database, or is being moved and the command writes.
pub fn open_beside(directory: &Path, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    let is_moving = || moved::in_progress(directory).is_ok_and(|marker| marker.is_some());
    if access == Access::Writing && is_moving() {
        // Held while the move is ended, so that none goes on meanwhile.
        let Some(_lock) = lock(directory).ok().flatten() else {
            let problem = "it is being moved to another database".to_owned();
            return Err(StoreError::Busy { path: moved::database(directory), problem });
        };
        moved::abandon(directory)?;
    }
    moved::check(directory)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moved::Marker;

    #[test]
    fn a_command_that_writes_ends_a_move_unless_it_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let marker = Marker { id: "m".to_owned(), to: "postgres://db/x".to_owned(), since: String::new() };
        moved::begin(path, &marker).unwrap();
        let held = lock(path).unwrap().unwrap();
        open_beside(path, Access::Reading).unwrap();
        let error = open_beside(path, Access::Writing).unwrap_err();
        assert!(matches!(&error, StoreError::Busy { problem, .. } if problem.contains("moved")), "{error}");
        drop(held);
        open_beside(path, Access::Reading).unwrap();
        assert!(moved::in_progress(path).unwrap().is_some());
        open_beside(path, Access::Writing).unwrap();
        assert_eq!(moved::in_progress(path).unwrap(), None);
        moved::begin(path, &marker).unwrap();
        assert!(moved::finish(path).unwrap());
        for error in [open_beside(path, Access::Reading).unwrap_err(), open_store(path).unwrap_err()] {
            assert!(matches!(error, StoreError::Moved { .. }), "{error}");
        }
    }
}
