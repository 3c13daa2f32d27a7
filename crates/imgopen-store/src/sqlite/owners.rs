//! Owners and recovery in SQL.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::orphans::orphan;
use super::problem::Problem;
use super::tasks;
use super::values::{JsonOf, duration, list, milliseconds, system_time};
use crate::ids::{OwnerId, RunId, TaskId};
use crate::{
    Beat, Duty, Heartbeat, OwnerAbout, OwnerRow, Proof, Recovered, Recovery, RunProgress, RunningTask, State, TaskRow,
};

pub fn register(
    connection: &Connection,
    owner: &OwnerId,
    lease: Option<Duration>,
    about: &OwnerAbout,
) -> Result<(), Problem> {
    let sql = "INSERT INTO owners (id, lease, lease_until, host, role, started_at, offers) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (id) DO UPDATE SET lease = excluded.lease, lease_until = excluded.lease_until,
                   host = excluded.host, role = excluded.role, started_at = excluded.started_at, offers = excluded.offers";
    let OwnerAbout { host, role, started_at, offers } = about;
    let (length, until) = (lease.map(milliseconds), lease.map(|lease| system_time().plus(lease)));
    connection.execute(sql, params![owner, length, until, host, role, started_at, offers.to_string()])?;
    Ok(())
}

/// The answer to a heartbeat but for who watches, the runs that are the owner's with their tasks, and what is to be published.
type Beaten = (Beat, Vec<(TaskId, RunId)>, Vec<RunProgress>);

pub fn heartbeat(connection: &Connection, heartbeat: Heartbeat) -> Result<Beaten, Problem> {
    let Heartbeat { owner, lease, runs, offers, stray_age } = heartbeat;
    let now = system_time();
    let sql = "UPDATE owners SET lease = ?2, lease_until = ?3, offers = coalesce(?4, offers) WHERE id = ?1
               RETURNING draining";
    let values = params![owner, milliseconds(lease), now.plus(lease), offers.map(|offers| offers.to_string())];
    let draining: Option<bool> = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    let mut beat = Beat {
        alive: draining.is_some(),
        draining: draining.unwrap_or(false),
        runs: Vec::new(),
        watched: Vec::new(),
        strays: 0,
        now,
    };
    if !beat.alive {
        return Ok((beat, Vec::new(), runs));
    }
    let asked = list(runs.iter().map(|progress| progress.run.as_str()).collect::<Vec<_>>());
    let sql = "SELECT id, run FROM tasks WHERE state = 'running' AND owner = ?1
               AND run IN (SELECT value FROM json_each(?2))";
    let mut statement = connection.prepare_cached(sql)?;
    let mine = statement.query_map(params![owner, asked], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mine: Vec<(TaskId, RunId)> = mine.collect::<Result<_, _>>()?;
    beat.runs = mine.iter().map(|(_, run)| run.clone()).collect();
    let sql = "SELECT id, run FROM tasks WHERE state = 'running' AND owner = ?1
               AND run NOT IN (SELECT value FROM json_each(?2)) AND claimed_at <= ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let oldest = now.0.saturating_sub(milliseconds(stray_age));
    let strays = statement.query_map(params![owner, asked, oldest], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let strays: Vec<(TaskId, RunId)> = strays.collect::<Result<_, _>>()?;
    for (task, run) in &strays {
        let sql =
            "UPDATE tasks SET state = 'queued', attempt = attempt - 1, run = NULL, owner = NULL, started_at = NULL
                   WHERE id = ?1 AND run = ?2 AND state = 'running'";
        connection.prepare_cached(sql)?.execute(params![task, run])?;
        orphan(connection, run, now)?;
    }
    beat.strays = strays.len();
    Ok((beat, mine, runs))
}

pub fn all(connection: &Connection) -> Result<Vec<OwnerRow>, Problem> {
    let sql = "SELECT id, host, role, started_at, offers, draining, lease_until,
                      (SELECT count(*) FROM tasks WHERE state = 'running' AND owner = owners.id)
               FROM owners ORDER BY started_at, id";
    let now = system_time();
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let about = OwnerAbout {
            host: row.get(1)?,
            role: row.get(2)?,
            started_at: row.get(3)?,
            offers: row.get::<_, JsonOf<_>>(4)?.0,
        };
        let until: Option<i64> = row.get(6)?;
        Ok(OwnerRow {
            id: row.get(0)?,
            about,
            lease_left: until.map(|until| duration(until.saturating_sub(now.0))),
            draining: row.get(5)?,
            runs: row.get::<_, i64>(7)?.try_into().unwrap_or(0),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn running(connection: &Connection, most: usize) -> Result<Vec<RunningTask>, Problem> {
    let sql = "SELECT id, operation, owner, since FROM (
                   SELECT id, operation, owner, seq, coalesce(started_at, created_at) AS since,
                          row_number() OVER (PARTITION BY owner ORDER BY coalesce(started_at, created_at), seq) AS number
                   FROM tasks WHERE state = 'running' AND owner IS NOT NULL)
               WHERE number <= ?1 ORDER BY owner, since, seq";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| {
        Ok(RunningTask { id: row.get(0)?, operation: row.get(1)?, owner: row.get(2)?, since: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn drain(connection: &Connection, owner: &OwnerId) -> Result<bool, Problem> {
    Ok(connection.execute("UPDATE owners SET draining = 1 WHERE id = ?1", [owner])? == 1)
}

pub fn resign(connection: &Connection, owner: &OwnerId) -> Result<(), Problem> {
    connection.execute("UPDATE callbacks SET claim = NULL WHERE claim IS NOT NULL AND claimed_by = ?1", [owner])?;
    connection.execute("DELETE FROM owners WHERE id = ?1", [owner])?;
    Ok(())
}

pub fn take_duty(connection: &Connection, duty: Duty, owner: &OwnerId, hold: Duration) -> Result<bool, Problem> {
    let sql = "INSERT INTO duties (name, owner, until) VALUES (?1, ?2, ?3)
               ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
               WHERE duties.until <= ?4 OR duties.owner = excluded.owner
                  OR NOT EXISTS (SELECT 1 FROM owners WHERE id = duties.owner)";
    let now = system_time();
    Ok(connection.prepare_cached(sql)?.execute(params![duty.as_str(), owner, now.plus(hold), now])? == 1)
}

/// Removes the dead owners, which also ends their leases for good, and then recovers every run whose owner is absent. The
/// absence of the owner, unlike its age, also finds the runs of owners that an earlier recovery removed, and runs that never
/// had one.
pub fn recover(connection: &Connection, recovery: &Recovery) -> Result<Recovered, Problem> {
    let Recovery { me, proof, attempts, now } = recovery;
    match proof {
        Proof::SoleOwner => connection.execute("DELETE FROM owners WHERE id <> ?1", [me])?,
        Proof::Lease { healthy_for } => {
            let sql = "DELETE FROM owners WHERE lease_until <= ?1 AND lease <= ?2 AND id <> ?3";
            connection.execute(sql, params![system_time(), milliseconds(*healthy_for), me])?
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
