//! Jobs of a server: they are submitted, asked for until they end, and cancelled while they wait.

use std::time::Duration;

use bytes::Bytes;
use imgopen_engine::{EngineError, Monitor};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use super::log::Log;
use crate::http::{CallError, Http, parse, shown};
use crate::timing::Timing;

/// The longest pause between two questions about a job whose pictures are finished.
const SOON: Duration = Duration::from_millis(50);

/// A server to give jobs to.
pub(super) struct Jobs<'a> {
    pub http: &'a Http,
    /// The name of the back end.
    pub name: &'a str,
    pub timing: Timing,
    /// What a program prints, which says when the pictures are finished.
    pub log: Option<watch::Receiver<Log>>,
}

#[derive(Debug, Deserialize)]
struct Submitted {
    id: String,
}

/// The state of a job, without its pictures.
#[derive(Debug, Deserialize)]
struct State {
    status: Status,
    #[serde(default)]
    error: Option<Problem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Queued,
    Generating,
    Completed,
    Failed,
    Cancelled,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    message: String,
}

impl Jobs<'_> {
    /// Carries out a job, and returns its last state with the pictures. A cancelled one is taken out of the queue; one that
    /// has begun cannot be stopped, so its end is waited for.
    pub(super) async fn conduct(&self, body: &Value, limit: u64, monitor: &Monitor) -> Result<Bytes, EngineError> {
        let error = |error: CallError| error.into_engine(self.name);
        monitor.check_cancelled()?;
        let submitted: Submitted = self.http.post("sdcpp/v1/img_gen", body).await.map_err(error)?;
        let path = path(&submitted.id).map_err(error)?;
        let mut ticks = interval(self.timing.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut log, mut last_answer) = (self.log.clone(), Instant::now());
        loop {
            // A job that waits is taken out at once.
            tokio::select! {
                biased;
                () = monitor.cancelled(), if !monitor.is_cancelled() => {}
                () = finished(&mut log) => {
                    log = None;
                    ticks = interval(self.timing.poll.min(SOON));
                }
                _ = ticks.tick() => {}
            }
            if monitor.is_cancelled() {
                self.cancel(&path).await;
            }
            let left = self.timing.silence.saturating_sub(last_answer.elapsed());
            match self.http.fetch(&path, limit).await {
                Ok(answer) => {
                    last_answer = Instant::now();
                    if self.has_ended(&answer, monitor)? {
                        return Ok(answer);
                    }
                }
                Err(CallError::Status { status: 404 | 410, .. }) => return Err(self.lost()),
                // It is asked again.
                Err(problem @ (CallError::Away(_) | CallError::Status { .. })) if !left.is_zero() => {
                    debug!(backend = self.name, %problem, "a job could not be asked for");
                }
                Err(CallError::Away(_)) => return Err(error(CallError::Away("it has stopped answering".to_owned()))),
                Err(other) => return Err(error(other)),
            }
        }
    }

    /// Returns whether a job has made its pictures.
    fn has_ended(&self, answer: &Bytes, monitor: &Monitor) -> Result<bool, EngineError> {
        let state: State = parse(answer).map_err(|error| error.into_engine(self.name))?;
        let name = self.name;
        match state.status {
            Status::Queued | Status::Generating => Ok(false),
            _ if monitor.is_cancelled() => Err(EngineError::Cancelled),
            Status::Completed => Ok(true),
            Status::Cancelled => Err(EngineError::Failed(format!("the job was cancelled at the back end `{name}`"))),
            Status::Failed => {
                let Problem { code, message } = state.error.unwrap_or_default();
                let said = shown(&format!("{code}: {message}"));
                Err(EngineError::Failed(format!("the back end `{name}` cannot make the pictures: {said}")))
            }
        }
    }

    /// Takes a job out of the queue, if it still waits.
    async fn cancel(&self, path: &str) {
        match self.http.post::<Value>(&format!("{path}/cancel"), &json!({})).await {
            Ok(_) => {}
            // It has begun.
            Err(CallError::Status { status: 409, .. }) => {}
            Err(error) => debug!(backend = self.name, %error, "a job could not be cancelled; it is tried again"),
        }
    }

    /// A job that the server does not know any more, because it was started again.
    fn lost(&self) -> EngineError {
        let reason = format!("the back end `{}` has lost the job; it was probably started again", self.name);
        EngineError::Unavailable { reason, retry_after: None }
    }
}

/// Waits until a program has said that the pictures are finished; for ever, if it says nothing.
async fn finished(log: &mut Option<watch::Receiver<Log>>) {
    let is_said = match log {
        Some(log) => log.wait_for(|log| log.is_finished).await.is_ok(),
        None => false,
    };
    if !is_said {
        std::future::pending::<()>().await;
    }
}

/// Returns the path of a job. What would lead elsewhere is not an id.
fn path(id: &str) -> Result<String, CallError> {
    let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match is_id {
        true => Ok(format!("sdcpp/v1/jobs/{id}")),
        false => Err(CallError::Unusable("it gives no id of the job".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_nowhere_else() {
        assert_eq!(path("job_6b0afa98_00000000"), Ok("sdcpp/v1/jobs/job_6b0afa98_00000000".to_owned()));
        assert!(["", "../x", "a/b", "a?b", "http:a"].iter().all(|id| path(id).is_err()));
    }
}
