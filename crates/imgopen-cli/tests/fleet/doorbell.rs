//! Announcements among processes are lost, or there are none.

use std::time::Duration;

use imgopen_tests::calls::call;
use serde_json::json;
use tokio::time::sleep;

use super::processes::{Fleet, Role, drawing, slowly};
use crate::common::http::post;
use crate::common::receiver::{Receiver, Reply};
use crate::common::until;

/// Has a task carried out, one cancelled while it runs, and both pushed, by processes that must find out for themselves.
async fn all_is_found_out(fleet: &Fleet) {
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    fleet.insist("done", &drawing("done", "delay=1ms", Some(&receiver.url))).await;
    fleet.reached("done", "succeeded").await;
    let id = fleet.insist("stopped", &drawing("stopped", "hang", Some(&receiver.url))).await;
    fleet.runs("stopped", 1).await;
    call(&fleet.key.client(&fleet.url()), "cancel_task", &json!({"taskId": id})).await.unwrap();
    // The only slot is free again.
    fleet.draw("next", "delay=1ms").await;
    fleet.reached("next", "succeeded").await;
    until("both are pushed", async || (receiver.seen().len() == 2).then_some(())).await;
    fleet.is_consistent().await;
    assert_eq!(fleet.row("stopped").state, "cancelled");
}

/// How many connections listen.
pub const LISTENING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";

/// The settings of a worker with one slot.
const ONE_SLOT: [&str; 2] = ["workers=1", "queue.fetching=2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_announce_nothing_find_out_for_themselves() {
    let Some(fleet) = Fleet::new(&["database.notify=false"]).await else { return };
    let _processes = [fleet.launch(Role::Api).await, fleet.launch_with(Role::Worker, &ONE_SLOT).await];
    assert_eq!(fleet.database.count(LISTENING), 0);
    all_is_found_out(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_no_longer_hears_finds_out_for_itself() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let _processes = [fleet.launch(Role::Api).await, fleet.launch_with(Role::Worker, &ONE_SLOT).await];
    let both_listen = async || {
        slowly("both listen", async || (fleet.database.count(LISTENING) == 2).then_some(())).await;
    };
    both_listen().await;
    fleet.database.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    );
    all_is_found_out(&fleet).await;
    both_listen().await;
}

/// While a key has all its runs, what else it has queued is known, and is no reason for a look.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_idle_slot_begins_what_is_announced_although_others_wait() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let settings = ["workers=2", "queue.running_per_key=1"];
    let _processes = [fleet.launch(Role::Api).await, fleet.launch_with(Role::Worker, &settings).await];
    fleet.draw("first", "hang").await;
    fleet.runs("first", 1).await;
    fleet.draw("second", "hang").await;
    let url = fleet.url();
    for number in 0..9 {
        sleep(Duration::from_millis(130)).await;
        let name = format!("quick{number}");
        let request = drawing(&name, "delay=1ms", None);
        let answer = post(&fleet.http, (&fleet.other_key, &url), "flux_text_to_image", &[], &request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        fleet.reached(&name, "succeeded").await;
    }
    let waits = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY started_at - created_at) FROM tasks
                 WHERE caller_id LIKE 'quick%'";
    let median = fleet.database.count(waits);
    println!("a task waits for {median} ms in the median");
    // A look is made half a second after the one before, at the earliest.
    assert!(median < 150, "{median}");
    assert_eq!(fleet.row("second").state, "queued");
}
