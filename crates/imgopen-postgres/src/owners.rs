//! Owners and recovery in SQL.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::Client;
use imgopen_store::{Moment, OwnerId, Proof, Recovered, Recovery, RunId, TaskRow};

use crate::problem::Problem;
use crate::statement::{change, one_row, rows};
use crate::tasks::{self, select};
use crate::values::{milliseconds, moment};

const REGISTER: &str = "INSERT INTO owners (id, lease_until) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until";

const RENEW: &str = "UPDATE owners SET lease_until = $2 WHERE id = $1";

const REGISTER_FOR: &str = "INSERT INTO owners (id, lease_until) VALUES ($1, now_ms() + $2::bigint)
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until";

/// Renews the lease, and returns which of the runs are still the owner's.
const HEARTBEAT: &str = "WITH me AS (
        UPDATE owners SET lease_until = now_ms() + $2::bigint WHERE id = $1 RETURNING 1
    )
    SELECT EXISTS (SELECT 1 FROM me), now_ms(),
        ARRAY(SELECT run FROM tasks WHERE state = 'running' AND owner = $1 AND run = ANY($3::text[]))";

const REMOVE_OTHERS: &str = "DELETE FROM owners WHERE id <> $1";

/// A lease that is renewed while this waits for its row is kept: the condition is checked again.
const REMOVE_EXPIRED: &str = "DELETE FROM owners WHERE lease_until < $2 AND id <> $1";

/// Asks for the absence of the owner, unlike its age: this also finds the runs of owners that an earlier recovery removed, and
/// claims that were written at the moment of one.
const LOST: &str = select!(
    "WHERE state = 'running' AND coalesce(owner, '') <> $1
       AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.id = tasks.owner)
     ORDER BY seq FOR UPDATE OF tasks"
);

const REQUEUE: &str = "WITH lost AS (
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]) AS lost(task, alone, lost_run)
    ), orphaned AS (
        INSERT INTO orphaned_runs (run, since) SELECT lost_run, $4::bigint FROM lost WHERE lost_run IS NOT NULL
        ON CONFLICT (run) DO NOTHING
    )
    UPDATE tasks SET state = 'queued', run = NULL, owner = NULL, started_at = NULL, crashes_alone = crashes_alone + lost.alone
    FROM lost WHERE tasks.id = lost.task AND tasks.state = 'running'";

/// What a process learns by a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether the owner is still registered. If not, it was declared dead: its runs are others' to claim, and it is to stop them
    /// and to register by a new id.
    pub is_alive: bool,
    /// Those of the runs that are still the owner's. The others have ended, were cancelled, or were taken away.
    pub runs: Vec<RunId>,
    /// The database's clock.
    pub now: Moment,
}

pub async fn register(client: &mut Client, owner: &OwnerId, lease_until: Option<Moment>) -> Result<(), Problem> {
    let lease_until = lease_until.map(|moment| moment.0);
    change(&*client, REGISTER, &[&owner.as_str(), &lease_until]).await.map(drop)
}

pub async fn renew(client: &mut Client, owner: &OwnerId, until: Moment) -> Result<bool, Problem> {
    Ok(change(&*client, RENEW, &[&owner.as_str(), &until.0]).await? == 1)
}

pub async fn register_for(client: &mut Client, owner: &OwnerId, lease: Duration) -> Result<(), Problem> {
    change(&*client, REGISTER_FOR, &[&owner.as_str(), &milliseconds(lease)]).await.map(drop)
}

pub async fn heartbeat(
    client: &mut Client,
    owner: &OwnerId,
    lease: Duration,
    runs: &[RunId],
) -> Result<Heartbeat, Problem> {
    let asked: Vec<_> = runs.iter().map(RunId::as_str).collect();
    let row = one_row(&*client, HEARTBEAT, &[&owner.as_str(), &milliseconds(lease), &asked]).await?;
    let runs = row.try_get::<_, Vec<String>>(2)?.into_iter().map(RunId).collect();
    Ok(Heartbeat { is_alive: row.try_get(0)?, runs, now: moment(&row, 1)? })
}

/// Removes the dead owners, which also ends their leases for good, and then recovers every run whose owner is absent. Two
/// statements, because the second must see what was renewed while the first waited.
pub async fn recover(client: &mut Client, recovery: &Recovery) -> Result<Recovered, Problem> {
    let Recovery { me, proof, attempts, now } = recovery;
    let transaction = client.transaction().await?;
    match proof {
        Proof::SoleOwner => change(&transaction, REMOVE_OTHERS, &[&me.as_str()]).await?,
        Proof::Lease { now } => change(&transaction, REMOVE_EXPIRED, &[&me.as_str(), &now.0]).await?,
    };
    let found = rows(&transaction, LOST, &[&me.as_str()]).await?;
    let lost = found.iter().map(tasks::read).collect::<Result<Vec<TaskRow>, _>>()?;
    let mut by_owner: HashMap<_, usize> = HashMap::new();
    for task in &lost {
        *by_owner.entry(task.owner.clone()).or_default() += 1;
    }
    let was_alone = |task: &TaskRow| by_owner.get(&task.owner) == Some(&1);
    let is_exhausted =
        |task: &TaskRow| was_alone(task) && task.crashes_alone + 1 >= i64::from(attempts.of(&task.operation));
    let (exhausted, requeued): (Vec<_>, Vec<_>) = lost.into_iter().partition(is_exhausted);
    if !requeued.is_empty() {
        let ids: Vec<_> = requeued.iter().map(|task| task.id.as_str()).collect();
        let alone: Vec<_> = requeued.iter().map(|task| i64::from(was_alone(task))).collect();
        let runs: Vec<_> = requeued.iter().map(|task| task.run.as_ref().map(RunId::as_str)).collect();
        change(&transaction, REQUEUE, &[&ids, &alone, &runs, &now.0]).await?;
    }
    transaction.commit().await?;
    Ok(Recovered { requeued, exhausted })
}
