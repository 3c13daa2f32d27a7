//! Pictures cannot be written, or the database cannot.

use super::*;
use common::receiver::{Receiver, Reply};
use common::shell::files;
use common::shim::{EIO, ENOSPC, EROFS, rule};

/// What a faulty disk answers.
const FAULTS: [(&str, i32); 3] =
    [("no space", ENOSPC), ("an error of the device", EIO), ("a read-only file system", EROFS)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_fails_because_of_the_disk() {
    let shim = Shim::build();
    for (what, errno) in FAULTS {
        let folder = tempfile::tempdir().unwrap();
        let key = key(folder.path());
        let receiver = Receiver::start(&key.signing, |_, _| Reply::Acknowledge).await;
        let program = start(serve(folder.path()), Some(&shim), &[]);
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
        unready(&program).await;
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
    let program = start(serve(folder.path()), Some(&shim), &[]);
    let client = key.client(&program.url);
    for number in 0..4 {
        submit(&client, &drawing(&format!("t{number}"), "delay=500ms")).await;
    }
    count(&client, "running", 4).await;
    shim.fail("sync", EIO, ".sqlite3-wal");
    until("the log reports it", async || program.log().contains("cannot be written").then_some(())).await;
    shim.heal();
    count(&client, "succeeded", 4).await;
    assert_eq!(failures(&client).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_cannot_be_written_callers_are_asked_to_wait() {
    let shim = Shim::build();
    let http = reqwest::Client::new();
    let faults = [("write", ENOSPC, ".sqlite3-wal"), ("sync", EIO, ".sqlite3-wal"), ("write", EROFS, ".sqlite3")];
    for (call, errno, file) in faults {
        let folder = tempfile::tempdir().unwrap();
        let key = key(folder.path());
        let receiver = Receiver::start(&key.signing, |_, _| Reply::Acknowledge).await;
        let program = start(serve(folder.path()), Some(&shim), &["callbacks.tries=1"]);
        let client = key.client(&program.url);
        for number in 0..6 {
            let mut request = drawing(&format!("before{number}"), "delay=500ms");
            request["callbackUrl"] = json!(format!("{}/flux_text_to_image", receiver.url));
            submit(&client, &request).await;
        }
        shim.fail(call, errno, file);
        for number in 0..4 {
            let request = drawing(&format!("during{number}"), "delay=1ms");
            let answer = post(&http, (&key, &program.url), operation(&request), &[], &request).await.unwrap();
            assert!(answer.asks_to_wait(), "{file}, error {errno}: {answer:?}");
            assert!(!answer.body.to_string().contains(".sqlite3"), "no path of the server: {answer:?}");
        }
        unready(&program).await;
        let database = folder.path().join("imgopen.sqlite3").display().to_string();
        until("the log names the file", async || program.log().contains(&database).then_some(())).await;
        shim.heal();
        ready(&program).await;
        for number in 0..6 {
            assert_eq!(ended(&client, &format!("before{number}")).await["state"], "succeeded");
        }
        assert_eq!(failures(&client).await, [""; 0]);
        let callbacks = count_callbacks(&client, "acknowledged", 6).await;
        assert!(callbacks.iter().all(|callback| callback["tries"].as_array().unwrap().len() == 1), "{callbacks:?}");
    }
}

/// Waits until this many callbacks are in a state.
pub async fn count_callbacks(client: &Client, state: &str, expected: usize) -> Vec<Value> {
    until(&format!("{expected} callbacks are {state}"), async || {
        let rows = all(client, "list_callbacks", json!({"states": [state]})).await;
        (rows.len() == expected).then_some(rows)
    })
    .await
}

#[test]
fn a_start_without_space_says_where_and_what_to_do() {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    key(folder.path());
    shim.fail("write", ENOSPC, ".sqlite3-wal");
    let mut command = serve(folder.path());
    shim.preload(&mut command);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&folder.path().join("imgopen.sqlite3").display().to_string()), "{errors}");
    assert!(errors.contains("free some space"), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_is_being_written_when_its_task_is_cancelled_is_deleted() {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(serve(folder.path()), Some(&shim), &[]);
    let client = key.client(&program.url);
    let assets = folder.path().join("assets");
    let written = || if assets.is_dir() { files(&assets) } else { Vec::new() };
    shim.rules(&[rule("slow", 1000, "/assets/")]);
    for number in 0..4 {
        submit(&client, &drawing(&format!("t{number}"), "delay=1ms")).await;
    }
    until("all pictures are being written", async || (written().len() >= 4).then_some(())).await;
    for row in all(&client, "list_tasks", json!({})).await {
        call(&client, "cancel_task", &json!({"taskId": row["taskId"]})).await.unwrap();
    }
    shim.heal();
    count(&client, "cancelled", 4).await;
    // Those that were begun end first, and what the service writes to try the disk is gone in a moment.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    until("nothing is left of them", async || written().is_empty().then_some(())).await;
}
