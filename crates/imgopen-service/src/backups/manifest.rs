//! What a backup says about itself, and what can be wrong with one.

use std::path::Path;

use imgopen_store::{AssetToken, StoreError};
use serde::{Deserialize, Serialize};

use crate::plurals::{counted, have};

/// The name of the file.
pub const FILE: &str = "backup.json";

/// The form of the backups that this version makes.
pub const FORM: u32 = 1;

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the backup.
    pub form: u32,
    /// The version of the program that made it.
    pub version: String,
    /// The moment that its database shows, in RFC 3339.
    pub made_at: String,
    /// The layout of its database.
    pub layout: i64,
    /// How many pictures are in it.
    pub pictures: u64,
    /// The bytes of all pictures.
    pub picture_bytes: u64,
    /// Pictures that the database refers to, and whose file was missing or had another size.
    pub missing: Vec<AssetToken>,
    /// Pictures that were deleted while the backup was made, because they had expired.
    #[serde(default)]
    pub expired: Vec<AssetToken>,
    /// How many data sets of trainings are in it.
    pub data_sets: u64,
    /// The address of the bucket that has the pictures, such as `s3://bucket/prefix`. Then they are not in the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
}

impl Manifest {
    /// Reads that of a backup.
    pub fn read(backup: &Path) -> Result<Self, BackupError> {
        let path = backup.display().to_string();
        let text = std::fs::read(backup.join(FILE));
        let text = text.map_err(|error| BackupError::NoBackup { path: path.clone(), problem: error.to_string() })?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| BackupError::NoBackup { path: path.clone(), problem: error.to_string() })?;
        match manifest.form {
            ..=FORM => Ok(manifest),
            _ => Err(BackupError::Newer { path, version: manifest.version }),
        }
    }
}

/// An error of making or restoring a backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is no database.
    #[error("{0} is not a data directory; name the service's data directory with --data-dir")]
    NoData(String),
    /// The backup would overwrite something.
    #[error("{0} exists already; give the name of a directory that does not exist")]
    Exists(String),
    /// The name is not that of a directory.
    #[error("{0} cannot be the name of a backup; give the name of a directory that does not exist")]
    Name(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database is damaged.
    #[error(
        "the database of {path} is damaged: {problem}; use an earlier backup, or save what can be read with `sqlite3 \
         {path}/imgopen.sqlite3 .recover`"
    )]
    Damaged {
        /// The data directory or the backup.
        path: String,
        /// The first damage.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {problem}")]
    File {
        /// Its path.
        path: String,
        /// The system's message.
        problem: String,
    },
    /// The directory is not a backup.
    #[error(
        "{path} is not a complete backup: `backup.json` cannot be read: {problem}; give one that `imgopen backup` made"
    )]
    NoBackup {
        /// Its path.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The backup was made by a newer version.
    #[error(
        "the backup {path} was made by version {version} of this program; restore it with that version or a newer one"
    )]
    Newer {
        /// Its path.
        path: String,
        /// The version that made it.
        version: String,
    },
    /// Pictures are missing in the data directory.
    #[error(
        "{}, such as {first}; see `imgopen doctor`, bring back what is missing, such \
         as a disk, or back up the rest with --incomplete; if pictures are in a bucket, name it with --storage",
        lacking(.missing, .path)
    )]
    MissingPictures {
        /// The data directory.
        path: String,
        /// How many.
        missing: usize,
        /// The name of one.
        first: String,
    },
    /// Data sets are missing in the backup.
    #[error("the backup {path} lacks {missing} of its data sets; copy it again, or use an earlier one")]
    DataSets {
        /// Its path.
        path: String,
        /// How many.
        missing: u64,
    },
    /// Pictures are missing in the backup.
    #[error(
        "the backup {path} lacks {missing} of its pictures, such as {first}; copy it again, use an earlier one, or restore what \
         there is with --incomplete"
    )]
    Incomplete {
        /// Its path.
        path: String,
        /// How many.
        missing: usize,
        /// The name of one.
        first: String,
    },
    /// A service runs in the data directory.
    #[error("a service runs in the data directory {0}; stop it first")]
    Occupied(String),
    /// Something is in the data directory.
    #[error(
        "the data directory {0} is not empty; give another one with --data-dir, or move what is there aside with --replace"
    )]
    NotEmpty(String),
}

fn lacking(missing: &usize, path: &str) -> String {
    let missing = *missing as u64;
    format!("{} of {path} {} no whole file", counted(missing, "picture"), have(missing))
}

impl BackupError {
    /// Adds the path to an error of the system.
    pub(super) fn at(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| Self::File { path: path.display().to_string(), problem: error.to_string() }
    }
}
