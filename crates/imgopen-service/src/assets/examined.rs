//! A bucket as `imgopen doctor` looks at it: without a service, and waiting for each answer.

use std::io;
use std::sync::Arc;

use imgopen_store::AssetToken;
use tokio::runtime::{Builder, Runtime};

use super::error::AssetError;
use super::mark;
use super::requests::Bucket;
use crate::settings::{InvalidSetting, StorageSettings};

/// A bucket that is examined. Its calls block, and must not be made in a task.
pub struct Examined {
    bucket: Arc<Bucket>,
    runtime: Runtime,
}

impl Examined {
    /// Opens the bucket of the settings. `None` if they name none.
    ///
    /// # Errors
    ///
    /// When the settings do not fit each other, or a secret cannot be read.
    pub fn open(settings: &StorageSettings) -> Result<Option<Self>, InvalidSetting> {
        let Some(location) = settings.location()? else { return Ok(None) };
        let bucket = Arc::new(Bucket::open(settings, location, settings.endpoint.as_deref())?);
        let unable = |error: io::Error| InvalidSetting {
            setting: "storage.url".to_owned(),
            problem: format!("no connection can be made: {error}"),
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(unable)?;
        Ok(Some(Self { bucket, runtime }))
    }

    /// Returns the address, such as `s3://bucket/prefix`.
    pub fn shown(&self) -> String {
        self.bucket.shown()
    }

    /// Returns the number of the mark. `None` if there is none.
    pub fn mark(&self) -> Result<Option<i64>, AssetError> {
        self.runtime.block_on(mark::read(&self.bucket))
    }

    /// Whether the prefix has a provisional mark with that number.
    pub fn is_proposed(&self, number: i64) -> Result<bool, AssetError> {
        self.runtime.block_on(mark::is_proposed(&self.bucket, number))
    }

    /// Whether the database with that number is ordered to take the prefix.
    pub fn is_adopted(&self, noted: Option<i64>) -> Result<bool, AssetError> {
        self.runtime.block_on(mark::is_adopted(&self.bucket, noted))
    }

    /// Returns the object that orders so.
    pub fn shown_adoption(&self, noted: Option<i64>) -> String {
        mark::shown_adoption(&self.bucket, noted)
    }

    /// Writes an object and deletes it.
    pub fn write_probe(&self) -> Result<(), AssetError> {
        self.runtime.block_on(mark::write_probe(&self.bucket))
    }

    /// Returns the beginnings of tokens of which there may be files.
    pub fn shelves(&self) -> Result<Vec<String>, AssetError> {
        self.runtime.block_on(self.bucket.shelves())
    }

    /// Returns files whose tokens begin so with their sizes, in the order of their tokens, from after that one, at most so many.
    pub fn page(
        &self,
        shelf: &str,
        after: Option<&AssetToken>,
        most: usize,
    ) -> Result<Vec<(AssetToken, u64)>, AssetError> {
        self.runtime.block_on(self.bucket.page(shelf, after, most))
    }

    /// Returns the size of a file. `None` if there is none.
    pub fn size(&self, token: &AssetToken) -> Result<Option<u64>, AssetError> {
        self.runtime.block_on(self.bucket.size(token))
    }
}
