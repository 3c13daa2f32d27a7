//! Turns a request into a task. Everything that can be rejected is rejected here, before anything is stored.

use std::sync::Arc;
use std::time::Duration;

use imgopen_engine::{EngineError, JobRequest, NamedModel, TaskOptions, Unavailable};
use imgopen_fetch::FetchError;
use imgopen_store::{Idempotency, KeyId, NewTask, NoRandomness, State, StoreError, Submitted, TaskId, TaskRow};
use imgopen_types::Operation;
use serde_json::Value;
use tokio::sync::broadcast;

use super::inputs;
use super::named::{self, Named};
use super::needs::{self, Needs};
use super::terms::Terms;
use crate::context::Context;
use crate::dispatch::{Full, Place, Slot};
use crate::loras::{self, NameError};
use crate::results;
use crate::settings::AssetSettings;

/// The header that makes a submit safe to repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header with directives for the sandbox.
pub const SANDBOX: &str = "x-sandbox";

/// The pause between two attempts to read a row.
const PAUSE: Duration = Duration::from_secs(1);

/// When to try again what a back end is needed for that has not answered yet.
const COMES: Duration = Duration::from_secs(10);

/// How often expired pictures are deleted.
const EXPIRY: Duration = Duration::from_secs(60);

/// How many ids are drawn for a task, of which each may be taken.
const IDS: usize = 3;

/// The largest number of characters of an `Idempotency-Key`.
const LONGEST_KEY: usize = 255;

/// A submit.
pub struct Submit {
    /// The access key of the caller.
    pub key: KeyId,
    /// The operation.
    pub operation: &'static Operation,
    /// The request in canonical form.
    pub request: Value,
    /// The value of the header `idempotency-key`.
    pub idempotency_key: Option<String>,
    /// The value of the header `x-sandbox`.
    pub directives: Option<String>,
}

/// Why a submit, or a wait for its result, is rejected. The texts are for the caller.
#[derive(Debug)]
pub enum Rejected {
    /// A header is invalid.
    Header(String),
    /// The request is invalid.
    Request(String),
    /// Another submit has used the id or the key before, or the task was cancelled.
    Conflict(String),
    /// The queue, or what is kept for the key, is full; try again after about this time.
    Full(String, Duration),
    /// The service or the engine cannot do it now.
    Unavailable(String),
    /// The same, and it makes sense to try again after about this time.
    Away(String, Duration),
    /// The machine cannot do it now, for a reason that may pass.
    NotNow(String),
    /// The task failed.
    Failed(String),
    /// The store failed.
    Store(StoreError),
    /// The service failed; its log has the reason.
    Broken,
}

impl From<StoreError> for Rejected {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Unavailable> for Rejected {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable.to_string())
    }
}

impl From<EngineError> for Rejected {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable { retry_after: Some(after), .. } => Self::Away(error.to_string(), after),
            EngineError::Unavailable { .. } | EngineError::Busy(_) | EngineError::Interrupted(_) => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Request(error.to_string()),
        }
    }
}

impl From<NameError> for Rejected {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Rejected(msg) => Self::Request(msg),
            NameError::Broken => Self::Broken,
        }
    }
}

