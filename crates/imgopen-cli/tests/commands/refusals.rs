//! What is refused: with which words, and with which code.

use std::net::TcpListener;

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::program::Program;
use crate::{command, redacted, run, told};

/// A command line that is wrong ends with 2, and says what would be right.
#[test]
fn a_wrong_command_line_is_told_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("wrong_flag", &["serve", "--sandbx"][..]),
        ("wrong_command", &["key", "list"]),
        ("wrong_address", &["serve", "--listen", "8080"]),
        ("wrong_network", &["serve", "--allow-network", "10.0.0.0/99"]),
        ("wrong_log", &["serve", "--log", "xml"]),
        ("wrong_state", &["callbacks", "list", "--state", "lost"]),
        ("no_id", &["keys", "revoke"]),
    ] {
        let told = run(folder.path(), arguments);
        assert!(told.starts_with("ends with 2\nerrors:\n"), "{told}");
        assert_snapshot!(name, told);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a wrong command line leaves something behind");
}

/// Programs are told in JSON that a command line is wrong, as they are told of everything else.
#[test]
fn a_wrong_command_line_is_told_in_json() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, right) in [
        (&["task", "list", "--jsn", "--json"][..], "'--json'"),
        (&["run", "enlarge_image", "--json", "--sourc-image", "x"], "'--source-image'"),
        (&["run", "enlarge_image", "--json=request.json", "--scal", "2"], "'--scale'"),
        (&["keys", "revoke", "--json"], "<ID>"),
    ] {
        let output = command(folder.path(), arguments).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &told["error"]["exit_code"]), (Some(2), &Value::from(2)));
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains(right) && !message.starts_with("error"), "{message}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{output:?}");
    }
    // Help that is asked for is no failure, and what is not asked for is not printed.
    assert!(run(folder.path(), &["task", "list", "--help", "--json"]).starts_with("ends with 0\nList"));
    assert!(run(folder.path(), &["task", "list", "--jsn"]).starts_with("ends with 2\nerrors:\n"));
}

/// A setting that cannot stand ends with 2, and is named with the place that it comes from.
#[test]
fn a_wrong_setting_is_named_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("typo.toml"), "[queue]\nlenght = 5\n").unwrap();
    std::fs::write(folder.path().join("kind.toml"), "workers = \"many\"\n").unwrap();
    std::fs::write(folder.path().join("broken.toml"), "[queue\n").unwrap();
    for (name, arguments) in [
        ("unknown_setting", &["--set", "queue.lenght=5"][..]),
        ("unknown_setting_in_file", &["--config", "typo.toml"]),
        ("setting_of_a_wrong_kind", &["--set", "queue.length=many"]),
        ("setting_of_a_wrong_kind_in_file", &["--config", "kind.toml"]),
        ("setting_without_value", &["--set", "sandbox"]),
        ("setting_that_cannot_stand", &["--workers", "0"]),
        ("wrong_duration", &["--set", "shutdown=soon"]),
        ("no_such_file", &["--config", "nowhere.toml"]),
        ("no_toml", &["--config", "broken.toml"]),
        ("no_such_operation", &["--set", "time_limit.operations.roop=1s"]),
        ("public_and_open", &["--open", "--listen", "0.0.0.0:8080"]),
        ("no_url", &["--public-url", "images.example.com"]),
    ] {
        let told = run(folder.path(), &[&["serve"], arguments].concat());
        // A file that is not there is nothing that the settings say.
        let code = if name == "no_such_file" { 1 } else { 2 };
        assert!(told.starts_with(&format!("ends with {code}\nerrors:\nimgopen: ")), "{told}");
        assert_snapshot!(name, told);
        let shown = run(folder.path(), &[&["config", "show"], arguments].concat());
        assert_eq!(shown, told, "serve and config show disagree");
    }
    let mut serve = command(folder.path(), &["serve"]);
    assert_snapshot!("wrong_variable", told(&serve.env("IMGOPEN_SERVE_QUEUE__LENGTH", "many").output().unwrap()));
    let mut serve = command(folder.path(), &["serve"]);
    assert_snapshot!("unknown_variable", told(&serve.env("IMGOPEN_SERVE_QUEUE__LENGHT", "5").output().unwrap()));
    assert!(!folder.path().join("imgopen-data").exists(), "a service that cannot start leaves something behind");
}

#[test]
fn looking_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [&["keys", "list"][..], &["keys", "revoke", "ak_1"], &["callbacks", "list"], &["callbacks", "resend", "1"]]
    {
        let told = run(folder.path(), arguments);
        assert_eq!(
            told,
            "ends with 1\nerrors:\nimgopen: imgopen-data is no data folder of the service; give it with --data-dir\n"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_unknown_id_is_told() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["keys", "create"]);
    let key = run(folder.path(), &["keys", "revoke", "ak_1"]);
    assert_eq!(key, "ends with 1\nerrors:\nimgopen: no access key has the id ak_1; `imgopen keys list` shows all\n");
    let callback = run(folder.path(), &["callbacks", "resend", "msg_1"]);
    let expected = "no callback has the id msg_1; `imgopen callbacks list` shows the newest";
    assert_eq!(callback, format!("ends with 1\nerrors:\nimgopen: {expected}\n"));
}

#[test]
fn a_folder_serves_one_service() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Program::serve(&folder.path().join("data"), &[]);
    let second = run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    let expected =
        "another service runs in the data directory data; stop it, or give another directory with --data-dir";
    assert_eq!(second, format!("ends with 1\nerrors:\nimgopen: {expected}\n"));
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["keys", "create"]] {
        let told = run(folder.path(), &[arguments, &["--data-dir", "file/data"]].concat());
        assert!(told.starts_with("ends with 1\nerrors:\nimgopen: the data folder file/data cannot be"), "{told}");
    }
}

#[test]
fn an_occupied_port_is_told() {
    let (folder, taken) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let told = run(folder.path(), &["serve", "--listen", &address]);
    let expected = format!("imgopen: cannot listen on {address}; give another address or port with --listen: ");
    assert!(told.starts_with(&format!("ends with 1\nerrors:\n{}", redacted(&expected))), "{told}");
    // The key of the first start is not lost to a start that failed.
    let keys = run(folder.path(), &["keys", "list"]);
    assert_eq!(keys, "ends with 0\nthere is no key; make one with `imgopen keys create`\n");
}
