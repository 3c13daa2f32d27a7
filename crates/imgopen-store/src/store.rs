//! The trait that every store implements.

use std::fmt;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::ids::{AssetToken, CallbackId, KeyId, OwnerId, RunId, TaskId};
use crate::{
    AssetRow, CallbackFilter, CallbackRow, Claim, Delivery, End, Find, KeyRow, Lane, Moment, NewTask, OrphanedRun,
    Page, Recovered, Recovery, Submitted, TaskFilter, TaskRow, UnderWay,
};

/// A place where tasks, keys, assets and callbacks are kept for good.
///
/// Every method is one transaction: when it returns `Ok`, what it wrote survives a crash; when its future is dropped, it
/// happens wholly or not at all. Writes that depend on what was read are guarded: they change nothing if the row is not
/// as it was seen.
///
/// All methods return an error when the database fails; see [`StoreError`].
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Checks that the store can write.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Accepts a task, or finds the one that the same submit started before.
    async fn submit(&self, task: NewTask) -> Result<Submitted, StoreError>;

    /// Finds the task that the same submit started before, and accepts nothing.
    async fn repeated(&self, task: NewTask) -> Result<Option<Submitted>, StoreError>;

    /// Begins a run. `None` if there is no such task, or the owner is not registered.
    async fn claim(&self, claim: Claim) -> Result<Option<TaskRow>, StoreError>;

    /// Ends a task together with all that belongs to its end. `false` if the task is not in that state and run any more;
    /// then nothing of it becomes visible. A row keeps its run after the end.
    async fn end(&self, end: End) -> Result<bool, StoreError>;

    /// Returns a run to the queue, uncounted. `false` if it is not the task's run any more. The run is noted as orphaned.
    async fn hand_back(&self, task: TaskId, run: RunId, now: Moment) -> Result<bool, StoreError>;

    /// Registers an owner whose runs are protected until the lease ends; without a lease, until a
    /// [`SoleOwner`](crate::Proof::SoleOwner) takes over.
    async fn register_owner(&self, owner: OwnerId, lease_until: Option<Moment>) -> Result<(), StoreError>;

    /// Extends a lease. `false` if the owner is not registered any more: it has been declared dead, and its runs are
    /// others' to claim.
    async fn renew_lease(&self, owner: OwnerId, until: Moment) -> Result<bool, StoreError>;

    /// Removes dead owners, queues their runs again, and notes those as orphaned. Returns also the tasks that have had
    /// all their attempts, whose end is the caller's to write.
    async fn recover(&self, recovery: Recovery) -> Result<Recovered, StoreError>;

    /// Records that a run may have left files.
    async fn orphan_run(&self, run: RunId, since: Moment) -> Result<(), StoreError>;

    /// Lists the orphaned runs, the oldest first, at most so many.
    async fn orphaned_runs(&self, most: usize) -> Result<Vec<OrphanedRun>, StoreError>;

    /// Forgets orphaned runs whose files are deleted.
    async fn forget_orphaned_runs(&self, runs: Vec<RunId>) -> Result<(), StoreError>;

    /// Counts the queued tasks by what they need and by key, the lane with the oldest task first.
    async fn queued(&self) -> Result<Vec<Lane>, StoreError>;

    /// Returns the task of that id, of any key.
    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError>;

    /// Finds a key's task by the platform's id or the caller's.
    async fn find(&self, find: Find) -> Result<Option<TaskRow>, StoreError>;

    /// Returns the place of a key's task in lists.
    async fn task_place(&self, key: KeyId, id: TaskId) -> Result<Option<i64>, StoreError>;

    /// Lists a key's tasks without their requests, the newest first, from `before` downwards: at most `size`, and fewer if
    /// they would exceed [`PAGE_BYTES`](crate::PAGE_BYTES).
    async fn list_tasks(
        &self,
        key: KeyId,
        filter: TaskFilter,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<TaskRow>, StoreError>;

    /// Forgets idempotency keys that have expired, and returns how many.
    async fn forget_idempotency_keys(&self, now: Moment) -> Result<usize, StoreError>;

    /// Returns the asset of that token.
    async fn asset(&self, token: AssetToken) -> Result<Option<AssetRow>, StoreError>;

    /// Returns those of the tokens that belong to assets whose file is to be kept.
    async fn kept_assets(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError>;

    /// Lists assets that have expired and still have a file, at most so many.
    async fn expired_assets(&self, now: Moment, most: usize) -> Result<Vec<AssetToken>, StoreError>;

    /// Marks the files of these assets as deleted. Called before they are, so that no row refers to a missing file.
    async fn mark_assets_deleted(&self, tokens: Vec<AssetToken>, now: Moment) -> Result<(), StoreError>;

    /// Returns the bytes of all assets that have a file. Costs the same however many there are.
    async fn asset_bytes(&self) -> Result<i64, StoreError>;

    /// Adds an access key.
    async fn add_key(&self, key: KeyRow) -> Result<(), StoreError>;

    /// Adds an access key if there is none but [`KeyId::OPEN`], and returns whether it did.
    async fn add_first_key(&self, key: KeyRow) -> Result<bool, StoreError>;

    /// Returns the access key of that id.
    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError>;

    /// Lists the access keys but [`KeyId::OPEN`], the oldest first.
    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError>;

    /// Revokes an access key for good, and returns whether there is one of that id. One that was revoked before keeps its
    /// time. [`KeyId::OPEN`] cannot be revoked.
    async fn revoke_key(&self, id: KeyId, now: Moment) -> Result<bool, StoreError>;

    /// Lists the callbacks that are due, the longest due first, at most so many.
    async fn due_callbacks(
        &self,
        now: Moment,
        under_way: UnderWay,
        most: usize,
    ) -> Result<Vec<CallbackRow>, StoreError>;

    /// Returns when the next callback is due, if any other is pending.
    async fn next_callback(&self, under_way: UnderWay) -> Result<Option<Moment>, StoreError>;

    /// Records a delivery attempt and what follows from it.
    async fn record_delivery(&self, delivery: Delivery) -> Result<(), StoreError>;

    /// Starts a callback again from the first rung, and returns it. `None` if there is no such callback, or it is not
    /// the key's. Without a key, any callback is found.
    async fn redeliver(
        &self,
        key: Option<KeyId>,
        id: CallbackId,
        now: Moment,
    ) -> Result<Option<CallbackRow>, StoreError>;

    /// Returns the place of a key's callback in lists.
    async fn callback_place(&self, key: KeyId, id: CallbackId) -> Result<Option<i64>, StoreError>;

    /// Lists callbacks with their last [`ATTEMPTS`](crate::ATTEMPTS) delivery attempts, the newest first, from `before`
    /// downwards: at most `size`, and fewer if they would exceed [`PAGE_BYTES`](crate::PAGE_BYTES).
    async fn list_callbacks(
        &self,
        filter: CallbackFilter,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<CallbackRow>, StoreError>;
}
