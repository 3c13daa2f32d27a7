//! What the vendor's contract lacks, on the service: cancelling, lists, the log of callbacks, what the service can do.

use imgopen_engine::{Choice, ModelKind, Models};
use imgopen_server::{Caller, Credentials, Failure, ImgOpenExtras, types};
use imgopen_types::{Answer, Operation, operations};

use crate::clock::Moment;
use crate::ids::{CallbackId, KeyId, TaskId};
use crate::service::Service;
use crate::state::State;
use crate::store::{CallbackRow, CallbackState as Pushed, TaskFilter, TaskRow, Try};
use types::*;

/// The size of a page unless the caller says otherwise.
const PAGE: usize = 20;

impl ImgOpenExtras for Service {
    async fn authorize(&self, _: &'static Operation, credentials: &Credentials) -> Result<(), Failure> {
        self.admit(credentials).await
    }

    async fn cancel_task(&self, caller: Caller, request: CancelTaskRequest) -> Result<CancelTaskResponse, Failure> {
        // A caller who goes away must not stop it half-way, with the row changed and the engine at work.
        let (service, key) = (self.clone(), owner(&caller));
        let cancelled = tokio::spawn(async move { service.cancel(key, TaskId(request.task_id)).await }).await;
        cancelled.unwrap_or_else(|error| {
            tracing::error!(%error, "a cancel broke off");
            Err(Failure::internal("the server failed on this request; its log tells more"))
        })
    }

    async fn list_tasks(&self, caller: Caller, request: ListTasksRequest) -> Result<ListTasksResponse, Failure> {
        let filter = TaskFilter {
            id: request.task_id.map(TaskId),
            caller_id: request.caller_id,
            states: known(request.states.unwrap_or_default(), "states")?,
            operations: started_by(request.operations.unwrap_or_default())?,
            created_after: moment(request.created_after, "createdAfter")?,
            created_before: moment(request.created_before, "createdBefore")?,
        };
        let (key, size) = (owner(&caller), size(request.page_size));
        let before = match request.cursor {
            Some(id) => Some(self.inner.store.task_place(key.clone(), TaskId(id)).await?.ok_or_else(no_cursor)?),
            None => None,
        };
        let page = self.inner.store.list_tasks(key, filter, before, size).await?;
        let next_cursor = page.next.and(page.rows.last()).map(|task| task.id.0.clone());
        let rows = page.rows.iter().map(|task| self.told(task)).collect();
        Ok(ListTasksResponse::success(TaskPage { rows, next_cursor }))
    }

    async fn list_callbacks(
        &self,
        caller: Caller,
        request: ListCallbacksRequest,
    ) -> Result<ListCallbacksResponse, Failure> {
        let states = pushed_states(request.states.unwrap_or_default())?;
        let (key, size) = (owner(&caller), size(request.page_size));
        let before = match request.cursor {
            Some(id) => {
                Some(self.inner.store.callback_place(key.clone(), CallbackId(id)).await?.ok_or_else(no_cursor)?)
            }
            None => None,
        };
        let task = request.task_id.map(TaskId);
        let page = self.inner.store.list_callbacks(Some(key), task, states, before, size).await?;
        let next_cursor = page.next.and(page.rows.last()).map(|callback| callback.id.0.clone());
        let rows = page.rows.into_iter().map(delivery).collect();
        Ok(ListCallbacksResponse::success(CallbackPage { rows, next_cursor }))
    }

    async fn redeliver_callback(
        &self,
        caller: Caller,
        request: RedeliverCallbackRequest,
    ) -> Result<RedeliverCallbackResponse, Failure> {
        let id = CallbackId(request.callback_id);
        let found = self.inner.store.redeliver(Some(owner(&caller)), id.clone(), self.inner.clock.now()).await?;
        let callback = found.ok_or_else(|| Failure::not_found(format!("no callback has the id {id}; check the id")))?;
        self.inner.pushes.notify_one();
        Ok(RedeliverCallbackResponse::success(delivery(callback)))
    }

