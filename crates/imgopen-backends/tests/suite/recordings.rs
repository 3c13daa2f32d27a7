//! The recordings, see `tests/recordings/README.md`.

use std::path::Path;

use serde_json::Value;

/// One request with its answer.
pub struct Recording {
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let recording: Value = serde_json::from_str(&text).unwrap();
    Recording {
        path: recording["request"]["path"].as_str().unwrap().to_owned(),
        sent: recording["request"]["body"].clone(),
        status: recording["answer"]["status"].as_u64().unwrap().try_into().unwrap(),
        answer: recording["answer"]["body"].clone(),
    }
}

/// Returns what an answer of the web UI says about its pictures.
pub fn info(answer: &Value) -> Value {
    serde_json::from_str(answer["info"].as_str().unwrap()).unwrap()
}
