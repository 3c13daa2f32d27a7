//! One delivery attempt: the push, and what is recorded of it.
//!
//! An attempt counts once the receiver had a chance to answer. What the server itself prevents, through its database, its
//! descriptors, its memory or its network, does not: the callback stays on its rung and is pushed again after a pause that
//! grows from a second to a minute. Only a fault that lasts longer than `faults.give_up` counts as one attempt, so that a
//! callback cannot stay pending forever.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use imgopen_fetch::{FetchError, Limits};
use imgopen_store::{CallbackRow, CallbackState, Deferral, Delivery, DeliveryAttempt, Moment, NextAttempt, StoreError};
use tracing::{info, warn};

use super::receipt::{Refused, receipt};
use super::sign;
use crate::context::Context;
use crate::fault_time::faulty_for;
use crate::settings::RevokedCallbacks;

/// The largest answer of a receiver that is read, in bytes.
const RECEIPT_BYTES: u64 = 64 * 1024;

/// The pauses after faults of the server: the first one, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause before something is written again that could not be written.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// How long after its claim an attempt may begin: it is to be over, and recorded, while the claim holds.
const BEGINNING: Duration = Duration::from_secs(7);

/// How often faults of the server are logged at most, because all callbacks meet the same one.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Makes delivery attempts. Clones share the record of what was logged.
#[derive(Clone)]
pub(crate) struct Attempts {
    context: Arc<Context>,
    /// When a fault of the server was logged last, by the uptime, and how many there were since.
    logged: Arc<Mutex<(Option<Duration>, usize)>>,
}

/// The reason why an attempt failed.
enum Failure {
    /// The receiver did not acknowledge it, or cannot be pushed to.
    Refused(Refused),
    /// The server could not make it. For the log.
    Prevented(String),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Prevented(error.to_string())
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error.is_fault_of_server() {
            true => Self::Prevented(error.to_string()),
            false => Self::Refused(Refused::failed(error.to_string())),
        }
    }
}

impl Attempts {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, logged: Arc::default() }
    }

    /// Makes one delivery attempt, and records it with what follows from it. If the callback was claimed, `asked` is when, by the
    /// uptime.
    pub async fn make(&self, callback: &CallbackRow, asked: Duration) {
        let (started_at, start) = (self.context.clock.now(), Instant::now());
        let made = AssertUnwindSafe(deliver(&self.context, callback, started_at, asked)).catch_unwind().await;
        let made = made.unwrap_or_else(|_| Err(Failure::Prevented("the delivery attempt panicked".to_owned())));
        let answer = match made {
            Ok(status) => Ok(status),
            Err(Failure::Refused(refused)) => Err(refused),
            Err(Failure::Prevented(problem)) => match self.prevented(callback, &problem) {
                Some(refused) => Err(refused),
                None => return self.put_off(callback).await,
            },
        };
        let duration_ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.record(callback, answer, started_at, duration_ms).await;
    }

    /// Logs a fault of the server. Returns a failure that counts if attempts have been put off for too long.
    fn prevented(&self, callback: &CallbackRow, problem: &str) -> Option<Refused> {
        self.log_fault(callback, problem);
        callback.deferred_at?;
        let (lasted, limit) = (self.faulty_for(callback), self.context.settings.faults.give_up);
        let hours = limit.as_secs_f64() / 3600.0;
        let text = format!("this service could not make the attempt for {hours} h; its operator's log has the reason");
        (lasted >= limit).then(|| Refused::failed(text))
    }

    fn faulty_for(&self, callback: &CallbackRow) -> Duration {
        faulty_for(callback.deferred_at, callback.deferred_for, self.context.clock.read())
    }

    fn log_fault(&self, callback: &CallbackRow, problem: &str) {
        let uptime = self.context.clock.uptime();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, others) = *logged;
        if last.is_some_and(|last| uptime.saturating_sub(last) < LOG_PAUSE) {
            logged.1 += 1;
            return;
        }
        *logged = (Some(uptime), 0);
        drop(logged);
        let callback = callback.id.as_str();
        warn!(
            callback,
            problem, others, "a fault of this server prevents callbacks; they are pushed again without counting"
        );
    }

    async fn put_off(&self, callback: &CallbackRow) {
        self.context.metrics.tried("prevented");
        let now = self.context.clock.now();
        let pause = pause_after(callback.deferrals);
        let next = NextAttempt { at: now.plus(pause), pause };
        let deferral = Deferral { seen: callback.clone(), now, deferred_for: self.faulty_for(callback), next };
        // Until it is written, the push counts as in progress, so that the callback is not due again at once.
        while let Err(error) = self.context.store.defer_callback(deferral.clone()).await {
            self.log_fault(callback, &error.to_string());
            tokio::time::sleep(pause).await;
        }
    }

    async fn record(&self, callback: &CallbackRow, answer: Result<i64, Refused>, started_at: Moment, duration_ms: i64) {
        let context = &self.context;
        let tries = u32::try_from(callback.rung).unwrap_or(u32::MAX).saturating_add(1);
        let ladder = context.settings.callback_pause(tries);
        let pause = match &answer {
            Err(refused) if !refused.is_final => ladder.map(|pause| pause.max(refused.wait)),
            _ => None,
        };
        let next = pause.map(|pause| NextAttempt { at: context.clock.now().plus(pause), pause });
        let state = match (&answer, next) {
            (Ok(_), _) => CallbackState::Acknowledged,
            (Err(_), Some(_)) => CallbackState::Pending,
            (Err(_), None) => CallbackState::Abandoned,
        };
        let (http_status, outcome) = match answer {
            Ok(status) => (Some(status), "acknowledged".to_owned()),
            Err(refused) => (refused.status, refused.problem),
        };
        context.metrics.tried(if state == CallbackState::Acknowledged { "acknowledged" } else { "failed" });
        let task = &callback.task;
        match state {
            CallbackState::Acknowledged => info!(callback = %callback.id, %task, tries, "callback acknowledged"),
            _ => warn!(callback = %callback.id, %task, tries, %state, problem = %outcome, "callback not acknowledged"),
        }
        let attempt = DeliveryAttempt { number: 0, started_at, duration_ms, http_status, outcome };
        let delivery = Delivery { seen: callback.clone(), attempt, state, next };
        // Until it is recorded, the push counts as in progress, so that a full disk does not repeat it over and over.
        while let Err(error) = context.store.record_delivery(delivery.clone()).await {
            self.log_fault(callback, &error.to_string());
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }
}

