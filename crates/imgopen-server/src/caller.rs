//! The caller: the access key, and the headers of the call.

use axum::http::HeaderMap;
use imgopen_types::Credentials;

use crate::Failure;

/// The caller of an operation. `Debug` shows no secret: neither the key's, nor the headers that it came in.
///
/// ```
/// use axum::http::HeaderMap;
/// use imgopen_server::{Caller, Credentials};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("Idempotency-Key", "order-7".parse()?);
/// let caller = Caller::new(Credentials::new("my-id", "my-secret"), headers);
/// assert_eq!(caller.access_key_id(), "my-id");
/// assert_eq!(caller.header("idempotency-key"), Ok(Some("order-7")));
/// # Ok::<(), axum::http::header::InvalidHeaderValue>(())
/// ```
#[derive(Debug, Clone)]
pub struct Caller {
    /// The access key.
    pub keys: Credentials,
    /// The headers of the call, without the two that the access key came in.
    pub headers: HeaderMap,
}

impl Caller {
    /// Makes a caller from a key and headers; the two headers of the key are removed.
    pub fn new(keys: Credentials, mut headers: HeaderMap) -> Self {
        for name in [Credentials::ID_HEADER, Credentials::SECRET_HEADER] {
            headers.remove(name);
        }
        Self { keys, headers }
    }

    /// The id of the access key, which may be logged.
    pub fn access_key_id(&self) -> &str {
        self.keys.access_key_id()
    }

    /// Returns the value of a header that must be unambiguous.
    ///
    /// # Errors
    ///
    /// 400, naming the header as `name` has it, when its value is not a text or it was sent more than once.
    pub fn header(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Failure::bad_request(format!("the header `{name}` is sent more than once; send it once")));
        }
        let text = std::str::from_utf8(value.as_bytes());
        text.map(Some).map_err(|_| Failure::bad_request(format!("the header `{name}` is not a text; send UTF-8")))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn caller(headers: &[(&'static str, &[u8])]) -> Caller {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap()));
        Caller::new(Credentials::new("my-id", "my-secret"), headers.collect())
    }

    #[test]
    fn a_logged_caller_shows_no_secret() {
        let caller =
            caller(&[("x-request-req-accesskeysecret", b"my-secret"), ("x-request-req-accesskeyid", b"my-id")]);
        assert!(!format!("{caller:?}").contains("my-secret"));
        assert!(caller.headers.is_empty());
    }

    #[test]
    fn a_header_is_one_text() {
        let caller = caller(&[("x-sandbox", b"1"), ("a", b"1"), ("a", b"2"), ("b", b"\xff"), ("c", "ä".as_bytes())]);
        let problem = |name| caller.header(name).unwrap_err().msg().to_owned();
        assert_eq!(caller.header("X-Sandbox").unwrap(), Some("1"));
        assert_eq!(caller.header("c").unwrap(), Some("ä"));
        assert_eq!(caller.header("x-other").unwrap(), None);
        assert_eq!(caller.header("not a name").unwrap(), None);
        assert_eq!(problem("A"), "the header `A` is sent more than once; send it once");
        assert_eq!(problem("b"), "the header `b` is not a text; send UTF-8");
        assert_eq!(caller.header("b").unwrap_err().status(), 400);
    }
}
