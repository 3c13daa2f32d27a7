//! What is queued, listed and counted in bounded pieces, in SQL.

use rusqlite::{Connection, params};

use super::problem::Problem;
use crate::ids::KeyId;
use crate::{Asked, COUNTED, KeyShare, Lane};

const NEEDS: &str = "SELECT DISTINCT needs FROM tasks INDEXED BY tasks_queued
    WHERE state = 'queued' AND needs > ?1 ORDER BY needs LIMIT ?2";

/// The lanes between two keys.
const LANES: &str = "SELECT key_id, min(count(*), ?5), min(seq) FROM tasks INDEXED BY tasks_queued
    WHERE state = 'queued' AND needs = ?1 AND key_id > ?2 AND (?3 IS NULL OR key_id <= ?3)
    GROUP BY key_id ORDER BY key_id LIMIT ?4";

const LENGTH: &str = "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE state = 'queued' LIMIT ?1)";

const SHARE: &str = "SELECT
    (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE state = 'queued' AND key_id = ?1 LIMIT ?2)),
    (SELECT count(*) FROM (SELECT DISTINCT key_id FROM tasks WHERE state = 'queued' LIMIT min(?2, 1000)))";

pub fn needs(connection: &Connection, after: Option<&str>, most: usize) -> Result<Vec<String>, Problem> {
    let mut statement = connection.prepare_cached(NEEDS)?;
    let rows = statement.query_map(params![after.unwrap_or_default(), limit(most)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn lanes(connection: &Connection, asked: &[Asked]) -> Result<Vec<Lane>, Problem> {
    let mut lanes = Vec::new();
    for Asked { needs, after, most } in asked {
        let last = after.as_ref().map_or("", KeyId::as_str);
        let before = lanes.len();
        // First the keys behind that one, then those up to it.
        for (from, until) in [(last, None), ("", Some(last))] {
            let left = most.saturating_sub(lanes.len() - before);
            lanes.extend(between(connection, needs, (from, until), left)?);
        }
    }
    Ok(lanes)
}

fn between(
    connection: &Connection,
    needs: &str,
    (from, until): (&str, Option<&str>),
    most: usize,
) -> Result<Vec<Lane>, Problem> {
    let mut statement = connection.prepare_cached(LANES)?;
    let rows = statement.query_map(params![needs, from, until, limit(most), limit(COUNTED)], |row| {
        let count = row.get::<_, i64>(1)?.try_into().unwrap_or(0);
        Ok(Lane { needs: needs.to_owned(), key: row.get(0)?, count, first: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn length(connection: &Connection, most: usize) -> Result<usize, Problem> {
    let found: i64 = connection.prepare_cached(LENGTH)?.query_row([limit(most)], |row| row.get(0))?;
    Ok(usize::try_from(found).unwrap_or(0))
}

pub fn share(connection: &Connection, key: &KeyId, most: usize) -> Result<KeyShare, Problem> {
    let mut statement = connection.prepare_cached(SHARE)?;
    let (own, keys): (i64, i64) =
        statement.query_row(params![key, limit(most)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(KeyShare { own: usize::try_from(own).unwrap_or(0), keys: usize::try_from(keys).unwrap_or(0) })
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
