//! Decides which task runs next, by counts of queued and running tasks in memory.
//!
//! The rows are authoritative; the counts say which task to claim, so that no statement has to count or search. A pool is a
//! number of slots: one that most engines share, and one for each engine with its own slots, so that a slow engine never
//! takes the slots of others. Within a pool, keys take turns, so that a key with a thousand tasks does not delay one
//! with a single task. Within a key, tasks run in the order of acceptance, but for those whose runs met faults. After a
//! fault of the server, or of an engine, the tasks that it concerns are held for a while; see [`holds`].
//!
//! A run that fetches its pictures begins without a slot, in one of the pool's places for fetching, so that slow sources
//! hold no slots. A key takes a further place only while it holds fewer than are free, so that it never holds them all. With
//! its pictures, the run waits for a slot, and it keeps its place until it works. Places therefore bound how many files wait
//! in memory. Slots are given in the order in which they are asked for, by runs with their pictures and by workers
//! for tasks that need none, as far as the engine has room for what they need; see [`room`].
//!
//! If several processes share the queue, the counts of what waits are [`hints`], and all else is as it is for one: turns, places
//! and holds are those of this process.

mod hints;
mod holds;
mod room;
mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imgopen_store::{KeyId, KeyShare};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use hints::Hints;
pub use hints::{Found, Look};
use holds::Holds;
pub use holds::{Scope, pause};
use room::Asked;
pub use room::Room;
pub use waiting::Begin;
use waiting::{Lane, Lanes, Taken};

/// The pause before engines are asked again for which there was no room: what takes it may be no run of this pool.
const LOOK: Duration = Duration::from_secs(1);

/// A number of slots for runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The engine whose slots these are, and those of engines that have it do the work; `None` for those that engines share.
    pub engine: Option<String>,
    /// How many runs work at once.
    pub slots: usize,
    /// How many runs may have begun to fetch pictures without working yet.
    pub fetching: usize,
    /// How many runs of one key there are at once, whether they fetch or work.
    pub running_per_key: usize,
}

/// The counts of queued and running tasks. Clones share them.
#[derive(Debug, Clone)]
pub struct Dispatch {
    counts: Arc<Mutex<Counts>>,
    pools: Arc<[Pool]>,
    /// The slots of each pool.
    slots: Arc<[Arc<Semaphore>]>,
    /// What wakes the workers of each pool, by how the runs that they claim begin.
    changed: Arc<[[Notify; 2]]>,
    /// What wakes the runs of each pool that have their pictures and wait for room.
    freed: Arc<[Notify]>,
    /// Notified when hints run low while more waits, or out.
    low: Arc<Notify>,
    length: usize,
    room: Room,
}

#[derive(Debug, Default)]
struct Counts {
    queued: usize,
    /// The queued tasks of each key that has any.
    queued_by_key: HashMap<KeyId, usize>,
    running: usize,
    /// How many slots were taken so far; the clock of `last_slot`.
    slots_taken: u64,
    pools: Vec<Lanes>,
    holds: Holds,
    /// Whether other processes share the queue.
    is_shared: bool,
    hints: Hints,
    /// Whether all are woken soon, because there was no room for some.
    looks_again: bool,
}

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

/// A place for fetching. Freed on drop.
#[derive(Debug)]
#[must_use = "a place that is dropped is free again"]
pub struct Fetching {
    dispatch: Dispatch,
    pool: usize,
    key: KeyId,
}

/// The time from when a run holds a slot until it has begun in its engine. Over on drop.
#[derive(Debug)]
#[must_use = "the run counts as begun once this is dropped"]
pub struct Starting {
    dispatch: Dispatch,
    pool: usize,
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
    /// How its run begins.
    pub begin: Begin,
}

impl Dispatch {
    /// Returns an empty queue of that length.
    pub fn new(pools: Vec<Pool>, length: usize) -> Self {
        let counts = Counts { pools: pools.iter().map(|_| Lanes::default()).collect(), ..Counts::default() };
        let slots = pools.iter().map(|pool| Arc::new(Semaphore::new(pool.slots.min(Semaphore::MAX_PERMITS)))).collect();
        let changed = pools.iter().map(|_| <[Notify; 2]>::default()).collect();
        let freed = pools.iter().map(|_| Notify::new()).collect();
        let (counts, room) = (Arc::new(Mutex::new(counts)), Room::default());
        Self { counts, pools: pools.into(), slots, changed, freed, low: Arc::default(), length, room }
    }

    /// Sets how engines with their own slots are asked whether they have room.
    pub fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Has it share its queue with other processes.
    pub fn shared(self) -> Self {
        self.lock().is_shared = true;
        self
    }

