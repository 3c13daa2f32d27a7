//! Assets in SQL.

use rusqlite::{Connection, OptionalExtension, params};

use super::problem::Problem;
use super::values::list;
use crate::ids::{AssetToken, TaskId};
use crate::{AssetRow, Moment, NewAsset};

pub fn asset(connection: &Connection, token: &AssetToken) -> Result<Option<AssetRow>, Problem> {
    let sql = "SELECT media_type, bytes, created_at, expires_at, deleted_at FROM assets WHERE token = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row([token], |row| {
        Ok(AssetRow {
            media_type: row.get(0)?,
            bytes: row.get::<_, i64>(1)?.try_into().unwrap_or(0),
            created_at: row.get(2)?,
            expires_at: row.get(3)?,
            deleted_at: row.get(4)?,
        })
    });
    Ok(row.optional()?)
}

pub fn kept(connection: &Connection, tokens: &[AssetToken]) -> Result<Vec<AssetToken>, Problem> {
    let sql = "SELECT token FROM assets WHERE deleted_at IS NULL AND token IN (SELECT value FROM json_each(?1))";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([list(tokens)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn expired(connection: &Connection, now: Moment, most: usize) -> Result<Vec<AssetToken>, Problem> {
    let sql = "SELECT token FROM assets WHERE deleted_at IS NULL AND expires_at <= ?1 LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![now, most as i64], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn mark_deleted(connection: &Connection, tokens: &[AssetToken], now: Moment) -> Result<(), Problem> {
    let sql = "UPDATE assets SET deleted_at = ?2 WHERE token IN (SELECT value FROM json_each(?1))";
    connection.execute(sql, params![list(tokens), now])?;
    Ok(())
}

pub fn bytes(connection: &Connection) -> Result<i64, Problem> {
    let sql = "SELECT value FROM notes WHERE name = 'asset_bytes'";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

pub fn insert(connection: &Connection, task: &TaskId, asset: &NewAsset, now: Moment) -> Result<(), Problem> {
    let sql = "INSERT INTO assets (token, task_id, media_type, bytes, created_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let bytes = i64::try_from(asset.bytes).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute(params![
        asset.token,
        task,
        asset.media_type,
        bytes,
        now,
        asset.expires_at
    ])?;
    Ok(())
}
