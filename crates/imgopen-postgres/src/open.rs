//! Making and migrating the layout.

use deadpool_postgres::{Client, Transaction};

use crate::problem::Problem;
use crate::statement::{change, one_row};

/// The layouts, the oldest first. Each migrates the one before it, and none is changed once it is released.
const LAYOUTS: &[&str] = &[include_str!("layout_1.sql")];

/// The newest layout.
pub const KNOWN: i64 = LAYOUTS.len() as i64;

/// Whatever a migration takes. Processes that start at once wait for each other.
const PATIENCE: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '5min'";

const LOCK: &str = "SELECT pg_advisory_xact_lock(7262, 0)";

const ENCODING: &str = "SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()";

/// Of this schema alone: an application beside it may have a table of that name, too.
const HAS_LAYOUT: &str = "SELECT to_regclass(quote_ident(current_schema()) || '.layout') IS NOT NULL";

const FOUND: &str = "SELECT version FROM layout";

const SET: &str = "UPDATE layout SET version = $1";

/// Migrates the database unless its layout is newer than all known ones. Returns the layout that it had.
pub async fn migrate(client: &mut Client) -> Result<i64, Problem> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(PATIENCE).await?;
    one_row(&transaction, LOCK, &[]).await?;
    let found = found(&transaction).await?;
    if found == 0 {
        check_encoding(&transaction).await?;
    }
    if found < KNOWN {
        for layout in LAYOUTS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            transaction.batch_execute(layout).await?;
        }
        change(&transaction, SET, &[&KNOWN]).await?;
    }
    transaction.commit().await?;
    Ok(found)
}

async fn found(transaction: &Transaction<'_>) -> Result<i64, Problem> {
    let has_layout: Option<bool> = one_row(transaction, HAS_LAYOUT, &[]).await?.try_get(0)?;
    if has_layout != Some(true) {
        return Ok(0);
    }
    Ok(one_row(transaction, FOUND, &[]).await?.try_get(0)?)
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
