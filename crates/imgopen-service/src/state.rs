//! The states of a task: which there are, which may follow which, and which number each has in the published families.

use std::fmt;
use std::str::FromStr;

use imgopen_types::{ExpandPromptStatus, SdStatus, ToolStatus};

/// Where a task stands. This is the one place that defines it; the wire's numbers are derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Accepted and waiting.
    Queued,
    /// An engine works on it.
    Running,
    /// Done; the result is there.
    Succeeded,
    /// Ended without a result.
    Failed,
    /// Ended because someone asked for it.
    Cancelled,
}

/// A text that is no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state; use one of queued, running, succeeded, failed, cancelled")]
pub struct UnknownState(String);

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether a task in this state may go over into the other.
    ///
    /// A running task goes back to the queue when the process that ran it ended: it is run again, up to a limit. An
    /// end is an end.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => matches!(next, Self::Queued | Self::Succeeded | Self::Failed | Self::Cancelled),
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The states in which nothing more will happen.
    pub const FINAL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The condition, in SQL, that a task may go over into this state. Every statement that changes a state has it.
    pub(crate) fn may_follow(self) -> String {
        let before = Self::ALL.into_iter().filter(|state| state.may_become(self));
        let before: Vec<_> = before.map(|state| format!("state = '{state}'")).collect();
        format!("({})", before.join(" OR "))
    }

    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Its name in the database, in the extras and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Its number in a family of statuses, by the name of the family's schema; `None` for a schema that is none.
    pub fn status(self, schema: &str) -> Option<i64> {
        match schema {
            "SdStatus" => Some(self.sd().value()),
            "ToolStatus" => Some(self.tool().value()),
            "ExpandPromptStatus" => Some(self.expand_prompt().value()),
            _ => None,
        }
    }

    fn sd(self) -> SdStatus {
        match self {
            Self::Queued => SdStatus::Queued,
            Self::Running => SdStatus::Running,
            Self::Succeeded => SdStatus::Succeeded,
            Self::Failed => SdStatus::Failed,
            Self::Cancelled => SdStatus::Cancelled,
        }
    }

    /// The tools' scale has no cancelled: to a caller it is an end without a result.
    fn tool(self) -> ToolStatus {
        match self {
            Self::Queued | Self::Running => ToolStatus::Running,
            Self::Succeeded => ToolStatus::Succeeded,
            Self::Failed | Self::Cancelled => ToolStatus::Failed,
        }
    }

    /// Only success is published here. The other states keep clear of it, in the numbers of the generation jobs.
    fn expand_prompt(self) -> ExpandPromptStatus {
        match self {
            Self::Succeeded => ExpandPromptStatus::Succeeded,
            other => ExpandPromptStatus::from(other.sd().value()),
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

impl rusqlite::ToSql for State {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl rusqlite::types::FromSql for State {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        let text = value.as_str()?;
        text.parse().map_err(|error: UnknownState| rusqlite::types::FromSqlError::Other(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use imgopen_types::JobState;

    use super::*;

    #[test]
    fn an_end_is_an_end_and_everything_else_can_end() {
        for state in State::ALL {
            let ends = State::ALL.into_iter().filter(|next| next.is_final() && state.may_become(*next));
            assert_eq!(ends.count() > 0, !state.is_final(), "{state}");
            assert!(!state.may_become(state));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!(State::Cancelled.may_follow(), "(state = 'queued' OR state = 'running')");
        // Nothing is done that no engine worked on.
        assert!(!State::Queued.may_become(State::Succeeded));
    }

    #[test]
    fn every_family_reads_its_numbers_back_as_meant() {
        for state in State::ALL {
            let sd = SdStatus::from(state.status("SdStatus").unwrap()).state();
            let tool = ToolStatus::from(state.status("ToolStatus").unwrap()).state();
            let expand = ExpandPromptStatus::from(state.status("ExpandPromptStatus").unwrap()).state();
            assert_eq!(sd.is_final(), state.is_final());
            assert_eq!(tool.is_final(), state.is_final());
            for family in [sd, tool, expand] {
                assert_eq!(family == JobState::Succeeded, state == State::Succeeded, "{state} as {family:?}");
            }
        }
        assert_eq!(State::Running.status("Envelope"), None);
    }
}