    async fn describe_server(&self, _: Caller, _: DescribeServerRequest) -> Result<DescribeServerResponse, Failure> {
        // Queries and lists are always there.
        let works = |operation: &Operation| operation.job.is_some() || *operation == operations::EXPAND_PROMPT;
        let working = operations::ALL.iter().filter(|operation| works(operation));
        Ok(DescribeServerResponse::success(Capabilities {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sandbox: self.inner.settings.sandbox,
            operations: working.map(|operation| self.support(operation)).collect(),
            limits: self.limits(),
        }))
    }
}

impl Service {
    async fn cancel(&self, key: KeyId, id: TaskId) -> Result<CancelTaskResponse, Failure> {
        let inner = &self.inner;
        let engine = inner.running.live(&id, self.urls()).and_then(|live| live.engine);
        let cancelled = inner.store.cancel(key.clone(), id.clone(), engine, inner.clock.now(), self.callback()).await?;
        let (task, before) = match cancelled {
            Some(Ok(cancelled)) => cancelled,
            Some(Err(task)) => {
                let msg = format!("the task {id} has ended already, as {}; there is nothing to cancel", task.state);
                return Err(Failure::conflict(msg));
            }
            None => return Err(Failure::not_found(format!("no task has the id {id}; check the id"))),
        };
        match before {
            State::Queued => inner.queue.left(&key),
            _ => inner.running.cancel(&id),
        }
        self.ended(&task);
        Ok(CancelTaskResponse::success(self.told(&task)))
    }

    /// A task as its owner sees it.
    fn told(&self, task: &TaskRow) -> Task {
        let live = match task.state {
            State::Running => self.inner.running.live(&task.id, self.urls()),
            _ => None,
        };
        let counted = live.as_ref().filter(|live| live.steps > 0);
        let progress = match task.state {
            State::Succeeded => 100.0,
            _ => live.as_ref().map_or(0.0, |live| live.percent),
        };
        let (engine, grade) = live.as_ref().and_then(|live| live.engine.clone()).unzip();
        let urls = task
            .output
            .as_ref()
            .filter(|output| !output.pictures.is_empty())
            .map(|output| output.pictures.iter().map(|picture| self.urls().asset(&picture.token)).collect());
        Task {
            task_id: task.id.0.clone(),
            caller_id: Some(task.caller_id.clone()).filter(|id| !id.is_empty()),
            operation: task.operation.clone(),
            state: TaskState::from(task.state.as_str()),
            progress,
            step: counted.map(|live| i64::from(live.step)),
            steps: counted.map(|live| i64::from(live.steps)),
            attempts: task.attempt,
            engine: task.engine.clone().or(engine),
            grade: task.grade.as_deref().or(grade).map(EngineGrade::from),
            desc: task.failure.clone().unwrap_or_else(|| task.state.as_str().to_owned()),
            created_at: task.created_at.rfc3339(),
            started_at: task.started_at.map(Moment::rfc3339),
            finished_at: task.finished_at.map(Moment::rfc3339),
            output_image_url_list: urls,
            training: task.training.clone().map(|plan| TrainingPlan { folder: plan.folder, command: plan.command }),
        }
    }

