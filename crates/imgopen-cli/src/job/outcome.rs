//! The outcome of a job: saved, printed, and turned into an exit code.

use std::time::{Duration, Instant};

use imgopen_client::types::Task;
use imgopen_types::{JobReport, JobState};
use serde_json::{Value, json};

use super::answer::{state_name, urls, words};
use super::handle::{Job, network_hint};
use super::lookup::{self, Answer};
use super::save::{Saved, save};
use super::target::Target;
use super::wait::Waited;
use crate::failure::{Exit, Failure};
use crate::output::{note, print, print_json};
use crate::remote::Remote;

/// The outcome of a job.
#[derive(Debug)]
pub struct Outcome {
    /// The job.
    pub job: Job,
    /// The last state seen, if any.
    pub state: Option<JobState>,
    /// The engine and its grade, if the server reports them.
    pub engine: Option<(String, Option<String>)>,
    /// The saved results.
    pub files: Vec<Saved>,
    /// What differs from the request, or could not be verified, if the server reports it.
    pub notes: Vec<String>,
    /// Whether standard output has the result, so that nothing else may be printed there.
    pub is_output_taken: bool,
    /// The `data` of the last answer.
    pub data: Value,
    /// Why the command does not succeed, and what to do.
    pub failure: Option<Failure>,
}

impl Outcome {
    /// Creates the outcome of a wait; `unfetched` is the number of local pictures that a task that continues will lack.
    pub fn of(job: &Job, waited: Waited, unfetched: usize) -> Self {
        let (state, data, failure) = match waited {
            Waited::Interrupted => (None, Value::Null, Some(left(job, Exit::Interrupted, "interrupted", unfetched))),
            Waited::TimedOut { last, error } => {
                let error = error.map_or(String::new(), |error| format!("; the last query failed: {error}"));
                let why = format!("the timeout expired{error}");
                (last, Value::Null, Some(left(job, Exit::TimedOut, &why, unfetched)))
            }
            Waited::QueryFailed(failure) => (None, Value::Null, Some(job.query_failed(failure))),
            Waited::Ended(progress) => {
                let failure = ended(job, progress.report.as_ref());
                (Some(progress.report.state()), progress.data, failure)
            }
        };
        Self {
            job: job.clone(),
            state,
            engine: None,
            files: Vec::new(),
            notes: Vec::new(),
            is_output_taken: false,
            data,
            failure,
        }
    }

    /// Saves the results of a job that has ended, one by one, and looks up its engine and the notes on its result. A result that
    /// cannot be fetched is fetched again within a time.
    pub async fn complete(&mut self, remote: &Remote, target: &Target, within: Duration) {
        if !self.state.is_some_and(JobState::is_final) {
            return;
        }
        let start = Instant::now();
        let mut urls = if self.state == Some(JobState::Succeeded) { urls(&self.data) } else { Vec::new() };
        let mut problems = String::new();
        if *target == Target::StandardOutput && urls.len() > 1 {
            problems = format!("--output -: the task has {} results, and standard output takes one\n", urls.len());
            urls.clear();
        }
        for (index, url) in urls.iter().enumerate() {
            let number = (urls.len() > 1).then_some(index + 1);
            match save(&self.job, url, target, number, within.saturating_sub(start.elapsed())).await {
                Ok(saved) => {
                    self.is_output_taken = *target == Target::StandardOutput;
                    self.files.push(saved);
                }
                Err(error) => problems += &format!("{error:#}\n"),
            }
        }
        if !problems.is_empty() {
            let message = format!("{problems}save the results again with {}", self.job.wait_command());
            self.failure = Some(Failure::new(Exit::Failed, message));
        }
        if let Some(task) = task(remote, &self.job).await {
            self.engine = lookup::engine(&task);
            let notes = task.notes.unwrap_or_default();
            self.notes = notes.iter().map(|note| self.job.local.put_into(note)).collect();
        }
        self.notes.extend(self.files.iter().filter_map(Saved::note));
    }

