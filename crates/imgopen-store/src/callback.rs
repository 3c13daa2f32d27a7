//! Callbacks as rows: what is to be pushed, when next, and every delivery attempt so far.

use std::fmt;

use crate::clock::Moment;
use crate::ids::{CallbackId, KeyId, TaskId};

/// The state of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackState {
    /// It is still to be pushed.
    Pending,
    /// The receiver has acknowledged it.
    Acknowledged,
    /// The receiver has not acknowledged it, and no further attempt is made.
    Abandoned,
}

/// A callback to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCallback {
    /// The id that the receiver sees.
    pub id: CallbackId,
    /// The receiver's address.
    pub url: String,
    /// Scheme, host and port of that address.
    pub origin: String,
    /// The message, as JSON.
    pub body: String,
}

/// A callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackRow {
    /// The id that the receiver sees.
    pub id: CallbackId,
    /// The task whose end it reports.
    pub task: TaskId,
    /// The access key of that task.
    pub key: KeyId,
    /// The receiver's address.
    pub url: String,
    /// Scheme, host and port of that address.
    pub origin: String,
    /// The message, as JSON.
    pub body: String,
    /// The current state.
    pub state: CallbackState,
    /// Delivery attempts since it was last started, which is the rung of the ladder.
    pub rung: i64,
    /// When the next attempt is due.
    pub next_at: Option<Moment>,
    /// When the task ended.
    pub created_at: Moment,
    /// The last [`ATTEMPTS`] attempts, the oldest first. Only lists and redeliveries read them.
    pub tries: Vec<DeliveryAttempt>,
    /// The place in lists.
    pub place: i64,
}

/// How many delivery attempts of a callback are read, the last ones. Every attempt has a row.
pub const ATTEMPTS: usize = 100;

/// One try to push a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// Its number, from 1. Ignored when it is recorded.
    pub number: i64,
    /// When it began.
    pub started_at: Moment,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The receiver's HTTP status, if it answered.
    pub http_status: Option<i64>,
    /// `acknowledged`, or what went wrong.
    pub outcome: String,
}

/// What is being pushed at the moment, and therefore not due.
#[derive(Debug, Clone, Default)]
pub struct UnderWay {
    /// Callbacks with an attempt in progress.
    pub callbacks: Vec<CallbackId>,
    /// Origins that take no more at once.
    pub busy_origins: Vec<String>,
}

/// What follows from a delivery attempt.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The callback as it was read before the attempt. If it was started again meanwhile, only the attempt is recorded.
    pub seen: CallbackRow,
    /// The attempt.
    pub attempt: DeliveryAttempt,
    /// The state that follows.
    pub state: CallbackState,
    /// When the next attempt is due, if it is pending.
    pub next_at: Option<Moment>,
}

/// Which callbacks are listed.
#[derive(Debug, Clone, Default)]
pub struct CallbackFilter {
    /// Only callbacks of this access key.
    pub key: Option<KeyId>,
    /// Only callbacks of this task.
    pub task: Option<TaskId>,
    /// Only callbacks in one of these states; empty for any.
    pub states: Vec<CallbackState>,
}

impl CallbackState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Acknowledged, Self::Abandoned];

    /// The state's name in the database and on the wire, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Acknowledged => "acknowledged",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for CallbackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
