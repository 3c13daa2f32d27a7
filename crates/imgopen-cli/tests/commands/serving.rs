//! `imgopen serve`: starting, stopping, and which files it writes.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use imgopen_client::{Client, Credentials};
use imgopen_tests::calls::call;
use insta::assert_snapshot;
use serde_json::json;

use crate::common::program::{Key, Program};
use crate::common::rows::task;
use crate::common::until;
use crate::{command, redacted, run};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Where standard output is not a terminal, it is often a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_writes_a_key_only_into_the_data_directory() {
    let (empty, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let serve = || {
        let mut serve = command(empty.path(), &["serve", "--sandbox", "--listen", "127.0.0.1:0", "--data-dir"]);
        serve.arg(data.path());
        Program::start(serve)
    };
    let program = serve();
    let directory = std::path::absolute(data.path()).unwrap().display().to_string();
    assert_snapshot!("first_start", redacted(&program.greeting.replace(&directory, "[data]")));
    let file = data.path().join("first-key.env");
    let text = std::fs::read_to_string(&file).unwrap();
    let exported = |name: &str| {
        text.lines().filter_map(|line| line.strip_prefix(&format!("export {name}="))).next().unwrap().to_owned()
    };
    let (secret, signing) = (exported("IMGOPEN_ACCESS_KEY_SECRET"), exported("IMGOPEN_SIGNING_SECRET"));
    assert!(secret.starts_with("sk_") && signing.starts_with("whsec_"));
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap()) & 0o777, 0o600);
    let key = Credentials::new(exported("IMGOPEN_ACCESS_KEY_ID"), secret.as_str());
    let client = Client::new(&exported("IMGOPEN_BASE_URL"), key).unwrap();
    call(&client, "describe_server", &json!({})).await.unwrap();
    assert!(!program.log().contains('\x1b'), "colours without a terminal");
    let (greeting, log) = (program.greeting.clone(), program.stop());
    assert!(log.contains("first-key.env"), "{log}");
    for secret in [secret, signing] {
        assert!(!greeting.contains(&secret) && !log.contains(&secret));
    }
    assert_eq!(serve().greeting, "", "the second start creates no key");
    assert_eq!(names(empty.path()), [""; 0]);
    let known = [
        "assets",
        "first-key.env",
        "imgopen.sqlite3",
        "imgopen.sqlite3-shm",
        "imgopen.sqlite3-wal",
        "last-task",
        "service.lock",
    ];
    assert!(names(data.path()).iter().all(|name| known.contains(&name.as_str())), "{:?}", names(data.path()));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_although_its_output_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut serve = command(folder.path(), &["serve", "--listen", &format!("127.0.0.1:{port}")]);
    let mut child = serve.stdout(full).stderr(Stdio::null()).spawn().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    until("it is ready", async || {
        let ready = reqwest::get(format!("{url}/readyz")).await;
        ready.is_ok_and(|ready| ready.status() == 200).then_some(())
    })
    .await;
    assert!(folder.path().join("imgopen-data/first-key.env").is_file());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_accepts_callers_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), &["--open"]);
    assert_eq!(program.greeting, "");
    let client = Client::builder(&program.url).build().unwrap();
    call(&client, "describe_server", &json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_rejected_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(&folder.path().join("imgopen-data"), &[]);
    let key = Key::create(&folder.path().join("imgopen-data"));
    let client = key.client(&program.url);
    call(&client, "describe_server", &json!({})).await.unwrap();
    assert!(run(folder.path(), &["keys", "revoke", &key.id]).starts_with("ends with 0\n"));
    let refused = until("it is rejected", async || call(&client, "describe_server", &json!({})).await.err()).await;
    assert_eq!(refused.status().unwrap(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_hands_back_a_hanging_task_and_the_next_start_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(folder.path(), &["--set", "shutdown=1s", "--set", "attempts=1"]);
    let key = Key::create(folder.path());
    let client = key.client(&program.url);
    let request = json!({"businessTaskId": "stuck", "prompt": "[sandbox: hang]", "comfyTaskType": "Flux1DevFP8"});
    call(&client, "flux_text_to_image", &request).await.unwrap();
    let is_running =
        async |client: &Client| Some(task(client, "stuck").await).filter(|task| task["state"] == "running");
    until("it runs", async || is_running(&client).await).await;
    let begun = Instant::now();
    program.terminate();
    let status = program.exit(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "{}", program.log());
    // The shutdown limit, a second for open connections, and some time for a slow machine.
    assert!((1.0..10.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    // It was handed back, which is not an attempt, so it does not fail although it has only one.
    let program = Program::serve(folder.path(), &["--set", "attempts=1"]);
    let client = key.client(&program.url);
    let again = until("it runs again", async || is_running(&client).await).await;
    assert_eq!(again["attempts"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_running_tasks_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(folder.path(), &[]);
    let key = Key::create(folder.path());
    let prompt = "[sandbox: delay=1s]";
    let request =
        json!({"businessTaskId": "late", "prompt": prompt, "comfyTaskType": "Flux1DevFP8", "width": 64, "height": 64});
    let client = key.client(&program.url);
    call(&client, "flux_text_to_image", &request).await.unwrap();
    until("it runs", async || Some(task(&client, "late").await).filter(|task| task["state"] == "running")).await;
    program.terminate();
    assert!(program.exit(Duration::from_secs(60)).success());
    let program = Program::serve(folder.path(), &[]);
    let ended = task(&key.client(&program.url), "late").await;
    assert_eq!((&ended["state"], &ended["attempts"]), (&json!("succeeded"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_process_immediately() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(folder.path(), &[]);
    let key = Key::create(folder.path());
    let client = key.client(&program.url);
    let request = json!({"businessTaskId": "stuck", "prompt": "[sandbox: hang]", "comfyTaskType": "Flux1DevFP8"});
    call(&client, "flux_text_to_image", &request).await.unwrap();
    until("it runs", async || Some(task(&client, "stuck").await).filter(|task| task["state"] == "running")).await;
    program.terminate();
    until("it is stopping", async || program.log().contains("stopping").then_some(())).await;
    program.terminate();
    assert_eq!(program.exit(Duration::from_secs(20)).code(), Some(1));
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        command(folder.path(), &["config", "show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success() && errors.is_empty(), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_can_be_lines_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(folder.path(), &["--log", "json"]);
    let log = program.stop();
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
}
