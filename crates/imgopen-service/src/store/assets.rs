//! Assets in the database: which file belongs to which task, and until when.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError};
use crate::clock::Moment;
use crate::ids::{AssetToken, TaskId};

/// An asset that was written and now becomes known.
#[derive(Debug, Clone)]
pub struct NewAsset {
    /// Its token, which names the file too.
    pub token: AssetToken,
    /// Its media type.
    pub media_type: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it ends, if it does.
    pub expires_at: Option<Moment>,
}

/// An asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetRow {
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Moment,
    /// When it ends, if it does.
    pub expires_at: Option<Moment>,
    /// When its file was deleted, if it was.
    pub deleted_at: Option<Moment>,
}

impl Store {
    /// The asset of that token.
    pub(crate) async fn asset(&self, token: AssetToken) -> Result<Option<AssetRow>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT media_type, bytes, created_at, expires_at, deleted_at FROM assets WHERE token = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let row = statement.query_row([&token], |row| {
                Ok(AssetRow {
                    media_type: row.get(0)?,
                    bytes: row.get::<_, i64>(1)?.try_into().unwrap_or(0),
                    created_at: Moment(row.get(2)?),
                    expires_at: row.get::<_, Option<i64>>(3)?.map(Moment),
                    deleted_at: row.get::<_, Option<i64>>(4)?.map(Moment),
                })
            });
            Ok(row.optional()?)
        })
        .await
    }

    /// Which of these tokens belong to files that are to be kept.
    pub(crate) async fn known_assets(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT token FROM assets WHERE deleted_at IS NULL
                       AND token IN (SELECT value FROM json_each(?1))";
            let tokens = serde_json::json!(tokens).to_string();
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([tokens], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The assets that have come to their end and still have a file; at most so many.
    pub(crate) async fn expired_assets(&self, now: Moment, most: usize) -> Result<Vec<AssetToken>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT token FROM assets WHERE deleted_at IS NULL AND expires_at <= ?1 LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![now.0, most as i64], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Notes that the files of these assets are deleted. It is noted before they are: a file without a row is swept
    /// away, a row without a file would be a lie.
    pub(crate) async fn assets_deleted(&self, tokens: Vec<AssetToken>, now: Moment) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE assets SET deleted_at = ?2 WHERE token IN (SELECT value FROM json_each(?1))";
            connection.execute(sql, params![serde_json::json!(tokens).to_string(), now.0])?;
            Ok(())
        })
        .await
    }

    /// Bytes of all assets that have a file.
    pub(crate) async fn asset_bytes(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            let sql = "SELECT coalesce(sum(bytes), 0) FROM assets WHERE deleted_at IS NULL";
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        })
        .await
    }
}

pub(super) fn insert(connection: &Connection, task: &TaskId, asset: &NewAsset, now: Moment) -> Result<(), StoreError> {
    let sql = "INSERT INTO assets (token, task_id, media_type, bytes, created_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (bytes, expires_at) = (i64::try_from(asset.bytes).unwrap_or(i64::MAX), asset.expires_at.map(|end| end.0));
    connection.prepare_cached(sql)?.execute(params![asset.token, task, asset.media_type, bytes, now.0, expires_at])?;
    Ok(())
}
