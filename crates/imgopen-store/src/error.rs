//! Errors of a store, by what can be done about them.

/// An error of a store.
///
/// The variants separate what an operator can fix ([`Busy`](StoreError::Busy), [`Full`](StoreError::Full),
/// [`Unusable`](StoreError::Unusable), [`Corrupt`](StoreError::Corrupt)) from a bug in the program
/// ([`Failed`](StoreError::Failed)). A write that returned an error may have been carried out nonetheless; see
/// [`may_be_done`](StoreError::may_be_done).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be opened.
    #[error(
        "the database {path} cannot be opened: {problem}; check that its directory exists, is writable and on a local disk"
    )]
    Open {
        /// Its file or address.
        path: String,
        /// The database's own message.
        problem: String,
    },
    /// A newer version of this program has migrated the database.
    #[error(
        "the database {path} has the layout {found}, but this program knows {known}; use the newer program that made it"
    )]
    Layout {
        /// Its file or address.
        path: String,
        /// The layout of the database.
        found: i64,
        /// The newest layout that this program knows.
        known: i64,
    },
    /// Another process held the database locked for longer than a write waits.
    #[error("the database {path} is locked by another process: {problem}; stop that process, or try again")]
    Busy {
        /// Its file or address.
        path: String,
        /// The database's own message.
        problem: String,
    },
    /// There is no space for what was to be written.
    #[error("the disk of the database {path} is full: {problem}; free some space")]
    Full {
        /// Its file or address.
        path: String,
        /// The database's own message.
        problem: String,
    },
    /// The database cannot be read or written any more: its disk fails, or its permissions were changed.
    #[error("the database {path} cannot be read or written: {problem}; check its disk and its permissions")]
    Unusable {
        /// Its file or address.
        path: String,
        /// The database's own message.
        problem: String,
    },
    /// The database is damaged.
    #[error("the database {path} is damaged: {problem}; restore it from a backup")]
    Corrupt {
        /// Its file or address.
        path: String,
        /// The database's own message.
        problem: String,
    },
    /// A statement failed for another reason, which is a bug in the program.
    #[error("the database {path} failed: {problem}; this is a bug, please report it")]
    Failed {
        /// Its file or address.
        path: String,
        /// The database's own message.
        problem: String,
    },
    /// The store is closed.
    #[error("the database {path} is closed; the service is stopping")]
    Closed {
        /// Its file or address.
        path: String,
    },
}

impl StoreError {
    /// Whether a write that returned this error may have been carried out nonetheless.
    pub fn may_be_done(&self) -> bool {
        !matches!(self, Self::Busy { .. } | Self::Full { .. })
    }
}
