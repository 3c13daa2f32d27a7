//! Runs the tasks of the demo and prints their results.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::pictures::Pictures;
use super::steps::Step;
use crate::failure;
use crate::files::local;
use crate::job::outcome::Outcome;
use crate::job::progress::Bar;
use crate::job::submit::Submission;
use crate::job::target::{Place, Target};
use crate::output::print;
use crate::remote::Remote;
use crate::request::draft::Draft;

/// How tasks are run and shown.
pub struct Show<'a> {
    /// The service.
    pub remote: &'a Remote,
    /// The pictures that requests name.
    pub pictures: &'a Pictures,
    /// The directory for results.
    pub output: &'a Path,
    /// The timeout of each task.
    pub timeout: Duration,
    /// Whether the others are run if one fails.
    pub goes_on: bool,
    /// Whether nothing is printed, because JSON is in the end.
    pub is_silent: bool,
}

/// What has become of the tasks.
#[derive(Debug, Default)]
pub struct Shown {
    /// Each as `imgopen run --json` prints it.
    pub tasks: Vec<Value>,
    /// How many have failed.
    pub failed: u64,
}

impl Show<'_> {
    /// Runs the tasks one after the other.
    ///
    /// # Errors
    ///
    /// If one fails and the others are not to be run, or nothing can be printed.
    pub async fn all(&self, steps: &[&Step]) -> anyhow::Result<Shown> {
        let mut shown = Shown::default();
        for (number, step) in (1..).zip(steps) {
            match self.run(step).await {
                Ok(outcome) => {
                    self.print(number, step, &outcome.as_text())?;
                    if !self.is_silent {
                        outcome.print_notes();
                    }
                    shown.tasks.push(outcome.as_json());
                }
                Err(error) if self.goes_on => {
                    self.print(number, step, &format!("{error:#}"))?;
                    let mut task = failure::as_json(&error).unwrap_or_default();
                    task["operation"] = step.operation.id.into();
                    shown.tasks.push(task);
                    shown.failed += 1;
                }
                Err(error) => return Err(error.context(format!("the demo task `{}` failed", step.operation.id))),
            }
        }
        Ok(shown)
    }

    fn print(&self, number: usize, step: &Step, result: &str) -> anyhow::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        let (id, about, result) = (step.operation.id, step.about, result.replace('\n', "\n   "));
        print(&format!("{number}. {id}: {about}\n   {result}"))
    }

    async fn run(&self, step: &Step) -> anyhow::Result<Outcome> {
        let mut draft = Draft::new(step.operation, (step.request)())?;
        draft.complete()?;
        self.pictures.put_paths(&mut draft.body);
        let (local, _) = local::find(step.operation, &draft.body);
        local::put_stand_ins(&mut draft.body, &local);
        let submission = Submission {
            operation: step.operation,
            request: draft.finish()?,
            local,
            serve_files: None,
            timeout: self.timeout,
            quiet: false,
        };
        let (job, server) = submission.send(self.remote).await?;
        let bar = Bar::new(job.operation.id, false);
        let waited = job.wait(self.remote, self.timeout, &bar).await;
        bar.clear();
        let mut outcome = Outcome::of(&job, waited, 0);
        let target = Target::Files(Place::Directory(self.output.to_owned()));
        outcome.complete(self.remote, &target, self.timeout).await;
        if let Some(server) = server {
            server.stop().await;
        }
        match outcome.failure.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(outcome),
        }
    }
}