    fn support(&self, operation: &Operation) -> OperationSupport {
        let offers = self.inner.engines.offers(operation.id);
        let missing = self.inner.engines.pick(operation.id, None).err().map(|unavailable| unavailable.to_string());
        OperationSupport {
            operation: operation.id.to_owned(),
            available: missing.is_none(),
            engines: offers.iter().map(offer).collect(),
            missing,
            time_limit_seconds: seconds(self.inner.settings.time_limit(operation.id)),
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.inner.settings;
        let (queued, _) = self.inner.queue.counts();
        Limits {
            queue_length: number(settings.queue.length),
            queued: number(queued),
            concurrency_per_key: number(settings.running_per_key()),
            requests_per_minute_per_key: settings.requests.per_minute.map(|count| i64::from(u32::from(count))),
            picture_bytes: number(settings.pictures.bytes),
            picture_pixels: number(settings.pictures.pixels),
            asset_lifetime_seconds: settings.assets.lifetime.map(seconds),
            body_bytes: number(settings.requests.body_bytes),
        }
    }
}

fn owner(caller: &Caller) -> KeyId {
    KeyId(caller.access_key_id().to_owned())
}

fn offer(choice: &Choice) -> EngineOffer {
    let models = match &choice.offer.models {
        Models::Any => None,
        Models::Listed(models) => {
            let checkpoints = models.iter().filter(|model| model.kind == ModelKind::Checkpoint);
            Some(checkpoints.map(|model| model.name.clone()).collect())
        }
    };
    let values: Vec<_> = choice.offer.values.iter().map(field_values).collect();
    EngineOffer {
        name: choice.engine.name().to_owned(),
        grade: EngineGrade::from(choice.offer.grade.as_str()),
        models,
        values: Some(values).filter(|values| !values.is_empty()),
    }
}

fn field_values(of: &imgopen_engine::FieldValues) -> FieldValues {
    FieldValues { field: of.field.to_owned(), values: of.values.clone() }
}

fn delivery(callback: CallbackRow) -> CallbackDelivery {
    CallbackDelivery {
        callback_id: callback.id.0,
        task_id: callback.task.0,
        url: callback.url,
        state: CallbackState::from(callback.state.as_str()),
        created_at: callback.created_at.rfc3339(),
        next_try_at: callback.next_at.map(Moment::rfc3339),
        tries: callback.tries.into_iter().map(one_try).collect(),
    }
}

fn one_try(one: Try) -> CallbackTry {
    let Try { number, started_at, duration_ms, http_status, outcome } = one;
    CallbackTry { number, started_at: started_at.rfc3339(), duration_ms, http_status, outcome }
}

/// The states that were asked for; the contract leaves their set open, the service knows which there are.
fn known(states: Vec<TaskState>, field: &str) -> Result<Vec<State>, Failure> {
    let read = |state: &TaskState| state.as_str().parse::<State>();
    let states = states.iter().map(read).collect::<Result<_, _>>();
    states.map_err(|error| Failure::unprocessable(format!("`{field}`: {error}")))
}

fn started_by(ids: Vec<String>) -> Result<Vec<String>, Failure> {
    let unknown = ids.iter().find(|id| operations::ALL.iter().all(|operation| operation.id != **id));
    match unknown {
        Some(id) => Err(Failure::unprocessable(format!("`operations`: no operation has the id {id:?}; see `/docs`"))),
        None => Ok(ids),
    }
}

fn pushed_states(states: Vec<CallbackState>) -> Result<Vec<Pushed>, Failure> {
    let read = |state: &CallbackState| {
        let found = Pushed::ALL.into_iter().find(|known| known.as_str() == state.as_str());
        let unknown =
            || format!("`states`: {:?} is no state; use one of pending, acknowledged, abandoned", state.as_str());
        found.ok_or_else(|| Failure::unprocessable(unknown()))
    };
    states.iter().map(read).collect()
}

fn moment(text: Option<String>, field: &str) -> Result<Option<Moment>, Failure> {
    let read = |text: String| {
        let wrong = |_| format!("`{field}`: {text:?} is no time; give RFC 3339, such as \"2026-01-31T08:00:00Z\"");
        Moment::parse(&text).map_err(wrong).map_err(Failure::unprocessable)
    };
    text.map(read).transpose()
}

fn no_cursor() -> Failure {
    Failure::unprocessable("`cursor`: not one of this list; give `nextCursor` of the answer before")
}

fn size(asked: Option<i64>) -> usize {
    asked.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE)
}

fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn seconds(duration: std::time::Duration) -> i64 {
    number(duration.as_secs_f64().ceil() as u64)
}
