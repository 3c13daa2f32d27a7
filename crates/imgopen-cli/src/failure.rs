//! How a command ends: the exit codes, and failures that carry one.

use std::fmt;

use serde_json::{Value, json};

/// With which code the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something failed on this side, or on the way.
    Failed = 1,
    /// The command line or the request is wrong.
    Usage = 2,
    /// The server answered with an error.
    Refused = 3,
    /// The task ended without a result.
    Ended = 4,
    /// The time was over.
    TimedOut = 5,
    /// Ctrl-C.
    Interrupted = 130,
}

/// A failure that decides on the exit code. All others end with 1.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What is wrong and how to put it right.
    pub message: String,
    /// What JSON tells beside the message.
    pub detail: Value,
    /// Whether the command has printed its JSON object already.
    pub is_told: bool,
}

impl Failure {
    /// A failure with that code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), detail: json!({}), is_told: false }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Says more in JSON.
    pub fn detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// The failure as JSON.
    pub fn as_json(&self) -> Value {
        with_detail(self.exit, &self.message, Some(self))
    }

    /// After the command has printed what there is to print.
    pub fn told(self) -> Self {
        Self { is_told: true, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The code that an error ends with.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Failed, |failure| failure.exit)
}

/// An error as JSON, unless the command has told it already.
pub fn as_json(error: &anyhow::Error) -> Option<Value> {
    let failure = error.downcast_ref::<Failure>();
    if failure.is_some_and(|failure| failure.is_told) {
        return None;
    }
    Some(json!({ "error": with_detail(exit_of(error), &format!("{error:#}"), failure) }))
}

fn with_detail(exit: Exit, message: &str, failure: Option<&Failure>) -> Value {
    let mut told = json!({ "exit_code": exit as i32, "message": message });
    for (name, value) in failure.and_then(|failure| failure.detail.as_object()).into_iter().flatten() {
        told[name] = value.clone();
    }
    told
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_failure_keeps_its_code_under_more_words() {
        let failure = Err::<(), _>(Failure::new(Exit::Refused, "no").detail(json!({"http_status": 422})));
        let error = failure.context("the picture was not made").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Refused);
        let told = json!({"error": {"exit_code": 3, "message": "the picture was not made: no", "http_status": 422}});
        assert_eq!(as_json(&error), Some(told));
        assert_eq!(exit_of(&anyhow::anyhow!("broken")), Exit::Failed);
    }
}
