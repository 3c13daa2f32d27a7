//! Documents that never change while the server runs: compressed once, and not sent to those who have them.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// A document as YAML.
pub(crate) fn yaml<S: Clone + Send + Sync + 'static>(text: &'static str) -> MethodRouter<S> {
    route(text, "application/yaml", None)
}

/// A document as JSON.
pub(crate) fn json<S: Clone + Send + Sync + 'static>(text: &'static str) -> MethodRouter<S> {
    route(text, "application/json", None)
}

/// The page of all documents. The policy is the page's own; that nobody may frame it can only be said in the header.
pub(crate) fn page<S: Clone + Send + Sync + 'static>(text: &'static str, policy: &str) -> MethodRouter<S> {
    let policy = HeaderValue::try_from(format!("{policy}; frame-ancestors 'none'")).ok();
    route(text, "text/html; charset=utf-8", policy)
}

fn route<S: Clone + Send + Sync + 'static>(
    text: &'static str,
    media_type: &'static str,
    policy: Option<HeaderValue>,
) -> MethodRouter<S> {
    let document = Arc::new(Document { text, media_type, policy, packed: OnceLock::new() });
    get(move |headers: HeaderMap| {
        let document = document.clone();
        async move { document.answer(&headers) }
    })
}

/// A document, and how it is served.
struct Document {
    text: &'static str,
    media_type: &'static str,
    policy: Option<HeaderValue>,
    packed: OnceLock<Packed>,
}

/// What is made of a document when it is asked for the first time.
struct Packed {
    /// Names its content, in whatever coding it is sent; so it is weak.
    tag: String,
    /// `None` if it could not be compressed.
    gzip: Option<Bytes>,
}

impl Packed {
    fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
        Self { tag: format!("W/\"{digits}\""), gzip: gzip.ok().map(Bytes::from) }
    }
}

impl Document {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let packed = self.packed.get_or_init(|| Packed::of(self.text));
        let always = [(ETAG, packed.tag.as_str()), (VARY, "accept-encoding"), (CACHE_CONTROL, "no-cache")];
        if is_there(headers, &packed.tag) {
            return (StatusCode::NOT_MODIFIED, always).into_response();
        }
        let described = [(CONTENT_TYPE, self.media_type), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
        let policy = self.policy.clone().map(|policy| [(CONTENT_SECURITY_POLICY, policy)]);
        let body = match packed.gzip.clone().filter(|_| takes_gzip(headers)) {
            Some(gzip) => ([(CONTENT_ENCODING, "gzip")], gzip).into_response(),
            None => Bytes::from_static(self.text.as_bytes()).into_response(),
        };
        let mut response = (always, described, body).into_response();
        response.headers_mut().extend(policy.into_iter().flatten());
        response
    }
}

/// Whether the caller has a document with that tag. Whether tags are weak makes no difference here.
fn is_there(headers: &HeaderMap, tag: &str) -> bool {
    words(headers, IF_NONE_MATCH).any(|given| given == "*" || opaque(given) == opaque(tag))
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Whether the caller takes `gzip`: it is named, or else everything is, and not with the quality 0 or one below that of `identity`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let quality = |name: &str| {
        words(headers, ACCEPT_ENCODING).find_map(|word| {
            let (coding, rest) = word.split_once(';').unwrap_or((word, ""));
            let mut parameters = rest.split(';').filter_map(|parameter| parameter.split_once('='));
            let given = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
            let given = given.and_then(|(_, value)| value.trim().parse::<f32>().ok());
            coding.trim().eq_ignore_ascii_case(name).then_some(given.unwrap_or(1.0))
        })
    };
    let gzip = quality("gzip").or_else(|| quality("x-gzip")).or_else(|| quality("*"));
    gzip.is_some_and(|gzip| gzip > 0.0 && quality("identity").is_none_or(|identity| gzip >= identity))
}

/// The parts of a header that is a list.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (accepted, expected) in [
            (&["gzip"][..], true),
            (&["gzip, deflate, br"], true),
            (&["br", "GZip;q=0.5"], true),
            (&["*"], true),
            (&["x-gzip"], true),
            (&["identity;q=0.1, *;q=0.1"], true),
            (&["identity, gzip"], true),
            (&["identity;q=0, gzip;q=0.1"], true),
            (&[], false),
            (&["br, zstd"], false),
            (&["gzip;q=0"], false),
            (&["gzip;x=1;Q=0"], false),
            (&["gzip; q=0.000, *"], false),
            (&["*;q=0"], false),
            (&["identity"], false),
            (&["identity;q=0.9, gzip;q=0.2"], false),
            (&["identity, *;q=0.1"], false),
        ] {
            assert_eq!(takes_gzip(&headers(ACCEPT_ENCODING, accepted)), expected, "{accepted:?}");
        }
    }

    #[test]
    fn a_document_that_the_caller_has_is_known_by_its_tag() {
        for (given, expected) in [
            (&["W/\"1\""][..], true),
            (&["\"1\""], true),
            (&["\"0\", W/\"1\""], true),
            (&["\"0\"", "\"1\""], true),
            (&["*"], true),
            (&["\"0\""], false),
            (&["1"], false),
            (&[], false),
        ] {
            assert_eq!(is_there(&headers(IF_NONE_MATCH, given), "W/\"1\""), expected, "{given:?}");
        }
    }
}
