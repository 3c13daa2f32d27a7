//! Decides which task runs next, by counts of queued and running tasks in memory.
//!
//! The rows are authoritative; the counts say which task to claim, so that no statement has to count or search. A pool is a
//! number of slots: one that most engines share, and one for each engine with its own slots, so that a slow engine never
//! takes the slots of others. Within a pool, keys take turns, so that a key with a thousand tasks does not delay one
//! with a single task. Within a key, tasks run in the order of acceptance.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_store::KeyId;
use tokio::sync::Notify;

/// A number of slots for runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The engine whose slots these are; `None` for those that engines share.
    pub engine: Option<String>,
    /// How many tasks run at once.
    pub slots: usize,
    /// How many tasks of one key run at once.
    pub running_per_key: usize,
}

/// The counts of queued and running tasks. Clones share them.
#[derive(Debug, Clone)]
pub struct Dispatch {
    counts: Arc<Mutex<Counts>>,
    pools: Arc<[Pool]>,
    changed: Arc<[Notify]>,
    length: usize,
}

#[derive(Debug, Default)]
struct Counts {
    queued: usize,
    running: usize,
    /// How many slots were taken so far; the clock of `last_slot`.
    slots_taken: u64,
    pools: Vec<HashMap<KeyId, Lane>>,
}

/// The tasks of one key in one pool.
#[derive(Debug, Default)]
struct Lane {
    waiting: Waiting,
    running: usize,
    last_slot: u64,
}

/// The needs of queued tasks, in the order of acceptance. Neighbours with the same needs are counted together.
#[derive(Debug, Default)]
struct Waiting(VecDeque<(String, usize)>);

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// How many tasks wait.
    pub queued: usize,
}

/// A place in the queue. Freed on drop, unless it is kept.
#[derive(Debug)]
#[must_use = "a place that is not kept is free again"]
pub struct Place {
    dispatch: Dispatch,
    kept: bool,
}

/// A slot for a run: its holder claims a task of this key with these needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The index of the pool.
    pub pool: usize,
    /// The access key.
    pub key: KeyId,
    /// What the task needs.
    pub needs: String,
}

impl Dispatch {
    /// Returns an empty queue of that length.
    pub fn new(pools: Vec<Pool>, length: usize) -> Self {
        let counts = Counts { pools: pools.iter().map(|_| HashMap::new()).collect(), ..Counts::default() };
        let changed = pools.iter().map(|_| Notify::new()).collect();
        Self { counts: Arc::new(Mutex::new(counts)), pools: pools.into(), changed, length }
    }

    /// Returns the pools, in the order of their indexes.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Returns the index of the pool that an engine's runs count in.
    pub fn pool_of(&self, engine: &str) -> usize {
        self.pools.iter().position(|pool| pool.engine.as_deref() == Some(engine)).unwrap_or(0)
    }

    /// Adds tasks that are queued according to their rows, even beyond the length.
    pub fn refill(&self, slot: Slot, count: usize) {
        {
            let mut counts = self.lock();
            counts.queued += count;
            counts.lane(slot.pool, &slot.key).waiting.push_back(&slot.needs, count);
        }
        self.changed[slot.pool].notify_one();
    }

    /// Takes a place for a task that is about to be written.
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub fn place(&self) -> Result<Place, Full> {
        let mut counts = self.lock();
        if counts.queued >= self.length {
            return Err(Full { queued: counts.queued });
        }
        counts.queued += 1;
        Ok(Place { dispatch: self.clone(), kept: false })
    }

    /// Takes a slot for a key: of those with a queued task and a free run in this pool, the one that has waited longest for
    /// a slot. Its task counts as running from now on.
    ///
    /// Does not limit the slots taken: each of a pool's workers holds one at most.
    pub fn next(&self, pool: usize) -> Option<Slot> {
        let most = self.pools[pool].running_per_key;
        let mut counts = self.lock();
        let is_ready = |lane: &Lane| !lane.waiting.is_empty() && lane.running < most;
        let ready = counts.pools[pool].iter().filter(|(_, lane)| is_ready(lane));
        let key = ready.min_by_key(|(_, lane)| lane.last_slot).map(|(key, _)| key.clone())?;
        counts.slots_taken += 1;
        let slots_taken = counts.slots_taken;
        let lane = counts.lane(pool, &key);
        let needs = lane.waiting.pop_front()?;
        lane.running += 1;
        lane.last_slot = slots_taken;
        counts.queued = counts.queued.saturating_sub(1);
        counts.running += 1;
        // `Notify` stores several notices as one, so a woken worker wakes the next.
        if counts.pools[pool].values().any(is_ready) {
            self.changed[pool].notify_one();
        }
        Some(Slot { pool, key, needs })
    }

