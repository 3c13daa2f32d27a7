//! Stopping and restarting: running and queued tasks, and the lock of the data directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use imgopen_service::{SANDBOX, StartError};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::common::engines::Gate;
use crate::common::web::host;
use crate::common::{Answer, Bench, DEADLINE, enlarge, enlarge_with_callback, http, id, is_on_postgres, until};

#[tokio::test]
async fn running_tasks_may_end_and_queued_ones_run_after_a_restart() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| settings.workers = 1);
    let server = bench.start().await;
    let running = server.submitted("enlarge_image", enlarge("runs")).await;
    gate.holds(1).await;
    let waiting = server.submitted("enlarge_image", enlarge("waits")).await;
    let url = server.url.clone();
    let stopping = tokio::spawn(server.stop());
    until("it accepts no more calls", || async {
        http().get(format!("{url}/healthz")).send().await.is_err().then_some(())
    })
    .await;
    assert!(!stopping.is_finished());
    gate.open(1);
    let bench = stopping.await.unwrap();
    let server = bench.start().await;
    let row = server.task(&running).await;
    assert_eq!((&row["state"], &row["attempts"]), (&json!("succeeded"), &json!(1)));
    gate.open(1);
    server.reached(&waiting, "succeeded").await;
}

#[tokio::test]
async fn a_run_beyond_the_shutdown_limit_is_handed_back() {
    let bench = Bench::new().with(|settings| settings.shutdown = Duration::from_millis(100));
    let server = bench.start().await;
    let answer = server.call_with(&server.key, "enlarge_image", &[(SANDBOX, "hang")], enlarge("hangs")).await;
    let task = id(&answer.ok());
    server.reached(&task, "running").await;
    let server = server.stop().await.start().await;
    let row = server.reached(&task, "running").await;
    // A run that was handed back does not count.
    assert_eq!(row["attempts"], json!(1));
    server.call("cancel_task", json!({"taskId": task})).await.ok();
}

/// The rows are edited into what a killed process leaves.
#[tokio::test]
async fn runs_of_a_killed_process_are_repeated_up_to_the_limit_of_attempts() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| settings.workers = 1);
    let server = bench.start().await;
    let first = server.submitted("enlarge_image", enlarge("first")).await;
    gate.holds(1).await;
    let second = server.submitted("enlarge_image", enlarge("second")).await;
    gate.open(2);
    server.reached(&second, "succeeded").await;
    let bench = server.stop().await;
    let rows = bench.rows().await;
    // Each was the only run of its process.
    for (task, attempt) in [(&first, 3), (&second, 2)] {
        let killed = format!(
            "UPDATE tasks SET state = 'running', output = NULL, finished_at = NULL, owner = id, attempt = {attempt},
                              crashes_alone = {attempt} - 1 WHERE id = '{task}'"
        );
        assert_eq!(rows.execute(&killed).await, 1);
    }
    drop(rows);
    gate.open(1);
    let server = bench.start().await;
    let reason = server.failed(&first).await;
    assert!(reason.contains("each of 3 attempts"), "{reason}");
    let row = server.reached(&second, "succeeded").await;
    assert_eq!(row["attempts"], json!(3));
}

/// One of them may end the process each time, so they are kept apart before one is called guilty.
#[tokio::test]
async fn tasks_that_ran_when_the_process_died_run_alone_and_first() {
    let gate = Gate::new();
    let bench = Bench::new().engines(vec![gate.clone()]).with(|settings| settings.workers = 4);
    let server = bench.start().await;
    let mut tasks = Vec::new();
    for name in ["one", "two", "three"] {
        tasks.push(server.submitted("enlarge_image", enlarge(name)).await);
    }
    gate.holds(3).await;
    let bench = server.stop().await;
    let killed = format!(
        "UPDATE tasks SET state = 'running', owner = 'dead', run = id, attempt = 9 WHERE id IN ('{}', '{}')",
        tasks[0], tasks[2]
    );
    assert_eq!(bench.rows().await.execute(&killed).await, 2);
    let (server, before) = (bench.start().await, gate.reset());
    assert_eq!(before, 3);
    let suspects = [&tasks[0], &tasks[2]];
    if is_on_postgres() {
        // The dead process is found out while other tasks run. A suspect waits until they have ended, and no other begins.
        gate.holds(1).await;
        let is_claimed = async |task: &String| server.task(task).await["attempts"] == 10;
        until("a suspect is claimed", || async {
            (is_claimed(suspects[0]).await || is_claimed(suspects[1]).await).then_some(())
        })
        .await;
        assert_eq!((gate.inside(), &server.task(&tasks[1]).await["state"]), (1, &json!("running")));
        gate.open(1);
        server.reached(&tasks[1], "succeeded").await;
        for ended in [1, 2] {
            gate.holds(1).await;
            gate.open(1);
            until("one more has succeeded", || async {
                let rows = server.call("list_tasks", json!({"states": ["succeeded"]})).await.ok()["rows"].clone();
                (rows.as_array().unwrap().len() == 1 + ended).then_some(())
            })
            .await;
        }
        for suspect in suspects {
            assert_eq!(server.task(suspect).await["attempts"], json!(10));
        }
        assert_eq!(gate.most(), 1);
        return;
    }
    for suspect in suspects {
        gate.holds(1).await;
        assert_eq!(server.task(suspect).await["state"], json!("running"));
        assert_eq!(server.task(&tasks[1]).await["state"], json!("queued"));
        gate.open(1);
        let row = server.reached(suspect, "succeeded").await;
        assert_eq!(row["attempts"], json!(10));
    }
    gate.open(1);
    server.reached(&tasks[1], "succeeded").await;
    assert_eq!(gate.most(), 1);
}

