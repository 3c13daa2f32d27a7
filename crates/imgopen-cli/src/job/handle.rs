//! A job that was started.

use imgopen_types::Operation;
use serde_json::{Value, json};

use crate::files::local::LocalNames;

/// A job that was started: what is needed to query it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The operation that started it.
    pub operation: &'static Operation,
    /// The id to query it by.
    pub id: String,
    /// The server's id of the task, if an answer contained it.
    pub platform_id: Option<String>,
    /// The network that the service must allow so that it can fetch local pictures, if there are any.
    pub network: Option<String>,
    /// The local pictures that it was given.
    pub local: LocalNames,
}

impl Job {
    /// Describes the job in text.
    pub fn as_text(&self) -> String {
        match &self.platform_id {
            Some(platform) if *platform != self.id => format!("{} {} (task {platform})", self.operation.id, self.id),
            _ => format!("{} {}", self.operation.id, self.id),
        }
    }

    /// Describes the job in JSON.
    pub fn as_json(&self) -> Value {
        json!({ "operation": self.operation.id, "id": self.id, "task_id": self.platform_id })
    }

    /// Returns the command that waits for the job and saves its results, in backquotes.
    pub fn wait_command(&self) -> String {
        format!("`imgopen tasks wait {} --operation {}`", self.id, self.operation.id)
    }
}

/// Returns the hint for an error that says that the service may not fetch from this machine's network, or nothing.
pub fn network_hint(message: &str, network: Option<&str>) -> String {
    match network {
        Some(network) if message.contains("--allow-network") => {
            format!(
                "\nstart the service with `--allow-network {network}` so that it can fetch pictures from this machine"
            )
        }
        _ => String::new(),
    }
}
