//! Callbacks as rows: what is to be pushed, when next, and every delivery attempt so far.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::clock::Moment;
use crate::ids::{CallbackId, ClaimId, KeyId, OwnerId, TaskId};

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
    /// How often it was started: when its task ended, and by every redelivery.
    pub starts: i64,
    /// Delivery attempts since it was last started, which is the rung of the ladder.
    pub rung: i64,
    /// How often an attempt was put off since the last one that counts, because the server could not make it.
    pub deferrals: i64,
    /// When the last of them was.
    pub deferred_at: Option<Moment>,
    /// For how long attempts had been put off by then; see [`Deferral::deferred_for`].
    pub deferred_for: Duration,
    /// When the next attempt is due.
    pub next_at: Option<Moment>,
    /// The claim of the attempt in progress, if a process has [claimed](crate::Store::claim_callbacks) it.
    pub claim: Option<ClaimId>,
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

/// The attempts in progress, and how many there may be.
///
/// Access keys share the slots so that a key with many slow receivers never delays another key: a key takes a further slot
/// only while it has fewer attempts in progress than slots are free. One key thus takes at most half, two take a third
/// each, and there is always room for one more.
#[derive(Debug, Clone, Default)]
pub struct UnderWay {
    /// The attempts in progress. Their callbacks are not due.
    pub attempts: Vec<InProgress>,
    /// How many attempts there may be at once.
    pub at_once: usize,
    /// How many of them one key may make to one origin.
    pub per_origin: usize,
    /// Who was served last.
    pub turn: Turn,
}

/// A claim of callbacks that are due, by the rules of [`UnderWay`]: the attempts of the owner are those that it knows of, and those
/// that it has claimed and not recorded; what others have claimed is not due.
#[derive(Debug, Clone)]
pub struct ClaimCallbacks {
    /// The process that makes the attempts.
    pub owner: OwnerId,
    /// The claim, a new one.
    pub claim: ClaimId,
    /// The attempts that the process has in progress. Their callbacks are not due, even if a claim has ended before its attempt could
    /// be recorded.
    pub attempts: Vec<InProgress>,
    /// Callbacks are due by this moment.
    pub now: Moment,
    /// How long the claim holds, by the database's clock. Longer than an attempt takes: after that, another process makes it.
    pub hold: Duration,
    /// How many attempts the owner may have in progress at once.
    pub most: usize,
    /// How many of them, and of those of others, one key may make to one origin. Claims of several processes at the same moment may
    /// exceed it.
    pub at_once_per_host: usize,
    /// Who was served last.
    pub turn: Turn,
}

/// A delivery attempt in progress.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InProgress {
    /// The callback.
    pub callback: CallbackId,
    /// The access key of its task.
    pub key: KeyId,
    /// Scheme, host and port of its receiver.
    pub origin: String,
}

/// Who was served last: the next callback is that of the following key, and of the following origin within it.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The key.
    pub key: Option<KeyId>,
    /// The origin of each key.
    pub origins: HashMap<KeyId, String>,
}

/// What follows from a delivery attempt.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The callback as it was read before the attempt. If it was started or claimed again meanwhile, only the attempt is recorded.
    pub seen: CallbackRow,
    /// The attempt.
    pub attempt: DeliveryAttempt,
    /// The state that follows.
    pub state: CallbackState,
    /// The next attempt, if it is pending.
    pub next: Option<NextAttempt>,
}

/// When the next delivery attempt is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextAttempt {
    /// The moment.
    pub at: Moment,
    /// The pause until then. It bounds the wait if the clock is put back meanwhile; see
    /// [`Store::limit_callback_pauses`](crate::Store::limit_callback_pauses).
    pub pause: Duration,
}

/// A delivery attempt that the server could not make, or not record, through a fault of its own. It does not count.
#[derive(Debug, Clone)]
pub struct Deferral {
    /// The callback as it was read before the attempt. If it was started or claimed again meanwhile, nothing changes.
    pub seen: CallbackRow,
    /// When the attempt was put off.
    pub now: Moment,
    /// For how long attempts have been put off since the last one that counts, as far as the service measured it.
    pub deferred_for: Duration,
    /// When it is tried again.
    pub next: NextAttempt,
}

impl Turn {
    /// Notes that a callback was served.
    pub fn passed(&mut self, key: &KeyId, origin: &str) {
        self.key = Some(key.clone());
        self.origins.insert(key.clone(), origin.to_owned());
    }
}

impl From<&CallbackRow> for InProgress {
    fn from(callback: &CallbackRow) -> Self {
        let CallbackRow { id, key, origin, .. } = callback;
        Self { callback: id.clone(), key: key.clone(), origin: origin.clone() }
    }
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
