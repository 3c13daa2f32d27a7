//! The clocks of the machines differ by minutes. Leases are judged by that of the database alone.

use std::process::Command;

use super::processes::{Fleet, Role};
use crate::common::program::imgopen;
use crate::common::shim::Shim;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clocks_that_differ_by_minutes_cost_no_lease() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let shims = [300, -300].map(|seconds| {
        let shim = Shim::build();
        shim.clock(seconds);
        shim
    });
    let _api = fleet.launch(Role::Api).await;
    let mut workers = Vec::new();
    for shim in &shims {
        let change = |command: &mut Command| shim.preload(command);
        workers.push(fleet.launch_by(Role::Worker, &[], imgopen(), change).await);
    }
    // Longer than several leases, and in all slots of both.
    let names = ["a", "b", "c", "d"];
    for name in names {
        fleet.draw(name, "delay=8s").await;
    }
    for name in names {
        assert_eq!(fleet.reached(name, "succeeded").await.attempt, 1);
    }
    assert_eq!(fleet.database.count("SELECT count(*) FROM owners WHERE role = 'worker'"), shims.len());
    let owners = "SELECT count(DISTINCT owner) FROM tasks";
    assert_eq!(fleet.database.count(owners), shims.len(), "one of them ran nothing");
    fleet.is_consistent().await;
}