    /// Whether other processes share the queue.
    pub fn is_shared(&self) -> bool {
        self.lock().is_shared
    }

    /// Returns the pools, in the order of their indexes.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Returns the index of the pool with the slots of an engine.
    pub fn pool_of(&self, engine: &str) -> usize {
        self.pools.iter().position(|pool| pool.engine.as_deref() == Some(engine)).unwrap_or(0)
    }

    /// Adds tasks that are queued according to their rows, even beyond the length.
    pub fn refill(&self, slot: Slot, count: usize) {
        {
            let mut counts = self.lock();
            counts.joined(&slot.key, count);
            counts.lane(slot.pool, &slot.key).waiting.push_back(&slot.needs, slot.begin, count);
        }
        self.notify(slot.pool, slot.begin);
    }

    /// Takes a place for a task of a key that is about to be written. A full queue still takes a key that has less than
    /// its share, so that no key can keep the others out, until twice as many tasks wait as the length says. In a queue that is
    /// shared, the shares are not known here; see [`place_in_share`](Self::place_in_share).
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub fn place(&self, key: &KeyId) -> Result<Place, Full> {
        let mut counts = self.lock();
        if counts.queued < self.length {
            return Ok(self.taken(&mut counts, key));
        }
        if counts.is_shared {
            return Err(Full { queued: counts.queued });
        }
        let own = counts.queued_by_key.get(key).copied().unwrap_or(0);
        let share = KeyShare { own, keys: counts.queued_by_key.len() };
        self.taken_in_share(&mut counts, key, share)
    }

    /// The same for a full queue that is shared, by what the database has counted.
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub fn place_in_share(&self, key: &KeyId, share: KeyShare) -> Result<Place, Full> {
        self.taken_in_share(&mut self.lock(), key, share)
    }

    fn taken_in_share(&self, counts: &mut Counts, key: &KeyId, share: KeyShare) -> Result<Place, Full> {
        let keys = share.keys + usize::from(share.own == 0);
        let has_share = share.own < (self.length / keys.max(1)).max(1);
        if !has_share || counts.queued >= self.length.saturating_mul(2) {
            return Err(Full { queued: counts.queued });
        }
        Ok(self.taken(counts, key))
    }

    fn taken(&self, counts: &mut Counts, key: &KeyId) -> Place {
        counts.joined(key, 1);
        Place { dispatch: self.clone(), key: key.clone(), kept: false }
    }

    /// Returns how many tasks may wait before the queue is full.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Sets how many tasks wait, as the database has counted them. What this process adds and takes is counted from there on.
    pub fn set_queued(&self, queued: usize) {
        self.lock().queued = queued;
    }

    /// Begins a look at the database for tasks that wait.
    pub fn begin_look(&self) -> Look {
        let mut counts = self.lock();
        counts.hints.look += 1;
        let mut lanes: HashMap<String, usize> = HashMap::new();
        for needs in counts.pools.iter().flat_map(|lanes| lanes.by_key.values()).flat_map(|lane| lane.waiting.needs()) {
            match lanes.get_mut(needs) {
                Some(count) => *count += 1,
                None => drop(lanes.insert(needs.to_owned(), 1)),
            }
        }
        Look { number: counts.hints.look, lanes }
    }

    /// Hints at tasks that a look has found. If it has found all with these needs, older hints at others are dropped.
    pub fn hint(&self, look: u64, found: Found) {
        let Found { pool, needs, begin, lanes, is_complete, has_more } = found;
        {
            let mut counts = self.lock();
            counts.hints.found(&needs, is_complete);
            if is_complete {
                counts.drop_hints(&needs, look);
            }
            for (key, count) in lanes {
                let awake = count.saturating_sub(counts.hints.resting(&needs, &key));
                let count = if is_complete { awake } else { awake.min(1) };
                if count > 0 {
                    counts.lane(pool, &key).waiting.set_hint(&needs, begin, count, look);
                }
            }
            counts.pools[pool].has_more |= has_more;
        }
        self.notify(pool, begin);
    }

    /// Drops the hints at tasks with these needs that are older than a look, because it has found none.
    pub fn forget(&self, look: u64, needs: &str) {
        let mut counts = self.lock();
        counts.hints.found(needs, true);
        counts.drop_hints(needs, look);
    }

    /// Hints at a task that has just been queued.
    pub fn hint_one(&self, slot: &Slot) {
        {
            let mut counts = self.lock();
            let look = counts.hints.look;
            counts.lane(slot.pool, &slot.key).waiting.add_hint(&slot.needs, slot.begin, look);
        }
        self.notify(slot.pool, slot.begin);
    }

