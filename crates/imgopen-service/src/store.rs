//! What is kept for good: one SQLite file. Every statement of the service is in this module and below.
//!
//! One thread writes. It takes all that is waiting into one transaction and answers when that is on the disk, so that
//! many callers share one wait for the disk and no two writes meet half-way. Each piece of work is a savepoint: one that
//! fails takes nothing else with it. Readers have connections of their own and never wait for the writer.

mod assets;
mod callbacks;
mod keys;
mod open;
mod readers;
mod tasks;
mod writer;

use std::path::Path;

use imgopen_server::Failure;
use rusqlite::Connection;

pub use assets::{AssetRow, NewAsset};
pub use callbacks::{CallbackRow, CallbackState, NewCallback, Try};
pub use keys::KeyRow;
pub use tasks::{Ending, NewTask, Page, Remembered, Submitted, TaskFilter, TaskRow};

use crate::service::make_private;
use readers::Readers;
use writer::Writer;

/// Why the store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("the database {path} cannot be opened: {problem}")]
    Open {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The folder cannot be made.
    #[error("the data folder {path} cannot be made: {problem}")]
    Folder {
        /// The folder.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The database is of a newer version of this program.
    #[error("the database has the layout {found}, this program knows {known}; use the newer program that made it")]
    Layout {
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A statement failed.
    #[error("the database failed: {0}")]
    Database(String),
    /// The service is stopping.
    #[error("the database is closed; the service is stopping")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// What goes wrong in the database is the server's fault, and its log tells more than its callers need to know.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Failure::unavailable(error.to_string()),
            error => {
                tracing::error!(%error, "the database failed on a request");
                Failure::internal("the server's database failed on this request; its log tells more")
            }
        }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    readers: Readers,
}

impl Store {
    /// Opens the database in a folder, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or belongs to a newer version.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(open::FILE);
        let writer = Writer::start(open::read_write(&path)?)?;
        let readers = Readers::new(path)?;
        Ok(Self { writer, readers })
    }

    /// The same, in a folder that is made if it is not there, for its owner's eyes alone.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, or as [`Store::open`].
    pub fn create(folder: &Path) -> Result<Self, StoreError> {
        make_private(folder).map_err(|error| {
            let (path, problem) = (folder.display().to_string(), error.to_string());
            StoreError::Folder { path, problem }
        })?;
        Self::open(folder)
    }

    /// Whether there is a database in a folder.
    pub fn exists(folder: &Path) -> bool {
        folder.join(open::FILE).is_file()
    }

    /// Runs work that writes. The answer comes when it is on the disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(work).await
    }

    /// Runs work that only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(work).await
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model_tests;
