//! Processes of the program, and calls to them.
// Each bench uses a part of it.
#![allow(dead_code)]

use std::fs::create_dir_all;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use imgopen_types::{Credentials, Operation, operations};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

/// A prompt whose picture never comes, so that it keeps a slot.
pub const HANG: &str = "[sandbox: hang]";

/// A prompt whose picture is drawn at once: without the pause that the sandbox makes in place of work, which is not the service's.
const AT_ONCE: &str = "a lighthouse [sandbox: slow=0ms]";

/// A queue that never is full.
const LONG: &str = "queue.length=10000000";

/// A process, killed when dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    folder: Arc<TempDir>,
    /// Where its pictures are, if that is elsewhere. Kept until it has ended.
    first: Option<Arc<TempDir>>,
}

impl Process {
    /// Starts `imgopen serve` with the sandbox and these arguments, in a data directory of its own, and waits until it is ready.
    /// Each setting that is not given has its default, but the queue never is full.
    pub fn start(program: &Path, address: SocketAddr, arguments: &[&str], settings: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().expect("a directory")), program, address, arguments, settings)
    }

    /// Starts one that shares its pictures with other processes: they are in the data directory of the first of them, which is given.
    pub fn start_beside(
        first: Arc<TempDir>,
        program: &Path,
        address: SocketAddr,
        arguments: &[&str],
        settings: &[&str],
    ) -> Self {
        let pictures = first.path().join("assets");
        if !pictures.exists() {
            return Self::start_in(first, program, address, arguments, settings);
        }
        let folder = tempfile::tempdir().expect("a directory");
        symlink(pictures, folder.path().join("assets")).expect("a new directory");
        let mut process = Self::start_in(Arc::new(folder), program, address, arguments, settings);
        process.first = Some(first);
        process
    }

    fn start_in(
        folder: Arc<TempDir>,
        program: &Path,
        address: SocketAddr,
        arguments: &[&str],
        settings: &[&str],
    ) -> Self {
        let mut command = Command::new(program);
        command.args(["serve", "--sandbox", "--listen", &address.to_string()]).args(arguments);
        command.arg("--data-dir").arg(folder.path());
        let has_length = settings.iter().any(|setting| setting.starts_with("queue.length="));
        for setting in settings.iter().copied().chain((!has_length).then_some(LONG)) {
            command.args(["--set", setting]);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let ready = lines.find_map(|line| line.strip_prefix("ready: ").map(str::to_owned));
        let ready = ready.expect("the process does not start");
        // One that has a public address prints that.
        let chosen = || -> Option<SocketAddr> { ready.strip_prefix("http://")?.trim_end_matches('/').parse().ok() };
        let address = if address.port() == 0 { chosen().expect("it prints where it listens") } else { address };
        Self { child, address, folder, first: None }
    }

    /// Starts a service with its own database in its data directory, and creates an access key.
    pub fn embedded(program: &Path, settings: &[&str]) -> (Self, Credentials) {
        let process = Self::start(program, SocketAddr::from(([127, 0, 0, 1], 0)), &[], settings);
        let keys = key(program, &["--data-dir", &process.folder.path().to_string_lossy()]);
        (process, keys)
    }

    /// Makes the directories that its pictures are parted into, which the first pictures make otherwise, each with two syncs.
    pub fn make_shelves(&self) {
        for shelf in 0..=u8::MAX {
            let directory = self.folder.path().join("assets").join(format!("{shelf:02x}"));
            create_dir_all(directory).expect("room on the disk");
        }
    }

    /// The largest memory that it ever had, in MB, as Linux reports it.
    pub fn peak(&self) -> f64 {
        self.memory("VmHWM:")
    }

    /// Its memory, in MB.
    pub fn resident(&self) -> f64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux reports it");
        let kib: f64 = line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
        kib * 1024.0 / 1e6
    }

    /// Makes a call, and returns its answer.
    pub async fn post(&self, http: &reqwest::Client, keys: &Credentials, operation: &Operation, body: &Value) -> Value {
        let request = http.post(format!("http://{}{}", self.address, operation.path)).json(body);
        let request = request.header(Credentials::ID_HEADER, keys.access_key_id());
        let request = request.header(Credentials::SECRET_HEADER, keys.expose_secret());
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// Submits a small picture by the sandbox, and returns the task's id.
    pub async fn draw(&self, http: &reqwest::Client, keys: &Credentials, prompt: &str) -> String {
        let answer = self.post(http, keys, &operations::TEXT_TO_IMAGE, &drawing(prompt)).await;
        answer["data"]["task_id"].as_str().unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
    }

    /// Submits one that is drawn at once and asks for it, with this pause after each answer, until it has succeeded.
    pub async fn drawn(&self, http: &reqwest::Client, keys: &Credentials, pause: Duration) {
        let question = json!({"businessTaskId": self.draw(http, keys, AT_ONCE).await});
        loop {
            let answer = self.post(http, keys, &operations::QUERY_TASK, &question).await;
            match answer["data"]["status"].as_i64() {
                Some(2) => return,
                Some(4 | 5) | None => panic!("{answer}"),
                Some(_) => {}
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }

    /// Waits until it accepts tasks, because it knows of a worker, with one of a picture with this prompt.
    pub async fn accepts(&self, keys: &Credentials, prompt: &str) {
        let http = http();
        for _ in 0..600 {
            let answer = self.post(&http, keys, &operations::TEXT_TO_IMAGE, &drawing(prompt)).await;
            if answer["data"]["task_id"].is_string() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("no task is accepted within a minute");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that keeps its connections.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
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

/// Creates an access key in the database that the arguments name.
pub fn key(program: &Path, place: &[&str]) -> Credentials {
    let output = Command::new(program).args(["keys", "create", "--json"]).args(place).output().expect("the program");
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let part = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no `{name}`")).to_owned();
    Credentials::new(part("access_key_id"), part("access_key_secret"))
}
