//! Opening the file: its settings and its layout.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;

/// The file's name in the data folder.
pub const FILE: &str = "imgopen.sqlite3";

/// The layouts in the order in which they came; each brings the one before it up to date. What was released is never
/// changed.
const LAYOUTS: &[&str] = &[include_str!("layout_1.sql"), include_str!("layout_2.sql")];

/// How long a connection waits for another process, such as the command line making a key.
const BUSY: Duration = Duration::from_secs(10);

/// The pause before it tries again itself.
const PAUSE: Duration = Duration::from_millis(5);

/// A connection that writes, with the layout brought up to date.
pub fn read_write(path: &Path) -> Result<Connection, StoreError> {
    let told = |error: rusqlite::Error| StoreError::Open {
        path: path.display().to_string(),
        problem: format!("{error}; see that the folder exists, is writable and on a local disk"),
    };
    let connection = Connection::open(path).map_err(told)?;
    settings(&connection).map_err(told)?;
    // Every commit is on the disk before it is answered. In this mode of the journal that is one sync each.
    connection.pragma_update(None, "synchronous", "FULL").map_err(told)?;
    migrate(&connection)?;
    Ok(connection)
}

/// A connection that cannot write.
pub fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let told =
        |error: rusqlite::Error| StoreError::Open { path: path.display().to_string(), problem: error.to_string() };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(told)?;
    connection.busy_timeout(BUSY).map_err(told)?;
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

/// Switches the journal. Two who open a new file at the same moment may stand in each other's way, and SQLite does not
/// wait in that case, as it does in others, for it cannot know that neither holds on to anything.
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

fn migrate(connection: &Connection) -> Result<(), StoreError> {
    // Two processes may open a new file at the same moment: whoever comes second finds the layout made.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let outcome = bring_up_to_date(connection);
    connection.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    outcome
}

fn bring_up_to_date(connection: &Connection) -> Result<(), StoreError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = LAYOUTS.len() as i64;
    if found > known {
        return Err(StoreError::Layout { found, known });
    }
    for layout in LAYOUTS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        connection.execute_batch(layout)?;
    }
    connection.pragma_update(None, "user_version", known)?;
    Ok(())
}
