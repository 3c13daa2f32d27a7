//! Faults that are not the tasks': of the machine, or of a back end. They end runs, but not tasks.

use std::time::Duration;

use imgopen_store::{TaskId, TaskRow};
use tracing::{info, warn};

use crate::absences::Absence;
use crate::context::Context;
use crate::dispatch::{Scope, pause};
use crate::durations;
use crate::fault_time::faulty_for;

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
    /// For back ends that are away, how the run found that.
    pub absence: Option<Absence>,
}

impl Fault {
    /// A fault of the server, whose details are not for the caller.
    pub fn of_server(problem: impl ToString, public: &str) -> Self {
        let (problem, public) = (problem.to_string(), public.to_owned());
        Self { scope: Some(Scope::Server), problem, public, retry_after: None, absence: None }
    }

    /// A fault of the pictures' disk.
    pub fn of_pictures(problem: impl ToString, public: &str) -> Self {
        Self { scope: Some(Scope::Pictures), ..Self::of_server(problem, public) }
    }

    /// A fault of what serves these needs.
    pub fn of_engine(needs: &str, problem: impl ToString, retry_after: Option<Duration>) -> Self {
        let problem = problem.to_string();
        let scope = Some(Scope::Needs(needs.to_owned()));
        Self { scope, public: problem.clone(), problem, retry_after, absence: None }
    }

    /// A fault of the way to an address that the task names. Others may name other addresses, so they are not held.
    pub fn of_network(problem: impl ToString) -> Self {
        let problem = problem.to_string();
        Self { scope: None, public: problem.clone(), problem, retry_after: None, absence: None }
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
    if matches!(scope, Scope::Server | Scope::Pictures) {
        context.absences.clear();
        let held = if *scope == Scope::Server { "no task can run" } else { "no task can run that makes pictures" };
        context.health.fault(WORKERS, format!("{held}, because of a fault of the server; its log has the details"));
    }
    let pause = context.dispatch.hold(scope.clone(), *retry_after);
    match scope {
        Scope::Server => {
            warn!(?pause, %problem, "no task can run; trying again after a pause");
        }
        Scope::Pictures => warn!(?pause, %problem, "no task can run that makes pictures; trying again after a pause"),
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

/// Ends the hold of tasks whose back ends were away and are there now.
pub fn release_returned(context: &Context, needs: &str) {
    context.absences.seen(needs);
    if context.dispatch.release_needs(needs) {
        info!(needs, "tasks run again, because their back ends are there");
    }
}

/// Ends the hold of what makes pictures, because a run has written one.
pub fn release_pictures(context: &Context) {
    if context.dispatch.release_pictures() {
        info!("tasks that make pictures run again");
        if !context.dispatch.is_held() {
            context.health.well(WORKERS);
        }
    }
}

/// Ends the hold of all tasks if there is none. No run could end it, and the next task tries in any case.
pub fn release_if_idle(context: &Context) {
    if context.dispatch.release_if_idle() {
        context.health.well(WORKERS);
    }
}

/// Returns for how long runs of the task have met faults, if that is longer than the settings allow: faults of any kind, if
/// this one is not the first, or back ends that are away.
pub fn lasts_too_long(context: &Context, task: &TaskRow, fault: &Fault) -> Option<String> {
    let (reading, settings) = (context.clock.read(), &context.settings.faults);
    let away = fault.absence.map(|absence| context.absences.met(task, absence, reading));
    let any = task.deferred_at.map(|last| faulty_for(Some(last), task.deferred_for, reading));
    let too_long = away.filter(|time| *time >= settings.away).or(any.filter(|time| *time >= settings.give_up));
    too_long.map(durations::text)
}
