//! The recordings, see `tests/recordings/README.md`.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One request with its answer.
pub struct Recording {
    /// The method of the request.
    pub method: String,
    /// The path of the request.
    pub path: String,
    /// What was sent.
    pub sent: Value,
    /// The status of the answer.
    pub status: u16,
    /// The answer.
    pub answer: Value,
}

/// Reads a recording, such as `webui/txt2img`.
pub fn recording(name: &str) -> Recording {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let recording: Value = serde_json::from_str(&text).unwrap();
    let text = |member: &str| recording["request"][member].as_str().unwrap().to_owned();
    Recording {
        method: text("method"),
        path: text("path"),
        sent: recording["request"]["body"].clone(),
        status: recording["answer"]["status"].as_u64().unwrap().try_into().unwrap(),
        answer: recording["answer"]["body"].clone(),
    }
}

/// Tests of other crates of the workspace use them too.
fn folder() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = crates.map(|folder| folder.join("crates/imgopen-backends/tests/recordings"));
    folders.find(|folder| folder.is_dir()).expect("the workspace has recordings")
}

/// Returns what an answer of the web UI says about its pictures.
pub fn info(answer: &Value) -> Value {
    serde_json::from_str(answer["info"].as_str().unwrap()).unwrap()
}
