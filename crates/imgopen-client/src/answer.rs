//! From an HTTP answer to the type that the document promises, or to the error that says what came instead.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use imgopen_types::schema::Object;
use imgopen_types::{Answer, Envelope, ReadError, SUCCESS_CODE, read, read_value};
use progenitor_client::ResponseValue;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::Error;

/// Returns the data of a success, or the error.
pub trait IntoData {
    /// The type of the answer's `data`.
    type Data;

    /// Returns the data.
    ///
    /// # Errors
    ///
    /// [`Error::MissingData`] if the document makes the data optional and the answer has none; otherwise the error of the
    /// call.
    fn into_data(self) -> Result<Self::Data, Error>;
}

impl<T: Answer> IntoData for ResponseValue<T> {
    type Data = T::Data;

    fn into_data(self) -> Result<T::Data, Error> {
        self.into_inner().into_data().ok_or(Error::MissingData { answer: T::schema().name })
    }
}

impl<T: Answer> IntoData for Result<ResponseValue<T>, Error> {
    type Data = T::Data;

    fn into_data(self) -> Result<T::Data, Error> {
        self?.into_data()
    }
}

/// How the body of a success is read.
pub(crate) trait Reader {
    /// The result of reading.
    type Answer;

    /// Reads it.
    fn read(&self, body: &[u8]) -> Result<Self::Answer, ReadError>;

    /// Its code and its text.
    fn outcome(answer: &Self::Answer) -> (&str, &str);
}

/// Reads the type of an operation.
pub(crate) struct Typed<T>(pub PhantomData<T>);

impl<T: Answer> Reader for Typed<T> {
    type Answer = T;

    fn read(&self, body: &[u8]) -> Result<T, ReadError> {
        read(body)
    }

    fn outcome(answer: &T) -> (&str, &str) {
        (answer.code(), answer.msg())
    }
}

/// Reads by the table of an operation that is known only at run time.
pub(crate) struct Untyped(pub &'static Object);

impl Reader for Untyped {
    type Answer = Value;

    fn read(&self, body: &[u8]) -> Result<Value, ReadError> {
        read_value(self.0, body)
    }

    fn outcome(answer: &Value) -> (&str, &str) {
        let text = |name: &str| answer[name].as_str().unwrap_or_default();
        (text("code"), text("msg"))
    }
}

/// Reads a whole answer, up to the limit, and decides whether it is a success.
pub(crate) async fn receive<R: Reader>(
    reader: &R,
    response: Response,
    limit: usize,
) -> Result<ResponseValue<R::Answer>, Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = collect(response, limit).await?;
    if status != StatusCode::OK {
        let envelope = read::<Envelope>(&body).ok().map(Box::new);
        return Err(Error::Status { status, envelope, retry_after: retry_after(&headers), body });
    }
    let answer = match reader.read(&body) {
        Ok(answer) => answer,
        Err(source) => return Err(unreadable(status, source, body)),
    };
    let (code, msg) = R::outcome(&answer);
    if code != SUCCESS_CODE {
        let envelope = Box::new(Envelope { code: code.to_owned(), msg: msg.to_owned() });
        return Err(Error::Code { status, envelope, body });
    }
    Ok(ResponseValue::new(answer, status, headers))
}

/// A failure with HTTP 200 usually lacks the data of a success, so its code is checked first.
fn unreadable(status: StatusCode, source: ReadError, body: Bytes) -> Error {
    match read::<Envelope>(&body) {
        Ok(envelope) if envelope.code != SUCCESS_CODE => Error::Code { status, envelope: Box::new(envelope), body },
        _ => Error::Decode { status, source, body },
    }
}

async fn collect(mut response: Response, limit: usize) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The wait that the server asks for, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
    }

    #[test]
    fn reads_both_forms_of_retry_after() {
        assert_eq!(retry_after(&headers("7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers("Sun, 06 Nov 1994 08:49:37 GMT")), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("soon")), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
