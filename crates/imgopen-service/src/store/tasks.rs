//! Tasks in the database. Every change of a state is one guarded statement: it changes nothing unless the task still is
//! where the caller saw it.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{NewAsset, NewCallback, Store, StoreError, assets, callbacks};
use crate::clock::Moment;
use crate::ids::{KeyId, TaskId};
use crate::output::TaskOutput;
use crate::state::State;
use crate::training::TrainingPlan;

/// A task as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// Its place in the order of acceptance.
    pub seq: i64,
    /// The platform's id.
    pub id: TaskId,
    /// Whose it is.
    pub key: KeyId,
    /// The id of its operation.
    pub operation: String,
    /// The caller's id.
    pub caller_id: String,
    /// The request as canonical JSON.
    pub request: String,
    /// Orders to the sandbox.
    pub directives: Option<String>,
    /// Where its end is pushed to.
    pub callback_url: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Runs begun.
    pub attempt: i64,
    /// The result.
    pub output: Option<TaskOutput>,
    /// Why it ended without a result.
    pub failure: Option<String>,
    /// The engine that made the result, or tried to.
    pub engine: Option<String>,
    /// The engine's grade.
    pub grade: Option<String>,
    /// When it was accepted.
    pub created_at: Moment,
    /// When its last run began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// How it is to be run, if it is a training.
    pub training: Option<TrainingPlan>,
}

/// A task to be accepted.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The platform's id.
    pub id: TaskId,
    /// Whose it is.
    pub key: KeyId,
    /// The id of its operation.
    pub operation: &'static str,
    /// The caller's id.
    pub caller_id: String,
    /// The request as canonical JSON.
    pub request: String,
    /// Orders to the sandbox.
    pub directives: Option<String>,
    /// Where its end is pushed to.
    pub callback_url: Option<String>,
    /// When it came.
    pub created_at: Moment,
    /// What an earlier task is recognised by.
    pub remembered: Remembered,
    /// How it is to be run, if it is a training.
    pub training: Option<TrainingPlan>,
}

/// Whether a submit may be the repetition of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// It is a new task, whatever came before.
    No,
    /// The caller's id is unique, for ever.
    ByCallerId,
    /// The caller sent an `Idempotency-Key`, which is kept until then.
    ByKey(String, Moment),
    /// Both.
    ByBoth(String, Moment),
}

/// What became of a submit.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A new task.
    New,
    /// The task that the same submit started before.
    Again(Box<TaskRow>),
    /// Another submit has used the id or the key before.
    Conflict(Box<TaskRow>),
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// With a result.
    Succeeded(TaskOutput, Vec<NewAsset>),
    /// Without.
    Failed(String),
}

/// Which tasks are listed.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only this one.
    pub id: Option<TaskId>,
    /// Only those of this caller's id.
    pub caller_id: Option<String>,
    /// Only those in one of these states; empty for any.
    pub states: Vec<State>,
    /// Only those of one of these operations; empty for any.
    pub operations: Vec<String>,
    /// Only those accepted then or later.
    pub created_after: Option<Moment>,
    /// Only those accepted before.
    pub created_before: Option<Moment>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Where the next part begins, if there is one.
    pub next: Option<i64>,
}

const COLUMNS: &str = "seq, id, key_id, operation, caller_id, request, directives, callback_url, state, attempt, output, \
                       failure, engine, grade, created_at, started_at, finished_at, training";

impl Remembered {
    fn key(&self) -> Option<(&str, Moment)> {
        match self {
            Self::ByKey(key, expires_at) | Self::ByBoth(key, expires_at) => Some((key, *expires_at)),
            Self::No | Self::ByCallerId => None,
        }
    }

    fn is_by_caller_id(&self) -> bool {
        matches!(self, Self::ByCallerId | Self::ByBoth(..))
    }
}

impl TaskRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            key: row.get(2)?,
            operation: row.get(3)?,
            caller_id: row.get(4)?,
            request: row.get(5)?,
            directives: row.get(6)?,
            callback_url: row.get(7)?,
            state: row.get(8)?,
            attempt: row.get(9)?,
            output: row.get(10)?,
            failure: row.get(11)?,
            engine: row.get(12)?,
            grade: row.get(13)?,
            created_at: Moment(row.get(14)?),
            started_at: row.get::<_, Option<i64>>(15)?.map(Moment),
            finished_at: row.get::<_, Option<i64>>(16)?.map(Moment),
            training: row.get(17)?,
        })
    }
}

