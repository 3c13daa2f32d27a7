//! Requests that were recorded, sent again.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::recordings::Recording;

/// Sends what was recorded to a server, and returns the status and the body, as text if it is not JSON.
pub async fn again(url: &str, recording: &Recording) -> (u16, Value) {
    let url = format!("{}{}", url.trim_end_matches('/'), recording.path);
    let client = reqwest::Client::new();
    let request = match (recording.method.as_str(), &recording.sent) {
        ("GET", _) => client.get(url),
        // Broken JSON and nothing were recorded as text.
        (_, Value::String(text)) => client.post(url).body(text.clone()),
        (_, body) => client.post(url).json(body),
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Returns the names of an object's members.
pub fn keys(object: &Value) -> BTreeSet<&String> {
    object.as_object().unwrap().keys().collect()
}
