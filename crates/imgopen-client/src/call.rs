//! One call: adds the keys, traces, sends, retries if that is safe, and reads the answer.

use std::marker::PhantomData;
use std::time::Instant;

use imgopen_types::{Answer, operation};
use progenitor_client::{OperationInfo, ResponseValue};
use reqwest::Request;
use reqwest::header::{HeaderName, HeaderValue};
use tracing::{Instrument, Span, debug, field, info_span};

use crate::answer::{Reader, Typed, receive};
use crate::{Client, Error};

/// The header that makes a submit safe to repeat, if the server supports it.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Client {
    /// Every generated operation ends here.
    pub(crate) async fn call<T: Answer>(
        &self,
        request: Request,
        info: &OperationInfo,
    ) -> Result<ResponseValue<T>, Error> {
        self.call_as(&Typed(PhantomData), request, info.operation_id).await
    }

    /// Sends a request, and retries it if that is safe and the failure may be temporary.
    pub(crate) async fn call_as<R: Reader>(
        &self,
        reader: &R,
        mut request: Request,
        operation: &'static str,
    ) -> Result<ResponseValue<R::Answer>, Error> {
        let settings = &self.inner;
        request.headers_mut().extend(settings.key_headers.iter().cloned());
        if settings.idempotency_keys && is_submit(operation) && !request.headers().contains_key(IDEMPOTENCY_KEY) {
            request.headers_mut().insert(IDEMPOTENCY_KEY, random_key()?);
        }
        let span = info_span!(
            "imgopen.call",
            operation,
            status = field::Empty,
            duration_ms = field::Empty,
            tries = field::Empty,
        );
        let attempts = self.attempts(reader, request, operation, &span);
        // Entering a span that nobody records takes time at every poll.
        if span.is_disabled() { attempts.await } else { attempts.instrument(span.clone()).await }
    }

    async fn attempts<R: Reader>(
        &self,
        reader: &R,
        mut request: Request,
        operation: &'static str,
        span: &Span,
    ) -> Result<ResponseValue<R::Answer>, Error> {
        let (retry, start) = (&self.inner.retry, Instant::now());
        let has_key = request.headers().contains_key(IDEMPOTENCY_KEY);
        let is_safe = |error: &Error| has_key || error.is_unsent() || is_query(operation);
        let mut tried = 1;
        loop {
            let again = if tried < retry.tries { request.try_clone() } else { None };
            let outcome = self.attempt(reader, request).await;
            let (wait, next) = match (&outcome, again) {
                (Err(error), Some(next)) if is_safe(error) => (retry.wait(tried, error), Some(next)),
                _ => (None, None),
            };
            let (Some(wait), Some(next)) = (wait, next) else {
                record(span, &outcome, start, tried);
                return outcome;
            };
            debug!(tried, ?wait, "trying again");
            tokio::time::sleep(wait).await;
            request = next;
            tried += 1;
        }
    }

    async fn attempt<R: Reader>(&self, reader: &R, request: Request) -> Result<ResponseValue<R::Answer>, Error> {
        let response = self.client.execute(request).await?;
        receive(reader, response, self.inner.answer_limit).await
    }
}

/// Whether repeating an operation changes nothing.
fn is_query(id: &str) -> bool {
    operation::find(id).is_some_and(|operation| operation.idempotent)
}

/// Whether an operation starts a task: its request has a place for the caller's id of one.
fn is_submit(id: &str) -> bool {
    operation::find(id).is_some_and(|operation| operation.caller_id.is_some())
}

/// Returns a key that no other submit has.
fn random_key() -> Result<HeaderValue, Error> {
    let failed =
        |error: &dyn std::fmt::Display| Error::InvalidRequest(format!("no idempotency key can be made: {error}"));
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| failed(&error))?;
    HeaderValue::try_from(format!("{:032x}", u128::from_be_bytes(bytes))).map_err(|error| failed(&error))
}

fn record<T>(span: &Span, outcome: &Result<ResponseValue<T>, Error>, start: Instant, tries: u32) {
    let status = match outcome {
        Ok(answer) => Some(answer.status()),
        Err(error) => error.status(),
    };
    if let Some(status) = status {
        span.record("status", status.as_u16());
    }
    span.record("duration_ms", start.elapsed().as_secs_f64() * 1000.0);
    span.record("tries", tries);
    match outcome {
        Ok(_) => debug!("answered"),
        Err(error) => debug!(%error, "failed"),
    }
}
