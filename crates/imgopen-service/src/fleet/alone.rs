//! The gate that is closed while a task runs alone in this process: no other run begins.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imgopen_store::RunId;

/// How long others wait for a task that runs alone, and it for them. Longer than most time limits.
pub const ALONE: Duration = Duration::from_secs(10 * 60);

/// Whether other runs may begin. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<Option<Closed>>>);

#[derive(Debug)]
struct Closed {
    run: RunId,
    /// When it opens again although the run goes on, by the uptime.
    until: Duration,
}

/// Keeps the gate closed for a run, until it is dropped or the run has been alone for long enough.
#[derive(Debug)]
#[must_use = "the gate opens once this is dropped"]
pub struct Alone {
    gate: Gate,
    run: RunId,
}

impl Gate {
    /// Closes the gate for a run at this time since the start. `None` if it is closed for another one.
    pub fn close(&self, run: &RunId, now: Duration) -> Option<Alone> {
        let mut closed = self.lock();
        if closed.as_ref().is_some_and(|closed| now < closed.until) {
            return None;
        }
        // It may wait for the others as long as they then wait for it.
        *closed = Some(Closed { run: run.clone(), until: now + 2 * ALONE });
        Some(Alone { gate: self.clone(), run: run.clone() })
    }

    /// Whether no other run may begin at this time since the start.
    pub fn is_closed(&self, now: Duration) -> bool {
        self.lock().as_ref().is_some_and(|closed| now < closed.until)
    }

    /// Whether it is closed at this time since the start for another run than that.
    pub fn is_closed_for_another(&self, run: &RunId, now: Duration) -> bool {
        self.lock().as_ref().is_some_and(|closed| now < closed.until && closed.run != *run)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Closed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alone {
    /// Says that the run begins now, so that others wait for it only so long from here on.
    pub fn begins(&self, now: Duration) {
        if let Some(closed) = self.gate.lock().as_mut().filter(|closed| closed.run == self.run) {
            closed.until = now + ALONE;
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let mut closed = self.gate.lock();
        if closed.as_ref().is_some_and(|closed| closed.run == self.run) {
            *closed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_gate_is_closed_for_one_run() {
        let gate = Gate::default();
        let [first, second] = ["a", "b"].map(|id| RunId(id.to_owned()));
        let alone = gate.close(&first, at(0)).unwrap();
        assert!(gate.is_closed(at(1)) && gate.close(&second, at(1)).is_none());
        assert!(gate.is_closed_for_another(&second, at(1)) && !gate.is_closed_for_another(&first, at(1)));
        drop(alone);
        assert!(!gate.is_closed(at(1)) && gate.close(&second, at(1)).is_some());
    }

    #[test]
    fn a_run_that_takes_long_goes_on_beside_others() {
        let gate = Gate::default();
        let [first, second] = ["a", "b"].map(|id| RunId(id.to_owned()));
        let alone = gate.close(&first, at(0)).unwrap();
        alone.begins(at(100));
        assert!(gate.is_closed(at(699)) && !gate.is_closed(at(700)));
        let next = gate.close(&second, at(700)).unwrap();
        // The end of the first does not open it for the second.
        drop(alone);
        assert!(gate.is_closed(at(701)));
        drop(next);
        assert!(!gate.is_closed(at(701)));
    }
}
