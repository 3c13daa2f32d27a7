//! What shows that a task could be accepted now, in SQL.

use rusqlite::{Connection, OptionalExtension};

use super::problem::Problem;
use crate::TaskId;

/// Reads the newest task.
pub fn read(connection: &Connection) -> Result<(), Problem> {
    let mut statement = connection.prepare_cached("SELECT id FROM tasks ORDER BY seq DESC LIMIT 1")?;
    statement.query_row([], |row| row.get::<_, TaskId>(0)).optional()?;
    Ok(())
}

/// Writes a number that nobody reads.
pub fn write(connection: &Connection) -> Result<(), Problem> {
    let sql = "INSERT INTO notes (name, value) VALUES ('ready', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1";
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
