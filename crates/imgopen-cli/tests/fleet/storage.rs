//! The bucket is away, slow, refuses, or the secret for it is wrong.

use std::process::Command;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::sleep;

use super::processes::{Fleet, PREFIX, Role};
use super::proxy::Way;
use super::s3::Refusal;
use crate::common::pictures::pixels;
use crate::common::program::imgopen;

/// What happens to the bucket.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// On the way of the worker.
    Way(Way),
    /// At the bucket, for every process.
    Refusal(Refusal),
}

/// Has a task end while the bucket has a fault. Nothing of it is seen before its picture is there.
async fn a_task_waits_for_the_bucket(fault: Fault, time: Duration) {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _api = fleet.launch(Role::Api).await;
    let worker = fleet.launch(Role::Worker).await;
    fleet.draw("task", "delay=1s").await;
    fleet.runs("task", 1).await;
    match fault {
        Fault::Way(way) => worker.storage.go(way),
        Fault::Refusal(refusal) => fleet.bucket.refuse(PREFIX, refusal),
    }
    sleep(time).await;
    let row = fleet.row("task");
    assert!(row.state == "running" || row.state == "queued", "{fault:?}: {row:?}");
    assert_eq!(fleet.database.count("SELECT count(*) FROM assets"), 0);
    worker.storage.go(Way::Pass);
    fleet.bucket.accept();
    fleet.reached("task", "succeeded").await;
    assert_eq!(pixels(&fleet.picture("task").await).dimensions(), (64, 64));
    fleet.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_waits_for_a_bucket_that_is_away() {
    a_task_waits_for_the_bucket(Fault::Way(Way::Refuse), Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_waits_for_a_bucket_that_is_slow() {
    a_task_waits_for_the_bucket(Fault::Way(Way::Stall), Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_waits_for_a_bucket_whose_answers_are_lost() {
    a_task_waits_for_the_bucket(Fault::Way(Way::Requests), Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_waits_for_a_bucket_that_is_overloaded() {
    let refusal = Refusal::Status(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    a_task_waits_for_the_bucket(Fault::Refusal(refusal), Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_with_a_wrong_secret_ends_nothing_and_costs_no_attempt() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _api = fleet.launch(Role::Api).await;
    let wrong = |command: &mut Command| {
        command.env("AWS_SECRET_ACCESS_KEY", "another");
    };
    let strange = fleet.launch_by(Role::Worker, &[], imgopen(), wrong).await;
    let _right = fleet.launch(Role::Worker).await;
    strange.is_ready(false).await;
    let names: Vec<_> = (0..12).map(|number| format!("task{number}")).collect();
    for name in &names {
        fleet.draw(name, "delay=300ms").await;
    }
    for name in &names {
        assert_eq!(fleet.reached(name, "succeeded").await.attempt, 1);
    }
    assert_eq!(fleet.database.count("SELECT count(DISTINCT owner) FROM tasks"), 1);
    fleet.is_consistent().await;
}
