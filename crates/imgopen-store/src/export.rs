//! Rows on their way from one store into another: what is read, in which order, and who takes it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Moment;
use crate::error::StoreError;
use crate::ids::{AssetToken, CallbackId, KeyId, TaskId};
use crate::{AssetRow, CallbackRow, DeliveryAttempt, Idempotency, KeyRow, Note, OrphanedRun, Store, TaskRow};

/// A kind of rows. What belongs to processes is none: owners, duties, claims of callbacks and progress mean nothing to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// Single values of the service.
    Notes,
    /// Access keys, [`KeyId::OPEN`] included.
    Keys,
    /// Tasks.
    Tasks,
    /// Answers to submits with an idempotency key.
    Idempotency,
    /// Assets.
    Assets,
    /// Callbacks.
    Callbacks,
    /// Delivery attempts.
    Attempts,
    /// Runs that may have left files.
    OrphanedRuns,
    /// Files that are still to be deleted.
    ExpiredFiles,
}

impl RowKind {
    /// Every kind, in an order in which no row refers to a later one.
    pub const ALL: [Self; 9] = [
        Self::Notes,
        Self::Keys,
        Self::Tasks,
        Self::Idempotency,
        Self::Assets,
        Self::Callbacks,
        Self::Attempts,
        Self::OrphanedRuns,
        Self::ExpiredFiles,
    ];

    /// The kind that follows, if there is one.
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind > self)
    }

    /// The kind's name in reports, such as `delivery attempts`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notes => "notes",
            Self::Keys => "keys",
            Self::Tasks => "tasks",
            Self::Idempotency => "idempotency keys",
            Self::Assets => "assets",
            Self::Callbacks => "callbacks",
            Self::Attempts => "delivery attempts",
            Self::OrphanedRuns => "orphaned runs",
            Self::ExpiredFiles => "expired files",
        }
    }
}

impl fmt::Display for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an export goes on: behind the last row that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The kind of the rows that follow.
    pub kind: RowKind,
    /// The id of the last row; empty before the first, and for kinds that are ordered by `number` alone.
    pub id: String,
    /// The rest of that id, where two texts make it.
    pub rest: String,
    /// The place of the last row, or the number of the delivery attempt; 0 before the first.
    pub number: i64,
}

impl Cursor {
    /// Before the first row of a kind.
    pub fn before(kind: RowKind) -> Self {
        Self { kind, id: String::new(), rest: String::new(), number: 0 }
    }
}

/// A task with what [`TaskRow`] leaves out. One that was running is queued: its process is dead, or there would be no export.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedTask {
    /// The row.
    pub row: TaskRow,
    /// Whether the caller's id is unique among the key's tasks of this operation.
    pub unique_id: bool,
    /// The name that no other active task may reserve.
    pub reserves: Option<String>,
}

/// The answer to a submit with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedAnswer {
    /// The access key.
    pub key: KeyId,
    /// The task that the submit started.
    pub task: TaskId,
    /// The idempotency key, and when it is forgotten.
    pub idempotency: Idempotency,
}

/// An asset with its token, its task, and the access key of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedAsset {
    /// The token.
    pub token: AssetToken,
    /// The task.
    pub task: TaskId,
    /// The access key.
    pub key: KeyId,
    /// The row.
    pub row: AssetRow,
}

/// A callback without its delivery attempts, and with what [`CallbackRow`] leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedCallback {
    /// The row, without a claim.
    pub row: CallbackRow,
    /// The pause in milliseconds that the next attempt waits for.
    pub pause: Option<i64>,
    /// The number of the last delivery attempt; 0 if there was none.
    pub attempts: i64,
}

/// A delivery attempt with its callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedAttempt {
    /// The callback.
    pub callback: CallbackId,
    /// The attempt.
    pub attempt: DeliveryAttempt,
}

/// A file that is still to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredFile {
    /// Its name.
    pub token: AssetToken,
    /// Since when.
    pub since: Moment,
}

