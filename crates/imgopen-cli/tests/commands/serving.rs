//! `imgopen serve`: starting, stopping, and which files it writes.

use std::io::{Read, Write};
use std::net::TcpStream;
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use imgopen_client::{Client, Credentials};
use imgopen_tests::calls::call;
use insta::assert_snapshot;
use serde_json::json;

use crate::common::pictures::PictureServer;
use crate::common::program::{Key, Program, imgopen};
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
        // Of a process that was killed while it wrote.
        "last-task.new",
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
    let mut program = Program::serve(folder.path(), &["--set", "shutdown=4s", "--set", "attempts=1"]);
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
    // All of the limit but the two seconds in which it is handed back, and some time for a slow machine.
    assert!((1.9..20.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
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

/// What callers leave half done does not hold the service: the limit here is far longer than the test waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_request_and_callers_who_do_not_read_do_not_delay_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::serve(folder.path(), &["--set", "shutdown=1h"]);
    let key = Key::create(folder.path());
    let page = "GET /docs HTTP/1.1\r\nhost: a\r\n\r\n".repeat(32);
    let half = format!(
        "POST /imgopen/v1/tasks/list HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n{}: {}\r\n\
         {}: {}\r\n\r\n{{",
        Credentials::ID_HEADER,
        key.id,
        Credentials::SECRET_HEADER,
        key.secret
    );
    let callers = ["", "GET / HTTP/1.1\r\nhost:", &half, &page].map(|sent| {
        let mut caller = TcpStream::connect(program.url.strip_prefix("http://").unwrap()).unwrap();
        caller.write_all(sent.as_bytes()).unwrap();
        caller
    });
    // The answer of the last one has begun, and what was sent before has arrived.
    callers.last().unwrap().peek(&mut [0]).unwrap();
    call(&key.client(&program.url), "list_tasks", &json!({})).await.unwrap();
    program.terminate();
    assert!(program.exit(Duration::from_secs(60)).success(), "{}", program.log());
}

/// Returns the command behind a shell's limits.
fn limited(limits: &str, folder: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.env_clear().stdin(Stdio::null());
    command.args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")]).arg(imgopen().get_program());
    command.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--allow-network", "127.0.0.0/8", "--data-dir"]);
    command.arg(folder);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_hold_connections_leave_room_for_others_and_for_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(limited("ulimit -n 256", folder.path()));
    let key = Key::create(folder.path());
    let client = key.client(&program.url);
    assert!(program.log().contains("at_most=140 open_files=256"), "{}", program.log());
    let address = program.url.strip_prefix("http://").unwrap().to_owned();
    let _idle: Vec<_> = (0..400).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let pictures = PictureServer::start().await;
    for number in 0..8 {
        let id = format!("beside-{number}");
        let request = json!({"businessTaskId": id, "sourceImage": format!("{}/a.png", pictures.url), "scale": 2});
        call(&client, "enlarge_image", &request).await.unwrap();
        let ended = until("it ends", async || {
            let row = task(&client, &id).await;
            (row["state"] != "queued" && row["state"] != "running").then_some(row)
        })
        .await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
    }
    assert!(!program.log().contains("could not be accepted"), "{}", program.log());
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(limited("ulimit -S -n 100 && ulimit -H -n 300", folder.path()));
    let log = program.stop();
    assert!(log.contains("at_most=176 open_files=300"), "{log}");
    let mut limited = limited("ulimit -n 300", folder.path());
    limited.args(["--set", "connections.at_most=290"]);
    let log = Program::start(limited).stop();
    assert!(log.contains("lower `connections.at_most`"), "{log}");
}

/// A limit of processes does not bind root, so root starts the service as another user.
#[cfg(target_os = "linux")]
#[test]
fn too_few_threads_are_an_error_with_the_way_out() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // Where the binary lies, another user may have no access.
    let binary = folder.path().join("imgopen");
    assert!(Command::new("cp").arg(imgopen().get_program()).arg(&binary).status().unwrap().success());
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = Command::new("/usr/bin/env");
    if is_root {
        command.args(["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"]);
    }
    command.args(["prlimit", "--nproc=1:1"]).arg(&binary);
    let output = command.args(["serve", "--data-dir"]).arg(folder.path().join("data")).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("raise the limit") && !errors.contains("panicked"), "{errors}");
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
