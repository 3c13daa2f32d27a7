//! Pushes callbacks until their receivers acknowledge them. A slow receiver does not delay others.
//!
//! A callback is a row, written together with the end of its task. This loop takes the rows that are due and pushes each
//! in its own tokio task. If the service is killed between a receiver's answer and its record, the receiver gets the same
//! callback again, with the same `webhook-id`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use imgopen_fetch::{Limits, StatusCode};
use imgopen_store::{CallbackId, CallbackRow, CallbackState, Delivery, DeliveryAttempt, Moment, StoreError, UnderWay};
use imgopen_types::{CallbackReceipt, SUCCESS_CODE, read};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::sign;
use crate::context::Context;

/// The largest answer of a receiver that is read, in bytes.
const RECEIPT_BYTES: u64 = 64 * 1024;

/// How often the rows are read when none is known to be due, because another process may have redelivered one.
const POLL: Duration = Duration::from_secs(1);

/// The shortest pause between two polls.
const SHORTEST: Duration = Duration::from_millis(10);

/// The callbacks that are being pushed.
#[derive(Debug, Clone, Default)]
struct InProgress {
    pushes: Arc<Mutex<Pushes>>,
}

#[derive(Debug, Default)]
struct Pushes {
    ids: HashSet<CallbackId>,
    origins: HashMap<String, usize>,
}

/// Pushes what is due until the service stops, then waits for what is in progress.
pub async fn run(context: Arc<Context>) {
    let (in_progress, pushes) = (InProgress::default(), TaskTracker::new());
    while !context.stopping.is_cancelled() {
        let pause = match start_due(&context, &in_progress, &pushes).await {
            Ok(next) => next.map_or(POLL, |next| next.since(context.clock.now())).clamp(SHORTEST, POLL),
            Err(error) => {
                error!(%error, "the callbacks that are due could not be read");
                POLL
            }
        };
        tokio::select! {
            () = context.pushes.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = context.stopping.cancelled() => {}
        }
    }
    pushes.close();
    pushes.wait().await;
}

/// Starts as many pushes as there is room for. Returns when the next one will be due.
async fn start_due(
    context: &Arc<Context>,
    in_progress: &InProgress,
    pushes: &TaskTracker,
) -> Result<Option<Moment>, StoreError> {
    let settings = &context.settings.callbacks;
    let under_way = in_progress.under_way(settings.at_once_per_host);
    let room = settings.at_once.saturating_sub(under_way.callbacks.len());
    if room == 0 {
        return Ok(None);
    }
    let due = context.store.due_callbacks(context.clock.now(), under_way, room).await?;
    for callback in due {
        // Several may be due to one receiver.
        if !in_progress.begin(&callback, settings.at_once_per_host) {
            continue;
        }
        let (context, in_progress) = (context.clone(), in_progress.clone());
        pushes.spawn(async move {
            tokio::select! {
                () = attempt(&context, &callback) => {}
                // What is not recorded is pushed again after the next start.
                () = context.ending.cancelled() => {}
            }
            in_progress.end(&callback);
            context.pushes.notify_one();
        });
    }
    // A push that ends wakes the loop, so what is due to a busy origin is not worth waking up for.
    context.store.next_callback(in_progress.under_way(settings.at_once_per_host)).await
}

/// Makes one delivery attempt, and records it with what follows from it.
async fn attempt(context: &Context, callback: &CallbackRow) {
    let (started_at, start) = (context.clock.now(), std::time::Instant::now());
    let answer = deliver(context, callback, started_at).await;
    let tries = u32::try_from(callback.rung).unwrap_or(u32::MAX).saturating_add(1);
    let pause = context.settings.callback_pause(tries);
    let (state, next_at) = match (&answer, pause) {
        (Ok(_), _) => (CallbackState::Acknowledged, None),
        (Err(_), Some(pause)) => (CallbackState::Pending, Some(context.clock.now().plus(pause))),
        (Err(_), None) => (CallbackState::Abandoned, None),
    };
    let (http_status, outcome) = match answer {
        Ok(status) => (Some(status), "acknowledged".to_owned()),
        Err(refused) => (refused.status, refused.problem),
    };
    let word = if state == CallbackState::Acknowledged { "acknowledged" } else { "failed" };
    context.metrics.tried(word);
    let task = &callback.task;
    match state {
        CallbackState::Acknowledged => info!(callback = %callback.id, %task, tries, "callback acknowledged"),
        _ => warn!(callback = %callback.id, %task, tries, %state, problem = %outcome, "callback not acknowledged"),
    }
    let duration_ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
    let attempt = DeliveryAttempt { number: 0, started_at, duration_ms, http_status, outcome };
    let delivery = Delivery { seen: callback.clone(), attempt, state, next_at };
    // Until it is recorded, the push counts as in progress, so that a full disk does not repeat it over and over.
    while let Err(error) = context.store.record_delivery(delivery.clone()).await {
        error!(callback = %callback.id, %error, "a delivery attempt could not be recorded; trying again");
        tokio::time::sleep(POLL).await;
    }
}

