//! What became of a job: saved, told, and turned into an exit code.

use imgopen_client::types::Task;
use imgopen_types::{JobReport, JobState};
use serde_json::{Value, json};

use super::job::allowed;
use super::save::{Saved, save};
use super::{Job, Target, Waited, come_back};
use crate::extras::{self, Known};
use crate::failure::{Exit, Failure};
use crate::output::{print, print_json};
use crate::remote::Remote;

/// Members of an answer that are told in other ways.
const TOLD: &[&str] = &[
    "taskId",
    "task_id",
    "id_task",
    "businessTaskId",
    "toolTask",
    "status",
    "desc",
    "progress",
    "temporaryImageDto",
    "differentialImageRspList",
    "maxEpochs",
];

/// What became of a job.
#[derive(Debug)]
pub struct Outcome {
    /// The job.
    pub job: Job,
    /// How it ended; none if the time was over before.
    pub state: Option<JobState>,
    /// The engine and its grade, where the server tells.
    pub engine: Option<(String, Option<String>)>,
    /// What was saved.
    pub files: Vec<Saved>,
    /// The `data` of the last answer.
    pub data: Value,
    /// Why it is no success, and what to do.
    pub failure: Option<Failure>,
}

impl Outcome {
    /// What a wait tells. `unfetched` is how many local pictures a job that goes on will lack.
    pub fn of(job: &Job, waited: Waited, unfetched: usize) -> Self {
        let (state, data, failure) = match waited {
            Waited::Interrupted => (None, Value::Null, Some(left(job, Exit::Interrupted, "interrupted", unfetched))),
            Waited::TimedOut(last) => {
                (last, Value::Null, Some(left(job, Exit::TimedOut, "the time is over", unfetched)))
            }
            Waited::Lost(failure) => (None, Value::Null, Some(job.lost(failure))),
            Waited::Ended(progress) => {
                let failure = ended(job, progress.report.as_ref());
                (Some(progress.report.state()), progress.data, failure)
            }
        };
        Self { job: job.clone(), state, engine: None, files: Vec::new(), data, failure }
    }

    /// Saves the results of a job that has ended, one by one, and finds out the rest.
    pub async fn complete(&mut self, remote: &Remote, target: &Target) {
        if !self.state.is_some_and(JobState::is_final) {
            return;
        }
        let urls = if self.state == Some(JobState::Succeeded) { urls(&self.data) } else { Vec::new() };
        let mut problems = String::new();
        for (index, url) in urls.iter().enumerate() {
            let number = (urls.len() > 1).then_some(index + 1);
            match save(&self.job, url, target, number).await {
                Ok(saved) => self.files.push(saved),
                Err(error) => problems += &format!("{error:#}\n"),
            }
        }
        if !problems.is_empty() {
            self.failure = Some(Failure::new(Exit::Failed, problems + &come_back(&self.job)));
        }
        self.engine = task(remote, &self.job).await.as_ref().and_then(extras::engine);
    }

    /// Says that Ctrl-C came before it was complete.
    pub fn interrupted(&mut self) {
        let message = format!("interrupted before all results were saved and told\n{}", come_back(&self.job));
        self.failure = Some(Failure::new(Exit::Interrupted, message));
    }