impl Store {
    /// Accepts a task, or finds the one that the same submit started before.
    pub(crate) async fn submit(&self, task: NewTask) -> Result<Submitted, StoreError> {
        self.write(move |connection| {
            if let Some(earlier) = earlier(connection, &task)? {
                return Ok(compared(&task, earlier));
            }
            insert(connection, &task)?;
            Ok(Submitted::New)
        })
        .await
    }

    /// Finds the task that the same submit started before, and accepts nothing.
    pub(crate) async fn repeated(&self, task: NewTask) -> Result<Option<Submitted>, StoreError> {
        self.read(move |connection| Ok(earlier(connection, &task)?.map(|earlier| compared(&task, earlier)))).await
    }

    /// Begins a run of a key's oldest queued task.
    pub(crate) async fn claim(&self, key: KeyId, now: Moment) -> Result<Option<TaskRow>, StoreError> {
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "UPDATE tasks SET state = 'running', attempt = attempt + 1, started_at = ?2
                 WHERE seq = (SELECT seq FROM tasks WHERE {} AND key_id = ?1 ORDER BY seq LIMIT 1)
                 RETURNING {COLUMNS}",
                State::Running.may_follow()
            ))?;
            Ok(statement.query_row(params![key, now.0], TaskRow::read).optional()?)
        })
        .await
    }

    /// Ends a run, with all that belongs to its end: pictures and the callback to push. `None` if the task is not in
    /// that run any more, so that nothing of it becomes visible.
    pub(crate) async fn finish(
        &self,
        run: &TaskRow,
        engine: Option<(String, &'static str)>,
        ending: Ending,
        now: Moment,
        callback: impl FnOnce(&TaskRow) -> Option<NewCallback> + Send + 'static,
    ) -> Result<Option<TaskRow>, StoreError> {
        let (id, attempt) = (run.id.clone(), run.attempt);
        self.write(move |connection| {
            let (engine, grade) = engine.unzip();
            let (state, output, failure, pictures) = match ending {
                Ending::Succeeded(output, pictures) => (State::Succeeded, Some(output), None, pictures),
                Ending::Failed(reason) => (State::Failed, None, Some(reason), Vec::new()),
            };
            let mut statement = connection.prepare_cached(&format!(
                "UPDATE tasks SET state = ?3, output = ?4, failure = ?5, finished_at = ?6, engine = ?7, grade = ?8
                 WHERE id = ?1 AND attempt = ?2 AND {} RETURNING {COLUMNS}",
                state.may_follow()
            ))?;
            let ended =
                statement.query_row(params![id, attempt, state, output, failure, now.0, engine, grade], TaskRow::read);
            let Some(task) = ended.optional()? else { return Ok(None) };
            for picture in pictures {
                assets::insert(connection, &task.id, &picture, now)?;
            }
            push(connection, &task, callback, now)?;
            Ok(Some(task))
        })
        .await
    }

    /// Ends a task that has not ended yet, at its owner's wish. The outer `None`: there is no such task. `Err`: it has
    /// ended before, as told.
    pub(crate) async fn cancel(
        &self,
        key: KeyId,
        id: TaskId,
        engine: Option<(String, &'static str)>,
        now: Moment,
        callback: impl FnOnce(&TaskRow) -> Option<NewCallback> + Send + 'static,
    ) -> Result<Option<Result<(TaskRow, State), TaskRow>>, StoreError> {
        self.write(move |connection| {
            let Some(before) = by_id(connection, &key, &id)? else { return Ok(None) };
            if !before.state.may_become(State::Cancelled) {
                return Ok(Some(Err(before)));
            }
            let mut statement = connection.prepare_cached(&format!(
                "UPDATE tasks SET state = 'cancelled', failure = ?3, finished_at = ?2, engine = ?4, grade = ?5
                 WHERE id = ?1 RETURNING {COLUMNS}"
            ))?;
            let (engine, grade) = engine.unzip();
            let values = params![id, now.0, "cancelled by the caller", engine, grade];
            let task = statement.query_row(values, TaskRow::read)?;
            push(connection, &task, callback, now)?;
            Ok(Some(Ok((task, before.state))))
        })
        .await
    }

    /// Gives a run back to the queue because the service stops. It does not count as an attempt.
    pub(crate) async fn hand_back(&self, run: &TaskRow) -> Result<(), StoreError> {
        let (id, attempt) = (run.id.clone(), run.attempt);
        self.write(move |connection| {
            let sql = format!(
                "UPDATE tasks SET state = 'queued', attempt = attempt - 1, started_at = NULL
                 WHERE id = ?1 AND attempt = ?2 AND {}",
                State::Queued.may_follow()
            );
            connection.execute(&sql, params![id, attempt])?;
            Ok(())
        })
        .await
    }

    /// Brings order into what a process left that was killed: its runs are queued again; those that have been begun
    /// `limit` times fail. Tells how many of each.
    pub(crate) async fn recover(
        &self,
        limit: u32,
        now: Moment,
        callback: impl Fn(&TaskRow) -> Option<NewCallback> + Send + 'static,
    ) -> Result<(usize, usize), StoreError> {
        self.write(move |connection| {
            let reason = format!("the service ended while it worked on this task, {limit} times; not tried again");
            let mut statement = connection.prepare(&format!(
                "UPDATE tasks SET state = 'failed', failure = ?2, finished_at = ?3
                 WHERE {} AND attempt >= ?1 RETURNING {COLUMNS}",
                State::Failed.may_follow()
            ))?;
            let failed = statement.query_map(params![limit, reason, now.0], TaskRow::read)?;
            let failed = failed.collect::<Result<Vec<_>, _>>()?;
            for task in &failed {
                push(connection, task, &callback, now)?;
            }
            let sql =
                format!("UPDATE tasks SET state = 'queued', started_at = NULL WHERE {}", State::Queued.may_follow());
            Ok((connection.execute(&sql, [])?, failed.len()))
        })
        .await
    }

    /// How many tasks of each key are queued.
    pub(crate) async fn queued(&self) -> Result<Vec<(KeyId, usize)>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT key_id, count(*) FROM tasks WHERE state = 'queued' GROUP BY key_id")?;
            let rows =
                statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.try_into().unwrap_or(0))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The task that a key asks for: by the platform's id exactly that one, else the newest of that caller's id. Only
    /// tasks of the given operations in one of the given states are found.
    pub(crate) async fn find(
        &self,
        key: KeyId,
        asked: String,
        operations: &'static [&'static str],
        states: &'static [State],
    ) -> Result<Option<TaskRow>, StoreError> {
        self.read(move |connection| {
            let among = |task: &TaskRow| operations.contains(&task.operation.as_str()) && states.contains(&task.state);
            if let Some(task) = by_id(connection, &key, &TaskId(asked.clone()))?.filter(among) {
                return Ok(Some(task));
            }
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tasks WHERE key_id = ?1 AND caller_id = ?2
                 AND operation IN (SELECT value FROM json_each(?3)) AND state IN (SELECT value FROM json_each(?4))
                 ORDER BY seq DESC LIMIT 1"
            ))?;
            let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
            let (operations, states) =
                (serde_json::json!(operations).to_string(), serde_json::json!(states).to_string());
            Ok(statement.query_row(params![key, asked, operations, states], TaskRow::read).optional()?)
        })
        .await
    }

    /// The task of that id, whoever's it is.
    pub(crate) async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"))?;
            Ok(statement.query_row([&id], TaskRow::read).optional()?)
        })
        .await
    }

    /// The place of a key's task in lists.
    pub(crate) async fn task_place(&self, key: KeyId, id: TaskId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| Ok(by_id(connection, &key, &id)?.map(|task| task.seq))).await
    }

    /// A key's tasks, the newest first, from `before` downwards, without their requests, which may be long.
    pub(crate) async fn list_tasks(
        &self,
        key: KeyId,
        filter: TaskFilter,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<TaskRow>, StoreError> {
        self.read(move |connection| {
            let (conditions, values) = conditions(key, filter, before);
            let sql = format!(
                "SELECT {} FROM tasks WHERE {} ORDER BY seq DESC LIMIT {}",
                COLUMNS.replace("request", "'' AS request"),
                conditions.join(" AND "),
                size + 1
            );
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map(params_from_iter(values), TaskRow::read)?;
            let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
            let more = rows.len() > size;
            rows.truncate(size);
            let next = rows.last().filter(|_| more).map(|row| row.seq);
            Ok(Page { rows, next })
        })
        .await
    }

    /// Forgets idempotency keys that have run out.
    pub(crate) async fn forget(&self, now: Moment) -> Result<usize, StoreError> {
        self.write(move |connection| Ok(connection.execute("DELETE FROM idempotency WHERE expires_at <= ?1", [now.0])?))
            .await
    }
}

