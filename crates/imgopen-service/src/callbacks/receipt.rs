//! What the answer of a receiver means.

use std::time::{Duration, UNIX_EPOCH};

use imgopen_fetch::{HeaderMap, StatusCode, retry_after};
use imgopen_store::Moment;
use imgopen_types::{CallbackReceipt, SUCCESS_CODE, read};

/// The longest wait that a receiver may ask for.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The reason why an attempt was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The receiver's HTTP status, if it answered.
    pub status: Option<i64>,
    /// What went wrong, for the caller.
    pub problem: String,
    /// Whether a further attempt is pointless.
    pub is_final: bool,
    /// How long the receiver asks to wait at least.
    pub wait: Duration,
}

impl Refused {
    /// A failure without an answer, which may pass.
    pub fn failed(problem: impl Into<String>) -> Self {
        Self { status: None, problem: problem.into(), is_final: false, wait: Duration::ZERO }
    }
}

/// Reads an answer. Only the string "200" as the code acknowledges.
///
/// A receiver that answers 410 wants no further attempt. One that answers 429 or 503 with `Retry-After` is left alone for
/// that time, at most for a day.
pub(crate) fn receipt(answered: StatusCode, headers: &HeaderMap, body: &[u8], now: Moment) -> Result<i64, Refused> {
    let status = i64::from(answered.as_u16());
    let refused = |problem: String| Refused { status: Some(status), ..Refused::failed(problem) };
    if answered == StatusCode::GONE {
        let problem = format!("answered HTTP {answered}, so there are no further attempts");
        return Err(Refused { is_final: true, ..refused(problem) });
    }
    if matches!(answered, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or_default());
        let wait = retry_after(headers, now).unwrap_or_default().min(LONGEST);
        return Err(Refused { wait, ..refused(format!("answered HTTP {answered}")) });
    }
    if !answered.is_success() {
        return Err(refused(format!("answered HTTP {answered}")));
    }
    match read::<CallbackReceipt>(body) {
        Ok(receipt) if receipt.code == SUCCESS_CODE => Ok(status),
        Ok(receipt) => {
            let shown: String = receipt.code.chars().take(100).collect();
            Err(refused(format!("answered the code {shown:?}; only \"200\" acknowledges")))
        }
        Err(error) => Err(refused(format!("did not answer with a receipt such as {{\"code\":\"200\"}}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_769_904_000_000);

    fn answered(status: u16, headers: &[(&str, &str)], body: &str) -> Result<i64, Refused> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        receipt(StatusCode::from_u16(status).unwrap(), &HeaderMap::from_iter(headers), body.as_bytes(), NOW)
    }

    #[test]
    fn only_the_string_200_acknowledges() {
        assert_eq!(answered(200, &[], r#"{"code":"200"}"#), Ok(200));
        assert_eq!(answered(200, &[], r#"{"code":"200","msg":"ok"}"#), Ok(200));
        for body in [r#"{"code":200}"#, r#"{"code":"0"}"#, r#"{}"#, "200", "", "OK"] {
            let refused = answered(200, &[], body).unwrap_err();
            assert!(!refused.is_final && refused.wait.is_zero(), "{body:?}: {refused:?}");
        }
        for (status, problem) in [(500, "answered HTTP 500 Internal Server Error"), (302, "answered HTTP 302 Found")] {
            let refused = answered(status, &[], r#"{"code":"200"}"#).unwrap_err();
            assert_eq!((refused.problem.as_str(), refused.is_final), (problem, false));
        }
    }

    #[test]
    fn a_receiver_that_is_gone_gets_no_further_attempt() {
        let refused = answered(410, &[("retry-after", "5")], r#"{"code":"200"}"#).unwrap_err();
        assert_eq!((refused.status, refused.is_final, refused.wait), (Some(410), true, Duration::ZERO));
        assert!(refused.problem.contains("410 Gone"), "{}", refused.problem);
    }

    #[test]
    fn a_receiver_may_ask_to_wait() {
        let day = 24 * 60 * 60;
        for (status, value, seconds) in [
            (429, "7", 7),
            (503, "7", 7),
            (503, " 90 ", 90),
            (503, "99999999999999999999999999", day),
            (503, "604800", day),
            // 2026-02-01 00:00:00 is now.
            (503, "Sun, 01 Feb 2026 00:10:00 GMT", 600),
            (503, "Sat, 31 Jan 2026 23:00:00 GMT", 0),
            (503, "Tue, 01 Feb 2028 00:00:00 GMT", day),
            (503, "soon", 0),
            (503, "-5", 0),
            (503, "", 0),
            // Only with a status that means it.
            (500, "7", 0),
            (404, "7", 0),
        ] {
            let refused = answered(status, &[("retry-after", value)], "").unwrap_err();
            assert_eq!((refused.wait.as_secs(), refused.is_final), (seconds, false), "{status} {value:?}");
        }
        assert_eq!(answered(503, &[], "").unwrap_err().wait, Duration::ZERO);
    }
}
