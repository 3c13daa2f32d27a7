//! Whose turn it is: how many tasks of each key wait and run, counted in memory beside the rows.
//!
//! The rows are the truth; the counts say where to look next, so that no statement has to count or to search. Keys take
//! turns, so that one with a thousand tasks does not hold up one with a single task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ids::KeyId;

/// The counts.
#[derive(Debug, Clone)]
pub struct Queue {
    lanes: Arc<Mutex<Lanes>>,
    changed: Arc<Notify>,
    length: usize,
    running_per_key: usize,
}

#[derive(Debug, Default)]
struct Lanes {
    queued: usize,
    running: usize,
    turn: u64,
    lanes: HashMap<KeyId, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    queued: usize,
    running: usize,
    last_turn: u64,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// How many tasks wait.
    pub queued: usize,
}

/// A place in the queue, given back unless it is kept.
#[derive(Debug)]
#[must_use = "a place that is not kept is given back"]
pub struct Place {
    queue: Queue,
    key: Option<KeyId>,
}

impl Queue {
    /// An empty queue of that many places.
    pub fn new(length: usize, running_per_key: usize) -> Self {
        Self { lanes: Arc::default(), changed: Arc::default(), length, running_per_key }
    }

    /// Sets what waits, as the rows have it. Only before the first turn.
    pub fn refill(&self, waiting: Vec<(KeyId, usize)>) {
        {
            let mut lanes = self.lock();
            for (key, count) in waiting {
                lanes.queued += count;
                lanes.lane(&key).queued += count;
            }
        }
        self.changed.notify_one();
    }

    /// Takes a place for a task that is about to be written.
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub fn place(&self, key: &KeyId) -> Result<Place, Full> {
        let mut lanes = self.lock();
        if lanes.queued >= self.length {
            return Err(Full { queued: lanes.queued });
        }
        lanes.queued += 1;
        Ok(Place { queue: self.clone(), key: Some(key.clone()) })
    }

    /// The key whose turn it is: of those with a waiting task and a free run, the one that had its last turn longest
    /// ago. Its task counts as running from now on.
    pub fn next(&self) -> Option<KeyId> {
        let mut lanes = self.lock();
        let free = |lane: &Lane| lane.queued > 0 && lane.running < self.running_per_key;
        let ready = lanes.lanes.iter().filter(|(_, lane)| free(lane));
        let key = ready.min_by_key(|(_, lane)| lane.last_turn).map(|(key, _)| key.clone())?;
        lanes.turn += 1;
        let turn = lanes.turn;
        lanes.queued = lanes.queued.saturating_sub(1);
        lanes.running += 1;
        let lane = lanes.lane(&key);
        lane.queued -= 1;
        lane.running += 1;
        lane.last_turn = turn;
        // Of several notices at one moment only one is kept, so each who gets a turn passes the word on.
        if lanes.lanes.values().any(free) {
            self.changed.notify_one();
        }
        Some(key)
    }

    /// A turn could not be taken: its task waits again.
    pub fn put_back(&self, key: &KeyId) {
        {
            let mut lanes = self.lock();
            lanes.queued += 1;
            lanes.lane(key).queued += 1;
        }
        self.finished(key);
    }

    /// A run ended, or the turn found no row.
    pub fn finished(&self, key: &KeyId) {
        let mut lanes = self.lock();
        lanes.running = lanes.running.saturating_sub(1);
        if let Some(lane) = lanes.lanes.get_mut(key) {
            lane.running = lane.running.saturating_sub(1);
            if lane.running == 0 && lane.queued == 0 {
                lanes.lanes.remove(key);
            }
        }
        drop(lanes);
        self.changed.notify_one();
    }

    /// A task left the queue without a run.
    pub fn left(&self, key: &KeyId) {
        let mut lanes = self.lock();
        let taken = match lanes.lanes.get_mut(key) {
            Some(lane) if lane.queued > 0 => {
                lane.queued -= 1;
                true
            }
            // Its turn has come at the same moment; that turn will find no row.
            _ => false,
        };
        lanes.queued = lanes.queued.saturating_sub(usize::from(taken));
    }

    /// How many tasks wait, and how many run.
    pub fn counts(&self) -> (usize, usize) {
        let lanes = self.lock();
        (lanes.queued, lanes.running)
    }

    /// Waits until there may be something to do.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// The lane of a key. One that comes back lines up behind those that have waited.
    fn lane(&mut self, key: &KeyId) -> &mut Lane {
        let last_turn = self.turn;
        self.lanes.entry(key.clone()).or_insert_with(|| Lane { last_turn, ..Lane::default() })
    }
}

impl Place {
    /// The task is written: it waits for its turn.
    pub fn keep(mut self) {
        let Some(key) = self.key.take() else { return };
        self.queue.lock().lane(&key).queued += 1;
        self.queue.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.key.is_some() {
            let mut lanes = self.queue.lock();
            lanes.queued = lanes.queued.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> KeyId {
        KeyId(name.to_owned())
    }

    #[test]
    fn keys_take_turns() {
        let queue = Queue::new(100, 10);
        queue.refill(vec![(key("a"), 3)]);
        for _ in 0..2 {
            queue.place(&key("b")).unwrap().keep();
        }
        let mut turns: Vec<_> = std::iter::from_fn(|| queue.next()).map(|key| key.0).collect();
        assert_eq!(turns.len(), 5);
        assert_ne!(turns[0], turns[1]);
        assert_ne!(turns[2], turns[3]);
        turns.sort();
        assert_eq!(turns, ["a", "a", "a", "b", "b"]);
        assert_eq!(queue.counts(), (0, 5));
    }

    /// Two keys that come back as soon as they are served do not push aside one that waits.
    #[test]
    fn whoever_comes_back_lines_up_behind() {
        let queue = Queue::new(100, 1);
        queue.refill(vec![(key("a"), 1), (key("b"), 50), (key("c"), 1)]);
        let mut turns = Vec::new();
        for _ in 0..12 {
            let turn = queue.next().unwrap();
            queue.finished(&turn);
            if turn.as_str() != "b" {
                queue.place(&turn).unwrap().keep();
            }
            turns.push(turn.0);
        }
        assert!(turns.iter().filter(|turn| *turn == "b").count() >= 3, "{turns:?}");
    }

    #[test]
    fn a_key_runs_only_so_many() {
        let queue = Queue::new(100, 1);
        queue.refill(vec![(key("a"), 2)]);
        assert_eq!(queue.next(), Some(key("a")));
        assert_eq!(queue.next(), None);
        queue.finished(&key("a"));
        assert_eq!(queue.next(), Some(key("a")));
    }

    #[test]
    fn a_full_queue_refuses_and_a_dropped_place_is_free_again() {
        let queue = Queue::new(1, 1);
        let place = queue.place(&key("a")).unwrap();
        assert_eq!(queue.place(&key("b")).unwrap_err(), Full { queued: 1 });
        drop(place);
        queue.place(&key("b")).unwrap().keep();
        queue.left(&key("b"));
        assert_eq!((queue.counts(), queue.next()), ((0, 0), None));
    }
}
