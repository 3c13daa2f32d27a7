//! A job from its submit to its end.

use std::time::Duration;

use imgopen_client::{Error, Progress, job_id};
use imgopen_types::operation::IdSource;
use imgopen_types::{JobState, Operation};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::Bar;
use crate::failure::{Exit, Failure};
use crate::files::{self, FileServer, LocalFile};
use crate::flags;
use crate::interrupt::Interrupt;
use crate::remote::Remote;
use crate::request::random_hex;

/// The pause after the first question; each further one is half as long again, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is to be submitted.
#[derive(Debug)]
pub struct Submission {
    /// The operation.
    pub operation: &'static Operation,
    /// The request, checked.
    pub request: Value,
    /// The pictures of this machine that it names.
    pub local: Vec<LocalFile>,
    /// Where these are to be served.
    pub serve_files: Option<String>,
}

/// A job that was started.
#[derive(Debug, Clone)]
pub struct Job {
    /// By which operation.
    pub operation: &'static Operation,
    /// The id to ask for it with.
    pub id: String,
    /// The platform's id of the task, where the answer told it.
    pub platform_id: Option<String>,
    /// The network that must be allowed for local pictures, if there are any.
    pub network: Option<String>,
}

/// How long and how visibly to wait.
#[derive(Debug)]
pub struct Patience {
    /// How long.
    pub timeout: Duration,
    /// Whether nothing is shown meanwhile.
    pub quiet: bool,
    /// What ends it before.
    pub interrupt: Interrupt,
}

/// How a wait ended.
#[derive(Debug)]
pub enum Waited {
    /// With the job.
    Ended(Progress),
    /// With the time; the last state that was seen.
    TimedOut(Option<JobState>),
    /// With Ctrl-C.
    Interrupted,
    /// With an answer that tells nothing of the job, or none at all.
    Lost(Failure),
}

impl Submission {
    /// Serves what local pictures there are, and sends the request.
    ///
    /// # Errors
    ///
    /// When the server cannot reach this machine, refuses, or gives no answer that names a task.
    pub async fn send(mut self, remote: &Remote) -> anyhow::Result<(Job, Option<FileServer>)> {
        let server = self.serve(remote).await?;
        let network = server.as_ref().map(FileServer::network);
        let mut call = remote.client.dynamic(self.operation).body(self.request.clone());
        // The hosted API documents no such header, so that a second try could start a second job.
        if !remote.is_hosted() {
            call = call.idempotency_key(format!("cli-{}{}", random_hex()?, random_hex()?));
        }
        let answer = call.send().await.map_err(|error| match &error {
            Error::Transport(cause) if !cause.is_connect() => self.unanswered(Exit::Failed, &error.to_string()),
            _ => allow(remote.explain(error), network.as_deref()),
        })?;
        let id = job_id(self.operation, &self.request, &answer);
        let id = id.ok_or_else(|| self.unanswered(Exit::Refused, "the server's answer names no task"))?;
        let platform_id = ["taskId", "task_id"].iter().find_map(|name| answer["data"][name].as_str());
        let platform_id = platform_id.map(str::to_owned);
        Ok((Job { operation: self.operation, id, platform_id, network }, server))
    }

    /// What is said when it was sent, perhaps, and no answer came. The caller's own id is all that is known of the task.
    pub fn unanswered(&self, exit: Exit, why: &str) -> Failure {
        let message = format!("{why}; the task may have been started all the same");
        let path = flags::caller_id(self.operation).unwrap_or_default();
        let id = path.iter().try_fold(&self.request, |value, name| value.get(name)).and_then(Value::as_str);
        let Some(id) = id else { return Failure::new(exit, message) };
        let is_asked_by_it = matches!(self.operation.job.as_ref().map(|job| job.id), Some(IdSource::Request(_)));
        let operation = if is_asked_by_it { format!(" --operation {}", self.operation.id) } else { String::new() };
        let message = format!("{message}, as {id}: come back with `imgopen task wait {id}{operation}`");
        Failure::new(exit, message).detail(json!({ "operation": self.operation.id, "id": id }))
    }

