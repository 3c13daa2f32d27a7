//! Opening a data directory of an earlier version: see `upgrade/README.md`.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::routing::get;
use imgopen_client::Credentials;
use imgopen_service::store::SqliteStore;
use imgopen_service::{IDEMPOTENCY_KEY, KeyId, KeyRow, Moment, NewKey, SANDBOX};
use serde_json::{Value, json};

use crate::common::engines::dot_picture;
use crate::common::web::{Receiver, host};
use crate::common::{Bench, enlarge_with_callback, id, is_left_out_on_postgres};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("upgrade")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The key of the fixture.
fn key(made: &Value) -> NewKey {
    let text = |name: &str| made["key"][name].as_str().unwrap().to_owned();
    let row = KeyRow {
        id: KeyId(text("access_key_id")),
        name: "upgrade".to_owned(),
        secret_hash: Vec::new(),
        signing_secret: text("signing_secret"),
        previous_secrets: Vec::new(),
        created_at: Moment(0),
        revoked_at: None,
    };
    let credentials = Credentials::new(text("access_key_id"), text("access_key_secret"));
    NewKey { credentials, signing_secret: text("signing_secret"), row }
}

/// Copies the fixture into a directory, with these addresses of its picture host and its receiver.
fn fill(directory: &Path, pictures: &str, receiver: &str, made: &Value) {
    for name in ["assets", "datasets"] {
        copy(&fixture().join(name), &directory.join(name));
    }
    let old = made["host"].as_str().unwrap();
    let dump = std::fs::read_to_string(fixture().join("dump.sql")).unwrap();
    let dump = dump.replace(&format!("{old}/enlarge_image"), receiver).replace(old, pictures);
    let connection = rusqlite::Connection::open(directory.join(SqliteStore::FILE)).unwrap();
    // A dump has its tables in the order of their names, so that a row may refer to a table that comes later.
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(&dump).unwrap();
}

#[tokio::test]
async fn a_data_directory_of_the_previous_layout_is_migrated() {
    if is_left_out_on_postgres("its layouts have numbers of their own") {
        return;
    }
    let made: Value = serde_json::from_str(&std::fs::read_to_string(fixture().join("made.json")).unwrap()).unwrap();
    let name = |field: &str| made[field].as_str().unwrap().to_owned();
    let (receiver, url) = Receiver::answering(&[]).await;
    let routes = Router::new().route("/{number}", get(|| async { dot_picture().bytes }));
    let pictures = format!("http://{}", host(routes).await);
    // After the next delivery attempt became due.
    let bench = Bench::new().with_key(key(&made)).at("2026-11-29T00:00:00Z");
    fill(bench.data_dir.path(), &pictures, &url, &made);
    let server = bench.start().await;

    // Ended tasks are unchanged.
    let succeeded = server.reached(&name("succeeded"), "succeeded").await;
    let picture = succeeded["outputImageUrlList"][0].as_str().unwrap();
    assert_eq!(server.get(picture).send().await.unwrap().status(), 200);
    assert!(server.failed(&name("pushed")).await.contains("out of paper"));
    let cancelled = server.reached(&name("cancelled"), "cancelled").await;
    assert_eq!(cancelled["attempts"], 1);

    // Running tasks run again and queued ones run, each in the sandbox, as their directives say.
    for task in made["running"].as_array().unwrap() {
        let row = server.reached(task.as_str().unwrap(), "succeeded").await;
        assert_eq!((&row["attempts"], &row["engine"]), (&json!(2), &json!("sandbox")));
    }
    for task in made["queued"].as_array().unwrap() {
        let row = server.reached(task.as_str().unwrap(), "succeeded").await;
        assert_eq!(row["attempts"], 1);
    }

    // The callback continues at its rung.
    let callback = server.pushed(&name("pushed"), "acknowledged").await;
    let tries: Vec<_> =
        callback["tries"].as_array().unwrap().iter().map(|one| one["number"].as_i64().unwrap()).collect();
    assert_eq!(tries, [1, 2, 3, 4]);
    assert_eq!(receiver.pushes().len(), 1);

    // Trainings keep their plans; the queued one is laid out by its plan.
    for (field, end) in [("trained", "failed"), ("waiting", "failed")] {
        let row = server.reached(&name(field), end).await;
        let directory = format!("datasets/{}", name(field));
        assert_eq!(row["training"]["folder"], directory, "{row}");
        assert_eq!(row["training"]["command"][1], "launch");
        assert!(server.data_dir().join(&directory).join("train.sh").is_file());
    }

    // A repeated submit finds the earlier task.
    let headers = [(SANDBOX, "fail=out of paper"), (IDEMPOTENCY_KEY, "the-same")];
    let again = server.call_with(&server.key, "enlarge_image", &headers, enlarge_with_callback("pushed", &url)).await;
    assert_eq!(id(&again.ok()), name("pushed"));
    let rows = server.call("list_tasks", json!({"callerId": "pushed"})).await.ok()["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 1);
}
