//! Callbacks in SQL.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::pages::page;
use super::problem::Problem;
use super::values::{any_of, list as json_list};
use crate::ids::{CallbackId, KeyId};
use crate::{
    ATTEMPTS, CallbackFilter, CallbackRow, CallbackState, Delivery, DeliveryAttempt, Moment, NewCallback, Page,
    TaskRow, UnderWay,
};

const COLUMNS: &str = "id, task_id, key_id, url, origin, body, state, rung, next_at, created_at, seq";

fn read(row: &Row<'_>) -> rusqlite::Result<CallbackRow> {
    Ok(CallbackRow {
        id: row.get(0)?,
        task: row.get(1)?,
        key: row.get(2)?,
        url: row.get(3)?,
        origin: row.get(4)?,
        body: row.get(5)?,
        state: row.get(6)?,
        rung: row.get(7)?,
        next_at: row.get(8)?,
        created_at: row.get(9)?,
        tries: Vec::new(),
        place: row.get(10)?,
    })
}

pub fn due(
    connection: &Connection,
    now: Moment,
    under_way: &UnderWay,
    most: usize,
) -> Result<Vec<CallbackRow>, Problem> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM callbacks WHERE state = 'pending' AND next_at <= ?1
         AND id NOT IN (SELECT value FROM json_each(?2)) AND origin NOT IN (SELECT value FROM json_each(?3))
         ORDER BY next_at LIMIT ?4"
    ))?;
    let (callbacks, origins) = (json_list(&under_way.callbacks), json_list(&under_way.busy_origins));
    let rows = statement.query_map(params![now, callbacks, origins, most as i64], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn next(connection: &Connection, under_way: &UnderWay) -> Result<Option<Moment>, Problem> {
    let sql = "SELECT next_at FROM callbacks WHERE state = 'pending'
               AND id NOT IN (SELECT value FROM json_each(?1)) AND origin NOT IN (SELECT value FROM json_each(?2))
               ORDER BY next_at LIMIT 1";
    let (callbacks, origins) = (json_list(&under_way.callbacks), json_list(&under_way.busy_origins));
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([callbacks, origins], |row| row.get(0)).optional()?)
}

pub fn record(connection: &Connection, delivery: &Delivery) -> Result<(), Problem> {
    let Delivery { seen, attempt, state, next_at } = delivery;
    let sql = "INSERT INTO callback_tries (callback_id, number, started_at, duration_ms, http_status, outcome)
               SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM callback_tries WHERE callback_id = ?1";
    let DeliveryAttempt { started_at, duration_ms, http_status, outcome, .. } = attempt;
    connection.prepare_cached(sql)?.execute(params![seen.id, started_at, duration_ms, http_status, outcome])?;
    let sql = "UPDATE callbacks SET state = ?2, rung = rung + 1, next_at = ?3
               WHERE id = ?1 AND state = 'pending' AND rung = ?4 AND next_at IS ?5";
    connection.prepare_cached(sql)?.execute(params![seen.id, state, next_at, seen.rung, seen.next_at])?;
    Ok(())
}

pub fn redeliver(
    connection: &Connection,
    key: Option<&KeyId>,
    id: &CallbackId,
    now: Moment,
) -> Result<Option<CallbackRow>, Problem> {
    let sql = format!(
        "UPDATE callbacks SET state = 'pending', rung = 0, next_at = ?3
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
    let (conditions, values) = conditions(filter, before);
    let sql = format!(
        "SELECT {COLUMNS} FROM callbacks WHERE {} ORDER BY seq DESC LIMIT {}",
        conditions.join(" AND "),
        size + 1
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query(params_from_iter(values))?;
    let with_tries = |row: &Row<'_>| -> Result<(CallbackRow, usize), Problem> {
        let callback = with_tries(connection, read(row)?)?;
        let bytes = callback.tries.iter().map(|attempt| attempt.outcome.len()).sum();
        Ok((callback, bytes))
    };
    page(rows, size, with_tries, |callback| callback.place)
}

fn conditions(filter: CallbackFilter, before: Option<i64>) -> (Vec<&'static str>, Vec<Value>) {
    let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
    let optional = [
        ("key_id = ?", filter.key.map(|key| Value::from(key.0))),
        ("task_id = ?", filter.task.map(|task| Value::from(task.0))),
        ("state IN (SELECT value FROM json_each(?))", any_of(&states)),
        ("seq < ?", before.map(Value::from)),
    ];
    let given = optional.into_iter().filter_map(|(condition, value)| Some((condition, value?)));
    let (mut conditions, values): (Vec<_>, Vec<_>) = given.unzip();
    conditions.push("TRUE");
    (conditions, values)
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
    let sql = "INSERT INTO callbacks (id, task_id, key_id, url, origin, body, state, next_at, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)";
    let NewCallback { id, url, origin, body } = callback;
    let (state, now) = (CallbackState::Pending, task.finished_at.unwrap_or(task.created_at));
    connection.prepare_cached(sql)?.execute(params![id, task.id, task.key, url, origin, body, state, now])?;
    Ok(())
}
