//! Owners, recovery and orphaned runs in SQL.

use rusqlite::{Connection, params};

use super::problem::Problem;
use super::tasks::{self, COLUMNS};
use super::values::list;
use crate::ids::{OwnerId, RunId};
use crate::{Moment, OrphanedRun, Proof, Recovered, Recovery, State};

pub fn register(connection: &Connection, owner: &OwnerId, lease_until: Option<Moment>) -> Result<(), Problem> {
    let sql = "INSERT INTO owners (id, lease_until) VALUES (?1, ?2)
               ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until";
    connection.execute(sql, params![owner, lease_until])?;
    Ok(())
}

pub fn renew(connection: &Connection, owner: &OwnerId, until: Moment) -> Result<bool, Problem> {
    let sql = "UPDATE owners SET lease_until = ?2 WHERE id = ?1";
    Ok(connection.prepare_cached(sql)?.execute(params![owner, until])? == 1)
}

/// First the dead owners are removed, which also ends their leases for good; then every run whose owner is absent is
/// lost. Asking for absence rather than for age finds the runs of owners that an earlier recovery removed, and those
/// that never had one.
pub fn recover(connection: &Connection, recovery: &Recovery) -> Result<Recovered, Problem> {
    let Recovery { me, proof, attempts, now } = recovery;
    match proof {
        Proof::SoleOwner => connection.execute("DELETE FROM owners WHERE id <> ?1", [me])?,
        Proof::Lease { now } => {
            connection.execute("DELETE FROM owners WHERE lease_until < ?1 AND id <> ?2", params![now, me])?
        }
    };
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM tasks WHERE {} AND coalesce(owner, '') <> ?1
         AND NOT EXISTS (SELECT 1 FROM owners WHERE id = tasks.owner) ORDER BY seq",
        tasks::may_become(State::Queued)
    ))?;
    let lost = statement.query_map([me], tasks::read)?.collect::<Result<Vec<_>, _>>()?;
    let (exhausted, requeued) = lost.into_iter().partition(|task| task.attempt >= i64::from(*attempts));
    let recovered = Recovered { requeued, exhausted };
    let sql = "UPDATE tasks SET state = 'queued', run = NULL, owner = NULL, started_at = NULL WHERE id = ?1";
    let mut requeue = connection.prepare(sql)?;
    for task in &recovered.requeued {
        requeue.execute([&task.id])?;
        if let Some(run) = &task.run {
            orphan(connection, run, *now)?;
        }
    }
    Ok(recovered)
}

pub fn orphan(connection: &Connection, run: &RunId, since: Moment) -> Result<(), Problem> {
    let sql = "INSERT INTO orphaned_runs (run, since) VALUES (?1, ?2) ON CONFLICT (run) DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![run, since])?;
    Ok(())
}

pub fn orphaned(connection: &Connection, most: usize) -> Result<Vec<OrphanedRun>, Problem> {
    let sql = "SELECT run, since FROM orphaned_runs ORDER BY since, run LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([most as i64], |row| Ok(OrphanedRun { run: row.get(0)?, since: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn forget(connection: &Connection, runs: &[RunId]) -> Result<(), Problem> {
    let sql = "DELETE FROM orphaned_runs WHERE run IN (SELECT value FROM json_each(?1))";
    connection.execute(sql, [list(runs)])?;
    Ok(())
}
