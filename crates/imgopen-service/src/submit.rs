//! From a request to a task: everything that can be refused is refused here, before anything is kept.

use std::time::Duration;

use imgopen_engine::{Choice, Grade, JobRequest, TaskOptions};
use imgopen_fetch::FetchError;
use imgopen_server::{Caller, Failure};
use imgopen_types::{Answer, Operation, Request, operations};
use serde_json::Value;

use crate::answers::{Report, accepted};
use crate::ids::{KeyId, TaskId};
use crate::inputs;
use crate::queue::Full;
use crate::service::Service;
use crate::state::State;
use crate::store::{NewTask, Remembered, Submitted, TaskRow};
use crate::training;

/// The header that makes a submit safe to repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header with orders to the sandbox.
pub const SANDBOX: &str = "x-sandbox";

/// The most characters of an `Idempotency-Key`.
const LONGEST_KEY: usize = 255;

impl Service {
    /// Accepts a job and answers with its ids.
    pub(crate) async fn start<T: Request>(&self, caller: &Caller, request: &T) -> Result<T::Response, Failure> {
        let outcome = self.submit(caller, T::operation(), request).await;
        if let Err(failure) = &outcome {
            self.inner.metrics.refused(T::operation().id, failure.status().as_u16());
        }
        accepted(&outcome?, self.urls()).map_err(|error| broken(&error))
    }

    /// Accepts a job whose result is the answer, and waits for it.
    pub(crate) async fn finish<T: Request>(&self, caller: &Caller, request: &T) -> Result<T::Response, Failure> {
        // Listening begins before the task does, so that no end is missed.
        let mut endings = self.inner.endings.subscribe();
        let task = match self.submit(caller, T::operation(), request).await {
            Ok(task) => task,
            Err(failure) => {
                self.inner.metrics.refused(T::operation().id, failure.status().as_u16());
                return Err(failure);
            }
        };
        let ended = async {
            loop {
                let now = self.inner.store.task(task.id.clone()).await?;
                if let Some(now) = now.filter(|now| now.state.is_final()) {
                    return Ok::<_, Failure>(now);
                }
                // Whoever misses an ending among many looks again.
                while matches!(endings.recv().await, Ok(id) if id != task.id) {}
            }
        };
        let limit = self.inner.settings.requests.answer_time;
        tokio::select! {
            ended = tokio::time::timeout(limit, ended) => match ended {
                Ok(ended) => self.result(&ended?),
                Err(_) => Err(not_yet(&task, limit)),
            },
            () = self.inner.ending.cancelled() => {
                let msg = format!("the service is stopping; the task {} goes on after its next start", task.id);
                Err(Failure::unavailable(msg))
            }
        }
    }

    fn result<T: Answer>(&self, task: &TaskRow) -> Result<T, Failure> {
        let report = Report { task, asked: &task.caller_id, live: None, urls: self.urls() };
        match (task.state, &task.failure) {
            (State::Succeeded, _) => report.answer().map_err(|error| broken(&error)),
            (State::Failed, Some(reason)) => Err(Failure::internal(format!("the task {} failed: {reason}", task.id))),
            (state, _) => Err(Failure::conflict(format!("the task {} ended as {state}", task.id))),
        }
    }

    async fn submit(
        &self,
        caller: &Caller,
        operation: &'static Operation,
        request: &impl serde::Serialize,
    ) -> Result<TaskRow, Failure> {
        let key = KeyId(caller.access_key_id().to_owned());
        let request = serde_json::to_value(request).map_err(|error| broken(&error))?;
        let now = self.inner.clock.now();
        let mut task = NewTask {
            id: TaskId::new(now).map_err(|error| Failure::internal(error.to_string()))?,
            key,
            operation: operation.id,
            caller_id: inputs::caller_id(&request).to_owned(),
            callback_url: inputs::callback(operation, &request).map(|named| named.url),
            request: request.to_string(),
            directives: caller.header(SANDBOX)?.map(str::to_owned),
            created_at: now,
            remembered: self.remembered(caller, operation)?,
            training: None,
        };
        // What was taken before is answered as it was then, though engines, models and settings may be others by now.
        if task.remembered != Remembered::No
            && let Some(earlier) = self.inner.store.repeated(task.clone()).await?
        {
            return answered(&task, earlier);
        }
        self.check_engine(&task.id, operation, &request, task.directives.as_deref())?;
        self.check_addresses(operation, &request)?;
        if *operation == operations::SUBMIT_TRAINING {
            let plan = training::planned(self, &task.id, &request).await;
            task.training = Some(plan.map_err(Failure::unprocessable)?);
        }
        // A caller who goes away must not leave a row behind that nobody counts as waiting, so this runs to its end.
        let service = self.clone();
        let kept = tokio::spawn(async move { service.keep(task).await }).await;
        kept.unwrap_or_else(|error| {
            tracing::error!(%error, "a submit broke off");
            Err(Failure::internal("the server failed on this request; its log tells more"))
        })
    }

    /// Writes a task, or finds the one that the same submit started before.
    async fn keep(&self, task: NewTask) -> Result<TaskRow, Failure> {
        let (place, full) = match self.inner.queue.place(&task.key) {
            Ok(place) => (Some(place), None),
            Err(full) => (None, Some(full)),
        };
        // A full queue takes nothing new, but it still answers what it took before.
        if let Some(full) = full.filter(|_| task.remembered == Remembered::No) {
            return Err(self.full(full));
        }
        let kept = match full {
            None => self.inner.store.submit(task.clone()).await?,
            Some(full) => self.inner.store.repeated(task.clone()).await?.ok_or_else(|| self.full(full))?,
        };
        if kept == Submitted::New {
            if let Some(place) = place {
                place.keep();
            }
            self.inner.metrics.accepted(task.operation);
        }
        answered(&task, kept)
    }