    async fn serve(&mut self, remote: &Remote) -> anyhow::Result<Option<FileServer>> {
        if self.local.is_empty() {
            return Ok(None);
        }
        let place = files::place(remote, self.serve_files.as_deref()).await?;
        let server = FileServer::start(place, &self.local)?;
        files::put_urls(&mut self.request, &self.local, server.urls());
        Ok(Some(server))
    }
}

/// Adds what the server's operator has to do, if it does not fetch from private networks.
fn allow(failure: Failure, network: Option<&str>) -> Failure {
    let hint = allowed(&failure.message, network);
    Failure { message: failure.message + &hint, ..failure }
}

/// The hint that goes with a refusal to fetch from this machine.
pub fn allowed(message: &str, network: Option<&str>) -> String {
    match network {
        Some(network) if message.contains("--allow-network") => {
            format!(
                "\nstart the service with `--allow-network {network}`, so that it fetches pictures from this machine"
            )
        }
        _ => String::new(),
    }
}

impl Job {
    /// The task for people.
    pub fn shown(&self) -> String {
        match &self.platform_id {
            Some(platform) if *platform != self.id => format!("{} {} (task {platform})", self.operation.id, self.id),
            _ => format!("{} {}", self.operation.id, self.id),
        }
    }

    /// The task as JSON.
    pub fn told(&self) -> Value {
        json!({ "operation": self.operation.id, "id": self.id, "task_id": self.platform_id })
    }

    /// Asks again and again until the job ends, the time is over or asking fails for good.
    pub async fn wait(&self, remote: &Remote, timeout: Duration, bar: &Bar) -> Waited {
        let (mut pause, mut last) = (FIRST_PAUSE, None);
        let asking = async {
            loop {
                let progress = match remote.client.progress(self.operation, &self.id).await {
                    Ok(progress) => progress,
                    Err(error) => return Waited::Lost(remote.explain(error)),
                };
                bar.show(progress.report.as_ref());
                last = Some(progress.report.state());
                if progress.report.state().is_final() {
                    return Waited::Ended(progress);
                }
                sleep(pause).await;
                pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
            }
        };
        // A time beyond what can be told has no end.
        match Instant::now().checked_add(timeout) {
            Some(ends_at) => timeout_at(ends_at, asking).await.unwrap_or(Waited::TimedOut(last)),
            None => asking.await,
        }
    }

    /// Waits until the server has every local picture, or needs them no more.
    ///
    /// # Errors
    ///
    /// When it has not in time, so that the task will lack its pictures; or when asking for the task fails for good.
    pub async fn until_fetched(
        &self,
        remote: &Remote,
        server: &FileServer,
        timeout: Duration,
        bar: &Bar,
    ) -> Result<(), Failure> {
        bar.say("is fetched");
        tokio::select! {
            () = server.all_fetched() => Ok(()),
            waited = self.wait(remote, timeout, bar) => match waited {
                Waited::TimedOut(_) => Err(self.unfetched(server.unfetched(), Exit::TimedOut, "the time was over")),
                Waited::Lost(failure) => Err(self.lost(failure)),
                Waited::Ended(_) | Waited::Interrupted => Ok(()),
            },
        }
    }

    /// What is said when the command ends before the server has the pictures.
    pub fn unfetched(&self, count: usize, exit: Exit, why: &str) -> Failure {
        let (pictures, them) = match count {
            1 => ("1 local picture".to_owned(), "it"),
            _ => (format!("{count} local pictures"), "them"),
        };
        let message =
            format!("{why} before the server fetched {pictures}; the task {} goes on and will lack {them}", self.id);
        Failure::new(exit, format!("{message}\n{}", come_back(self)))
    }

    /// What is said when nothing is to be learnt of a task that was started.
    pub fn lost(&self, failure: Failure) -> Failure {
        let message = format!("{}\nthe task {} was started; {}", failure.message, self.id, come_back(self));
        Failure { message, ..failure }
    }
}

/// How to come back to a job.
pub fn come_back(job: &Job) -> String {
    format!("come back with `imgopen task wait {} --operation {}`", job.id, job.operation.id)
}
