//! Callbacks in SQL.

use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::pages::List;
use super::problem::Problem;
use super::values::{any_of, duration, milliseconds};
use crate::ids::{CallbackId, KeyId};
use crate::{
    ATTEMPTS, CallbackFilter, CallbackRow, CallbackState, Deferral, Delivery, DeliveryAttempt, Moment, NewCallback,
    Page, TaskRow,
};

/// The columns to select for [`read`].
pub const COLUMNS: &str = "id, task_id, key_id, url, origin, body, state, starts, rung, deferrals, deferred_at, deferred_for, \
                       next_at, created_at, seq, claim";

/// Reads a callback without its attempts.
pub fn read(row: &Row<'_>) -> rusqlite::Result<CallbackRow> {
    Ok(CallbackRow {
        id: row.get(0)?,
        task: row.get(1)?,
        key: row.get(2)?,
        url: row.get(3)?,
        origin: row.get(4)?,
        body: row.get(5)?,
        state: row.get(6)?,
        starts: row.get(7)?,
        rung: row.get(8)?,
        deferrals: row.get(9)?,
        deferred_at: row.get(10)?,
        deferred_for: duration(row.get(11)?),
        next_at: row.get(12)?,
        created_at: row.get(13)?,
        tries: Vec::new(),
        place: row.get(14)?,
        claim: row.get(15)?,
    })
}

pub fn callback(connection: &Connection, id: &CallbackId) -> Result<Option<CallbackRow>, Problem> {
    static SQL: LazyLock<String> = LazyLock::new(|| format!("SELECT {COLUMNS} FROM callbacks WHERE id = ?1"));
    Ok(connection.prepare_cached(&SQL)?.query_row([id], read).optional()?)
}

pub fn next(connection: &Connection, after: Moment) -> Result<Option<Moment>, Problem> {
    let sql = "SELECT next_at FROM callbacks WHERE state = 'pending' AND next_at > ?1 ORDER BY next_at LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([after], |row| row.get(0)).optional()?)
}

/// The condition that a callback waits longer than the pause that was chosen for it. Without the middle part, every pending
/// callback would be looked at.
const WAITS_TOO_LONG: &str = "state = 'pending' AND next_at > ?1 AND next_at > ?1 + coalesce(pause, ?2)";

pub fn waits_too_long(connection: &Connection, now: Moment, longest: Duration) -> Result<bool, Problem> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM callbacks WHERE {WAITS_TOO_LONG})");
    Ok(connection.prepare_cached(&sql)?.query_row(params![now, milliseconds(longest)], |row| row.get(0))?)
}

pub fn limit_pauses(connection: &Connection, now: Moment, longest: Duration) -> Result<usize, Problem> {
    let sql = format!("UPDATE callbacks SET next_at = ?1 + coalesce(pause, ?2) WHERE {WAITS_TOO_LONG}");
    Ok(connection.prepare_cached(&sql)?.execute(params![now, milliseconds(longest)])?)
}

pub fn record(connection: &Connection, delivery: &Delivery) -> Result<(), Problem> {
    let Delivery { seen, attempt, state, next } = delivery;
    let sql = "INSERT INTO callback_tries (callback_id, number, started_at, duration_ms, http_status, outcome)
               SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM callback_tries WHERE callback_id = ?1";
    let DeliveryAttempt { started_at, duration_ms, http_status, outcome, .. } = attempt;
    connection.prepare_cached(sql)?.execute(params![seen.id, started_at, duration_ms, http_status, outcome])?;
    let sql = "UPDATE callbacks SET state = ?4, rung = rung + 1, next_at = ?5, pause = ?6, deferrals = 0, \
                                    deferred_at = NULL, deferred_for = 0, claim = NULL
               WHERE id = ?1 AND state = 'pending' AND starts = ?2 AND rung = ?3 AND claim IS ?7";
    let (at, pause) = next.map(|next| (next.at, milliseconds(next.pause))).unzip();
    connection.prepare_cached(sql)?.execute(params![seen.id, seen.starts, seen.rung, state, at, pause, seen.claim])?;
    Ok(())
}

