//! The operations that the vendor's contract lacks: cancelling, lists, deliveries of callbacks, capabilities.

use imgopen_engine::{BackendStatus, Described, ModelKind, Models, Unavailable};
use imgopen_server::{Caller, Credentials, Failure, ImgOpenExtras, types};
use imgopen_store::{
    CallbackFilter, CallbackId, CallbackRow, CallbackState as Delivered, DeliveryAttempt, KeyId, Moment, State,
    StoreError, TaskFilter, TaskId, TaskRow,
};
use imgopen_types::{Answer, Operation, operations};
use types::*;

use super::{Api, failures};
use crate::context::Context;
use crate::fleet::{self, progress};
use crate::live::Live;
use crate::tasks::cancel::{self, Cancelled};

/// The default size of a page.
const PAGE: usize = 20;

impl ImgOpenExtras for Api {
    async fn authorize(&self, _: &'static Operation, credentials: &Credentials) -> Result<(), Failure> {
        self.admit(credentials).await
    }

    async fn cancel_task(&self, caller: Caller, request: CancelTaskRequest) -> Result<CancelTaskResponse, Failure> {
        let (context, key, id) = (self.context.clone(), owner(&caller), TaskId(request.task_id));
        // Spawned, so that a disconnect cannot land between the change of the row and the engine's cancellation.
        let cancelled = tokio::spawn({
            let id = id.clone();
            async move { cancel::cancel(&context, &key, &id).await }
        });
        let cancelled = cancelled.await.map_err(|error| failures::of_panic("a cancel", &error))?;
        match cancelled.map_err(failures::of_store)? {
            Cancelled::Now(task) => Ok(CancelTaskResponse::success(self.listed(&task, None))),
            Cancelled::Before(task) => {
                let msg = format!("the task {id} has already ended as {}; there is nothing to cancel", task.state);
                Err(Failure::conflict(msg))
            }
            Cancelled::Unknown => Err(Failure::not_found(format!("no task has the id {id}; check the id"))),
        }
    }

    async fn list_tasks(&self, caller: Caller, request: ListTasksRequest) -> Result<ListTasksResponse, Failure> {
        let filter = TaskFilter {
            id: request.task_id.map(TaskId),
            caller_id: request.caller_id,
            states: task_states(request.states.unwrap_or_default(), "states")?,
            operations: operation_ids(request.operations.unwrap_or_default())?,
            created_after: moment(request.created_after, "createdAfter")?,
            created_before: moment(request.created_before, "createdBefore")?,
        };
        let (key, size) = (owner(&caller), size(request.page_size));
        let before = match request.cursor {
            Some(id) => {
                let place = self.context.store.task_place(key.clone(), TaskId(id)).await.map_err(failures::of_store)?;
                Some(place.ok_or_else(no_cursor)?)
            }
            None => None,
        };
        let page = self.context.store.list_tasks(key, filter, before, size).await.map_err(failures::of_store)?;
        let next_cursor = page.next.and(page.rows.last()).map(|task| task.id.0.clone());
        let live = progress::of_all(&self.context, &page.rows).await;
        let rows = page.rows.iter().map(|task| self.listed(task, live.get(&task.id))).collect();
        Ok(ListTasksResponse::success(TaskPage { rows, next_cursor }))
    }

    async fn list_callbacks(
        &self,
        caller: Caller,
        request: ListCallbacksRequest,
    ) -> Result<ListCallbacksResponse, Failure> {
        let store = &self.context.store;
        let states = callback_states(request.states.unwrap_or_default())?;
        let (key, size) = (owner(&caller), size(request.page_size));
        let before = match request.cursor {
            Some(id) => {
                let place = store.callback_place(key.clone(), CallbackId(id)).await.map_err(failures::of_store)?;
                Some(place.ok_or_else(no_cursor)?)
            }
            None => None,
        };
        let filter = CallbackFilter { key: Some(key), task: request.task_id.map(TaskId), states };
        let page = store.list_callbacks(filter, before, size).await.map_err(failures::of_store)?;
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
        let now = self.context.clock.now();
        let found = self.context.store.redeliver(Some(owner(&caller)), id.clone(), now).await;
        let found = found.map_err(failures::of_store)?;
        let callback = found.ok_or_else(|| Failure::not_found(format!("no callback has the id {id}; check the id")))?;
        self.context.pushes.notify_one();
        Ok(RedeliverCallbackResponse::success(delivery(callback)))
    }

