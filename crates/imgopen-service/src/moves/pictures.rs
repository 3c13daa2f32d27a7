//! Copying pictures into a bucket. Each is read again there.

use futures_util::{StreamExt, TryStreamExt, stream};
use imgopen_store::{AssetFile, AssetToken, SqliteStore, Store};

use super::Mover;
use super::error::MoveError;
use super::files::Files;
use super::stand::Stand;
use crate::assets::path;

/// How many pictures are copied before it is noted.
const BATCH: usize = 64;

/// How many are copied at once.
const AT_ONCE: usize = 8;

impl Mover<'_> {
    /// Copies pictures. Returns how many, and where the move stands then.
    pub(super) async fn put_pictures(
        &self,
        source: &SqliteStore,
        id: &str,
        after: Option<AssetToken>,
        files: &Files,
    ) -> Result<(u64, Stand), MoveError> {
        let batch = source.asset_files(after, BATCH).await?;
        let stand = match batch.last() {
            Some(last) => Stand::Pictures(Some(last.token.clone())),
            None => Stand::Put,
        };
        // What is only in the bucket was looked at there.
        let here: Vec<_> = batch.iter().filter(|file| self.has_file(file)).collect();
        let copies = stream::iter(here.into_iter().map(|file| self.put_picture(source, file)));
        copies.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        self.import.put(id.to_owned(), None, stand.noted()).await?;
        let put = batch.iter().filter(|file| files.missing.binary_search(&file.token).is_err()).count();
        Ok((put as u64, stand))
    }

    async fn put_picture(&self, source: &SqliteStore, file: &AssetFile) -> Result<(), MoveError> {
        let Some(assets) = &self.assets else { return Ok(()) };
        let Some(row) = source.asset(file.token.clone()).await? else { return Ok(()) };
        let from = path(&self.pictures(), &file.token);
        if assets.import(&file.token, &row, &from).await? {
            return Ok(());
        }
        Err(MoveError::Altered { token: file.token.0.clone() })
    }
}
