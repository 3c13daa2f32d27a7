//! One call: adds the keys, traces, sends, retries if that is safe, and reads the answer.

use std::marker::PhantomData;
use std::time::Instant;

use imgopen_types::{Answer, Credentials, operation};
use progenitor_client::{OperationInfo, ResponseValue};
use reqwest::Request;
use reqwest::header::{HeaderName, HeaderValue};
use tracing::{Instrument, Span, debug, field, info_span};

use crate::answer::{Reader, Typed, receive};
use crate::{Client, Error, Retry};

impl Client {
    /// Every generated operation ends here.
    pub(crate) async fn call<T: Answer>(
        &self,
        request: Request,
        info: &OperationInfo,
    ) -> Result<ResponseValue<T>, Error> {
        let is_safe = operation::find(info.operation_id).is_some_and(|operation| operation.idempotent);
        self.call_as(&Typed(PhantomData), request, info.operation_id, is_safe).await
    }

    /// Sends a request, and retries it if that is safe and the failure may be temporary.
    pub(crate) async fn call_as<R: Reader>(
        &self,
        reader: &R,
        mut request: Request,
        operation: &'static str,
        is_safe: bool,
    ) -> Result<ResponseValue<R::Answer>, Error> {
        if let Some(keys) = &self.inner.credentials {
            add_keys(&mut request, keys)?;
        }
        let span = info_span!(
            "imgopen.call",
            operation,
            status = field::Empty,
            duration_ms = field::Empty,
            tries = field::Empty,
        );
        let retry = if is_safe { self.inner.retry.clone() } else { Retry::never() };
        self.attempts(reader, request, retry).instrument(span).await
    }

    async fn attempts<R: Reader>(
        &self,
        reader: &R,
        mut request: Request,
        retry: Retry,
    ) -> Result<ResponseValue<R::Answer>, Error> {
        let start = Instant::now();
        let mut tried = 1;
        loop {
            let again = if tried < retry.tries { request.try_clone() } else { None };
            let outcome = self.attempt(reader, request).await;
            let (wait, next) = match (&outcome, again) {
                (Err(error), Some(next)) => (retry.wait(tried, error), Some(next)),
                _ => (None, None),
            };
            let (Some(wait), Some(next)) = (wait, next) else {
                record(&outcome, start, tried);
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

/// The two headers that carry the access key. HTTP compares header names without regard to case, and the HTTP library
/// sends them in lower case.
fn add_keys(request: &mut Request, keys: &Credentials) -> Result<(), Error> {
    let pairs = [(Credentials::ID_HEADER, keys.access_key_id()), (Credentials::SECRET_HEADER, keys.expose_secret())];
    for (name, value) in pairs {
        let unsendable = || Error::InvalidRequest(format!("the access key does not fit the header `{name}`"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| unsendable())?;
        value.set_sensitive(true);
        request.headers_mut().insert(header, value);
    }
    Ok(())
}

fn record<T>(outcome: &Result<ResponseValue<T>, Error>, start: Instant, tries: u32) {
    let span = Span::current();
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
