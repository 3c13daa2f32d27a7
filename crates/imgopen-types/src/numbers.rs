//! Numbers as they are read and written.

/// Returns the number that a text holds in decimal or exponent notation. The words that Rust also reads (`inf`, `NaN`)
/// are not numbers here.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|value: &f64| plain && value.is_finite())
}

/// Returns the whole number that is written in place of a number without a fraction.
pub(crate) fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let negative_zero = value == 0.0 && value.is_sign_negative();
    (value.fract() == 0.0 && value.abs() <= EXACT && !negative_zero).then_some(value as i64)
}
