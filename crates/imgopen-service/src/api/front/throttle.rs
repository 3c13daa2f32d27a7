//! At most one line a second in the log about what happens over and over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts events and says when a line is due.
#[derive(Debug, Default)]
pub struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    count: u64,
}

impl Throttle {
    /// Counts an event. If a line is due, returns the number of events since the last one, this one included.
    pub fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_events_are_one_line_a_second_with_their_number() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let at = |ms| throttle.count(start + Duration::from_millis(ms));
        assert_eq!(at(0), Some(1));
        for ms in 1..=20 {
            assert_eq!(at(ms * 45), None, "{ms}");
        }
        assert_eq!(at(1000), Some(21));
        assert_eq!(at(1001), None);
        assert_eq!(at(5000), Some(2));
    }
}