/// Rows of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// Notes with their values.
    Notes(Vec<(Note, i64)>),
    /// Access keys, by id.
    Keys(Vec<KeyRow>),
    /// Tasks, in the order of acceptance.
    Tasks(Vec<ExportedTask>),
    /// Answers to submits, by access key and idempotency key.
    Idempotency(Vec<ExportedAnswer>),
    /// Assets, by token.
    Assets(Vec<ExportedAsset>),
    /// Callbacks, in the order of lists.
    Callbacks(Vec<ExportedCallback>),
    /// Delivery attempts, by callback and number.
    Attempts(Vec<ExportedAttempt>),
    /// Orphaned runs, by id.
    OrphanedRuns(Vec<OrphanedRun>),
    /// Expired files, by token.
    ExpiredFiles(Vec<ExpiredFile>),
}

impl Rows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Notes(rows) => rows.len(),
            Self::Keys(rows) => rows.len(),
            Self::Tasks(rows) => rows.len(),
            Self::Idempotency(rows) => rows.len(),
            Self::Assets(rows) => rows.len(),
            Self::Callbacks(rows) => rows.len(),
            Self::Attempts(rows) => rows.len(),
            Self::OrphanedRuns(rows) => rows.len(),
            Self::ExpiredFiles(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A part of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The rows of this part.
    pub rows: Rows,
    /// Where the next part begins. `None` after the last.
    pub next: Option<Cursor>,
}

/// How many rows there are of each kind but notes, in the order of [`RowKind::ALL`].
pub type Counts = Vec<(RowKind, u64)>;

/// The places that were given last, also to rows that are deleted by now. No later row gets one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastPlaces {
    /// That of the newest task; 0 if there was none.
    pub task: i64,
    /// That of the newest callback; 0 if there was none.
    pub callback: i64,
}

/// A move of all rows into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveAbout {
    /// The move's id. Random.
    pub id: String,
    /// Where the rows come from, for operators.
    pub source: String,
}

/// What the beginning of a move finds.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// The store was empty, and belongs to this move now.
    New,
    /// The move began before, and this is what it [noted](Import::put) last; `None` if it noted nothing.
    Again(Option<Value>),
    /// The move is complete.
    Complete,
    /// The store holds rows that no move has put there, or a service is registered in it.
    NotEmpty,
    /// Another move has begun to fill the store, or has filled it.
    Other(MoveAbout),
}

/// A store that is filled with the rows of another one. Until the move is complete, nothing else opens it.
#[async_trait]
pub trait Import: fmt::Debug + Send + Sync + 'static {
    /// Begins a move, or goes on with it. With `is_trial`, looks only.
    async fn begin(&self, about: MoveAbout, is_trial: bool) -> Result<Begun, StoreError>;

    /// Puts rows, and notes where the move stands, in one transaction. Rows that are there already are left as they are, but notes.
    async fn put(&self, id: String, rows: Option<Rows>, noted: Value) -> Result<(), StoreError>;

    /// Has the next rows follow these places, and makes ready what a full store needs.
    async fn settle(&self, last: LastPlaces) -> Result<(), StoreError>;

    /// Counts the rows.
    async fn counts(&self) -> Result<Counts, StoreError>;

    /// Reads rows that were put, and counts those that are missing or have other values.
    async fn differing(&self, rows: Rows) -> Result<usize, StoreError>;

    /// Completes the move, so that services may open the store.
    async fn complete(&self, id: String) -> Result<(), StoreError>;

    /// Returns the store itself.
    fn store(&self) -> Arc<dyn Store>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_each_other_to_the_last() {
        let mut kinds = vec![RowKind::Notes];
        while let Some(next) = kinds.last().and_then(|kind| kind.next()) {
            kinds.push(next);
        }
        assert_eq!(kinds, RowKind::ALL);
    }

    #[test]
    fn a_cursor_is_kept_as_json() {
        let cursor = Cursor { kind: RowKind::Attempts, id: "a\0".to_owned(), rest: String::new(), number: 7 };
        let text = serde_json::to_string(&cursor).unwrap();
        assert!(text.contains("\"attempts\"") && !text.contains('\0'), "{text}");
        assert_eq!(serde_json::from_str::<Cursor>(&text).unwrap(), cursor);
    }
}
