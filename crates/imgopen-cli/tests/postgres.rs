//! The commands of an operator on a database of PostgreSQL: a move into it, keys, processes, an examination.
//!
//! The tests are skipped unless `IMGOPEN_TEST_POSTGRES` is set; `.ci/postgres` sets it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "postgres/connections.rs"]
mod connections;
/// A bucket in this process, which the tests of the service use, too.
#[path = "../../imgopen-service/tests/common/s3.rs"]
mod s3;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::postgres::{Cluster, Database};
use common::program::{Key, Program, imgopen};
use common::rows::{draw, drawn};
use common::until;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;

/// How many pictures a service has made before it moves.
const PICTURES: usize = 12;

/// A data directory with pictures, and an empty database to move into.
struct Move {
    folder: TempDir,
    data: PathBuf,
    key: Key,
    database: Database,
    bucket: s3::Server,
}

impl Move {
    /// Makes pictures with an embedded service, and stops it. `None` if there is no server.
    async fn new() -> Option<Self> {
        let cluster = block_in_place(Cluster::shared)?;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let program = block_in_place(|| Program::serve(&data, &[]));
        let key = block_in_place(|| Key::create(&data));
        let client = key.client(&program.url);
        draw(&client, (0..PICTURES).map(|number| format!("t{number}"))).await;
        assert_eq!(drawn(&client).await.len(), PICTURES);
        block_in_place(|| program.stop());
        let (database, bucket) = (block_in_place(|| cluster.database()), s3::Server::start().await);
        Some(Self { folder, data, key, database, bucket })
    }

