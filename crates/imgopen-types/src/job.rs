//! The states of a job, whatever numbers a family of operations uses for them.

/// The state of a job, on one scale for all operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Accepted and waiting.
    Queued,
    /// An engine is running it.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended without a result.
    Failed,
    /// Ended because it was cancelled.
    Cancelled,
    /// A number that the document does not list. It never counts as success.
    Unknown(i64),
}

impl JobState {
    /// Returns whether the job has ended. An unknown state does not count as an end.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
    }
}

/// The state of a job, as a query returns it.
pub trait JobReport {
    /// The state of the job, on the common scale.
    fn state(&self) -> JobState;

    /// The progress in percent, from 0 to 100, if the answer has it.
    fn progress(&self) -> Option<f64> {
        None
    }

    /// The text of the state, if the answer has one. Its wording is not fixed; do not match on it.
    fn desc(&self) -> Option<&str> {
        None
    }
}
