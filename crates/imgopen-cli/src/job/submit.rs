//! Submitting a job.

use std::time::Duration;

use imgopen_client::{Error, job_id};
use imgopen_types::Operation;
use imgopen_types::operation::IdSource;
use serde_json::{Value, json};

use super::handle::{Job, network_hint};
use crate::failure::{Exit, Failure};
use crate::files::local::{LocalFile, LocalNames, put_urls};
use crate::files::reach;
use crate::files::server::FileServer;
use crate::remote::Remote;

/// A checked request that starts a job.
#[derive(Debug)]
pub struct Submission {
    /// The operation.
    pub operation: &'static Operation,
    /// The request, with stand-ins for local pictures.
    pub request: Value,
    /// The local pictures that the request names.
    pub local: Vec<LocalFile>,
    /// The value of `--serve-files`.
    pub serve_files: Option<String>,
    /// How long it is sent again while the server puts it off: the value of `--timeout`.
    pub timeout: Duration,
    /// Whether notes are suppressed.
    pub quiet: bool,
}

impl Submission {
    /// Starts to serve local pictures, if there are any, and sends the request.
    ///
    /// # Errors
    ///
    /// If the server cannot reach this machine, rejects the request, or returns no answer that names a task.
    pub async fn send(mut self, remote: &Remote) -> anyhow::Result<(Job, Option<FileServer>)> {
        let server = self.serve(remote).await?;
        let network = server.as_ref().map(FileServer::network);
        let local = server.as_ref().map(FileServer::names).unwrap_or_default();
        let sent = remote.send(self.operation, &self.request, &[], self.timeout, self.quiet).await;
        let answer = sent.map_err(|error| match &error {
            Error::Transport(cause) if !cause.is_connect() => self.unanswered(Exit::Failed, &error.to_string()),
            Error::Decode { .. } | Error::MissingData { .. } | Error::TooLarge { .. } => {
                self.unanswered(Exit::Refused, &remote.explain(error).message)
            }
            _ => with_hint(remote.explain(error), network.as_deref(), &local),
        })?;
        let id = job_id(self.operation, &self.request, &answer);
        let id = id.ok_or_else(|| self.unanswered(Exit::Refused, "the server's answer names no task"))?;
        let platform_id = ["taskId", "task_id"].iter().find_map(|name| answer["data"][name].as_str());
        let platform_id = platform_id.map(str::to_owned);
        Ok((Job { operation: self.operation, id, platform_id, network, local }, server))
    }

    /// Returns the failure for a request that may have arrived but was not answered. Only the caller id of the task is known.
    pub fn unanswered(&self, exit: Exit, why: &str) -> Failure {
        let message = format!("{why}; the task may have been started nevertheless");
        let id = self.operation.caller_id.and_then(|id| id.find(&self.request));
        let Some(id) = id else { return Failure::new(exit, message) };
        let is_queried_by_it = matches!(self.operation.job.as_ref().map(|job| job.id), Some(IdSource::Request(_)));
        let operation = if is_queried_by_it { format!(" --operation {}", self.operation.id) } else { String::new() };
        let message = format!("{message}, as {id}; look for it with `imgopen tasks wait {id}{operation}`");
        Failure::new(exit, message).detail(json!({ "operation": self.operation.id, "id": id }))
    }

    async fn serve(&mut self, remote: &Remote) -> anyhow::Result<Option<FileServer>> {
        if self.local.is_empty() {
            return Ok(None);
        }
        let place = reach::open(remote, self.serve_files.as_deref()).await?;
        let server = FileServer::start(place, &self.local)?;
        put_urls(&mut self.request, &self.local, server.urls());
        Ok(Some(server))
    }
}

fn with_hint(failure: Failure, network: Option<&str>, local: &LocalNames) -> Failure {
    let hint = network_hint(&failure.message, network);
    Failure { message: local.put_into(&failure.message) + &hint, ..failure }
}
