//! The states of a task, and which may follow which.

use std::fmt;
use std::str::FromStr;

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Accepted and waiting.
    Queued,
    /// An engine works on it.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended without a result.
    Failed,
    /// Ended at the caller's request.
    Cancelled,
}

/// A text that is not the name of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a state; use one of queued, running, succeeded, failed, cancelled")]
pub struct UnknownState(String);

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether a task in this state may change to the other.
    ///
    /// A running task returns to the queue when its process hands it back or dies. A final state never changes.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => matches!(next, Self::Queued | Self::Succeeded | Self::Failed | Self::Cancelled),
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The states that never change.
    pub const FINAL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether this state never changes.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The state's name in the database, on the wire and in metrics, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_state_never_changes_and_any_other_can_end() {
        for state in State::ALL {
            let ends = State::ALL.into_iter().filter(|next| next.is_final() && state.may_become(*next));
            assert_eq!(ends.count() > 0, !state.is_final(), "{state}");
            assert!(!state.may_become(state));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!(!State::Queued.may_become(State::Succeeded));
    }
}
