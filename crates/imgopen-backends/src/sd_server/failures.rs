//! Failed starts of the program, by model: when the next is tried, and which models count as away.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The failed starts in a row after which a model counts as away.
const FAILURES: u32 = 3;
/// The pause after a failed start; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The failed starts of all models.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, Failed>);

/// The failed starts of one model.
#[derive(Debug)]
struct Failed {
    /// How many there were in a row.
    count: u32,
    /// When the next is tried.
    until: Instant,
    reason: String,
}

impl Failures {
    /// Notes a failed start. Returns how many there were in a row, and the pause before the next.
    pub(super) fn note(&mut self, model: &str, reason: &str) -> (u32, Duration) {
        let count = self.0.get(model).map_or(0, |failed| failed.count) + 1;
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << (count - 1).min(6)));
        let failed = Failed { count, until: Instant::now() + pause, reason: reason.to_owned() };
        self.0.insert(model.to_owned(), failed);
        (count, pause)
    }

    /// Notes that a model was started.
    pub(super) fn forget(&mut self, model: &str) {
        self.0.remove(model);
    }

    /// Returns why a model is not started now, and for how long.
    pub(super) fn waits(&self, model: &str) -> Option<(String, Duration)> {
        let failed = self.0.get(model)?;
        let left = failed.until.checked_duration_since(Instant::now())?;
        Some((failed.reason.clone(), left))
    }

    /// Returns why a model counts as away.
    pub(super) fn away(&self, model: &str) -> Option<&str> {
        let failed = self.0.get(model)?;
        (failed.count >= FAILURES && failed.until > Instant::now()).then_some(failed.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_a_model_is_away_after_three_failures() {
        let mut failures = Failures::default();
        assert_eq!((failures.waits("a"), failures.away("a")), (None, None));
        let pauses: Vec<_> = (0..8)
            .map(|number| {
                let (count, pause) = failures.note("a", "no weights");
                assert_eq!((count, failures.away("a").is_some()), (number + 1, number >= 2));
                pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let (reason, left) = failures.waits("a").unwrap();
        assert!(reason == "no weights" && left <= LONGEST_PAUSE);
        assert_eq!(failures.away("b"), None);
        failures.forget("a");
        assert_eq!((failures.waits("a"), failures.away("a")), (None, None));
        assert_eq!(failures.note("a", "").0, 1);
    }
}
