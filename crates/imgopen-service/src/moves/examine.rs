//! The files of pictures before a move: how many there are, and which are missing.

use imgopen_store::{AssetFile, AssetToken, Moment, SqliteStore, Store};

use super::Mover;
use super::error::MoveError;
use super::files::Files;
use crate::assets::{is_token, path};

/// How many rows are read at once.
const BATCH: usize = 1000;

impl Mover<'_> {
    /// Looks at the file of each picture. Those up to `after` were copied by an earlier move.
    pub(super) async fn examine(
        &self,
        source: &SqliteStore,
        after: Option<&AssetToken>,
        now: Moment,
    ) -> Result<Files, MoveError> {
        let (mut files, mut last) = (Files::default(), None);
        loop {
            let batch = source.asset_files(last, BATCH).await?;
            let Some(end) = batch.last() else { return Ok(files) };
            last = Some(end.token.clone());
            for file in batch {
                if self.is_there(&file).await? {
                    files.count += 1;
                    files.bytes += file.bytes;
                    files.before += u64::from(after.is_some_and(|after| file.token <= *after));
                } else if file.expires_at.is_none_or(|end| end > now) {
                    // Otherwise the service was deleting it.
                    files.missing.push(file.token);
                }
            }
        }
    }

    /// Whether a picture has its file: in the directory, or in the bucket, where it was all along or an earlier move has copied it.
    async fn is_there(&self, file: &AssetFile) -> Result<bool, MoveError> {
        if self.has_file(file) {
            return Ok(true);
        }
        let Some(assets) = &self.assets else { return Ok(false) };
        Ok(assets.size_of(&file.token).await? == Some(file.bytes))
    }

    /// Whether a picture has its file in the directory.
    pub(super) fn has_file(&self, file: &AssetFile) -> bool {
        let metadata = || path(&self.pictures(), &file.token).metadata();
        is_token(&file.token) && metadata().is_ok_and(|found| found.is_file() && found.len() == file.bytes)
    }
}
