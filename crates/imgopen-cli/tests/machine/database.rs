//! The database is locked, damaged or large.

use std::time::Duration;

use super::*;
use rusqlite::Connection;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_process_locks_the_database_callers_are_asked_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(serve(folder.path()), None, &[]);
    let client = key.client(&program.url);
    submit(&client, &drawing("before", "delay=1ms")).await;
    assert_eq!(ended(&client, "before").await["state"], "succeeded");
    let lock = Connection::open(folder.path().join("imgopen.sqlite3")).unwrap();
    lock.busy_timeout(Duration::from_secs(60)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (url, http) = (program.url.clone(), reqwest::Client::new());
    let submits: Vec<_> = (0..8)
        .map(|number| {
            let (key, url, http) = (key.clone(), url.clone(), http.clone());
            let request = drawing(&format!("during{number}"), "delay=1ms");
            tokio::spawn(async move { post(&http, (&key, &url), operation(&request), &[], &request).await.unwrap() })
        })
        .collect();
    unready(&program).await;
    for submit in submits {
        let answer = submit.await.unwrap();
        assert!(answer.asks_to_wait(), "{answer:?}");
    }
    lock.execute_batch("ROLLBACK").unwrap();
    ready(&program).await;
    submit(&client, &drawing("after", "delay=1ms")).await;
    assert_eq!(ended(&client, "after").await["state"], "succeeded");
    assert_eq!(failures(&client).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_is_reported_with_the_way_out() {
    for damage in ["a text in its place", "a damaged page"] {
        let folder = tempfile::tempdir().unwrap();
        let key = key(folder.path());
        let program = start(serve(folder.path()), None, &[]);
        common::rows::draw(&key.client(&program.url), (0..4).map(|number| format!("t{number}"))).await;
        common::rows::drawn(&key.client(&program.url)).await;
        block_in_place(|| program.stop());
        let path = folder.path().join("imgopen.sqlite3");
        // Whatever is still in the log is moved into the database.
        Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        match damage {
            "a damaged page" => bytes[100..500].fill(0x5a),
            _ => bytes = "not a database\n".repeat(1000).into_bytes(),
        }
        std::fs::write(&path, bytes).unwrap();
        let output = serve(folder.path()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{damage}: {errors}");
        assert!(errors.contains(&path.display().to_string()), "{damage}: {errors}");
        assert!(errors.contains("restore a backup") && errors.contains(".recover"), "{damage}: {errors}");
    }
}

/// What the rows add up to is known without reading them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_reads_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(serve(folder.path()), None, &[]);
    let client = key.client(&program.url);
    submit(&client, &drawing("t", "delay=1ms")).await;
    assert_eq!(ended(&client, "t").await["state"], "succeeded");
    let stored = async || {
        let text = reqwest::get(format!("{}/metrics", program.url)).await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix("imgopen_assets_bytes ")?.parse::<u64>().ok()).unwrap()
    };
    let before = stored().await;
    assert!(before > 0);
    // A row that nothing counts, so that only a sum over all rows can see it.
    let rows = Connection::open(folder.path().join("imgopen.sqlite3")).unwrap();
    rows.busy_timeout(Duration::from_secs(60)).unwrap();
    rows.execute_batch("DROP TRIGGER IF EXISTS asset_added").unwrap();
    let columns = "token, task_id, media_type, bytes, created_at";
    let sql =
        format!("INSERT INTO assets ({columns}) SELECT 'x', task_id, media_type, 1000000, created_at FROM assets");
    assert_eq!(rows.execute(&sql, []).unwrap(), 1);
    assert_eq!(stored().await, before);
}
