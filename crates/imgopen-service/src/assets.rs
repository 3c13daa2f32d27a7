//! Result pictures: written whole or not at all, named by tokens that nobody guesses.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use imgopen_engine::Picture;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload};

use crate::clock::Moment;
use crate::ids::{AssetToken, NoRandomness};
use crate::store::{NewAsset, Store, StoreError};

/// How many rows are looked at in one statement while leftovers are swept.
const SWEEP: usize = 500;

/// Why a picture could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetError {
    /// The folder cannot be used.
    #[error("the folder {folder} cannot hold pictures: {problem}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        problem: String,
    },
    /// Reading or writing failed.
    #[error("a picture cannot be read or written: {0}")]
    Files(#[from] object_store::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Where pictures lie.
#[derive(Debug, Clone)]
pub struct Assets {
    files: Arc<dyn ObjectStore>,
}

impl Assets {
    /// Pictures in a folder, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, AssetError> {
        let told = |problem: String| AssetError::Folder { folder: folder.display().to_string(), problem };
        std::fs::create_dir_all(folder).map_err(|error| told(error.to_string()))?;
        let files = LocalFileSystem::new_with_prefix(folder).map_err(|error| told(error.to_string()))?;
        Ok(Self { files: Arc::new(files.with_automatic_cleanup(false).with_fsync(true)) })
    }

    /// Writes a picture. It is an asset only when its row is written too; until then it is a leftover.
    pub(crate) async fn put(&self, picture: &Picture, expires_at: Option<Moment>) -> Result<NewAsset, AssetError> {
        let token = AssetToken::new(picture.format.extension())?;
        let bytes = picture.bytes.len() as u64;
        self.files.put(&place(&token), PutPayload::from_bytes(picture.bytes.clone())).await?;
        Ok(NewAsset { token, media_type: picture.format.media_type(), bytes, expires_at })
    }

    /// Reads a part of a picture, bit by bit.
    pub(crate) async fn stream(
        &self,
        token: &AssetToken,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, object_store::Error>> + Send + 'static, AssetError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        Ok(self.files.get_opts(&place(token), options).await?.into_stream())
    }

    /// Deletes pictures; one that is gone already is no fault.
    pub(crate) async fn delete<'a>(&self, tokens: impl IntoIterator<Item = &'a AssetToken>) -> Result<(), AssetError> {
        for token in tokens {
            match self.files.delete(&place(token)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Deletes every file that no row knows, half-written ones included. Only while nothing is being written.
    pub(crate) async fn sweep(&self, store: &Store, folder: &Path) -> Result<usize, AssetError> {
        let files: Vec<_> = self.files.list(None).map_ok(|file| file.location).try_collect().await?;
        let mut swept = 0;
        for files in files.chunks(SWEEP) {
            let tokens: Vec<_> =
                files.iter().map(|file| AssetToken(file.filename().unwrap_or_default().into())).collect();
            let known: HashSet<_> = store.known_assets(tokens.clone()).await?.into_iter().collect();
            let leftovers =
                files.iter().zip(&tokens).filter(|(file, token)| !known.contains(token) || **file != place(token));
            for (file, _) in leftovers {
                self.files.delete(file).await?;
                swept += 1;
            }
        }
        Ok(swept + sweep_staged(folder)?)
    }
}

/// Two levels, for folders of a million files are slow to list.
fn place(token: &AssetToken) -> Place {
    Place::from_iter([token.0.get(..2).unwrap_or("_"), token.as_str()])
}

/// The store writes a file beside its place, with a number after `#`, and then renames it. It does not list such files.
fn sweep_staged(folder: &Path) -> Result<usize, AssetError> {
    let told = |error: std::io::Error| AssetError::Folder {
        folder: folder.display().to_string(),
        problem: format!("leftovers cannot be removed: {error}"),
    };
    let mut swept = 0;
    for inner in std::fs::read_dir(folder).map_err(told)? {
        let inner = inner.map_err(told)?.path();
        if !inner.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&inner).map_err(told)? {
            let file = file.map_err(told)?;
            if file.file_name().to_string_lossy().contains('#') {
                std::fs::remove_file(file.path()).map_err(told)?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}
