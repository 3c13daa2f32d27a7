//! Waiting for a job: submit, then query until it ends.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use imgopen_types::{JobReport, JobRequest, JobState, Operation};

use crate::poll::{Pace, Poll, Unanswered};
use crate::{Client, Error, Progress};

/// A request whose operation starts a job. The document says which operation returns the job's state and where
/// its id lies; the generated code follows it.
pub trait Job: JobRequest<Response: Send + Sync, Report: Send + 'static> + Send + Sync {
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
    /// Those of the operation. Unless the client sends keys ([`ClientBuilder::idempotency_keys`](crate::ClientBuilder::idempotency_keys)),
    /// a submit is repeated only if it was surely not processed ([`Error::is_unprocessed`]): it might start two jobs.
    pub async fn submit<J: Job>(&self, request: &J) -> Result<Task<J>, Error> {
        let response = request.submit(self).await?;
        Ok(Task { id: request.job_id(&response), response: Some(response) })
    }

    /// Waits for a job to end. Dropping the wait ends the waiting, not the job.
    ///
    /// The wait lasts until its deadline: a server that restarts, limits requests or answers nonsense for a while does not end
    /// it ([`Error::may_pass`]).
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
    pub fn wait<'a, J: Job>(&self, task: &'a Task<J>) -> Wait<'a, J::Report> {
        let client = Arc::new(self.without_retries());
        let id = &*task.id;
        Wait::new(id, move || {
            let client = client.clone();
            Box::pin(async move { J::query(&client, id).await })
        })
    }

    /// Waits in the same way for a job whose operation is known only at run time; `id` is the result of
    /// [`job_id`](crate::job_id).
    pub fn wait_for<'a>(&self, operation: &'static Operation, id: &'a str) -> Wait<'a, Progress> {
        let client = Arc::new(self.without_retries());
        Wait::new(id, move || {
            let client = client.clone();
            Box::pin(async move { client.progress(operation, id).await })
        })
    }
}

/// A query under way.
type Query<'a, R> = Pin<Box<dyn Future<Output = Result<R, Error>> + Send + 'a>>;

/// A wait for a job; `.await` it, or look at every report with [`Wait::progress`].
#[must_use = "a wait does nothing until it is awaited or its progress is read"]
pub struct Wait<'a, R> {
    id: &'a str,
    pace: Pace,
    query: Box<dyn FnMut() -> Query<'a, R> + Send + 'a>,
    on_error: Box<dyn FnMut(&Error) + Send + 'a>,
}

impl<R> fmt::Debug for Wait<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("id", &self.id).field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl<'a, R: JobReport + Send + 'static> Wait<'a, R> {
    fn new(id: &'a str, query: impl FnMut() -> Query<'a, R> + Send + 'a) -> Self {
        Self { id, pace: Pace::default(), query: Box::new(query), on_error: Box::new(|_| {}) }
    }

    /// Sets the pause after the first query; 1 second by default. Each further pause is 1.5 times as long.
    pub fn first_pause(mut self, first_pause: Duration) -> Self {
        self.pace.first_pause = first_pause;
        self
    }

    /// Sets the longest pause between two queries; 10 seconds by default. A longer one that the server asks for
    /// (`Retry-After`) is kept nevertheless.
    pub fn longest_pause(mut self, longest_pause: Duration) -> Self {
        self.pace.longest_pause = longest_pause;
        self
    }

    /// Sets how long to wait in total, from now on; 10 minutes by default. [`Duration::MAX`] waits without a deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.pace.deadline = deadline;
        self
    }

    /// Calls this with every error of a query that the wait outlasts, such as to show it.
    pub fn on_error(self, on_error: impl FnMut(&Error) + Send + 'a) -> Self {
        Self { on_error: Box::new(on_error), ..self }
    }

    /// Returns a stream of every report of the job until it ends; the last one is final. A failed job is a report too; only
    /// awaiting the wait turns it into an error. The stream ends after the first error, which is one that does not pass, or
    /// [`Error::Deadline`].
    pub fn progress(self) -> impl Stream<Item = Result<R, Error>> + Send + 'a {
        let poll = Poll::start(self.pace);
        let start = Asking { wait: self, poll, last: None };
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

    async fn result(self) -> Result<R, Error> {
        let (id, deadline) = (self.id, self.pace.deadline);
        let mut reports = std::pin::pin!(self.progress());
        let mut last = None;
        while let Some(report) = reports.next().await {
            last = Some(report?);
        }
        match last {
            Some(report) if report.state() == JobState::Succeeded => Ok(report),
            Some(report) => {
                let (state, desc) = (report.state(), report.desc().map(str::to_owned));
                Err(Error::JobEnded { id: id.to_owned(), state, desc })
            }
            None => Err(Error::deadline(id, deadline, None, None)),
        }
    }
}

impl<'a, R: JobReport + Send + 'static> IntoFuture for Wait<'a, R> {
    type Output = Result<R, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.result())
    }
}

/// The state between two reports.
struct Asking<'a, R> {
    wait: Wait<'a, R>,
    poll: Poll,
    last: Option<JobState>,
}

impl<R> Asking<'_, R> {
    async fn ask(&mut self) -> Result<R, Error> {
        let Wait { id, pace, query, on_error } = &mut self.wait;
        match self.poll.ask(query, on_error).await {
            Ok(report) => Ok(report),
            Err(Unanswered::Failed(error)) => Err(error),
            Err(Unanswered::Deadline(error)) => Err(Error::deadline(id, pace.deadline, self.last, error)),
        }
    }
}
