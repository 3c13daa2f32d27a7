//! Receivers that are slow or dead, and processes that push and are killed.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;

use super::processes::{Fleet, Role, drawing, slowly};
use crate::common::receiver::{Receiver, Reply, Seen};

/// How many callbacks there are.
const CALLBACKS: usize = 20;

/// Every callback was acknowledged once by the record, and the receiver knows nothing else.
fn are_acknowledged_once(fleet: &Fleet, seen: &[Seen]) {
    let sql = "SELECT id FROM callbacks WHERE state <> 'acknowledged' OR 1 <> (
                   SELECT count(*) FROM callback_tries WHERE callback_id = callbacks.id AND outcome = 'acknowledged')";
    assert_eq!(fleet.database.rows(sql), [""; 0]);
    let known: HashSet<String> = fleet.database.rows("SELECT id FROM callbacks").into_iter().collect();
    let pushed: HashSet<String> = seen.iter().map(|push| push.id.clone()).collect();
    assert_eq!(known, pushed);
    for push in seen {
        let first = seen.iter().find(|other| other.id == push.id).unwrap();
        assert!(push.is_trusted && push.body == first.body, "{push:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_push_to_a_bad_receiver_without_a_second_acknowledgement() {
    let Some(fleet) = Fleet::new(&["callbacks.time=2s"]).await else { return };
    // Slow, failing, wrong, and then well.
    let receiver = Receiver::start(&fleet.key.signing, |id, before| match (before, id.as_bytes().last()) {
        (0, Some(byte)) if byte % 4 == 0 => Reply::Hang,
        (0, _) => Reply::Fail,
        (1, _) => Reply::WrongCode,
        _ => Reply::Acknowledge,
    })
    .await;
    let _processes = [fleet.launch(Role::Api).await, fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await];
    for number in 0..CALLBACKS {
        let name = format!("task{number}");
        fleet.insist(&name, &drawing(&name, "delay=1ms", Some(&receiver.url))).await;
    }
    fleet.is_consistent().await;
    let seen = receiver.seen();
    are_acknowledged_once(&fleet, &seen);
    assert_eq!(fleet.database.count("SELECT count(*) FROM callbacks"), CALLBACKS);
    // Each refusal was one push by one of the two processes.
    assert_eq!(seen.len(), 3 * CALLBACKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_push_of_a_process_that_is_killed_is_made_again_with_its_id() {
    let Some(fleet) = Fleet::new(&["callbacks.time=3s"]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, before| match before {
        0 => Reply::Hang,
        _ => Reply::Acknowledge,
    })
    .await;
    let killed = fleet.launch(Role::Api).await;
    let _worker = fleet.launch(Role::Worker).await;
    fleet.insist("task", &drawing("task", "delay=1ms", Some(&receiver.url))).await;
    slowly("it is being pushed", async || (!receiver.seen().is_empty()).then_some(())).await;
    killed.kill();
    let _other = fleet.launch(Role::Api).await;
    fleet.is_consistent().await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    are_acknowledged_once(&fleet, &seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callbacks_to_a_dead_receiver_hold_up_no_others() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    let _processes = [fleet.launch(Role::Api).await, fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await];
    for number in 0..CALLBACKS {
        // Nothing listens on the first port.
        let address = if number % 2 == 0 { "http://127.0.0.1:59999" } else { receiver.url.as_str() };
        let name = format!("task{number}");
        fleet.insist(&name, &drawing(&name, "delay=1ms", Some(address))).await;
    }
    let done = "SELECT count(*) FROM callbacks WHERE state = 'acknowledged'";
    slowly("the others are acknowledged", async || (fleet.database.count(done) == CALLBACKS / 2).then_some(())).await;
    sleep(Duration::from_millis(500)).await;
    let left = "SELECT count(*) FROM callbacks WHERE state = 'pending'";
    assert_eq!((fleet.database.count(left), receiver.seen().len()), (CALLBACKS / 2, CALLBACKS / 2));
}
