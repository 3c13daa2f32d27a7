//! Opening the file: connection settings and migration of the layout.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::problem::Problem;
use crate::StoreError;

/// The layouts, the oldest first. Each migrates the one before it, and none is changed once it is released.
const LAYOUTS: &[&str] = &[
    include_str!("layout_1.sql"),
    include_str!("layout_2.sql"),
    include_str!("layout_3.sql"),
    include_str!("layout_4.sql"),
    include_str!("layout_5.sql"),
    include_str!("layout_6.sql"),
];

/// The name of the file in its directory.
pub const FILE: &str = "imgopen.sqlite3";

/// The newest layout.
pub const KNOWN: i64 = LAYOUTS.len() as i64;

/// How long a connection waits for another process that opens, migrates or copies the database.
pub const BUSY: Duration = Duration::from_secs(10);

/// How long a write waits for another process, such as a command that makes a key: in all, because whatever is sent during
/// the wait shares it.
const WRITE_BUSY: Duration = Duration::from_secs(5);

/// The largest size in bytes that the write-ahead log keeps once everything in it is in the database. It grows further only while
/// a reader holds an old snapshot. Four times what SQLite lets gather before it copies the log's content.
const LOG_BYTES: u32 = 16 * 1024 * 1024;

/// The pause between attempts where SQLite itself does not wait.
pub const PAUSE: Duration = Duration::from_millis(5);

/// Opens a connection that writes, and migrates the database.
pub fn read_write(file: &Path) -> Result<Connection, StoreError> {
    let path = || file.display().to_string();
    let to_error = |error: rusqlite::Error| at_open(error.into(), &path());
    let connection = Connection::open(file).map_err(to_error)?;
    settings(&connection).map_err(to_error)?;
    // Every commit is on the disk before it is answered. With a write-ahead log that is one sync each.
    connection.pragma_update(None, "synchronous", "FULL").map_err(to_error)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(to_error)?;
    match migrate(&connection).map_err(|problem| problem.at(&path()))? {
        found if found > KNOWN => Err(StoreError::Layout { path: path(), found, known: KNOWN }),
        _ => {
            connection.busy_timeout(WRITE_BUSY).map_err(to_error)?;
            Ok(connection)
        }
    }
}

/// Adds the file to an error of opening it. What is not known to be damaged, full or locked may be a wrong path.
pub fn at_open(problem: Problem, path: &str) -> StoreError {
    match problem.at(path) {
        StoreError::Unusable { path, problem } | StoreError::Failed { path, problem } => {
            StoreError::Open { path, problem }
        }
        other => other,
    }
}

/// Opens a connection that cannot write.
pub fn read_only(path: &Path) -> Result<Connection, Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    write_ahead(connection)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Switches to a write-ahead log. When two processes open a new file at once, SQLite reports `busy` here without waiting.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let start = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && start.elapsed() < BUSY => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Migrates the database unless its layout is newer than all known ones. Returns the layout that it had.
fn migrate(connection: &Connection) -> Result<i64, Problem> {
    // If two processes open a new file at once, the second finds the layout already created.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let outcome = apply_layouts(connection);
    connection.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    outcome
}

fn apply_layouts(connection: &Connection) -> Result<i64, Problem> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found < KNOWN {
        for layout in LAYOUTS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            connection.execute_batch(layout)?;
        }
        connection.pragma_update(None, "user_version", KNOWN)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shrinks_after_a_long_reader_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE);
        let log = || std::fs::metadata(directory.path().join(format!("{FILE}-wal"))).unwrap().len();
        let writer = read_write(&file).unwrap();
        writer.execute_batch("CREATE TABLE filler (content BLOB)").unwrap();
        let fill = |bytes: u32| writer.execute("INSERT INTO filler VALUES (zeroblob(?1))", [bytes]).unwrap();
        let Ok(reader) = read_only(&file) else { panic!("the database cannot be read") };
        reader.execute_batch("BEGIN; SELECT count(*) FROM filler").unwrap();
        for _ in 0..24 {
            fill(1024 * 1024);
        }
        assert!(log() > u64::from(LOG_BYTES), "{} bytes", log());
        drop(reader);
        // The first write copies the log's content into the database, the second begins the log again.
        fill(1);
        fill(1);
        assert!(log() <= u64::from(LOG_BYTES), "{} bytes", log());
        let count: i64 = writer.query_row("SELECT count(*) FROM filler", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 26);
    }
}