pub fn defer(connection: &Connection, deferral: &Deferral) -> Result<(), Problem> {
    let Deferral { seen, now, deferred_for, next } = deferral;
    let sql = "UPDATE callbacks SET next_at = ?4, pause = ?5, deferrals = deferrals + 1, \
                                    deferred_at = ?6, deferred_for = ?7, claim = NULL
               WHERE id = ?1 AND state = 'pending' AND starts = ?2 AND rung = ?3 AND claim IS ?8";
    let (pause, deferred_for) = (milliseconds(next.pause), milliseconds(*deferred_for));
    let values = params![seen.id, seen.starts, seen.rung, next.at, pause, now, deferred_for, seen.claim];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub fn redeliver(
    connection: &Connection,
    key: Option<&KeyId>,
    id: &CallbackId,
    now: Moment,
) -> Result<Option<CallbackRow>, Problem> {
    let sql = format!(
        "UPDATE callbacks SET state = 'pending', starts = starts + 1, rung = 0, next_at = ?3, pause = 0, deferrals = 0,
                               deferred_at = NULL, deferred_for = 0, claim = NULL
         WHERE id = ?1 AND (?2 IS NULL OR key_id = ?2) RETURNING {COLUMNS}"
    );
    let row = connection.query_row(&sql, params![id, key, now], read).optional()?;
    row.map(|row| with_tries(connection, row)).transpose()
}

pub fn place(connection: &Connection, key: &KeyId, id: &CallbackId) -> Result<Option<i64>, Problem> {
    let sql = "SELECT seq FROM callbacks WHERE id = ?1 AND key_id = ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![id, key], |row| row.get(0)).optional()?)
}

pub fn list(
    connection: &Connection,
    filter: CallbackFilter,
    before: Option<i64>,
    size: usize,
) -> Result<Page<CallbackRow>, Problem> {
    // One snapshot for the rows and their attempts.
    let _snapshot = connection.unchecked_transaction()?;
    let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
    let conditions = [
        ("key_id = ?", filter.key.map(|key| Value::from(key.0))),
        ("task_id = ?", filter.task.map(|task| Value::from(task.0))),
        ("state IN (SELECT value FROM json_each(?))", any_of(&states)),
        ("seq < ?", before.map(Value::from)),
    ];
    let with_tries = |row: &Row<'_>| -> Result<(CallbackRow, usize), Problem> {
        let callback = with_tries(connection, read(row)?)?;
        let bytes = callback.tries.iter().map(|attempt| attempt.outcome.len()).sum();
        Ok((callback, bytes))
    };
    let list = List { columns: COLUMNS, table: "callbacks", conditions };
    list.page(connection, size, with_tries, |callback| callback.place)
}

fn with_tries(connection: &Connection, mut callback: CallbackRow) -> Result<CallbackRow, Problem> {
    let sql = "SELECT number, started_at, duration_ms, http_status, outcome FROM callback_tries
               WHERE callback_id = ?1 ORDER BY number DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let tries = statement.query_map(params![callback.id, ATTEMPTS as i64], |row| {
        Ok(DeliveryAttempt {
            number: row.get(0)?,
            started_at: row.get(1)?,
            duration_ms: row.get(2)?,
            http_status: row.get(3)?,
            outcome: row.get(4)?,
        })
    })?;
    callback.tries = tries.collect::<Result<_, _>>()?;
    callback.tries.reverse();
    Ok(callback)
}

pub fn insert(connection: &Connection, task: &TaskRow, callback: &NewCallback) -> Result<(), Problem> {
    let sql = "INSERT INTO callbacks (id, task_id, key_id, url, origin, body, state, next_at, pause, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?8)";
    let NewCallback { id, url, origin, body } = callback;
    let (state, now) = (CallbackState::Pending, task.finished_at.unwrap_or(task.created_at));
    connection.prepare_cached(sql)?.execute(params![id, task.id, task.key, url, origin, body, state, now])?;
    Ok(())
}
