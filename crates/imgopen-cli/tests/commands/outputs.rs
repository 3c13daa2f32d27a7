//! What commands print, in text and in JSON.

use std::path::Path;
use std::process::Command;

use imgopen_tests::calls::call;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::program::{Key, Program};
use crate::common::receiver::{Receiver, Reply};
use crate::common::rows::all;
use crate::common::until;
use crate::{command, run, transcript};

#[test]
fn every_command_has_help() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("help", &[][..]),
        ("help_demo", &["demo"]),
        ("help_run", &["run"]),
        ("help_run_enlarge_image", &["run", "enlarge_image"]),
        ("help_run_controlnet", &["run", "controlnet"]),
        ("help_run_query_tool_task", &["run", "query_tool_task"]),
        ("help_tasks", &["tasks"]),
        ("help_tasks_show", &["tasks", "show"]),
        ("help_tasks_list", &["tasks", "list"]),
        ("help_tasks_wait", &["tasks", "wait"]),
        ("help_tasks_cancel", &["tasks", "cancel"]),
        ("help_models", &["models"]),
        ("help_models_list", &["models", "list"]),
        ("help_models_packs", &["models", "packs"]),
        ("help_models_pull", &["models", "pull"]),
        ("help_models_remove", &["models", "remove"]),
        ("help_train", &["train"]),
        ("help_train_submit", &["train", "submit"]),
        ("help_train_wait", &["train", "wait"]),
        ("help_callbacks_listen", &["callbacks", "listen"]),
        ("help_completions", &["completions"]),
        ("help_licences", &["licences"]),
        ("help_serve", &["serve"]),
        ("help_backends", &["backends"]),
        ("help_backends_check", &["backends", "check"]),
        ("help_keys", &["keys"]),
        ("help_keys_create", &["keys", "create"]),
        ("help_keys_list", &["keys", "list"]),
        ("help_keys_revoke", &["keys", "revoke"]),
        ("help_keys_rotate_secret", &["keys", "rotate-secret"]),
        ("help_workers", &["workers"]),
        ("help_workers_list", &["workers", "list"]),
        ("help_workers_drain", &["workers", "drain"]),
        ("help_backup", &["backup"]),
        ("help_restore", &["restore"]),
        ("help_move", &["move"]),
        ("help_doctor", &["doctor"]),
        ("help_config", &["config"]),
        ("help_config_show", &["config", "show"]),
        ("help_callbacks", &["callbacks"]),
        ("help_callbacks_list", &["callbacks", "list"]),
        ("help_callbacks_resend", &["callbacks", "resend"]),
    ] {
        let help = run(folder.path(), &[arguments, &["--help"]].concat());
        assert!(help.starts_with("ends with 0\n"), "{help}");
        assert_snapshot!(name, help);
    }
    assert_eq!(run(folder.path(), &["--version"]), "ends with 0\nimgopen 0.1.0\n");
    // Without arguments, the commands are listed.
    let bare = run(folder.path(), &[]);
    assert!(bare.starts_with("ends with 2\nerrors:\n") && bare.contains("callbacks"), "{bare}");
}

#[test]
fn licences_of_all_parts_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let text = run(folder.path(), &["licences"]);
    assert!(text.starts_with("ends with 0\n"), "{text}");
    for part in [
        "MIT OR Apache-2.0",
        "subsets of Noto",
        "SIL OPEN FONT LICENSE",
        "The MediaPipe Authors",
        "Illia Volkov",
        "SQLite",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let output = command(folder.path(), &["licences", "--json"]).output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let crates = printed["crates"].as_array().unwrap();
    for (name, licence) in [
        ("imgopen-tools", "(MIT OR Apache-2.0) AND OFL-1.1"),
        ("imgopen-neural", "(MIT OR Apache-2.0) AND Apache-2.0 AND MIT"),
    ] {
        let found = crates.iter().find(|each| each["name"] == name).unwrap();
        assert_eq!(found["licence"], json!(licence), "{name}");
    }
    let licences: Vec<_> = printed["parts"].as_array().unwrap().iter().map(|part| &part["licence"]).collect();
    assert_eq!(
        licences,
        ["OFL-1.1", "Apache-2.0", "MIT", "public domain", "BSD-3-Clause", "MIT OR Apache-2.0", "public domain"]
    );
}

