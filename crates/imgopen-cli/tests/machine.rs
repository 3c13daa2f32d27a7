//! The machine fails under the service: its disk, its descriptors, its memory, its clock, its log, the process itself, and
//! callers use it up. No task is lost, none fails for it, and no caller suffers for another.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

#[path = "machine/callers.rs"]
mod callers;
#[path = "machine/clocks.rs"]
mod clocks;
mod common;
#[path = "machine/crashes.rs"]
mod crashes;
#[path = "machine/database.rs"]
mod database;
#[path = "machine/descriptors.rs"]
mod descriptors;
#[path = "machine/directories.rs"]
mod directories;
#[path = "machine/disk.rs"]
mod disk;
#[path = "machine/log.rs"]
mod log;
#[path = "machine/memory.rs"]
mod memory;
#[path = "machine/neighbours.rs"]
mod neighbours;

use std::path::Path;
use std::process::{Command, Stdio};

use common::http::{Answer, get, post};
use common::pictures::PictureServer;
use common::program::{Key, Program, imgopen};
use common::rows::{all, task, text};
use common::shim::Shim;
use common::until;
use imgopen_client::Client;
use imgopen_tests::calls::call;
use serde_json::{Value, json};
use tokio::task::block_in_place;

/// `imgopen serve` with the sandbox and four workers.
fn serve(folder: &Path) -> Command {
    with_arguments(imgopen(), folder)
}

/// The same behind limits of a shell, such as `ulimit -n 256`.
fn limited(limits: &str, folder: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().stdin(Stdio::null());
    shell.args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")]).arg(imgopen().get_program());
    with_arguments(shell, folder)
}

fn with_arguments(mut command: Command, folder: &Path) -> Command {
    command.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--allow-network", "127.0.0.0/8", "--workers", "4"]);
    command.arg("--data-dir").arg(folder);
    command
}

/// Adds settings.
fn set(command: &mut Command, settings: &[&str]) {
    for setting in settings {
        command.args(["--set", setting]);
    }
}

/// Starts a service, with the faults of a shim if there is one.
fn start(mut command: Command, shim: Option<&Shim>, settings: &[&str]) -> Program {
    set(&mut command, settings);
    if let Some(shim) = shim {
        shim.preload(&mut command);
    }
    block_in_place(|| Program::start(command))
}

/// A picture by the sandbox, after what the directive says.
fn drawing(name: &str, directive: &str) -> Value {
    let prompt = format!("a lighthouse [sandbox: {directive}]");
    json!({"businessTaskId": name, "prompt": prompt, "comfyTaskType": "Flux1DevFP8", "width": 64, "height": 64})
}

/// An enlargement of a picture.
fn enlarging(name: &str, picture: &str, scale: u32) -> Value {
    json!({"businessTaskId": name, "sourceImage": picture, "scale": scale})
}

async fn submit(client: &Client, request: &Value) {
    call(client, operation(request), request).await.unwrap();
}

fn operation(request: &Value) -> &'static str {
    if request.get("sourceImage").is_some() { "enlarge_image" } else { "flux_text_to_image" }
}

/// Waits until this many tasks are in a state.
async fn count(client: &Client, state: &str, expected: usize) -> Vec<Value> {
    let states = json!({"states": [state]});
    let reached = async || Some(all(client, "list_tasks", states.clone()).await).filter(|rows| rows.len() == expected);
    until(&format!("{expected} tasks are {state}"), reached).await
}

/// Waits until a task has ended, and returns its row.
async fn ended(client: &Client, name: &str) -> Value {
    let has_ended = |row: &Value| row["state"] != "queued" && row["state"] != "running";
    until(&format!("{name} ends"), async || Some(task(client, name).await).filter(has_ended)).await
}

/// How tasks ended that did not succeed.
async fn failures(client: &Client) -> Vec<String> {
    let rows = all(client, "list_tasks", json!({"states": ["failed", "cancelled"]})).await;
    rows.iter().map(|row| format!("{}: {}", text(row, "callerId"), text(row, "desc"))).collect()
}

async fn readiness(program: &Program) -> Answer {
    get(&reqwest::Client::new(), &format!("{}/readyz", program.url)).await.unwrap()
}

/// Waits until the service is not ready, which must be an answer that says when to ask again.
async fn unready(program: &Program) {
    let answer =
        until("it is not ready", async || Some(readiness(program).await).filter(|answer| answer.status != 200));
    let answer = answer.await;
    assert!(answer.asks_to_wait(), "{answer:?}");
}

async fn ready(program: &Program) {
    until("it is ready", async || (readiness(program).await.status == 200).then_some(())).await;
}

fn key(folder: &Path) -> Key {
    Key::create(folder)
}
