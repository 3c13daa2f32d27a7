//! What both places of files have in common: a directory and a bucket.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use imgopen_store::{AssetToken, RunId, Store};
use object_store::PutPayload;
use tokio::io::AsyncReadExt;

use super::error::AssetError;
use super::kind::Kind;
use super::links::Links;

/// How much of a file is copied at a time, in bytes.
pub const PART: usize = 8 << 20;

/// A file that is being read.
pub struct Opened {
    /// The size of the whole file.
    pub size: u64,
    /// The part that was asked for.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// A place of files. Each is named by a token.
#[async_trait]
pub trait Files: fmt::Debug + Send + Sync {
    /// Makes sure that the place is the one that the database knows, or takes it for that if none of its files can be missing.
    async fn settle(&self, store: &dyn Store) -> Result<(), AssetError>;

    /// Whether the place is surely the one that the database knows, so that what is not in it does not exist.
    ///
    /// # Errors
    ///
    /// Says what is so instead.
    async fn here(&self, store: &dyn Store) -> Result<(), AssetError>;

    /// Finds out whether a file could be written.
    async fn probe(&self, store: &dyn Store) -> Result<(), AssetError>;

    /// Finds out whether a bucket can take the files of a database, which are elsewhere. It is left as it is.
    async fn try_out(&self, _: &dyn Store) -> Result<(), AssetError> {
        Ok(())
    }

    /// Writes a file, whole or not at all. The place is settled.
    async fn put(&self, token: &AssetToken, payload: PutPayload, kind: &Kind) -> Result<(), AssetError>;

    /// Copies a file of this machine, part by part, and returns its size. The place is settled.
    async fn put_file(&self, token: &AssetToken, from: &Path, kind: &Kind) -> Result<u64, AssetError>;

    /// Opens a part of a file.
    async fn get(&self, token: &AssetToken, range: Range<u64>) -> Result<Opened, AssetError>;

    /// Returns the size of a file. `None` if there is none, or the place is another one.
    async fn size(&self, token: &AssetToken) -> Result<Option<u64>, AssetError>;

    /// Deletes files, and returns those that do not exist any more, with the first error of the others. None is known not to
    /// exist while the place is away.
    async fn delete_each(&self, tokens: Vec<AssetToken>, store: &dyn Store) -> (Vec<AssetToken>, Option<AssetError>);

    /// Returns the names of some files that are named like tokens, at most so many.
    async fn some_names(&self, most: usize) -> Result<Vec<AssetToken>, AssetError>;

    /// Returns the beginnings of names of which there may be files.
    async fn shelves(&self) -> Result<Vec<String>, AssetError>;

    /// Returns the names of files on a shelf in their order, from after that one, at most so many.
    async fn page(&self, shelf: &str, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetToken>, AssetError>;

    /// Returns the names of all files of a run.
    async fn of_run(&self, run: &RunId) -> Result<Vec<AssetToken>, AssetError>;

    /// Deletes what is partly written of the files of a run, and returns how much that was.
    async fn delete_partial(&self, run: &RunId) -> Result<usize, AssetError>;

    /// Returns the addresses at which callers get files without the service, if they are to.
    fn links(&self) -> Option<&Links>;

    /// Returns the directory, if it is one.
    fn directory(&self) -> Option<&Path>;

    /// Returns the path or address, for the log.
    fn shown(&self) -> String;
}

/// Reads the next part of a file. It is shorter than the others only at the end.
pub async fn part(file: &mut tokio::fs::File) -> Result<Vec<u8>, AssetError> {
    let mut part = Vec::with_capacity(PART);
    file.take(PART as u64).read_to_end(&mut part).await.map_err(unread)?;
    Ok(part)
}

/// The error that a file of a result cannot be read.
pub fn unread(error: io::Error) -> AssetError {
    AssetError::Files(object_store::Error::Generic { store: "a file of a result", source: error.into() })
}
