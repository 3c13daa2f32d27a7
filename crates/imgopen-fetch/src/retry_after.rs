//! The header `Retry-After`.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};

/// Reads `Retry-After`, which holds seconds, with a fraction from some servers, or a date. A number beyond the range asks for the
/// longest wait, a date in the past for none. A date is compared with that of the answer, because the clocks of the two machines
/// may differ, and with `now` if the answer has none.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use imgopen_fetch::{HeaderMap, retry_after};
///
/// let headers = HeaderMap::from_iter([("retry-after".parse()?, "7".parse()?)]);
/// assert_eq!(retry_after(&headers, SystemTime::now()), Some(Duration::from_secs(7)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if let Some(wait) = seconds(value) {
        return Some(wait);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Some(until.duration_since(now).unwrap_or_default())
}

fn seconds(text: &str) -> Option<Duration> {
    let is_number =
        text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = text.parse().ok().filter(|_| is_number)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:30 GMT").unwrap();
        for (value, date, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:48:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "today", Some(7)),
            ("90", "Sun, 06 Nov 1994 08:48:37 GMT", Some(90)),
            ("soon", "Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("", "today", None),
            ("-1", "today", None),
            ("99999999999999999999999", "today", Some(u64::MAX)),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap()), (DATE, date.parse().unwrap())]);
            let wait = retry_after(&headers, now).map(|wait| wait.as_secs());
            assert_eq!(wait, expected, "{value} at {date}");
        }
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "1.5".parse().unwrap())]);
        assert_eq!(retry_after(&headers, now), Some(Duration::from_millis(1500)));
    }
}