    /// Gives back a slot whose task could not be claimed and is still queued.
    pub fn put_back(&self, slot: &Slot) {
        {
            let mut counts = self.lock();
            counts.queued += 1;
            counts.lane(slot.pool, &slot.key).waiting.push_front(&slot.needs);
        }
        self.finished(slot);
    }

    /// Gives back a slot whose run has ended, or whose task was cancelled before the claim.
    pub fn finished(&self, slot: &Slot) {
        {
            let mut counts = self.lock();
            counts.running = counts.running.saturating_sub(1);
            let lanes = &mut counts.pools[slot.pool];
            if let Some(lane) = lanes.get_mut(&slot.key) {
                lane.running = lane.running.saturating_sub(1);
                if lane.running == 0 && lane.waiting.is_empty() {
                    lanes.remove(&slot.key);
                }
            }
        }
        self.changed[slot.pool].notify_one();
    }

    /// Removes a task that left the queue without a run.
    pub fn left(&self, key: &KeyId, needs: &str) {
        let mut counts = self.lock();
        // If a slot was taken for it meanwhile, it is not found here, and the claim of that slot finds no row.
        let lanes = counts.pools.iter_mut().filter_map(|lanes| lanes.get_mut(key));
        let removed = lanes.into_iter().any(|lane| lane.waiting.remove_last(needs));
        counts.queued = counts.queued.saturating_sub(usize::from(removed));
    }

