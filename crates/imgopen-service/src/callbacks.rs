//! Callbacks: pushed when a task ends, again and again until the receiver acknowledges, however slow others are.
//!
//! A push is a row, written together with the end of its task. This loop takes the rows that are due and pushes each in
//! a task of its own. A receiver may get the same push twice (when the service is killed between its answer and the
//! note of it), with the same `webhook-id`; it is noted as acknowledged once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use imgopen_fetch::{Limits, StatusCode, Url};
use imgopen_types::{CallbackReceipt, SUCCESS_CODE, read};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::clock::Moment;
use crate::ids::CallbackId;
use crate::service::Service;
use crate::signing;
use crate::store::{CallbackRow, CallbackState, NewCallback, Try};

/// The most bytes of a receiver's answer that are looked at.
const RECEIPT_BYTES: u64 = 64 * 1024;

/// How often the rows are looked at when nothing is known to be due: another process may have set one going.
const LOOK: Duration = Duration::from_secs(1);

/// The shortest pause between two looks.
const LEAST: Duration = Duration::from_millis(10);

/// What is under way.
#[derive(Debug, Clone, Default)]
struct UnderWay {
    pushes: Arc<Mutex<Pushes>>,
}

#[derive(Debug, Default)]
struct Pushes {
    ids: HashSet<CallbackId>,
    origins: HashMap<String, usize>,
}

/// A new callback to an address.
pub(crate) fn new(url: &str, body: String) -> Option<NewCallback> {
    let parsed = Url::parse(url).ok()?;
    let id = CallbackId::new().inspect_err(|error| error!(%error, "a callback is lost")).ok()?;
    Some(NewCallback { id, url: url.to_owned(), origin: parsed.origin().ascii_serialization(), body })
}

/// Pushes what is due until the service stops, then waits for what is under way.
pub(crate) async fn push(service: Service) {
    let inner = &service.inner;
    let (under_way, pushes) = (UnderWay::default(), TaskTracker::new());
    while !inner.stopping.is_cancelled() {
        let pause = match start_due(&service, &under_way, &pushes).await {
            Ok(next) => next.map_or(LOOK, |next| next.since(inner.clock.now())).clamp(LEAST, LOOK),
            Err(error) => {
                error!(%error, "the callbacks that are due could not be read");
                LOOK
            }
        };
        tokio::select! {
            () = inner.pushes.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = inner.stopping.cancelled() => {}
        }
    }
    pushes.close();
    pushes.wait().await;
}

/// Starts pushes as far as there is room; tells when the next one will be due.
async fn start_due(
    service: &Service,
    under_way: &UnderWay,
    pushes: &TaskTracker,
) -> Result<Option<Moment>, crate::store::StoreError> {
    let inner = &service.inner;
    let settings = &inner.settings.callbacks;
    let (ids, busy) = under_way.taken(settings.at_once_per_host);
    let room = settings.at_once.saturating_sub(ids.len());
    if room == 0 {
        return Ok(None);
    }
    let due = inner.store.due_callbacks(inner.clock.now(), ids, busy, room).await?;
    for callback in due {
        // Several may be due to one receiver.
        if !under_way.begin(&callback, settings.at_once_per_host) {
            continue;
        }
        let (service, under_way) = (service.clone(), under_way.clone());
        pushes.spawn(async move {
            tokio::select! {
                () = attempt(&service, &callback) => {}
                // What is not noted is pushed again after the next start.
                () = service.inner.ending.cancelled() => {}
            }
            under_way.end(&callback);
            service.inner.pushes.notify_one();
        });
    }
    // A push that ends wakes the loop, so nothing to a busy origin is worth waking up for.
    let (ids, busy) = under_way.taken(settings.at_once_per_host);
    inner.store.next_callback(ids, busy).await
}

