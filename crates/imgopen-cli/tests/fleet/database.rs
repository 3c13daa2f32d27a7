//! The database crashes, keeps silent, is reached in one direction alone, or answers too late.

use std::time::{Duration, Instant};

use imgopen_tests::calls::call;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::processes::{Fleet, LEASE, Role, TASKS, drawing};
use super::proxy::Way;
use crate::common::receiver::{Receiver, Reply};
use crate::common::until;

/// Stops the server, and starts it again after that long, while tasks run and others are submitted.
async fn crashes_for(pause: Duration) {
    let Some(fleet) = Fleet::alone(&[]).await else { return };
    let _apis = [fleet.launch(Role::Api).await, fleet.launch(Role::Api).await];
    let _workers = [fleet.launch(Role::Worker).await, fleet.launch(Role::Worker).await];
    let long = ["long0", "long1", "long2", "long3"];
    for name in long {
        fleet.draw(name, "delay=15s").await;
    }
    let mut runs = Vec::new();
    for name in long {
        runs.push((name, fleet.runs(name, 1).await));
    }
    let mut accepted = vec![fleet.draw("before", "delay=1ms").await];
    let cluster = fleet.database.cluster.clone();
    block_in_place(|| cluster.crash());
    sleep(pause).await;
    block_in_place(|| cluster.start_again());
    accepted.push(fleet.draw("after", "delay=1ms").await);
    for id in accepted {
        assert_eq!(fleet.database.rows(&format!("SELECT count(*) FROM tasks WHERE id = '{id}'")), ["1"]);
    }
    // Every lease is over, but each process gets the time of one to renew its own: no live run is taken away.
    fleet.succeed_by(&runs).await;
    fleet.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_short_crash_of_the_database_loses_nothing_and_takes_no_run_away() {
    crashes_for(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_of_the_database_of_two_leases_loses_nothing_and_takes_no_run_away() {
    crashes_for(2 * LEASE + Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_database_is_silent_calls_are_asked_to_wait_and_nothing_is_doubled() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let (api, worker) = (fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await);
    fleet.draw("drawn", "delay=1ms").await;
    fleet.reached("drawn", "succeeded").await;
    let tokens = block_in_place(|| fleet.database.rows("SELECT token FROM assets"));
    fleet.draw("running", "delay=3s").await;
    fleet.runs("running", 1).await;
    for proxy in [&api.database, &worker.database] {
        proxy.go(Way::Stall);
    }
    api.is_ready(false).await;
    until("pictures are refused at once", async || {
        let began = Instant::now();
        let status = api.status(&format!("/assets/{}", tokens[0])).await;
        (status == Some(503) && began.elapsed() < Duration::from_secs(1)).then_some(())
    })
    .await;
    // It lives, and says so.
    assert_eq!(api.status("/healthz").await, Some(200));
    let request = drawing("meanwhile", "delay=1ms", None);
    // It is refused in time, or not answered before the caller gives up.
    if let Ok(answer) = fleet.submit("meanwhile", &request).await {
        assert!(answer.status == 503, "{answer:?}");
    }
    for proxy in [&api.database, &worker.database] {
        proxy.go(Way::Pass);
    }
    api.is_ready(true).await;
    fleet.insist("meanwhile", &request).await;
    for name in ["running", "meanwhile"] {
        fleet.reached(name, "succeeded").await;
    }
    assert_eq!(fleet.database.count(TASKS), 3);
    fleet.is_consistent().await;
}

/// What is carried out, and a part of its statement.
const STATEMENTS: [(&str, &str, Who); 4] = [
    ("a submit", "INSERT INTO tasks", Who::Api),
    ("a claim", "SET state = 'running', attempt = attempt + 1", Who::Worker),
    ("an end", "UPDATE tasks SET state = $4, output = $5", Who::Worker),
    ("the record of a push", "INSERT INTO callback_tries", Who::Api),
];

#[derive(Clone, Copy)]
enum Who {
    Api,
    Worker,
}

/// The statement is committed, and its connection ends before the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_committed_without_an_answer_is_done_once() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    let (api, worker) = (fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await);
    for (number, (what, statement, who)) in STATEMENTS.into_iter().enumerate() {
        let proxy = match who {
            Who::Api => &api.database,
            Who::Worker => &worker.database,
        };
        let before = proxy.cuts();
        proxy.cut_after(statement);
        let name = format!("lost{number}");
        fleet.insist(&name, &drawing(&name, "delay=100ms", Some(&receiver.url))).await;
        until(&format!("the answer to {what} is lost"), async || (proxy.cuts() > before).then_some(())).await;
        assert_eq!(fleet.reached(&name, "succeeded").await.attempt, 1, "{what}");
    }
    fleet.is_consistent().await;
    assert_eq!(fleet.database.count(TASKS), STATEMENTS.len());
    let twice = "SELECT callback_id FROM callback_tries WHERE outcome = 'acknowledged'
                 GROUP BY callback_id HAVING count(*) <> 1";
    assert_eq!(fleet.database.rows(twice), [""; 0]);
    // The receiver was pushed each once, because the record of a push is found to be there.
    assert_eq!(receiver.seen().len(), STATEMENTS.len());
}

/// A worker stops and hands its run back, and does not learn that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_handed_back_once_although_the_answer_is_lost() {
    let Some(fleet) = Fleet::new(&["shutdown=3s"]).await else { return };
    let _api = fleet.launch(Role::Api).await;
    let stopped = fleet.launch(Role::Worker).await;
    fleet.draw("task", "delay=6s").await;
    fleet.runs("task", 1).await;
    let proxy = stopped.database.clone();
    proxy.cut_after("attempt = attempt - 1");
    let log = stopped.stop();
    assert_eq!(proxy.cuts(), 1);
    // It finds out, so it does not look for another end of the task.
    assert!(log.contains("task handed back"), "{log}");
    let row = fleet.row("task");
    assert_eq!((row.state.as_str(), row.attempt, row.run.as_str()), ("queued", 0, ""));
    let _other = fleet.launch(Role::Worker).await;
    assert_eq!(fleet.reached("task", "succeeded").await.attempt, 1);
    fleet.is_consistent().await;
}

/// A task is cancelled, and its caller learns that it was, not that it had ended before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_is_answered_as_what_it_did_although_the_answer_is_lost() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    let (api, _worker) = (fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await);
    let id = fleet.insist("task", &drawing("task", "hang", Some(&receiver.url))).await;
    fleet.runs("task", 1).await;
    api.database.cut_after("UPDATE tasks SET state = $4, output = $5");
    let (client, request) = (fleet.key.client(&api.url), json!({ "taskId": id }));
    let cancelled = call(&client, "cancel_task", &request).await.unwrap();
    assert_eq!(api.database.cuts(), 1);
    let cancelled: Value = serde_json::from_str(&cancelled.response).unwrap();
    assert_eq!(cancelled["data"]["state"], "cancelled", "{cancelled}");
    let again = call(&client, "cancel_task", &request).await.unwrap_err();
    assert_eq!(again.status().unwrap(), 409, "{again}");
    fleet.is_consistent().await;
    assert_eq!(receiver.seen().len(), 1);
}

/// Cuts a worker off while it runs a task, and lets it come back while another runs that.
async fn is_cut_off(way: Way) {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _api = fleet.launch(Role::Api).await;
    let cut_off = fleet.launch(Role::Worker).await;
    fleet.draw("twice", "delay=8s").await;
    let first = fleet.runs("twice", 1).await;
    cut_off.database.go(way);
    let _other = fleet.launch(Role::Worker).await;
    let second = fleet.runs("twice", 2).await;
    assert_ne!(first.run, second.run);
    cut_off.database.go(Way::Pass);
    let ended = fleet.reached("twice", "succeeded").await;
    assert_eq!((ended.attempt, ended.run), (2, second.run));
    cut_off.is_ready(true).await;
    fleet.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_whose_answers_are_lost_is_replaced_and_comes_back() {
    is_cut_off(Way::Requests).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_does_not_reach_the_database_is_replaced_and_comes_back() {
    is_cut_off(Way::Lose).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_is_refused_by_the_database_is_replaced_and_comes_back() {
    is_cut_off(Way::Refuse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_the_server_ends_are_replaced() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _processes =
        [fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await, fleet.launch(Role::Worker).await];
    for round in 0..5 {
        for number in 0..4 {
            fleet.draw(&format!("r{round}-{number}"), "delay=200ms").await;
        }
        // That which listens is among them.
        let ended = fleet.database.count(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        assert!(ended > 0, "{ended}");
    }
    fleet.is_consistent().await;
    let other = "SELECT caller_id, state, attempt FROM tasks WHERE state <> 'succeeded' OR attempt <> 1";
    assert_eq!(fleet.database.rows(other), [""; 0]);
    assert_eq!(fleet.database.count(TASKS), 20);
}
