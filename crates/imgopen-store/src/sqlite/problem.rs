//! Errors of SQLite, before the file is added to them.

use rusqlite::ErrorCode;

use crate::StoreError;

/// An error of a statement or of a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Busy,
    Full,
    Unusable,
    Corrupt,
    Lost,
    Failed,
    Closed,
}

impl Problem {
    /// Another process has locked the database.
    pub fn busy(text: impl Into<String>) -> Self {
        Self { kind: Kind::Busy, text: text.into() }
    }

    /// The database is not the one that was opened.
    pub fn lost(text: impl Into<String>) -> Self {
        Self { kind: Kind::Lost, text: text.into() }
    }

    /// Whether another process has locked the database.
    pub fn is_busy(&self) -> bool {
        self.kind == Kind::Busy
    }

    /// A bug in the program.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, text: text.into() }
    }

    /// The database cannot be used at the moment.
    pub fn unusable(text: impl Into<String>) -> Self {
        Self { kind: Kind::Unusable, text: text.into() }
    }

    /// The store is closed.
    pub fn closed() -> Self {
        Self { kind: Kind::Closed, text: "closed".to_owned() }
    }

    /// Adds the file.
    pub fn at(self, path: &str) -> StoreError {
        let (path, problem) = (path.to_owned(), self.text);
        match self.kind {
            Kind::Busy => StoreError::Busy { path, problem },
            Kind::Full => StoreError::Full { path, problem },
            Kind::Unusable => StoreError::Unusable { path, problem },
            Kind::Corrupt => StoreError::Corrupt { path, problem },
            Kind::Lost => StoreError::Lost { path, problem },
            Kind::Failed => StoreError::Failed { path, problem },
            Kind::Closed => StoreError::Closed { path },
        }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory,
            ) => Kind::Unusable,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Corrupt,
            _ => Kind::Failed,
        };
        Self { kind, text: error.to_string() }
    }
}
