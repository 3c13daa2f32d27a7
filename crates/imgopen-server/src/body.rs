//! The body of a call: its media type, its content codings, and its bytes within the limits.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::coding::{ACCEPTED, Codings, Undecodable};
use crate::refusal::Refusal;
use crate::{Failure, Options};

/// Reads the body of a call: JSON, of which neither what is sent nor what is decoded is larger than the limit.
pub(crate) async fn read(headers: &HeaderMap, body: Body, options: &Options) -> Result<Vec<u8>, Failure> {
    media_type(headers)?;
    let codings = codings(headers)?;
    let sent = received(headers, body, options).await?;
    let decoded = decoded(codings, sent, options.body_limit).await;
    let bytes = decoded.map_err(|undecodable| match undecodable {
        Undecodable::TooLarge => too_large(options.body_limit),
        Undecodable::Invalid(problem) => {
            let msg = format!("{problem}; send it whole, or as it is and without the header `Content-Encoding`");
            Failure::bad_request(msg).for_refusal(Refusal::Json)
        }
    })?;
    if bytes.is_empty() {
        return Err(Failure::bad_request("the body is empty; send a JSON object").for_refusal(Refusal::Json));
    }
    Ok(bytes)
}

fn media_type(headers: &HeaderMap) -> Result<(), Failure> {
    let given: Vec<_> = headers.get_all(CONTENT_TYPE).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let given = given.join(", ");
    let mut parts = given.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    if is_json && parts.all(is_taken) {
        return Ok(());
    }
    let problem = if given.is_empty() { "missing".to_owned() } else { format!("`{given}`") };
    let json = if is_json { "JSON in UTF-8" } else { "JSON" };
    let msg = format!("the header `Content-Type` is {problem}; send {json} as `application/json`");
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, msg).for_refusal(Refusal::MediaType))
}

/// Whether a parameter of the media type is anything but the name of another charset.
fn is_taken(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let charset = value.trim().trim_matches('"');
    // ASCII is a part of UTF-8.
    let is_utf8 = ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    is_utf8 || !name.trim().eq_ignore_ascii_case("charset")
}

fn codings(headers: &HeaderMap) -> Result<Codings, Failure> {
    Codings::of(headers).map_err(|given| {
        let msg =
            format!("the header `Content-Encoding` is `{given}`; send the body as it is, or as one of {ACCEPTED}");
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, msg).for_refusal(Refusal::Coding)
    })
}

/// Undoes the codings, on a thread of its own, because that may take long.
async fn decoded(codings: Codings, sent: Vec<u8>, limit: usize) -> Result<Vec<u8>, Undecodable> {
    if codings.is_empty() {
        return Ok(sent);
    }
    let decoded = tokio::task::spawn_blocking(move || codings.undo(sent, limit)).await;
    decoded.unwrap_or_else(|error| Err(Undecodable::Invalid(format!("the body cannot be decoded: {error}"))))
}

/// What is too large is most often a picture.
fn too_large(limit: usize) -> Failure {
    let msg = format!(
        "the body is larger than {limit} bytes; give pictures as URLs that the server can fetch, not as `data:` URLs or base64"
    );
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, msg).for_refusal(Refusal::Size)
}

/// Receives the body as it is sent.
async fn received(headers: &HeaderMap, body: Body, options: &Options) -> Result<Vec<u8>, Failure> {
    let limit = options.body_limit;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let collected = tokio::time::timeout(options.body_timeout, Limited::new(body, limit).collect()).await;
    let slow = |_| {
        let seconds = options.body_timeout.as_secs_f64();
        let msg = format!("the body took longer than {seconds} seconds; send it faster");
        Failure::new(StatusCode::REQUEST_TIMEOUT, msg).for_refusal(Refusal::Time)
    };
    let bytes = collected.map_err(slow)?.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(limit),
        false => Failure::bad_request(format!("the body did not arrive whole: {error}")).for_refusal(Refusal::Json),
    })?;
    Ok(bytes.to_bytes().into())
}
