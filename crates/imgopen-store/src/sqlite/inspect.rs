//! Looking at a database without changing it, and copying it.

use std::path::Path;
use std::time::Instant;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::problem::Problem;
use super::{assets, notes, open, tasks};
use crate::ids::AssetToken;
use crate::{AssetFile, Moment, Note, StoreError};

/// How much damage is listed.
const DAMAGES: u32 = 20;

/// A database that is only looked at, not migrated: a backup, or that of a service, which may be running. Its methods block.
#[derive(Debug)]
pub struct Inspection {
    path: String,
    connection: Connection,
    layout: i64,
}

impl Inspection {
    /// The newest layout that this program knows.
    pub const KNOWN_LAYOUT: i64 = open::KNOWN;

    /// Opens the database in a directory.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let file = directory.join(open::FILE);
        let path = file.display().to_string();
        let opened = open::read_only(&file).and_then(|connection| {
            let layout = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            Ok((connection, layout))
        });
        let (connection, layout) = opened.map_err(|problem| open::at_open(problem, &path))?;
        Ok(Self { path, connection, layout })
    }

    /// The layout of the database. 0 if it is empty.
    pub fn layout(&self) -> i64 {
        self.layout
    }

    /// Reads the whole database, and describes what is damaged; at most some 20 places.
    ///
    /// # Errors
    ///
    /// When it cannot be read at all.
    pub fn damage(&self) -> Result<Vec<String>, StoreError> {
        let check = || -> Result<Vec<String>, Problem> {
            let mut statement = self.connection.prepare(&format!("PRAGMA integrity_check({DAMAGES})"))?;
            let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        };
        match check().map_err(|problem| problem.at(&self.path)) {
            Err(StoreError::Corrupt { problem, .. }) => Ok(vec![problem]),
            outcome => outcome,
        }
    }

    /// Lists the assets that have a file, by token from after that one, at most so many.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn assets(&self, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetFile>, StoreError> {
        self.read(|connection| assets::with_files(connection, after, most))
    }

    /// Returns those of the names of files that nothing accounts for: no asset, no deletion, and no run.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn unaccounted(&self, names: &[AssetToken]) -> Result<Vec<AssetToken>, StoreError> {
        self.read(|connection| assets::unaccounted(connection, names, self.layout))
    }

    /// Returns the place of the newest task that was ever accepted; 0 if none was.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn last_place(&self) -> Result<i64, StoreError> {
        self.read(tasks::last_place)
    }

    /// Returns the latest moment in the newest rows, or the last one that a service noted, if there is any.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn latest(&self) -> Result<Option<Moment>, StoreError> {
        self.read(|connection| tasks::latest(connection, self.layout))
    }

    /// Returns the value of a note. Databases of earlier layouts have none.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn note(&self, note: Note) -> Result<Option<i64>, StoreError> {
        self.read(|connection| if self.layout >= 4 { notes::note(connection, note) } else { Ok(None) })
    }

    /// Copies the database into another directory as it is at one moment, even while a service writes it. The copy is one
    /// file, and is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When the database cannot be read, or the copy cannot be written. What there is of the copy is then incomplete.
    pub fn copy_to(&self, directory: &Path) -> Result<(), StoreError> {
        let file = directory.join(open::FILE);
        copy(&self.connection, &file).map_err(|problem| problem.at(&file.display().to_string()))
    }

    /// An empty database has no tables, and nothing in them.
    fn read<T: Default>(&self, work: impl FnOnce(&Connection) -> Result<T, Problem>) -> Result<T, StoreError> {
        if self.layout == 0 {
            return Ok(T::default());
        }
        work(&self.connection).map_err(|problem| problem.at(&self.path))
    }
}

fn copy(from: &Connection, file: &Path) -> Result<(), Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut to = Connection::open_with_flags(file, flags)?;
    // All pages in one step: a write in between would start the copy again.
    copy_pages(&Backup::new(from, &mut to)?)?;
    // The copied header announces a write-ahead log, which a single file does not have.
    to.pragma_update(None, "journal_mode", "DELETE")?;
    to.close().map_err(|(_, error)| error.into())
}

fn copy_pages(backup: &Backup<'_, '_>) -> Result<(), Problem> {
    let start = Instant::now();
    loop {
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ if start.elapsed() < open::BUSY => std::thread::sleep(open::PAUSE),
            _ => return Err(Problem::busy("it could not be copied")),
        }
    }
}
