//! Recovering the runs of dead owners, in SQL.
//!
//! Dead owners are removed first, which ends their leases for good. Then every run whose owner is absent is queued again. The
//! absence of the owner, unlike its age, also finds the runs of owners that an earlier recovery removed, and claims that were
//! written at the moment of one. Several processes may do so at once.

use std::collections::HashMap;

use deadpool_postgres::{Client, Transaction};
use imgopen_store::{Moment, OwnerId, Proof, Recovered, Recovery, RunId, TaskRow};

use crate::problem::Problem;
use crate::statement::{change, rows};
use crate::tasks::{self, select};
use crate::values::milliseconds;

/// How many runs are queued again in one transaction, about: those of one owner are never parted.
const PORTION: i64 = 500;

const REMOVE_OTHERS: &str = "DELETE FROM owners WHERE id <> $1";

/// A lease that is renewed while this waits for its row is kept: the condition is checked again. In the order of ids, so that
/// processes that do so at once wait for each other and not in a ring.
const REMOVE_EXPIRED: &str = "DELETE FROM owners WHERE id IN (
        SELECT id FROM owners WHERE lease_until <= now_ms() AND lease <= $2::bigint AND id <> $1 ORDER BY id FOR UPDATE)";

/// The owners that are absent and how many runs each has.
const ABSENT: &str = "SELECT coalesce(owner, ''), count(*) FROM tasks
    WHERE state = 'running' AND coalesce(owner, '') <> $1
      AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.id = tasks.owner)
    GROUP BY coalesce(owner, '') ORDER BY coalesce(owner, '')";

/// What another process recovers or ends at the moment is left to it.
const LOST: &str = select!(
    "WHERE state = 'running' AND coalesce(owner, '') = ANY($1::text[])
       AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.id = tasks.owner)
     ORDER BY seq FOR UPDATE OF tasks SKIP LOCKED"
);

const REQUEUE: &str = "WITH lost AS (
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]) AS lost(task, alone, lost_run)
    ), orphaned AS (
        INSERT INTO orphaned_runs (run, since) SELECT lost_run, $4::bigint FROM lost WHERE lost_run IS NOT NULL
        ON CONFLICT (run) DO NOTHING
    )
    UPDATE tasks SET state = 'queued', run = NULL, owner = NULL, started_at = NULL, crashes_alone = crashes_alone + lost.alone
    FROM lost WHERE tasks.id = lost.task AND tasks.state = 'running'";

pub async fn recover(client: &mut Client, recovery: &Recovery) -> Result<Recovered, Problem> {
    remove_dead(client, &recovery.me, recovery.proof).await?;
    let absent = absent(client, &recovery.me).await?;
    let mut recovered = Recovered::default();
    for owners in portions(&absent) {
        let transaction = client.transaction().await?;
        let (requeued, exhausted) = recover_portion(&transaction, recovery, &absent, &owners).await?;
        transaction.commit().await?;
        recovered.requeued.extend(requeued);
        recovered.exhausted.extend(exhausted);
    }
    recovered.requeued.sort_by_key(|task| task.seq);
    recovered.exhausted.sort_by_key(|task| task.seq);
    Ok(recovered)
}

async fn remove_dead(client: &Client, me: &OwnerId, proof: Proof) -> Result<(), Problem> {
    let me = me.as_str();
    match proof {
        Proof::SoleOwner => change(client, REMOVE_OTHERS, &[&me]).await,
        Proof::Lease { healthy_for } => change(client, REMOVE_EXPIRED, &[&me, &milliseconds(healthy_for)]).await,
    }
    .map(drop)
}

/// Returns how many runs each of the owners has that are absent. A run without an owner is that of the empty name.
async fn absent(client: &Client, me: &OwnerId) -> Result<HashMap<String, i64>, Problem> {
    let found = rows(client, ABSENT, &[&me.as_str()]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Parts the owners so that each portion has about as many runs as are queued again at once.
fn portions(absent: &HashMap<String, i64>) -> Vec<Vec<&str>> {
    let (mut portions, mut runs): (Vec<Vec<&str>>, i64) = (Vec::new(), PORTION);
    for (owner, count) in absent {
        match portions.last_mut().filter(|_| runs < PORTION) {
            Some(portion) => portion.push(owner),
            None => {
                portions.push(vec![owner.as_str()]);
                runs = 0;
            }
        }
        runs += count;
    }
    portions
}

/// Queues the runs of a portion of owners again. Returns them, and those of tasks that have had all their attempts.
async fn recover_portion(
    transaction: &Transaction<'_>,
    recovery: &Recovery,
    absent: &HashMap<String, i64>,
    owners: &[&str],
) -> Result<(Vec<TaskRow>, Vec<TaskRow>), Problem> {
    let Recovery { attempts, now, .. } = recovery;
    let found = rows(transaction, LOST, &[&owners]).await?;
    let lost = found.iter().map(tasks::read).collect::<Result<Vec<TaskRow>, _>>()?;
    let was_alone = |task: &TaskRow| absent.get(task.owner.as_ref().map_or("", OwnerId::as_str)) == Some(&1);
    let is_exhausted =
        |task: &TaskRow| was_alone(task) && task.crashes_alone + 1 >= i64::from(attempts.of(&task.operation));
    let (exhausted, requeued): (Vec<_>, Vec<_>) = lost.into_iter().partition(is_exhausted);
    if !requeued.is_empty() {
        let alone: Vec<_> = requeued.iter().map(|task| i64::from(was_alone(task))).collect();
        requeue(transaction, &requeued, &alone, *now).await?;
    }
    Ok((requeued, exhausted))
}

async fn requeue(transaction: &Transaction<'_>, tasks: &[TaskRow], alone: &[i64], now: Moment) -> Result<(), Problem> {
    let ids: Vec<_> = tasks.iter().map(|task| task.id.as_str()).collect();
    let runs: Vec<_> = tasks.iter().map(|task| task.run.as_ref().map(RunId::as_str)).collect();
    change(transaction, REQUEUE, &[&ids, &alone, &runs, &now.0]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_of_an_owner_are_in_one_portion() {
        let absent = HashMap::from([("a".to_owned(), 499), ("b".to_owned(), 700), ("c".to_owned(), 1)]);
        let portions = portions(&absent);
        let mut owners: Vec<_> = portions.iter().flatten().copied().collect();
        owners.sort_unstable();
        assert_eq!(owners, ["a", "b", "c"]);
        assert!(portions.len() > 1, "{portions:?}");
        for portion in portions {
            let full = portion.iter().rev().skip(1).map(|owner| absent[*owner]).sum::<i64>();
            assert!(full < PORTION, "{portion:?}");
        }
    }
}