    fn full(&self, full: Full) -> Failure {
        let msg = format!("{} tasks wait, more than the queue takes; submit again later", full.queued);
        Failure::too_many_requests(msg, self.room_in())
    }

    /// Checks that an engine will take the request, with the orders to the sandbox that go with it.
    fn check_engine(
        &self,
        id: &TaskId,
        operation: &'static Operation,
        request: &Value,
        directives: Option<&str>,
    ) -> Result<(), Failure> {
        if directives.is_some() && !self.inner.settings.sandbox {
            let msg = format!("the header `{SANDBOX}` is for a service started with `--sandbox`; leave it out");
            return Err(Failure::bad_request(msg));
        }
        if *operation == operations::SUBMIT_TRAINING {
            return Ok(());
        }
        let choice = self.choose(operation.id, inputs::model(request), directives.is_some())?;
        let options = TaskOptions { sandbox: directives.map(str::to_owned) };
        let request = JobRequest::new(id.0.clone(), operation, request.clone()).with_options(options);
        choice.engine.check(&request).map(drop).map_err(|error| Failure::unprocessable(error.to_string()))
    }

    /// The engine for a request. One with orders to the sandbox goes there, whatever better engine there is.
    pub(crate) fn choose(&self, operation: &str, model: Option<&str>, to_sandbox: bool) -> Result<Choice, Failure> {
        let sandbox = || {
            let offers = self.inner.engines.offers(operation);
            offers.into_iter().find(|choice| to_sandbox && choice.offer.grade == Grade::Sandbox)
        };
        let choice = sandbox().map_or_else(|| self.inner.engines.pick(operation, model), Ok);
        choice.map_err(|unavailable| Failure::unavailable(unavailable.to_string()))
    }

    /// Looks at every address of a request as far as that goes without asking for it.
    fn check_addresses(&self, operation: &Operation, request: &Value) -> Result<(), Failure> {
        let mut named = inputs::pictures(operation, request);
        named.extend(inputs::callback(operation, request));
        let refuse = |field: &str, error: FetchError| Failure::unprocessable(format!("`{field}`: {error}"));
        for named in named {
            self.inner.fetcher.guard().check(&named.url).map_err(|error| refuse(&named.field, error))?;
        }
        Ok(())
    }

    fn remembered(&self, caller: &Caller, operation: &Operation) -> Result<Remembered, Failure> {
        let Some(key) = caller.header(IDEMPOTENCY_KEY)? else {
            let by_caller = *operation == operations::SUBMIT_TRAINING;
            return Ok(if by_caller { Remembered::ByCallerId } else { Remembered::No });
        };
        let length = key.chars().count();
        if !(1..=LONGEST_KEY).contains(&length) {
            let msg = format!(
                "the header `Idempotency-Key` has {length} characters; give 1 to {LONGEST_KEY}, such as a UUID"
            );
            return Err(Failure::bad_request(msg));
        }
        let expires_at = self.inner.clock.now().plus(self.inner.settings.requests.idempotency);
        Ok(match *operation == operations::SUBMIT_TRAINING {
            true => Remembered::ByBoth(key.to_owned(), expires_at),
            false => Remembered::ByKey(key.to_owned(), expires_at),
        })
    }
}

/// The row as it is written, without reading it back.
fn waiting(task: &NewTask) -> TaskRow {
    TaskRow {
        seq: 0,
        id: task.id.clone(),
        key: task.key.clone(),
        operation: task.operation.to_owned(),
        caller_id: task.caller_id.clone(),
        request: task.request.clone(),
        directives: task.directives.clone(),
        callback_url: task.callback_url.clone(),
        state: State::Queued,
        attempt: 0,
        output: None,
        failure: None,
        engine: None,
        grade: None,
        created_at: task.created_at,
        started_at: None,
        finished_at: None,
        training: task.training.clone(),
    }
}

/// The operation's id as the contract has it, which lives as long as the program.
pub(crate) fn operation_id(task: &TaskRow) -> &'static str {
    crate::answers::operation(task).map_or("unknown", |operation| operation.id)
}

/// What a submit is answered: its own task, or the one that it repeats.
fn answered(task: &NewTask, submitted: Submitted) -> Result<TaskRow, Failure> {
    match submitted {
        Submitted::New => Ok(waiting(task)),
        Submitted::Again(earlier) => Ok(*earlier),
        Submitted::Conflict(earlier) => Err(conflict(task, &earlier)),
    }
}

fn conflict(task: &NewTask, earlier: &TaskRow) -> Failure {
    let is_training = task.operation == operations::SUBMIT_TRAINING.id && earlier.operation == task.operation;
    let what = match is_training && earlier.caller_id == task.caller_id {
        true => format!("`taskId`: {:?} was used before", task.caller_id),
        false => "the header `Idempotency-Key` was used before".to_owned(),
    };
    let since = earlier.created_at.rfc3339();
    Failure::conflict(format!("{what} with another request, by the task {} of {since}; give another", earlier.id))
}

fn not_yet(task: &TaskRow, limit: Duration) -> Failure {
    let (id, seconds) = (&task.id, limit.as_secs_f64());
    Failure::unavailable(format!("the task {id} did not end within {seconds} s; it goes on, ask for it by its id"))
}

pub(crate) fn broken(error: &serde_json::Error) -> Failure {
    tracing::error!(%error, "an answer does not fit the contract");
    Failure::internal("the server failed on this request; its log tells more")
}
