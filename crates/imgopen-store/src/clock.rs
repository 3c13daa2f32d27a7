//! Moments, and the clock that everything in the service reads. Tests set it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A moment in whole milliseconds since the Unix epoch, as rows hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    /// The moment that much later, rounded down to a millisecond.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Formats as RFC 3339 in UTC, such as `2026-03-01T12:00:00.25Z`.
    pub fn rfc3339(self) -> String {
        Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::MAX).to_string()
    }

    /// Whether a clock that shows it can be right: not before 1970, and a century before the last year that can be formatted.
    pub fn is_plausible(self) -> bool {
        const CENTURY: std::time::Duration = std::time::Duration::from_secs(100 * 366 * 24 * 60 * 60);
        self.0 >= 0 && Timestamp::from_millisecond(self.plus(CENTURY).0).is_ok()
    }

    /// Parses RFC 3339 with any offset, truncated to milliseconds.
    ///
    /// # Errors
    ///
    /// When the text is not RFC 3339.
    pub fn parse(text: &str) -> Result<Self, jiff::Error> {
        Ok(Self(text.parse::<Timestamp>()?.as_millisecond()))
    }

    /// The start of the month that it lies in, in UTC.
    pub fn month_start(self) -> Self {
        let moment = Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::MIN).to_zoned_datetime(TimeZone::UTC);
        let start = moment.date().first_of_month().to_zoned_datetime(TimeZone::UTC);
        start.map_or(self, |start| Self(start.timestamp().as_millisecond()))
    }
}

/// A source of the time: the machine's clock, or one that a test sets.
///
/// The machine's clock can be set at any moment, in either direction. What waits or ages within a process is therefore
/// measured by [`uptime`](Clock::uptime), which only moves forward.
#[derive(Debug, Clone)]
pub struct Clock {
    made: Instant,
    /// How far the time is ahead of the machine's, in milliseconds.
    ahead: Arc<AtomicI64>,
    fixed: Option<Arc<Mutex<Reading>>>,
}

/// What a clock showed at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The time.
    pub now: Moment,
    /// The time since the clock was made. Setting the machine's clock does not change it.
    pub uptime: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { made: Instant::now(), ahead: Arc::default(), fixed: None }
    }

    /// A clock that stands still until [`set`](Clock::set) or [`jump`](Clock::jump) moves it.
    pub fn fixed(now: Moment) -> Self {
        let reading = Reading { now, uptime: Duration::ZERO };
        Self { fixed: Some(Arc::new(Mutex::new(reading))), ..Self::system() }
    }

    /// Lets time pass on a fixed clock until that moment: its uptime grows by as much. A moment in the past is a
    /// [`jump`](Clock::jump). Does nothing to the machine's.
    pub fn set(&self, now: Moment) {
        self.change(|reading| *reading = Reading { now, uptime: reading.uptime + now.since(reading.now) });
    }

    /// Sets a fixed clock as an administrator sets the machine's: its uptime stays. Does nothing to the machine's.
    pub fn jump(&self, now: Moment) {
        self.change(|reading| reading.now = now);
    }

    /// Returns the time.
    pub fn now(&self) -> Moment {
        self.read().now
    }

    /// Returns the time since the clock was made. Setting the machine's clock does not change it.
    pub fn uptime(&self) -> Duration {
        self.read().uptime
    }

    /// Returns both, as of the same instant.
    pub fn read(&self) -> Reading {
        match &self.fixed {
            Some(fixed) => *fixed.lock().unwrap_or_else(PoisonError::into_inner),
            None => {
                let ahead = self.ahead.load(Ordering::Relaxed);
                Reading { now: Moment(system_time().0.saturating_add(ahead)), uptime: self.made.elapsed() }
            }
        }
    }

    /// Lets the machine's clock show that moment now, and go on from there, if it is further away than that: so that processes on
    /// several machines agree, whose clocks do not. Clones follow, and the uptime stays. Does nothing to a fixed clock.
    pub fn follow(&self, now: Moment, apart: Duration) {
        if self.fixed.is_some() {
            return;
        }
        let shown = self.now();
        if now.since(shown).max(shown.since(now)) > apart {
            self.ahead.store(now.0.saturating_sub(system_time().0), Ordering::Relaxed);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        if let Some(fixed) = &self.fixed {
            change(&mut fixed.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// The machine's clock may show any year, also one that cannot be formatted.
fn system_time() -> Moment {
    let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Moment(milliseconds(since)),
        Err(before) => Moment(-milliseconds(before.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_in_utc() {
        let start = |text| Moment::parse(text).unwrap().month_start().rfc3339();
        assert_eq!(start("2026-02-28T23:59:59.999Z"), "2026-02-01T00:00:00Z");
        assert_eq!(start("2026-03-01T00:00:00Z"), "2026-03-01T00:00:00Z");
        // Already March in Berlin, still February in UTC.
        assert_eq!(start("2026-03-01T00:30:00+01:00"), "2026-02-01T00:00:00Z");
        assert_eq!(start("2027-01-01T00:00:00-05:00"), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn moments_are_written_and_read() {
        let moment = Moment::parse("2026-11-24T05:44:27.125Z").unwrap();
        assert_eq!(Moment::parse(&moment.rfc3339()).unwrap(), moment);
        assert!(Moment::parse("yesterday").is_err());
        assert_eq!(Moment(5).since(Moment(7)), Duration::ZERO);
    }

    #[test]
    fn a_jump_of_the_clock_leaves_the_uptime() {
        let clock = Clock::fixed(Moment(1000));
        clock.set(Moment(1500));
        clock.jump(Moment(900_000));
        clock.jump(Moment(10));
        assert_eq!(clock.read(), Reading { now: Moment(10), uptime: Duration::from_millis(500) });
        clock.set(Moment(5));
        assert_eq!(clock.read(), Reading { now: Moment(5), uptime: Duration::from_millis(500) });
    }

    #[test]
    fn a_clock_follows_another_one() {
        let clock = Clock::system();
        let (shared, hour) = (clock.clone(), Duration::from_secs(3600));
        let real = clock.now();
        clock.follow(real.plus(hour), hour * 2);
        assert!(clock.now().since(real) < hour / 2);
        clock.follow(real.plus(hour), Duration::from_millis(250));
        assert!(shared.now() >= real.plus(hour) && shared.now() < real.plus(hour + hour / 2));
        shared.follow(real, Duration::from_millis(250));
        assert!(clock.now() < real.plus(hour / 2));
        let fixed = Clock::fixed(Moment(1000));
        fixed.follow(Moment(900_000), Duration::ZERO);
        assert_eq!(fixed.now(), Moment(1000));
    }

    #[test]
    fn the_year_of_a_clock_that_is_not_set_is_not_plausible() {
        for (moment, expected) in [
            (Moment::parse("2026-01-01T00:00:00Z").unwrap(), true),
            (Moment::parse("2106-02-07T06:28:16Z").unwrap(), true),
            (Moment(0), true),
            (Moment(-1), false),
            (Moment::parse("9950-01-01T00:00:00Z").unwrap(), false),
            (Moment(i64::MAX), false),
            (Moment(i64::MIN), false),
        ] {
            assert_eq!(moment.is_plausible(), expected, "{moment:?}");
        }
    }
}
