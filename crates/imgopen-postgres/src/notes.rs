//! Notes, the clock, and what shows that a task could be accepted now, in SQL.

use deadpool_postgres::Client;
use imgopen_store::{Moment, Note};

use crate::problem::Problem;
use crate::statement::{change, one_row, some_row};
use crate::values::moment;

const NOW: &str = "SELECT now_ms()";

const NOTE: &str = "SELECT value FROM notes WHERE name = $1";

const SET: &str =
    "INSERT INTO notes (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";

const FIRST: &str = "INSERT INTO notes (name, value) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET value = notes.value RETURNING value";

/// What is done again because the answer was lost finds its own value.
const REPLACE: &str =
    "UPDATE notes SET value = CASE value WHEN $2 THEN $3 ELSE value END WHERE name = $1 RETURNING value";

/// Reads the newest task.
const CAN_READ: &str = "SELECT id FROM tasks ORDER BY seq DESC LIMIT 1";

/// Writes a number that nobody reads. It has no value to add to, so that processes do not wait for each other's.
const CAN_WRITE: &str = "INSERT INTO notes (name, value) VALUES ('ready', now_ms())
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

pub async fn now(client: &mut Client) -> Result<Moment, Problem> {
    moment(&one_row(&*client, NOW, &[]).await?, 0)
}

pub async fn note(client: &mut Client, note: Note) -> Result<Option<i64>, Problem> {
    let row = some_row(&*client, NOTE, &[&note.as_str()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub async fn set(client: &mut Client, note: Note, value: i64) -> Result<(), Problem> {
    change(&*client, SET, &[&note.as_str(), &value]).await.map(drop)
}

pub async fn first(client: &mut Client, note: Note, value: i64) -> Result<i64, Problem> {
    Ok(one_row(&*client, FIRST, &[&note.as_str(), &value]).await?.try_get(0)?)
}

pub async fn replace(client: &mut Client, note: Note, from: i64, to: i64) -> Result<Option<i64>, Problem> {
    let row = some_row(&*client, REPLACE, &[&note.as_str(), &from, &to]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub async fn ready(client: &mut Client) -> Result<(), Problem> {
    some_row(&*client, CAN_READ, &[]).await?;
    change(&*client, CAN_WRITE, &[]).await.map(drop)
}
