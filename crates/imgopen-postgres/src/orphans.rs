//! Orphaned runs in SQL.

use deadpool_postgres::Client;
use imgopen_store::{OrphanedRun, RunId};

use crate::problem::Problem;
use crate::statement::{change, rows};
use crate::values::{count, moment};

const ORPHANED: &str = "SELECT run, since FROM orphaned_runs WHERE (since, run) > ($1::bigint, $2::text)
    ORDER BY since, run LIMIT $3";

const FORGET: &str = "DELETE FROM orphaned_runs WHERE run = ANY($1)";

pub async fn orphaned(
    client: &mut Client,
    after: Option<&OrphanedRun>,
    most: usize,
) -> Result<Vec<OrphanedRun>, Problem> {
    let (since, run) = after.map_or((i64::MIN, ""), |after| (after.since.0, after.run.as_str()));
    let found = rows(&*client, ORPHANED, &[&since, &run, &count(most)]).await?;
    found.iter().map(|row| Ok(OrphanedRun { run: RunId(row.try_get(0)?), since: moment(row, 1)? })).collect()
}

pub async fn forget(client: &mut Client, runs: &[RunId]) -> Result<(), Problem> {
    let runs: Vec<_> = runs.iter().map(RunId::as_str).collect();
    change(&*client, FORGET, &[&runs]).await.map(drop)
}
