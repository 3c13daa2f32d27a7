//! Orphaned runs in SQL.

use rusqlite::{Connection, params};

use super::problem::Problem;
use super::values::list;
use crate::ids::RunId;
use crate::{Moment, OrphanedRun};

pub fn orphan(connection: &Connection, run: &RunId, since: Moment) -> Result<(), Problem> {
    let sql = "INSERT INTO orphaned_runs (run, since) VALUES (?1, ?2) ON CONFLICT (run) DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![run, since])?;
    Ok(())
}

pub fn orphaned(
    connection: &Connection,
    after: Option<&OrphanedRun>,
    most: usize,
) -> Result<Vec<OrphanedRun>, Problem> {
    let sql = "SELECT run, since FROM orphaned_runs WHERE (since, run) > (?1, ?2) ORDER BY since, run LIMIT ?3";
    let (since, run) = after.map_or((i64::MIN, ""), |after| (after.since.0, after.run.as_str()));
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![since, run, most as i64], |row| Ok(OrphanedRun { run: row.get(0)?, since: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn forget(connection: &Connection, runs: &[RunId]) -> Result<(), Problem> {
    let sql = "DELETE FROM orphaned_runs WHERE run IN (SELECT value FROM json_each(?1))";
    connection.execute(sql, [list(runs)])?;
    Ok(())
}
