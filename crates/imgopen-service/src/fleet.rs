//! One of several processes that share a database: its lease, and what it hears of the others.
//!
//! A heartbeat each second, on a thread of its own, extends the lease, publishes the progress of the runs, and returns which of
//! them are still this process's own. Whether work may begin follows from the heartbeats that succeeded. Work that has begun goes
//! on, however long the database is away: its end is refused if another process has taken its task meanwhile.

pub(crate) mod agreement;
pub(crate) mod alone;
pub(crate) mod bell;
pub(crate) mod counts;
pub(crate) mod gauges;
pub(crate) mod heart;
mod host;
mod known;
pub(crate) mod looking;
pub(crate) mod offers;
pub(crate) mod previews;
pub(crate) mod progress;
mod pulse;
pub(crate) mod recovering;
pub(crate) mod suspects;
pub(crate) mod waiters;
mod waiting;
mod watching;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imgopen_store::{Clock, Heartbeat, Moment, OwnerAbout, OwnerId, OwnerRow, Store, StoreError, number};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::settings::{Role, Settings};
use agreement::{Difference, Shared};
use alone::Gate;
use counts::Counts;
use known::Known;
use pulse::Pulse;
use waiting::Waiting;
use watching::Watching;

/// The pause between two heartbeats, unless the lease is too short for it.
const BEAT: Duration = Duration::from_secs(1);

/// The longest time that a heartbeat takes before it counts as failed.
const LONGEST_BEAT: Duration = Duration::from_secs(5);

/// What a process publishes beside its engines: how many tasks of a key run there at once.
const RUNNING_PER_KEY: &str = "running_per_key";

/// How far the database's clock may be from this process's before that follows it.
const APART: Duration = Duration::from_millis(250);

/// What this process knows of itself as one of several.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Notified when work may be waiting. It is looked for from time to time all the same.
    pub work: Arc<Notify>,
    /// Notified when tasks may have ended.
    pub ended: Arc<Notify>,
    /// The calls that wait for tasks.
    pub waiting: Waiting,
    /// The tasks whose previews somebody waits for here.
    pub watching: Watching,
    /// The numbers of tasks in the database.
    pub counts: Counts,
    /// What other processes offer.
    pub known: Known,
    /// Closed while a task runs alone here.
    pub gate: Gate,
    /// Cancelled once all runs are handed back: no heartbeat follows.
    pub stop: CancellationToken,
    role: Role,
    host: String,
    started_at: Moment,
    lease: Duration,
    running_per_key: usize,
    clock: Clock,
    /// The settings of which all processes must have the same.
    shared: Shared,
    state: Mutex<State>,
    is_draining: AtomicBool,
}

#[derive(Debug)]
struct State {
    owner: OwnerId,
    pulse: Pulse,
    offers: Value,
    /// Whether the offers differ from those that the database has.
    has_new_offers: bool,
    /// How the settings of other processes differ.
    differences: Vec<Difference>,
}

impl Fleet {
    /// A process with these settings that was not registered yet.
    pub fn new(settings: &Settings, clock: Clock, owner: OwnerId) -> Self {
        let lease = settings.database.lease;
        let (pulse, differences) = (Pulse::new(lease), Vec::new());
        let state = State { owner, pulse, offers: Value::Null, has_new_offers: false, differences };
        Self {
            work: Arc::default(),
            ended: Arc::default(),
            waiting: Waiting::default(),
            watching: Watching::default(),
            counts: Counts::default(),
            known: Known::default(),
            gate: Gate::default(),
            stop: CancellationToken::new(),
            role: settings.role,
            host: host::name(),
            started_at: clock.now(),
            lease,
            running_per_key: settings.running_per_key(settings.workers),
            clock,
            shared: agreement::shared(settings),
            state: Mutex::new(state),
            is_draining: AtomicBool::new(false),
        }
    }

