//! Callbacks in the database: what is to be pushed, when next, and every try so far.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{Page, Store, StoreError, TaskRow};
use crate::clock::Moment;
use crate::ids::{CallbackId, KeyId, TaskId};

/// What a callback waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackState {
    /// It is still to be pushed.
    Pending,
    /// The receiver has acknowledged it.
    Acknowledged,
    /// The receiver has not, and no further try is made.
    Abandoned,
}

/// A callback to be pushed.
#[derive(Debug, Clone)]
pub struct NewCallback {
    /// Its id.
    pub id: CallbackId,
    /// Where to.
    pub url: String,
    /// Scheme, host and port of that.
    pub origin: String,
    /// What is pushed, as JSON.
    pub body: String,
}

/// A callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackRow {
    /// Its id.
    pub id: CallbackId,
    /// The task whose end it tells.
    pub task: TaskId,
    /// Whose it is.
    pub key: KeyId,
    /// Where to.
    pub url: String,
    /// Scheme, host and port of that.
    pub origin: String,
    /// What is pushed, as JSON.
    pub body: String,
    /// What it waits for.
    pub state: CallbackState,
    /// Tries since it was last set going.
    pub rung: i64,
    /// When the next try is due.
    pub next_at: Option<Moment>,
    /// When the task ended.
    pub created_at: Moment,
    /// Every try so far. Read only for lists.
    pub tries: Vec<Try>,
    /// Its place in lists.
    pub place: i64,
}

/// One try to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// Its number, from 1.
    pub number: i64,
    /// When it began.
    pub started_at: Moment,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The receiver's HTTP status, if it answered.
    pub http_status: Option<i64>,
    /// What came, or what went wrong.
    pub outcome: String,
}

const COLUMNS: &str = "id, task_id, key_id, url, origin, body, state, rung, next_at, created_at, seq";

impl CallbackState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Acknowledged, Self::Abandoned];

    /// Its name in the database and in the extras.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Acknowledged => "acknowledged",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for CallbackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ToSql for CallbackState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for CallbackState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(FromSqlError::InvalidType)
    }
}

impl CallbackRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            task: row.get(1)?,
            key: row.get(2)?,
            url: row.get(3)?,
            origin: row.get(4)?,
            body: row.get(5)?,
            state: row.get(6)?,
            rung: row.get(7)?,
            next_at: row.get::<_, Option<i64>>(8)?.map(Moment),
            created_at: Moment(row.get(9)?),
            tries: Vec::new(),
            place: row.get(10)?,
        })
    }
}

