//! Notices when the machine's clock is set: it then moves differently from the uptime.

use std::time::Duration;

use imgopen_store::{Clock, Reading};

/// Compares each reading of a clock with the one before.
#[derive(Debug)]
pub struct Jumps {
    last: Reading,
}

/// A reading, compared with the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The reading.
    pub reading: Reading,
    /// The one before.
    pub before: Reading,
    /// How far the clock was set in between, in either direction.
    pub jump: Duration,
}

impl Jumps {
    /// Begins with a first reading.
    pub fn new(clock: &Clock) -> Self {
        Self { last: clock.read() }
    }

    /// Reads the clock again.
    pub fn observe(&mut self, clock: &Clock) -> Observed {
        let (before, reading) = (self.last, clock.read());
        self.last = reading;
        let passed = reading.uptime.saturating_sub(before.uptime);
        let expected = before.now.plus(passed);
        let jump = reading.now.since(expected).max(expected.since(reading.now));
        Observed { reading, before, jump }
    }
}

#[cfg(test)]
mod tests {
    use imgopen_store::Moment;

    use super::*;

    #[test]
    fn a_jump_differs_from_passing_time() {
        let clock = Clock::fixed(Moment(1_000_000));
        let mut jumps = Jumps::new(&clock);
        let mut jump = || jumps.observe(&clock).jump;
        assert_eq!(jump(), Duration::ZERO);
        clock.set(Moment(9_000_000));
        assert_eq!(jump(), Duration::ZERO);
        clock.jump(Moment(9_500_000));
        assert_eq!((jump(), jump()), (Duration::from_secs(500), Duration::ZERO));
        clock.jump(Moment(0));
        clock.set(Moment(20_000));
        assert_eq!((jump(), jump()), (Duration::from_secs(9_500), Duration::ZERO));
    }
}
