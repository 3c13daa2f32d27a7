//! Random seeds, which are drawn when a task is submitted and kept in its plan, so that a second run makes the same pictures.

use imgopen_engine::Job;
use serde_json::{Value, json};

use crate::generation::MOST_PICTURES;

/// The member of a plan that keeps the seed.
const SEED: &str = "seed";

/// Returns the plan of a request that asks for no seed.
pub(crate) fn plan(asked: Option<i64>) -> Option<Value> {
    asked.is_none().then(|| json!({ SEED: draw() }))
}

/// Returns the seed of the first picture of a job: the one asked for, else that of its plan, else a new one.
pub(crate) fn of(asked: Option<i64>, job: &Job) -> i64 {
    asked.or_else(|| job.plan()?.get(SEED)?.as_i64()).unwrap_or_else(draw)
}

/// A seed that every back end takes.
fn draw() -> i64 {
    i64::from(fastrand::u32(..=u32::MAX - MOST_PICTURES))
}

#[cfg(test)]
mod tests {
    use imgopen_engine::JobRequest;
    use imgopen_types::operations::TEXT_TO_IMAGE;

    use super::*;

    #[test]
    fn a_seed_is_the_one_asked_for_or_that_of_the_plan() {
        let job = Job::new(JobRequest::new("task", &TEXT_TO_IMAGE, json!({})), "run");
        assert_eq!((of(Some(7), &job), plan(Some(7))), (7, None));
        let drawn = plan(None).unwrap();
        let planned = job.with_plan(Some(drawn.clone()));
        assert_eq!(Some(of(None, &planned)), drawn["seed"].as_i64());
    }
}