impl Store {
    /// The callbacks that are due, the longest due first, but none of those under way and none to busy origins.
    pub(crate) async fn due_callbacks(
        &self,
        now: Moment,
        under_way: Vec<CallbackId>,
        busy: Vec<String>,
        most: usize,
    ) -> Result<Vec<CallbackRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM callbacks WHERE state = 'pending' AND next_at <= ?1
                 AND id NOT IN (SELECT value FROM json_each(?2)) AND origin NOT IN (SELECT value FROM json_each(?3))
                 ORDER BY next_at LIMIT ?4"
            ))?;
            let (under_way, busy) = (serde_json::json!(under_way).to_string(), serde_json::json!(busy).to_string());
            let rows = statement.query_map(params![now.0, under_way, busy, most as i64], CallbackRow::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// When the next callback is due, if any is pending beside those under way and those to busy origins.
    pub(crate) async fn next_callback(
        &self,
        under_way: Vec<CallbackId>,
        busy: Vec<String>,
    ) -> Result<Option<Moment>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT next_at FROM callbacks WHERE state = 'pending'
                       AND id NOT IN (SELECT value FROM json_each(?1)) AND origin NOT IN (SELECT value FROM json_each(?2))
                       ORDER BY next_at LIMIT 1";
            let (under_way, busy) = (serde_json::json!(under_way).to_string(), serde_json::json!(busy).to_string());
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([under_way, busy], |row| row.get(0)).optional()?.map(Moment))
        })
        .await
    }

    /// Records a try, and what follows from it. If the callback was set going anew meanwhile, nothing follows: it is
    /// still to be pushed.
    pub(crate) async fn record_try(
        &self,
        tried: &CallbackRow,
        outcome: Try,
        state: CallbackState,
        next_at: Option<Moment>,
    ) -> Result<(), StoreError> {
        let (id, rung, due) = (tried.id.clone(), tried.rung, tried.next_at.map(|moment| moment.0));
        self.write(move |connection| {
            let sql = "INSERT INTO callback_tries (callback_id, number, started_at, duration_ms, http_status, outcome)
                       SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM callback_tries
                       WHERE callback_id = ?1";
            let Try { started_at, duration_ms, http_status, outcome, .. } = outcome;
            connection.prepare_cached(sql)?.execute(params![id, started_at.0, duration_ms, http_status, outcome])?;
            let sql = "UPDATE callbacks SET state = ?2, rung = rung + 1, next_at = ?3
                       WHERE id = ?1 AND state = 'pending' AND rung = ?4 AND next_at IS ?5";
            let next_at = next_at.map(|moment| moment.0);
            connection.prepare_cached(sql)?.execute(params![id, state, next_at, rung, due])?;
            Ok(())
        })
        .await
    }

    /// Sets a callback going again, from the first rung. Tells it as it then is; `None` if the key has no such one.
    /// Without a key any is found.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn redeliver(
        &self,
        key: Option<KeyId>,
        id: CallbackId,
        now: Moment,
    ) -> Result<Option<CallbackRow>, StoreError> {
        self.write(move |connection| {
            let sql = format!(
                "UPDATE callbacks SET state = 'pending', rung = 0, next_at = ?3
                 WHERE id = ?1 AND (?2 IS NULL OR key_id = ?2) RETURNING {COLUMNS}"
            );
            let row = connection.query_row(&sql, params![id, key, now.0], CallbackRow::read).optional()?;
            row.map(|row| with_tries(connection, row)).transpose()
        })
        .await
    }

    /// The place of a key's callback in lists.
    pub(crate) async fn callback_place(&self, key: KeyId, id: CallbackId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT seq FROM callbacks WHERE id = ?1 AND key_id = ?2";
            Ok(connection.prepare_cached(sql)?.query_row(params![id, key], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Callbacks with their tries, the newest first. Without a key those of all keys.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list_callbacks(
        &self,
        key: Option<KeyId>,
        task: Option<TaskId>,
        states: Vec<CallbackState>,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<CallbackRow>, StoreError> {
        self.read(move |connection| {
            // The rows and their tries are read as they were at one moment.
            let _snapshot = connection.unchecked_transaction()?;
            let (conditions, values) = conditions(key, task, &states, before);
            let sql = format!(
                "SELECT {COLUMNS} FROM callbacks WHERE {} ORDER BY seq DESC LIMIT {}",
                conditions.join(" AND "),
                size + 1
            );
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map(params_from_iter(values), CallbackRow::read)?;
            let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
            let more = rows.len() > size;
            rows.truncate(size);
            let next = rows.last().filter(|_| more).map(|row| row.place);
            let rows = rows.into_iter().map(|row| with_tries(connection, row)).collect::<Result<_, _>>()?;
            Ok(Page { rows, next })
        })
        .await
    }
}

fn conditions(
    key: Option<KeyId>,
    task: Option<TaskId>,
    states: &[CallbackState],
    before: Option<i64>,
) -> (Vec<&'static str>, Vec<Value>) {
    let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    let states = (!states.is_empty()).then(|| Value::from(serde_json::json!(states).to_string()));
    let optional = [
        ("key_id = ?", key.map(|key| Value::from(key.0))),
        ("task_id = ?", task.map(|task| Value::from(task.0))),
        ("state IN (SELECT value FROM json_each(?))", states),
        ("seq < ?", before.map(Value::from)),
    ];
    let given = optional.into_iter().filter_map(|(condition, value)| Some((condition, value?)));
    let (mut conditions, values): (Vec<_>, Vec<_>) = given.unzip();
    conditions.push("TRUE");
    (conditions, values)
}

fn with_tries(connection: &Connection, mut callback: CallbackRow) -> Result<CallbackRow, StoreError> {
    let sql = "SELECT number, started_at, duration_ms, http_status, outcome FROM callback_tries
               WHERE callback_id = ?1 ORDER BY number";
    let mut statement = connection.prepare_cached(sql)?;
    let tries = statement.query_map([&callback.id], |row| {
        let (number, started_at, duration_ms) = (row.get(0)?, Moment(row.get(1)?), row.get(2)?);
        Ok(Try { number, started_at, duration_ms, http_status: row.get(3)?, outcome: row.get(4)? })
    })?;
    callback.tries = tries.collect::<Result<_, _>>()?;
    Ok(callback)
}

pub(super) fn insert(
    connection: &Connection,
    task: &TaskRow,
    callback: &NewCallback,
    now: Moment,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO callbacks (id, task_id, key_id, url, origin, body, state, next_at, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?7)";
    let NewCallback { id, url, origin, body } = callback;
    connection.prepare_cached(sql)?.execute(params![id, task.id, task.key, url, origin, body, now.0])?;
    Ok(())
}
