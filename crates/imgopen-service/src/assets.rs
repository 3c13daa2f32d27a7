//! Files of result pictures: written whole or not at all, and named by tokens that cannot be guessed.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use imgopen_engine::Picture;
use imgopen_store::{AssetToken, Moment, NewAsset, NoRandomness, RunId, Store, StoreError};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload};

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

/// The pictures in a directory. Clones share it.
#[derive(Debug, Clone)]
pub struct Assets {
    files: Arc<dyn ObjectStore>,
    directory: PathBuf,
}

impl Assets {
    /// Opens a directory, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// When it cannot be created or read.
    pub fn open(directory: &Path) -> Result<Self, AssetError> {
        std::fs::create_dir_all(directory).map_err(|error| in_directory(directory, &error))?;
        let files = LocalFileSystem::new_with_prefix(directory).map_err(|error| in_directory(directory, &error))?;
        let files = Arc::new(files.with_automatic_cleanup(false).with_fsync(true));
        Ok(Self { files, directory: directory.to_owned() })
    }

    /// Writes a picture of a run. It becomes an asset only when its row is written too.
    pub(crate) async fn put(
        &self,
        run: &RunId,
        picture: &Picture,
        expires_at: Option<Moment>,
    ) -> Result<NewAsset, AssetError> {
        let token = AssetToken::new(run, picture.format.extension())?;
        let bytes = picture.bytes.len() as u64;
        self.files.put(&place(&token), PutPayload::from_bytes(picture.bytes.clone())).await?;
        Ok(NewAsset { token, media_type: picture.format.media_type(), bytes, expires_at })
    }

    /// Streams a part of a picture that has that many bytes. Fails before the first byte if the file is lost or cut.
    pub(crate) async fn stream(
        &self,
        token: &AssetToken,
        range: Range<u64>,
        expected: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, object_store::Error>> + Send + 'static, AssetError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let found = match self.files.get_opts(&place(token), options).await {
            Ok(read) if read.meta.size == expected => return Ok(read.into_stream()),
            Ok(read) => read.meta.size,
            Err(error) => self.size(token).await.and_then(|found| {
                // Reading failed although the file is whole.
                if found == expected { Err(error.into()) } else { Ok(found) }
            })?,
        };
        Err(AssetError::Damaged { found, expected })
    }

    /// Returns the size of a picture's file.
    async fn size(&self, token: &AssetToken) -> Result<u64, AssetError> {
        match self.files.head(&place(token)).await {
            Ok(file) => Ok(file.size),
            // If the directory is away as a whole, its disk may come back.
            Err(object_store::Error::NotFound { .. }) if self.directory.is_dir() => Err(AssetError::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes pictures. One that does not exist is not an error.
    pub(crate) async fn delete<'a>(&self, tokens: impl IntoIterator<Item = &'a AssetToken>) -> Result<(), AssetError> {
        for token in tokens {
            match self.files.delete(&place(token)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Deletes the files of an orphaned run that are not assets, partial ones included, and returns how many. Other files
    /// are not touched.
    pub(crate) async fn delete_orphans(&self, store: &dyn Store, run: &RunId) -> Result<usize, AssetError> {
        let files = self.files.list(Some(&Place::from(shelf(run.as_str()))));
        let files: Vec<_> = files.map_ok(|file| file.location).try_collect().await?;
        let names = files.iter().filter_map(Place::filename).filter(|name| name.starts_with(run.as_str()));
        let tokens: Vec<_> = names.map(|name| AssetToken(name.to_owned())).collect();
        let kept: HashSet<_> = store.kept_assets(tokens.clone()).await?.into_iter().collect();
        let orphans: Vec<_> = tokens.iter().filter(|token| !kept.contains(token)).collect();
        let count = orphans.len();
        self.delete(orphans).await?;
        Ok(count + self.delete_partial(run)?)
    }

    /// The object store writes a file beside its place, with a number after `#`, and then renames it. It does not list
    /// such partial files.
    fn delete_partial(&self, run: &RunId) -> Result<usize, AssetError> {
        let shelf = self.directory.join(shelf(run.as_str()));
        let to_error = |error: io::Error| in_directory(&shelf, &error);
        let files = match std::fs::read_dir(&shelf) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(to_error(error)),
        };
        let mut deleted = 0;
        for file in files {
            let file = file.map_err(to_error)?;
            let name = file.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(run.as_str()) && name.contains('#') {
                std::fs::remove_file(file.path()).map_err(to_error)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// Two levels, because directories of a million files are slow to list.
fn place(token: &AssetToken) -> Place {
    Place::from_iter([shelf(token.as_str()), token.as_str()])
}

/// The directory of a token, or of all tokens of a run.
fn shelf(name: &str) -> &str {
    name.get(..2).unwrap_or("_")
}

fn in_directory(directory: &Path, error: &dyn std::fmt::Display) -> AssetError {
    AssetError::Directory { directory: directory.display().to_string(), problem: error.to_string() }
}
