//! The trait that every store implements.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::ids::{AssetToken, CallbackId, KeyId, OwnerId, RunId, TaskId};
use crate::{
    Asked, AssetFile, AssetRow, Beat, CallbackFilter, CallbackRow, Claim, ClaimCallbacks, Deferral, Deletable,
    Delivery, Doorbell, Duty, End, Find, HandBack, Heartbeat, KeyRow, KeyShare, Lane, LiveProgress, Moment, NewTask,
    OrphanedRun, OwnerAbout, OwnerRow, Page, Recovered, Recovery, RunningTask, Submitted, TaskFilter, TaskRow,
    UnderWay,
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
    /// Checks that the store can accept a task now, by reading and writing something. Fails once damage was noticed.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Waits for the calls in progress, makes complete what is on the disk, and closes the store. Every later call fails, but
    /// closing it again.
    async fn close(&self) -> Result<(), StoreError>;

    /// Listens to what other processes announce, and this one, too. `None` if the database has no announcements: SQLite has none,
    /// because one process does all there is to announce.
    ///
    /// Whatever was missed while nothing could be heard is announced as [`Ring::Work`](crate::Ring::Work) of any operation and
    /// [`Ring::Ended`](crate::Ring::Ended) once it can be.
    fn doorbell(&self) -> Option<Doorbell> {
        None
    }

    /// Accepts a task, or finds the one that the same submit started before. One that reserves a name is not accepted while an
    /// active task has it; of several that are submitted at once, one is.
    async fn submit(&self, task: NewTask) -> Result<Submitted, StoreError>;

    /// Finds the task that the same submit started before, and accepts nothing.
    async fn repeated(&self, task: NewTask) -> Result<Option<Submitted>, StoreError>;

    /// Begins a run of a key's task. `None` if there is no such task, or the owner is not registered or draining.
    ///
    /// Which key is next is the caller's to know: the one process that runs all tasks of its database counts in memory what is
    /// queued; one of several asks from time to time what is [waiting](Store::waiting), and may find that another was faster.
    async fn claim(&self, claim: Claim) -> Result<Option<TaskRow>, StoreError>;

    /// Ends a task together with all that belongs to its end. `false` if the task is not in that state and run any more;
    /// then nothing of it becomes visible. A row keeps its run after the end.
    async fn end(&self, end: End) -> Result<bool, StoreError>;

    /// Returns the task that this run of this owner is in. After a claim that returned an error, this shows whether it was carried out.
    async fn claimed(&self, owner: OwnerId, run: RunId) -> Result<Option<TaskRow>, StoreError>;

    /// Returns a run to the queue, uncounted. `false` if it is not the task's run any more.
    async fn hand_back(&self, hand_back: HandBack) -> Result<bool, StoreError>;

    /// Registers an owner whose runs are protected for that long by the database's clock; without a lease, until a
    /// [`SoleOwner`](crate::Proof::SoleOwner) takes over.
    async fn register_owner(
        &self,
        owner: OwnerId,
        lease: Option<Duration>,
        about: OwnerAbout,
    ) -> Result<(), StoreError>;

    /// Takes an owner's sign of life, in one round trip: extends its lease, publishes the progress of its runs, returns which of
    /// them are still its own, and gives back strays. A lease that has ended is renewed unless a recovery has removed the owner.
    ///
    /// Progress is not kept for good, and neither is who watches: PostgreSQL may lose both in a crash. SQLite, where all runs are
    /// those of one process, has them in that process's memory, so that no progress costs a write.
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Beat, StoreError>;

    /// Lists the registered owners, the oldest first.
    async fn owners(&self) -> Result<Vec<OwnerRow>, StoreError>;

    /// Lists the tasks that owners run, owner by owner, up to `most` of each, the oldest runs first.
    async fn running(&self, most: usize) -> Result<Vec<RunningTask>, StoreError>;

    /// Asks an owner to end its runs and to begin no others, as its heartbeats then say. `false` if it is not registered.
    async fn drain(&self, owner: OwnerId) -> Result<bool, StoreError>;

    /// Removes an owner that stops and has handed its runs back. A recovery queues those that it still has. Its claims of callbacks
    /// end: attempts that were not recorded are others' to make at once, maybe while the owner's own attempt has not ended, or its
    /// receiver still works on it. Claims under an earlier id of the same process end by themselves.
    async fn resign(&self, owner: OwnerId) -> Result<(), StoreError>;

    /// Returns those of the tasks that have ended, for callers who wait for them.
    async fn ended(&self, tasks: Vec<TaskId>) -> Result<Vec<TaskId>, StoreError>;

    /// Returns the progress of those of the tasks that run and of which a [heartbeat](Store::heartbeat) has reported.
    async fn live(&self, tasks: Vec<TaskId>) -> Result<Vec<LiveProgress>, StoreError>;

    /// Has the heartbeats of a task's owner say for that long that somebody waits for its previews.
    async fn watch(&self, task: TaskId, time: Duration) -> Result<(), StoreError>;

    /// Forgets who watched until now, and progress that was reported long ago. Both go with the end of their task, unless they are
    /// written at the same moment. Returns how many there were.
    async fn forget_progress(&self) -> Result<usize, StoreError>;

    /// Removes dead owners, queues their runs again, and notes those as orphaned. Returns also the tasks that have had
    /// all their attempts, whose end is the caller's to write. Several processes may do so at once: each run is queued again by one
    /// of them.
    async fn recover(&self, recovery: Recovery) -> Result<Recovered, StoreError>;

    /// Takes a duty for that long by the database's clock, so that one of several processes does what one is enough for. `false` if
    /// another registered owner has it. What is done under a duty may be done twice without harm.
    async fn take_duty(&self, duty: Duty, owner: OwnerId, hold: Duration) -> Result<bool, StoreError>;

    /// Lists orphaned runs, the oldest first: those that may have left files, by how they ended. At most so many, from after that
    /// one on.
    async fn orphaned_runs(&self, after: Option<OrphanedRun>, most: usize) -> Result<Vec<OrphanedRun>, StoreError>;

    /// Forgets orphaned runs whose files are deleted. Later files of such a run are not known to be of this service.
    async fn forget_orphaned_runs(&self, runs: Vec<RunId>) -> Result<(), StoreError>;

    /// Lists the queued tasks with at least this many runs that count, the oldest first. A queued task's runs were all cut
    /// short.
    async fn suspects(&self, attempts: i64) -> Result<Vec<TaskRow>, StoreError>;

    /// Counts the queued tasks by what they need and by key, the lane with the oldest task first.
    async fn queued(&self) -> Result<Vec<Lane>, StoreError>;

    /// Lists what queued tasks need, each once, in an order of the store's choice: at most so many, from those after these on.
    ///
    /// This and the next three cost the same however many tasks are queued, so that processes can ask all the time.
    async fn waiting_needs(&self, after: Option<String>, most: usize) -> Result<Vec<String>, StoreError>;

    /// Lists lanes of queued tasks, query by query, each in the order of keys. Of a lane, at most [`COUNTED`](crate::COUNTED) tasks are
    /// counted, and `first` is the place of the oldest of those. A query that lists fewer than it asked for has come round.
    async fn waiting(&self, asked: Vec<Asked>) -> Result<Vec<Lane>, StoreError>;

    /// Counts the queued tasks, up to that number.
    async fn queue_length(&self, most: usize) -> Result<usize, StoreError>;

    /// Counts a key's queued tasks, and the keys that have any, each up to that number, and keys up to a thousand.
    async fn queue_share(&self, key: KeyId, most: usize) -> Result<KeyShare, StoreError>;

    /// Returns the task of that id, of any key.
    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError>;

    /// Finds a key's task by the platform's id or the caller's.
    async fn find(&self, find: Find) -> Result<Option<TaskRow>, StoreError>;

    /// Returns the place of the newest task that was ever accepted, of any key; 0 if none was.
    async fn last_place(&self) -> Result<i64, StoreError>;

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

    /// Looks for tasks that ended at that moment or before and whose rows may be deleted: no callback of theirs is pending,
    /// and the files of all their assets are deleted. The oldest first, at most so many, from `after` on.
    async fn deletable_tasks(
        &self,
        before: Moment,
        after: Option<(Moment, i64)>,
        most: usize,
    ) -> Result<Deletable, StoreError>;

    /// Deletes tasks with their callbacks, delivery attempts, assets and idempotency keys, and returns how many. Those
    /// that are not [deletable](Store::deletable_tasks) any more are kept.
    async fn delete_tasks(&self, tasks: Vec<TaskId>) -> Result<usize, StoreError>;

    /// Returns the asset of that token.
    async fn asset(&self, token: AssetToken) -> Result<Option<AssetRow>, StoreError>;

    /// Returns those of the tokens that belong to assets whose file is to be kept.
    async fn kept_assets(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError>;

    /// Lists the assets that have a file, by token from after that one, at most so many.
    async fn asset_files(&self, after: Option<AssetToken>, most: usize) -> Result<Vec<AssetFile>, StoreError>;

    /// Marks the files of up to `most` assets that have expired as deleted, lists them as expired, and returns them. Called before
    /// they are deleted, so that no row refers to a missing file, and no file is forgotten if the process dies in between. Several
    /// processes share the assets.
    async fn expire_assets(&self, now: Moment, most: usize) -> Result<Vec<AssetToken>, StoreError>;

    /// Returns those of the names of files that may be deleted, and lists them as expired files: there is proof that this service
    /// wrote them and that nothing will ever refer to them. The name of each begins with a run that has ended or was given up, and
    /// no asset has it. A late end of such a run is rejected, so it cannot bring the file back. Others belong to a run in progress,
    /// or are not known here, and stay.
    ///
    /// The list is the tombstone: it is written before a file is deleted, and what is listed is deleted also if the process dies in
    /// between.
    async fn tombstones(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError>;

    /// Lists expired files that are still to be deleted, by token from after that one, at most so many.
    async fn expired_files(&self, after: Option<AssetToken>, most: usize) -> Result<Vec<AssetToken>, StoreError>;

    /// Forgets expired files that are deleted.
    async fn forget_expired_files(&self, tokens: Vec<AssetToken>) -> Result<(), StoreError>;

    /// Returns those of the names of files that nothing accounts for: no asset with a file, no expired file, no orphaned
    /// or current run. They may belong to another database.
    async fn unaccounted_files(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError>;

    /// Returns the bytes of all assets that have a file. Costs the same however many there are.
    async fn asset_bytes(&self) -> Result<i64, StoreError>;

    /// Returns the bytes of the assets of a key's tasks that have a file. Costs the same however many there are.
    async fn kept_bytes(&self, key: KeyId) -> Result<i64, StoreError>;

    /// Returns the same for every key that has ever had an asset, by key.
    async fn kept_bytes_by_key(&self) -> Result<Vec<(KeyId, i64)>, StoreError>;

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

    /// Replaces the signing secret of a key. The old one is signed with too until that moment. Returns `false` if there is
    /// no key of that id.
    async fn rotate_signing_secret(
        &self,
        id: KeyId,
        secret: String,
        until: Moment,
        now: Moment,
    ) -> Result<bool, StoreError>;

    /// Chooses callbacks that are due, as many as there are slots for: by turns over keys, within a key by turns over
    /// origins, first attempts before repeated ones. Together with those under way they keep the limits of [`UnderWay`],
    /// so that all of them can be begun.
    ///
    /// For the one process that makes all attempts of its database, and remembers in memory which of them are under way.
    async fn due_callbacks(&self, now: Moment, under_way: UnderWay) -> Result<Vec<CallbackRow>, StoreError>;

    /// Chooses callbacks in the same way and claims them, so that no other process makes these attempts while the claim holds. An
    /// attempt is over once it is recorded or put off, or a redelivery has started its callback again.
    ///
    /// For services of several processes: what is under way follows from the rows.
    async fn claim_callbacks(&self, claim: ClaimCallbacks) -> Result<Vec<CallbackRow>, StoreError>;

    /// Returns when the next callback after that moment is due.
    async fn next_callback(&self, after: Moment) -> Result<Option<Moment>, StoreError>;

    /// Brings pending callbacks forward that wait longer than the pause of their next attempt, because the clock was put
    /// back since it was chosen, and returns how many. Those of unknown pause wait for `longest` at most.
    async fn limit_callback_pauses(&self, now: Moment, longest: Duration) -> Result<usize, StoreError>;

    /// Records a delivery attempt and what follows from it.
    async fn record_delivery(&self, delivery: Delivery) -> Result<(), StoreError>;

    /// Puts a callback off without recording an attempt. It stays on its rung.
    async fn defer_callback(&self, deferral: Deferral) -> Result<(), StoreError>;

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

    /// Returns the value of a note, if it was ever written.
    async fn note(&self, note: Note) -> Result<Option<i64>, StoreError>;

    /// Writes a note unless there is one. Returns the one that there is then: of several processes, the first one's.
    async fn first_note(&self, note: Note, value: i64) -> Result<i64, StoreError>;

    /// Writes a note in the place of that value, and leaves any other one as it is. Returns the one that there is then, if there is
    /// one: of several processes that replace the same value, the first one's.
    async fn replace_note(&self, note: Note, from: i64, to: i64) -> Result<Option<i64>, StoreError>;

    /// Writes a note.
    async fn set_note(&self, note: Note, value: i64) -> Result<(), StoreError>;
}

/// A single value that the service keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The last moment that the service saw on the machine's clock and did not doubt.
    LastSeen,
    /// The number that marks the directory of the assets' files as that of this store.
    Pictures,
    /// How many files nothing accounted for when all of them were looked at last.
    Unknown,
}

impl Note {
    /// The note's name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LastSeen => "last_seen",
            Self::Pictures => "pictures",
            Self::Unknown => "unknown_files",
        }
    }
}
