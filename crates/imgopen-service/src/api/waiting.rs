//! Calls that are answered with the result of their task, and keep their connection until then: a key makes no more of them
//! at once than a quarter of the connections, so that the others can call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use imgopen_store::KeyId;

/// The calls that wait, by key.
#[derive(Debug)]
pub struct Waiting {
    at_most: usize,
    calls: Mutex<HashMap<KeyId, usize>>,
}

/// A call that waits, until it is dropped.
#[derive(Debug)]
pub struct Wait<'a> {
    waiting: &'a Waiting,
    key: KeyId,
}

impl Waiting {
    /// Nobody waits yet, and there is room for so many connections.
    pub fn new(connections: usize) -> Self {
        Self { at_most: (connections / 4).max(1), calls: Mutex::default() }
    }

    /// Counts a call of a key.
    ///
    /// # Errors
    ///
    /// How many wait, if the key may make no more.
    pub fn enter(&self, key: &KeyId) -> Result<Wait<'_>, usize> {
        let mut calls = self.lock();
        let count = calls.entry(key.clone()).or_default();
        if *count >= self.at_most {
            return Err(*count);
        }
        *count += 1;
        Ok(Wait { waiting: self, key: key.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, usize>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut calls = self.waiting.lock();
        if let Some(count) = calls.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_waits_for_a_quarter_of_the_connections_at_most() {
        let waiting = Waiting::new(8);
        let (greedy, modest) = (KeyId("greedy".into()), KeyId("modest".into()));
        let _first = waiting.enter(&greedy).unwrap();
        let second = waiting.enter(&greedy).unwrap();
        assert_eq!(waiting.enter(&greedy).unwrap_err(), 2);
        drop(waiting.enter(&modest).unwrap());
        drop(second);
        let _third = waiting.enter(&greedy).unwrap();
        assert_eq!(waiting.enter(&greedy).unwrap_err(), 2);
        // Keys that do not wait take no memory.
        assert_eq!(waiting.lock().len(), 1);
        // However few connections there are, one may wait.
        assert!(Waiting::new(1).enter(&modest).is_ok());
    }
}