    /// Returns the numbers of queued and of running tasks.
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.lock();
        (counts.queued, counts.running)
    }

    /// Waits until a pool may have a task to run.
    pub async fn changed(&self, pool: usize) {
        self.changed[pool].notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Returns the lane of a key. A new lane counts as just served, behind those that have waited.
    fn lane(&mut self, pool: usize, key: &KeyId) -> &mut Lane {
        let last_slot = self.slots_taken;
        self.pools[pool].entry(key.clone()).or_insert_with(|| Lane { last_slot, ..Lane::default() })
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push_back(&mut self, needs: &str, count: usize) {
        match self.0.back_mut() {
            Some((last, number)) if last == needs => *number += count,
            _ if count > 0 => self.0.push_back((needs.to_owned(), count)),
            _ => {}
        }
    }

    fn push_front(&mut self, needs: &str) {
        match self.0.front_mut() {
            Some((first, number)) if first == needs => *number += 1,
            _ => self.0.push_front((needs.to_owned(), 1)),
        }
    }

    fn pop_front(&mut self) -> Option<String> {
        let (needs, number) = self.0.front_mut()?;
        if *number > 1 {
            *number -= 1;
            return Some(needs.clone());
        }
        self.0.pop_front().map(|(needs, _)| needs)
    }

    /// Removes the last task with these needs, and returns whether there was one.
    fn remove_last(&mut self, needs: &str) -> bool {
        let Some(index) = self.0.iter().rposition(|(waiting, _)| waiting == needs) else { return false };
        self.0[index].1 -= 1;
        if self.0[index].1 == 0 {
            self.0.remove(index);
        }
        true
    }
}

impl Place {
    /// Keeps the place, once its task is written.
    pub fn keep(mut self, slot: &Slot) {
        self.kept = true;
        self.dispatch.lock().lane(slot.pool, &slot.key).waiting.push_back(&slot.needs, 1);
        self.dispatch.changed[slot.pool].notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            let mut counts = self.dispatch.lock();
            counts.queued = counts.queued.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod model_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> KeyId {
        KeyId(name.to_owned())
    }

    fn slot(pool: usize, name: &str, needs: &str) -> Slot {
        Slot { pool, key: key(name), needs: needs.to_owned() }
    }

    fn shared(running_per_key: usize) -> Pool {
        Pool { engine: None, slots: 10, running_per_key }
    }

    fn queue(length: usize, running_per_key: usize) -> Dispatch {
        Dispatch::new(vec![shared(running_per_key)], length)
    }

    #[test]
    fn keys_take_turns() {
        let queue = queue(100, 10);
        queue.refill(slot(0, "a", "n"), 3);
        for _ in 0..2 {
            queue.place().unwrap().keep(&slot(0, "b", "n"));
        }
        let mut keys: Vec<_> = std::iter::from_fn(|| queue.next(0)).map(|slot| slot.key.0).collect();
        assert_eq!(keys.len(), 5);
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[2], keys[3]);
        keys.sort();
        assert_eq!(keys, ["a", "a", "a", "b", "b"]);
        assert_eq!(queue.counts(), (0, 5));
    }

    /// Two keys that submit again as soon as they are served do not starve a third.
    #[test]
    fn a_key_that_submits_again_queues_behind_the_others() {
        let queue = queue(100, 1);
        for (name, count) in [("a", 1), ("b", 50), ("c", 1)] {
            queue.refill(slot(0, name, "n"), count);
        }
        let mut keys = Vec::new();
        for _ in 0..12 {
            let slot = queue.next(0).unwrap();
            queue.finished(&slot);
            if slot.key.as_str() != "b" {
                queue.place().unwrap().keep(&slot);
            }
            keys.push(slot.key.0);
        }
        assert!(keys.iter().filter(|key| *key == "b").count() >= 3, "{keys:?}");
    }

    #[test]
    fn running_per_key_holds_in_each_pool() {
        let own = Pool { engine: Some("slow".to_owned()), slots: 3, running_per_key: 2 };
        let queue = Dispatch::new(vec![shared(1), own], 100);
        queue.refill(slot(0, "a", "n"), 2);
        queue.refill(slot(1, "a", "s"), 3);
        let first = queue.next(0).unwrap();
        assert_eq!((first.key.as_str(), queue.next(0)), ("a", None));
        assert!(queue.next(1).is_some() && queue.next(1).is_some());
        assert_eq!(queue.next(1), None);
        queue.finished(&first);
        assert!(queue.next(0).is_some());
        assert_eq!(queue.counts(), (1, 3));
    }

    /// A long queue for one engine does not keep the tasks of others from their slots.
    #[test]
    fn an_engine_with_its_own_slots_does_not_delay_the_others() {
        let own = |name: &str| Pool { engine: Some(name.to_owned()), slots: 1, running_per_key: 1 };
        let queue = Dispatch::new(vec![shared(2), own("trainer"), own("remote")], 100);
        assert_eq!(["lanczos", "trainer", "remote"].map(|name| queue.pool_of(name)), [0, 1, 2]);
        queue.refill(slot(1, "a", "submit_training"), 50);
        queue.refill(slot(0, "a", "enlarge_image"), 1);
        queue.refill(slot(2, "b", "text_to_image"), 1);
        let training = queue.next(1).unwrap();
        assert_eq!(queue.next(1), None);
        let enlarging = queue.next(0).unwrap();
        assert_eq!(enlarging.needs, "enlarge_image");
        assert_eq!(queue.next(2).unwrap().key, key("b"));
        assert_eq!((queue.next(0), queue.next(2)), (None, None));
        queue.finished(&training);
        assert_eq!(queue.next(1).unwrap().needs, "submit_training");
        assert_eq!(queue.counts(), (48, 3));
    }

    #[tokio::test]
    async fn a_notice_wakes_the_workers_of_its_pool() {
        let own = Pool { engine: Some("slow".to_owned()), slots: 1, running_per_key: 1 };
        let queue = Dispatch::new(vec![shared(1), own], 100);
        queue.place().unwrap().keep(&slot(1, "a", "s"));
        let timeout = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(timeout, queue.changed(0)).await.is_err());
        queue.changed(1).await;
    }

    #[test]
    fn tasks_of_a_key_run_in_the_order_of_acceptance() {
        let queue = queue(100, 100);
        for needs in ["x", "x", "y", "x"] {
            queue.place().unwrap().keep(&slot(0, "a", needs));
        }
        let first = queue.next(0).unwrap();
        queue.put_back(&first);
        queue.left(&key("a"), "y");
        queue.left(&key("a"), "z");
        assert_eq!(queue.counts(), (3, 0));
        queue.place().unwrap().keep(&slot(0, "a", "y"));
        let needs: Vec<_> = std::iter::from_fn(|| queue.next(0)).map(|slot| slot.needs).collect();
        assert_eq!(needs, ["x", "x", "x", "y"]);
    }

    #[test]
    fn a_full_queue_rejects_until_a_place_is_dropped() {
        let queue = queue(1, 1);
        let place = queue.place().unwrap();
        assert_eq!(queue.place().unwrap_err(), Full { queued: 1 });
        drop(place);
        queue.place().unwrap().keep(&slot(0, "b", "n"));
        queue.left(&key("b"), "n");
        assert_eq!((queue.counts(), queue.next(0)), ((0, 0), None));
    }
}
