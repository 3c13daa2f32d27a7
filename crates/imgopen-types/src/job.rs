//! The states of a job, whatever numbers a family of operations uses for them.

/// What a status number says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Accepted and waiting.
    Queued,
    /// Being worked on.
    Running,
    /// Done; the result is there.
    Succeeded,
    /// Ended without a result.
    Failed,
    /// Ended because someone asked for it.
    Cancelled,
    /// A number that the document does not know. It is never read as done.
    Unknown(i64),
}

impl JobState {
    /// Whether nothing more will happen. An unknown state is not an end.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
    }
}

/// What a query tells of a job.
pub trait JobReport {
    /// Where the job stands.
    fn state(&self) -> JobState;

    /// How far it is, in percent, where the answer tells.
    fn progress(&self) -> Option<f64> {
        None
    }

    /// The text that goes with the state. Its wording is not fixed; do not match on it.
    fn desc(&self) -> Option<&str> {
        None
    }
}
