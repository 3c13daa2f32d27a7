//! Pushes callbacks until their receivers acknowledge them. A slow receiver does not delay others.
//! When a failed push is tried again: `Settings::callback_pause`.
//!
//! A callback is a row, written together with the end of its task. This loop takes the rows that are due and pushes each
//! in its own tokio task. If the service is killed between a receiver's answer and its record, the receiver gets the same
//! callback again, with the same `webhook-id`.

use std::sync::Arc;
use std::time::Duration;

use imgopen_store::{
    CallbackRow, ClaimCallbacks, ClaimId, Duty, InProgress as InProgressRow, Moment, StoreError, Turn, UnderWay,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::attempt::Attempts;
use super::in_progress::InProgress;
use crate::context::Context;
use crate::jumps::Jumps;
use crate::upkeep::duties;

/// How often the rows are read when none is known to be due, because another process may have redelivered one.
const POLL: Duration = Duration::from_secs(1);

/// The shortest pause between two polls.
const SHORTEST: Duration = Duration::from_millis(10);

/// The shortest pause between two in one of several processes, however much is announced.
const LEAST: Duration = Duration::from_millis(20);

/// How often pauses are compared with the clock even if it was not seen to be set.
const CHECK: Duration = Duration::from_secs(60);

/// How far the clock must be set between two polls before pauses are compared with it at once.
const JUMP: Duration = Duration::from_secs(1);

/// How long a claim holds beyond the time of an attempt: until it is begun and recorded.
const RECORDED: Duration = Duration::from_secs(15);

/// How many keys' last origins are remembered beside those with attempts in progress.
const TURNS: usize = 1000;

/// Pushes what is due until the service stops, then waits for what is in progress.
pub async fn run(context: Arc<Context>) {
    let mut pusher = Pusher {
        attempts: Attempts::new(context.clone()),
        in_progress: InProgress::default(),
        pushes: TaskTracker::new(),
        turn: Turn::default(),
        pauses: Pauses { jumps: Jumps::new(&context.clock), checked: None },
        context: context.clone(),
    };
    let mut is_well = true;
    while !context.stopping.is_cancelled() {
        let began = Instant::now();
        pusher.pauses.limit(&context).await;
        let started = pusher.start_due().await;
        if let Err(error) = &started
            && is_well
        {
            error!(%error, "the callbacks that are due could not be read; trying again every second");
        }
        is_well = started.is_ok();
        let next = started.unwrap_or_default();
        let pause = next.map_or(POLL, |next| next.since(context.clock.now())).clamp(SHORTEST, POLL);
        tokio::select! {
            () = context.pushes.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = context.stopping.cancelled() => {}
        }
        // Each end in each process is announced.
        if context.fleet.is_some() {
            tokio::time::sleep_until(began + LEAST).await;
        }
    }
    pusher.pushes.close();
    pusher.pushes.wait().await;
}

/// The state of the loop.
struct Pusher {
    context: Arc<Context>,
    attempts: Attempts,
    in_progress: InProgress,
    pushes: TaskTracker,
    turn: Turn,
    pauses: Pauses,
}

impl Pusher {
    /// Starts as many pushes as there are slots for. Returns when the next one will be due.
    async fn start_due(&mut self) -> Result<Option<Moment>, StoreError> {
        let (settings, attempts) = (&self.context.settings.callbacks, self.in_progress.list());
        if attempts.len() >= settings.at_once {
            // A push that ends wakes the loop.
            return Ok(None);
        }
        if self.turn.origins.len() > TURNS {
            self.turn.origins.retain(|key, _| attempts.iter().any(|attempt| attempt.key == *key));
        }
        let (now, asked) = (self.context.clock.now(), self.context.clock.uptime());
        for callback in self.due(now, attempts).await? {
            self.turn.passed(&callback.key, &callback.origin);
            let entry = self.in_progress.enter(&callback);
            let (context, attempts) = (self.context.clone(), self.attempts.clone());
            self.pushes.spawn(async move {
                tokio::select! {
                    () = attempts.make(&callback, asked) => {}
                    // What is not recorded is pushed again after the next start.
                    () = context.ending.cancelled() => {}
                }
                drop(entry);
                context.pushes.notify_one();
            });
        }
        // What is due already and was not started waits for a push to end.
        self.context.store.next_callback(now).await
    }

    /// Chooses callbacks that are due beside the attempts in progress. One of several processes claims them for as long as an
    /// attempt may take, so that no other makes the same.
    async fn due(&self, now: Moment, attempts: Vec<InProgressRow>) -> Result<Vec<CallbackRow>, StoreError> {
        let (settings, store, turn) = (&self.context.settings.callbacks, &self.context.store, self.turn.clone());
        let Some(fleet) = &self.context.fleet else {
            let (at_once, per_origin) = (settings.at_once, settings.at_once_per_host);
            return store.due_callbacks(now, UnderWay { attempts, at_once, per_origin, turn }).await;
        };
        let claim = match ClaimId::new() {
            Ok(claim) => claim,
            Err(error) => {
                error!(%error, "no callback can be claimed; trying again later");
                return Ok(Vec::new());
            }
        };
        let claim = ClaimCallbacks {
            owner: fleet.owner(),
            claim,
            attempts,
            now,
            hold: settings.time + RECORDED,
            most: settings.at_once,
            at_once_per_host: settings.at_once_per_host,
            turn,
        };
        store.claim_callbacks(claim).await
    }
}

/// Keeps a clock that is put back from prolonging the pauses between delivery attempts.
struct Pauses {
    jumps: Jumps,
    /// When they were compared with the clock last, by the uptime.
    checked: Option<Duration>,
}

impl Pauses {
    async fn limit(&mut self, context: &Context) {
        let observed = self.jumps.observe(&context.clock);
        let uptime = observed.reading.uptime;
        let is_recent = self.checked.is_some_and(|checked| uptime.saturating_sub(checked) < CHECK);
        if is_recent && observed.jump < JUMP {
            return;
        }
        // The clocks of several processes follow that of their database, and one of those that push looks for all.
        if !duties::take(context, Duty::Pauses).await.unwrap_or(false) {
            self.checked = Some(uptime);
            return;
        }
        let longest = context.settings.longest_callback_pause();
        match context.store.limit_callback_pauses(observed.reading.now, longest).await {
            Ok(count) => {
                self.checked = Some(uptime);
                if count > 0 {
                    warn!(
                        callbacks = count,
                        "the machine's clock was put back; the next delivery attempts are brought forward"
                    );
                }
            }
            Err(error) => {
                // Tried again at the next poll.
                self.checked = None;
                error!(%error, "the pauses of callbacks could not be compared with the clock");
            }
        }
    }
}