    /// Prints it, and ends with what it means.
    ///
    /// # Errors
    ///
    /// The failure, if it is none of success.
    pub fn print(self, as_json: bool) -> anyhow::Result<()> {
        match as_json {
            true => print_json(&self.told())?,
            false if self.failure.is_none() || !self.files.is_empty() => print(&self.shown())?,
            false => {}
        }
        match self.failure {
            Some(failure) if as_json => Err(failure.told().into()),
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// The outcome as JSON.
    pub fn told(&self) -> Value {
        let (engine, grade) = self.engine.clone().unzip();
        json!({
            "operation": self.job.operation.id,
            "id": self.job.id,
            "task_id": self.job.platform_id,
            "state": self.state.map(state_name),
            "engine": engine,
            "grade": grade.flatten(),
            "files": self.files.iter().map(Saved::told).collect::<Value>(),
            "answer": self.data,
            "error": self.failure.as_ref().map(Failure::as_json),
        })
    }

    /// The outcome for people: a line for each file, then what else there is.
    pub fn shown(&self) -> String {
        let by = self.engine.as_ref().map(|(engine, grade)| match grade {
            Some(grade) => format!("by {engine} ({grade})"),
            None => format!("by {engine}"),
        });
        let named = |line: String| by.as_ref().map_or(line.clone(), |by| format!("{line}, {by}"));
        let mut lines: Vec<_> = self.files.iter().map(|file| named(file.shown())).collect();
        let words = said(&self.data);
        if lines.is_empty() && words.is_empty() {
            lines.push(named(format!("{} has succeeded", self.job.shown())));
        } else if lines.is_empty() {
            lines.extend(words.into_iter().chain(by));
        } else {
            lines.extend(words);
        }
        lines.join("\n")
    }
}

/// The name of a state in JSON.
pub fn state_name(state: JobState) -> String {
    match state {
        JobState::Queued => "queued".to_owned(),
        JobState::Running => "running".to_owned(),
        JobState::Succeeded => "succeeded".to_owned(),
        JobState::Failed => "failed".to_owned(),
        JobState::Cancelled => "cancelled".to_owned(),
        JobState::Unknown(number) => format!("unknown ({number})"),
    }
}

/// What is said when a command leaves a task before its end.
fn left(job: &Job, exit: Exit, why: &str, unfetched: usize) -> Failure {
    match unfetched {
        0 => Failure::new(exit, format!("{why}; the task {} goes on, {}", job.id, come_back(job))),
        _ => job.unfetched(unfetched, exit, why),
    }
}

fn ended(job: &Job, report: &(dyn JobReport + Send)) -> Option<Failure> {
    let why = report.desc().filter(|desc| !desc.is_empty()).map_or(String::new(), |desc| format!(": {desc}"));
    match report.state() {
        JobState::Succeeded => None,
        JobState::Cancelled => Some(Failure::new(Exit::Ended, format!("the task {} was cancelled", job.id))),
        _ => {
            let hint = allowed(&why, job.network.as_deref());
            Some(Failure::new(Exit::Ended, format!("the task {} failed{why}{hint}", job.id)))
        }
    }
}

/// What only a server of one's own tells of a task.
async fn task(remote: &Remote, job: &Job) -> Option<Task> {
    if remote.is_hosted() {
        return None;
    }
    match extras::find(remote, job.platform_id.as_ref().unwrap_or(&job.id)).await {
        Ok(Known::Yes(task)) => task,
        _ => None,
    }
}

/// The addresses of the results in an answer: texts and lists in members that are named so.
pub fn urls(data: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(data, false, &mut found);
    found
}

fn collect(value: &Value, is_address: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if is_address && text.starts_with("http") && !found.contains(text) => {
            found.push(text.clone())
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_address, found)),
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| *name != "temporaryImageDto") {
                collect(value, names_address(name), found);
            }
        }
        _ => {}
    }
}

fn names_address(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with("url") || name.ends_with("urllist")
}

/// What an answer says beside pictures, such as a caption.
fn said(data: &Value) -> Vec<String> {
    let members = data.as_object().into_iter().flatten();
    let told =
        members.filter(|(name, value)| !TOLD.contains(&name.as_str()) && !names_address(name) && !value.is_null());
    told.map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        value => format!("{name}: {value}"),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_by_the_names_of_their_members() {
        let data = json!({
            "outputImageUrl": "http://a/1", "outputImageUrlList": ["http://a/1", "http://a/2"], "caption": "http://b",
            "temporaryImageDto": {"imageUrl": "http://c"},
            "differentialImageRspList": [{"image_url": "http://d", "seed": 1}],
        });
        assert_eq!(urls(&data), ["http://a/1", "http://a/2", "http://d"]);
        assert_eq!(said(&data), ["caption: http://b"]);
    }
}
