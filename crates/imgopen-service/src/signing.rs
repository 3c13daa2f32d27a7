//! Signing callbacks in the way of Standard Webhooks.

use crate::callbacks::Headers;
use crate::clock::Moment;
use crate::ids::CallbackId;

pub(crate) fn headers(_secret: &str, _id: &CallbackId, _now: Moment, _body: &[u8]) -> Result<Headers, String> {
    Ok(Headers::new())
}
