//! Errors of the files of results.

use imgopen_store::{NoRandomness, StoreError};

/// An error of writing, reading or deleting a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetError {
    /// The directory cannot be used.
    #[error("the directory {directory} cannot hold pictures: {problem}")]
    Directory {
        /// Its path.
        directory: String,
        /// The system's message.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("a picture cannot be read or written: {0}")]
    Files(#[from] object_store::Error),
    /// The directory is the mount point of a disk that is away.
    #[error(
        "{directory} {found}, so it is not the directory that the database knows; mount its disk, or restore a backup; if the \
         pictures are lost for good, run `mkdir -p {adopt}` to go on without them"
    )]
    Away {
        /// Its path.
        directory: String,
        /// What is so instead, such as "does not exist".
        found: &'static str,
        /// The directory to make if it is to be taken nevertheless.
        adopt: String,
    },
    /// The bucket cannot be used.
    #[error("the bucket {bucket} cannot be used: {problem}")]
    Bucket {
        /// Its address, such as `s3://bucket/prefix`.
        bucket: String,
        /// What is wrong, and how to fix it.
        problem: String,
    },
    /// The place in the bucket is not the one that the database knows.
    #[error("{bucket} {found}; {fix}; to take it nevertheless, put an empty object there: {adopt}")]
    Foreign {
        /// Its address, such as `s3://bucket/prefix`.
        bucket: String,
        /// What is so instead, such as "bears the mark of another database".
        found: &'static str,
        /// How to fix it.
        fix: &'static str,
        /// The object to put if it is to be taken nevertheless.
        adopt: String,
    },
    /// A picture has no file any more.
    #[error("the file of the picture does not exist")]
    Lost,
    /// A picture's file is not as long as it was.
    #[error("the file of the picture has {found} bytes instead of {expected}; restore it from a backup")]
    Damaged {
        /// Its length.
        found: u64,
        /// The length that was written.
        expected: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl AssetError {
    /// Whether nothing can be said about any file, because the place of all of them is away or is another one.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Bucket { .. } | Self::Foreign { .. })
    }
}
