//! Files of results that come from another place.

use std::io;
use std::path::Path;

use futures_util::TryStreamExt;
use imgopen_engine::Format;
use imgopen_store::{AssetRow, AssetToken};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::Assets;
use super::error::AssetError;
use super::files::{PART, unread};
use super::kind::{FILE, Kind};

/// A SHA-256.
type Hash = [u8; 32];

impl Assets {
    /// Copies the file of an asset from a directory, unless it is here already, and reads what has arrived. Returns whether that has
    /// the bytes that it had there. The place is settled.
    pub(crate) async fn import(&self, token: &AssetToken, row: &AssetRow, from: &Path) -> Result<bool, AssetError> {
        let expected = hash_of_file(from).await?;
        if self.size_of(token).await? == Some(row.bytes) && self.hash(token, row.bytes).await? == expected {
            return Ok(true);
        }
        let kind = Kind { media_type: known(&row.media_type), name: row.name.clone() };
        self.files.put_file(token, from, &kind).await?;
        Ok(self.size_of(token).await? == Some(row.bytes) && self.hash(token, row.bytes).await? == expected)
    }

    /// Returns the size of a file; `None` if there is none.
    pub(crate) async fn size_of(&self, token: &AssetToken) -> Result<Option<u64>, AssetError> {
        self.files.size(token).await
    }

    /// Reads a file that has that many bytes.
    async fn hash(&self, token: &AssetToken, bytes: u64) -> Result<Hash, AssetError> {
        let mut hash = Sha256::new();
        // A range of no bytes is an error to some servers.
        if bytes > 0 {
            let mut parts = self.stream(token, 0..bytes, bytes).await?;
            while let Some(part) = parts.try_next().await.map_err(unread)? {
                hash.update(&part);
            }
        }
        Ok(hash.finalize().into())
    }
}

/// Reads a file of this machine.
async fn hash_of_file(path: &Path) -> Result<Hash, AssetError> {
    let read = async {
        let (mut file, mut hash) = (File::open(path).await?, Sha256::new());
        let mut part = vec![0; PART];
        loop {
            match file.read(&mut part).await? {
                0 => return Ok::<Hash, io::Error>(hash.finalize().into()),
                read => hash.update(part.get(..read).unwrap_or_default()),
            }
        }
    };
    read.await.map_err(unread)
}

/// The media type as one of those that results have.
fn known(media_type: &str) -> &'static str {
    let pictures = [Format::Png, Format::Jpeg, Format::WebP].map(Format::media_type);
    pictures.into_iter().find(|known| *known == media_type).unwrap_or(FILE)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imgopen_store::{Moment, RunId, SqliteStore};

    use super::*;

    #[tokio::test]
    async fn a_file_arrives_as_it_was_and_a_wrong_one_is_replaced() {
        let (data, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Arc::new(SqliteStore::open(data.path()).unwrap());
        let assets = Assets::open(&target.path().join("assets"), store).unwrap();
        assets.settle().await.unwrap();
        let from = data.path().join("picture");
        std::fs::write(&from, "a picture").unwrap();
        let row = AssetRow {
            media_type: "image/png".to_owned(),
            bytes: 9,
            created_at: Moment(1),
            expires_at: None,
            deleted_at: None,
            name: None,
        };
        let token = AssetToken::new(&RunId::new().unwrap(), "png").unwrap();
        assert_eq!(assets.size_of(&token).await.unwrap(), None);
        for _ in 0..2 {
            assert!(assets.import(&token, &row, &from).await.unwrap());
        }
        let arrived = super::super::path(&target.path().join("assets"), &token);
        assert_eq!(std::fs::read_to_string(&arrived).unwrap(), "a picture");
        std::fs::write(&arrived, "a forgery").unwrap();
        assert!(assets.import(&token, &row, &from).await.unwrap());
        assert_eq!(std::fs::read_to_string(&arrived).unwrap(), "a picture");
        // The row says how long it is.
        assert!(!assets.import(&token, &AssetRow { bytes: 8, ..row.clone() }, &from).await.unwrap());
        assert!(assets.import(&token, &row, &data.path().join("missing")).await.is_err());
        assert_eq!((known("image/webp"), known("image/gif"), known(FILE)), ("image/webp", FILE, FILE));
    }
}
