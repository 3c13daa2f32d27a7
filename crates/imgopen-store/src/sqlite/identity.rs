//! Whether the open files are still those at their paths. SQLite does not notice that they were deleted or replaced: open
//! connections go on writing into files that nobody finds again, and new ones read another database.

use std::path::{Path, PathBuf};

use super::problem::Problem;

/// The database file and its write-ahead log, as they were when the database was opened.
#[derive(Debug)]
pub struct Identity {
    files: Vec<(PathBuf, &'static str, Id)>,
}

/// The device and the number of a file on it.
type Id = (u64, u64);

impl Identity {
    /// Remembers the files of a database that is open.
    pub fn of(file: &Path) -> Self {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        let files = [(file.to_owned(), "its file"), (PathBuf::from(log), "its write-ahead log")];
        let found = files.into_iter().filter_map(|(path, what)| {
            let id = id(&path).ok().flatten()?;
            Some((path, what, id))
        });
        Self { files: found.collect() }
    }

    /// Fails if one of the files is not at its path any more.
    pub fn check(&self) -> Result<(), Problem> {
        for (path, what, known) in &self.files {
            // SQLite itself reports a file that cannot be reached.
            if id(path).is_ok_and(|found| found != Some(*known)) {
                return Err(Problem::lost(format!("{what} was deleted or replaced while it was open")));
            }
        }
        Ok(())
    }
}

/// Returns what identifies a file, or `None` if there is none.
#[cfg(unix)]
fn id(path: &Path) -> std::io::Result<Option<Id>> {
    use std::os::unix::fs::MetadataExt;

    match std::fs::metadata(path) {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Elsewhere, files that are open cannot be deleted.
#[cfg(not(unix))]
fn id(_: &Path) -> std::io::Result<Option<Id>> {
    Ok(None)
}
