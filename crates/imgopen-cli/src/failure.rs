//! How a command ends: the exit codes, and failures that carry one.

use std::fmt;

use serde_json::{Value, json};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something failed on this machine or on the network.
    Failed = 1,
    /// The command line, a setting or the request is invalid.
    Usage = 2,
    /// The server answered with an error.
    Refused = 3,
    /// The task ended without a result.
    Ended = 4,
    /// The timeout expired.
    TimedOut = 5,
    /// Ctrl-C was pressed.
    Interrupted = 130,
}

/// An error with an exit code. All other errors exit with 1.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The problem and how to fix it.
    pub message: String,
    /// Members of the JSON error beside the message.
    pub detail: Value,
    /// Whether the command has already printed the failure within its JSON.
    pub is_printed: bool,
}

impl Failure {
    /// Creates a failure without details.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), detail: json!({}), is_printed: false }
    }

    /// Creates a failure of the command line, a setting or the request.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds members to the JSON error.
    pub fn detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// Returns the failure as JSON.
    pub fn as_json(&self) -> Value {
        with_detail(self.exit, &self.message, Some(self))
    }

    /// Marks the failure as printed.
    pub fn printed(self) -> Self {
        Self { is_printed: true, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Returns the exit code of an error.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Failed, |failure| failure.exit)
}

/// Returns an error as JSON, unless the command has already printed it.
pub fn as_json(error: &anyhow::Error) -> Option<Value> {
    let failure = error.downcast_ref::<Failure>();
    if failure.is_some_and(|failure| failure.is_printed) {
        return None;
    }
    Some(json!({ "error": with_detail(exit_of(error), &format!("{error:#}"), failure) }))
}

fn with_detail(exit: Exit, message: &str, failure: Option<&Failure>) -> Value {
    let mut json = json!({ "exit_code": exit as i32, "message": message });
    for (name, value) in failure.and_then(|failure| failure.detail.as_object()).into_iter().flatten() {
        json[name] = value.clone();
    }
    json
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn context_keeps_the_exit_code_and_the_details() {
        let failure = Err::<(), _>(Failure::new(Exit::Refused, "no").detail(json!({"http_status": 422})));
        let error = failure.context("the picture was not made").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Refused);
        let json = json!({"error": {"exit_code": 3, "message": "the picture was not made: no", "http_status": 422}});
        assert_eq!(as_json(&error), Some(json));
        assert_eq!(exit_of(&anyhow::anyhow!("broken")), Exit::Failed);
    }
}
