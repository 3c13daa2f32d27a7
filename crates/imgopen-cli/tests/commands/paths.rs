//! Names of files and directories that are not UTF-8.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::common::program::{Key, Program};
use crate::common::shell::Shell;
use crate::{command, transcript};

/// `café` in Latin-1.
fn name(ending: &str) -> Vec<u8> {
    [b"caf\xe9", ending.as_bytes()].concat()
}

#[test]
fn pictures_may_have_any_name() {
    let shell = Shell::open();
    let (small, large) = (name(".png"), name("-large.png"));
    let (small, large) = (OsStr::from_bytes(&small), OsStr::from_bytes(&large));
    shell.picture("small.png");
    fs::rename(shell.folder().join("small.png"), shell.folder().join(small)).unwrap();
    let run = ["run", "enlarge_image", "--scale", "2", "--source-image"];
    let output = shell.command(&run).arg(small).arg("--output").arg(large).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    assert_eq!(image::open(shell.folder().join(large)).unwrap().to_rgb8().dimensions(), (120, 82));
    // In one word, and in a directory with such a name.
    let results = name("");
    let mut word = b"--source-image=".to_vec();
    word.extend_from_slice(small.as_bytes());
    let mut run = shell.command(&run[..4]);
    let output = run.arg(OsStr::from_bytes(&word)).arg("--output").arg(OsStr::from_bytes(&results)).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    assert_eq!(fs::read_dir(shell.folder().join(OsStr::from_bytes(&results))).unwrap().count(), 1);
    // As a URL in JSON.
    let request = json!({ "sourceImage": "file:caf%E9.png", "scale": 2, "businessTaskId": "json" });
    fs::write(shell.folder().join("request.json"), request.to_string()).unwrap();
    let (code, outcome) = shell.json(&["run", "enlarge_image", "--request", "request.json", "--output", "json.png"]);
    assert_eq!((code, &outcome["state"]), (0, &json!("succeeded")), "{outcome}");
    let missing = OsStr::from_bytes(b"nowhere\xff.png");
    let text = transcript(
        &shell.command(&["run", "enlarge_image", "--scale=2", "--source-image"]).arg(missing).output().unwrap(),
    );
    assert!(text.contains("--source-image: \"file:nowhere%FF.png\" is neither an existing file"), "{text}");
}

#[test]
fn a_data_directory_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = name("-data");
    let data = folder.path().join(OsStr::from_bytes(&name));
    let key = Key::create(&data);
    let made: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(made, std::slice::from_ref(&data));
    let list = |by_variable: bool| {
        let mut list = command(folder.path(), &["keys", "list", "--json"]);
        match by_variable {
            true => list.env("IMGOPEN_SERVE_DATA_DIR", &data),
            false => list.arg("--data-dir").arg(&data),
        };
        let output = list.output().unwrap();
        let keys: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", transcript(&output)));
        keys[0]["access_key_id"].clone()
    };
    assert_eq!((list(false), list(true)), (json!(key.id), json!(key.id)));
    let mut doctor = command(folder.path(), &["doctor", "--json", "--data-dir"]);
    let output = doctor.arg(&data).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", transcript(&output)));
    assert!(report["data_dir"].as_str().unwrap().ends_with("/caf\u{fffd}-data"), "{report}");
    let mut backup = command(folder.path(), &["backup", "--json"]);
    let target = folder.path().join(OsStr::from_bytes(b"backup\xff"));
    let output = backup.arg(&target).arg("--data-dir").arg(&data).output().unwrap();
    assert!(output.status.success() && target.is_dir(), "{}", transcript(&output));
    Program::serve(&data, &[]).stop();
    assert!(data.join("assets").is_dir());
}

/// Everything else must be text, and the message says what is not.
#[test]
fn an_argument_that_must_be_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bad = name("");
    let bad = OsStr::from_bytes(&bad);
    let flag = ["run", "text_to_image", "--batch-size", "1", "--prompt"];
    for (arguments, named) in [
        (&flag[..], "'--prompt caf\u{fffd}'"),
        (&["tasks", "show"], "'caf\u{fffd}'"),
        (&["serve", "--public-url"], "'--public-url caf\u{fffd}'"),
        (&["run"], "'caf\u{fffd}'"),
    ] {
        let output = command(folder.path(), arguments).arg(bad).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(&named[1..named.len() - 1]), "{errors}");
    }
    let output = command(folder.path(), &flag).arg(bad).arg("--json").output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = printed["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("not UTF-8: '--prompt caf\u{fffd}'; "), "{message}");
    // The name of a file may be anything, but the error does not say which of the two was meant.
    let output = command(folder.path(), &flag).arg(bad).arg("--output").arg(bad).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("not UTF-8: one of '--prompt caf\u{fffd}', '--output caf\u{fffd}'; "), "{errors}");
    let mut list = command(folder.path(), &["tasks", "list"]);
    let text = transcript(&list.env("IMGOPEN_BASE_URL", bad).output().unwrap());
    assert!(text.starts_with("ends with 2\nerrors:\nerror: not UTF-8: the variable IMGOPEN_BASE_URL; "), "{text}");
    let mut list = command(folder.path(), &["tasks", "list", "--access-key-id", "ak_1"]);
    let text = transcript(&list.env("IMGOPEN_ACCESS_KEY_SECRET", bad).output().unwrap());
    let expected = "the variable IMGOPEN_ACCESS_KEY_SECRET is not UTF-8; copy the secret again\n";
    assert_eq!(text, format!("ends with 2\nerrors:\nimgopen: {expected}"));
}
