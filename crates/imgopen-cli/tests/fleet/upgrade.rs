//! The layout of the database is upgraded while processes of the version before work, and some of them start later.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::sleep;

use super::processes::{Fleet, Role, TASKS, drawing};
use crate::common::program::{Background, imgopen};
use crate::common::receiver::{Receiver, Reply};

/// How many tasks are submitted meanwhile.
const SUBMITS: usize = 30;

/// What the next version might add, by a layout that says which ones may use it.
fn additions(version: usize, since: usize) -> String {
    format!(
        "ALTER TABLE tasks ADD COLUMN mood text;
         CREATE INDEX tasks_by_mood ON tasks (mood) WHERE mood IS NOT NULL;
         CREATE TABLE moods (name text COLLATE \"C\" PRIMARY KEY, since bigint);
         {}",
        layout(version, since)
    )
}

fn layout(version: usize, since: usize) -> String {
    format!("UPDATE layout SET version = {version}, since_version = {since}")
}

/// Submits tasks while the layout is upgraded in their midst.
async fn submit_during(fleet: &Fleet, receiver: &Receiver, upgrade: String) {
    let submits = async {
        for number in 0..SUBMITS {
            let name = format!("task{number}");
            fleet.insist(&name, &drawing(&name, "delay=20ms", Some(&receiver.url))).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let upgrade = async {
        let database = fleet.database.clone();
        sleep(Duration::from_millis(300)).await;
        spawn_blocking(move || database.rows(&upgrade)).await.unwrap();
    };
    tokio::join!(submits, upgrade);
}

/// Checks that a command of this version refuses the layout by both numbers, and says what to do.
fn is_refused(mut command: Command, fleet: &Fleet, found: usize, known: usize) {
    command.args(["--database", &fleet.database.url()]);
    let refused = Background::start(command);
    let problem = format!("has the layout {found}, but this program knows {known}; use the newer program that made it");
    refused.error_line(&problem);
    let (status, output, _) = refused.end();
    assert_eq!((status.code(), output.as_str()), (Some(1), ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_layout_is_upgraded_while_processes_of_the_one_before_work_and_start() {
    let Some(fleet) = Fleet::new(&[]).await else { return };
    let receiver = Receiver::start(&fleet.key.signing, |_, _| Reply::Acknowledge).await;
    let (api, worker) = (fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await);
    fleet.insist("across", &drawing("across", "delay=3s", Some(&receiver.url))).await;
    let across = fleet.runs("across", 1).await;
    let known = fleet.database.count("SELECT version FROM layout");
    submit_during(&fleet, &receiver, additions(known + 1, known)).await;
    // Of the version before, too, but started since.
    let _late = [fleet.launch(Role::Api).await, fleet.launch(Role::Worker).await];
    api.stop();
    fleet.succeed_by(&[("across", across)]).await;
    worker.stop();
    fleet.draw("after", "delay=1ms").await;
    fleet.reached("after", "succeeded").await;
    fleet.command(&["keys", "list"]);
    // What has started since has not taken the layout back.
    let layout_now = "SELECT version, since_version FROM layout";
    assert_eq!(fleet.database.rows(layout_now), [format!("{}|{known}", known + 1)]);

    // The next one removes what this version uses.
    fleet.database.rows(&layout(known + 2, known + 1));
    let folder = tempfile::tempdir().unwrap();
    let mut serve = imgopen();
    serve.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let mut list = imgopen();
    list.args(["keys", "list"]);
    block_in_place(|| [serve, list].into_iter().for_each(|command| is_refused(command, &fleet, known + 2, known)));
    assert_eq!(fleet.database.rows(layout_now), [format!("{}|{}", known + 2, known + 1)]);
    // What runs goes on.
    fleet.draw("last", "delay=1ms").await;
    fleet.is_consistent().await;
    assert_eq!(fleet.database.count(TASKS), SUBMITS + 3);
    let other = "SELECT caller_id, state, attempt FROM tasks WHERE state <> 'succeeded' OR attempt <> 1";
    assert_eq!(fleet.database.rows(other), [""; 0]);
    let pushed: HashSet<_> = receiver.seen().into_iter().map(|push| push.id).collect();
    assert_eq!(pushed.len(), SUBMITS + 1);
}
