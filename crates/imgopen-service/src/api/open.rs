//! Callers of a service that needs no keys: many libraries insist on sending one, and its users give a placeholder.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::middleware::Next;
use axum::response::Response;
use imgopen_server::{Credentials, Failure};
use imgopen_store::KeyId;

use super::failures;
use crate::context::Context;

/// Takes a key that the service does not have out of a request, as if the caller had sent none. One that it has must be right:
/// its holder expects its own tasks.
pub async fn ignore_placeholder(
    State(context): State<Arc<Context>>,
    mut request: Request<Body>,
    next: Next,
) -> Result<Response, Failure> {
    if let Some(id) = sent(request.headers()) {
        let is_placeholder = id.is_empty() || id == KeyId::OPEN;
        if is_placeholder || !context.keys.knows(&KeyId(id)).await.map_err(failures::of_store)? {
            for name in [Credentials::ID_HEADER, Credentials::SECRET_HEADER] {
                request.headers_mut().remove(name);
            }
        }
    }
    Ok(next.run(request).await)
}

/// Returns the id of the key that a caller sent, which is empty if only a secret was, or if it is not a text, as that of every key
/// is. `None` if neither was, or the id was sent more than once, which is rejected later.
fn sent(headers: &HeaderMap) -> Option<String> {
    let mut ids = headers.get_all(Credentials::ID_HEADER).iter();
    match (ids.next(), ids.next()) {
        (Some(id), None) => Some(std::str::from_utf8(id.as_bytes()).unwrap_or_default().to_owned()),
        (None, _) => headers.contains_key(Credentials::SECRET_HEADER).then(String::new),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_is_not_a_text_is_a_placeholder() {
        let sent = |headers: &[(&'static str, &[u8])]| {
            let one = |(name, value): &(&'static str, &[u8])| (name.parse::<HeaderName>().unwrap(), value_of(value));
            super::sent(&headers.iter().map(one).collect())
        };
        let (id, secret) = (Credentials::ID_HEADER, Credentials::SECRET_HEADER);
        assert_eq!(sent(&[(id, b"ak_1"), (secret, b"x")]), Some("ak_1".to_owned()));
        assert_eq!(sent(&[(id, b"caf\xE9")]), Some(String::new()));
        assert_eq!(sent(&[(secret, b"\xFF")]), Some(String::new()));
        assert_eq!(sent(&[(id, b"a"), (id, b"b")]), None);
        assert_eq!(sent(&[]), None);
    }

    fn value_of(bytes: &[u8]) -> HeaderValue {
        HeaderValue::from_bytes(bytes).unwrap()
    }
}
