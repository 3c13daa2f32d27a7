//! How long tasks have waited for back ends that are away, which `faults.away` bounds.
//!
//! Kept in memory: a restart begins to wait again. A task has waited since its own first fault of this kind, or since the back
//! ends were first seen to be away if it was queued already, so that a long queue does not wait in turn. Any other fault, any sign
//! that the back ends are there, and a long time without a fault begin a new series.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imgopen_store::{Reading, TaskId, TaskRow};

/// How long a task may wait for its next run within a series. Longer than the pauses after faults.
const GAP: Duration = Duration::from_secs(5 * 60);

/// How long it is remembered that needs, or a task, have met a fault: tasks that wait meet it again every few minutes.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// How a run found that its back ends are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// None was there when it was to begin, so all tasks with the same needs wait.
    Before,
    /// The last one was lost while it worked. That may be the task's doing, so it says nothing about others.
    During,
}

/// The back ends that tasks wait for.
#[derive(Debug, Default)]
pub struct Absences(Mutex<State>);

/// Times are those since the start of the service.
#[derive(Debug, Default)]
struct State {
    /// Since when back ends have been away, by the needs that they serve.
    needs: HashMap<String, Waiting>,
    /// The tasks that wait for them.
    tasks: HashMap<TaskId, Waiting>,
}

/// Tasks with the same needs, or one, that wait for back ends.
#[derive(Debug)]
struct Waiting {
    since: Duration,
    /// When the last fault was met.
    last: Duration,
}

impl Absences {
    /// Notes a fault of this kind. Returns for how long the task has waited.
    pub fn met(&self, task: &TaskRow, absence: Absence, Reading { now, uptime }: Reading) -> Duration {
        let State { needs, tasks } = &mut *self.lock();
        let is_recent = |waiting: &Waiting| uptime.saturating_sub(waiting.last) < FORGOTTEN;
        needs.retain(|_, waiting| is_recent(waiting));
        tasks.retain(|_, waiting| is_recent(waiting));
        let at = |moment| uptime.saturating_sub(now.since(moment));
        let (queued, started) = (at(task.created_at), task.started_at.map_or(uptime, at));
        let away = match absence {
            Absence::Before => {
                let away = needs.entry(task.needs.clone()).or_insert(Waiting { since: uptime, last: uptime });
                away.last = uptime;
                away.since
            }
            Absence::During => uptime,
        };
        let since = away.max(queued);
        let waiting = tasks.entry(task.id.clone()).or_insert(Waiting { since, last: uptime });
        if started.saturating_sub(waiting.last) > GAP {
            waiting.since = since;
        }
        waiting.last = uptime;
        uptime.saturating_sub(waiting.since)
    }

    /// Returns the needs whose back ends were away when they were last looked for.
    pub fn needs(&self) -> Vec<String> {
        self.lock().needs.keys().cloned().collect()
    }

    /// Notes that back ends for these needs are there.
    pub fn seen(&self, needs: &str) {
        self.lock().needs.remove(needs);
    }

    /// Notes that a run of a task has met no fault of this kind, or the task has ended.
    pub fn over(&self, task: &TaskId) {
        self.lock().tasks.remove(task);
    }

    /// Notes a fault of the server, which keeps runs from finding out whether back ends are there.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use imgopen_store::{Clock, KeyId, Moment, NewTask};

    use super::*;

