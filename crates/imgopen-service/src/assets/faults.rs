//! What the error of a request to a bucket means, and what to do about it.
//!
//! The library has an error of its own only for few states, and says the rest in a text: the status and the answer of the server.
//! Such an answer may be long, and repeat what was signed; only its code and message are passed on.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

/// The most characters that are passed on of what a server or a library says.
const LONGEST: usize = 200;

/// What a request met.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such object.
    NoObject,
    /// The object is there, but not with this range.
    NoRange,
    /// The bucket cannot be used. Says why, and how to fix it.
    Bucket(String),
}

/// Returns what an error means.
pub fn of(error: &object_store::Error) -> Fault {
    let text = error.to_string();
    let (status, code) = (status(&text), element(&text, "Code"));
    let is_missing = status == Some(404) || matches!(error, object_store::Error::NotFound { .. });
    match (status, code) {
        (_, Some("NoSuchBucket")) => {
            Fault::Bucket("there is no such bucket; make it, or correct `storage.url`".to_owned())
        }
        _ if is_missing => Fault::NoObject,
        (Some(416), _) => Fault::NoRange,
        _ => Fault::Bucket(problem(error, &text, status, code)),
    }
}

fn problem(error: &object_store::Error, text: &str, status: Option<u16>, code: Option<&str>) -> String {
    const KEY: &str = "correct `storage.access_key_id` and its secret";
    if let Some(problem) = transport(error) {
        return format!("{problem}; check the server at `storage.endpoint`, and the network");
    }
    let said = match (status, code) {
        (Some(status), Some(code)) => format!("status {status}, {code}"),
        (Some(status), None) => format!("status {status}"),
        (None, Some(code)) => code.to_owned(),
        (None, None) => return bounded(text),
    };
    let message = element(text, "Message").map(|message| format!(": {}", bounded(message))).unwrap_or_default();
    let fix = match (status, code.unwrap_or_default()) {
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => "the credentials have expired; give new ones",
        (_, "SignatureDoesNotMatch") => "the secret is wrong; correct it",
        (_, "InvalidAccessKeyId" | "NotSignedUp") | (Some(401), _) => KEY,
        (_, "RequestTimeTooSkewed") => "set the clock of this machine",
        (Some(301 | 307), _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            "the bucket is in another region; set `storage.region`"
        }
        (Some(403), _) => {
            "the access key needs the permissions to get, put, delete and list objects, and to abort uploads, below the prefix"
        }
        (Some(429 | 500..), _) | (None, _) => "the server is away or has too much to do; see its log",
        _ => "see the log of the server",
    };
    format!("the server answered with {said}{message}; {fix}")
}

/// Describes what kept an answer from arriving.
fn transport(error: &object_store::Error) -> Option<String> {
    if error.to_string().contains("Received redirect without LOCATION") {
        return Some(
            "the server redirects to another address; the bucket may be in another region (`storage.region`)"
                .to_owned(),
        );
    }
    let mut next = error.source();
    let kind = loop {
        let current = next?;
        if let Some(error) = current.downcast_ref::<HttpError>() {
            break error.kind();
        }
        next = current.source();
    };
    let cause = bounded(&root(error));
    Some(match kind {
        HttpErrorKind::Connect => format!("the server cannot be reached: {cause}"),
        HttpErrorKind::Timeout => "the server does not answer in time".to_owned(),
        _ => format!("the connection broke: {cause}"),
    })
}

/// The innermost cause, which says most.
fn root(error: &object_store::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The status of an answer, such as 503 in `status code: 503 Service Unavailable`.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The text of an element of XML that has no elements in it.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner).filter(|inner| !inner.is_empty() && !inner.contains('<'))
}

/// A text in one line and of bounded length.
fn bounded(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error as the library words it.
    fn answered(status: &str, body: &str) -> object_store::Error {
        let text =
            format!("Error performing PUT http://a/b/c in 3ms - Server returned non-2xx status code: {status}: {body}");
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    fn described(error: &object_store::Error) -> String {
        match of(error) {
            Fault::Bucket(problem) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_refusal_names_its_fix() {
        let body = |code: &str| {
            format!("<Error><Code>{code}</Code><Message>no</Message><StringToSign>hush</StringToSign></Error>")
        };
        for (status, code, fix) in [
            ("403 Forbidden", "SignatureDoesNotMatch", "the secret is wrong"),
            ("403 Forbidden", "InvalidAccessKeyId", "correct `storage.access_key_id`"),
            ("400 Bad Request", "ExpiredToken", "the credentials have expired"),
            ("403 Forbidden", "RequestTimeTooSkewed", "set the clock"),
            ("403 Forbidden", "AccessDenied", "the access key needs the permissions"),
            ("404 Not Found", "NoSuchBucket", "there is no such bucket; make it"),
            ("301 Moved Permanently", "PermanentRedirect", "set `storage.region`"),
            ("503 Service Unavailable", "SlowDown", "the server is away or has too much to do"),
        ] {
            let problem = described(&answered(status, &body(code)));
            assert!(
                problem.contains(fix) && !problem.contains("hush") && !problem.contains("http://"),
                "{code}: {problem}"
            );
        }
        let away = described(&answered("502 Bad Gateway", "<html>\n</html>"));
        assert_eq!(away, "the server answered with status 502; the server is away or has too much to do; see its log");
        // A server may answer with an error after it has begun with the status 200.
        let late = object_store::Error::Generic {
            store: "S3",
            source: format!("Server returned error response: {}", body("InternalError")).into(),
        };
        assert!(described(&late).starts_with("the server answered with InternalError: no; the server is away"));
    }

    #[test]
    fn a_missing_object_is_not_a_missing_bucket() {
        assert_eq!(of(&answered("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>")), Fault::NoObject);
        let without_body = object_store::Error::NotFound { path: "a".to_owned(), source: "404".into() };
        assert_eq!(of(&without_body), Fault::NoObject);
        assert_eq!(of(&answered("416 Range Not Satisfiable", "")), Fault::NoRange);
    }

    #[test]
    fn a_server_that_is_away_is_described_by_the_innermost_cause() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = |kind| object_store::Error::Generic {
            store: "S3",
            source: Box::new(HttpError::new(kind, std::io::Error::from(refused.kind()))),
        };
        assert!(
            described(&error(HttpErrorKind::Connect)).starts_with("the server cannot be reached: connection refused")
        );
        assert!(described(&error(HttpErrorKind::Timeout)).starts_with("the server does not answer in time"));
        assert!(described(&error(HttpErrorKind::Interrupted)).starts_with("the connection broke: "));
    }
}