    /// Registers this process, and has its clock follow that of the database.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn join(&self, store: &dyn Store) -> Result<(), StoreError> {
        let owner = self.owner();
        store.register_owner(owner.clone(), Some(self.lease), self.about()).await?;
        let sent = self.clock.uptime();
        let answer = store.heartbeat(Heartbeat::new(owner, self.lease, Vec::new())).await?;
        self.clock.follow(answer.now, APART);
        self.lock().pulse.succeeded(sent);
        Ok(())
    }

    /// Whether new work may begin: the last heartbeat succeeded, the lease can be believed, and no task runs alone here.
    ///
    /// A process that is [draining](Self::is_draining) begins none either.
    pub fn may_claim(&self) -> bool {
        let now = self.clock.uptime();
        self.lock().pulse.may_claim(now) && !self.gate.is_closed(now)
    }

    /// Whether an operator has asked this process to end its runs and to begin no others.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// The owner id in use. A new one after the process was declared dead.
    pub fn owner(&self) -> OwnerId {
        self.lock().owner.clone()
    }

    /// How long its runs are protected without another heartbeat.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The pause between two heartbeats.
    pub fn beat(&self) -> Duration {
        BEAT.min(self.lease / 4)
    }

    /// The longest time that a heartbeat takes before it counts as failed.
    pub fn longest_beat(&self) -> Duration {
        LONGEST_BEAT.min(self.lease / 3)
    }

    /// Says what this process can run. The next heartbeat publishes it, with the settings of which all must have the same, and with how
    /// many tasks of a key run here at once, if it differs from what was said before.
    pub fn set_offers(&self, mut offers: Value) {
        agreement::publish(self.shared.clone(), &mut offers);
        if let Some(members) = offers.as_object_mut().filter(|_| self.role.runs_tasks()) {
            members.insert(RUNNING_PER_KEY.to_owned(), self.running_per_key.into());
        }
        let mut state = self.lock();
        if state.offers != offers {
            state.offers = offers;
            state.has_new_offers = true;
        }
    }

    /// Whether this process may be able to run tasks of that operation, as far as it has said what it can run.
    pub fn may_run(&self, operation: &str) -> bool {
        let state = self.lock();
        let Some(engines) = state.offers["engines"].as_array() else { return true };
        engines
            .iter()
            .filter_map(|engine| engine["offers"].as_array())
            .flatten()
            .any(|offer| offer["operation"] == *operation)
    }

    /// Returns what this process says of itself.
    pub fn about(&self) -> OwnerAbout {
        let offers = self.lock().offers.clone();
        OwnerAbout { host: self.host.clone(), role: self.role.as_str().to_owned(), started_at: self.started_at, offers }
    }

    /// Compares the settings of other processes with those of this one. Returns the differences that are new.
    pub fn compare(&self, others: &[OwnerRow]) -> Vec<Difference> {
        let found = agreement::differences(&self.shared, others);
        let mut state = self.lock();
        let new = found.iter().filter(|difference| !state.differences.contains(difference)).cloned().collect();
        state.differences = found;
        new
    }

    /// Whether another process has another value of a setting.
    pub fn differs_in(&self, setting: &str) -> bool {
        self.lock().differences.iter().any(|difference| difference.setting == setting)
    }

    /// Whether the database is away, so that no caller need wait for it.
    pub fn is_database_away(&self) -> bool {
        let now = self.clock.uptime();
        self.lock().pulse.is_away(now)
    }

    /// For how long heartbeats have succeeded without a gap.
    pub fn healthy_for(&self) -> Duration {
        let now = self.clock.uptime();
        self.lock().pulse.healthy_for(now)
    }

    /// How long ago the last heartbeat that succeeded was sent.
    pub fn lease_age(&self) -> Option<Duration> {
        let now = self.clock.uptime();
        self.lock().pulse.age(now)
    }

    /// Takes the new offers, if there are any. They are put back if the heartbeat with them fails.
    fn take_offers(&self) -> Option<Value> {
        let mut state = self.lock();
        std::mem::take(&mut state.has_new_offers).then(|| state.offers.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how many tasks of a key run at once in all processes that begin runs.
pub(crate) fn running_per_key(owners: &[OwnerRow]) -> u64 {
    let begin = owners.iter().filter(|owner| known::begins_runs(owner));
    begin.filter_map(|owner| owner.about.offers[RUNNING_PER_KEY].as_u64()).sum()
}

/// Returns a random time between two, so that processes do not act in step.
pub(crate) fn jitter(least: Duration, most: Duration) -> Duration {
    let part = number().map_or(0, |number| u32::try_from(number % 1000).unwrap_or(0));
    least + most.saturating_sub(least) * part / 1000
}

#[cfg(test)]
mod tests;
