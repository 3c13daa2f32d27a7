//! Owners of runs, their signs of life, and the recovery of runs whose owner is dead.

use std::time::Duration;

use serde_json::Value;

use crate::clock::Moment;
use crate::ids::{AssetToken, OwnerId, RunId, TaskId};
use crate::task::TaskRow;

/// What an owner says of itself, for operators and for other processes.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnerAbout {
    /// The name of the machine that the process runs on.
    pub host: String,
    /// What the process does, such as `all`, `api` or `worker`.
    pub role: String,
    /// When the process started.
    pub started_at: Moment,
    /// What it can run, as JSON. Opaque to the store.
    pub offers: Value,
}

/// A process that says nothing of itself.
impl Default for OwnerAbout {
    fn default() -> Self {
        Self { host: String::new(), role: String::new(), started_at: Moment(0), offers: Value::Null }
    }
}

/// An owner that is registered.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnerRow {
    /// Its id.
    pub id: OwnerId,
    /// What it says of itself.
    pub about: OwnerAbout,
    /// How long its runs are still protected, by the database's clock: zero once its lease has ended. `None` if it has no lease.
    pub lease_left: Option<Duration>,
    /// Whether it is to end its runs and to begin no others.
    pub draining: bool,
    /// How many tasks it runs.
    pub runs: usize,
}

/// A task that runs, with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTask {
    /// The task.
    pub id: TaskId,
    /// The id of its operation.
    pub operation: String,
    /// The owner of its run.
    pub owner: OwnerId,
    /// When the run began.
    pub since: Moment,
}

/// An owner's sign of life.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The owner.
    pub owner: OwnerId,
    /// How long its runs are protected from now on, by the database's clock.
    pub lease: Duration,
    /// All its runs with their progress, also those whose claim is in progress: what is missing is taken for a stray.
    pub runs: Vec<RunProgress>,
    /// What it can run, if that has changed.
    pub offers: Option<Value>,
    /// From which age on, by the database's clock, a run of the owner that is not among `runs` is a stray.
    pub stray_age: Duration,
}

impl Heartbeat {
    /// The age of strays unless another is chosen. Far longer than it takes from the list of runs to the database.
    pub const STRAY_AGE: Duration = Duration::from_secs(5);

    /// A heartbeat with the usual age of strays, of an owner whose offers have not changed.
    pub fn new(owner: OwnerId, lease: Duration, runs: Vec<RunProgress>) -> Self {
        Self { owner, lease, runs, offers: None, stray_age: Self::STRAY_AGE }
    }
}

/// How far a run has got.
#[derive(Debug, Clone, PartialEq)]
pub struct RunProgress {
    /// The run.
    pub run: RunId,
    /// From 0 to 100.
    pub percent: f64,
    /// Steps done; 0 if the engine does not count them.
    pub step: u32,
    /// Steps in all; 0 if the engine does not count them.
    pub steps: u32,
    /// The name of the engine, once there is one.
    pub engine: Option<String>,
    /// The engine's grade.
    pub grade: Option<String>,
    /// The name under which the latest intermediate picture is kept.
    pub preview: Option<AssetToken>,
}

impl RunProgress {
    /// A run of which nothing is known yet.
    pub fn new(run: RunId) -> Self {
        Self { run, percent: 0.0, step: 0, steps: 0, engine: None, grade: None, preview: None }
    }
}

/// The progress of a running task.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveProgress {
    /// The task.
    pub task: TaskId,
    /// The progress of its current run, as of the last heartbeat.
    pub progress: RunProgress,
}

/// The answer to a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Whether the owner is still registered. If not, it was declared dead: its runs are others' to claim, and it is to stop them
    /// and to register by a new id.
    pub alive: bool,
    /// Whether it is to end its runs and to begin no others.
    pub draining: bool,
    /// Those of the runs that are still the owner's. The others have ended, were cancelled, or were taken away.
    pub runs: Vec<RunId>,
    /// Those of them whose previews somebody waits for.
    pub watched: Vec<RunId>,
    /// How many strays went back to the queue, uncounted: runs of this owner that it does not know of, because the answer to their
    /// claim was lost.
    pub strays: usize,
    /// The database's clock.
    pub now: Moment,
}

/// What one process does for all of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Deleting what has expired.
    Retention,
    /// Looking for files that no row accounts for.
    Sweep,
    /// Bringing the delivery attempts of callbacks forward after a clock was put back.
    Pauses,
}

impl Duty {
    /// The duty's name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Sweep => "sweep",
            Self::Pauses => "pauses",
        }
    }
}

/// What proves that owners are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The caller holds a lock that only one process can hold: every other owner is dead. No leases are needed.
    SoleOwner,
    /// Owners whose lease has ended by the database's clock are dead, and so are those that are not registered.
    Lease {
        /// For how long the caller's own heartbeats have succeeded without a gap. A lease that lasts longer is not judged: after
        /// an outage of the database all leases have ended, and each owner gets the time of one to renew its own.
        healthy_for: Duration,
    },
}

/// A request to recover the runs of dead owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The owner that asks. Its own runs are left alone.
    pub me: OwnerId,
    /// What proves that others are dead.
    pub proof: Proof,
    /// How many times a process may die while a task is its only run.
    pub attempts: Attempts,
    /// When the runs are noted as orphaned.
    pub now: Moment,
}

/// How many times a process may die while a task is its only run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// The number for every operation without its own.
    pub default: u32,
    /// Numbers by operation id.
    pub operations: Vec<(String, u32)>,
}

impl Attempts {
    /// Returns the number for the tasks of an operation.
    pub fn of(&self, operation: &str) -> u32 {
        let own = self.operations.iter().find(|(id, _)| id == operation);
        own.map_or(self.default, |(_, attempts)| *attempts)
    }
}

/// The same number for every operation.
impl From<u32> for Attempts {
    fn from(default: u32) -> Self {
        Self { default, operations: Vec::new() }
    }
}

/// The runs of dead owners, each as it was before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// Tasks that are queued again.
    pub requeued: Vec<TaskRow>,
    /// Tasks that were the only run of a dying process as many times as they may be, this time included. They are still
    /// running, so that their end can be written with all that belongs to it; until then, every recovery returns them.
    pub exhausted: Vec<TaskRow>,
}

/// A run that ended without its files being accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanedRun {
    /// The run, with whose id the names of its files begin.
    pub run: RunId,
    /// Since when it is known to be orphaned.
    pub since: Moment,
}