fn conditions(key: KeyId, filter: TaskFilter, before: Option<i64>) -> (Vec<&'static str>, Vec<Value>) {
    let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
    let optional = [
        ("id = ?", filter.id.map(|id| Value::from(id.0))),
        ("caller_id = ?", filter.caller_id.map(Value::from)),
        ("created_at >= ?", filter.created_after.map(|moment| Value::from(moment.0))),
        ("created_at < ?", filter.created_before.map(|moment| Value::from(moment.0))),
        ("seq < ?", before.map(Value::from)),
        ("state IN (SELECT value FROM json_each(?))", any_of(&states)),
        ("operation IN (SELECT value FROM json_each(?))", any_of(&filter.operations)),
    ];
    let mut conditions = vec!["key_id = ?"];
    let mut values = vec![Value::from(key.0)];
    for (condition, value) in optional {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    }
    (conditions, values)
}

fn any_of<T: serde::Serialize>(values: &[T]) -> Option<Value> {
    (!values.is_empty()).then(|| Value::from(serde_json::json!(values).to_string()))
}

fn by_id(connection: &Connection, key: &KeyId, id: &TaskId) -> Result<Option<TaskRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1 AND key_id = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row(params![id, key], TaskRow::read).optional()?)
}

/// The task that the same submit may have started before.
fn earlier(connection: &Connection, task: &NewTask) -> Result<Option<TaskRow>, StoreError> {
    let mut id: Option<TaskId> = None;
    if let Some((key, _)) = task.remembered.key() {
        let sql = "SELECT task_id FROM idempotency WHERE key_id = ?1 AND idempotency_key = ?2 AND expires_at > ?3";
        let mut statement = connection.prepare_cached(sql)?;
        id = statement.query_row(params![task.key, key, task.created_at.0], |row| row.get(0)).optional()?;
    }
    if id.is_none() && task.remembered.is_by_caller_id() {
        let sql = "SELECT id FROM tasks WHERE key_id = ?1 AND caller_id = ?2 AND operation = 'submit_training'";
        let mut statement = connection.prepare_cached(sql)?;
        id = statement.query_row(params![task.key, task.caller_id], |row| row.get(0)).optional()?;
    }
    match id {
        Some(id) => by_id(connection, &task.key, &id),
        None => Ok(None),
    }
}

