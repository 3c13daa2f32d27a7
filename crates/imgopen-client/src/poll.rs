//! Asking until there is an answer: growing pauses, a deadline, and patience with errors that may pass.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::retry::scaled;
use crate::{Client, Error, Retry};

/// How often and how long to ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The pause after the first query.
    pub first_pause: Duration,
    /// The longest pause, unless the server asks for a longer one.
    pub longest_pause: Duration,
    /// The time in total; [`Duration::MAX`] has no end.
    pub deadline: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (first_pause, longest_pause) = (Duration::from_secs(1), Duration::from_secs(10));
        Self { first_pause, longest_pause, deadline: Duration::from_secs(600) }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The deadline has passed. Holds the error of the last query, if it failed.
    Deadline(Option<Error>),
    /// A query failed with an error that does not pass.
    Failed(Error),
}

/// The state between two queries.
#[derive(Debug)]
pub(crate) struct Poll {
    pace: Pace,
    /// `None`, which is no deadline, if the time overflows.
    ends_at: Option<Instant>,
    /// The pause before the next query; `None` before the first.
    pause: Option<Duration>,
    /// The error of the last query, if it failed.
    trouble: Option<Error>,
}

impl Poll {
    /// Starts to count the time.
    pub fn start(pace: Pace) -> Self {
        Self { pace, ends_at: Instant::now().checked_add(pace.deadline), pause: None, trouble: None }
    }

    /// Asks until there is an answer. Errors that may pass are handed to `on_error` and outlasted.
    pub async fn ask<T, F: Future<Output = Result<T, Error>>>(
        &mut self,
        mut query: impl FnMut() -> F,
        mut on_error: impl FnMut(&Error),
    ) -> Result<T, Unanswered> {
        loop {
            let pause = self.next_pause();
            let question = async {
                if let Some(pause) = pause {
                    sleep(pause).await;
                }
                query().await
            };
            let outcome = match self.ends_at {
                Some(ends_at) => timeout_at(ends_at, question).await.ok(),
                None => Some(question.await),
            };
            match outcome {
                Some(Ok(answer)) => {
                    self.trouble = None;
                    return Ok(answer);
                }
                Some(Err(error)) if error.may_pass() => {
                    debug!(%error, "not known yet");
                    on_error(&error);
                    self.trouble = Some(error);
                }
                Some(Err(error)) => return Err(Unanswered::Failed(error)),
                None => return Err(Unanswered::Deadline(self.trouble.take())),
            }
        }
    }

    /// Returns the pause that is due, and prepares the next one. The jitter keeps many callers from asking together.
    fn next_pause(&mut self) -> Option<Duration> {
        let due = self.pause;
        let next = due.map_or(self.pace.first_pause, |pause| scaled(pause, 1.5));
        self.pause = Some(next.min(self.pace.longest_pause));
        let asked = self.trouble.as_ref().and_then(Error::retry_after).unwrap_or_default();
        due.map(|pause| scaled(pause, 0.9 + 0.2 * fastrand::f64()).max(asked))
    }
}

impl Client {
    /// Repeats a call about a job as a wait repeats its queries, until it is answered, fails for good, or the deadline passes.
    /// For what must be known before the job can be queried, such as its operation. Errors that pass are handed to `on_error`.
    ///
    /// # Errors
    ///
    /// Those of the call that do not pass ([`Error::may_pass`]), and [`Error::Deadline`], which names the job.
    pub async fn until_answered<T>(
        &self,
        id: &str,
        deadline: Duration,
        call: impl AsyncFn(&Client) -> Result<T, Error>,
        on_error: impl FnMut(&Error),
    ) -> Result<T, Error> {
        let client = self.without_retries();
        let mut poll = Poll::start(Pace { deadline, ..Pace::default() });
        match poll.ask(|| call(&client), on_error).await {
            Ok(answer) => Ok(answer),
            Err(Unanswered::Failed(error)) => Err(error),
            Err(Unanswered::Deadline(error)) => Err(Error::deadline(id, deadline, None, error)),
        }
    }

    /// The same client, which leaves retries to a poll.
    pub(crate) fn without_retries(&self) -> Self {
        let mut client = self.clone();
        client.inner.retry = Retry::never();
        client
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::StatusCode;

    use super::*;

    fn limited(retry_after: u64) -> Error {
        Error::Status {
            status: StatusCode::TOO_MANY_REQUESTS,
            envelope: None,
            retry_after: Some(Duration::from_secs(retry_after)),
            body: Bytes::new(),
        }
    }

    #[test]
    fn pauses_grow_with_jitter_up_to_the_longest() {
        let pace =
            Pace { first_pause: Duration::from_secs(2), longest_pause: Duration::from_secs(4), ..Pace::default() };
        for _ in 0..100 {
            let mut poll = Poll::start(pace);
            assert_eq!(poll.next_pause(), None);
            for expected in [2.0, 3.0, 4.0, 4.0] {
                let pause = poll.next_pause().unwrap().as_secs_f64();
                assert!((expected * 0.9..=expected * 1.1).contains(&pause), "{pause} is not about {expected}");
            }
        }
    }

    /// However long that is; the longest pause bounds only our own.
    #[test]
    fn the_server_decides_on_the_next_pause_alone() {
        let mut poll = Poll::start(Pace::default());
        poll.next_pause();
        poll.trouble = Some(limited(3600));
        assert_eq!(poll.next_pause(), Some(Duration::from_secs(3600)));
        poll.trouble = Some(limited(0));
        assert!(poll.next_pause().is_some_and(|pause| pause >= Duration::from_millis(1300)));
        poll.trouble = None;
        assert!(poll.next_pause().is_some_and(|pause| pause < Duration::from_secs(3)));
    }
}
