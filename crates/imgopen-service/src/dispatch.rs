//! Decides which task runs next, by counts of queued and running tasks in memory.
//!
//! The rows are authoritative; the counts say which task to claim, so that no statement has to count or search. A pool is a
//! number of slots: one that most engines share, and one for each engine with its own slots, so that a slow engine never
//! takes the slots of others. Within a pool, keys take turns, so that a key with a thousand tasks does not delay one
//! with a single task. Within a key, tasks run in the order of acceptance, but for those whose runs met faults. After a
//! fault of the server, or of an engine, the tasks that it concerns are held for a while; see [`holds`].

mod holds;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imgopen_store::KeyId;
use tokio::sync::Notify;
use tokio::time::Instant;

use holds::Holds;
pub use holds::{Scope, pause};

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
    /// The queued tasks of each key that has any.
    queued_by_key: HashMap<KeyId, usize>,
    running: usize,
    /// How many slots were taken so far; the clock of `last_slot`.
    slots_taken: u64,
    pools: Vec<HashMap<KeyId, Lane>>,
    holds: Holds,
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
    key: KeyId,
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
            counts.joined(&slot.key, count);
            counts.lane(slot.pool, &slot.key).waiting.push_back(&slot.needs, count);
        }
        self.changed[slot.pool].notify_one();
    }

    /// Takes a place for a task of a key that is about to be written. A full queue still takes a key that has less than
    /// its share, so that no key can keep the others out, until twice as many tasks wait as the length says.
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub fn place(&self, key: &KeyId) -> Result<Place, Full> {
        let mut counts = self.lock();
        if counts.queued >= self.length {
            let own = counts.queued_by_key.get(key).copied().unwrap_or(0);
            let keys = counts.queued_by_key.len() + usize::from(own == 0);
            let has_share = own < (self.length / keys).max(1);
            if !has_share || counts.queued >= self.length.saturating_mul(2) {
                return Err(Full { queued: counts.queued });
            }
        }
        counts.joined(key, 1);
        Ok(Place { dispatch: self.clone(), key: key.clone(), kept: false })
    }

    /// Takes a slot for a key: of those with a queued task that is not held and a free run in this pool, the one that has
    /// waited longest for a slot. Its task counts as running from now on.
    ///
    /// Does not limit the slots taken: each of a pool's workers holds one at most.
    pub fn next(&self, pool: usize) -> Option<Slot> {
        let most = self.pools[pool].running_per_key;
        let now = Instant::now();
        let mut counts = self.lock();
        let Counts { pools, holds, slots_taken, .. } = &mut *counts;
        let is_free = |needs: &str| holds.allow(needs, now);
        let is_ready = |lane: &Lane| lane.running < most && lane.waiting.has(is_free);
        let ready = pools[pool].iter_mut().filter(|(_, lane)| is_ready(lane));
        let (key, lane) = ready.min_by_key(|(_, lane)| lane.last_slot)?;
        let needs = lane.waiting.pop_first(is_free)?;
        *slots_taken += 1;
        lane.running += 1;
        lane.last_slot = *slots_taken;
        let key = key.clone();
        if holds.begin(&needs, now) {
            self.notify_after(holds::LONGEST);
        }
        // `Notify` stores several notices as one, so a woken worker wakes the next.
        let is_free = |needs: &str| holds.allow(needs, now);
        if pools[pool].values().any(|lane| lane.running < most && lane.waiting.has(is_free)) {
            self.changed[pool].notify_one();
        }
        counts.left(&key);
        counts.running += 1;
        Some(Slot { pool, key, needs })
    }

    /// Takes a slot for one particular queued task, whatever is held.
    pub fn take(&self, slot: &Slot) {
        let mut counts = self.lock();
        let lane = counts.lane(slot.pool, &slot.key);
        let is_counted = lane.waiting.remove_last(&slot.needs);
        lane.running += 1;
        if is_counted {
            counts.left(&slot.key);
        }
        counts.running += 1;
    }

    /// Holds the tasks that a fault concerns, for a second after the first fault and twice as long after each that
    /// follows, up to a minute; at least `least`. Then one of them is let through, and the others only once its run has
    /// shown that the fault is over. Returns how long they are held. Needs a runtime.
    pub fn hold(&self, scope: Scope, least: Option<Duration>) -> Duration {
        let pause = self.lock().holds.fault(scope, least, Instant::now());
        self.notify_after(pause);
        pause
    }

    /// Wakes a worker of each pool after a pause. Needs a runtime.
    fn notify_after(&self, pause: Duration) {
        let changed = self.changed.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            changed.iter().for_each(Notify::notify_one);
        });
    }

    /// Ends the holds that a run with these needs has shown to be over: that of the server, and if the engine did its work,
    /// that of its needs. Returns whether any was in force.
    pub fn release(&self, needs: &str, is_answered: bool) -> bool {
        let is_released = self.lock().holds.release(needs, is_answered);
        if is_released {
            self.changed.iter().for_each(Notify::notify_one);
        }
        is_released
    }

    /// Ends the hold of the server if no task is queued or running. Returns whether there was one.
    pub fn release_if_idle(&self) -> bool {
        let mut counts = self.lock();
        counts.queued == 0 && counts.running == 0 && counts.holds.release_server()
    }

    /// Whether all tasks are held, because of a fault of the server.
    pub fn is_held(&self) -> bool {
        self.lock().holds.is_server_held()
    }

    /// Gives back a slot whose task could not be claimed and is still queued.
    pub fn put_back(&self, slot: &Slot) {
        {
            let mut counts = self.lock();
            counts.joined(&slot.key, 1);
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
            if counts.holds.over(&slot.needs) {
                self.changed.iter().for_each(Notify::notify_one);
            }
        }
        self.changed[slot.pool].notify_one();
    }

    /// Removes a task that left the queue without a run.
    pub fn left(&self, key: &KeyId, needs: &str) {
        let mut counts = self.lock();
        // If a slot was taken for it meanwhile, it is not found here, and the claim of that slot finds no row.
        let lanes = counts.pools.iter_mut().filter_map(|lanes| lanes.get_mut(key));
        if lanes.into_iter().any(|lane| lane.waiting.remove_last(needs)) {
            counts.left(key);
        }
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
    /// Counts tasks of a key that join the queue.
    fn joined(&mut self, key: &KeyId, count: usize) {
        self.queued += count;
        if count > 0 {
            *self.queued_by_key.entry(key.clone()).or_default() += count;
        }
    }

    /// Counts a task of a key that leaves the queue.
    fn left(&mut self, key: &KeyId) {
        self.queued = self.queued.saturating_sub(1);
        if let Some(count) = self.queued_by_key.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.queued_by_key.remove(key);
            }
        }
    }

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

    /// Whether a task waits whose needs are free.
    fn has(&self, is_free: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|(needs, _)| is_free(needs))
    }

    /// Removes the first task whose needs are free.
    fn pop_first(&mut self, is_free: impl Fn(&str) -> bool) -> Option<String> {
        let index = self.0.iter().position(|(needs, _)| is_free(needs))?;
        let (needs, number) = &mut self.0[index];
        if *number > 1 {
            *number -= 1;
            return Some(needs.clone());
        }
        self.0.remove(index).map(|(needs, _)| needs)
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
            self.dispatch.lock().left(&self.key);
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
