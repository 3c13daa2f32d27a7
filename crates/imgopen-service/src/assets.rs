//! Files of results, most of which are pictures: written whole or not at all, and named by tokens that cannot be guessed. They are
//! in a directory or in a bucket.

mod access;
mod bucket;
mod directory;
mod error;
mod examined;
mod faults;
mod files;
mod import;
mod kind;
mod links;
mod mark;
mod requests;
mod tokens;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use imgopen_engine::{OutputFile, Picture};
use imgopen_picture::with_notes;
use imgopen_store::{AssetToken, Moment, NewAsset, RunId, Store};
use object_store::PutPayload;

use crate::settings::{InvalidSetting, Serving, StorageSettings};
use bucket::InBucket;
use directory::Directory;
pub use error::AssetError;
pub(crate) use examined::Examined;
use files::{Files, Opened};
pub(crate) use kind::attachment;
use kind::{FILE, Kind};
use links::Links;
use requests::Bucket;
use tokens::extension;
pub(crate) use tokens::{is_token, names, path};

/// The files of results. Clones share them.
#[derive(Debug, Clone)]
pub struct Assets {
    files: Arc<dyn Files>,
    store: Arc<dyn Store>,
}

/// An address at which a caller gets a file from the bucket.
#[derive(Debug)]
pub(crate) struct Link {
    pub url: String,
    /// How long the answer with it may be kept.
    pub fresh_for: Duration,
}

impl Assets {
    /// Opens a directory in a data directory. It need not exist: [`settle`](Self::settle) looks at it. The store has the rows of
    /// its pictures.
    ///
    /// # Errors
    ///
    /// When the data directory cannot be read.
    pub fn open(directory: &Path, store: Arc<dyn Store>) -> Result<Self, AssetError> {
        Ok(Self { files: Arc::new(Directory::open(directory, false)?), store })
    }

    /// Does the same for a directory that several processes must share. None of them takes a directory of its own, once the database
    /// knows one.
    ///
    /// # Errors
    ///
    /// When the data directory cannot be read.
    pub(crate) fn open_shared(directory: &Path, store: Arc<dyn Store>) -> Result<Self, AssetError> {
        Ok(Self { files: Arc::new(Directory::open(directory, true)?), store })
    }

    /// Opens the bucket of the settings, without connecting to it. `None` if they name none. If several processes use it, none of them
    /// takes another one, once the database knows one.
    ///
    /// # Errors
    ///
    /// When the settings do not fit each other, or a secret cannot be read.
    pub fn in_bucket(
        settings: &StorageSettings,
        store: Arc<dyn Store>,
        is_shared: bool,
    ) -> Result<Option<Self>, InvalidSetting> {
        let Some(location) = settings.location()? else { return Ok(None) };
        let endpoint = settings.endpoint.as_deref();
        let bucket = Arc::new(Bucket::open(settings, location.clone(), endpoint)?);
        let links = match (settings.serve, settings.public_endpoint.as_deref()) {
            (Serving::Proxy, _) => None,
            (Serving::Redirect, None) => Some(Links::new(bucket.clone(), settings.redirect_for)),
            (Serving::Redirect, public) => {
                let reached = Arc::new(Bucket::open(settings, location, public)?);
                Some(Links::new(reached, settings.redirect_for))
            }
        };
        Ok(Some(Self { files: Arc::new(InBucket::new(bucket, links, is_shared)), store }))
    }

    /// Makes sure that the directory or the prefix is the one that the database knows, not the mount point of a disk that is away,
    /// nor the place of another database.
    ///
    /// # Errors
    ///
    /// When it is not, or that cannot be found out.
    pub async fn settle(&self) -> Result<(), AssetError> {
        self.files.settle(&*self.store).await
    }

    /// Finds out whether a bucket can take the files of the database of that store, which has them elsewhere, and leaves it as it is.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or belongs to another database.
    pub(crate) async fn try_out(&self, store: &dyn Store) -> Result<(), AssetError> {
        self.files.try_out(store).await
    }