    const START: Moment = Moment(1_769_904_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A task that is accepted that many minutes after the start.
    fn task(id: &str, minutes: u32) -> TaskRow {
        let created = START.plus(MINUTE * minutes);
        NewTask::new(TaskId(id.to_owned()), KeyId("a".to_owned()), "text_to_image", "{}", created).row()
    }

    /// A reading that many minutes after the start.
    fn at(minutes: u32) -> Reading {
        let clock = Clock::fixed(START);
        clock.set(START.plus(MINUTE * minutes));
        clock.read()
    }

    fn minutes(absences: &Absences, task: &TaskRow, absence: Absence, now: u32) -> u64 {
        absences.met(task, absence, at(now)).as_secs() / 60
    }

    #[test]
    fn all_that_were_queued_have_waited_since_the_back_ends_were_away() {
        let (absences, first, second, late) = (Absences::default(), task("1", 0), task("2", 0), task("3", 9));
        assert_eq!(minutes(&absences, &first, Absence::Before, 1), 0);
        assert_eq!(minutes(&absences, &first, Absence::Before, 11), 10);
        assert_eq!(minutes(&absences, &second, Absence::Before, 11), 10);
        assert_eq!(minutes(&absences, &late, Absence::Before, 12), 3, "it was not there before");
        // They were there for a moment.
        absences.seen(&first.needs);
        assert_eq!(minutes(&absences, &task("4", 0), Absence::Before, 13), 0);
    }

    #[test]
    fn only_an_unbroken_series_of_faults_of_this_kind_counts() {
        let (absences, task) = (Absences::default(), task("1", 0));
        assert_eq!(minutes(&absences, &task, Absence::Before, 1), 0);
        // A full disk.
        absences.clear();
        assert_eq!(minutes(&absences, &task, Absence::Before, 10), 0);
        assert_eq!(minutes(&absences, &task, Absence::Before, 12), 2);
        // A run that got as far as its sources.
        absences.seen(&task.needs);
        absences.over(&task.id);
        assert_eq!(minutes(&absences, &task, Absence::Before, 20), 0);
    }

    /// Needs may name models and LoRAs, of which there is no end, and another process may have run the task.
    #[test]
    fn what_has_met_no_fault_for_an_hour_is_forgotten() {
        let absences = Absences::default();
        let named = |lora: u32, minute| TaskRow { needs: format!("+lora={lora}"), ..task(&lora.to_string(), minute) };
        for minute in 1..=200 {
            absences.met(&named(0, 0), Absence::Before, at(minute));
            absences.met(&named(minute, minute), Absence::Before, at(minute));
        }
        assert_eq!((absences.needs().len(), absences.lock().tasks.len()), (61, 61));
        assert_eq!(minutes(&absences, &named(0, 0), Absence::Before, 200), 199, "it meets faults all the time");
    }

    /// A task that ends its back end each time does not use up the time of the others.
    #[test]
    fn a_run_that_loses_its_back_end_says_nothing_about_others() {
        let (absences, bad, good) = (Absences::default(), task("bad", 0), task("good", 0));
        for minute in 1..=11 {
            assert_eq!(minutes(&absences, &bad, Absence::During, minute), u64::from(minute) - 1);
        }
        assert_eq!(minutes(&absences, &good, Absence::Before, 11), 0);
        // What it waits for between its runs counts for it, too.
        assert_eq!(minutes(&absences, &bad, Absence::Before, 12), 11);
        // A run may take long until it loses its back end.
        let long = TaskRow { started_at: Some(START.plus(MINUTE * 13)), ..bad.clone() };
        assert_eq!(minutes(&absences, &long, Absence::During, 30), 29);
        // For an hour, something else had the device of the back end, and the task stayed in the queue.
        let late = TaskRow { started_at: Some(START.plus(MINUTE * 90)), ..bad };
        assert_eq!(minutes(&absences, &late, Absence::During, 91), 0);
    }

    #[test]
    fn a_clock_that_is_set_makes_nobody_wait_less() {
        let (absences, task) = (Absences::default(), task("1", 5));
        let reading = Reading { now: START.plus(MINUTE * 100_000), uptime: MINUTE * 6 };
        assert_eq!(absences.met(&task, Absence::Before, reading), Duration::ZERO);
        let reading = Reading { now: Moment(0), uptime: MINUTE * 8 };
        assert_eq!(absences.met(&task, Absence::Before, reading), MINUTE * 2);
    }
}
