//! What a process knows of a queue that others share with it.
//!
//! Its rows are too many to be counted in memory, and others claim them at the same time. So there are hints in place of counts:
//! a part of what waits, as a look at the database has found it. A claim that finds nothing drops its hint.

use std::collections::{HashMap, HashSet};

use imgopen_store::KeyId;

use super::waiting::Begin;

/// What a look at the database has found of the tasks that need the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The index of the pool that their runs count in.
    pub pool: usize,
    /// What they need.
    pub needs: String,
    /// How their runs begin.
    pub begin: Begin,
    /// The keys with such tasks, each with how many were counted.
    pub lanes: Vec<(KeyId, usize)>,
    /// Whether these are all keys. Otherwise each has one task until the next look, so that the others have their turns.
    pub is_complete: bool,
    /// Whether there are more tasks than these.
    pub has_more: bool,
}

/// A look at the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Its number. What changes here afterwards is newer than what it finds.
    pub number: u64,
    /// How many keys are hinted at already, by needs.
    pub lanes: HashMap<String, usize>,
}

/// What is known beside the hints themselves.
#[derive(Debug, Default)]
pub struct Hints {
    /// The number of the last look.
    pub look: u64,
    /// Tasks that this process has handed back and that wait for a pause, by needs and key. Their rows are queued.
    resting: HashMap<(String, KeyId), usize>,
    /// The needs of tasks of which the last look has not found all keys.
    partial: HashSet<String>,
}

impl Hints {
    /// A look has found all keys with tasks that need this, or a part of them.
    pub fn found(&mut self, needs: &str, is_complete: bool) {
        if is_complete {
            self.partial.remove(needs);
        } else if !self.partial.contains(needs) {
            self.partial.insert(needs.to_owned());
        }
    }

    /// Whether more keys wait with these needs than the last look has found.
    pub fn is_partial(&self, needs: &str) -> bool {
        self.partial.contains(needs)
    }

    /// A task waits for a pause, although its row is queued.
    pub fn rests(&mut self, needs: &str, key: &KeyId) {
        *self.resting.entry((needs.to_owned(), key.clone())).or_default() += 1;
    }

    /// Its pause is over.
    pub fn rested(&mut self, needs: &str, key: &KeyId) {
        let lane = (needs.to_owned(), key.clone());
        if let Some(count) = self.resting.get_mut(&lane) {
            *count -= 1;
            if *count == 0 {
                self.resting.remove(&lane);
            }
        }
    }

    /// Returns how many tasks of a lane wait for a pause.
    pub fn resting(&self, needs: &str, key: &KeyId) -> usize {
        // Nearly always there are none.
        if self.resting.is_empty() {
            return 0;
        }
        self.resting.get(&(needs.to_owned(), key.clone())).copied().unwrap_or(0)
    }
}
