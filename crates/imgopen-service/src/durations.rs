//! Durations in settings as people write them: `30s`, `10m`, `36h`, `30 days`. A day is 24 hours.

use std::fmt;
use std::time::Duration;

use jiff::fmt::friendly::SpanPrinter;
use jiff::{Span, SpanRelativeTo};
use serde::de::{Error, Visitor};

/// What a message suggests.
pub const EXPECTED: &str = "a time such as \"30s\", \"10m\" or \"7d\"";

struct Text;

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).ok_or_else(|| E::custom(format!("{text:?} is not a time; give {EXPECTED}")))
    }
}

/// Reads a duration. `None` if it is not one, or is negative.
pub fn parse(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

/// Writes a duration as people read it, in whole seconds: `1d 2h 3s`.
pub(crate) fn text(duration: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&Duration::from_secs(duration.as_secs()))
}

/// For `#[serde(with = …)]` on a `Duration`.
pub(crate) mod required {
    pub(crate) use jiff::fmt::serde::unsigned_duration::friendly::compact::required::serialize;

    use super::{Duration, Text};

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Duration, D::Error> {
        text.deserialize_str(Text)
    }
}

/// For `#[serde(with = …)]` on an `Option<Duration>`.
pub(crate) mod optional {
    pub(crate) use jiff::fmt::serde::unsigned_duration::friendly::compact::optional::serialize;
    use serde::Deserialize;

    use super::{Duration, required};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Given(#[serde(deserialize_with = "required::deserialize")] Duration);

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Given>::deserialize(text)?.map(|given| given.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_weeks_are_read() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        for (text, expected) in [
            ("30s", Some(Duration::from_secs(30))),
            ("100ms", Some(Duration::from_millis(100))),
            ("1h 30m", Some(Duration::from_secs(5400))),
            ("30d", hours(720)),
            ("30days", hours(720)),
            ("2 weeks", hours(336)),
            ("24h", hours(24)),
            // A month has no fixed length.
            ("1 month", None),
            ("-1s", None),
            ("soon", None),
            ("30", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
