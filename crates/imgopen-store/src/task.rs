//! Tasks as rows, and what is done to them.

use std::time::Duration;

use serde_json::Value;

use crate::clock::Moment;
use crate::ids::{KeyId, OwnerId, RunId, TaskId};
use crate::output::TaskOutput;
use crate::state::State;
use crate::{NewAsset, NewCallback};

/// A task as its row holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// The place in the order of acceptance.
    pub seq: i64,
    /// The platform's id.
    pub id: TaskId,
    /// The access key that submitted it.
    pub key: KeyId,
    /// The id of its operation, such as `enlarge_image`.
    pub operation: String,
    /// What a worker must be able to do to run it, such as the operation with a model. Opaque to the store.
    pub needs: String,
    /// The caller's own id; empty if there is none.
    pub caller_id: String,
    /// The request as canonical JSON. Empty in lists, because it may be long.
    pub request: String,
    /// What travels with the task beside its request. Opaque to the store.
    pub options: Option<Value>,
    /// What was worked out at submit for the run. Opaque to the store.
    pub plan: Option<Value>,
    /// The address that its end is pushed to.
    pub callback_url: Option<String>,
    /// The current state.
    pub state: State,
    /// How many runs count; those that were handed back do not.
    pub attempt: i64,
    /// The current run, or the last one if the task has ended.
    pub run: Option<RunId>,
    /// The owner of that run.
    pub owner: Option<OwnerId>,
    /// The result, if it succeeded.
    pub output: Option<TaskOutput>,
    /// Why it ended without a result.
    pub failure: Option<String>,
    /// The name of the engine that made the result, or was at work when the task ended.
    pub engine: Option<String>,
    /// That engine's grade.
    pub grade: Option<String>,
    /// When it was accepted.
    pub created_at: Moment,
    /// When its last run began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// How many of its runs were handed back because of a fault of the server.
    pub deferrals: i64,
    /// When the last of them was.
    pub deferred_at: Option<Moment>,
    /// How long the task's runs had met faults by then; see [`HandBack::deferred_for`].
    pub deferred_for: Duration,
    /// How many times the process died while this was its only run.
    pub crashes_alone: i64,
}

/// How a task ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// With a result.
    Succeeded(TaskOutput),
    /// Without a result, for this reason.
    Failed(String),
    /// At the caller's request.
    Cancelled,
}

impl TaskRow {
    /// Returns the row as it will be once the task has ended so.
    #[must_use]
    pub fn ended(mut self, ending: Ending, engine: Option<(String, String)>, now: Moment) -> Self {
        (self.state, self.output, self.failure) = match ending {
            Ending::Succeeded(output) => (State::Succeeded, Some(output), None),
            Ending::Failed(reason) => (State::Failed, None, Some(reason)),
            Ending::Cancelled => (State::Cancelled, None, Some("cancelled by the caller".to_owned())),
        };
        (self.engine, self.grade) = engine.unzip();
        self.finished_at = Some(now);
        self
    }
}

/// A task to be accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// The platform's id, made by the caller of the store so that a submit can be repeated.
    pub id: TaskId,
    /// The access key that submits it.
    pub key: KeyId,
    /// The id of its operation.
    pub operation: &'static str,
    /// What a worker must be able to do to run it.
    pub needs: String,
    /// The caller's own id; empty if there is none.
    pub caller_id: String,
    /// Whether that id is unique among the key's tasks of this operation. A submit that repeats it finds the earlier task.
    pub unique_id: bool,
    /// The request as canonical JSON.
    pub request: String,
    /// What travels with the task beside its request.
    pub options: Option<Value>,
    /// What was worked out at submit for the run.
    pub plan: Option<Value>,
    /// A name that no other active task may reserve, such as that of what it makes. It is free once the task has ended.
    pub reserves: Option<String>,
    /// Whether a name is taken that a task reserved which has succeeded, too: what that made may be out of sight.
    pub reserves_made: bool,
    /// The address that its end is pushed to.
    pub callback_url: Option<String>,
    /// When it is accepted.
    pub created_at: Moment,
    /// What makes the submit safe to repeat, if the caller sent it.
    pub idempotency: Option<Idempotency>,
}

/// A key that the caller chose for a submit. A submit with the same key finds the earlier task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key. Each access key has its own.
    pub key: String,
    /// When it is forgotten.
    pub expires_at: Moment,
}

impl NewTask {
    /// Makes a task without anything optional. What it needs is its operation.
    pub fn new(
        id: TaskId,
        key: KeyId,
        operation: &'static str,
        request: impl Into<String>,
        created_at: Moment,
    ) -> Self {
        Self {
            id,
            key,
            operation,
            needs: operation.to_owned(),
            caller_id: String::new(),
            unique_id: false,
            request: request.into(),
            options: None,
            plan: None,
            reserves: None,
            reserves_made: false,
            callback_url: None,
            created_at,
            idempotency: None,
        }
    }

    /// Whether the submit may be the repetition of an earlier one.
    pub fn is_repeatable(&self) -> bool {
        self.unique_id || self.idempotency.is_some()
    }