    /// Whether the directory or the prefix is surely the one that the database knows, so that what is not in it does not exist.
    pub(crate) async fn is_here(&self) -> bool {
        self.files.here(&*self.store).await.is_ok()
    }

    /// Writes a file to find out whether a picture could be written.
    pub(crate) async fn probe(&self) -> Result<(), AssetError> {
        self.files.probe(&*self.store).await
    }

    /// Returns the directory. `None` for a bucket.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.files.directory()
    }

    /// Returns the path of the directory or the address of the bucket, for the log.
    pub(crate) fn shown(&self) -> String {
        self.files.shown()
    }

    /// Overwrites a preview with a later one of the same format.
    pub(crate) async fn put_again(&self, token: &AssetToken, picture: &Picture) -> Result<(), AssetError> {
        self.settle().await?;
        let kind = Kind { media_type: picture.format.media_type(), name: None };
        self.files.put(token, picture.bytes.clone().into(), &kind).await
    }

    /// Writes a picture of a run, with notes in its text if there are any and it is a PNG file. It becomes an asset only when
    /// its row is written too.
    pub(crate) async fn put(
        &self,
        run: &RunId,
        picture: &Picture,
        notes: &[String],
        expires_at: Option<Moment>,
    ) -> Result<NewAsset, AssetError> {
        let token = AssetToken::new(run, picture.format.extension())?;
        let noted = if notes.is_empty() { None } else { with_notes(&picture.bytes, &notes.join("\n")) };
        let payload = noted.map_or_else(|| picture.bytes.clone().into(), PutPayload::from_iter);
        let bytes = payload.content_length() as u64;
        // What is written into the mount point of a disk is out of reach when the disk is back.
        self.settle().await?;
        let kind = Kind { media_type: picture.format.media_type(), name: None };
        self.files.put(&token, payload, &kind).await?;
        Ok(NewAsset { token, media_type: kind.media_type, bytes, expires_at, name: None })
    }

    /// Copies a file of a run's result, part by part. It becomes an asset only when its row is written too.
    pub(crate) async fn put_file(
        &self,
        run: &RunId,
        file: &OutputFile,
        expires_at: Option<Moment>,
    ) -> Result<NewAsset, AssetError> {
        let token = AssetToken::new(run, extension(&file.name))?;
        self.settle().await?;
        let kind = Kind { media_type: FILE, name: Some(file.name.clone()) };
        let bytes = self.files.put_file(&token, &file.path, &kind).await?;
        Ok(NewAsset { token, media_type: FILE, bytes, expires_at, name: kind.name })
    }

    /// Streams a part of a picture that has that many bytes. Fails before the first byte if the file is lost or cut, or if the
    /// disk or the bucket does not answer.
    pub(crate) async fn stream(
        &self,
        token: &AssetToken,
        range: Range<u64>,
        expected: u64,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, AssetError> {
        let found = match self.files.get(token, range).await {
            Ok(Opened { size, bytes }) if size == expected => return Ok(bytes),
            Ok(Opened { size, .. }) => size,
            // Reading failed although the file is whole.
            Err(error @ AssetError::Files(_)) => match self.size(token).await? {
                found if found == expected => return Err(error),
                found => found,
            },
            Err(AssetError::Lost) => self.size(token).await?,
            Err(error) => return Err(error),
        };
        Err(AssetError::Damaged { found, expected })
    }

    /// Returns the address of a file that has that many bytes, if callers are to get it from the bucket.
    ///
    /// Its file is looked at only when a new address is made.
    pub(crate) async fn link(&self, token: &AssetToken, expected: u64) -> Result<Option<Link>, AssetError> {
        let Some(links) = self.files.links() else { return Ok(None) };
        let fresh_for = links.fresh_for();
        if let Some(url) = links.kept(token) {
            return Ok(Some(Link { url, fresh_for }));
        }
        let found = self.size(token).await?;
        if found != expected {
            return Err(AssetError::Damaged { found, expected });
        }
        Ok(Some(Link { url: links.sign(token).await?, fresh_for }))
    }

    /// Streams a picture that has no row, as previews do. `None` if there is no such file.
    pub(crate) async fn without_row(
        &self,
        token: &AssetToken,
    ) -> Result<Option<BoxStream<'static, io::Result<Bytes>>>, AssetError> {
        match self.size(token).await {
            Ok(size) => self.stream(token, 0..size, size).await.map(Some),
            Err(AssetError::Lost) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the size of a picture's file.
    async fn size(&self, token: &AssetToken) -> Result<u64, AssetError> {
        match self.files.size(token).await? {
            Some(size) => Ok(size),
            None => {
                self.files.here(&*self.store).await?;
                Err(AssetError::Lost)
            }
        }
    }

    /// Deletes those of the files that the database proves to be of runs that are over, and not to be assets. They are listed
    /// first, so that one that cannot be deleted, or whose process dies before, is deleted later. The others still are.
    ///
    /// # Errors
    ///
    /// When the store fails. What the files fail with is in the outcome.
    pub(crate) async fn delete(&self, tokens: Vec<AssetToken>) -> Result<Deletion, AssetError> {
        if tokens.is_empty() {
            return Ok(Deletion::default());
        }
        let proven = self.store.tombstones(tokens).await?;
        if proven.is_empty() {
            return Ok(Deletion::default());
        }
        let (deleted, error) = self.delete_each(&proven).await;
        let outcome = Deletion { proven: proven.len(), deleted: deleted.len(), error };
        if !deleted.is_empty() {
            self.store.forget_expired_files(deleted).await?;
        }
        Ok(outcome)
    }

    /// Deletes files that are listed as expired, and returns those that do not exist any more, with the first error of the others.
    /// None is known not to exist while the directory is away.
    pub(crate) async fn delete_each<'a>(
        &self,
        tokens: impl IntoIterator<Item = &'a AssetToken>,
    ) -> (Vec<AssetToken>, Option<AssetError>) {
        let tokens: Vec<_> = tokens.into_iter().cloned().collect();
        self.files.delete_each(tokens, &*self.store).await
    }

    /// Returns the names of some files that are named like pictures, at most so many.
    pub(crate) async fn some_names(&self, most: usize) -> Result<Vec<AssetToken>, AssetError> {
        self.files.some_names(most).await
    }

    /// Returns the beginnings of names of which there may be files.
    pub(crate) async fn shelves(&self) -> Result<Vec<String>, AssetError> {
        self.files.shelves().await
    }

    /// Returns the names of files that begin so, in their order, from after that one, at most so many.
    pub(crate) async fn page(
        &self,
        shelf: &str,
        after: Option<&AssetToken>,
        most: usize,
    ) -> Result<Vec<AssetToken>, AssetError> {
        self.files.page(shelf, after, most).await
    }

    /// Deletes the files of an orphaned run that are not assets, partial ones included, and returns how many. Other files
    /// are not touched. If some cannot be deleted, the others still are, and the first error is returned.
    pub(crate) async fn delete_orphans(&self, run: &RunId) -> Result<usize, AssetError> {
        self.files.here(&*self.store).await?;
        let tokens = self.files.of_run(run).await?;
        let (whole, partial) = (self.delete(tokens).await, self.files.delete_partial(run).await);
        Ok(whole?.deleted()? + partial?)
    }
}

/// The outcome of a deletion by proof.
#[derive(Debug, Default)]
pub(crate) struct Deletion {
    /// Of how many files the database proves that they may be deleted.
    pub proven: usize,
    /// How many of them do not exist any more.
    pub deleted: usize,
    /// The first error of the others.
    pub error: Option<AssetError>,
}

impl Deletion {
    /// Returns how many files do not exist any more.
    ///
    /// # Errors
    ///
    /// When some could not be deleted. They are deleted later.
    pub(crate) fn deleted(self) -> Result<usize, AssetError> {
        self.error.map_or(Ok(self.deleted), Err)
    }
}

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod tests;