/// One try, and what follows from it.
async fn attempt(service: &Service, callback: &CallbackRow) {
    let inner = &service.inner;
    let (started_at, start) = (inner.clock.now(), std::time::Instant::now());
    let answer = deliver(service, callback, started_at).await;
    let tries = u32::try_from(callback.rung).unwrap_or(u32::MAX).saturating_add(1);
    let pause = inner.settings.callback_pause(tries);
    let (state, next_at) = match (&answer, pause) {
        (Ok(_), _) => (CallbackState::Acknowledged, None),
        (Err(_), Some(pause)) => (CallbackState::Pending, Some(inner.clock.now().plus(pause))),
        (Err(_), None) => (CallbackState::Abandoned, None),
    };
    let (http_status, outcome) = match answer {
        Ok(status) => (Some(status), "acknowledged".to_owned()),
        Err(refused) => (refused.status, refused.problem),
    };
    let word = if state == CallbackState::Acknowledged { "acknowledged" } else { "failed" };
    inner.metrics.tried(word);
    let task = &callback.task;
    match state {
        CallbackState::Acknowledged => info!(callback = %callback.id, %task, tries, "callback acknowledged"),
        _ => warn!(callback = %callback.id, %task, tries, %state, problem = %outcome, "callback not acknowledged"),
    }
    let duration_ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
    let outcome = Try { number: 0, started_at, duration_ms, http_status, outcome };
    // Until it is noted the push counts as under way: a full disk must not make it go out over and over.
    while let Err(error) = inner.store.record_try(callback, outcome.clone(), state, next_at).await {
        error!(callback = %callback.id, %error, "a try to push could not be noted; trying again");
        tokio::time::sleep(LOOK).await;
    }
}

/// What a receiver did in place of acknowledging.
struct Refused {
    status: Option<i64>,
    problem: String,
}

async fn deliver(service: &Service, callback: &CallbackRow, now: Moment) -> Result<i64, Refused> {
    let inner = &service.inner;
    let failed = |problem: String| Refused { status: None, problem };
    let secret = inner.keys.signing_secret(&callback.key).await.map_err(|error| failed(error.to_string()))?;
    let secret = secret.ok_or_else(|| failed(format!("the key {} is gone; nothing to sign with", callback.key)))?;
    let headers = signing::headers(&secret, &callback.id, now, callback.body.as_bytes()).map_err(failed)?;
    let limits = Limits::default().bytes(RECEIPT_BYTES).time(inner.settings.callbacks.time).redirects(0);
    let posted = inner.fetcher.post(&callback.url, headers, Bytes::from(callback.body.clone()), &limits).await;
    let posted = posted.map_err(|error| failed(error.to_string()))?;
    receipt(posted.status, &posted.body)
}

/// A receiver acknowledges by the text "200" as the code, and by nothing else.
fn receipt(answered: StatusCode, body: &[u8]) -> Result<i64, Refused> {
    let status = i64::from(answered.as_u16());
    let refused = |problem: String| Err(Refused { status: Some(status), problem });
    if !answered.is_success() {
        return refused(format!("answered HTTP {answered}"));
    }
    match read::<CallbackReceipt>(body) {
        Ok(receipt) if receipt.code == SUCCESS_CODE => Ok(status),
        Ok(receipt) => refused(format!("answered the code {:?}; only \"200\" acknowledges", receipt.code)),
        Err(error) => refused(format!("answered no receipt such as {{\"code\":\"200\"}}: {error}")),
    }
}

impl UnderWay {
    /// What is pushed now, and the origins that take no more.
    fn taken(&self, per_origin: usize) -> (Vec<CallbackId>, Vec<String>) {
        let pushes = self.lock();
        let busy = pushes.origins.iter().filter(|(_, count)| **count >= per_origin).map(|(origin, _)| origin.clone());
        (pushes.ids.iter().cloned().collect(), busy.collect())
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
    fn only_the_text_200_acknowledges() {
        assert_eq!(answered(200, r#"{"code":"200"}"#), Ok(200));
        assert_eq!(answered(200, r#"{"code":"200","msg":"ok"}"#), Ok(200));
        for body in [r#"{"code":200}"#, r#"{"code":"0"}"#, r#"{}"#, "200", "", "OK"] {
            assert!(answered(200, body).is_err(), "{body:?} acknowledges");
        }
        assert_eq!(answered(500, r#"{"code":"200"}"#).unwrap_err(), "answered HTTP 500 Internal Server Error");
        assert_eq!(answered(302, r#"{"code":"200"}"#).unwrap_err(), "answered HTTP 302 Found");
    }
}
