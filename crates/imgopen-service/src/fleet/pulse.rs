//! What a process knows of its lease, by the time since its start: no clock of another machine is asked.

use std::time::Duration;

/// How long the database may be silent before callers are no longer kept waiting for it.
const SILENCE: Duration = Duration::from_secs(3);

/// The heartbeats of a process so far.
#[derive(Debug)]
pub struct Pulse {
    lease: Duration,
    /// When the last one that succeeded was sent. The lease has been extended since then, or later.
    last: Option<Duration>,
    /// Since when they have succeeded without a gap.
    since: Option<Duration>,
    /// When the database answered last.
    heard: Option<Duration>,
    /// Whether the last one failed.
    has_failed: bool,
}

impl Pulse {
    /// No heartbeat yet, of a lease of that length.
    pub fn new(lease: Duration) -> Self {
        Self { lease, last: None, since: None, heard: None, has_failed: false }
    }

    /// Notes that the lease was extended by what was sent at that time.
    ///
    /// A gap of half a lease begins to count again: others may have been unable to renew theirs for as long, too.
    pub fn succeeded(&mut self, sent: Duration) {
        let is_gap = self.last.is_none_or(|last| sent.saturating_sub(last) > self.lease / 2);
        if is_gap || self.has_failed {
            self.since = Some(sent);
        }
        self.last = Some(sent);
        self.heard = Some(sent);
        self.has_failed = false;
    }

    /// Notes that a heartbeat failed.
    pub fn failed(&mut self) {
        self.has_failed = true;
        self.since = None;
    }

    /// Notes that there is no lease any more, because the process was declared dead, as the database says now.
    pub fn ended(&mut self, now: Duration) {
        *self = Self { has_failed: true, heard: Some(now), ..Self::new(self.lease) };
    }

    /// Whether new work may begin: the last heartbeat succeeded, and half of the lease is left.
    pub fn may_claim(&self, now: Duration) -> bool {
        !self.has_failed && self.age(now).is_some_and(|age| age < self.lease / 2)
    }

    /// Whether the database is away: heartbeats fail, and none was answered for some seconds.
    pub fn is_away(&self, now: Duration) -> bool {
        self.has_failed && self.heard.is_none_or(|heard| now.saturating_sub(heard) > SILENCE)
    }

    /// For how long heartbeats have succeeded without a gap. Zero if the last one is too old to say so.
    pub fn healthy_for(&self, now: Duration) -> Duration {
        let (Some(since), Some(last)) = (self.since, self.last) else { return Duration::ZERO };
        if self.may_claim(now) { last.saturating_sub(since) } else { Duration::ZERO }
    }

    /// How long ago the last heartbeat that succeeded was sent.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        self.last.map(|last| now.saturating_sub(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn nothing_begins_without_a_heartbeat_that_succeeded() {
        let mut pulse = Pulse::new(at(15_000));
        assert!(!pulse.may_claim(at(0)) && !pulse.is_away(at(0)));
        pulse.succeeded(at(1000));
        assert!(pulse.may_claim(at(8499)) && !pulse.may_claim(at(8500)));
        pulse.failed();
        assert!(!pulse.may_claim(at(1001)));
        pulse.succeeded(at(3000));
        assert!(pulse.may_claim(at(3001)));
        pulse.ended(at(3002));
        assert!(!pulse.may_claim(at(3003)) && pulse.age(at(3003)).is_none() && !pulse.is_away(at(3003)));
    }

    #[test]
    fn health_counts_from_the_last_gap() {
        let mut pulse = Pulse::new(at(4000));
        for sent in [0, 1000, 2000, 3000] {
            pulse.succeeded(at(sent));
        }
        assert_eq!(pulse.healthy_for(at(3500)), at(3000));
        // A process that stood still cannot judge others.
        assert_eq!(pulse.healthy_for(at(5000)), Duration::ZERO);
        pulse.succeeded(at(5001));
        assert_eq!(pulse.healthy_for(at(5002)), Duration::ZERO);
        pulse.succeeded(at(6000));
        assert_eq!(pulse.healthy_for(at(6001)), at(999));
        pulse.failed();
        assert_eq!(pulse.healthy_for(at(6002)), Duration::ZERO);
        pulse.succeeded(at(6500));
        assert_eq!(pulse.healthy_for(at(6501)), Duration::ZERO);
    }

    #[test]
    fn the_database_is_away_once_it_was_silent_for_a_while() {
        let mut pulse = Pulse::new(at(15_000));
        pulse.succeeded(at(1000));
        pulse.failed();
        assert!(!pulse.is_away(at(4000)) && pulse.is_away(at(4001)));
        pulse.succeeded(at(5000));
        assert!(!pulse.is_away(at(60_000)));
    }
}