impl From<NoRandomness> for Rejected {
    fn from(error: NoRandomness) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Accepts a task, or finds the one that the same submit started before.
pub async fn submit(context: &Arc<Context>, submit: Submit) -> Result<TaskRow, Rejected> {
    let Submit { key, operation, request, idempotency_key, directives } = submit;
    let now = context.clock.now();
    let mut needs = Needs {
        operation: operation.id,
        model: operation.model_of(&request),
        is_for_sandbox: directives.is_some(),
        terms: Terms::default(),
    };
    let options = TaskOptions { sandbox: directives };
    let mut task = NewTask {
        id: TaskId::new(now)?,
        key,
        operation: operation.id,
        needs: needs.to_text(),
        caller_id: operation.caller_id.and_then(|id| id.find(&request)).unwrap_or_default().to_owned(),
        unique_id: operation.caller_id.is_some_and(|id| id.unique),
        callback_url: inputs::callback(operation, &request).map(|named| named.url),
        request: request.to_string(),
        options: needs::write_options(&options).map_err(|_| Rejected::Broken)?,
        plan: None,
        reserves: None,
        // The machine that has what it made may be away, or other processes may not know of it yet.
        reserves_made: context.fleet.is_some(),
        created_at: now,
        idempotency: idempotency(context, idempotency_key)?,
    };
    // A repeated submit gets the first answer, even if engines, models or settings have changed since.
    if task.is_repeatable()
        && let Some(earlier) = context.store.repeated(task.clone()).await?
    {
        return answered(operation, &task, earlier);
    }
    if options.sandbox.is_some() && !context.settings.sandbox {
        let msg = format!("the header `{SANDBOX}` is for a service started with `--sandbox`; leave it out");
        return Err(Rejected::Header(msg));
    }
    context.health.room().await.map_err(Rejected::NotNow)?;
    let engines = context.engines.everywhere();
    let named = if context.fleet.is_some() { named::of(operation, &request) } else { Vec::new() };
    needs.terms.named = models(&named);
    let found = needs.find(&engines).map_err(|unavailable| match context.fleet {
        // A process that has it may start at any moment.
        Some(_) => Rejected::Away(unavailable.to_string(), COMES),
        None => unavailable.into(),
    })?;
    // A task waits for what went away. What never came may never come.
    let choice = match found.offer.is_known {
        true => found,
        false => found.there().map_err(|away| Rejected::Away(away.to_string(), COMES))?,
    };
    if results::makes_assets(&choice.offer) {
        context.health.bucket().await.map_err(Rejected::NotNow)?;
        check_kept(context, &task.key).await?;
    }
    let slot = match &context.fleet {
        None => Some(needs.slot_with(context, task.key.clone(), &choice)),
        Some(_) => {
            needs.terms = Terms::of(&engines, &choice, models(&named));
            task.needs = needs.to_text();
            let here = Some(&needs).filter(|_| context.settings.role.runs_tasks());
            here.and_then(|needs| needs.slot_here(context, task.key.clone()))
        }
    };
    let addresses = check_addresses(context, operation, &request);
    // Before the engine, which may know the LoRAs of all keys.
    loras::check_named(context, &task.key, &request).await?;
    named::check(&engines, &choice, &named).map_err(Rejected::Request)?;
    let engine = choice.engine;
    let request =
        JobRequest::new(task.id.as_str(), operation, request).with_options(options).with_key(task.key.as_str());
    engine.check(&request)?;
    addresses?;
    task.plan = engine.plan(&request).await?;
    if let Some(name) = loras::made_by(operation, task.plan.as_ref()) {
        loras::check_free(context, &name).await?;
        task.reserves = Some(name.to_lowercase());
    }
    for _ in 0..IDS {
        // Spawned, so that a disconnect cannot land between the insert and the queue's count.
        let stored = tokio::spawn(store(context.clone(), task.clone(), slot.clone())).await.map_err(|error| {
            tracing::error!(%error, "a submit panicked");
            Rejected::Broken
        })??;
        // A plan may name the id.
        if stored != Submitted::IdTaken || task.plan.is_some() {
            return answered(operation, &task, stored);
        }
        task.id = TaskId::new(now)?;
    }
    Err(no_id())
}

/// Ids have a moment and nine random digits.
fn no_id() -> Rejected {
    Rejected::NotNow("so many tasks are accepted at once that no id was free".to_owned())
}

fn models(named: &[Named]) -> Vec<NamedModel> {
    named.iter().map(|named| named.model.clone()).collect()
}

/// Takes a place in the queue. Of one that several processes share, the database counts the key's share if it is full.
async fn place(context: &Context, key: &KeyId) -> Result<Result<Place, Full>, StoreError> {
    let dispatch = &context.dispatch;
    match dispatch.place(key) {
        Err(_) if dispatch.is_shared() => {
            let share = context.store.queue_share(key.clone(), dispatch.length()).await?;
            Ok(dispatch.place_in_share(key, share))
        }
        placed => Ok(placed),
    }
}

/// Keeps the place of a task that is written. The slot is `None` if the task cannot run in this process.
fn keep(context: &Context, place: Place, slot: Option<&Slot>) {
    match slot {
        Some(slot) if !context.dispatch.is_shared() => place.keep(slot),
        slot => place.keep_shared(slot),
    }
}

/// Writes a task, or finds the one that the same submit started before.
async fn store(context: Arc<Context>, task: NewTask, slot: Option<Slot>) -> Result<Submitted, Rejected> {
    let place = match place(&context, &task.key).await? {
        Ok(place) => place,
        // A repeated submit is answered even if the queue is full.
        Err(full) => {
            let earlier = if task.is_repeatable() { context.store.repeated(task).await? } else { None };
            return earlier.ok_or_else(|| no_room(&context, full));
        }
    };
    let (operation, id) = (task.operation, task.id.clone());
    let error = match context.store.submit(task).await {
        Ok(submitted) => {
            if submitted == Submitted::New {
                keep(&context, place, slot.as_ref());
                context.metrics.accepted(operation);
            }
            return Ok(submitted);
        }
        Err(error) => error,
    };
    if error.may_be_done() {
        tokio::spawn(settle(context, id, place, slot));
    }
    Err(error.into())
}

/// Finds out whether a submit that returned an error was carried out. If so, its task runs like any other.
async fn settle(context: Arc<Context>, id: TaskId, place: Place, slot: Option<Slot>) {
    loop {
        match context.store.task(id.clone()).await {
            // Whatever its state is: a place without a task is dropped by the next claim.
            Ok(Some(_)) => return keep(&context, place, slot.as_ref()),
            Ok(None) => return,
            Err(_) => {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    // The next start finds it.
                    () = context.stopping.cancelled() => return,
                }
            }
        }
    }
}

