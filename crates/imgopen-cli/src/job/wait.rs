//! Waiting for a job.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use imgopen_client::{Error, Progress};
use imgopen_types::JobState;

use super::handle::Job;
use super::progress::Bar;
use crate::failure::{Exit, Failure};
use crate::files::server::FileServer;
use crate::interrupt::Interrupt;
use crate::remote::Remote;

/// The first pauses are shorter than the client's own, because somebody looks on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long to wait, and what may end the wait early.
#[derive(Debug)]
pub struct Patience {
    /// The value of `--timeout`.
    pub timeout: Duration,
    /// Whether progress and notes are suppressed.
    pub quiet: bool,
    /// Ctrl-C, which ends the wait.
    pub interrupt: Interrupt,
}

/// The outcome of a wait.
#[derive(Debug)]
pub enum Waited {
    /// The job ended.
    Ended(Progress),
    /// The timeout expired.
    TimedOut {
        /// The last state seen.
        last: Option<JobState>,
        /// Why the last query failed, if it did.
        error: Option<String>,
    },
    /// Ctrl-C was pressed.
    Interrupted,
    /// A query failed permanently.
    QueryFailed(Failure),
}

impl Job {
    /// Queries the job until it ends, the timeout expires or a query fails permanently.
    pub async fn wait(&self, remote: &Remote, timeout: Duration, bar: &Bar) -> Waited {
        let wait = remote.client.wait_for(self.operation, &self.id).deadline(timeout);
        let wait = wait.first_pause(FIRST_PAUSE).longest_pause(LONGEST_PAUSE);
        let mut reports = pin!(wait.on_error(|error| bar.trouble(error)).progress());
        loop {
            match reports.next().await {
                Some(Ok(progress)) => {
                    bar.show(progress.report.as_ref());
                    if progress.report.state().is_final() {
                        return Waited::Ended(progress);
                    }
                }
                Some(Err(Error::Deadline { last, last_error, .. })) => {
                    return Waited::TimedOut { last, error: last_error.map(|error| error.to_string()) };
                }
                Some(Err(error)) => return Waited::QueryFailed(remote.explain(error)),
                // A stream ends with the end of the job or with an error.
                None => return Waited::TimedOut { last: None, error: None },
            }
        }
    }

    /// Waits until the server has fetched every local picture, or the job has ended.
    ///
    /// # Errors
    ///
    /// If the timeout expires first, so that the task will lack pictures, or if a query fails permanently.
    pub async fn until_fetched(
        &self,
        remote: &Remote,
        server: &FileServer,
        timeout: Duration,
        bar: &Bar,
    ) -> Result<(), Failure> {
        bar.say("waiting for the server to fetch pictures");
        tokio::select! {
            () = server.all_fetched() => Ok(()),
            waited = self.wait(remote, timeout, bar) => match waited {
                Waited::TimedOut { .. } => Err(self.unfetched(server.unfetched(), Exit::TimedOut, "the timeout expired")),
                Waited::QueryFailed(failure) => Err(self.query_failed(failure)),
                Waited::Ended(_) | Waited::Interrupted => Ok(()),
            },
        }
    }

    /// Returns the failure for a command that ends before the server has fetched all pictures.
    pub fn unfetched(&self, count: usize, exit: Exit, why: &str) -> Failure {
        let (pictures, them) = match count {
            1 => ("1 local picture".to_owned(), "it"),
            _ => (format!("{count} local pictures"), "them"),
        };
        let message =
            format!("{why} before the server fetched {pictures}; the task {} continues without {them}", self.id);
        Failure::new(exit, format!("{message}\nwait for it with {}", self.wait_command()))
    }

    /// Adds to the failure of a query that the task exists.
    pub fn query_failed(&self, failure: Failure) -> Failure {
        let hint = format!("the task {} was started; wait for it with {}", self.id, self.wait_command());
        Failure { message: format!("{}\n{hint}", failure.message), ..failure }
    }
}
