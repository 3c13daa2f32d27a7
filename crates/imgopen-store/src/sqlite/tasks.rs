//! Tasks in SQL. Every change of a state is one guarded statement: it changes nothing unless the task still is where the
//! caller saw it.

use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::orphans::orphan;
use super::pages::List;
use super::problem::Problem;
use super::values::{Json, any_of, duration, list as json_list, milliseconds, system_time};
use super::{assets, callbacks};
use crate::ids::{KeyId, OwnerId, RunId, TaskId};
use crate::{Claim, End, Find, HandBack, Lane, Moment, NewTask, Page, State, Submitted, TaskFilter, TaskRow};

/// The columns of a task, in the order that [`read`] expects.
macro_rules! columns {
    ($request:literal) => {
        concat!(
            "seq, id, key_id, operation, needs, caller_id, ",
            $request,
            ", options, plan, callback_url, state, attempt, run, owner, output, failure, engine, grade, created_at, started_at, \
             finished_at, deferrals, deferred_at, deferred_for, crashes_alone"
        )
    };
}

/// The columns to select for [`read`].
pub const COLUMNS: &str = columns!("request");

/// The columns to select for [`read`], with the request left empty.
const COLUMNS_WITHOUT_REQUEST: &str = columns!("'' AS request");

pub fn read(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    Ok(TaskRow {
        seq: row.get(0)?,
        id: row.get(1)?,
        key: row.get(2)?,
        operation: row.get(3)?,
        needs: row.get(4)?,
        caller_id: row.get(5)?,
        request: row.get(6)?,
        options: row.get::<_, Option<Json>>(7)?.map(|json| json.0),
        plan: row.get::<_, Option<Json>>(8)?.map(|json| json.0),
        callback_url: row.get(9)?,
        state: row.get(10)?,
        attempt: row.get(11)?,
        run: row.get(12)?,
        owner: row.get(13)?,
        output: row.get(14)?,
        failure: row.get(15)?,
        engine: row.get(16)?,
        grade: row.get(17)?,
        created_at: row.get(18)?,
        started_at: row.get(19)?,
        finished_at: row.get(20)?,
        deferrals: row.get(21)?,
        deferred_at: row.get(22)?,
        deferred_for: duration(row.get(23)?),
        crashes_alone: row.get(24)?,
    })
}

/// The condition that a task may change to this state. Every statement that changes a state has it, or compares the state
/// with one that the caller has checked.
pub fn may_become(next: State) -> String {
    let before = State::ALL.into_iter().filter(|state| state.may_become(next));
    let before: Vec<_> = before.map(|state| format!("state = '{state}'")).collect();
    format!("({})", before.join(" OR "))
}

pub fn submit(connection: &Connection, task: &NewTask) -> Result<Submitted, Problem> {
    if let Some(earlier) = repeated(connection, task)? {
        return Ok(earlier);
    }
    if is_reserved(connection, task)? || is_made(connection, task)? {
        return Ok(Submitted::Reserved);
    }
    Ok(if insert(connection, task)? { Submitted::New } else { Submitted::IdTaken })
}

pub fn repeated(connection: &Connection, task: &NewTask) -> Result<Option<Submitted>, Problem> {
    let mut id: Option<TaskId> = None;
    if let Some(idempotency) = &task.idempotency {
        let sql = "SELECT task_id FROM idempotency WHERE key_id = ?1 AND idempotency_key = ?2 AND expires_at > ?3";
        let mut statement = connection.prepare_cached(sql)?;
        id = statement.query_row(params![task.key, idempotency.key, task.created_at], |row| row.get(0)).optional()?;
    }
    if id.is_none() && task.unique_id {
        let sql = "SELECT id FROM tasks WHERE key_id = ?1 AND operation = ?2 AND caller_id = ?3 AND unique_id = 1";
        let mut statement = connection.prepare_cached(sql)?;
        id = statement.query_row(params![task.key, task.operation, task.caller_id], |row| row.get(0)).optional()?;
    }
    let Some(id) = id else { return Ok(None) };
    let Some(earlier) = by_id(connection, &task.key, id.as_str())? else { return Ok(None) };
    let is_same = earlier.operation == task.operation && earlier.request == task.request;
    let earlier = Box::new(earlier);
    Ok(Some(if is_same { Submitted::Again(earlier) } else { Submitted::Conflict(earlier) }))
}

/// Whether an active task has reserved the same name.
fn is_reserved(connection: &Connection, task: &NewTask) -> Result<bool, Problem> {
    let Some(name) = &task.reserves else { return Ok(false) };
    let sql = "SELECT EXISTS (SELECT 1 FROM tasks WHERE reserves = ?1 AND state IN ('queued', 'running'))";
    Ok(connection.prepare_cached(sql)?.query_row([name], |row| row.get(0))?)
}