    async fn describe_server(
        &self,
        caller: Caller,
        _: DescribeServerRequest,
    ) -> Result<DescribeServerResponse, Failure> {
        // Queries and lists are always available.
        let works = |operation: &Operation| operation.job.is_some() || *operation == operations::EXPAND_PROMPT;
        let working = operations::ALL.iter().filter(|operation| works(operation));
        let audit = self.context.settings.safety.policy(&owner(&caller)).action;
        Ok(DescribeServerResponse::success(Capabilities {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sandbox: self.context.settings.sandbox,
            audit: Some(AuditAction::from(audit.as_str())),
            operations: working.map(|operation| self.support(operation)).collect(),
            limits: self.limits(self.running_per_key().await.map_err(failures::of_store)?),
        }))
    }
}

impl Api {
    /// Returns a task as lists show it, with its progress if it runs.
    fn listed(&self, task: &TaskRow, live: Option<&Live>) -> Task {
        let urls = self.context.urls();
        let counted = live.filter(|live| live.steps > 0);
        let progress = match task.state {
            State::Succeeded => 100.0,
            _ => live.map_or(0.0, |live| live.percent),
        };
        let (engine, grade) = live.and_then(|live| live.engine.clone()).unzip();
        let output = task.output.as_ref().filter(|output| !output.pictures.is_empty());
        let pictures = output.map(|output| output.pictures.iter().map(|picture| urls.asset(&picture.token)).collect());
        let output = task.output.as_ref().filter(|output| !output.files.is_empty());
        let files = output.map(|output| output.files.iter().map(|file| urls.asset(&file.token)).collect());
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
            grade: task.grade.as_deref().or(grade.as_deref()).map(EngineGrade::from),
            desc: task.failure.clone().unwrap_or_else(|| task.state.as_str().to_owned()),
            created_at: task.created_at.rfc3339(),
            started_at: task.started_at.map(Moment::rfc3339),
            finished_at: task.finished_at.map(Moment::rfc3339),
            output_image_url_list: pictures,
            notes: task.output.as_ref().map(|output| output.notes.clone()).filter(|notes| !notes.is_empty()),
            output_file_url_list: files,
            training: training_plan(task),
        }
    }

    fn support(&self, operation: &'static Operation) -> OperationSupport {
        let engines = self.context.engines.everywhere();
        let mut offers = engines.described(operation);
        offers.retain(|described| !described.offer.prepares_only);
        let picked = match offers.is_empty() {
            true => Err(Unavailable::Operation { operation: operation.id.to_owned() }),
            false => engines.pick(operation.id, None),
        };
        let missing = picked.err().map(|unavailable| unavailable.to_string());
        OperationSupport {
            operation: operation.id.to_owned(),
            available: missing.is_none(),
            engines: offers.into_iter().map(offer).collect(),
            missing,
            time_limit_seconds: seconds(self.context.settings.time_limit(operation.id)),
        }
    }

    /// Returns how many tasks of a key run at once, in all processes that run tasks.
    async fn running_per_key(&self) -> Result<usize, StoreError> {
        let Context { settings, store, fleet, .. } = &*self.context;
        match fleet {
            None => Ok(settings.running_per_key(settings.workers)),
            Some(_) => Ok(usize::try_from(fleet::running_per_key(&store.owners().await?)).unwrap_or(usize::MAX)),
        }
    }

    fn limits(&self, running_per_key: usize) -> Limits {
        let settings = &self.context.settings;
        let (queued, _) = self.context.dispatch.counts();
        Limits {
            queue_length: number(settings.queue.length),
            queued: number(queued),
            concurrency_per_key: number(running_per_key),
            requests_per_minute_per_key: settings.requests.per_minute.map(|count| i64::from(u32::from(count))),
            picture_bytes: number(settings.pictures.bytes),
            picture_pixels: number(settings.pictures.pixels),
            asset_lifetime_seconds: settings.assets.lifetime.map(seconds),
            body_bytes: number(settings.requests.body_bytes),
        }
    }
}

