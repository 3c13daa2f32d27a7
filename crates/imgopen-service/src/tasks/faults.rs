//! Faults that are not the tasks': of the machine, or of a back end. They end runs, but not tasks.

use std::time::Duration;

use imgopen_store::{Reading, TaskId, TaskRow};
use tracing::{info, warn};

use crate::context::Context;
use crate::dispatch::{Scope, pause};
use crate::durations;

/// The source of these faults in the service's health.
const WORKERS: &str = "workers";

/// A fault of the server or of an engine, which ends a run but not its task.
#[derive(Debug)]
pub struct Fault {
    /// What is to be held; `None` for a fault that concerns only this task, which then waits alone.
    pub scope: Option<Scope>,
    /// What is wrong, for the log.
    pub problem: String,
    /// What is wrong, for the caller, if it lasts too long.
    pub public: String,
    /// When another run makes sense, if the engine knows.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault of the server, whose details are not for the caller.
    pub fn of_server(problem: impl ToString, public: &str) -> Self {
        Self { scope: Some(Scope::Server), problem: problem.to_string(), public: public.to_owned(), retry_after: None }
    }

    /// A fault of what serves these needs.
    pub fn of_engine(needs: &str, problem: impl ToString, retry_after: Option<Duration>) -> Self {
        let problem = problem.to_string();
        Self { scope: Some(Scope::Needs(needs.to_owned())), public: problem.clone(), problem, retry_after }
    }

    /// A fault of the way to an address that the task names. Others may name other addresses, so they are not held.
    pub fn of_network(problem: impl ToString) -> Self {
        let problem = problem.to_string();
        Self { scope: None, public: problem.clone(), problem, retry_after: None }
    }
}

/// Holds the tasks that a fault concerns, and says so in the log. Returns how long the task itself is to wait, if no hold
/// sees to that. `faults` is how many its runs have met, this one included.
pub fn defer(context: &Context, task: &TaskId, fault: &Fault, faults: u32) -> Duration {
    if fault.scope.is_some() {
        hold(context, fault);
        return Duration::ZERO;
    }
    let (pause, problem) = (pause(faults), &fault.problem);
    warn!(%task, ?pause, %problem, "a task cannot run; trying again after a pause");
    pause
}

/// Holds the tasks that a fault concerns, and says so in the log. Returns for how long.
pub fn hold(context: &Context, fault: &Fault) -> Duration {
    let Fault { scope, problem, retry_after, .. } = fault;
    let Some(scope) = scope else { return Duration::ZERO };
    if *scope == Scope::Server {
        context.health.fault(WORKERS, "no task can run, because of a fault of the server; its log has the details");
    }
    let pause = context.dispatch.hold(scope.clone(), *retry_after);
    match scope {
        Scope::Server => {
            warn!(?pause, %problem, "no task can run; trying again after a pause");
        }
        Scope::Needs(needs) => warn!(needs, ?pause, %problem, "tasks cannot run; trying again after a pause"),
    }
    pause
}

/// Ends the holds that a run without a fault has shown to be over.
pub fn release(context: &Context, needs: &str, is_answered: bool) {
    if context.dispatch.release(needs, is_answered) {
        info!(needs, "tasks run again");
    }
    if !context.dispatch.is_held() {
        context.health.well(WORKERS);
    }
}

/// Ends the hold of all tasks if there is none. No run could end it, and the next task tries in any case.
pub fn release_if_idle(context: &Context) {
    if context.dispatch.release_if_idle() {
        context.health.well(WORKERS);
    }
}

/// Returns for how long runs of a task have met faults, if it meets another one at this reading of the clock. The time between
/// two faults counts as far as the service ran: neither a stop of the service nor a clock that was set during it uses it up,
/// and a service that is restarted every night still gives up.
pub fn faulty_for(task: &TaskRow, reading: Reading) -> Duration {
    let since_last = task.deferred_at.map_or(Duration::ZERO, |last| reading.now.since(last).min(reading.uptime));
    task.deferred_for.saturating_add(since_last)
}

/// Returns for how long runs of the task have met faults, if this one is not the first and that is longer than the setting
/// allows.
pub fn lasts_too_long(context: &Context, task: &TaskRow) -> Option<String> {
    task.deferred_at?;
    let time = faulty_for(task, context.clock.read());
    (time >= context.settings.faults.give_up).then(|| durations::text(time))
}

#[cfg(test)]
mod tests {
    use imgopen_store::{Clock, KeyId, Moment, NewTask};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const START: Moment = Moment(1_769_904_000_000);

    fn task() -> TaskRow {
        NewTask::new(TaskId("img1".to_owned()), KeyId("a".to_owned()), "enlarge_image", "{}", START).row()
    }

    fn faulty(task: &TaskRow, clock: &Clock) -> TaskRow {
        let reading = clock.read();
        TaskRow { deferred_for: faulty_for(task, reading), deferred_at: Some(reading.now), ..task.clone() }
    }

    proptest! {
        /// Each process is down for some seconds, and then meets faults after pauses. Only the pauses count, from the first
        /// fault on.
        #[test]
        fn the_time_between_faults_adds_up_over_restarts(
            processes in vec((0..1_000_000_u64, vec(0..100_000_u64, 0..5)), 1..6),
        ) {
            let (mut task, mut now, mut expected, mut is_first) = (task(), START, Duration::ZERO, true);
            for (down, pauses) in processes {
                now = now.plus(Duration::from_secs(down));
                let clock = Clock::fixed(now);
                for pause in pauses {
                    let pause = Duration::from_secs(pause);
                    now = now.plus(pause);
                    clock.set(now);
                    task = faulty(&task, &clock);
                    if !is_first {
                        expected += pause;
                    }
                    is_first = false;
                }
            }
            prop_assert_eq!(task.deferred_for, expected);
        }
    }

    #[test]
    fn a_clock_that_was_set_while_the_service_was_stopped_uses_nothing_up() {
        let met = faulty(&task(), &Clock::fixed(START));
        for now in [START.plus(Duration::from_secs(365 * 86400)), Moment(0)] {
            assert_eq!(faulty_for(&met, Clock::fixed(now).read()), Duration::ZERO);
        }
    }
}
