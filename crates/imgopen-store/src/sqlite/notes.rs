//! Notes in SQL.

use rusqlite::{Connection, OptionalExtension, params};

use super::problem::Problem;
use crate::Note;

pub fn note(connection: &Connection, note: Note) -> Result<Option<i64>, Problem> {
    let mut statement = connection.prepare_cached("SELECT value FROM notes WHERE name = ?1")?;
    Ok(statement.query_row([note.as_str()], |row| row.get(0)).optional()?)
}

pub fn first(connection: &Connection, note: Note, value: i64) -> Result<i64, Problem> {
    let sql = "INSERT INTO notes (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value RETURNING value";
    Ok(connection.prepare_cached(sql)?.query_row(params![note.as_str(), value], |row| row.get(0))?)
}

pub fn replace(connection: &Connection, note: Note, from: i64, to: i64) -> Result<Option<i64>, Problem> {
    let sql = "UPDATE notes SET value = CASE value WHEN ?2 THEN ?3 ELSE value END WHERE name = ?1 RETURNING value";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![note.as_str(), from, to], |row| row.get(0)).optional()?)
}

pub fn set(connection: &Connection, note: Note, value: i64) -> Result<(), Problem> {
    let sql = "INSERT INTO notes (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(sql)?.execute(params![note.as_str(), value])?;
    Ok(())
}
