//! Reads fields that several engines have in common.

use std::ops::RangeInclusive;

use imgopen_engine::EngineError;
use serde_json::Value;

/// The most pictures that one request makes.
pub(crate) const MOST_PICTURES: u64 = 64;

/// A whole number that the request may hold. Absurd ones are refused, by the field's name; `taker` is who says so.
pub(crate) fn count(request: &Value, field: &str, limit: u64, default: u32, taker: &str) -> Result<u32, EngineError> {
    Ok(whole(request, field, 1..=limit, taker)?.unwrap_or(default))
}

/// A whole number within a range, if the request has one.
pub(crate) fn whole(
    request: &Value,
    field: &str,
    range: RangeInclusive<u64>,
    taker: &str,
) -> Result<Option<u32>, EngineError> {
    let Some(value) = request.get(field) else { return Ok(None) };
    let fits = value.as_u64().filter(|number| range.contains(number));
    let (first, last) = (range.start(), range.end());
    let problem =
        || EngineError::rejected(field, format!("{value} given, {taker} takes a whole number from {first} to {last}"));
    fits.and_then(|number| u32::try_from(number).ok()).ok_or_else(problem).map(Some)
}

/// The seed given, as number or text, or a random one of 31 bits. The pictures of a request have seeds in a row.
pub(crate) fn seed(request: &Value) -> Result<i64, EngineError> {
    let given = match request.get("seed") {
        None => return Ok(random()),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_i64(),
    };
    match given {
        Some(-1) => Ok(random()),
        Some(seed) => Ok(seed),
        None => {
            Err(EngineError::rejected("seed", format!("{} given, a whole number of 64 bits expected", request["seed"])))
        }
    }
}

fn random() -> i64 {
    i64::from(fastrand::i32(0..))
}
