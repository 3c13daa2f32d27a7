//! Looks for tasks that wait and that this process can run, and hints at them.
//!
//! A look asks for the needs that tasks have, and lists for each that can be met here a part of the keys that wait. If there are more
//! keys, the next look goes on behind them, so that every key has its turns however many tasks wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use imgopen_store::{Asked, COUNTED, KeyId, Lane, Store, StoreError};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::{Fleet, jitter};
use crate::context::Context;
use crate::dispatch::{Dispatch, Found, Look, Slot};
use crate::tasks::needs::Needs;

/// The pause between two looks while nothing is hinted at.
const IDLE: Duration = Duration::from_millis(250);

/// The pause between two looks while something is, and the shortest between two counts of the queue.
const BUSY: Duration = Duration::from_secs(1);

/// How many times as long as a count took is the pause after it, at least: a long queue costs the database 2 % of its time.
const COUNTS: u32 = 50;

/// The shortest pause between two looks.
const LEAST: Duration = Duration::from_millis(20);

/// The shortest pause between two looks that announcements bring about while there are hints.
const RINGING: Duration = Duration::from_millis(500);

/// How many needs one look asks for.
const NEEDS: usize = 256;

/// How many keys one look lists, shared by the needs.
const LANES: usize = 512;

/// How many keys are listed at least of each of the needs.
const LANES_OF_NEEDS: usize = 8;

/// How many keys there are hints at, at most.
const HINTS: usize = 16 * 1024;

/// Looks until the service stops. A process that takes calls also counts the queue, whose length bounds what it accepts.
pub async fn run(context: Arc<Context>) {
    let Some(fleet) = &context.fleet else { return context.stopping.cancelled().await };
    let mut looking = Looking::new(LANES);
    let mut is_well = true;
    loop {
        let began = Instant::now();
        let looked = look(&context, &mut looking).await;
        if let Err(error) = &looked
            && is_well
        {
            warn!(%error, "the database cannot be asked for tasks that wait; trying again");
        }
        is_well = looked.is_ok();
        let is_busy = looked.unwrap_or(true);
        tokio::select! {
            () = wait(&context, fleet, began, is_busy) => {}
            () = context.stopping.cancelled() => return,
        }
    }
}

/// Waits until another look makes sense: after a pause, or before it if something may be there.
async fn wait(context: &Context, fleet: &Fleet, began: Instant, is_busy: bool) {
    if !context.settings.role.runs_tasks() {
        return sleep(BUSY).await;
    }
    let (pause, ringing) = if is_busy { (BUSY, RINGING) } else { (IDLE, LEAST) };
    let least = tokio::select! {
        () = sleep(jitter(pause * 4 / 5, pause)) => LEAST,
        () = fleet.work.notified() => ringing,
        () = context.dispatch.low() => LEAST,
    };
    // What is hinted at may run out meanwhile.
    tokio::select! {
        () = sleep_until(began + least) => {}
        () = context.dispatch.low() => sleep_until(began + LEAST).await,
    }
}

/// Counts the queue if this process takes calls and that was long enough ago, and looks once, if it runs tasks. Returns whether there
/// are hints.
async fn look(context: &Context, looking: &mut Looking) -> Result<bool, StoreError> {
    let (store, dispatch, role) = (&*context.store, &context.dispatch, context.settings.role);
    let began = Instant::now();
    if role.answers_calls() && looking.count_at.is_none_or(|at| at <= began) {
        let most = dispatch.length().saturating_mul(2).saturating_add(1);
        dispatch.set_queued(store.queue_length(most).await?);
        looking.count_at = Some(Instant::now() + pause_of(began.elapsed()));
    }
    if !role.runs_tasks() {
        return Ok(false);
    }
    // Whose tasks they are does not matter to what can be run.
    let slot = |needs: &str| Needs::parse(needs).slot_here(context, KeyId(String::new()));
    looking.look(store, dispatch, slot).await
}

/// The pause after a count of the queue that took so long.
fn pause_of(took: Duration) -> Duration {
    BUSY.max(took.saturating_mul(COUNTS))
}

/// Where the looks have come.
#[derive(Debug)]
struct Looking {
    /// How many keys one look lists, shared by the needs.
    lanes: usize,
    /// Behind which needs the next look begins; from the first on if `None`.
    after: Option<String>,
    /// The last key that was listed, by needs of which there are more.
    cursors: HashMap<String, KeyId>,
    /// When the queue is counted again.
    count_at: Option<Instant>,
}