    /// Hints at a task that another process has just queued, unless more keys wait than are hinted at, which would lose turns to this
    /// one. Returns whether it did.
    pub fn hint_heard(&self, slot: &Slot) -> bool {
        let is_whole = !self.lock().hints.is_partial(&slot.needs);
        if is_whole {
            self.hint_one(slot);
        }
        is_whole
    }

    /// Gives back a slot whose claim found nothing, and drops the hint that led to it.
    pub fn dropped(&self, slot: &Slot) {
        if let Some(lane) = self.lock().pools[slot.pool].by_key.get_mut(&slot.key) {
            lane.waiting.drop_hints(&slot.needs, u64::MAX);
        }
        self.finished(slot);
    }

    /// Gives back a slot whose task was handed back and is to wait for a pause here. If the queue is shared, its row is queued
    /// meanwhile, but not hinted at.
    pub fn rests(&self, slot: &Slot) {
        {
            let mut counts = self.lock();
            if counts.is_shared {
                counts.hints.rests(&slot.needs, &slot.key);
                counts.queued += 1;
            }
        }
        self.finished(slot);
    }

    /// The pause of such a task is over.
    pub fn rested(&self, slot: Slot) {
        if !self.is_shared() {
            return self.refill(slot, 1);
        }
        self.lock().hints.rested(&slot.needs, &slot.key);
        self.hint_one(&slot);
    }

    /// Waits until hints have run low while more waits, or out.
    pub async fn low(&self) {
        self.low.notified().await;
    }

    /// Takes a task of a key whose run begins in that way: of those with such a task that is not held and for which its engine
    /// has room, a free run in this pool and, if it fetches, a free place, the key that has waited longest. The task counts as
    /// running from now on.
    ///
    /// Does not limit how many work: a worker that claims such a task holds a [`slot`](Self::slot). A run that fetches
    /// holds its place until [`Fetching`] is dropped, and one that works counts as [`Starting`] until that is. Needs a runtime
    /// if engines are asked for room.
    pub fn next(&self, pool: usize, begin: Begin) -> Option<Slot> {
        let mut counts = self.lock();
        let asked = self.asked(pool);
        let next = self.take_next(&mut counts, pool, begin, &asked);
        if asked.is_short() {
            self.look_again(&mut counts);
        }
        next
    }

