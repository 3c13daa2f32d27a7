//! What keeps the service from its work at present, reported by the parts that meet it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The faults at present, by their source.
#[derive(Debug, Default)]
pub struct Health {
    faults: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Reports a fault, in place of an earlier one from this source. The text is shown to callers.
    pub fn fault(&self, source: &'static str, problem: impl Into<String>) {
        self.lock().insert(source, problem.into());
    }

    /// Reports that a source works.
    pub fn well(&self, source: &'static str) {
        self.lock().remove(source);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
