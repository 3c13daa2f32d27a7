//! How a job ends without a result.

use std::time::Duration;

use imgopen_types::Violations;

/// Why an engine has no result.
///
/// The variants differ in what the caller of the engine does next: reject the request, try again later or elsewhere,
/// fail the task, or drop the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The request, or a picture that it names, cannot be used. Trying again does not help.
    #[error("{}{problem}", prefix(field.as_deref()))]
    Rejected {
        /// The field by its path on the wire, such as `alwayson_scripts.output_image_format`; `None` if the problem is
        /// not that of one field.
        field: Option<String>,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The engine cannot work now, through no fault of the request. Another try, or another engine, may succeed.
    #[error("the engine is unavailable: {reason}")]
    Unavailable {
        /// What is missing, such as a back end that does not answer.
        reason: String,
        /// When another try makes sense, if the engine knows.
        retry_after: Option<Duration>,
    },
    /// What the job needs is there, but in use by something else, such as a device by a training. Another try may succeed.
    #[error("the engine is busy: {0}")]
    Busy(String),
    /// The work was ended from outside, as by a system that is short of memory, which says little about what did it. Another try
    /// may succeed after a pause.
    #[error("the engine was interrupted: {0}")]
    Interrupted(String),
    /// The engine failed, through no fault of the request.
    #[error("the engine failed: {0}")]
    Failed(String),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
}

impl EngineError {
    /// Rejects a request for the value of one field.
    pub fn rejected(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Rejected { field: Some(field.into()), problem: problem.into() }
    }
}

/// Names the field if there is one fault, and lists all of them otherwise.
impl From<Violations> for EngineError {
    fn from(violations: Violations) -> Self {
        match violations.iter().next() {
            Some(only) if violations.len() == 1 && !only.field.is_empty() => Self::rejected(&only.field, &only.message),
            _ => Self::Rejected { field: None, problem: violations.to_string() },
        }
    }
}

fn prefix(field: Option<&str>) -> String {
    field.map(|field| format!("`{field}`: ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_its_field_if_it_has_one() {
        assert_eq!(EngineError::rejected("scale", "9 given").to_string(), "`scale`: 9 given");
        assert_eq!(EngineError::Rejected { field: None, problem: "too much".to_owned() }.to_string(), "too much");
    }
}
