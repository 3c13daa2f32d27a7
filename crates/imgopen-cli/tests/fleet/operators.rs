//! What an operator must mend at the database: its disk is full, or its password was replaced.

use std::fs;

use tokio::task::block_in_place;

use super::doorbell::LISTENING;
use super::processes::{Fleet, Role, TASKS, drawing, slowly};
use crate::common::receiver::{Receiver, Reply};

/// More tasks than fit into the pages that the tables have.
const TOO_MANY: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_of_the_database_refuses_submits_and_loses_nothing() {
    let Some(fleet) = Fleet::on_a_small_disk(&[]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    let (api, _worker) = (fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await);
    fleet.insist("running", &drawing("running", "delay=3s", Some(&receiver.url))).await;
    fleet.runs("running", 1).await;
    let cluster = fleet.database.cluster.clone();
    block_in_place(|| cluster.fill());
    let mut accepted = vec!["running".to_owned()];
    let refused = loop {
        let name = format!("task{}", accepted.len());
        let answer = fleet.submit(&name, &drawing(&name, "delay=1ms", Some(&receiver.url))).await.unwrap();
        if answer.asks_to_wait() {
            break name;
        }
        assert!(answer.status == 200 && accepted.len() < TOO_MANY, "{answer:?}");
        accepted.push(name);
    };
    println!("{} tasks were accepted before one was refused", accepted.len());
    assert_eq!(fleet.database.count(TASKS), accepted.len());
    block_in_place(|| cluster.make_room());
    fleet.insist(&refused, &drawing(&refused, "delay=1ms", Some(&receiver.url))).await;
    api.is_ready(true).await;
    accepted.push(refused);
    fleet.is_consistent().await;
    for name in &accepted {
        assert_eq!(fleet.row(name).state, "succeeded", "{name}");
    }
    assert_eq!(fleet.database.count(TASKS), accepted.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_password_that_was_replaced_is_read_from_its_file() {
    let Some(mut fleet) = Fleet::new(&[]).await else { return };
    fleet.database.guard("first");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "first").unwrap();
    let setting = format!("database.password_file={}", file.path().display());
    let (api, worker) =
        (fleet.launch_with(Role::Api, &[&setting]).await, fleet.launch_with(Role::Worker, &[&setting]).await);
    fleet.draw("running", "delay=5s").await;
    let running = fleet.runs("running", 1).await;
    fleet.database.replace_password("second");
    fleet.is_refused("meanwhile").await;
    api.is_ready(false).await;
    worker.is_ready(false).await;
    fs::write(file.path(), "second\n").unwrap();
    api.is_ready(true).await;
    worker.is_ready(true).await;
    fleet.insist("meanwhile", &drawing("meanwhile", "delay=1ms", None)).await;
    fleet.succeed_by(&[("running", running)]).await;
    fleet.is_consistent().await;
    // So do the connections that listen.
    slowly("both listen", async || (fleet.database.count(LISTENING) == 2).then_some(())).await;
}