    /// Returns the row as it is written, but for `seq`, which only the store knows.
    pub fn row(&self) -> TaskRow {
        TaskRow {
            seq: 0,
            id: self.id.clone(),
            key: self.key.clone(),
            operation: self.operation.to_owned(),
            needs: self.needs.clone(),
            caller_id: self.caller_id.clone(),
            request: self.request.clone(),
            options: self.options.clone(),
            plan: self.plan.clone(),
            callback_url: self.callback_url.clone(),
            state: State::Queued,
            attempt: 0,
            run: None,
            owner: None,
            output: None,
            failure: None,
            engine: None,
            grade: None,
            created_at: self.created_at,
            started_at: None,
            finished_at: None,
            deferrals: 0,
            deferred_at: None,
            deferred_for: Duration::ZERO,
            crashes_alone: 0,
        }
    }
}

/// The outcome of a submit.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A new task.
    New,
    /// The task that the same submit started before.
    Again(Box<TaskRow>),
    /// The task of another submit, which has used the id or the idempotency key before.
    Conflict(Box<TaskRow>),
    /// An active task, of any key, has reserved the same name, or one that has succeeded. Nothing was accepted.
    Reserved,
    /// Another task has the id. Nothing was accepted; draw another one.
    IdTaken,
}

/// A claim: the oldest of the key's queued tasks with these needs becomes this run of this owner. For each run that was
/// handed back because of a fault, a task counts as accepted 64 tasks later, so that one that always meets faults does not
/// keep the others from their turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The access key to run a task of.
    pub key: KeyId,
    /// What the task is to need.
    pub needs: String,
    /// The run that begins.
    pub run: RunId,
    /// The owner of the run. It must be registered, and not draining.
    pub owner: OwnerId,
    /// When the run begins.
    pub now: Moment,
    /// Only this task, if any.
    pub only: Option<TaskId>,
}

/// The return of a run to the queue, uncounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandBack {
    /// The task.
    pub task: TaskId,
    /// The run, which is noted as orphaned.
    pub run: RunId,
    /// Whether a fault of the server ended the run, rather than an orderly stop. Faults are counted in
    /// [`TaskRow::deferrals`].
    pub is_fault: bool,
    /// How long the task's runs have met faults, this one included, as far as the service measured it. Ignored unless a fault
    /// ended the run.
    pub deferred_for: Duration,
    /// When it ended.
    pub now: Moment,
}

/// The end of a task, with all that becomes visible together with it.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// The state that the task was seen in. Together with the row's `run` it is the guard: a task that is not in that
    /// state and run any more stays as it is.
    pub before: State,
    /// The row as it will be; see [`TaskRow::ended`].
    pub task: TaskRow,
    /// The pictures of the result.
    pub assets: Vec<NewAsset>,
    /// The message to push.
    pub callback: Option<NewCallback>,
    /// Whether the run may have left files that are not among the assets. Its id is noted among the orphaned runs.
    pub orphans_run: bool,
}

/// Which tasks are listed.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only the task of this id.
    pub id: Option<TaskId>,
    /// Only tasks of this caller's id.
    pub caller_id: Option<String>,
    /// Only tasks in one of these states; empty for any.
    pub states: Vec<State>,
    /// Only tasks of one of these operations; empty for any.
    pub operations: Vec<String>,
    /// Only tasks accepted then or later.
    pub created_after: Option<Moment>,
    /// Only tasks accepted before.
    pub created_before: Option<Moment>,
}

/// A query for one task of a key.
#[derive(Debug, Clone)]
pub struct Find {
    /// The access key that asks.
    pub key: KeyId,
    /// The platform's id of exactly that task, or else the caller's id, of which the newest task is found.
    pub id: String,
    /// Only tasks of these operations are found.
    pub operations: &'static [&'static str],
    /// Only tasks in one of these states are found.
    pub states: &'static [State],
}

/// The most bytes of text in the rows of a [`Page`]. A page ends before the row that would exceed it, unless it is the first.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows of this part, in the order of the list.
    pub rows: Vec<T>,
    /// Where the next part begins, if there is one.
    pub next: Option<i64>,
}

/// Ended tasks whose rows may be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletable {
    /// Their ids.
    pub tasks: Vec<TaskId>,
    /// Where the search continues, if there may be more: behind a task by the time of its end and its `seq`.
    pub next: Option<(Moment, i64)>,
}

/// Queued tasks that wait for the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// What a worker must be able to do.
    pub needs: String,
    /// The access key.
    pub key: KeyId,
    /// The number of tasks, at least 1.
    pub count: usize,
    /// The place of the oldest of them in the order of acceptance.
    pub first: i64,
}

/// The most tasks that are counted of a lane that [`Store::waiting`](crate::Store::waiting) lists.
pub const COUNTED: usize = 64;

/// A query for lanes of queued tasks that need the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What the tasks need.
    pub needs: String,
    /// The key behind which the list begins. It goes round: behind the last key comes the first.
    pub after: Option<KeyId>,
    /// How many lanes are listed at most.
    pub most: usize,
}

/// How much of the queue belongs to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyShare {
    /// The key's queued tasks.
    pub own: usize,
    /// The keys that have any.
    pub keys: usize,
}