/// The pause after this number of attempts that were put off before.
fn pause_after(deferrals: i64) -> Duration {
    let doublings = u32::try_from(deferrals).unwrap_or(u32::MAX).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// Whether an attempt that was claimed at that time would begin too late.
fn is_late(asked: Duration, now: Duration) -> bool {
    now.saturating_sub(asked) > BEGINNING
}

async fn deliver(context: &Context, callback: &CallbackRow, now: Moment, asked: Duration) -> Result<i64, Failure> {
    let settings = &context.settings.callbacks;
    let signer = context.keys.signer(&callback.key).await?;
    let signer = signer.ok_or_else(|| {
        Refused::failed(format!("no access key has the id `{}`, so the callback cannot be signed", callback.key))
    })?;
    if signer.is_revoked && settings.revoked == RevokedCallbacks::Stop {
        let problem = format!("the access key `{}` is revoked, so there are no further attempts", callback.key);
        return Err(Refused { is_final: true, ..Refused::failed(problem) }.into());
    }
    let headers = sign::headers(&signer.secrets, &callback.id, now, callback.body.as_bytes());
    let headers = headers.map_err(Refused::failed)?;
    if callback.claim.is_some() && is_late(asked, context.clock.uptime()) {
        let problem = "the database took so long that another process may make the attempt";
        return Err(Failure::Prevented(problem.to_owned()));
    }
    let limits = Limits::default().bytes(RECEIPT_BYTES).time(settings.time).redirects(0);
    let posted = context.fetcher.post(&callback.url, headers, Bytes::from(callback.body.clone()), &limits).await?;
    Ok(receipt(posted.status, &posted.headers, &posted.body, context.clock.now())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_after_faults_grow_to_a_minute() {
        let pauses: Vec<_> = (0..9).map(|deferrals| pause_after(deferrals).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause_after(i64::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn an_attempt_begins_soon_after_its_claim_or_not_at_all() {
        let at = Duration::from_secs;
        assert!(!is_late(at(100), at(107)) && is_late(at(100), at(108)));
        // The claim that waited for the database as long as a call may take.
        assert!(is_late(at(100), at(135)));
    }
}