/// Whether a task that has succeeded reserved the same name, if that matters.
fn is_made(connection: &Connection, task: &NewTask) -> Result<bool, Problem> {
    let Some(name) = task.reserves.as_ref().filter(|_| task.reserves_made) else { return Ok(false) };
    let sql = "SELECT EXISTS (SELECT 1 FROM tasks WHERE reserves = ?1 AND state = 'succeeded')";
    Ok(connection.prepare_cached(sql)?.query_row([name], |row| row.get(0))?)
}

/// Inserts a task. `false` if its id is taken.
fn insert(connection: &Connection, task: &NewTask) -> Result<bool, Problem> {
    let sql =
        "INSERT INTO tasks (id, key_id, operation, needs, caller_id, unique_id, request, options, plan, callback_url,
                                  state, created_at, reserves)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (id) DO NOTHING";
    let inserted = connection.prepare_cached(sql)?.execute(params![
        task.id,
        task.key,
        task.operation,
        task.needs,
        task.caller_id,
        task.unique_id,
        task.request,
        task.options.as_ref().map(ToString::to_string),
        task.plan.as_ref().map(ToString::to_string),
        task.callback_url,
        State::Queued,
        task.created_at,
        task.reserves,
    ])?;
    if inserted == 0 {
        return Ok(false);
    }
    if let Some(idempotency) = &task.idempotency {
        // An existing row has expired, or it would have been found above.
        let sql = "INSERT OR REPLACE INTO idempotency (key_id, idempotency_key, task_id, expires_at)
                   VALUES (?1, ?2, ?3, ?4)";
        let values = params![task.key, idempotency.key, task.id, idempotency.expires_at];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(true)
}

pub fn claim(connection: &Connection, claim: &Claim) -> Result<Option<TaskRow>, Problem> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "UPDATE tasks SET state = 'running', attempt = attempt + 1, run = ?3, owner = ?4, started_at = ?5, claimed_at = ?7
             WHERE seq = (SELECT seq FROM tasks WHERE {} AND needs = ?2 AND key_id = ?1 AND coalesce(id = ?6, 1)
                          ORDER BY seq + 64 * deferrals LIMIT 1)
             AND EXISTS (SELECT 1 FROM owners WHERE id = ?4 AND draining = 0) RETURNING {COLUMNS}",
            may_become(State::Running)
        )
    });
    let values = params![claim.key, claim.needs, claim.run, claim.owner, claim.now, claim.only, system_time()];
    Ok(connection.prepare_cached(&SQL)?.query_row(values, read).optional()?)
}

pub fn end(connection: &Connection, end: &End) -> Result<bool, Problem> {
    let task = &end.task;
    if !end.before.may_become(task.state) || !task.state.is_final() {
        return Ok(false);
    }
    let mut statement = connection.prepare_cached(
        "UPDATE tasks SET state = ?4, output = ?5, failure = ?6, finished_at = ?7, engine = ?8, grade = ?9
         WHERE id = ?1 AND state = ?2 AND run IS ?3",
    )?;
    let TaskRow { id, run, state, output, failure, finished_at, engine, grade, .. } = task;
    let values = params![id, end.before, run, state, output, failure, finished_at, engine, grade];
    if statement.execute(values)? == 0 {
        return Ok(false);
    }
    let now = finished_at.unwrap_or(task.created_at);
    for asset in &end.assets {
        assets::insert(connection, id, asset, now)?;
    }
    if let Some(callback) = &end.callback {
        callbacks::insert(connection, task, callback)?;
    }
    if let Some(run) = run.as_ref().filter(|_| end.orphans_run) {
        orphan(connection, run, now)?;
    }
    Ok(true)
}

pub fn claimed(connection: &Connection, owner: &OwnerId, run: &RunId) -> Result<Option<TaskRow>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM tasks WHERE state = 'running' AND owner = ?1 AND run = ?2");
    Ok(connection.prepare(&sql)?.query_row(params![owner, run], read).optional()?)
}

pub fn hand_back(connection: &Connection, hand_back: &HandBack) -> Result<bool, Problem> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "UPDATE tasks SET state = 'queued', attempt = attempt - 1, run = NULL, owner = NULL, started_at = NULL,
                              deferrals = deferrals + ?3, deferred_at = iif(?3, ?4, deferred_at),
                              deferred_for = iif(?3, ?5, deferred_for)
             WHERE id = ?1 AND run = ?2 AND {}",
            may_become(State::Queued)
        )
    });
    let HandBack { task, run, is_fault, deferred_for, now } = hand_back;
    let deferred_for = milliseconds(*deferred_for);
    let is_back = connection.prepare_cached(&SQL)?.execute(params![task, run, is_fault, now, deferred_for])? == 1;
    if is_back {
        orphan(connection, run, *now)?;
    }
    Ok(is_back)
}