/// An attempt that was not acknowledged.
struct Refused {
    status: Option<i64>,
    problem: String,
}

async fn deliver(context: &Context, callback: &CallbackRow, now: Moment) -> Result<i64, Refused> {
    let failed = |problem: String| Refused { status: None, problem };
    let secret = context.keys.signing_secret(&callback.key).await.map_err(|error| failed(error.to_string()))?;
    let secret = secret.ok_or_else(|| {
        failed(format!("no access key has the id `{}`, so the callback cannot be signed", callback.key))
    })?;
    let headers = sign::headers(&secret, &callback.id, now, callback.body.as_bytes()).map_err(failed)?;
    let limits = Limits::default().bytes(RECEIPT_BYTES).time(context.settings.callbacks.time).redirects(0);
    let posted = context.fetcher.post(&callback.url, headers, Bytes::from(callback.body.clone()), &limits).await;
    let posted = posted.map_err(|error| failed(error.to_string()))?;
    receipt(posted.status, &posted.body)
}

/// Only the string "200" as the code acknowledges.
fn receipt(answered: StatusCode, body: &[u8]) -> Result<i64, Refused> {
    let status = i64::from(answered.as_u16());
    let refused = |problem: String| Err(Refused { status: Some(status), problem });
    if !answered.is_success() {
        return refused(format!("answered HTTP {answered}"));
    }
    match read::<CallbackReceipt>(body) {
        Ok(receipt) if receipt.code == SUCCESS_CODE => Ok(status),
        Ok(receipt) => {
            let shown: String = receipt.code.chars().take(100).collect();
            refused(format!("answered the code {shown:?}; only \"200\" acknowledges"))
        }
        Err(error) => refused(format!("did not answer with a receipt such as {{\"code\":\"200\"}}: {error}")),
    }
}

impl InProgress {
    fn under_way(&self, per_origin: usize) -> UnderWay {
        let pushes = self.lock();
        let busy = pushes.origins.iter().filter(|(_, count)| **count >= per_origin).map(|(origin, _)| origin.clone());
        UnderWay { callbacks: pushes.ids.iter().cloned().collect(), busy_origins: busy.collect() }
    }

    fn begin(&self, callback: &CallbackRow, per_origin: usize) -> bool {
        let mut pushes = self.lock();
        let count = pushes.origins.entry(callback.origin.clone()).or_default();
        if *count >= per_origin {
            return false;
        }
        *count += 1;
        pushes.ids.insert(callback.id.clone());
        true
    }

    fn end(&self, callback: &CallbackRow) {
        let mut pushes = self.lock();
        pushes.ids.remove(&callback.id);
        if let Some(count) = pushes.origins.get_mut(&callback.origin) {
            *count -= 1;
            if *count == 0 {
                pushes.origins.remove(&callback.origin);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pushes> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &'static str) -> Result<i64, String> {
        let status = StatusCode::from_u16(status).unwrap();
        receipt(status, body.as_bytes()).map_err(|refused| refused.problem)
    }

    #[test]
    fn only_the_string_200_acknowledges() {
        assert_eq!(answered(200, r#"{"code":"200"}"#), Ok(200));
        assert_eq!(answered(200, r#"{"code":"200","msg":"ok"}"#), Ok(200));
        for body in [r#"{"code":200}"#, r#"{"code":"0"}"#, r#"{}"#, "200", "", "OK"] {
            assert!(answered(200, body).is_err(), "{body:?} acknowledges");
        }
        assert_eq!(answered(500, r#"{"code":"200"}"#).unwrap_err(), "answered HTTP 500 Internal Server Error");
        assert_eq!(answered(302, r#"{"code":"200"}"#).unwrap_err(), "answered HTTP 302 Found");
    }
}
