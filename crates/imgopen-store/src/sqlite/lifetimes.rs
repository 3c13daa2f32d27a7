//! Deleting ended tasks with what belongs to them, in SQL.

use rusqlite::{Connection, params};

use super::problem::Problem;
use super::values::list;
use crate::ids::TaskId;
use crate::{Deletable, Moment};

/// The condition that nothing holds the row of a task: it has ended, its callbacks need no further attempt, and no file of
/// it is left.
const IS_DELETABLE: &str = "state IN ('succeeded', 'failed', 'cancelled') AND finished_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM callbacks WHERE task_id = tasks.id AND state = 'pending')
    AND NOT EXISTS (SELECT 1 FROM assets WHERE task_id = tasks.id AND deleted_at IS NULL)";

/// What belongs to the tasks in a list, in an order that keeps every reference valid.
const DELETIONS: [&str; 4] = [
    "DELETE FROM callback_tries WHERE callback_id IN
     (SELECT id FROM callbacks WHERE task_id IN (SELECT value FROM json_each(?1)))",
    "DELETE FROM callbacks WHERE task_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM assets WHERE task_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM idempotency WHERE task_id IN (SELECT value FROM json_each(?1))",
];

/// Makes the index that finds ended tasks by age, unless it is there. It is no part of the layout, because it costs every end of
/// a task a page of the log, and only services whose rows expire need it.
pub fn keep_index(connection: &Connection) -> Result<(), Problem> {
    let sql = "CREATE INDEX IF NOT EXISTS tasks_ended ON tasks (finished_at) WHERE finished_at IS NOT NULL";
    Ok(connection.prepare_cached(sql)?.execute([]).map(drop)?)
}

/// Needs the [index](keep_index).
pub fn deletable(
    connection: &Connection,
    before: Moment,
    after: Option<(Moment, i64)>,
    most: usize,
) -> Result<Deletable, Problem> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, finished_at, seq FROM tasks INDEXED BY tasks_ended
         WHERE {IS_DELETABLE} AND finished_at <= ?1 AND (finished_at, seq) > (?2, ?3)
         ORDER BY finished_at, seq LIMIT ?4"
    ))?;
    let (moment, seq) = after.unwrap_or((Moment(i64::MIN), i64::MIN));
    let rows = statement
        .query_map(params![before, moment, seq, most as i64], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    let (tasks, places): (Vec<TaskId>, Vec<(Moment, i64)>) = rows.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let next = places.last().copied().filter(|_| tasks.len() == most);
    Ok(Deletable { tasks, next })
}

pub fn delete(connection: &Connection, tasks: &[TaskId]) -> Result<usize, Problem> {
    let sql = format!("SELECT id FROM tasks WHERE id IN (SELECT value FROM json_each(?1)) AND {IS_DELETABLE}");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([list(tasks)], |row| row.get(0))?;
    let tasks: Vec<TaskId> = rows.collect::<Result<_, _>>()?;
    let tasks = list(tasks);
    for sql in DELETIONS {
        connection.prepare_cached(sql)?.execute([&tasks])?;
    }
    Ok(connection.execute("DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(?1))", [&tasks])?)
}
