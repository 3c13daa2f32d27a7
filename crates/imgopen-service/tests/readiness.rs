//! Whether the service can accept and finish a task now, and what callers are answered when it cannot.

use std::time::{Duration, Instant};

use imgopen_service::IDEMPOTENCY_KEY;
use serde_json::json;

use crate::common::{Answer, Bench, Server, enlarge, id, is_left_out_on_postgres, is_on_postgres, until};

async fn readiness(server: &Server) -> Answer {
    Answer::of(server.get("/readyz").send().await.unwrap()).await
}

/// Returns the message of an answer that callers may repeat, which has no path of the server.
#[track_caller]
fn passing(server: &Server, answer: Answer) -> String {
    let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    let msg = answer.refused(503);
    assert!(!msg.contains(&server.data_dir().display().to_string()) && msg.contains("try again later"), "{msg}");
    msg
}

/// Waits until the service is not ready. A result may be a second old.
async fn unready(server: &Server) -> String {
    let answer = until("it is not ready", || async {
        let answer = readiness(server).await;
        (answer.status != 200).then_some(answer)
    });
    passing(server, answer.await)
}

async fn ready(server: &Server) {
    until("it is ready", || async { (readiness(server).await.status == 200).then_some(()) }).await;
}

/// On PostgreSQL, only its pictures are gone, for which tasks wait.
#[tokio::test]
async fn a_data_directory_that_is_gone_takes_no_tasks() {
    let server = Bench::new().start().await;
    let before = server.submitted("enlarge_image", enlarge("before")).await;
    server.reached(&before, "succeeded").await;
    ready(&server).await;
    let aside = tempfile::tempdir().unwrap();
    let moved = aside.path().join("moved");
    std::fs::rename(server.data_dir(), &moved).unwrap();
    let mut during = Vec::new();
    for number in 0..5 {
        let answer = server.call("enlarge_image", enlarge(&number.to_string())).await;
        if is_on_postgres() {
            during.push(id(&answer.ok()));
            continue;
        }
        let msg = passing(&server, answer);
        assert!(msg.contains("database"), "{msg}");
    }
    let msg = unready(&server).await;
    match is_on_postgres() {
        // By the tasks that wait for the directory.
        true => assert!(msg.contains("no task can run that makes pictures") || msg.contains("no picture"), "{msg}"),
        false => assert!(msg.contains("no picture can be written") && msg.contains("database"), "{msg}"),
    }
    // It is not made again, and what was put back is used again.
    assert!(!server.data_dir().exists());
    std::fs::rename(&moved, server.data_dir()).unwrap();
    ready(&server).await;
    let task = server.submitted("enlarge_image", enlarge("after")).await;
    server.reached(&task, "succeeded").await;
    for task in &during {
        assert_eq!(server.reached(task, "succeeded").await["attempts"], 1);
    }
    let rows = server.call("list_tasks", json!({})).await.ok()["rows"].as_array().unwrap().len();
    assert_eq!(rows, 2 + during.len());
}

#[tokio::test]
async fn a_foreign_lock_holds_nobody_longer_than_one_wait() {
    if is_left_out_on_postgres("no other program locks it as a whole") {
        return;
    }
    let server = Bench::new().start().await;
    ready(&server).await;
    let rows = server.rows().await;
    rows.lock().await;
    let begun = Instant::now();
    let requests: Vec<_> = (0..12).map(|number| enlarge(&number.to_string())).collect();
    let submits = futures_util::future::join_all(requests.into_iter().map(|body| server.call("enlarge_image", body)));
    let (answers, msg) = tokio::join!(submits, unready(&server));
    // One after the other, they would wait a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for answer in answers {
        assert!(passing(&server, answer).contains("locked by another process"));
    }
    assert!(msg.contains("does not answer") || msg.contains("locked by another process"), "{msg}");
    // Reading goes on.
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
    rows.unlock().await;
    ready(&server).await;
    server.submitted("enlarge_image", enlarge("after")).await;
}

