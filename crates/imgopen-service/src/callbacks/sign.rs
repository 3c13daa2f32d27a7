//! Signs callbacks as Standard Webhooks describes.

use std::time::{Duration, UNIX_EPOCH};

use imgopen_fetch::HeaderMap;
use imgopen_store::{CallbackId, Moment};
use imgopen_types::webhook::{MessageId, SigningSecret, sign};

/// Returns the headers of a push: media type, id, time, and a signature by each of the secrets.
pub(crate) fn headers(secrets: &[String], id: &CallbackId, now: Moment, body: &[u8]) -> Result<HeaderMap, String> {
    let secrets: Result<Vec<SigningSecret>, _> = secrets.iter().map(|secret| secret.parse()).collect();
    let secrets = secrets.map_err(|error| format!("it cannot be signed: {error}"))?;
    let id = MessageId::new(id.as_str()).map_err(|error| format!("it cannot be signed: {error}"))?;
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().map_err(unsendable)?);
    for (name, value) in sign(&secrets, &id, at, body) {
        headers.insert(name, value.parse().map_err(unsendable)?);
    }
    Ok(headers)
}

fn unsendable(error: impl std::fmt::Display) -> String {
    format!("its headers cannot be sent: {error}")
}
