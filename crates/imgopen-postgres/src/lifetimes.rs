//! Deleting ended tasks with what belongs to them, in SQL.

use deadpool_postgres::Client;
use imgopen_store::{Deletable, Moment, TaskId};

use crate::problem::Problem;
use crate::statement::{change, rows};
use crate::values::{count, moment};

/// The condition that nothing holds the row of a task: it has ended, its callbacks need no further attempt, and no file of
/// it is left.
macro_rules! is_deletable {
    () => {
        "tasks.state IN ('succeeded', 'failed', 'cancelled') AND tasks.finished_at IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM callbacks c WHERE c.task_id = tasks.id AND c.state = 'pending')
         AND NOT EXISTS (SELECT 1 FROM assets a WHERE a.task_id = tasks.id AND a.deleted_at IS NULL)"
    };
}

const DELETABLE: &str = concat!(
    "SELECT id, finished_at, seq FROM tasks
     WHERE finished_at <= $1 AND (finished_at, seq) > ($2, $3) AND ",
    is_deletable!(),
    " ORDER BY finished_at, seq LIMIT $4"
);

/// Keeps the callbacks from being started again until the transaction has ended.
const LOCK_CALLBACKS: &str = "SELECT 1 FROM callbacks WHERE task_id = ANY($1) ORDER BY seq FOR UPDATE";

const LOCK_TASKS: &str =
    concat!("SELECT id FROM tasks WHERE id = ANY($1) AND ", is_deletable!(), " ORDER BY seq FOR UPDATE");

/// What belongs to the tasks in a list, in an order that keeps every reference valid, and then they themselves.
const DELETIONS: [&str; 5] = [
    "DELETE FROM callback_tries WHERE callback_id IN (SELECT id FROM callbacks WHERE task_id = ANY($1))",
    "DELETE FROM callbacks WHERE task_id = ANY($1)",
    "DELETE FROM assets WHERE task_id = ANY($1)",
    "DELETE FROM idempotency WHERE task_id = ANY($1)",
    "DELETE FROM tasks WHERE id = ANY($1)",
];

pub async fn deletable(
    client: &mut Client,
    before: Moment,
    after: Option<(Moment, i64)>,
    most: usize,
) -> Result<Deletable, Problem> {
    let (last, seq) = after.unwrap_or((Moment(i64::MIN), i64::MIN));
    let found = rows(&*client, DELETABLE, &[&before.0, &last.0, &seq, &count(most)]).await?;
    let (mut tasks, mut place) = (Vec::with_capacity(found.len()), None);
    for row in &found {
        tasks.push(TaskId(row.try_get(0)?));
        place = Some((moment(row, 1)?, row.try_get(2)?));
    }
    let next = place.filter(|_| tasks.len() == most);
    Ok(Deletable { tasks, next })
}

pub async fn delete(client: &mut Client, tasks: &[TaskId]) -> Result<usize, Problem> {
    let asked: Vec<_> = tasks.iter().map(TaskId::as_str).collect();
    let transaction = client.transaction().await?;
    rows(&transaction, LOCK_CALLBACKS, &[&asked]).await?;
    let locked = rows(&transaction, LOCK_TASKS, &[&asked]).await?;
    let tasks = locked.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    let mut deleted = 0;
    for sql in DELETIONS {
        deleted = change(&transaction, sql, &[&tasks]).await?;
    }
    transaction.commit().await?;
    Ok(deleted)
}
