//! The database can only be read for a while: because it is set so, or because a standby answers in its place.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::sleep;

use super::processes::{Fleet, LEASE, Role, drawing, slowly};

/// How long it can only be read: longer than a lease.
const OUTAGE: Duration = Duration::from_millis(LEASE.as_millis() as u64 + 500);

/// Counts the standbys that have each commit before it is answered.
const STANDBYS: &str = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_made_read_only_takes_no_run_away() {
    let Some(fleet) = Fleet::alone(&[]).await else { return };
    let (api, worker) = (fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await);
    fleet.draw("running", "delay=5s").await;
    let running = fleet.runs("running", 1).await;
    // Connections that are open find out by their next statement.
    fleet.database.set("default_transaction_read_only = on");
    fleet.is_refused("meanwhile").await;
    api.is_ready(false).await;
    worker.is_ready(false).await;
    sleep(OUTAGE).await;
    fleet.database.set("default_transaction_read_only = off");
    fleet.insist("meanwhile", &drawing("meanwhile", "delay=1ms", None)).await;
    fleet.succeed_by(&[("running", running)]).await;
    fleet.is_consistent().await;
    assert_eq!(fleet.row("meanwhile").state, "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_to_a_standby_that_is_promoted_later_takes_no_run_away() {
    let Some(fleet) = Fleet::alone(&[]).await else { return };
    let cluster = fleet.database.cluster.clone();
    block_in_place(|| cluster.start_standby());
    fleet.database.set("synchronous_standby_names = '*'");
    slowly("the standby has each commit", async || (fleet.database.count(STANDBYS) == 1).then_some(())).await;
    let (api, _worker) = (fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await);
    let mut runs = Vec::new();
    for name in ["long0", "long1"] {
        fleet.draw(name, "delay=6s").await;
        runs.push((name, fleet.runs(name, 1).await));
    }
    let before = fleet.draw("before", "delay=1ms").await;
    block_in_place(|| cluster.fail_over());
    assert_eq!(fleet.database.rows("SELECT pg_is_in_recovery()"), ["t"]);
    fleet.is_refused("meanwhile").await;
    api.is_ready(false).await;
    sleep(OUTAGE).await;
    assert_eq!(fleet.database.rows("SELECT pg_is_in_recovery()"), ["t"]);
    block_in_place(|| cluster.promote());
    fleet.insist("meanwhile", &drawing("meanwhile", "delay=1ms", None)).await;
    fleet.succeed_by(&runs).await;
    fleet.is_consistent().await;
    assert_eq!(fleet.database.rows("SELECT id FROM tasks WHERE caller_id = 'before'"), [before]);
    assert_eq!(fleet.database.count("SELECT count(*) FROM tasks WHERE state = 'succeeded' AND attempt = 1"), 4);
}