#[tokio::test]
async fn a_disk_without_its_reserve_takes_no_new_tasks() {
    let server = Bench::new().start().await;
    let headers = [(IDEMPOTENCY_KEY, "the-same")];
    let first = server.call_with(&server.key, "enlarge_image", &headers, enlarge("1")).await.ok();
    server.reached(&id(&first), "succeeded").await;
    let bench = server.stop().await.with(|settings| settings.disk.reserve = Some(u64::MAX));
    let server = bench.start().await;
    let msg = passing(&server, server.call("enlarge_image", enlarge("2")).await);
    assert!(msg.contains("nearly full"), "{msg}");
    assert!(unready(&server).await.contains("nearly full"));
    // A repeated submit, queries and cancels need no room.
    let again = server.call_with(&server.key, "enlarge_image", &headers, enlarge("1")).await.ok();
    assert_eq!(id(&again), id(&first));
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"].as_array().unwrap().len(), 1);
    let bench = server.stop().await.with(|settings| settings.disk.reserve = Some(0));
    let server = bench.start().await;
    ready(&server).await;
    server.submitted("enlarge_image", enlarge("2")).await;
}

/// As when a disk of pictures is not mounted: their directory is there, and empty.
#[tokio::test]
async fn a_disk_of_pictures_that_is_away_loses_nothing() {
    let server = Bench::new().start().await;
    let before = server.submitted("enlarge_image", enlarge("before")).await;
    let row = server.reached(&before, "succeeded").await;
    let url = row["outputImageUrlList"][0].as_str().unwrap().to_owned();
    ready(&server).await;
    let (assets, disk) = (server.data_dir().join("assets"), server.data_dir().join("disk"));
    std::fs::rename(&assets, &disk).unwrap();
    std::fs::create_dir(&assets).unwrap();
    assert!(unready(&server).await.contains("their disk is away"));
    passing(&server, Answer::of(server.get(&url).send().await.unwrap()).await);
    let during = server.submitted("enlarge_image", enlarge("during")).await;
    // A start without it does not take the empty directory for its own.
    let bench = server.stop().await;
    let comes_back = || {
        // It holds nothing, or this would fail.
        std::fs::remove_dir(&assets).unwrap();
        std::fs::rename(&disk, &assets).unwrap();
    };
    let server = if is_on_postgres() {
        // What one of several processes makes would be lost for the others, so it does not start.
        let error = bench.open().await.unwrap_err().to_string();
        assert!(error.contains("has no pictures and no mark"), "{error}");
        comes_back();
        bench.start().await
    } else {
        let server = bench.start().await;
        assert!(unready(&server).await.contains("their disk is away"));
        comes_back();
        server
    };
    ready(&server).await;
    assert_eq!(server.reached(&during, "succeeded").await["attempts"], 1);
    let path = format!("/assets/{}", url.rsplit('/').next().unwrap());
    assert_eq!(server.get(&path).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_directory_that_takes_no_pictures_is_not_ready() {
    let server = Bench::new().start().await;
    ready(&server).await;
    let assets = server.data_dir().join("assets");
    let mut names = std::fs::read_dir(&assets).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mark = names.find(|name| name.starts_with(".imgopen-")).unwrap();
    std::fs::remove_dir_all(&assets).unwrap();
    std::fs::write(&assets, "in the way").unwrap();
    assert!(unready(&server).await.contains("no picture can be written"));
    // It starts nevertheless: what needs no pictures can be done.
    let server = server.stop().await.start().await;
    assert!(unready(&server).await.contains("no picture can be written"));
    std::fs::remove_file(&assets).unwrap();
    if is_on_postgres() {
        // Other processes may have pictures in another directory, so none is made unless an operator says so.
        until("it is missing", || async { unready(&server).await.contains("their disk is away").then_some(()) }).await;
        assert!(!assets.exists());
        std::fs::create_dir_all(assets.join(mark.replace(".imgopen-", ".imgopen-adopt-"))).unwrap();
    }
    ready(&server).await;
    assert!(assets.is_dir());
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_not_ready() {
    let server = Bench::new().start().await;
    ready(&server).await;
    let (before, problem) = match is_on_postgres() {
        true => ("", "the database rejects the service"),
        false => ("PRAGMA wal_checkpoint(TRUNCATE);", "the database failed"),
    };
    server.rows().await.execute(&format!("{before} DROP TABLE notes")).await;
    let answer = until("it is not ready", || async {
        let answer = readiness(&server).await;
        (answer.status != 200).then_some(answer)
    });
    let msg = passing(&server, answer.await);
    assert!(msg.contains(problem), "{msg}");
}