pub fn ended(connection: &Connection, ids: &[TaskId]) -> Result<Vec<TaskId>, Problem> {
    let sql = "SELECT id FROM tasks WHERE id IN (SELECT value FROM json_each(?1))
               AND state IN (SELECT value FROM json_each(?2))";
    let states = State::FINAL.map(State::as_str);
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([json_list(ids), json_list(states)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns those of the tasks that run, with their runs.
pub fn running(connection: &Connection, ids: &[TaskId]) -> Result<Vec<(TaskId, RunId)>, Problem> {
    let sql = "SELECT id, run FROM tasks WHERE id IN (SELECT value FROM json_each(?1)) AND state = 'running'
               AND run IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([json_list(ids)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn suspects(connection: &Connection, attempts: i64) -> Result<Vec<TaskRow>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM tasks WHERE state = 'queued' AND attempt >= ?1 ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    Ok(statement.query_map([attempts], read)?.collect::<Result<_, _>>()?)
}

pub fn queued(connection: &Connection) -> Result<Vec<Lane>, Problem> {
    let sql = "SELECT needs, key_id, count(*), min(seq) FROM tasks WHERE state = 'queued' GROUP BY needs, key_id
               ORDER BY min(seq)";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let count = row.get::<_, i64>(2)?.try_into().unwrap_or(0);
        Ok(Lane { needs: row.get(0)?, key: row.get(1)?, count, first: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn task(connection: &Connection, id: &TaskId) -> Result<Option<TaskRow>, Problem> {
    static SQL: LazyLock<String> = LazyLock::new(|| format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"));
    Ok(connection.prepare_cached(&SQL)?.query_row([id], read).optional()?)
}

pub fn find(connection: &Connection, find: &Find) -> Result<Option<TaskRow>, Problem> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {COLUMNS} FROM tasks WHERE key_id = ?1 AND caller_id = ?2
             AND operation IN (SELECT value FROM json_each(?3)) AND state IN (SELECT value FROM json_each(?4))
             ORDER BY seq DESC LIMIT 1"
        )
    });
    let Find { key, id, operations, states } = find;
    let fits = |task: &TaskRow| operations.contains(&task.operation.as_str()) && states.contains(&task.state);
    if let Some(task) = by_id(connection, key, id)?.filter(fits) {
        return Ok(Some(task));
    }
    let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    let values = params![key, id, json_list(operations), json_list(states)];
    Ok(connection.prepare_cached(&SQL)?.query_row(values, read).optional()?)
}

/// Returns the place of the newest task that was ever accepted, even if its row is deleted.
pub fn last_place(connection: &Connection) -> Result<i64, Problem> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'tasks'";
    let place = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(place.unwrap_or(0))
}

/// Returns the latest moment in the newest rows, or the last one that a service noted, in a database of that layout.
pub fn latest(connection: &Connection, layout: i64) -> Result<Option<Moment>, Problem> {
    let noted = if layout >= 4 { "UNION ALL SELECT value FROM notes WHERE name = 'last_seen'" } else { "" };
    let sql = format!(
        "SELECT max(moment) FROM (
             SELECT max(created_at, coalesce(started_at, 0), coalesce(finished_at, 0)) AS moment
             FROM (SELECT created_at, started_at, finished_at FROM tasks ORDER BY seq DESC LIMIT 1000)
             UNION ALL SELECT max(created_at) FROM keys
             UNION ALL SELECT created_at FROM (SELECT created_at FROM callbacks ORDER BY seq DESC LIMIT 1)
             {noted})"
    );
    Ok(connection.query_row(&sql, [], |row| row.get(0))?)
}

pub fn place(connection: &Connection, key: &KeyId, id: &TaskId) -> Result<Option<i64>, Problem> {
    let sql = "SELECT seq FROM tasks WHERE id = ?1 AND key_id = ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![id, key], |row| row.get(0)).optional()?)
}

pub fn list(
    connection: &Connection,
    key: KeyId,
    filter: TaskFilter,
    before: Option<i64>,
    size: usize,
) -> Result<Page<TaskRow>, Problem> {
    let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
    let conditions = [
        ("key_id = ?", Some(Value::from(key.0))),
        ("id = ?", filter.id.map(|id| Value::from(id.0))),
        ("caller_id = ?", filter.caller_id.map(Value::from)),
        ("created_at >= ?", filter.created_after.map(|moment| Value::from(moment.0))),
        ("created_at < ?", filter.created_before.map(|moment| Value::from(moment.0))),
        ("seq < ?", before.map(Value::from)),
        ("state IN (SELECT value FROM json_each(?))", any_of(&states)),
        ("operation IN (SELECT value FROM json_each(?))", any_of(&filter.operations)),
    ];
    let list = List { columns: COLUMNS_WITHOUT_REQUEST, table: "tasks", conditions };
    list.page(connection, size, |row| Ok((read(row)?, 0)), |task| task.seq)
}

pub fn forget_idempotency_keys(connection: &Connection, now: Moment) -> Result<usize, Problem> {
    Ok(connection.execute("DELETE FROM idempotency WHERE expires_at <= ?1", [now])?)
}

fn by_id(connection: &Connection, key: &KeyId, id: &str) -> Result<Option<TaskRow>, Problem> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1 AND key_id = ?2"));
    Ok(connection.prepare_cached(&SQL)?.query_row(params![id, key], read).optional()?)
}
