//! How long something has been prevented by faults of the server, which `faults.give_up` bounds.

use std::time::Duration;

use imgopen_store::{Moment, Reading};

/// Returns for how long a task or a callback has met faults, if it meets another one at this reading of the clock: `before`, as
/// it was at the `last` fault, and the time since, as far as the service ran. Neither a stop of the service nor a clock that
/// was set during it uses it up, and a service that is restarted every night still gives up.
pub fn faulty_for(last: Option<Moment>, before: Duration, reading: Reading) -> Duration {
    let since = last.map_or(Duration::ZERO, |last| reading.now.since(last).min(reading.uptime));
    before.saturating_add(since)
}

#[cfg(test)]
mod tests {
    use imgopen_store::Clock;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const START: Moment = Moment(1_769_904_000_000);

    proptest! {
        /// Each process is down for some seconds, and then meets faults after pauses. Only the pauses count, from the first
        /// fault on.
        #[test]
        fn the_time_between_faults_adds_up_over_restarts(
            processes in vec((0..1_000_000_u64, vec(0..100_000_u64, 0..5)), 1..6),
        ) {
            let (mut last, mut time, mut now, mut expected) = (None, Duration::ZERO, START, Duration::ZERO);
            for (down, pauses) in processes {
                now = now.plus(Duration::from_secs(down));
                let clock = Clock::fixed(now);
                for pause in pauses {
                    let pause = Duration::from_secs(pause);
                    now = now.plus(pause);
                    clock.set(now);
                    time = faulty_for(last, time, clock.read());
                    expected += if last.is_some() { pause } else { Duration::ZERO };
                    last = Some(now);
                }
            }
            prop_assert_eq!(time, expected);
        }
    }

    #[test]
    fn a_clock_that_was_set_while_the_service_was_stopped_uses_nothing_up() {
        let (hour, year) = (Duration::from_secs(3600), Duration::from_secs(365 * 86400));
        for now in [START.plus(year), Moment(0)] {
            assert_eq!(faulty_for(Some(START), hour, Clock::fixed(now).read()), hour);
        }
    }
}
