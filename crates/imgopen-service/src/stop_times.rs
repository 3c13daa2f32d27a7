//! When each part of a stop must have ended, so that all together take no longer than the setting `shutdown`.

use std::time::Duration;

use tokio::time::Instant;

/// The part of the limit that is kept for what follows the running tasks.
const SHARE: u32 = 5;

/// The bounds of that part. A stop takes at least the first one if the database does not answer: less would leave runs that
/// are not handed back, which looks like a dead process to the next start.
const KEPT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// The longest limit, a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Of a stop, the moments until which its parts may go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopTimes {
    /// Running tasks and open calls.
    pub running: Instant,
    /// The last answers. Then connections are closed.
    pub answers: Instant,
    /// The hand-back of tasks.
    pub hand_back: Instant,
    /// The close of the database.
    pub close: Instant,
}

impl StopTimes {
    /// The times of a stop that begins at that moment.
    pub fn new(begin: Instant, limit: Duration) -> Self {
        // Longer than anything runs, and no overflow.
        let limit = limit.min(LONGEST);
        let kept = (limit / SHARE).clamp(KEPT.0, KEPT.1);
        let running = begin + limit.saturating_sub(kept);
        Self { running, answers: running + kept / 3, hand_back: running + kept / 3 * 2, close: running + kept }
    }

    /// The times if nothing runs any more at that moment: what follows takes no longer than it would at the end of the limit.
    /// The close may use what is left.
    pub fn without_tasks(self, now: Instant) -> Self {
        let early = self.running.saturating_duration_since(now);
        Self { running: self.running - early, answers: self.answers - early, hand_back: self.hand_back - early, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_a_stop_end_within_the_limit() {
        let begin = Instant::now();
        for (limit, running) in
            [(0, 0), (1_000, 0), (5_000, 3_000), (12_500, 10_000), (30_000, 27_000), (3_600_000, 3_597_000)]
        {
            let limit = Duration::from_millis(limit);
            let StopTimes { running: runs, answers, hand_back, close } = StopTimes::new(begin, limit);
            assert_eq!(runs - begin, Duration::from_millis(running), "{limit:?}");
            assert!(runs < answers && answers < hand_back && hand_back < close, "{limit:?}");
            assert!(close <= begin + limit.max(KEPT.0), "{limit:?}");
        }
        StopTimes::new(begin, Duration::MAX);
    }

    #[test]
    fn what_follows_an_early_end_is_as_short() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let times = StopTimes::new(begin, 30 * second);
        let early = times.without_tasks(begin + second);
        assert_eq!(
            (early.answers, early.hand_back, early.close),
            (begin + 2 * second, begin + 3 * second, times.close)
        );
        let late = times.without_tasks(begin + 28 * second);
        assert_eq!((late.answers, late.hand_back), (times.answers, times.hand_back));
    }
}
