//! Taking the rows of another store, in SQL. What is put twice is there once.

mod rows;

use std::collections::HashSet;

use deadpool_postgres::Client;
use imgopen_store::{Begun, Counts, LastPlaces, MoveAbout, RowKind, Rows};
use serde_json::Value;
use tokio_postgres::Row;

use crate::problem::Problem;
use crate::statement::{self, change, one_row, some_row};
use crate::values::{escape, json, some_json, text};

/// Of two moves that begin at once, one finds the other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7262, 2)";

const MOVE: &str = "SELECT id, source, noted, completed_at IS NOT NULL FROM moves LIMIT 1";

const IS_EMPTY: &str = "SELECT NOT (EXISTS (SELECT 1 FROM owners) OR EXISTS (SELECT 1 FROM keys)
    OR EXISTS (SELECT 1 FROM tasks) OR EXISTS (SELECT 1 FROM idempotency) OR EXISTS (SELECT 1 FROM assets)
    OR EXISTS (SELECT 1 FROM callbacks) OR EXISTS (SELECT 1 FROM orphaned_runs)
    OR EXISTS (SELECT 1 FROM expired_files))";

const BEGIN: &str = "INSERT INTO moves (id, source) VALUES ($1, $2)";

const NOTE: &str = "UPDATE moves SET noted = $2 WHERE id = $1 AND completed_at IS NULL";

const COMPLETE: &str = "UPDATE moves SET completed_at = coalesce(completed_at, now_ms()) WHERE id = $1";

/// A sequence that was never used gives 1 first.
const SET_PLACES: &str = "SELECT setval('tasks_seq_seq', greatest($1::bigint, 1), $1::bigint > 0),
    setval('callbacks_seq_seq', greatest($2::bigint, 1), $2::bigint > 0)";

/// The server plans by what it knows of the tables, and it has seen them empty.
const ANALYZE: &str =
    "ANALYZE keys, tasks, idempotency, assets, callbacks, callback_tries, orphaned_runs, expired_files";

const COUNTS: &str =
    "SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM tasks), (SELECT count(*) FROM idempotency),
    (SELECT count(*) FROM assets), (SELECT count(*) FROM callbacks), (SELECT count(*) FROM callback_tries),
    (SELECT count(*) FROM orphaned_runs), (SELECT count(*) FROM expired_files)";

/// The kinds that [`COUNTS`] has, in its order.
const COUNTED: [RowKind; 8] = [
    RowKind::Keys,
    RowKind::Tasks,
    RowKind::Idempotency,
    RowKind::Assets,
    RowKind::Callbacks,
    RowKind::Attempts,
    RowKind::OrphanedRuns,
    RowKind::ExpiredFiles,
];

pub async fn begin(client: &mut Client, about: &MoveAbout, is_trial: bool) -> Result<Begun, Problem> {
    let transaction = client.transaction().await?;
    one_row(&transaction, LOCK, &[]).await?;
    let is_empty: bool = one_row(&transaction, IS_EMPTY, &[]).await?.try_get(0)?;
    let begun = match some_row(&transaction, MOVE, &[]).await? {
        Some(row) => found(&row, about)?,
        None if is_empty => Begun::New,
        None => Begun::NotEmpty,
    };
    if begun == Begun::New && !is_trial {
        change(&transaction, BEGIN, &[&about.id, &escape(&about.source)]).await?;
    }
    transaction.commit().await?;
    Ok(begun)
}

fn found(row: &Row, about: &MoveAbout) -> Result<Begun, Problem> {
    let other = MoveAbout { id: row.try_get(0)?, source: text(row, 1)? };
    Ok(match row.try_get::<_, bool>(3)? {
        _ if other.id != about.id => Begun::Other(other),
        true => Begun::Complete,
        false => Begun::Again(some_json(row, 2)?),
    })
}

pub async fn put(client: &mut Client, id: &str, rows: Option<&Rows>, noted: &Value) -> Result<(), Problem> {
    let transaction = client.transaction().await?;
    // First, so that of two processes that carry out the same move one waits for the other.
    if change(&transaction, NOTE, &[&id, &noted.to_string()]).await? == 0 {
        return Err(Problem::failed(format!("the move {id} is not in progress")));
    }
    if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
        change(&transaction, rows::table(rows).insert, &[&Value::Array(rows::json(rows)?).to_string()]).await?;
    }
    Ok(transaction.commit().await?)
}

/// Reads back the rows that were put, and counts those that are missing or have other values.
pub async fn differing(client: &mut Client, rows: &Rows) -> Result<usize, Problem> {
    let expected = rows::json(rows)?;
    let asked = Value::Array(expected.clone()).to_string();
    let mut found = HashSet::new();
    for row in statement::rows(&*client, rows::table(rows).find, &[&asked]).await? {
        found.insert(json::<Value>(row.try_get(0)?)?);
    }
    Ok(expected.iter().filter(|row| !found.contains(row)).count())
}

pub async fn settle(client: &mut Client, last: LastPlaces) -> Result<(), Problem> {
    one_row(&*client, SET_PLACES, &[&last.task, &last.callback]).await?;
    Ok(client.batch_execute(ANALYZE).await?)
}

pub async fn counts(client: &mut Client) -> Result<Counts, Problem> {
    let row = one_row(&*client, COUNTS, &[]).await?;
    let count = |(column, kind): (usize, RowKind)| -> Result<(RowKind, u64), Problem> {
        Ok((kind, u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0)))
    };
    COUNTED.into_iter().enumerate().map(count).collect()
}

pub async fn complete(client: &mut Client, id: &str) -> Result<(), Problem> {
    match change(&*client, COMPLETE, &[&id]).await? {
        0 => Err(Problem::failed(format!("the move {id} is not in progress"))),
        _ => Ok(()),
    }
}
