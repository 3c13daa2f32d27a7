//! What a data directory says about a move of all that is in it: that one is in progress, or where everything is now.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use imgopen_store::{SqliteStore, StoreError};
use serde::{Deserialize, Serialize};

use crate::disk;

/// The file of a move in progress. A service that starts in the directory deletes it: what was moved before is outdated then.
const MOVING: &str = "moving.json";

/// The file that says where everything was moved to.
const MOVED: &str = "moved.json";

/// A file that gets its name once it is whole.
const PARTIAL: &str = "moving.json.partial";

/// A move, as a file in the data directory describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The move's id, which the target knows, too.
    pub id: String,
    /// The address of the target, without a password.
    pub to: String,
    /// When the move began, in RFC 3339.
    pub since: String,
}

/// Returns the move in progress, if there is one.
pub(crate) fn in_progress(directory: &Path) -> io::Result<Option<Marker>> {
    read(&directory.join(MOVING))
}

/// Returns the move that is done, if one is.
pub(crate) fn done(directory: &Path) -> io::Result<Option<Marker>> {
    read(&directory.join(MOVED))
}

fn read(file: &Path) -> io::Result<Option<Marker>> {
    match std::fs::read(file) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Notes a move in progress.
pub(crate) fn begin(directory: &Path, marker: &Marker) -> io::Result<()> {
    let partial = directory.join(PARTIAL);
    let mut file = File::create(&partial)?;
    file.write_all(&serde_json::to_vec_pretty(marker)?)?;
    file.sync_all()?;
    std::fs::rename(&partial, directory.join(MOVING))?;
    disk::sync_directory(directory)
}

/// Notes that the move in progress is done. `false` if a service or a command has ended it, because it used the directory.
pub(crate) fn finish(directory: &Path) -> io::Result<bool> {
    match std::fs::rename(directory.join(MOVING), directory.join(MOVED)) {
        Ok(()) => disk::sync_directory(directory).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends a move in progress, because the directory is about to be used.
///
/// # Errors
///
/// When the move is done, or its file cannot be deleted.
pub(crate) fn abandon(directory: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(directory.join(MOVING)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(directory, MOVING, &error)),
        _ => {}
    }
    // After that, so that a move that was done just before is seen.
    check(directory)
}

/// Fails if everything was moved elsewhere.
///
/// # Errors
///
/// Says where.
pub(crate) fn check(directory: &Path) -> Result<(), StoreError> {
    match done(directory) {
        Ok(None) => Ok(()),
        Ok(Some(marker)) => Err(StoreError::Moved { path: database(directory), to: marker.to }),
        Err(error) => Err(cannot(directory, MOVED, &error)),
    }
}

fn cannot(directory: &Path, name: &str, error: &io::Error) -> StoreError {
    let problem = format!("the file `{name}` of a move is in the way: {error}");
    StoreError::Open { path: database(directory), problem }
}

/// The path of the database, for messages.
pub(crate) fn database(directory: &Path) -> String {
    directory.join(SqliteStore::FILE).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_that_is_done_bars_the_directory_and_one_in_progress_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let text = |text: &str| text.to_owned();
        let marker = Marker { id: text("m"), to: text("postgres://db:5432/x"), since: text("2026-11-30T00:00:00Z") };
        abandon(path).unwrap();
        assert_eq!((in_progress(path).unwrap(), done(path).unwrap()), (None, None));
        begin(path, &marker).unwrap();
        assert_eq!(in_progress(path).unwrap().as_ref(), Some(&marker));
        abandon(path).unwrap();
        assert!(!finish(path).unwrap());
        begin(path, &marker).unwrap();
        assert!(finish(path).unwrap());
        assert_eq!(done(path).unwrap().as_ref(), Some(&marker));
        let error = abandon(path).unwrap_err();
        assert!(matches!(&error, StoreError::Moved { to, .. } if to == "postgres://db:5432/x"), "{error}");
        std::fs::write(path.join(MOVED), "{").unwrap();
        assert!(matches!(check(path), Err(StoreError::Open { .. })));
    }
}
