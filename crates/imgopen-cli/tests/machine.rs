//! The machine fails under the service: its disk, its descriptors, its log, the process itself. No task is lost, and none
//! fails for it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "machine/crashes.rs"]
mod crashes;
#[path = "machine/disk.rs"]
mod disk;
#[path = "machine/log.rs"]
mod log;
#[path = "machine/shim.rs"]
mod shim;

use std::path::Path;
use std::process::Command;

use common::program::{Key, imgopen};
use common::rows::{all, text};
use common::until;
use imgopen_client::Client;
use imgopen_tests::calls::call;
use serde_json::{Value, json};

/// `imgopen serve` with the sandbox and four workers.
fn serve(folder: &Path) -> Command {
    let mut command = imgopen();
    command.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--allow-network", "127.0.0.0/8", "--workers", "4"]);
    command.arg("--data-dir").arg(folder);
    command
}

/// A picture by the sandbox, after what the directive says.
fn drawing(name: &str, directive: &str) -> Value {
    let prompt = format!("a lighthouse [sandbox: {directive}]");
    json!({"businessTaskId": name, "prompt": prompt, "comfyTaskType": "Flux1DevFP8", "width": 64, "height": 64})
}

async fn submit(client: &Client, request: &Value) {
    call(client, "flux_text_to_image", request).await.unwrap();
}

/// Waits until this many tasks are in a state.
async fn count(client: &Client, state: &str, expected: usize) -> Vec<Value> {
    let states = json!({"states": [state]});
    let reached = async || Some(all(client, "list_tasks", states.clone()).await).filter(|rows| rows.len() == expected);
    until(&format!("{expected} tasks are {state}"), reached).await
}

/// How tasks ended that did not succeed.
async fn failures(client: &Client) -> Vec<String> {
    let rows = all(client, "list_tasks", json!({"states": ["failed", "cancelled"]})).await;
    rows.iter().map(|row| format!("{}: {}", text(row, "callerId"), text(row, "desc"))).collect()
}

fn key(folder: &Path) -> Key {
    Key::create(folder)
}
