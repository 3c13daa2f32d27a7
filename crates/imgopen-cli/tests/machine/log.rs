//! Standard error is closed, or nobody reads it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::*;

/// Starts a service with a full log of its own work, and returns it with its URL.
fn start(mut command: Command) -> (Child, String) {
    let mut child = command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let url = output.lines().map_while(Result::ok).find_map(|line| line.strip_prefix("ready: ").map(str::to_owned));
    (child, url.expect("it is ready"))
}

/// Runs tasks, whose log is longer than a pipe holds.
async fn run_tasks(client: &Client) {
    for number in 0..40 {
        submit(client, &drawing(&format!("t{number}"), "delay=1ms")).await;
    }
    count(client, "succeeded", 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stops_when_nobody_reads_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let (mut child, url) = start(serve(folder.path()));
    run_tasks(&key.client(&url)).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stops_when_the_log_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let (mut child, url) = start(serve(folder.path()));
    drop(child.stderr.take());
    run_tasks(&key.client(&url)).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stops_when_the_log_is_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = serve(folder.path()).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let url = output.lines().map_while(Result::ok).find_map(|line| line.strip_prefix("ready: ").map(str::to_owned));
    run_tasks(&key.client(&url.expect("it is ready"))).await;
    child.kill().unwrap();
    child.wait().unwrap();
}