impl Looking {
    fn new(lanes: usize) -> Self {
        Self { lanes, after: None, cursors: HashMap::new(), count_at: None }
    }

    /// Looks once. The function returns where tasks with these needs wait, if this process can run them. Returns whether there are
    /// hints.
    async fn look(
        &mut self,
        store: &dyn Store,
        dispatch: &Dispatch,
        slot: impl Fn(&str) -> Option<Slot>,
    ) -> Result<bool, StoreError> {
        let look = dispatch.begin_look();
        let after = self.after.take();
        let is_first = after.is_none();
        let waiting = store.waiting_needs(after, NEEDS).await?;
        if waiting.len() == NEEDS {
            self.after = waiting.last().cloned();
        } else if is_first {
            self.forget_others(dispatch, &look, &waiting);
        }
        let mut slots = Vec::new();
        for needs in waiting {
            let found = slot(&needs);
            match found {
                Some(slot) => slots.push(Slot { needs, ..slot }),
                None => {
                    // What it can run now may be less than before.
                    dispatch.forget(look.number, &needs);
                    self.cursors.remove(&needs);
                }
            }
        }
        self.list(store, dispatch, &look, slots).await
    }

    /// Drops hints at what nobody waits for any more, and what is known of it.
    fn forget_others(&mut self, dispatch: &Dispatch, look: &Look, waiting: &[String]) {
        // Hints at a part of the keys may all have been followed.
        for needs in look.lanes.keys().chain(self.cursors.keys()) {
            if !waiting.contains(needs) {
                dispatch.forget(look.number, needs);
            }
        }
        self.cursors.retain(|needs, _| waiting.contains(needs));
    }

    /// Lists the keys that wait for these, as far as more hints make sense, and hints at them. Returns whether there are hints.
    async fn list(
        &mut self,
        store: &dyn Store,
        dispatch: &Dispatch,
        look: &Look,
        slots: Vec<Slot>,
    ) -> Result<bool, StoreError> {
        let hinted = |slot: &Slot| look.lanes.get(&slot.needs).copied().unwrap_or(0);
        let share = (self.lanes / slots.len().max(1)).max(LANES_OF_NEEDS);
        let all: usize = look.lanes.values().sum();
        let has_room = all < HINTS;
        // Of those that are all known, what has changed is looked for; of others, more as soon as few are left.
        let is_asked = |slot: &Slot| match self.cursors.contains_key(&slot.needs) {
            true => has_room && hinted(slot) <= share / 4,
            false => has_room || hinted(slot) > 0,
        };
        let slots: Vec<_> = slots.into_iter().filter(is_asked).collect();
        let asked = slots.iter().map(|slot| Asked {
            needs: slot.needs.clone(),
            after: self.cursors.get(&slot.needs).cloned(),
            most: share,
        });
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return Ok(all > 0);
        }
        let lanes = store.waiting(asked).await?;
        let has_hints = all > 0 || !lanes.is_empty();
        let mut found = by_needs(lanes);
        for slot in slots {
            let lanes = found.remove(&slot.needs).unwrap_or_default();
            self.found(dispatch, look, slot, lanes, share);
        }
        Ok(has_hints)
    }

    fn found(&mut self, dispatch: &Dispatch, look: &Look, slot: Slot, lanes: Vec<(KeyId, usize)>, asked: usize) {
        let is_complete = lanes.len() < asked;
        let has_more = !is_complete || lanes.iter().any(|(_, count)| *count >= COUNTED);
        match lanes.last().filter(|_| !is_complete) {
            Some((key, _)) => drop(self.cursors.insert(slot.needs.clone(), key.clone())),
            None => drop(self.cursors.remove(&slot.needs)),
        }
        let Slot { pool, needs, begin, .. } = slot;
        dispatch.hint(look.number, Found { pool, needs, begin, lanes, is_complete, has_more });
    }
}

fn by_needs(lanes: Vec<Lane>) -> HashMap<String, Vec<(KeyId, usize)>> {
    let mut found: HashMap<String, Vec<_>> = HashMap::new();
    for Lane { needs, key, count, .. } in lanes {
        found.entry(needs).or_default().push((key, count));
    }
    found
}

#[cfg(test)]
mod tests;
