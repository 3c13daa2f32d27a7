//! The data directory is deleted, replaced or open to others, or files are missing from it.

use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;

use super::*;
use common::rows::{draw, drawn};
use common::shell::files;

/// Makes pictures with a running service, and returns it with its key and the URLs of the pictures.
async fn with_pictures(folder: &Path, count: usize) -> (Program, Key, Vec<String>) {
    let program = start(serve(folder), None, &[]);
    let key = key(folder);
    let client = key.client(&program.url);
    draw(&client, (0..count).map(|number| format!("t{number}"))).await;
    let urls = drawn(&client).await;
    assert_eq!(urls.len(), count);
    (program, key, urls)
}

/// Submits, at once so that the database is read by more connections than were open before, and expects to be asked to wait.
async fn are_refused(key: &Key, program: &Program) {
    let http = reqwest::Client::new();
    let submits = (0..40).map(|number| {
        let (http, url) = (&http, &program.url);
        async move {
            let request = drawing(&format!("lost{number}"), "delay=1ms");
            post(http, (key, url), operation(&request), &[], &request).await.unwrap()
        }
    });
    for answer in join_all(submits).await {
        assert!(answer.asks_to_wait(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_into_a_deleted_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (program, key, _) = with_pictures(&data, 1).await;
    std::fs::remove_dir_all(&data).unwrap();
    are_refused(&key, &program).await;
    unready(&program).await;
    let database = data.join("imgopen.sqlite3").display().to_string();
    let is_logged = || program.log().lines().any(|line| line.contains(&database) && line.contains("imgopen restore"));
    until("the log says what to do", async || is_logged().then_some(())).await;
    assert!(!data.join("imgopen.sqlite3").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_into_a_replaced_database() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let (program, key, _) = with_pictures(&data, 1).await;
    with_pictures(&other, 1).await.0.stop();
    let moved = data.join("moved");
    std::fs::rename(data.join("imgopen.sqlite3"), &moved).unwrap();
    std::fs::copy(other.join("imgopen.sqlite3"), data.join("imgopen.sqlite3")).unwrap();
    are_refused(&key, &program).await;
    unready(&program).await;
    // Once it is put back, all goes on.
    std::fs::rename(&moved, data.join("imgopen.sqlite3")).unwrap();
    ready(&program).await;
    let client = key.client(&program.url);
    submit(&client, &drawing("after", "delay=1ms")).await;
    assert_eq!(ended(&client, "after").await["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_others_can_read_is_closed_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (program, _, _) = with_pictures(&data, 1).await;
    let log = block_in_place(|| program.stop());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in files(&data) {
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
    assert!(log.contains("other users could read the data directory"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_whose_file_is_lost_or_cut_is_reported_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (program, key, urls) = with_pictures(folder.path(), 2).await;
    let name = |url: &str| url.rsplit_once('/').unwrap().1.to_owned();
    let file = |url: &str| {
        let files = files(&folder.path().join("assets"));
        files.into_iter().find(|file| file.ends_with(name(url))).unwrap()
    };
    std::fs::remove_file(file(&urls[0])).unwrap();
    std::fs::write(file(&urls[1]), "cut").unwrap();
    let http = reqwest::Client::new();
    let lost = get(&http, &urls[0]).await.unwrap();
    assert_eq!((lost.status.as_u16(), &lost.body["code"]), (410, &json!("410")), "{lost:?}");
    // An error before the first byte, not a picture that ends too soon.
    let cut = get(&http, &urls[1]).await.unwrap();
    assert_eq!(cut.status, 500, "{cut:?}");
    // The service goes on.
    submit(&key.client(&program.url), &drawing("after", "delay=1ms")).await;
    assert_eq!(ended(&key.client(&program.url), "after").await["state"], "succeeded");
}
