//! From an HTTP answer to the type that the document promises, or to the error that says what came instead.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use imgopen_types::schema::Object;
use imgopen_types::{Answer, Envelope, ReadError, SUCCESS_CODE, read, read_value};
use progenitor_client::ResponseValue;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
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
    mut response: Response,
    limit: usize,
) -> Result<ResponseValue<R::Answer>, Error> {
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
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

/// Most answers arrive in one piece, which is not copied.
async fn collect(mut response: Response, limit: usize) -> Result<Bytes, Error> {
    let fits = |length: usize| if length > limit { Err(Error::TooLarge { limit }) } else { Ok(()) };
    let first = response.chunk().await?.unwrap_or_default();
    fits(first.len())?;
    let Some(second) = response.chunk().await? else { return Ok(first) };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        fits(body.len() + chunk.len())?;
        body.extend_from_slice(&chunk);
        next = response.chunk().await?;
    }
    Ok(body.freeze())
}

/// Returns the wait that the headers of an answer ask for (`Retry-After`), in seconds or as a date. A date is compared with that of
/// the answer, because the clocks of the two machines may differ.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if let Some(wait) = seconds(value) {
        return Some(wait);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

/// Reads a number of seconds. Some servers send one with a fraction, which HTTP does not have.
fn seconds(text: &str) -> Option<Duration> {
    let is_number =
        text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = text.parse().ok().filter(|_| is_number)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
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
        assert_eq!(retry_after(&headers("1.5")), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after(&headers("99999999999999999999999")), Some(Duration::MAX));
        for nonsense in ["soon", "", "-1", "+1", "1e3", "inf", "NaN", ".5", "1.2.3", "0x10"] {
            assert_eq!(retry_after(&headers(nonsense)), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    /// Whatever the time is here.
    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server() {
        for (date, seconds) in [
            ("Sun, 06 Nov 1994 08:49:07 GMT", 30),
            ("Sun, 06 Nov 1994 07:49:37 GMT", 3600),
            ("Sun, 06 Nov 1994 08:50:00 GMT", 0),
        ] {
            let mut headers = headers("Sun, 06 Nov 1994 08:49:37 GMT");
            headers.insert(DATE, date.parse().unwrap());
            assert_eq!(retry_after(&headers), Some(Duration::from_secs(seconds)), "{date}");
        }
        let mut headers = headers("Fri, 31 Dec 9999 23:59:59 GMT");
        headers.insert(DATE, "now".parse().unwrap());
        assert!(retry_after(&headers).unwrap() > Duration::from_secs(1 << 30), "an unreadable date is not taken");
    }
}
