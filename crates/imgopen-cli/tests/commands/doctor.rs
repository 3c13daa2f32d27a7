//! `imgopen doctor`: what it finds, and its exit code.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::program::{Key, Program};
use crate::common::rows::{draw, drawn};
use crate::common::shell::files;
use crate::{command, run};

/// Makes a data directory with pictures.
async fn with_pictures(folder: &Path, count: usize) -> PathBuf {
    let data = folder.join("imgopen-data");
    let program = Program::serve(&data, &[]);
    let key = Key::create(&data);
    let client = key.client(&program.url);
    draw(&client, (0..count).map(|number| format!("t{number}"))).await;
    drawn(&client).await;
    program.stop();
    data
}

/// Returns the exit code and the findings.
fn examined(folder: &Path, flags: &[&str]) -> (i32, Value) {
    let output = command(folder, &[&["doctor", "--json"], flags].concat()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_data_directory_has_no_findings() {
    let folder = tempfile::tempdir().unwrap();
    let data = with_pictures(folder.path(), 2).await;
    for is_running in [false, true] {
        let program = is_running.then(|| Program::serve(&data, &[]));
        let (code, report) = examined(folder.path(), &[]);
        assert_eq!((code, &report["findings"]), (0, &json!([])), "{report}");
        assert_eq!((&report["pictures"]["rows"], &report["pictures"]["unknown"]), (&json!(2), &json!([])));
        let text = run(folder.path(), &["doctor"]);
        assert!(text.starts_with("ends with 0\n") && text.contains("\npictures         ok\n"), "{text}");
        drop(program);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mount_point_of_a_disk_that_is_away_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = with_pictures(folder.path(), 2).await;
    std::fs::rename(data.join("assets"), data.join("disk")).unwrap();
    std::fs::create_dir(data.join("assets")).unwrap();
    let (code, report) = examined(folder.path(), &[]);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!((code, findings.len()), (1, 2), "{report}");
    let unmarked = &findings[1];
    assert!(unmarked["problem"].as_str().unwrap().contains("lacks the mark `.imgopen-"), "{report}");
    let fix = unmarked["fix"].as_str().unwrap();
    // What the advice makes, the next start takes.
    let adopt = fix.split("`mkdir -p ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    std::fs::create_dir(folder.path().join(adopt)).unwrap();
    let (_, report) = examined(folder.path(), &[]);
    assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report}");
    Program::serve(&data, &[]).stop();
    assert!(!folder.path().join(adopt).exists());
    // It has a new number, so that the disk is not taken for it.
    std::fs::rename(data.join("assets"), data.join("adopted")).unwrap();
    std::fs::rename(data.join("disk"), data.join("assets")).unwrap();
    let (_, report) = examined(folder.path(), &[]);
    assert!(report["findings"].to_string().contains("lacks the mark"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_damaged_and_unknown_pictures_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = with_pictures(folder.path(), 3).await;
    let pictures = files(&data.join("assets"));
    let name = |index: usize| pictures[index].file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::remove_file(&pictures[0]).unwrap();
    std::fs::write(&pictures[1], "cut").unwrap();
    let unknown = format!("{}.png", "0a".repeat(32));
    std::fs::create_dir_all(data.join("assets/0a")).unwrap();
    std::fs::write(data.join("assets/0a").join(&unknown), "12345").unwrap();
    let (code, report) = examined(folder.path(), &[]);
    assert_eq!((code, report["findings"].as_array().unwrap().len()), (1, 3), "{report}");
    let found = &report["pictures"];
    assert_eq!((&found["missing"], &found["damaged"]), (&json!([name(0)]), &json!([name(1)])), "{report}");
    assert_eq!((&found["unknown"], &found["unknown_bytes"]), (&json!([unknown]), &json!(5)), "{report}");
    for finding in report["findings"].as_array().unwrap() {
        assert!(finding["check"] == "pictures" && finding["fix"].as_str().unwrap().contains("--json"), "{finding}");
    }
    let text = run(folder.path(), &["doctor"]);
    assert!(text.starts_with("ends with 1\n") && text.contains("imgopen: 3 things are wrong"), "{text}");
    assert!(text.contains("the files of 1 of 3 pictures are missing") && text.contains("fix: copy them"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_settings_disk_and_clock_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = with_pictures(folder.path(), 1).await;
    let problem = |flags: &[&str], check: &str| {
        let (code, report) = examined(folder.path(), flags);
        assert_eq!(code, 1, "{report}");
        let findings = report["findings"].as_array().unwrap().clone();
        let found = findings.into_iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("nothing about {check} in {report}"))["problem"].as_str().unwrap().to_owned()
    };
    assert!(problem(&["--listen", "0.0.0.0:8080"], "settings").contains("`public_url`"));
    assert!(problem(&["--set", "attempts=0"], "settings").contains("`attempts`"));
    let most = u64::MAX / 2;
    assert!(problem(&["--set", &format!("disk.reserve={most}")], "disk").contains("bytes left"));
    assert!(problem(&["--data-dir", "nowhere"], "data directory").contains("nowhere"));
    let rows = rusqlite::Connection::open(data.join("imgopen.sqlite3")).unwrap();
    rows.execute("UPDATE tasks SET created_at = 4102444800000", []).unwrap();
    drop(rows);
    assert!(problem(&[], "clock").contains("2100-01-01"));
    let mut bytes = std::fs::read(data.join("imgopen.sqlite3")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    std::fs::write(data.join("imgopen.sqlite3"), bytes).unwrap();
    assert!(problem(&[], "database").contains("damaged"));
    let output = command(folder.path(), &["doctor", "--set", "queue.lenght=5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_others_can_read_is_found_and_closed_by_the_service() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let data = with_pictures(folder.path(), 1).await;
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, report) = examined(folder.path(), &[]);
    assert_eq!((code, &report["findings"][0]["check"]), (1, &json!("data directory")), "{report}");
    assert!(report["findings"][0]["fix"].as_str().unwrap().contains("chmod 700"));
    let log = Program::serve(&data, &[]).stop();
    assert!(log.contains("other users could read the data directory") && log.contains("0755"), "{log}");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    // Files that are made from now on cannot be read by others either, even if the directory is opened to them.
    assert_eq!(mode(&data.join("last-task")), 0o600);
    assert_eq!(examined(folder.path(), &[]).0, 0);
    assert!(!Program::serve(&data, &[]).stop().contains("other users"));
}
