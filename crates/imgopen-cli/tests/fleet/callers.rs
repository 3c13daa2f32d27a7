//! Processes that take calls: killed during submits, and each answering for tasks that another has taken.

use std::time::Duration;

use futures_util::future::join_all;
use imgopen_tests::calls::call;
use serde_json::json;
use tokio::time::sleep;

use super::processes::{Fleet, Role, TASKS, drawing};
use crate::common::http::post;
use crate::common::rows::task;
use crate::common::until;

/// How many callers submit at once, and how many tasks each.
const CALLERS: usize = 4;
const EACH: usize = 30;

/// Submits the tasks of a caller, each until it is answered, and returns their names and ids.
async fn submit_all(fleet: &Fleet, caller: usize) -> Vec<(String, String)> {
    let mut ids = Vec::new();
    for number in 0..EACH {
        let name = format!("c{caller}-{number}");
        let id = fleet.insist(&name, &drawing(&name, "delay=1ms", None)).await;
        ids.push((name, id));
        sleep(Duration::from_millis(20)).await;
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn submits_that_are_repeated_at_another_process_make_one_task_each() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let (first, second) = (fleet.launch(Role::Api).await, fleet.launch(Role::Api).await);
    let _worker = fleet.launch(Role::Worker).await;
    fleet.is_open(&first).await;
    fleet.is_open(&second).await;
    let submits = join_all((0..CALLERS).map(|caller| submit_all(&fleet, caller)));
    let kills = async {
        sleep(Duration::from_millis(300)).await;
        first.kill();
        let third = fleet.launch(Role::Api).await;
        sleep(Duration::from_millis(300)).await;
        second.kill();
        third
    };
    let (accepted, _third) = tokio::join!(submits, kills);
    assert_eq!(fleet.database.count(TASKS), CALLERS * EACH);
    for (name, id) in accepted.into_iter().flatten() {
        let found = fleet.database.rows(&format!("SELECT id FROM tasks WHERE caller_id = '{name}'"));
        assert_eq!(found, std::slice::from_ref(&id), "{name}");
        // Asked again, at whatever process, it is the same.
        assert_eq!(fleet.insist(&name, &drawing(&name, "delay=1ms", None)).await, id);
    }
    fleet.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_idempotency_key_at_two_processes_at_once_makes_one_task() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let apis = [fleet.launch(Role::Api).await, fleet.launch(Role::Api).await];
    let _worker = fleet.launch(Role::Worker).await;
    for api in &apis {
        fleet.is_open(api).await;
    }
    for round in 0..10 {
        let name = format!("same{round}");
        let request = drawing(&name, "delay=1ms", None);
        let at_once = (0..8).map(|number: usize| fleet.submit_at(&apis[number % 2].url, &name, &request));
        let answers = join_all(at_once).await.into_iter().map(Result::unwrap);
        let mut ids: Vec<String> = answers.map(|answer| answer.task().unwrap_or("none").to_owned()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
    assert_eq!(fleet.database.count(TASKS), 10);
}

/// The caller's id of a training is unique, and its answer has no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_training_at_two_processes_at_once_makes_one_task() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let apis = [fleet.launch(Role::All).await, fleet.launch(Role::All).await];
    let urls: Vec<String> = (0..10).map(|number| format!("http://127.0.0.1:59999/{number}.png")).collect();
    let request = json!({"taskId": "mine", "fileUrlList": urls});
    let at_once = (0..8).map(|number: usize| {
        post(&fleet.http, (&fleet.key, apis[number % 2].url.as_str()), "submit_training", &[], &request)
    });
    for answer in join_all(at_once).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(fleet.database.count(TASKS), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_running_task_is_watched_and_cancelled_at_another_process() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let (first, second) = (fleet.launch(Role::Api).await, fleet.launch(Role::Api).await);
    let _worker = fleet.launch_with(Role::Worker, &["workers=1", "queue.fetching=2"]).await;
    fleet.is_open(&first).await;
    let mut request = drawing("slow", "slow=500ms", None);
    request["steps"] = json!(50);
    assert_eq!(fleet.submit_at(&first.url, "slow", &request).await.unwrap().status, 200);
    let client = fleet.key.client(&second.url);
    let seen = until("its progress is seen", async || {
        Some(task(&client, "slow").await).filter(|row| row["progress"].as_f64().is_some_and(|percent| percent > 0.0))
    })
    .await;
    assert_eq!((&seen["state"], &seen["steps"]), (&json!("running"), &json!(50)), "{seen}");
    call(&client, "cancel_task", &json!({"taskId": seen["taskId"]})).await.unwrap();
    assert_eq!(task(&fleet.key.client(&first.url), "slow").await["state"], "cancelled");
    // Its only slot is free long before the run would have ended.
    fleet.draw("next", "delay=1ms").await;
    fleet.reached("next", "succeeded").await;
    assert_eq!(fleet.row("slow").state, "cancelled");
    fleet.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_are_served_in_turn_by_all_processes() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _processes =
        [fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await, fleet.launch(Role::Worker).await];
    for number in 0..40 {
        fleet.draw(&format!("greedy{number}"), "delay=1s").await;
    }
    let url = fleet.url();
    for number in 0..4 {
        let request = drawing(&format!("modest{number}"), "delay=1s", None);
        let answer = post(&fleet.http, (&fleet.other_key, &url), "flux_text_to_image", &[], &request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    fleet.settled().await;
    let sql = "SELECT count(*) FROM tasks WHERE caller_id LIKE 'greedy%'
               AND started_at > (SELECT min(created_at) FROM tasks WHERE caller_id LIKE 'modest%')
               AND started_at < (SELECT max(started_at) FROM tasks WHERE caller_id LIKE 'modest%')";
    let before = fleet.database.count(sql);
    println!("{before} tasks of a key began between the submits of 4 of another and the last of their runs");
    // One in turn for each, and as many as had been chosen before.
    assert!(before <= 12, "{before}");
    assert_eq!(fleet.database.count(TASKS), 44);
}
