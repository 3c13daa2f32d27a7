//! When a call that is safe to repeat is retried, and how long to wait before that.

use std::time::Duration;

use crate::Error;

/// How many times and how soon a call is retried.
///
/// Only calls that are safe to repeat are retried: operations that change nothing (queries and lists, as the document marks them),
/// submits with a key ([`ClientBuilder::idempotency_keys`](crate::ClientBuilder::idempotency_keys),
/// [`Dynamic::idempotency_key`](crate::Dynamic::idempotency_key)), and any call that was surely not processed, because no
/// connection could be made or the server put it off with 425 or 429. They are retried only after temporary failures: no answer,
/// one that cannot be read, a temporary redirect, or 408, 425, 429 or 5xx except 501 ([`Error::is_retryable`]).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Maximum number of attempts, the first included; 4 by default. 1 turns retries off.
    pub tries: u32,
    /// Longest wait before the second attempt; 250 ms by default. It doubles with each attempt.
    pub first_wait: Duration,
    /// Longest wait before any attempt; 10 seconds by default. If the server asks for a longer one (`Retry-After`), the
    /// call is not retried.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 4, first_wait: Duration::from_millis(250), longest_wait: Duration::from_secs(10) }
    }
}

impl Retry {
    /// No retries.
    pub fn never() -> Self {
        Self { tries: 1, ..Self::default() }
    }

    /// Sets the maximum number of attempts, the first included.
    pub fn tries(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    /// Sets the longest wait before the second attempt.
    pub fn first_wait(self, first_wait: Duration) -> Self {
        Self { first_wait, ..self }
    }

    /// Sets the longest wait before any attempt.
    pub fn longest_wait(self, longest_wait: Duration) -> Self {
        Self { longest_wait, ..self }
    }

    /// Returns the wait after a failed attempt (counted from 1), or `None` after the last.
    ///
    /// It is drawn from the upper half of the range, so that many callers do not retry together and none
    /// retries immediately.
    pub(crate) fn wait(&self, tried: u32, error: &Error) -> Option<Duration> {
        if tried >= self.tries || !error.is_retryable() {
            return None;
        }
        let longest = self.first_wait.saturating_mul(2u32.saturating_pow(tried - 1)).min(self.longest_wait);
        let drawn = scaled(longest, 0.5 + 0.5 * fastrand::f64());
        let asked = error.retry_after().unwrap_or_default();
        (asked <= self.longest_wait).then_some(drawn.max(asked))
    }
}

/// A multiple of a duration, saturating.
pub(crate) fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::StatusCode;

    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = retry_after.map(Duration::from_secs);
        Error::Status { status, envelope: None, retry_after, body: Bytes::new() }
    }

    #[test]
    fn waits_grow_within_their_bounds() {
        let retry = Retry::default().tries(20);
        for (tried, longest) in [(1, 250), (2, 500), (3, 1000), (7, 10_000), (19, 10_000)] {
            for _ in 0..100 {
                let wait = retry.wait(tried, &status(503, None)).unwrap().as_millis();
                assert!((longest / 2..=longest).contains(&wait), "{wait} after {tried}");
            }
        }
        assert_eq!(retry.wait(20, &status(503, None)), None);
    }

    #[test]
    fn endless_waits_do_not_overflow() {
        let retry = Retry::default().first_wait(Duration::MAX).longest_wait(Duration::MAX);
        assert!(retry.wait(2, &status(503, None)).unwrap() > Duration::from_secs(1_000_000));
        assert_eq!(scaled(Duration::MAX, 1.5), Duration::MAX);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let again = |error: &Error| Retry::default().wait(1, error).is_some();
        assert!([302, 307, 408, 425, 429, 500, 502, 503, 504, 599].into_iter().all(|code| again(&status(code, None))));
        assert!(![301, 308, 400, 401, 404, 409, 422, 501].into_iter().any(|code| again(&status(code, None))));
        assert!(!again(&Error::InvalidRequest(String::new())));
    }

    #[test]
    fn the_server_decides_when_up_to_a_point() {
        let retry = Retry::default();
        assert_eq!(retry.wait(1, &status(429, Some(3))), Some(Duration::from_secs(3)));
        assert_eq!(retry.wait(1, &status(429, Some(11))), None);
    }
}