    /// A command in the folder, with the address and the key of the bucket.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = imgopen();
        command.current_dir(self.folder.path()).args(arguments);
        command.env("AWS_ACCESS_KEY_ID", s3::KEY.0).env("AWS_SECRET_ACCESS_KEY", s3::KEY.1);
        command
    }

    /// Runs a command, and returns its exit code and what it printed.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = block_in_place(|| self.command(arguments).stdin(Stdio::null()).output().unwrap());
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), text)
    }

    /// The flags that name where the service is moved to.
    fn places(&self) -> Vec<String> {
        let (database, bucket) = (self.database.url(), format!("s3://{}/moved", s3::BUCKET));
        let endpoint = format!("storage.endpoint={}", self.bucket.endpoint);
        ["--database", &database, "--storage", &bucket, "--set", &endpoint].map(str::to_owned).to_vec()
    }

    fn moving(&self, flags: &[&str]) -> (i32, String) {
        let places = self.places();
        let places: Vec<_> = places.iter().map(String::as_str).collect();
        self.run(&[&["move", "--from", "data"], &places[..], flags].concat())
    }

    /// Starts a move that waits for the bucket, and returns it once the database knows of it.
    async fn stuck(&self) -> Child {
        self.bucket.refuse("moved/", s3::Refusal::Silence);
        let mut command = self.command(&["move", "--from", "data"]);
        let child = command.args(self.places()).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let begun = || block_in_place(|| self.database.ask("SELECT count(*) FROM moves"));
        until("the move has begun", async || (begun() == Ok(vec!["1".to_owned()])).then_some(())).await;
        child
    }

    /// Starts a process on the database and the bucket, in another data directory.
    fn shared(&self) -> Program {
        let mut command = self.command(&["serve", "--sandbox", "--listen", "127.0.0.1:0", "--data-dir", "new"]);
        command.args(self.places()).args(["--set", "database.lease=2s"]);
        block_in_place(|| Program::start(command))
    }

    /// Whether all pictures can be fetched from a process.
    async fn serves_all(&self, program: &Program) {
        let urls = drawn(&self.key.client(&program.url)).await;
        assert_eq!(urls.len(), PICTURES);
        for url in urls {
            let picture = reqwest::get(&url).await.unwrap();
            assert_eq!(picture.status(), 200, "{url}");
            assert!(image::load_from_memory(&picture.bytes().await.unwrap()).is_ok(), "{url}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_is_moved_with_all_that_it_has() {
    let Some(moving) = Move::new().await else { return };
    let (code, text) = moving.moving(&["--dry-run", "--json"]);
    assert_eq!(code, 0, "{text}");
    let looked: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&looked["dry_run"], &looked["pictures"]), (&json!(true), &json!(PICTURES)), "{looked}");
    assert!(moving.bucket.objects("moved").is_empty() && !moving.data.join("moving.json").exists());
    assert_eq!(moving.database.ask("SELECT to_regclass('layout') IS NULL"), Ok(vec!["t".to_owned()]));
    let (code, text) = moving.run(&["workers", "list", "--database", &moving.database.url()]);
    assert!(code == 1 && text.contains("it has no tables yet"), "{text}");
    // A bucket that cannot be used shows before anything is moved.
    moving.bucket.refuse("imgopen-probe", s3::Refusal::Status(axum::http::StatusCode::FORBIDDEN, "AccessDenied"));
    let (code, text) = moving.moving(&["--dry-run"]);
    assert!(code == 1 && text.contains("the bucket s3://"), "{text}");
    moving.bucket.accept();
    let (code, text) = moving.moving(&["--json"]);
    assert_eq!(code, 0, "{text}");
    let moved: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&moved["rows"], &moved["pictures"]), (&looked["rows"], &looked["pictures"]), "{moved}");
    // The first start of the embedded service has made a key, too.
    assert_eq!((&moved["rows"]["tasks"], &moved["rows"]["keys"]), (&json!(PICTURES), &json!(2)), "{moved}");
    assert!(!text.contains("secret") && moved["to"].as_str().unwrap().starts_with("postgres://127.0.0.1:"), "{text}");
    assert_eq!(moving.bucket.objects("moved").len(), PICTURES);
    // The directory is barred.
    for arguments in [&["serve", "--data-dir", "data"][..], &["keys", "list", "--data-dir", "data"]] {
        let (code, text) = moving.run(arguments);
        assert!(code == 1 && text.contains("was moved to postgres://127.0.0.1:"), "{text}");
    }
    let (code, text) = moving.moving(&[]);
    assert!(code == 1 && text.contains("was moved to") && text.contains("before"), "{text}");
    let url = moving.database.url();
    let (code, text) = moving.run(&["keys", "list", "--database", &url]);
    assert!(code == 0 && text.contains(&moving.key.id), "{text}");
    // A process goes on with it.
    let program = moving.shared();
    moving.serves_all(&program).await;
    let (code, text) = moving.run(&["workers", "list", "--database", &url, "--json"]);
    let workers: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, workers.as_array().map(Vec::len)), (0, Some(1)), "{text}");
    assert_eq!((&workers[0]["role"], &workers[0]["state"]), (&json!("all"), &json!("active")), "{text}");
    assert_eq!((&workers[0]["tasks"], &workers[0]["running"]), (&json!(0), &json!([])), "{text}");
    let places = moving.places();
    let places: Vec<_> = places.iter().map(String::as_str).collect();
    let (_, text) = moving.run(&[&["doctor"], &places[..]].concat());
    for check in ["database", "clock", "processes", "bucket", "pictures"] {
        assert!(text.lines().any(|line| line.split_whitespace().eq([check, "ok"])), "{text}");
    }
    block_in_place(|| program.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_move_that_is_killed_leaves_the_source_usable_and_is_resumed() {
    let Some(moving) = Move::new().await else { return };
    let mut child = moving.stuck().await;
    child.kill().unwrap();
    child.wait().unwrap();
    moving.bucket.accept();
    // Nothing else opens the target, and the source is as it was.
    let url = moving.database.url();
    let (code, text) = moving.run(&["keys", "list", "--database", &url]);
    assert!(code == 1 && text.contains("a move from") && text.contains("is not complete"), "{text}");
    let (code, text) = moving.run(&["keys", "list", "--data-dir", "data"]);
    assert!(code == 0 && text.contains(&moving.key.id), "{text}");
    let (code, text) = moving.moving(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("{PICTURES} pictures of ")) && text.contains("No service starts in data"), "{text}");
    let program = moving.shared();
    moving.serves_all(&program).await;
    block_in_place(|| program.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_goes_on_ends_a_move_that_was_killed() {
    let Some(moving) = Move::new().await else { return };
    let mut child = moving.stuck().await;
    // While it moves, nobody writes into the source.
    let (code, text) = moving.run(&["keys", "create", "--data-dir", "data"]);
    assert!(code == 1 && text.contains("it is being moved to another database"), "{text}");
    let (code, text) = moving.run(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"]);
    assert!(code == 1 && text.contains("another service runs in the data directory"), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
    moving.bucket.accept();
    let program = block_in_place(|| Program::serve(&moving.data, &[]));
    moving.serves_all(&program).await;
    block_in_place(|| program.stop());
    // What has arrived is outdated.
    let (code, text) = moving.moving(&[]);
    assert!(code == 1 && text.contains("another move from") && text.contains("dropdb"), "{text}");
}