/// Covers all operations.
#[test]
fn every_help_has_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for operation in imgopen_types::operations::ALL {
        let help = run(folder.path(), &["run", operation.id, "--help"]);
        let example = format!("Examples:\n  imgopen run {}", operation.id);
        assert!(help.starts_with("ends with 0\n") && help.contains(&example), "{help}");
    }
}

#[test]
fn completions_include_operations_and_their_flags() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(folder.path(), &["completions", shell]);
        assert!(script.starts_with("ends with 0\n"), "{script}");
        for word in ["enlarge_image", "source-image", "bottom-right", "callbacks"] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
    assert!(run(folder.path(), &["completions", "csh"]).starts_with("ends with 2\n"));
}

/// Returns the completions that bash offers for the last word of a line, by calling the script's function.
fn offered(script: &Path, line: &[&str]) -> Vec<String> {
    let ask = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _imgopen imgopen "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ask, "bash"]).arg(script).arg("imgopen").args(line);
    let output = bash.current_dir(script.parent().unwrap()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Everything that bash offers is valid.
#[test]
fn bash_completes_valid_words() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("imgopen.bash");
    let output = command(folder.path(), &["completions", "bash"]).output().unwrap();
    std::fs::write(&script, output.stdout).unwrap();
    let offered = |line: &[&str]| offered(&script, line);
    assert_eq!(offered(&["run", "enl"]), ["enlarge_image", "enlarge-image"]);
    for name in ["enlarge_image", "enlarge-image", "imgEnlarge"] {
        assert_eq!(offered(&["run", name, "--so"]), ["--source-image"], "{name}");
    }
    // Values with a space are left out, because the script would split them.
    let samplers = offered(&["run", "text_to_image", "--sampler-index", "D"]);
    assert_eq!(samplers, ["DPM2", "DDIM"]);
    assert_eq!(offered(&["run", "text_to_image", "--sampler-index", "Euler"]), ["Euler"]);
    assert_eq!(offered(&["run", "text_to_image", "--restore-faces", ""]), ["true", "false"]);
    let line = ["run", "text_to_image", "--restore-faces", "false", "--prompt", "-x"];
    let faults = run(folder.path(), &line);
    assert!(!faults.contains("--restore-faces") && !faults.contains("--prompt:"), "{faults}");
    for command in ["show", "wait", "list"] {
        for name in ["tasks", "task"] {
            assert_eq!(offered(&[name, command, "--operation", "te"]), ["text_to_image"], "{name} {command}");
        }
    }
    assert_eq!(offered(&["callbacks", "list", "--state", ""]), ["pending", "acknowledged", "abandoned"]);
}

#[test]
fn keys_are_created_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let keys = |arguments: &[&str]| run(folder.path(), &[&["keys"], arguments].concat());
    let mut story = keys(&["create", "--name", "my application"]);
    story += &keys(&["create", "--json"]);
    story += &keys(&["list"]);
    story += &keys(&["list", "--json"]);
    let list = command(folder.path(), &["keys", "list", "--json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|key| key["access_key_id"].as_str().unwrap()).collect();
    story += &keys(&["rotate-secret", ids[0]]);
    story += &keys(&["rotate-secret", ids[1], "--overlap", "7d", "--json"]);
    story += &keys(&["rotate-secret", "ak_0"]);
    story += &keys(&["rotate-secret", ids[0], "--overlap", "soon"]);
    story += &keys(&["rotate-secret", ids[0], "--overlap", "0s"]);
    story += &keys(&["rotate-secret", ids[0], "--overlap", "0s", "--json"]);
    story += &keys(&["revoke", ids[0]]);
    story += &keys(&["revoke", ids[1], "--json"]);
    story += &keys(&["list"]);
    assert_snapshot!("keys", story);
    // The data directory can also come from the environment.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut create = command(elsewhere.path(), &["keys", "create"]);
    assert!(create.env("IMGOPEN_SERVE_DATA_DIR", "there").output().unwrap().status.success());
    assert!(elsewhere.path().join("there/imgopen.sqlite3").is_file());
}

#[test]
fn settings_are_shown_with_their_sources() {
    let folder = tempfile::tempdir().unwrap();
    let file = "workers = 7\npublic_url = \"https://example.com/images\"\n[queue]\nlength = 9\n\
                [time_limit.operations]\nenlarge_image = \"2m\"\n";
    std::fs::write(folder.path().join("imgopen.toml"), file).unwrap();
    let show = |more: &[&str]| {
        let flags = ["config", "show", "--config", "imgopen.toml", "--sandbox", "--workers", "3"];
        let flags = [&flags[..], &["--set", "assets.lifetime=30d", "--allow-network", "10.1.0.0/16"], more].concat();
        let mut show = command(folder.path(), &flags);
        show.env("IMGOPEN_SERVE_QUEUE__RUNNING_PER_KEY", "2").env("IMGOPEN_SERVE_WORKERS", "5");
        transcript(&show.env("IMGOPEN_SERVE_LISTEN", "127.0.0.1:8081").output().unwrap())
    };
    let (text, json) = (show(&[]), show(&["--json"]));
    assert_snapshot!("config_show", text);
    assert_snapshot!("config_show_json", json);
    let refused = show(&["--public-url", "https://me:hunter2@example.com/images"]);
    assert!(refused.starts_with("ends with 2\n") && !refused.contains("hunter2"), "{refused}");
}

/// The output is a settings file that sets the same values.
#[test]
fn config_show_prints_a_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let show = |arguments: &[&str]| {
        let output = command(folder.path(), &[&["config", "show"], arguments].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let settings = ["--workers", "3", "--set", "assets.lifetime=30d", "--set", "time_limit.operations.roop=1s"];
    assert_eq!(show(&settings), "", "there is no operation `roop`");
    let settings = ["--workers", "3", "--set", "assets.lifetime=30d", "--set", "time_limit.operations.outpaint=1s"];
    let shown = show(&settings);
    std::fs::write(folder.path().join("again.toml"), &shown).unwrap();
    let again = show(&["--config", "again.toml"]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
    };
    assert!(!shown.is_empty());
    assert_eq!(values(&again), values(&shown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_are_listed_and_resent_while_the_service_runs() {
    let folder = tempfile::tempdir().unwrap();
    let pauses = ["--set", "callbacks.pauses=[\"20ms\"]", "--set", "callbacks.tries=2"];
    let program = Program::serve(&folder.path().join("imgopen-data"), &pauses);
    let key = Key::create(&folder.path().join("imgopen-data"));
    let replies = |_: &str, before| if before < 2 { Reply::WrongCode } else { Reply::Acknowledge };
    let receiver = Receiver::start(&key.signing, replies).await;
    let client = key.client(&program.url);
    let callbacks = |arguments: &[&str]| run(folder.path(), &[&["callbacks"], arguments].concat());
    let mut story = callbacks(&["list"]);
    let url = format!("{}/outpaint", receiver.url);
    let request = json!({
        "businessTaskId": "1", "sourceImage": "http://127.0.0.1/a.png", "callbackUrl": url, "imageCount": 1,
        "verticalExpansionRatio": 1, "horizontalExpansionRatio": 1,
    });
    call(&client, "outpaint", &request).await.unwrap();
    let state = async |state: &str| all(&client, "list_callbacks", json!({ "states": [state] })).await.pop();
    let abandoned = until("it is abandoned", async || state("abandoned").await).await;
    story += &callbacks(&["list", "--state", "abandoned"]);
    story += &callbacks(&["list", "--json", "--task", abandoned["taskId"].as_str().unwrap()]);
    story += &callbacks(&["list", "--state", "pending"]);
    program.stop();
    // The service is stopped, so nothing is pushed yet.
    story += &callbacks(&["resend", abandoned["callbackId"].as_str().unwrap()]);
    story += &callbacks(&["resend", "--json", abandoned["callbackId"].as_str().unwrap()]);
    assert_snapshot!("callbacks", story);
    resent_is_pushed(folder.path(), &pauses, &key, &receiver).await;
}

/// A callback resent while no service runs is pushed at the next start; one resent while it runs, within a second.
async fn resent_is_pushed(folder: &Path, settings: &[&str], key: &Key, receiver: &Receiver) {
    let program = Program::serve(&folder.join("imgopen-data"), settings);
    let client = key.client(&program.url);
    let acknowledged = async || all(&client, "list_callbacks", json!({"states": ["acknowledged"]})).await.pop();
    let callback = until("it is acknowledged", acknowledged).await;
    let before = receiver.seen().len();
    let id = callback["callbackId"].as_str().unwrap();
    assert!(run(folder, &["callbacks", "resend", id]).starts_with("ends with 0\n"));
    until("it is pushed again", async || (receiver.seen().len() > before).then_some(())).await;
    assert!(receiver.seen().iter().all(|seen| seen.id == id && seen.is_trusted));
}
