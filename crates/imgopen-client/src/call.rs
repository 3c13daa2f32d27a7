//! One call: adds the keys, traces, sends, retries if that is safe, and reads the answer.

use std::marker::PhantomData;
use std::time::Instant;

use bytes::Bytes;
use imgopen_types::{Answer, operation};
use progenitor_client::{OperationInfo, ResponseValue};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use tracing::{Instrument, Span, debug, field, info_span};

use crate::answer::{Reader, Typed, receive};
use crate::{Client, Error};

/// The header that makes a submit safe to repeat, if the server supports it.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request, to be sent as often as it takes.
pub(crate) struct Outgoing {
    /// The id of the operation.
    pub operation: &'static str,
    /// Where it goes.
    pub url: Url,
    /// The key that makes it safe to repeat.
    pub idempotency_key: Option<HeaderValue>,
    /// The JSON text.
    pub body: Bytes,
}

impl Outgoing {
    fn request(&self, headers: &HeaderMap) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = headers.clone();
        if let Some(key) = &self.idempotency_key {
            request.headers_mut().insert(IDEMPOTENCY_KEY, key.clone());
        }
        *request.body_mut() = Some(self.body.clone().into());
        request
    }

    /// Whether repeating it is safe after that failure.
    fn is_safe_after(&self, error: &Error) -> bool {
        self.idempotency_key.is_some() || error.is_unprocessed() || is_query(self.operation)
    }
}

impl Client {
    /// Every generated operation with a fixed path ends here.
    pub(crate) async fn call<T: Answer>(&self, info: &OperationInfo, body: Vec<u8>) -> Result<ResponseValue<T>, Error> {
        let url = self.inner.prepared.url(info.operation_id)?;
        self.send(info, url, body).await
    }

    /// Every generated operation whose path has a variable part ends here.
    pub(crate) async fn call_at<T: Answer>(
        &self,
        info: &OperationInfo,
        url: &str,
        body: Vec<u8>,
    ) -> Result<ResponseValue<T>, Error> {
        self.send(info, parse(url)?, body).await
    }

    async fn send<T: Answer>(&self, info: &OperationInfo, url: Url, body: Vec<u8>) -> Result<ResponseValue<T>, Error> {
        let call = Outgoing { operation: info.operation_id, url, idempotency_key: None, body: body.into() };
        self.call_as(&Typed(PhantomData), call).await
    }

    /// Sends a request, and retries it if that is safe and the failure may be temporary.
    pub(crate) async fn call_as<R: Reader>(
        &self,
        reader: &R,
        mut call: Outgoing,
    ) -> Result<ResponseValue<R::Answer>, Error> {
        if self.inner.idempotency_keys && call.idempotency_key.is_none() && is_submit(call.operation) {
            call.idempotency_key = Some(random_key()?);
        }
        let span = info_span!(
            "imgopen.call",
            operation = call.operation,
            status = field::Empty,
            duration_ms = field::Empty,
            tries = field::Empty,
        );
        let attempts = self.attempts(reader, &call, &span);
        // Entering a span that nobody records takes time at every poll.
        if span.is_disabled() { attempts.await } else { attempts.instrument(span.clone()).await }
    }

    async fn attempts<R: Reader>(
        &self,
        reader: &R,
        call: &Outgoing,
        span: &Span,
    ) -> Result<ResponseValue<R::Answer>, Error> {
        let (retry, start) = (&self.inner.retry, Instant::now());
        let mut tried = 1;
        loop {
            let outcome = self.attempt(reader, call).await;
            let wait = match &outcome {
                Err(error) if tried < retry.tries && call.is_safe_after(error) => retry.wait(tried, error),
                _ => None,
            };
            let Some(wait) = wait else {
                record(span, &outcome, start, tried);
                return outcome;
            };
            debug!(tried, ?wait, "trying again");
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }

    async fn attempt<R: Reader>(&self, reader: &R, call: &Outgoing) -> Result<ResponseValue<R::Answer>, Error> {
        let response = self.client.execute(call.request(&self.inner.prepared.headers)).await?;
        receive(reader, response, self.inner.answer_limit).await
    }
}

/// Reads the address of a call.
pub(crate) fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|error| Error::InvalidRequest(format!("the URL {url:?} cannot be called: {error}")))
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
