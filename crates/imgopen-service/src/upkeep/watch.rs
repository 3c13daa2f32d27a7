//! Watches the machine's clock, because a clock that is wrong would delete what has not expired.
//!
//! A clock may be set while the service runs, and be wrong at its start: a battery is empty, a virtual machine was restored,
//! someone mistyped the year. Nobody but the operator can know which time is right. So a jump is logged, and for an hour
//! nothing is deleted by its age.

use std::time::Duration;

use imgopen_store::{Moment, Note, StoreError};
use tracing::{error, warn};

use crate::context::Context;
use crate::jumps::Jumps;

/// How far the clock of a running service may be set without doubt.
const JUMP: Duration = Duration::from_secs(60 * 60);

/// How long the service may have been stopped without doubt.
const STOPPED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How far the clock may be behind the last moment that was seen before the start. Clocks are corrected by seconds all the
/// time.
const BEHIND: Duration = Duration::from_secs(60);

/// How long nothing is deleted by its age after a jump, by the uptime.
const DOUBT: Duration = Duration::from_secs(60 * 60);

/// The watch of one run of the service.
#[derive(Debug)]
pub(super) struct Watch {
    jumps: Jumps,
    /// Until when the clock is doubted, by the uptime.
    doubted_until: Option<Duration>,
}

impl Watch {
    /// Compares the clock with the last moment that was seen before the start.
    pub async fn start(context: &Context) -> Result<Self, StoreError> {
        let last = context.store.note(Note::LastSeen).await?.map(Moment);
        let mut watch = Self { jumps: Jumps::new(&context.clock), doubted_until: None };
        let reading = watch.jumps.observe(&context.clock).reading;
        if let Some(last) = last.filter(|last| reading.now.since(*last) > STOPPED || last.since(reading.now) > BEHIND) {
            watch.doubt(last, reading.now, reading.uptime);
        }
        Ok(watch)
    }

    /// Returns the time, unless it is doubted. Notes that it was seen, if `is_noted`.
    pub async fn time(&mut self, context: &Context, is_noted: bool) -> Option<Moment> {
        let observed = self.jumps.observe(&context.clock);
        let reading = observed.reading;
        if observed.jump > JUMP {
            self.doubt(observed.before.now, reading.now, reading.uptime);
        }
        // As long as the time is doubted, it is not noted, so that a restart does not end the doubt.
        if self.doubted_until.is_some_and(|until| reading.uptime < until) {
            return None;
        }
        self.doubted_until = None;
        if is_noted && let Err(error) = context.store.set_note(Note::LastSeen, reading.now.0).await {
            error!(%error, "the time could not be noted");
        }
        Some(reading.now)
    }

    fn doubt(&mut self, before: Moment, now: Moment, uptime: Duration) {
        self.doubted_until = Some(uptime + DOUBT);
        let (before, now, pause) = (before.rfc3339(), now.rfc3339(), DOUBT);
        warn!(
            before,
            now,
            ?pause,
            "the machine's clock jumped, or the machine or the service stood still; nothing is deleted by age during the \
             pause; if the time is wrong, correct it within the pause (see `timedatectl`); if it is right, nothing need be done"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imgopen_engine::Registry;
    use imgopen_store::Clock;

    use super::*;
    use crate::app::Service;
    use crate::settings::Settings;

    const START: Moment = Moment(1_769_904_000_000);

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    fn before(now: Moment, earlier: Duration) -> Moment {
        Moment(now.0 - i64::try_from(earlier.as_millis()).unwrap())
    }

    async fn context(directory: &tempfile::TempDir, clock: &Clock) -> Arc<Context> {
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        Service::open(settings, clock.clone(), Registry::new(Vec::new())).await.unwrap().context()
    }

    #[tokio::test]
    async fn a_clock_that_is_set_is_doubted_for_an_hour() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(START);
        let context = context(&directory, &clock).await;
        let mut watch = Watch::start(&context).await.unwrap();
        assert_eq!(watch.time(&context, true).await, Some(START));
        // Time that passes, or a small correction, is no reason for doubt.
        clock.set(START.plus(hours(48)));
        assert_eq!(watch.time(&context, true).await, Some(START.plus(hours(48))));
        clock.jump(START.plus(hours(47)));
        assert_eq!(watch.time(&context, true).await, Some(START.plus(hours(47))));
        for jump in [START.plus(hours(24 * 400)), before(START, hours(2))] {
            clock.jump(jump);
            assert_eq!(watch.time(&context, true).await, None);
            clock.set(jump.plus(DOUBT - Duration::from_millis(1)));
            assert_eq!(watch.time(&context, true).await, None);
            assert_ne!(context.store.note(Note::LastSeen).await.unwrap(), Some(clock.now().0));
            clock.set(jump.plus(DOUBT));
            assert_eq!(watch.time(&context, true).await, Some(jump.plus(DOUBT)));
            assert_eq!(context.store.note(Note::LastSeen).await.unwrap(), Some(clock.now().0));
        }
    }

    #[tokio::test]
    async fn a_start_at_another_time_is_doubted_until_the_clock_is_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(START);
        let context = context(&directory, &clock).await;
        assert!(Watch::start(&context).await.unwrap().time(&context, true).await.is_some());
        for (start, is_doubted) in [
            (START.plus(hours(24 * 7)), false),
            (before(START, Duration::from_secs(60)), false),
            (START.plus(hours(24 * 7 + 1)), true),
            // A second start changes nothing.
            (START.plus(hours(24 * 400)), true),
            (START.plus(hours(24 * 400)), true),
            (before(START, Duration::from_secs(61)), true),
            (START, false),
        ] {
            context.store.set_note(Note::LastSeen, START.0).await.unwrap();
            clock.jump(start);
            let mut watch = Watch::start(&context).await.unwrap();
            assert_eq!(watch.time(&context, true).await.is_none(), is_doubted, "{}", start.rfc3339());
            let seen = if is_doubted { START } else { start };
            assert_eq!(context.store.note(Note::LastSeen).await.unwrap(), Some(seen.0));
        }
    }
}