    /// Records that Ctrl-C was pressed while the results were being saved.
    pub fn interrupted(&mut self) {
        let command = self.job.wait_command();
        let message = format!("interrupted before all results were saved\nsave them with {command}");
        self.failure = Some(Failure::new(Exit::Interrupted, message));
    }

    /// Prints the outcome; in text, its notes on standard error unless `quiet`.
    ///
    /// # Errors
    ///
    /// Returns the failure of the outcome, if it has one.
    pub fn print(self, as_json: bool, quiet: bool) -> anyhow::Result<()> {
        match as_json {
            true => print_json(&self.as_json())?,
            false if self.failure.is_none() || !self.files.is_empty() => {
                match self.is_output_taken {
                    true if quiet => {}
                    true => note(&self.as_text()),
                    false => print(&self.as_text())?,
                }
                if !quiet {
                    self.print_notes();
                }
            }
            false => {}
        }
        match self.failure {
            Some(failure) if as_json => Err(failure.printed().into()),
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Prints the notes on standard error.
    pub fn print_notes(&self) {
        self.notes.iter().for_each(|text| note(&format!("note: {text}")));
    }

    /// Describes the outcome in JSON.
    pub fn as_json(&self) -> Value {
        let (engine, grade) = self.engine.clone().unzip();
        json!({
            "operation": self.job.operation.id,
            "id": self.job.id,
            "task_id": self.job.platform_id,
            "state": self.state.map(state_name),
            "engine": engine,
            "grade": grade.flatten(),
            "files": self.files.iter().map(Saved::as_json).collect::<Value>(),
            "notes": self.notes,
            "answer": self.data,
            "error": self.failure.as_ref().map(Failure::as_json),
        })
    }

    /// Describes the outcome in text: a line for each file, then other results.
    pub fn as_text(&self) -> String {
        let by = self.engine.as_ref().map(|(engine, grade)| match grade {
            Some(grade) => format!("by {engine} ({grade})"),
            None => format!("by {engine}"),
        });
        let with_engine = |line: String| by.as_ref().map_or(line.clone(), |by| format!("{line}, {by}"));
        let mut lines: Vec<_> = self.files.iter().map(|file| with_engine(file.as_text())).collect();
        let words = words(&self.data);
        if lines.is_empty() && words.is_empty() {
            lines.push(with_engine(format!("{} has succeeded", self.job.as_text())));
        } else if lines.is_empty() {
            lines.extend(words.into_iter().chain(by));
        } else {
            lines.extend(words);
        }
        lines.join("\n")
    }
}

/// Returns the failure of a command that stops waiting before the task ends.
fn left(job: &Job, exit: Exit, why: &str, unfetched: usize) -> Failure {
    match unfetched {
        0 => {
            let message = format!("{why}; the task {} continues; wait for it with {}", job.id, job.wait_command());
            Failure::new(exit, message)
        }
        _ => job.unfetched(unfetched, exit, why),
    }
}

fn ended(job: &Job, report: &(dyn JobReport + Send)) -> Option<Failure> {
    let why = report.desc().filter(|desc| !desc.is_empty()).map_or(String::new(), |desc| format!(": {desc}"));
    match report.state() {
        JobState::Succeeded => None,
        JobState::Cancelled => Some(Failure::new(Exit::Ended, format!("the task {} was cancelled", job.id))),
        _ => {
            let hint = network_hint(&why, job.network.as_deref());
            let why = job.local.put_into(&why);
            Some(Failure::new(Exit::Ended, format!("the task {} failed{why}{hint}", job.id)))
        }
    }
}

/// Looks up the task behind a job, if the server supports that.
async fn task(remote: &Remote, job: &Job) -> Option<Task> {
    if remote.is_hosted() {
        return None;
    }
    match lookup::find(&remote.client, job.platform_id.as_ref().unwrap_or(&job.id)).await {
        Ok(Answer::Supported(task)) => task,
        _ => None,
    }
}