fn compared(task: &NewTask, earlier: TaskRow) -> Submitted {
    let same = earlier.operation == task.operation && earlier.request == task.request;
    let earlier = Box::new(earlier);
    if same { Submitted::Again(earlier) } else { Submitted::Conflict(earlier) }
}

fn insert(connection: &Connection, task: &NewTask) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO tasks (id, key_id, operation, caller_id, request, directives, callback_url, state, created_at, training)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        task.id,
        task.key,
        task.operation,
        task.caller_id,
        task.request,
        task.directives,
        task.callback_url,
        task.created_at.0,
        task.training,
    ])?;
    if let Some((key, expires_at)) = task.remembered.key() {
        // What stood there has run out, or it would have been found.
        let sql = "INSERT OR REPLACE INTO idempotency (key_id, idempotency_key, task_id, expires_at)
                   VALUES (?1, ?2, ?3, ?4)";
        connection.prepare_cached(sql)?.execute(params![task.key, key, task.id, expires_at.0])?;
    }
    Ok(())
}

fn push(
    connection: &Connection,
    task: &TaskRow,
    callback: impl FnOnce(&TaskRow) -> Option<NewCallback>,
    now: Moment,
) -> Result<(), StoreError> {
    match callback(task) {
        Some(callback) => callbacks::insert(connection, task, &callback, now),
        None => Ok(()),
    }
}