fn no_room(context: &Context, full: Full) -> Rejected {
    let msg = format!("the queue is full: {} tasks wait; submit again later", full.queued);
    // At most a minute, because places become free one by one.
    let rounds = full.queued.div_ceil(context.settings.workers.max(1) * 100);
    Rejected::Full(msg, Duration::from_secs(rounds.clamp(1, 60) as u64))
}

/// Checks that what is kept of the key's results leaves room for more.
async fn check_kept(context: &Context, key: &KeyId) -> Result<(), Rejected> {
    let AssetSettings { lifetime, bytes_per_key: Some(limit) } = context.settings.assets else { return Ok(()) };
    let kept = context.store.kept_bytes(key.clone()).await?;
    if u64::try_from(kept).unwrap_or(0) < limit {
        return Ok(());
    }
    let way = match lifetime {
        Some(_) => "submit again when some of them have expired",
        None => "have the operator of the service allow more, or set `assets.lifetime`",
    };
    let msg = format!(
        "the result pictures of this key have {kept} bytes, and {limit} are kept (`assets.bytes_per_key`); {way}"
    );
    Err(Rejected::Full(msg, EXPIRY))
}

/// Checks every address of a request, as far as possible without connecting to it.
fn check_addresses(context: &Context, operation: &Operation, request: &Value) -> Result<(), Rejected> {
    let mut named = inputs::pictures(operation, request);
    named.extend(inputs::callback(operation, request));
    let rejected = |field: &str, error: FetchError| Rejected::Request(format!("`{field}`: {error}"));
    for named in named {
        context.fetcher.guard().check(&named.url).map_err(|error| rejected(&named.field, error))?;
    }
    Ok(())
}

fn idempotency(context: &Context, key: Option<String>) -> Result<Option<Idempotency>, Rejected> {
    let Some(key) = key else { return Ok(None) };
    let length = key.chars().count();
    if !(1..=LONGEST_KEY).contains(&length) {
        let msg =
            format!("the header `Idempotency-Key` has {length} characters; give 1 to {LONGEST_KEY}, such as a UUID");
        return Err(Rejected::Header(msg));
    }
    Ok(Some(Idempotency { key, expires_at: context.clock.now().plus(context.settings.requests.idempotency) }))
}

/// Returns the submit's own task, or the one that it repeats.
fn answered(operation: &Operation, task: &NewTask, submitted: Submitted) -> Result<TaskRow, Rejected> {
    match submitted {
        Submitted::New => Ok(task.row()),
        Submitted::Again(earlier) => Ok(*earlier),
        Submitted::Conflict(earlier) => Err(conflict(operation, task, &earlier)),
        Submitted::Reserved => Err(loras::taken(task.reserves.as_deref().unwrap_or_default()).into()),
        Submitted::IdTaken => Err(no_id()),
    }
}

fn conflict(operation: &Operation, task: &NewTask, earlier: &TaskRow) -> Rejected {
    let is_by_id = task.unique_id && earlier.operation == task.operation && earlier.caller_id == task.caller_id;
    let what = match operation.caller_id.filter(|_| is_by_id) {
        Some(id) => format!("`{}`: {:?} was already used", id.path.join("."), task.caller_id),
        None => "the header `Idempotency-Key` was already used".to_owned(),
    };
    let since = earlier.created_at.rfc3339();
    Rejected::Conflict(format!("{what} for another request, by the task {} of {since}; give another", earlier.id))
}

/// Waits for the end of a task, and returns its row if it has a result. `endings` was subscribed to before the task was
/// submitted, so that no end is missed.
pub async fn wait(
    context: &Context,
    mut endings: broadcast::Receiver<TaskId>,
    task: &TaskRow,
) -> Result<TaskRow, Rejected> {
    let ended = async {
        loop {
            let now = context.store.task(task.id.clone()).await?;
            if let Some(now) = now.filter(|now| now.state.is_final()) {
                return Ok::<_, Rejected>(now);
            }
            // An error means that endings were missed, so the row is read again.
            while matches!(endings.recv().await, Ok(id) if id != task.id) {}
        }
    };
    let limit = context.settings.requests.answer_time;
    tokio::select! {
        ended = tokio::time::timeout(limit, ended) => match ended {
            Ok(ended) => result(ended?),
            Err(_) => Err(not_yet(task, limit)),
        },
        () = context.ending.cancelled() => {
            let msg = format!("the service is stopping; the task {} continues after its next start", task.id);
            Err(Rejected::Unavailable(msg))
        }
    }
}

fn result(task: TaskRow) -> Result<TaskRow, Rejected> {
    match (task.state, &task.failure) {
        (State::Succeeded, _) => Ok(task),
        (State::Failed, Some(reason)) => Err(Rejected::Failed(format!("the task {} failed: {reason}", task.id))),
        (state, _) => Err(Rejected::Conflict(format!("the task {} ended as {state}", task.id))),
    }
}

fn not_yet(task: &TaskRow, limit: Duration) -> Rejected {
    let (id, seconds) = (&task.id, limit.as_secs_f64());
    Rejected::Unavailable(format!("the task {id} did not end within {seconds} s; it continues; query it by its id"))
}
