//! Waiting for a job: submit, then poll until it ends, with growing pauses and a deadline.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use imgopen_types::{JobReport, JobRequest, JobState};
use tokio::time::Instant;

use crate::retry::scaled;
use crate::{Client, Error};

/// A request whose operation starts a job. The document says which operation returns the job's state and where
/// its id lies; the generated code follows it.
pub trait Job: JobRequest<Response: Send + Sync, Report: Send> + Send + Sync {
    /// Sends the request.
    fn submit(&self, client: &Client) -> impl Future<Output = Result<Self::Response, Error>> + Send;

    /// Queries the state of the job with that id once.
    fn query(client: &Client, id: &str) -> impl Future<Output = Result<Self::Report, Error>> + Send;
}

/// A job that was started.
pub struct Task<J: Job> {
    id: String,
    response: Option<J::Response>,
}

impl<J: Job> Task<J> {
    /// Makes a handle of a job of which only the id is known, such as one that was started earlier.
    pub fn from_id(id: impl Into<String>) -> Self {
        Self { id: id.into(), response: None }
    }

    /// Returns the id to query the job with.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The answer to the submit, if the job was started by [`Client::submit`].
    pub fn response(&self) -> Option<&J::Response> {
        self.response.as_ref()
    }
}

impl<J: Job> fmt::Debug for Task<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("operation", &J::operation().id).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a job.
    ///
    /// # Errors
    ///
    /// Those of the operation. A submit is never retried automatically: it might start two jobs.
    pub async fn submit<J: Job>(&self, request: &J) -> Result<Task<J>, Error> {
        let response = request.submit(self).await?;
        Ok(Task { id: request.job_id(&response), response: Some(response) })
    }

    /// Waits for a job to end. Dropping the wait ends the waiting, not the job.
    ///
    /// ```no_run
    /// # async fn example(client: imgopen_client::Client) -> Result<(), imgopen_client::Error> {
    /// use std::time::Duration;
    /// use imgopen_client::types::EnlargeImageRequest;
    ///
    /// let request = EnlargeImageRequest::builder()
    ///     .business_task_id("1008620")
    ///     .source_image("https://example.com/small.png")
    ///     .scale(2.5)
    ///     .build()
    ///     .map_err(|faults| imgopen_client::Error::InvalidRequest(faults.to_string()))?;
    /// let task = client.submit(&request).await?;
    /// let report = client.wait(&task).deadline(Duration::from_secs(120)).await?;
    /// println!("{:?}", report.output_image_url);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait<'a, J: Job>(&'a self, task: &'a Task<J>) -> Wait<'a, J> {
        Wait {
            client: self,
            task,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(10),
            deadline: Duration::from_secs(600),
        }
    }
}

/// A wait for a job; `.await` it, or look at every report with [`Wait::progress`].
#[must_use = "a wait does nothing until it is awaited or its progress is read"]
pub struct Wait<'a, J: Job> {
    client: &'a Client,
    task: &'a Task<J>,
    first_pause: Duration,
    longest_pause: Duration,
    deadline: Duration,
}

impl<J: Job> fmt::Debug for Wait<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("task", &self.task).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl<'a, J: Job> Wait<'a, J> {
    /// Sets the pause after the first query; 1 second by default. Each further pause is 1.5 times as long.
    pub fn first_pause(self, first_pause: Duration) -> Self {
        Self { first_pause, ..self }
    }

    /// Sets the longest pause between two queries; 10 seconds by default.
    pub fn longest_pause(self, longest_pause: Duration) -> Self {
        Self { longest_pause, ..self }
    }

    /// Sets how long to wait in total, from now on; 10 minutes by default. [`Duration::MAX`] waits without a deadline.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Returns a stream of every report of the job until it ends; the last one is final. A failed job is a report too; only
    /// awaiting the wait turns it into an error. The stream ends after the first error.
    pub fn progress(self) -> impl Stream<Item = Result<J::Report, Error>> + Send + 'a {
        let ends_at = Instant::now().checked_add(self.deadline);
        let start = Asking { wait: self, ends_at, pause: None, last: None };
        stream::unfold(Some(start), |asking| async move {
            let mut asking = asking?;
            match asking.ask().await {
                Ok(report) if report.state().is_final() => Some((Ok(report), None)),
                Ok(report) => {
                    asking.last = Some(report.state());
                    Some((Ok(report), Some(asking)))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn result(self) -> Result<J::Report, Error> {
        let (task, deadline) = (self.task, self.deadline);
        let mut reports = std::pin::pin!(self.progress());
        let mut last = None;
        while let Some(report) = reports.next().await {
            last = Some(report?);
        }
        match last {
            Some(report) if report.state() == JobState::Succeeded => Ok(report),
            Some(report) => {
                let (state, desc) = (report.state(), report.desc().map(str::to_owned));
                Err(Error::JobEnded { id: task.id.clone(), state, desc })
            }
            None => Err(Error::Deadline { id: task.id.clone(), deadline, last: None }),
        }
    }
}

impl<'a, J: Job> IntoFuture for Wait<'a, J> {
    type Output = Result<J::Report, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.result())
    }
}

/// The state between two queries.
struct Asking<'a, J: Job> {
    wait: Wait<'a, J>,
    /// `None`, which is no deadline, if the time overflows.
    ends_at: Option<Instant>,
    /// The pause before the next query; `None` before the first.
    pause: Option<Duration>,
    last: Option<JobState>,
}

impl<J: Job> Asking<'_, J> {
    async fn ask(&mut self) -> Result<J::Report, Error> {
        let pause = self.pause;
        let Wait { client, task, first_pause, longest_pause, deadline } = &self.wait;
        self.pause = Some(pause.map_or(*first_pause, |pause| scaled(pause, 1.5)).min(*longest_pause));
        let question = async {
            if let Some(pause) = pause {
                tokio::time::sleep(scaled(pause, 0.9 + 0.2 * fastrand::f64())).await;
            }
            J::query(client, &task.id).await
        };
        let Some(ends_at) = self.ends_at else { return question.await };
        match tokio::time::timeout_at(ends_at, question).await {
            Ok(report) => report,
            Err(_) => Err(Error::Deadline { id: task.id.clone(), deadline: *deadline, last: self.last }),
        }
    }
}
