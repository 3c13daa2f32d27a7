//! Owners and recovery in SQL.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::orphans::orphan;
use super::problem::Problem;
use super::tasks;
use crate::ids::OwnerId;
use crate::{Moment, Proof, Recovered, Recovery, State, TaskRow};

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

/// Removes the dead owners, which also ends their leases for good, and then recovers every run whose owner is absent. The
/// absence of the owner, unlike its age, also finds the runs of owners that an earlier recovery removed, and runs that never
/// had one.
pub fn recover(connection: &Connection, recovery: &Recovery) -> Result<Recovered, Problem> {
    let Recovery { me, proof, attempts, now } = recovery;
    match proof {
        Proof::SoleOwner => connection.execute("DELETE FROM owners WHERE id <> ?1", [me])?,
        Proof::Lease { now } => {
            connection.execute("DELETE FROM owners WHERE lease_until < ?1 AND id <> ?2", params![now, me])?
        }
    };
    let mut statement = connection.prepare(&format!(
        "SELECT {} FROM tasks WHERE {} AND coalesce(owner, '') <> ?1
         AND NOT EXISTS (SELECT 1 FROM owners WHERE id = tasks.owner) ORDER BY seq",
        tasks::COLUMNS,
        tasks::may_become(State::Queued)
    ))?;
    let lost = statement.query_map([me], tasks::read)?.collect::<Result<Vec<_>, _>>()?;
    let mut by_owner: HashMap<_, usize> = HashMap::new();
    for task in &lost {
        *by_owner.entry(task.owner.clone()).or_default() += 1;
    }
    let was_alone = |task: &TaskRow| by_owner.get(&task.owner) == Some(&1);
    let is_exhausted =
        |task: &TaskRow| was_alone(task) && task.crashes_alone + 1 >= i64::from(attempts.of(&task.operation));
    let (exhausted, requeued) = lost.into_iter().partition(is_exhausted);
    let recovered = Recovered { requeued, exhausted };
    let sql = "UPDATE tasks SET state = 'queued', run = NULL, owner = NULL, started_at = NULL,
                                crashes_alone = crashes_alone + ?2 WHERE id = ?1";
    let mut requeue = connection.prepare(sql)?;
    for task in &recovered.requeued {
        requeue.execute(params![task.id, was_alone(task)])?;
        if let Some(run) = &task.run {
            orphan(connection, run, *now)?;
        }
    }
    Ok(recovered)
}
