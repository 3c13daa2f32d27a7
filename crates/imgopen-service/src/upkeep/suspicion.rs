//! Which tasks may be to blame for deaths of processes, and are run alone.

use imgopen_types::operations;

use crate::settings::Settings;

/// From this number of runs on that were cut short, a training is run alone.
const SUSPECT: i64 = 2;

/// Returns from which number of runs on that were cut short a queued task is run alone: before its last attempt. A training,
/// which has many, from the second one on, so that the others do not suffer from each. Of other tasks, many may be cut short by
/// no fault of theirs, and each that is run alone keeps all others waiting.
fn suspect_from(attempts: u32, is_training: bool) -> i64 {
    let before_last = (i64::from(attempts) - 1).max(1);
    if is_training { before_last.min(SUSPECT) } else { before_last }
}

/// Whether a task of an operation is run alone after that many runs that were cut short.
pub fn is_suspect(settings: &Settings, operation: &str, cut_short: i64) -> bool {
    cut_short >= suspect_from(settings.attempts(operation), operation == operations::SUBMIT_TRAINING.id)
}

/// Returns the least number of runs that were cut short from which a task of any operation is run alone.
pub fn least(settings: &Settings) -> i64 {
    suspect_from(settings.attempts, false).min(suspect_from(settings.training.attempts, true))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_task_is_run_alone_before_its_last_attempt(attempts in 2..=u32::MAX) {
            prop_assert_eq!(suspect_from(attempts, false), i64::from(attempts) - 1);
        }

        #[test]
        fn a_training_is_run_alone_after_two_crashes(attempts in 3..=u32::MAX) {
            prop_assert_eq!(suspect_from(attempts, true), 2);
        }
    }

    #[test]
    fn a_task_with_few_attempts_is_run_alone_after_its_first_crash() {
        for (attempts, is_training) in [(1, false), (1, true), (2, false), (2, true)] {
            assert_eq!(suspect_from(attempts, is_training), 1);
        }
    }

    #[test]
    fn what_is_suspected_depends_on_the_operation() {
        let settings = Settings::default();
        let suspected = |operation| (0..4).filter(|count| is_suspect(&settings, operation, *count)).collect::<Vec<_>>();
        assert_eq!(suspected("enlarge_image"), [2, 3]);
        assert_eq!(suspected("submit_training"), [2, 3]);
        assert_eq!(least(&settings), 2);
    }
}
