//! A job from its submit to its end.

use std::time::Duration;

use imgopen_client::{Progress, job_id};
use imgopen_types::{JobState, Operation};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::Bar;
use crate::failure::{Exit, Failure};
use crate::files::{self, FileServer, LocalFile};
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
}

impl Submission {
    /// Serves what local pictures there are, and sends the request.
    ///
    /// # Errors
    ///
    /// When the server cannot reach this machine, or refuses.
    pub async fn send(mut self, remote: &Remote) -> anyhow::Result<(Job, Option<FileServer>)> {
        let server = self.serve(remote).await?;
        let network = server.as_ref().map(FileServer::network);
        let mut call = remote.client.dynamic(self.operation).body(self.request.clone());
        // The hosted API documents no such header, so that a second try could start a second job.
        if !remote.is_hosted() {
            call = call.idempotency_key(format!("cli-{}{}", random_hex()?, random_hex()?));
        }
        let answer = call.send().await.map_err(|error| allow(remote.explain(error), network.as_deref()))?;
        let id = job_id(self.operation, &self.request, &answer);
        let id = id.ok_or_else(|| Failure::new(Exit::Refused, "the server's answer names no task"))?;
        let platform_id = ["taskId", "task_id"].iter().find_map(|name| answer["data"][name].as_str());
        let platform_id = platform_id.map(str::to_owned);
        Ok((Job { operation: self.operation, id, platform_id, network }, server))
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

    /// Asks again and again until the job ends or the time is over.
    ///
    /// # Errors
    ///
    /// When asking fails for good.
    pub async fn wait(&self, remote: &Remote, timeout: Duration, bar: &Bar) -> Result<Waited, Failure> {
        let (mut pause, mut last) = (FIRST_PAUSE, None);
        let asking = async {
            loop {
                let progress = remote.client.progress(self.operation, &self.id).await;
                let progress = progress.map_err(|error| remote.explain(error))?;
                bar.show(progress.report.as_ref());
                last = Some(progress.report.state());
                if progress.report.state().is_final() {
                    return Ok(Waited::Ended(progress));
                }
                sleep(pause).await;
                pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
            }
        };
        // A time beyond what can be told has no end.
        match Instant::now().checked_add(timeout) {
            Some(ends_at) => timeout_at(ends_at, asking).await.unwrap_or(Ok(Waited::TimedOut(last))),
            None => asking.await,
        }
    }

    /// Waits until the server has every local picture, or needs them no more.
    ///
    /// # Errors
    ///
    /// When it has not in time: the task will lack its pictures.
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
            waited = self.wait(remote, timeout, bar) => match waited? {
                Waited::TimedOut(_) => Err(self.unfetched(server, Exit::TimedOut, "the time was over")),
                Waited::Ended(_) | Waited::Interrupted => Ok(()),
            },
        }
    }

    /// What is said when the command ends before the server has the pictures.
    pub fn unfetched(&self, server: &FileServer, exit: Exit, why: &str) -> Failure {
        let (count, id) = (server.unfetched(), &self.id);
        let message =
            format!("{why} before the server fetched {count} local pictures; the task {id} goes on without them");
        Failure::new(exit, format!("{message}\n{}", come_back(self)))
    }
}

/// How to come back to a job.
pub fn come_back(job: &Job) -> String {
    format!("come back with `imgopen task wait {} --operation {}`", job.id, job.operation.id)
}
