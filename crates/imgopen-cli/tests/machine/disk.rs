//! Pictures cannot be written, or the database cannot.

use super::shim::Shim;
use super::*;
use common::program::Program;
use common::receiver::{Receiver, Reply};
use tokio::task::block_in_place;

/// What a faulty disk answers.
const FAULTS: [(&str, i32); 3] = [("no space", 28), ("an error of the device", 5), ("a read-only file system", 30)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_fails_because_of_the_disk() {
    let shim = Shim::build();
    for (what, errno) in FAULTS {
        let folder = tempfile::tempdir().unwrap();
        let key = key(folder.path());
        let receiver = Receiver::start(&key.signing, |_, _| Reply::Acknowledge).await;
        let mut command = serve(folder.path());
        shim.preload(&mut command);
        let program = block_in_place(|| Program::start(command));
        let client = key.client(&program.url);
        shim.fail("write", errno, "/assets/");
        for number in 0..6 {
            let mut request = drawing(&format!("t{number}"), "delay=1ms");
            request["callbackUrl"] = json!(format!("{}/flux_text_to_image", receiver.url));
            submit(&client, &request).await;
        }
        until(&format!("the log reports {what}"), async || program.log().contains("no task can run").then_some(()))
            .await;
        count(&client, "queued", 6).await;
        shim.heal();
        let done = count(&client, "succeeded", 6).await;
        assert!(done.iter().all(|row| row["attempts"] == 1), "{what}: {done:?}");
        assert_eq!(failures(&client).await, [""; 0], "{what}");
        let seen = until("the ends are pushed", async || Some(receiver.seen()).filter(|seen| seen.len() >= 6)).await;
        assert!(seen.iter().all(|push| push.body["data"]["status"] == 1), "{what}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_lost_when_its_end_cannot_be_written() {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let mut command = serve(folder.path());
    shim.preload(&mut command);
    let program = block_in_place(|| Program::start(command));
    let client = key.client(&program.url);
    for number in 0..4 {
        submit(&client, &drawing(&format!("t{number}"), "delay=500ms")).await;
    }
    count(&client, "running", 4).await;
    shim.fail("sync", 5, ".sqlite3-wal");
    until("the log reports it", async || program.log().contains("cannot be written").then_some(())).await;
    shim.heal();
    count(&client, "succeeded", 4).await;
    assert_eq!(failures(&client).await, [""; 0]);
}