/// Returns the plan of a training; `None` for other operations.
fn training_plan(task: &TaskRow) -> Option<TrainingPlan> {
    let plan = task.plan.clone().filter(|_| task.operation == operations::SUBMIT_TRAINING.id)?;
    let plan: imgopen_trainer::TrainingPlan = serde_json::from_value(plan).ok()?;
    Some(TrainingPlan { folder: plan.folder, command: plan.command })
}

fn owner(caller: &Caller) -> KeyId {
    KeyId(caller.access_key_id().to_owned())
}

fn offer(described: Described) -> EngineOffer {
    let Described { name, offer, nets, backends } = described;
    let models = match &offer.models {
        // Requests do not name them, but operators see here that their files count.
        Models::Any => Some(nets).filter(|nets| !nets.is_empty()),
        Models::Listed(models) => {
            let checkpoints = models.iter().filter(|model| model.kind == ModelKind::Checkpoint);
            Some(checkpoints.map(|model| model.name.clone()).collect())
        }
    };
    let values: Vec<_> = offer.values.iter().map(field_values).collect();
    let serves = |backend: &BackendStatus| backend.operations.contains(&offer.operation.id);
    let backends: Vec<_> = backends.into_iter().filter(serves).map(backend).collect();
    EngineOffer {
        name,
        grade: EngineGrade::from(offer.grade.as_str()),
        models,
        values: Some(values).filter(|values| !values.is_empty()),
        away: offer.away.clone(),
        backends: Some(backends).filter(|backends| !backends.is_empty()),
    }
}

fn backend(BackendStatus { name, program, version, away, .. }: BackendStatus) -> Backend {
    Backend { name, program, version, away }
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
        tries: callback.tries.into_iter().map(delivery_attempt).collect(),
    }
}

fn delivery_attempt(attempt: DeliveryAttempt) -> CallbackTry {
    let DeliveryAttempt { number, started_at, duration_ms, http_status, outcome } = attempt;
    CallbackTry { number, started_at: started_at.rfc3339(), duration_ms, http_status, outcome }
}

/// Reads states of tasks. The contract leaves their set open, so unknown ones are rejected here.
fn task_states(states: Vec<TaskState>, field: &str) -> Result<Vec<State>, Failure> {
    let read = |state: &TaskState| state.as_str().parse::<State>();
    let states = states.iter().map(read).collect::<Result<_, _>>();
    states.map_err(|error| Failure::unprocessable(format!("`{field}`: {error}")))
}

fn operation_ids(ids: Vec<String>) -> Result<Vec<String>, Failure> {
    let unknown = ids.iter().find(|id| operations::ALL.iter().all(|operation| operation.id != **id));
    match unknown {
        Some(id) => Err(Failure::unprocessable(format!("`operations`: no operation has the id {id:?}; see `/docs`"))),
        None => Ok(ids),
    }
}

fn callback_states(states: Vec<CallbackState>) -> Result<Vec<Delivered>, Failure> {
    let read = |state: &CallbackState| {
        let found = Delivered::ALL.into_iter().find(|known| known.as_str() == state.as_str());
        let unknown =
            || format!("`states`: {:?} is not a state; use one of pending, acknowledged, abandoned", state.as_str());
        found.ok_or_else(|| Failure::unprocessable(unknown()))
    };
    states.iter().map(read).collect()
}

fn moment(text: Option<String>, field: &str) -> Result<Option<Moment>, Failure> {
    let read = |text: String| {
        let to_problem =
            |_| format!("`{field}`: {text:?} is not a time; give RFC 3339, such as \"2026-01-31T08:00:00Z\"");
        Moment::parse(&text).map_err(to_problem).map_err(Failure::unprocessable)
    };
    text.map(read).transpose()
}

fn no_cursor() -> Failure {
    Failure::unprocessable("`cursor`: not a cursor of this list; give `nextCursor` of the previous page")
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
