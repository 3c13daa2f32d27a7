//! Workers that are suspended, killed or drained.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::processes::{Fleet, LEASE, Role, drawing, slowly};
use crate::common::receiver::{Receiver, Reply};

/// What a busy machine takes beyond the time that is due.
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_slept_past_its_lease_ends_nothing_that_another_runs() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    let _api = fleet.launch(Role::Api).await;
    let asleep = fleet.launch(Role::Worker).await;
    fleet.insist("patient", &drawing("patient", "delay=8s", Some(&receiver.url))).await;
    let first = fleet.runs("patient", 1).await;
    let begun = Instant::now();
    asleep.pause();
    let awake = fleet.launch(Role::Worker).await;
    let second = fleet.runs("patient", 2).await;
    assert_ne!(first.run, second.run);
    // Until the delay of the first run is over too, so that it writes its end as soon as it goes on.
    sleep_until(begun + Duration::from_millis(8500)).await;
    asleep.go_on();
    let ended = fleet.reached("patient", "succeeded").await;
    assert_eq!((ended.attempt, &ended.run), (2, &second.run));
    fleet.is_consistent().await;
    let pushes = receiver.seen();
    assert!(pushes.iter().all(|push| push.id == pushes[0].id && push.is_trusted) && !pushes.is_empty(), "{pushes:?}");
    // It works on, by a new id.
    let owners = || fleet.database.count("SELECT count(*) FROM owners WHERE role = 'worker'");
    slowly("both workers are registered", async || (owners() == 2).then_some(())).await;
    drop(awake);
    fleet.draw("after", "delay=1ms").await;
    fleet.reached("after", "succeeded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_killed_worker_ran_is_run_again_when_its_lease_is_over() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _api = fleet.launch(Role::Api).await;
    let killed = fleet.launch(Role::Worker).await;
    fleet.draw("again", "delay=8s").await;
    let first = fleet.runs("again", 1).await;
    let _other = fleet.launch(Role::Worker).await;
    // Its own heartbeats prove that those of the other are missing.
    sleep(LEASE).await;
    killed.kill();
    let lost = Instant::now();
    fleet.reaches("again", "its first run is over", |row| row.run != first.run).await;
    println!("a run was over {:?} after its worker was killed; the lease is {LEASE:?}", lost.elapsed());
    assert!(lost.elapsed() < LEASE + Duration::from_secs(2) + SLACK, "{:?}", lost.elapsed());
    assert_eq!(fleet.reached("again", "succeeded").await.attempt, 2);
    fleet.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_during_which_every_worker_dies_fails_with_the_reason() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    let _api = fleet.launch(Role::Api).await;
    for attempt in 1..=3 {
        let worker = fleet.launch(Role::Worker).await;
        if attempt == 1 {
            fleet.insist("poison", &drawing("poison", "hang", Some(&receiver.url))).await;
        }
        fleet.runs("poison", attempt).await;
        worker.kill();
    }
    let failed = fleet.reached("poison", "failed").await;
    assert_eq!(failed.attempt, 3);
    assert!(failed.failure.contains("during each of 3 attempts"), "{failed:?}");
    // Others go on.
    let _worker = fleet.launch(Role::Worker).await;
    fleet.draw("after", "delay=1ms").await;
    fleet.reached("after", "succeeded").await;
    fleet.is_consistent().await;
    let pushes = receiver.seen();
    assert!(pushes.iter().all(|push| push.id == pushes[0].id) && !pushes.is_empty(), "{pushes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_is_stopped_in_order_leaves_its_lease_to_nobody() {
    let Some(fleet) = Fleet::new(&["shutdown=20s", "database.lease=10m"]).await else { return };
    let _api = fleet.launch(Role::Api).await;
    let mut workers = vec![fleet.launch(Role::Worker).await, fleet.launch(Role::Worker).await];
    let names: Vec<String> = (0..12).map(|number| format!("task{number}")).collect();
    for name in &names {
        fleet.draw(name, "delay=700ms").await;
    }
    // One after the other is replaced while they work. Nobody waits for the lease of ten minutes.
    for _ in 0..2 {
        let old = workers.remove(0);
        workers.push(fleet.launch(Role::Worker).await);
        old.stop();
    }
    for name in &names {
        assert_eq!(fleet.reached(name, "succeeded").await.attempt, 1);
    }
    assert_eq!(fleet.database.count("SELECT count(*) FROM owners WHERE role = 'worker'"), 2);
    fleet.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_is_drained_ends_what_it_runs_and_begins_nothing() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _api = fleet.launch(Role::Api).await;
    let _drained = fleet.launch_with(Role::Worker, &["workers=1", "queue.fetching=2"]).await;
    fleet.draw("last", "delay=5s").await;
    fleet.runs("last", 1).await;
    fleet.draw("next", "delay=1ms").await;
    let id = fleet.database.rows("SELECT owner FROM tasks WHERE caller_id = 'last'").remove(0);
    fleet.command(&["workers", "drain", &id]);
    assert_eq!(fleet.reached("last", "succeeded").await.attempt, 1);
    // The drained worker has had time to claim it: its slot is free.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(fleet.row("next").state, "queued");
    let _other = fleet.launch(Role::Worker).await;
    assert_eq!(fleet.reached("next", "succeeded").await.attempt, 1);
    fleet.is_consistent().await;
}
