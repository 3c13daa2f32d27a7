//! Processes of the binary.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use imgopen_types::{Credentials, Operation, operations};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::{Database, free_port};

/// A process, killed when dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Process {
    /// Starts `imgopen serve` with the sandbox on a database, and waits until it is ready.
    pub fn serve(database: &Database, role: &str, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let (mut command, address) = (imgopen(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        command.args(["serve", "--sandbox", "--listen", &address.to_string(), "--public-url", "http://127.0.0.1:1"]);
        command.args(["--database", &database.url(), "--role", role]).arg("--data-dir").arg(folder.path());
        for setting in ["queue.length=10000000"].iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("ready: ")), "the process does not start");
        Self { child, address, _folder: folder }
    }

    /// Its resident memory in MB, as Linux reports it.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// Makes a call, and returns its answer.
    pub async fn post(&self, http: &reqwest::Client, keys: &Credentials, operation: &Operation, body: &Value) -> Value {
        let request = http.post(format!("http://{}{}", self.address, operation.path)).json(body);
        let request = request.header(Credentials::ID_HEADER, keys.access_key_id());
        let request = request.header(Credentials::SECRET_HEADER, keys.expose_secret());
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// Submits a small picture by the sandbox, and returns the task's id. A picture that hangs keeps a slot.
    pub async fn draw(&self, http: &reqwest::Client, keys: &Credentials, prompt: &str) -> String {
        let answer = self.post(http, keys, &operations::TEXT_TO_IMAGE, &drawing(prompt)).await;
        answer["data"]["task_id"].as_str().unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A picture of the sandbox.
pub fn drawing(prompt: &str) -> Value {
    json!({
        "prompt": prompt, "n_iter": 1, "batch_size": 1, "steps": 1, "seed": "1", "width": 64, "height": 64,
        "alwayson_scripts": {
            "sd_model_checkpoint": "any.safetensors", "id_task": "bench", "output_image_format": "png",
        },
    })
}

/// Creates an access key.
pub fn key(database: &Database) -> Credentials {
    let output = imgopen().args(["keys", "create", "--json", "--database", &database.url()]).output();
    let made: Value = serde_json::from_slice(&output.expect("the binary").stdout).expect("JSON");
    let part = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no `{name}`")).to_owned();
    Credentials::new(part("access_key_id"), part("access_key_secret"))
}

/// The binary beside this one, or another that is named.
fn imgopen() -> Command {
    let built = || -> Option<PathBuf> {
        let own = std::env::current_exe().ok()?;
        Some(own.parent()?.parent()?.join("imgopen"))
    };
    let program = std::env::var_os("IMGOPEN_BIN").map(PathBuf::from).or_else(built);
    let program = program.filter(|program| program.is_file());
    Command::new(
        program.expect("the binary; build it with `cargo build --release -p imgopen-cli`, or name it in IMGOPEN_BIN"),
    )
}
