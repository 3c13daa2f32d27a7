//! Owners of runs, and the recovery of runs whose owner is dead.

use crate::clock::Moment;
use crate::ids::{OwnerId, RunId};
use crate::task::TaskRow;

/// What proves that owners are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The caller holds a lock that only one process can hold: every other owner is dead. No leases are needed.
    SoleOwner,
    /// Owners whose lease ended before this moment are dead, and so are those that are not registered.
    Lease {
        /// The time, by the same clock as the leases.
        now: Moment,
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
