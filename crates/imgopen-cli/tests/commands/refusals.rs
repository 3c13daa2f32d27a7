//! Errors of commands: messages and exit codes.

use std::net::TcpListener;

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::program::Program;
use crate::{command, redacted, run, transcript};

/// An invalid command line ends with 2 and a suggestion.
#[test]
fn an_invalid_command_line_gets_a_suggestion() {
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
        let errors = run(folder.path(), arguments);
        assert!(errors.starts_with("ends with 2\nerrors:\n"), "{errors}");
        assert_snapshot!(name, errors);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "an invalid command line left a file behind");
}

#[test]
fn an_invalid_command_line_is_reported_in_json() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, right) in [
        (&["tasks", "list", "--jsn", "--json"][..], "'--json'"),
        (&["--json", "tasks", "lst"], "'list'"),
        (&["task", "--json", "list", "--stat", "failed"], "'--state'"),
        (&["run", "enlarge_image", "--json", "--sourc-image", "x"], "'--source-image'"),
        (&["keys", "revoke", "--json"], "<ID>"),
    ] {
        let output = command(folder.path(), arguments).output().unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &printed["error"]["exit_code"]), (Some(2), &Value::from(2)));
        let message = printed["error"]["message"].as_str().unwrap();
        assert!(message.contains(right) && !message.starts_with("error"), "{message}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{output:?}");
    }
    // Requested help is not an error, and without `--json` there is no JSON.
    assert!(run(folder.path(), &["tasks", "list", "--help", "--json"]).starts_with("ends with 0\nList"));
    assert!(run(folder.path(), &["tasks", "list", "--jsn"]).starts_with("ends with 2\nerrors:\n"));
}

/// `--json` takes no value. Earlier versions read the request from it, so the error names `--request`.
#[test]
fn json_with_a_file_is_rejected_and_names_request() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["run", "enlarge_image", "--json=request.json", "--scale", "2"][..],
        &["run", "enlarge_image", "--scale", "2", "--json", "request.json"],
        &["train", "submit", "--json=request.json"],
        &["train", "submit", "--json", "request.json"],
    ] {
        let output = command(folder.path(), arguments).output().unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = printed["error"]["message"].as_str().unwrap();
        let tip = "tip: to take the request from a file, use '--json --request request.json'";
        assert!(message.contains(tip), "{arguments:?}: {message}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(tip), "{output:?}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let elsewhere = run(folder.path(), &["keys", "list", "--json=request.json"]);
    assert!(elsewhere.starts_with("ends with 2\n") && !elsewhere.contains("--request"), "{elsewhere}");
}

/// An invalid setting ends with 2 and is reported with its source.
#[test]
fn an_invalid_setting_is_reported_with_its_source() {
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
        ("invalid_setting", &["--workers", "0"]),
        ("wrong_duration", &["--set", "shutdown=soon"]),
        ("no_such_file", &["--config", "nowhere.toml"]),
        ("no_toml", &["--config", "broken.toml"]),
        ("no_such_operation", &["--set", "time_limit.operations.roop=1s"]),
        ("public_and_open", &["--open", "--listen", "0.0.0.0:8080"]),
        ("no_url", &["--public-url", "images.example.com"]),
    ] {
        let errors = run(folder.path(), &[&["serve"], arguments].concat());
        // A missing file is not an error of a setting.
        let code = if name == "no_such_file" { 1 } else { 2 };
        assert!(errors.starts_with(&format!("ends with {code}\nerrors:\nimgopen: ")), "{errors}");
        assert_snapshot!(name, errors);
        let shown = run(folder.path(), &[&["config", "show"], arguments].concat());
        assert_eq!(shown, errors, "serve and config show disagree");
    }
    let mut serve = command(folder.path(), &["serve"]);
    assert_snapshot!("wrong_variable", transcript(&serve.env("IMGOPEN_SERVE_QUEUE__LENGTH", "many").output().unwrap()));
    let mut serve = command(folder.path(), &["serve"]);
    assert_snapshot!("unknown_variable", transcript(&serve.env("IMGOPEN_SERVE_QUEUE__LENGHT", "5").output().unwrap()));
    assert!(!folder.path().join("imgopen-data").exists(), "a service that cannot start left its data directory behind");
}

/// A typo is found by all commands; whether the library can be used, when the service starts.
#[test]
fn a_runtime_of_networks_that_cannot_be_used_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.so"), "not a library").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--set"];
    let refused = |library: &str| {
        let setting = format!("nets.library={library}");
        run(folder.path(), &[&serve[..], &[setting.as_str()]].concat())
    };
    let without = "the program was built without it; build it with the feature `ort`: \
                   `cargo build --release --package imgopen-cli --features ort`\n";
    for (library, problem) in [
        (
            "/nowhere/libonnxruntime.so",
            "there is no library \"libonnxruntime.so\" at the path that the settings give\n",
        ),
        ("broken.so", "its library cannot be loaded: "),
    ] {
        let problem = if cfg!(feature = "ort") { problem } else { without };
        let expected =
            format!("ends with 2\nerrors:\nimgopen: `nets.library`: {library}: ONNX Runtime cannot be used: {problem}");
        let errors = refused(library);
        assert!(errors.starts_with(&expected), "{errors}");
    }
    let arguments = ["--set", "nets.library=x.so", "--set", "nets.providers=[\"gpu\"]"];
    for command in [&["serve"][..], &["config", "show"]] {
        let errors = run(folder.path(), &[command, &arguments].concat());
        assert!(
            errors.starts_with("ends with 2\nerrors:\nimgopen: `nets.providers`: \"gpu\" given; give `cpu`, "),
            "{errors}"
        );
    }
    let errors = run(folder.path(), &["serve", "--set", "nets.providers=[\"cuda\"]"]);
    assert!(
        errors.starts_with("ends with 2\nerrors:\nimgopen: `nets.providers`: they are of ONNX Runtime, "),
        "{errors}"
    );
}