    fn asked(&self, pool: usize) -> Asked<'_> {
        let Pool { engine, fetching, .. } = &self.pools[pool];
        self.room.of(engine.as_deref(), *fetching)
    }

    fn take_next(&self, counts: &mut Counts, pool: usize, begin: Begin, asked: &Asked<'_>) -> Option<Slot> {
        let Pool { running_per_key: most, fetching: places, .. } = self.pools[pool];
        let now = Instant::now();
        let Counts { pools, holds, slots_taken, is_shared, .. } = &mut *counts;
        let Lanes { by_key, taken, .. } = &mut pools[pool];
        let has_place = |lane: &Lane, taken: Taken| {
            lane.running < most && (begin == Begin::Working || lane.fetching < places.saturating_sub(taken.fetching))
        };
        let before = *taken;
        let is_free = |needs: &str| holds.allow(needs, now) && asked.lets(needs, begin, before);
        let is_ready = |lane: &Lane| has_place(lane, before) && lane.waiting.has(begin, is_free);
        let ready = by_key.iter_mut().filter(|(_, lane)| is_ready(lane));
        let (key, lane) = ready.min_by_key(|(_, lane)| lane.last_slot)?;
        let needs = lane.waiting.pop_first(begin, is_free)?;
        if *is_shared {
            // Which of several needs has the oldest task is not known.
            lane.waiting.rotate(&needs);
        }
        *slots_taken += 1;
        lane.running += 1;
        lane.last_slot = *slots_taken;
        match begin {
            Begin::Fetching => {
                lane.fetching += 1;
                taken.fetching += 1;
            }
            Begin::Working => taken.starting += 1,
        }
        let (key, after) = (key.clone(), *taken);
        if holds.begin(&needs, now) {
            self.notify_after(holds::LONGEST);
        }
        // `Notify` stores several notices as one, so a woken worker wakes the next.
        let is_free = |needs: &str| holds.allow(needs, now) && asked.lets(needs, begin, after);
        if by_key.values().any(|lane| has_place(lane, after) && lane.waiting.has(begin, is_free)) {
            self.notify(pool, begin);
        }
        counts.left(&key);
        counts.running += 1;
        self.look_if_low(counts, pool);
        Some(Slot { pool, key, needs, begin })
    }

    /// Has the database looked at if few hints are left although more waits, or none: what comes then is found without a pause.
    fn look_if_low(&self, counts: &mut Counts, pool: usize) {
        let lanes = &mut counts.pools[pool];
        let is_low = lanes.has_more && lanes.waiting() < self.pools[pool].slots.saturating_mul(2);
        if is_low || lanes.waiting() == 0 {
            lanes.has_more = false;
            self.low.notify_one();
        }
    }

    /// Returns what holds the place that [`next`](Self::next) took for a run, if it took one.
    pub fn fetching(&self, slot: &Slot) -> Option<Fetching> {
        let fetching = || Fetching { dispatch: self.clone(), pool: slot.pool, key: slot.key.clone() };
        (slot.begin == Begin::Fetching).then(fetching)
    }

    /// Returns what counts the run of a task that [`next`](Self::next) took as starting, if it works.
    pub fn starting(&self, slot: &Slot) -> Option<Starting> {
        let starting = || Starting { dispatch: self.clone(), pool: slot.pool };
        (slot.begin == Begin::Working).then(starting)
    }

    /// Waits for a slot for a run that has its pictures, and until its engine has room for it.
    pub async fn slot_for(&self, pool: usize, needs: &str) -> (Option<OwnedSemaphorePermit>, Starting) {
        loop {
            let freed = self.freed[pool].notified();
            let slot = self.slot(pool).await;
            if let Some(starting) = self.try_start(pool, needs) {
                return (slot, starting);
            }
            drop(slot);
            // What takes the room may be no run of this pool.
            let _ = timeout(LOOK, freed).await;
        }
    }

    fn try_start(&self, pool: usize, needs: &str) -> Option<Starting> {
        let mut counts = self.lock();
        if !self.asked(pool).lets(needs, Begin::Working, counts.pools[pool].taken) {
            self.look_again(&mut counts);
            return None;
        }
        counts.pools[pool].taken.starting += 1;
        Some(Starting { dispatch: self.clone(), pool })
    }

    /// Waits for a slot of a pool, in the order in which slots are asked for. It is given back on drop.
    pub async fn slot(&self, pool: usize) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.slots[pool].clone().acquire_owned().await.ok()
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

    /// Wakes all soon, because there was no room for some.
    fn look_again(&self, counts: &mut Counts) {
        if std::mem::replace(&mut counts.looks_again, true) {
            return;
        }
        let dispatch = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOOK).await;
            dispatch.lock().looks_again = false;
            dispatch.notify_all();
        });
    }

    /// Wakes a worker of each kind in each pool after a pause. Needs a runtime.
    fn notify_after(&self, pause: Duration) {
        let dispatch = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            dispatch.notify_all();
        });
    }

    /// Ends the holds that a run with these needs has shown to be over: that of the server, and if the engine did its work,
    /// that of its needs. Returns whether any was in force.
    pub fn release(&self, needs: &str, is_answered: bool) -> bool {
        let is_released = self.lock().holds.release(needs, is_answered);
        if is_released {
            self.notify_all();
        }
        is_released
    }

    /// Ends the hold of what has these needs, because their engine is there. Returns whether it was in force.
    pub fn release_needs(&self, needs: &str) -> bool {
        let is_released = self.lock().holds.release_needs(needs);
        if is_released {
            self.notify_all();
        }
        is_released
    }

    /// Ends the hold of what makes pictures, because one was written. Returns whether it was in force.
    pub fn release_pictures(&self) -> bool {
        let is_released = self.lock().holds.release_pictures();
        if is_released {
            self.notify_all();
        }
        is_released
    }

    /// Ends the holds of the server and its pictures if no task is queued or running here. Returns whether there was one.
    pub fn release_if_idle(&self) -> bool {
        let mut counts = self.lock();
        let is_waiting = match counts.is_shared {
            true => counts.pools.iter().any(|lanes| lanes.waiting() > 0),
            false => counts.queued > 0,
        };
        if is_waiting || counts.running > 0 {
            return false;
        }
        let pictures = counts.holds.release_pictures();
        counts.holds.release_server() || pictures
    }

    /// Whether tasks are held because of a fault of the server: all, or those that make pictures.
    pub fn is_held(&self) -> bool {
        self.lock().holds.is_server_held()
    }

    /// Gives back a slot whose task could not be claimed and is still queued.
    pub fn put_back(&self, slot: &Slot) {
        {
            let mut counts = self.lock();
            counts.joined(&slot.key, 1);
            let (look, is_shared) = (counts.hints.look, counts.is_shared);
            let waiting = &mut counts.lane(slot.pool, &slot.key).waiting;
            match is_shared {
                true => waiting.add_hint(&slot.needs, slot.begin, look),
                false => waiting.push_front(&slot.needs, slot.begin),
            }
        }
        self.finished(slot);
    }

    /// Gives back a slot whose run has ended, or whose task was cancelled before the claim.
    pub fn finished(&self, slot: &Slot) {
        let others_wait = {
            let mut counts = self.lock();
            counts.running = counts.running.saturating_sub(1);
            let lanes = &mut counts.pools[slot.pool].by_key;
            if let Some(lane) = lanes.get_mut(&slot.key) {
                lane.running = lane.running.saturating_sub(1);
                if lane.running == 0 && lane.waiting.is_empty() {
                    lanes.remove(&slot.key);
                }
            }
            // A device may be free that engines of other pools wait for.
            counts.holds.over(&slot.needs) || counts.looks_again
        };
        if others_wait {
            self.notify_all();
        }
        self.notify_pool(slot.pool);
    }

    /// Removes a task that left the queue without a run.
    pub fn left(&self, key: &KeyId, needs: &str) {
        let mut counts = self.lock();
        // If a slot was taken for it meanwhile, it is not found here, and the claim of that slot finds no row.
        let lanes = counts.pools.iter_mut().filter_map(|lanes| lanes.by_key.get_mut(key));
        let is_counted = lanes.into_iter().any(|lane| lane.waiting.remove_last(needs));
        if is_counted || counts.is_shared {
            counts.left(key);
        }
    }

    /// Returns the numbers of queued tasks, and of tasks that run in this process. If the queue is shared, the first is an estimate.
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.lock();
        (counts.queued, counts.running)
    }

    /// Waits until a pool may have a task whose run begins in that way.
    pub async fn changed(&self, pool: usize, begin: Begin) {
        self.changed[pool][begin as usize].notified().await;
    }

    /// Wakes those that wait for what a run of a pool held: its key may have had as many runs as it may, of either kind, and its
    /// engine no room.
    fn notify_pool(&self, pool: usize) {
        self.freed[pool].notify_waiters();
        Begin::ALL.into_iter().for_each(|begin| self.notify(pool, begin));
    }

    fn notify(&self, pool: usize, begin: Begin) {
        self.changed[pool][begin as usize].notify_one();
    }

    fn notify_all(&self) {
        self.freed.iter().for_each(Notify::notify_waiters);
        self.changed.iter().flatten().for_each(Notify::notify_one);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Counts tasks of a key that join the queue.
    fn joined(&mut self, key: &KeyId, count: usize) {
        self.queued += count;
        if count > 0 && !self.is_shared {
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

    /// Drops the hints at tasks with these needs that are older than a look.
    fn drop_hints(&mut self, needs: &str, look: u64) {
        for lanes in &mut self.pools {
            lanes.by_key.retain(|_, lane| {
                lane.waiting.drop_hints(needs, look);
                lane.running > 0 || !lane.waiting.is_empty()
            });
        }
    }

    /// Returns the lane of a key. A new lane counts as just served, behind those that have waited.
    fn lane(&mut self, pool: usize, key: &KeyId) -> &mut Lane {
        let last_slot = self.slots_taken;
        self.pools[pool].by_key.entry(key.clone()).or_insert_with(|| Lane { last_slot, ..Lane::default() })
    }
}

impl Place {
    /// Keeps the place, once its task is written.
    pub fn keep(mut self, slot: &Slot) {
        self.kept = true;
        self.dispatch.lock().lane(slot.pool, &slot.key).waiting.push_back(&slot.needs, slot.begin, 1);
        self.dispatch.notify(slot.pool, slot.begin);
    }

    /// Keeps the place in a queue that is shared, and hints at its task if it can run in this process.
    pub fn keep_shared(mut self, here: Option<&Slot>) {
        self.kept = true;
        here.into_iter().for_each(|slot| self.dispatch.hint_one(slot));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.dispatch.lock().left(&self.key);
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        {
            let mut counts = self.dispatch.lock();
            let lanes = &mut counts.pools[self.pool];
            lanes.taken.fetching = lanes.taken.fetching.saturating_sub(1);
            if let Some(lane) = lanes.by_key.get_mut(&self.key) {
                lane.fetching = lane.fetching.saturating_sub(1);
            }
        }
        self.dispatch.notify(self.pool, Begin::Fetching);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let others_wait = {
            let mut counts = self.dispatch.lock();
            let taken = &mut counts.pools[self.pool].taken;
            taken.starting = taken.starting.saturating_sub(1);
            counts.looks_again
        };
        // It may have kept others from room that it did not need.
        if others_wait {
            self.dispatch.notify_pool(self.pool);
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
