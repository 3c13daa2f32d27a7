//! Access keys in SQL.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::problem::Problem;
use super::values::{JsonOf, list};
use crate::ids::KeyId;
use crate::{KeyRow, Moment, PreviousSecret};

const COLUMNS: &str = "id, name, secret_hash, signing_secret, previous_secrets, created_at, revoked_at";

fn read(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        id: row.get(0)?,
        name: row.get(1)?,
        secret_hash: row.get(2)?,
        signing_secret: row.get(3)?,
        previous_secrets: row.get::<_, JsonOf<_>>(4)?.0,
        created_at: row.get(5)?,
        revoked_at: row.get(6)?,
    })
}

pub fn add(connection: &Connection, key: &KeyRow) -> Result<(), Problem> {
    let sql = format!("INSERT INTO keys ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    let KeyRow { id, name, secret_hash, signing_secret, previous_secrets, created_at, revoked_at } = key;
    let previous = list(previous_secrets);
    connection.execute(&sql, params![id, name, secret_hash, signing_secret, previous, created_at, revoked_at])?;
    Ok(())
}

pub fn add_first(connection: &Connection, key: &KeyRow) -> Result<bool, Problem> {
    let sql = "SELECT EXISTS (SELECT 1 FROM keys WHERE id <> ?1)";
    let any: bool = connection.query_row(sql, [KeyId::OPEN], |row| row.get(0))?;
    if !any {
        add(connection, key)?;
    }
    Ok(!any)
}

pub fn key(connection: &Connection, id: &KeyId) -> Result<Option<KeyRow>, Problem> {
    static SQL: LazyLock<String> = LazyLock::new(|| format!("SELECT {COLUMNS} FROM keys WHERE id = ?1"));
    Ok(connection.prepare_cached(&SQL)?.query_row([id], read).optional()?)
}

pub fn all(connection: &Connection) -> Result<Vec<KeyRow>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM keys WHERE id <> ?1 ORDER BY created_at, id");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([KeyId::OPEN], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn revoke(connection: &Connection, id: &KeyId, now: Moment) -> Result<bool, Problem> {
    let sql = "UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1 AND id <> ?3";
    Ok(connection.execute(sql, params![id, now, KeyId::OPEN])? == 1)
}

pub fn rotate(connection: &Connection, id: &KeyId, secret: &str, until: Moment, now: Moment) -> Result<bool, Problem> {
    let Some(found) = key(connection, id)? else { return Ok(false) };
    let replaced = PreviousSecret { secret: found.signing_secret, until };
    // The newest first. Expired ones are not kept for longer than they are needed.
    let previous = std::iter::once(replaced).chain(found.previous_secrets).filter(|previous| previous.until > now);
    let previous = list(previous.collect::<Vec<_>>());
    let sql = "UPDATE keys SET signing_secret = ?2, previous_secrets = ?3 WHERE id = ?1";
    Ok(connection.execute(sql, params![id, secret, previous])? == 1)
}