/// A compose file makes empty variables of those that are not set outside.
#[test]
fn empty_variables_count_as_unset() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |variables: &[&str]| {
        let mut show = command(folder.path(), &["config", "show"]);
        show.envs(variables.iter().map(|name| (*name, "")));
        transcript(&show.output().unwrap())
    };
    let empty =
        ["IMGOPEN_SERVE_LISTEN", "IMGOPEN_SERVE_QUEUE__LENGTH", "imgopen_serve_public_url", "IMGOPEN_SERVE_MODELS"];
    let text = shown(&empty);
    assert!(text.starts_with("ends with 0\n"), "{text}");
    assert_eq!(text, shown(&[]));
    let mut list = command(folder.path(), &["tasks", "list"]);
    for name in ["IMGOPEN_BASE_URL", "IMGOPEN_ACCESS_KEY_ID", "IMGOPEN_ACCESS_KEY_SECRET"] {
        list.env(name, "");
    }
    let text = transcript(&list.output().unwrap());
    // Whatever answers at the default address, if anything does.
    assert!(!text.contains("base URL") && text.contains("http://127.0.0.1:8080"), "{text}");
    // A flag is meant as it is.
    let text = run(folder.path(), &["tasks", "list", "--url", ""]);
    assert!(text.starts_with("ends with 2\nerrors:\nimgopen: the base URL \"\" cannot be called"), "{text}");
}

#[test]
fn names_and_ports_can_be_listened_on() {
    let folder = tempfile::tempdir().unwrap();
    for listen in ["localhost:9999", ":9999", "127.0.0.1:9999"] {
        let line = |source: &str| format!("listen = \"127.0.0.1:9999\" # {source}");
        let set = |text: String| {
            let line = text.lines().find(|line| line.starts_with("listen = ")).unwrap_or(&text);
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let shown = run(folder.path(), &["config", "show", "--listen", listen]);
        assert_eq!(set(shown), line("command line"));
        let shown = run(folder.path(), &["config", "show", "--set", &format!("listen={listen}")]);
        assert_eq!(set(shown), line("command line"));
        let mut show = command(folder.path(), &["config", "show"]);
        let shown = transcript(&show.env("IMGOPEN_SERVE_LISTEN", listen).output().unwrap());
        assert_eq!(set(shown), line("environment"));
    }
    let mut show = command(folder.path(), &["config", "show"]);
    let text = transcript(&show.env("IMGOPEN_SERVE_LISTEN", "localhost").output().unwrap());
    let expected = "ends with 2\nerrors:\nimgopen: the setting `listen` (environment): give ADDR:PORT, such as 127.0.0.1:8080, \
                    or :8080 for this machine alone\n";
    assert_eq!(text, expected);
}

#[test]
fn reading_creates_no_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["keys", "list"][..],
        &["keys", "revoke", "ak_1"],
        &["callbacks", "list"],
        &["callbacks", "resend", "1"],
        &["workers", "list"],
    ] {
        let errors = run(folder.path(), arguments);
        let fix = "name the service's data directory with --data-dir, or its database with --database";
        assert_eq!(errors, format!("ends with 1\nerrors:\nimgopen: imgopen-data is not a data directory; {fix}\n"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_unknown_id_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["keys", "create"]);
    let key = run(folder.path(), &["keys", "revoke", "ak_1"]);
    assert_eq!(key, "ends with 1\nerrors:\nimgopen: no access key has the id ak_1; `imgopen keys list` shows all\n");
    let callback = run(folder.path(), &["callbacks", "resend", "msg_1"]);
    let expected = "there is no callback \"msg_1\"; `imgopen callbacks list` shows the newest";
    assert_eq!(callback, format!("ends with 1\nerrors:\nimgopen: {expected}\n"));
}

#[test]
fn a_data_directory_serves_one_service() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Program::serve(&folder.path().join("data"), &[]);
    let second = run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    let expected =
        "another service runs in the data directory data; stop it, or give another directory with --data-dir";
    assert_eq!(second, format!("ends with 1\nerrors:\nimgopen: {expected}\n"));
}

#[test]
fn a_data_directory_that_cannot_be_created_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["keys", "create"]] {
        let errors = run(folder.path(), &[arguments, &["--data-dir", "file/data"]].concat());
        // The service words the rest.
        assert!(errors.starts_with("ends with 1\nerrors:\nimgopen: ") && errors.contains("file/data"), "{errors}");
    }
}

#[test]
fn a_port_in_use_is_reported() {
    let (folder, taken) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let errors = run(folder.path(), &["serve", "--listen", &address]);
    let expected = format!("imgopen: cannot listen on {address}; give another address or port with --listen: ");
    assert!(errors.starts_with(&format!("ends with 1\nerrors:\n{}", redacted(&expected))), "{errors}");
    // A failed start does not use up the first start, which prints a key.
    let keys = run(folder.path(), &["keys", "list"]);
    assert_eq!(keys, "ends with 0\nno keys found; create one with `imgopen keys create`\n");
}
