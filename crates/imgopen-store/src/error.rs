//! Errors of a store, by what can be done about them.

/// An error of a store.
///
/// The variants separate what an operator can fix ([`Busy`](StoreError::Busy), [`Full`](StoreError::Full),
/// [`Unusable`](StoreError::Unusable), [`Lost`](StoreError::Lost), [`Corrupt`](StoreError::Corrupt),
/// [`Unreachable`](StoreError::Unreachable), [`Access`](StoreError::Access)) from a bug in the program
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
    /// All that was in the database was moved into another one.
    #[error(
        "the database {path} was moved to {to}; give `--database` with that address; what is left here is an old copy, which \
         `moved.json` beside it keeps from being used"
    )]
    Moved {
        /// Its file or address.
        path: String,
        /// The address of the other one, without a password.
        to: String,
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
    /// The files of the database are not those that were opened. What was written since is in files that nobody finds.
    #[error(
        "the database {path} is lost: {problem}; nothing is written any more; put its files back, or stop the service and \
         restore a backup with `imgopen restore`"
    )]
    Lost {
        /// Its file or address.
        path: String,
        /// Which file.
        problem: String,
    },
    /// The database is damaged.
    #[error(
        "the database {path} is damaged: {problem}; stop the service and restore a backup with `imgopen restore`, or save \
         what can be read with `sqlite3 {path} .recover`"
    )]
    Corrupt {
        /// Its file or address.
        path: String,
        /// The database's own message.
        problem: String,
    },
    /// The database's server does not answer, or closes connections: it is stopping or starting, or the network fails.
    #[error(
        "the database {path} cannot be reached: {problem}; check that its server runs, and the network on the way to it"
    )]
    Unreachable {
        /// Its address.
        path: String,
        /// The server's own message, or that of the network.
        problem: String,
    },
    /// The database's server rejects what the settings say, such as a password.
    #[error("the database {path} cannot be used: {problem}; {fix}")]
    Access {
        /// Its address.
        path: String,
        /// The server's own message.
        problem: String,
        /// What to do about it.
        fix: &'static str,
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
        !matches!(self, Self::Busy { .. } | Self::Full { .. } | Self::Moved { .. })
    }

    /// Whether the same call may succeed later although nobody repairs the data or the program: the lock is released, space
    /// is freed, the disk is back.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Open { .. }
                | Self::Busy { .. }
                | Self::Full { .. }
                | Self::Unusable { .. }
                | Self::Lost { .. }
                | Self::Unreachable { .. }
                | Self::Access { .. }
        )
    }

    /// Says what is wrong without paths and addresses, for readers who must not learn them.
    pub fn summary(&self) -> &'static str {
        match self {
            Self::Open { .. } => "the database cannot be opened",
            Self::Layout { .. } => "the database belongs to a newer version of the service",
            Self::Moved { .. } => "the database was moved to another one",
            Self::Busy { .. } => "the database is locked by another process",
            Self::Full { .. } => "the disk of the database is full",
            Self::Unusable { .. } => "the database cannot be read or written",
            Self::Lost { .. } => "the files of the database were deleted or replaced",
            Self::Corrupt { .. } => "the database is damaged",
            Self::Unreachable { .. } => "the database cannot be reached",
            Self::Access { .. } => "the database rejects the service",
            Self::Failed { .. } => "the database failed",
            Self::Closed { .. } => "the database is closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_no_path() {
        let (path, problem) = (|| "/srv/data/db".to_owned(), || "out of paper".to_owned());
        let errors = [
            (StoreError::Open { path: path(), problem: problem() }, true),
            (StoreError::Layout { path: path(), found: 9, known: 4 }, false),
            (StoreError::Moved { path: path(), to: "postgres://db/imgopen".to_owned() }, false),
            (StoreError::Busy { path: path(), problem: problem() }, true),
            (StoreError::Full { path: path(), problem: problem() }, true),
            (StoreError::Unusable { path: path(), problem: problem() }, true),
            (StoreError::Lost { path: path(), problem: problem() }, true),
            (StoreError::Corrupt { path: path(), problem: problem() }, false),
            (StoreError::Unreachable { path: path(), problem: problem() }, true),
            (StoreError::Access { path: path(), problem: problem(), fix: "buy some" }, true),
            (StoreError::Failed { path: path(), problem: problem() }, false),
            (StoreError::Closed { path: path() }, false),
        ];
        for (error, may_pass) in errors {
            assert!(error.to_string().contains("/srv/data/db") && !error.summary().contains('/'), "{error}");
            assert_eq!(error.may_pass(), may_pass, "{error}");
        }
    }
}