/// Far longer than a test waits.
fn with_a_long_limit() -> Bench {
    Bench::new().with(|settings| settings.shutdown = Duration::from_secs(3600))
}

#[tokio::test]
async fn half_a_request_does_not_delay_a_stop() {
    let server = with_a_long_limit().start().await;
    let call = server.raw("enlarge_image", &enlarge("half").to_string());
    let head = call.find("\r\n\r\n").unwrap();
    let mut callers = Vec::new();
    // Nothing, parts of the first and of a later head, and parts of a body.
    let whole = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    for sent in [
        "",
        &call[..1],
        &call[..head],
        &call[..head + 4],
        &call[..call.len() - 1],
        &format!("{whole}{}", &call[..head]),
    ] {
        let mut caller = server.connect().await;
        caller.write_all(sent.as_bytes()).await.unwrap();
        callers.push(caller);
    }
    server.busy().await;
    let stopped = tokio::time::timeout(DEADLINE, server.stop()).await;
    let server = stopped.expect("half a request holds the service").start().await;
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
}

#[tokio::test]
async fn callers_who_read_nothing_do_not_delay_a_stop() {
    let server = with_a_long_limit().start().await;
    let _callers = [server.not_reading().await, server.not_reading().await];
    server.busy().await;
    let stopped = tokio::time::timeout(DEADLINE, server.stop()).await;
    stopped.expect("callers who read nothing hold the service");
}

#[tokio::test]
async fn a_receiver_who_does_not_answer_does_not_delay_a_stop() {
    let pushed = Arc::new(Notify::new());
    let arrived = pushed.clone();
    let routes = Router::new().fallback(move || {
        arrived.notify_one();
        std::future::pending::<()>()
    });
    let url = format!("http://{}/done", host(routes).await);
    let bench = with_a_long_limit().with(|settings| settings.callbacks.time = Duration::from_secs(3600));
    let server = bench.start().await;
    server.submitted("enlarge_image", enlarge_with_callback("1", &url)).await;
    tokio::time::timeout(DEADLINE, pushed.notified()).await.unwrap();
    let stopped = tokio::time::timeout(DEADLINE, server.stop()).await;
    // It is pushed again.
    let _server = stopped.expect("a push holds the service").start().await;
    tokio::time::timeout(DEADLINE, pushed.notified()).await.unwrap();
}

/// A task hangs, and the database neither takes it back nor can be closed.
#[tokio::test]
async fn a_stop_ends_within_the_limit_while_the_database_does_not_answer() {
    let server = Bench::new().with(|settings| settings.shutdown = Duration::from_secs(2)).start().await;
    let answer = server.call_with(&server.key, "enlarge_image", &[(SANDBOX, "hang")], enlarge("hangs")).await;
    server.reached(&id(&answer.ok()), "running").await;
    let rows = server.rows().await;
    rows.lock().await;
    let (service, begun) = (server.service.clone(), Instant::now());
    // What it is started from has the database.
    let _bench = server.stop().await;
    service.close().await;
    // The limit, and 3 s for a slow machine. Without a limit, SQLite would wait for the lock for 5 s, and PostgreSQL for 10 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    rows.unlock().await;
}

#[tokio::test]
async fn a_data_directory_has_one_service() {
    let bench = Bench::new();
    let server = bench.clone().start().await;
    match bench.open().await {
        Err(StartError::Occupied(directory)) => assert_eq!(directory, bench.data_dir.path().display().to_string()),
        other => panic!("{other:?}"),
    }
    // Keys can be managed meanwhile, as the command line does.
    let keys = imgopen_service::Keys::new(bench.store().await, bench.clock.clone());
    let second = keys.create("second").await.unwrap();
    server.call_as(&second, "list_tasks", json!({})).await.ok();
    server.stop().await;
    bench.open().await.unwrap();
}

#[tokio::test]
async fn a_waiting_call_is_answered_when_the_service_stops() {
    let bench = Bench::new().with(|settings| settings.shutdown = Duration::from_millis(100));
    let server = bench.start().await;
    let request = json!({"businessTaskId": "1", "mode": 0, "sourcePrompt": "a cat [sandbox: hang]"});
    let keys = server.key.credentials.clone();
    let call = http()
        .post(format!("{}/AIGCImgOpenServ/saas/tool/prompts/expand", server.url))
        .header(imgopen_client::Credentials::ID_HEADER, keys.access_key_id())
        .header(imgopen_client::Credentials::SECRET_HEADER, keys.expose_secret())
        .json(&request)
        .send();
    let stop = async {
        until("the task runs", || async {
            let rows = server.call("list_tasks", json!({"states": ["running"]})).await.ok()["rows"].clone();
            (rows.as_array().unwrap().len() == 1).then_some(())
        })
        .await;
        server.stop().await
    };
    let (answer, bench) = tokio::join!(call, stop);
    let msg = Answer::of(answer.unwrap()).await.refused(503);
    assert!(msg.contains("stopping"), "{msg}");
    bench.open().await.unwrap();
}
