//! Why a move cannot go on.

use std::io;
use std::path::Path;

use imgopen_store::{NoRandomness, RowKind, StoreError};

use crate::assets::AssetError;
use crate::plurals::{counted, have};
use crate::settings::InvalidSetting;

/// How a move that is not valid begins again.
const AGAIN: &str = "drop the database with `dropdb`, create it again, delete what is below the bucket's prefix or name another \
                     prefix, and repeat the move";

/// An error of moving a service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// There is no database.
    #[error("{0} is not a data directory; name the service's data directory with --from")]
    NoData(String),
    /// A service runs in the data directory, or another move.
    #[error("a service, a restore or another move uses the data directory {0}; stop it first")]
    Occupied(String),
    /// Everything was moved before.
    #[error("all that was in {from} was moved to {to} before; start services with `--database` and that address")]
    Done {
        /// The data directory.
        from: String,
        /// The address.
        to: String,
    },
    /// The target holds rows.
    #[error("the database {0} is not empty, or a service uses it; create another one with `createdb`, and name that")]
    NotEmpty(String),
    /// The target is being filled, or was, by another move.
    #[error(
        "the database {to} holds what another move from {source_dir} has brought; if that is not complete and its source was \
         used since, {again}; otherwise name another database",
        again = AGAIN
    )]
    Other {
        /// The address of the target.
        to: String,
        /// Where the rows in it come from.
        source_dir: String,
    },
    /// Pictures have no file.
    #[error(
        "{}, such as {first}; if they are in a bucket, name it with --storage; restore them from a backup, or give --incomplete \
         to go on without them",
        lacking(.missing)
    )]
    Missing {
        /// How many.
        missing: u64,
        /// One of them.
        first: String,
    },
    /// A picture is not in the bucket as it was in the directory.
    #[error("the picture {token} arrived with other bytes than it has in the data directory; repeat the move")]
    Altered {
        /// Its token.
        token: String,
    },
    /// Rows did not arrive as they were.
    #[error("of the {kind}, {differing} arrived with other values than the source has; was it used meanwhile? {again}", again = AGAIN)]
    AlteredRows {
        /// The kind of rows.
        kind: RowKind,
        /// How many of them.
        differing: usize,
    },
    /// The target lacks rows, or has others.
    #[error(
        "of the {kind}, the source has {source_count} and the target {target_count}; was the source used meanwhile? {again}",
        again = AGAIN
    )]
    Differs {
        /// The kind of rows.
        kind: RowKind,
        /// How many the source has.
        source_count: u64,
        /// How many the target has.
        target_count: u64,
    },
    /// The source changed.
    #[error("the data directory {0} was used while it was moved, so the move is not valid; {again}", again = AGAIN)]
    Used(String),
    /// A file cannot be read or written.
    #[error("{path}: {problem}")]
    File {
        /// Its path.
        path: String,
        /// The system's message.
        problem: String,
    },
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place of the pictures failed.
    #[error(transparent)]
    Assets(#[from] AssetError),
    /// The system gave no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

fn lacking(missing: &u64) -> String {
    format!("{} of the database {} no file of the right size", counted(*missing, "picture"), have(*missing))
}

impl MoveError {
    /// Adds the path to an error of a file.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::File { path, problem: error.to_string() }
    }
}
