//! Assets in SQL.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::problem::Problem;
use super::values::{list, system_time};
use crate::ids::{AssetToken, KeyId, TaskId};
use crate::{AssetFile, AssetRow, Moment, NewAsset};

pub fn asset(connection: &Connection, token: &AssetToken) -> Result<Option<AssetRow>, Problem> {
    let sql = "SELECT media_type, bytes, created_at, expires_at, deleted_at, name FROM assets WHERE token = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row([token], |row| {
        Ok(AssetRow {
            media_type: row.get(0)?,
            bytes: row.get::<_, i64>(1)?.try_into().unwrap_or(0),
            created_at: row.get(2)?,
            expires_at: row.get(3)?,
            deleted_at: row.get(4)?,
            name: row.get(5)?,
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
    let sql = "SELECT token FROM assets WHERE deleted_at IS NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![now, most as i64], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn expire(connection: &Connection, now: Moment, most: usize) -> Result<Vec<AssetToken>, Problem> {
    let tokens = expired(connection, now, most)?;
    list_files(connection, &tokens, now)?;
    let sql = "UPDATE assets SET deleted_at = ?2 WHERE token IN (SELECT value FROM json_each(?1))";
    connection.execute(sql, params![list(&tokens), now])?;
    Ok(tokens)
}

/// Lists files that have no asset as expired.
pub fn list_as_expired(connection: &Connection, tokens: &[AssetToken]) -> Result<(), Problem> {
    list_files(connection, tokens, system_time())
}

fn list_files(connection: &Connection, tokens: &[AssetToken], since: Moment) -> Result<(), Problem> {
    let sql = "INSERT INTO expired_files (token, since) SELECT value, ?2 FROM json_each(?1) WHERE true
               ON CONFLICT (token) DO NOTHING";
    connection.execute(sql, params![list(tokens), since])?;
    Ok(())
}

/// Returns those of the tokens that no asset has and whose runs have ended or were given up.
pub fn proven(connection: &Connection, tokens: &[AssetToken]) -> Result<Vec<AssetToken>, Problem> {
    let sql = "SELECT value, EXISTS (SELECT 1 FROM expired_files WHERE token = value)
                   OR EXISTS (SELECT 1 FROM assets WHERE token = value)
                   OR EXISTS (SELECT 1 FROM orphaned_runs WHERE run = substr(value, 1, 32))
               FROM json_each(?1) WHERE NOT EXISTS (SELECT 1 FROM assets WHERE token = value AND deleted_at IS NULL)";
    let asked: Vec<_> = tokens.iter().filter(|token| token.run().is_some()).collect();
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([list(asked)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(AssetToken, bool)> = rows.collect::<Result<_, _>>()?;
    let rest: Vec<_> = found.iter().filter(|(_, is_proven)| !is_proven).filter_map(|(token, _)| token.run()).collect();
    let ended = ended_runs(connection, &rest)?;
    let has_ended = |token: &AssetToken| token.run().is_some_and(|run| ended.contains(run));
    let proven = found.into_iter().filter(|(token, is_proven)| *is_proven || has_ended(token));
    Ok(proven.map(|(token, _)| token).collect())
}

/// Returns those of the runs whose tasks have ended in them. No index finds them, because each would cost every claim a page of the
/// log, and only a search for files of unknown origin asks.
fn ended_runs(connection: &Connection, runs: &[&str]) -> Result<HashSet<String>, Problem> {
    if runs.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = "SELECT run FROM tasks WHERE run IN (SELECT value FROM json_each(?1))
               AND state IN ('succeeded', 'failed', 'cancelled')";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([list(runs)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn expired_files(
    connection: &Connection,
    after: Option<&AssetToken>,
    most: usize,
) -> Result<Vec<AssetToken>, Problem> {
    let sql = "SELECT token FROM expired_files WHERE token > coalesce(?1, '') ORDER BY token LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, most as i64], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn forget_expired_files(connection: &Connection, tokens: &[AssetToken]) -> Result<(), Problem> {
    let sql = "DELETE FROM expired_files WHERE token IN (SELECT value FROM json_each(?1))";
    connection.execute(sql, [list(tokens)])?;
    Ok(())
}

/// Returns those of the tokens that no asset, no deletion and no run accounts for, in a database of that layout.
pub fn unaccounted(connection: &Connection, tokens: &[AssetToken], layout: i64) -> Result<Vec<AssetToken>, Problem> {
    let mut sql = "SELECT value FROM json_each(?1)
                   WHERE NOT EXISTS (SELECT 1 FROM assets WHERE token = value AND deleted_at IS NULL)"
        .to_owned();
    if layout >= 3 {
        sql += " AND NOT EXISTS (SELECT 1 FROM orphaned_runs WHERE run = substr(value, 1, 32))
                 AND substr(value, 1, 32) NOT IN (SELECT run FROM tasks WHERE state = 'running' AND run IS NOT NULL)";
    }
    if layout >= 4 {
        sql += " AND NOT EXISTS (SELECT 1 FROM expired_files WHERE token = value)";
    }
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([list(tokens)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn with_files(connection: &Connection, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetFile>, Problem> {
    let sql = "SELECT token, bytes, expires_at FROM assets
               WHERE deleted_at IS NULL AND token > coalesce(?1, '') ORDER BY token LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, most as i64], |row| {
        let bytes = row.get::<_, i64>(1)?.try_into().unwrap_or(0);
        Ok(AssetFile { token: row.get(0)?, bytes, expires_at: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn bytes(connection: &Connection) -> Result<i64, Problem> {
    let sql = "SELECT value FROM notes WHERE name = 'asset_bytes'";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

pub fn kept_bytes(connection: &Connection, key: &KeyId) -> Result<i64, Problem> {
    let sql = "SELECT bytes FROM kept_bytes WHERE key_id = ?1";
    let bytes = connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?;
    Ok(bytes.unwrap_or(0))
}

pub fn kept_bytes_by_key(connection: &Connection) -> Result<Vec<(KeyId, i64)>, Problem> {
    let mut statement = connection.prepare("SELECT key_id, bytes FROM kept_bytes ORDER BY key_id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn insert(connection: &Connection, task: &TaskId, asset: &NewAsset, now: Moment) -> Result<(), Problem> {
    let sql = "INSERT INTO assets (token, task_id, media_type, bytes, created_at, expires_at, name)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let bytes = i64::try_from(asset.bytes).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute(params![
        asset.token,
        task,
        asset.media_type,
        bytes,
        now,
        asset.expires_at,
        asset.name
    ])?;
    Ok(())
}
