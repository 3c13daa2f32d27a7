//! Claims by turns of the keys, in SQL.
//!
//! The keys that have something queued are walked as a ring, from the key after the one that was served last. Each need is one
//! probe of the index.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, params};

use super::problem::Problem;
use super::tasks::{COLUMNS, may_become, read};
use super::values::system_time;
use crate::ids::KeyId;
use crate::{ClaimNext, State, TaskRow};

const MAY_CLAIM: &str = "SELECT EXISTS (SELECT 1 FROM owners WHERE id = ?1 AND draining = 0)";

const NEXT_KEY: &str = "SELECT key_id FROM tasks INDEXED BY tasks_queued
    WHERE state = 'queued' AND needs = ?1 AND key_id > ?2 ORDER BY key_id LIMIT 1";

const OLDEST: &str = "SELECT seq, seq + 64 * deferrals FROM tasks INDEXED BY tasks_queued
    WHERE state = 'queued' AND needs = ?1 AND key_id = ?2 ORDER BY seq + 64 * deferrals LIMIT 1";

const RUNNING: &str = "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE state = 'running' AND key_id = ?1 LIMIT ?2)";

pub fn claim_next(connection: &Connection, claim: &ClaimNext) -> Result<Option<TaskRow>, Problem> {
    if !connection.prepare_cached(MAY_CLAIM)?.query_row([&claim.owner], |row| row.get::<_, bool>(0))? {
        return Ok(None);
    }
    let last = claim.after.as_ref().map_or("", KeyId::as_str);
    // First the keys behind the last one, then those up to it.
    for (from, until) in [(last, None), ("", Some(last))] {
        let mut after = from.to_owned();
        while let Some(key) = next_key(connection, claim, &after, until)? {
            if let Some(place) = place_of(connection, claim, &key)? {
                return begin(connection, claim, place).map(Some);
            }
            after = key;
        }
    }
    Ok(None)
}

/// Returns the next key that has something queued which this process can run.
fn next_key(
    connection: &Connection,
    claim: &ClaimNext,
    after: &str,
    until: Option<&str>,
) -> Result<Option<String>, Problem> {
    let mut next: Option<String> = None;
    let mut statement = connection.prepare_cached(NEXT_KEY)?;
    for needs in &claim.needs {
        let found: Option<String> = statement.query_row(params![needs, after], |row| row.get(0)).optional()?;
        next = match (next, found) {
            (Some(next), Some(found)) => Some(next.min(found)),
            (next, found) => next.or(found),
        };
    }
    Ok(next.filter(|next| until.is_none_or(|until| next.as_str() <= until)))
}

/// Returns the place of the key's oldest task that this process can run. `None` if the key has as many runs as it may.
fn place_of(connection: &Connection, claim: &ClaimNext, key: &str) -> Result<Option<i64>, Problem> {
    if let Some(most) = claim.running_per_key {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let running: i64 = connection.prepare_cached(RUNNING)?.query_row(params![key, most], |row| row.get(0))?;
        if running >= most {
            return Ok(None);
        }
    }
    let mut oldest: Option<(i64, i64)> = None;
    let mut statement = connection.prepare_cached(OLDEST)?;
    for needs in &claim.needs {
        let found = statement.query_row(params![needs, key], |row| Ok((row.get(1)?, row.get(0)?))).optional()?;
        oldest = match (oldest, found) {
            (Some(oldest), Some(found)) => Some(oldest.min(found)),
            (oldest, found) => oldest.or(found),
        };
    }
    Ok(oldest.map(|(_, place)| place))
}

fn begin(connection: &Connection, claim: &ClaimNext, place: i64) -> Result<TaskRow, Problem> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "UPDATE tasks SET state = 'running', attempt = attempt + 1, run = ?2, owner = ?3, started_at = ?4, claimed_at = ?5
             WHERE seq = ?1 AND {} RETURNING {COLUMNS}",
            may_become(State::Running)
        )
    });
    let values = params![place, claim.run, claim.owner, claim.now, system_time()];
    Ok(connection.prepare_cached(&SQL)?.query_row(values, read)?)
}
