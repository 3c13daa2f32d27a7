//! Making and migrating the layout.

use deadpool_postgres::{Client, Transaction};

use crate::problem::Problem;
use crate::statement::{change, one_row, some_row};
use crate::values::text;

/// A version of the layout.
struct Layout {
    /// What makes it of the one before.
    sql: &'static str,
    /// The oldest version whose programs can use it too. While a service is upgraded, processes of both versions run side by side: so
    /// a layout only adds to the one before it, and takes away what no program of that one uses.
    since: i64,
}

/// The layouts, the oldest first. Each migrates the one before it, and none is changed once it is released.
const LAYOUTS: &[Layout] = &[Layout { sql: include_str!("layout_1.sql"), since: 1 }];

/// The newest layout.
pub const KNOWN: i64 = LAYOUTS.len() as i64;

/// The layout of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its version. 0 if the database is empty.
    pub version: i64,
    /// The oldest version whose programs can use it.
    pub since: i64,
}

impl Found {
    /// Whether this program can use it, if it needs no migration or has had it.
    pub fn is_usable(self) -> bool {
        self.version <= KNOWN || self.since <= KNOWN
    }

    /// Fails if the tables lack something that this program uses.
    pub fn check_current(self) -> Result<(), Problem> {
        match self.version {
            0 => Err(Problem::access("it has no tables yet", "start a process with `imgopen serve`, which makes them")),
            older if older < KNOWN => Err(Problem::access(
                format!("it has the layout {older}, and this program uses {KNOWN}"),
                "use the program of the processes that run, or start one of this version, which migrates it",
            )),
            _ => Ok(()),
        }
    }
}

/// Whatever a migration takes. Processes that start at once wait for each other.
const PATIENCE: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '5min'";

const LOCK: &str = "SELECT pg_advisory_xact_lock(7262, 0)";

const ENCODING: &str = "SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()";

/// Of this schema alone: an application beside it may have a table of that name, too.
const HAS_LAYOUT: &str = "SELECT to_regclass(quote_ident(current_schema()) || '.layout') IS NOT NULL";

const FOUND: &str = "SELECT version, since_version FROM layout";

const SET: &str = "UPDATE layout SET version = $1, since_version = $2";

/// The source of a move that is not complete.
const MOVING: &str = "SELECT source FROM moves WHERE completed_at IS NULL LIMIT 1";

/// Fails while rows are being moved into the database: a service would take what is there for all there is.
pub async fn check_complete(client: &mut Client) -> Result<(), Problem> {
    let Some(row) = some_row(&*client, MOVING, &[]).await? else { return Ok(()) };
    let source = text(&row, 0)?;
    Err(Problem::access(
        format!("a move from {source} into it is not complete"),
        "repeat that `imgopen move`, or give another database",
    ))
}

/// Migrates the database unless its layout is newer than all known ones. Returns the layout that it had.
pub async fn migrate(client: &mut Client) -> Result<Found, Problem> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(PATIENCE).await?;
    one_row(&transaction, LOCK, &[]).await?;
    let found = found(&transaction).await?;
    if found.version == 0 {
        check_encoding(&transaction).await?;
    }
    let mut since = found.since;
    for layout in LAYOUTS.iter().skip(usize::try_from(found.version).unwrap_or(0)) {
        transaction.batch_execute(layout.sql).await?;
        since = since.max(layout.since);
    }
    if found.version < KNOWN {
        change(&transaction, SET, &[&KNOWN, &since]).await?;
    }
    transaction.commit().await?;
    Ok(found)
}

/// Returns the layout that the database has, and leaves it as it is.
pub async fn look(client: &mut Client) -> Result<Found, Problem> {
    let transaction = client.transaction().await?;
    let found = found(&transaction).await?;
    if found.version == 0 {
        check_encoding(&transaction).await?;
    }
    Ok(found)
}

async fn found(transaction: &Transaction<'_>) -> Result<Found, Problem> {
    let has_layout: Option<bool> = one_row(transaction, HAS_LAYOUT, &[]).await?.try_get(0)?;
    if has_layout != Some(true) {
        return Ok(Found { version: 0, since: 0 });
    }
    let row = one_row(transaction, FOUND, &[]).await?;
    Ok(Found { version: row.try_get(0)?, since: row.try_get(1)? })
}

/// Requests may have any character.
async fn check_encoding(transaction: &Transaction<'_>) -> Result<(), Problem> {
    let encoding: String = one_row(transaction, ENCODING, &[]).await?.try_get(0)?;
    match encoding.as_str() {
        "UTF8" => Ok(()),
        _ => Err(Problem::access(
            format!("its encoding is {encoding}"),
            "create it with `createdb --encoding UTF8 --template template0`",
        )),
    }
}
