//! The store in one SQLite file. Every SQL statement of the workspace is here and below.
//!
//! One thread writes. It takes all that is waiting into one transaction and answers when that is on the disk, so that
//! many callers share one wait for the disk, and no two writes interfere. Each piece of work is a savepoint: one that
//! fails undoes only itself. Readers have their own connections and never wait for the writer.

mod assets;
mod callbacks;
mod export;
mod identity;
mod inspect;
mod keys;
mod lifetimes;
mod live;
mod notes;
mod open;
mod orphans;
mod owners;
mod pages;
mod problem;
mod readers;
mod ready;
mod tasks;
mod turns;
mod values;
mod waiting;
mod writer;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use crate::ids::{AssetToken, CallbackId, KeyId, OwnerId, RunId, TaskId};
use crate::{
    Asked, AssetFile, AssetRow, Beat, CallbackFilter, CallbackRow, Claim, ClaimCallbacks, Deferral, Deletable,
    Delivery, Duty, End, Find, HandBack, Heartbeat, KeyRow, KeyShare, Lane, LiveProgress, Moment, NewTask, Note,
    OrphanedRun, OwnerAbout, OwnerRow, Page, Recovered, Recovery, RunningTask, Store, StoreError, Submitted,
    TaskFilter, TaskRow, UnderWay,
};
use identity::Identity;
pub use inspect::Inspection;
use live::Live;
use problem::Problem;
use readers::Readers;
use writer::Writer;

/// A store in its own directory. Clones share it.
///
/// Several processes may open the same directory, such as the service and a command that makes a key. Which of them runs
/// tasks is theirs to settle; see [`Proof`](crate::Proof).
#[derive(Debug, Clone)]
pub struct SqliteStore {
    path: Arc<str>,
    writer: Writer,
    readers: Readers,
    /// The first damage that was noticed. It does not go away, even if most of the database can still be used.
    damage: Arc<OnceLock<StoreError>>,
    live: Live,
}

impl SqliteStore {
    /// The name of the database file in the directory.
    pub const FILE: &str = open::FILE;

    /// Opens the database in a directory, which must exist, and makes it if there is none. Migrates one of an older
    /// version.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or migrated, or a newer version has migrated it.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let file = directory.join(Self::FILE);
        let path: Arc<str> = file.display().to_string().into();
        let connection = open::read_write(&file)?;
        let identity = Arc::new(Identity::of(&file));
        let writer = Writer::start(connection, identity.clone()).map_err(|problem| problem.at(&path))?;
        let readers = Readers::new(file, identity).map_err(|problem| open::at_open(problem, &path))?;
        Ok(Self { path, writer, readers, damage: Arc::default(), live: Live::default() })
    }

    /// Runs work that writes. Returns when it is on the disk.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(work).await.map_err(|problem| self.seen(problem))
    }

    /// Runs work that only reads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(work).await.map_err(|problem| self.seen(problem))
    }

    /// Adds the file to an error, and remembers damage.
    fn seen(&self, problem: Problem) -> StoreError {
        let error = problem.at(&self.path);
        if matches!(error, StoreError::Corrupt { .. }) {
            self.damage.get_or_init(|| error.clone());
        }
        error
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ready(&self) -> Result<(), StoreError> {
        if let Some(damage) = self.damage.get() {
            return Err(damage.clone());
        }
        self.read(ready::read).await?;
        self.write(ready::write).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        // The connection that writes is the last one, because only it can move the write-ahead log.
        self.readers.close().await;
        self.writer.close().await.map_err(|problem| problem.at(&self.path))
    }

    async fn submit(&self, task: NewTask) -> Result<Submitted, StoreError> {
        self.write(move |connection| tasks::submit(connection, &task)).await
    }

    async fn repeated(&self, task: NewTask) -> Result<Option<Submitted>, StoreError> {
        self.read(move |connection| tasks::repeated(connection, &task)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Option<TaskRow>, StoreError> {
        self.write(move |connection| tasks::claim(connection, &claim)).await
    }

    async fn end(&self, end: End) -> Result<bool, StoreError> {
        self.write(move |connection| tasks::end(connection, &end)).await
    }

    async fn claimed(&self, owner: OwnerId, run: RunId) -> Result<Option<TaskRow>, StoreError> {
        self.read(move |connection| tasks::claimed(connection, &owner, &run)).await
    }

    async fn hand_back(&self, hand_back: HandBack) -> Result<bool, StoreError> {
        self.write(move |connection| tasks::hand_back(connection, &hand_back)).await
    }

    async fn register_owner(
        &self,
        owner: OwnerId,
        lease: Option<Duration>,
        about: OwnerAbout,
    ) -> Result<(), StoreError> {
        self.write(move |connection| owners::register(connection, &owner, lease, &about)).await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Beat, StoreError> {
        let owner = heartbeat.owner.clone();
        let (mut beat, mine, runs) = self.write(move |connection| owners::heartbeat(connection, heartbeat)).await?;
        beat.watched = self.live.publish(owner, mine, runs);
        Ok(beat)
    }

    async fn owners(&self) -> Result<Vec<OwnerRow>, StoreError> {
        self.read(owners::all).await
    }

    async fn running(&self, most: usize) -> Result<Vec<RunningTask>, StoreError> {
        self.read(move |connection| owners::running(connection, most)).await
    }

    async fn drain(&self, owner: OwnerId) -> Result<bool, StoreError> {
        self.write(move |connection| owners::drain(connection, &owner)).await
    }

    async fn resign(&self, owner: OwnerId) -> Result<(), StoreError> {
        self.write(move |connection| owners::resign(connection, &owner)).await
    }

    async fn ended(&self, tasks: Vec<TaskId>) -> Result<Vec<TaskId>, StoreError> {
        self.read(move |connection| tasks::ended(connection, &tasks)).await
    }

    async fn live(&self, tasks: Vec<TaskId>) -> Result<Vec<LiveProgress>, StoreError> {
        let running = self.read(move |connection| tasks::running(connection, &tasks)).await?;
        Ok(self.live.of(running))
    }

    async fn watch(&self, task: TaskId, time: Duration) -> Result<(), StoreError> {
        self.live.watch(task, time);
        Ok(())
    }

    async fn forget_progress(&self) -> Result<usize, StoreError> {
        // It is in memory, and not written by others.
        Ok(0)
    }

    async fn recover(&self, recovery: Recovery) -> Result<Recovered, StoreError> {
        self.write(move |connection| owners::recover(connection, &recovery)).await
    }

    async fn take_duty(&self, duty: Duty, owner: OwnerId, hold: Duration) -> Result<bool, StoreError> {
        self.write(move |connection| owners::take_duty(connection, duty, &owner, hold)).await
    }

    async fn orphaned_runs(&self, after: Option<OrphanedRun>, most: usize) -> Result<Vec<OrphanedRun>, StoreError> {
        self.read(move |connection| orphans::orphaned(connection, after.as_ref(), most)).await
    }

    async fn forget_orphaned_runs(&self, runs: Vec<RunId>) -> Result<(), StoreError> {
        self.write(move |connection| orphans::forget(connection, &runs)).await
    }

    async fn suspects(&self, attempts: i64) -> Result<Vec<TaskRow>, StoreError> {
        self.read(move |connection| tasks::suspects(connection, attempts)).await
    }

    async fn queued(&self) -> Result<Vec<Lane>, StoreError> {
        self.read(tasks::queued).await
    }

    async fn waiting_needs(&self, after: Option<String>, most: usize) -> Result<Vec<String>, StoreError> {
        self.read(move |connection| waiting::needs(connection, after.as_deref(), most)).await
    }

    async fn waiting(&self, asked: Vec<Asked>) -> Result<Vec<Lane>, StoreError> {
        self.read(move |connection| waiting::lanes(connection, &asked)).await
    }

    async fn queue_length(&self, most: usize) -> Result<usize, StoreError> {
        self.read(move |connection| waiting::length(connection, most)).await
    }

    async fn queue_share(&self, key: KeyId, most: usize) -> Result<KeyShare, StoreError> {
        self.read(move |connection| waiting::share(connection, &key, most)).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.read(move |connection| tasks::task(connection, &id)).await
    }

    async fn find(&self, find: Find) -> Result<Option<TaskRow>, StoreError> {
        self.read(move |connection| tasks::find(connection, &find)).await
    }

    async fn last_place(&self) -> Result<i64, StoreError> {
        self.read(tasks::last_place).await
    }

    async fn task_place(&self, key: KeyId, id: TaskId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| tasks::place(connection, &key, &id)).await
    }

    async fn list_tasks(
        &self,
        key: KeyId,
        filter: TaskFilter,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<TaskRow>, StoreError> {
        self.read(move |connection| tasks::list(connection, key, filter, before, size)).await
    }

    async fn forget_idempotency_keys(&self, now: Moment) -> Result<usize, StoreError> {
        self.write(move |connection| tasks::forget_idempotency_keys(connection, now)).await
    }

    async fn deletable_tasks(
        &self,
        before: Moment,
        after: Option<(Moment, i64)>,
        most: usize,
    ) -> Result<Deletable, StoreError> {
        if after.is_none() {
            self.write(lifetimes::keep_index).await?;
        }
        self.read(move |connection| lifetimes::deletable(connection, before, after, most)).await
    }

    async fn delete_tasks(&self, tasks: Vec<TaskId>) -> Result<usize, StoreError> {
        self.write(move |connection| lifetimes::delete(connection, &tasks)).await
    }

    async fn asset(&self, token: AssetToken) -> Result<Option<AssetRow>, StoreError> {
        self.read(move |connection| assets::asset(connection, &token)).await
    }

    async fn kept_assets(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError> {
        self.read(move |connection| assets::kept(connection, &tokens)).await
    }

    async fn asset_files(&self, after: Option<AssetToken>, most: usize) -> Result<Vec<AssetFile>, StoreError> {
        self.read(move |connection| assets::with_files(connection, after.as_ref(), most)).await
    }

    async fn expire_assets(&self, now: Moment, most: usize) -> Result<Vec<AssetToken>, StoreError> {
        // Nearly always nothing has expired, and finding that out need not hold up the writer.
        if self.read(move |connection| assets::expired(connection, now, 1)).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |connection| assets::expire(connection, now, most)).await
    }

    async fn tombstones(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError> {
        // What is proven stays so until it is listed.
        let proven = self.read(move |connection| assets::proven(connection, &tokens)).await?;
        if proven.is_empty() {
            return Ok(proven);
        }
        let listed = proven.clone();
        self.write(move |connection| assets::list_as_expired(connection, &listed)).await?;
        Ok(proven)
    }

    async fn expired_files(&self, after: Option<AssetToken>, most: usize) -> Result<Vec<AssetToken>, StoreError> {
        self.read(move |connection| assets::expired_files(connection, after.as_ref(), most)).await
    }

    async fn forget_expired_files(&self, tokens: Vec<AssetToken>) -> Result<(), StoreError> {
        self.write(move |connection| assets::forget_expired_files(connection, &tokens)).await
    }

    async fn unaccounted_files(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError> {
        self.read(move |connection| assets::unaccounted(connection, &tokens, open::KNOWN)).await
    }

    async fn asset_bytes(&self) -> Result<i64, StoreError> {
        self.read(assets::bytes).await
    }

    async fn kept_bytes(&self, key: KeyId) -> Result<i64, StoreError> {
        self.read(move |connection| assets::kept_bytes(connection, &key)).await
    }

    async fn kept_bytes_by_key(&self) -> Result<Vec<(KeyId, i64)>, StoreError> {
        self.read(assets::kept_bytes_by_key).await
    }

    async fn add_key(&self, key: KeyRow) -> Result<(), StoreError> {
        self.write(move |connection| keys::add(connection, &key)).await
    }

    async fn add_first_key(&self, key: KeyRow) -> Result<bool, StoreError> {
        self.write(move |connection| keys::add_first(connection, &key)).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.read(move |connection| keys::key(connection, &id)).await
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        self.read(keys::all).await
    }

    async fn revoke_key(&self, id: KeyId, now: Moment) -> Result<bool, StoreError> {
        self.write(move |connection| keys::revoke(connection, &id, now)).await
    }

    async fn rotate_signing_secret(
        &self,
        id: KeyId,
        secret: String,
        until: Moment,
        now: Moment,
    ) -> Result<bool, StoreError> {
        self.write(move |connection| keys::rotate(connection, &id, &secret, until, now)).await
    }

    async fn due_callbacks(&self, now: Moment, under_way: UnderWay) -> Result<Vec<CallbackRow>, StoreError> {
        self.read(move |connection| turns::due(connection, now, under_way)).await
    }

    async fn claim_callbacks(&self, claim: ClaimCallbacks) -> Result<Vec<CallbackRow>, StoreError> {
        self.write(move |connection| turns::claim(connection, &claim)).await
    }

    async fn next_callback(&self, after: Moment) -> Result<Option<Moment>, StoreError> {
        self.read(move |connection| callbacks::next(connection, after)).await
    }

    async fn limit_callback_pauses(&self, now: Moment, longest: Duration) -> Result<usize, StoreError> {
        // Nearly always there is nothing to write, and finding that out need not hold up the writer.
        if !self.read(move |connection| callbacks::waits_too_long(connection, now, longest)).await? {
            return Ok(0);
        }
        self.write(move |connection| callbacks::limit_pauses(connection, now, longest)).await
    }

    async fn record_delivery(&self, delivery: Delivery) -> Result<(), StoreError> {
        self.write(move |connection| callbacks::record(connection, &delivery)).await
    }

    async fn defer_callback(&self, deferral: Deferral) -> Result<(), StoreError> {
        self.write(move |connection| callbacks::defer(connection, &deferral)).await
    }

    async fn redeliver(
        &self,
        key: Option<KeyId>,
        id: CallbackId,
        now: Moment,
    ) -> Result<Option<CallbackRow>, StoreError> {
        self.write(move |connection| callbacks::redeliver(connection, key.as_ref(), &id, now)).await
    }

    async fn callback_place(&self, key: KeyId, id: CallbackId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| callbacks::place(connection, &key, &id)).await
    }

    async fn list_callbacks(
        &self,
        filter: CallbackFilter,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<CallbackRow>, StoreError> {
        self.read(move |connection| callbacks::list(connection, filter, before, size)).await
    }

    async fn note(&self, note: Note) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| notes::note(connection, note)).await
    }

    async fn first_note(&self, note: Note, value: i64) -> Result<i64, StoreError> {
        self.write(move |connection| notes::first(connection, note, value)).await
    }

    async fn replace_note(&self, note: Note, from: i64, to: i64) -> Result<Option<i64>, StoreError> {
        self.write(move |connection| notes::replace(connection, note, from, to)).await
    }

    async fn set_note(&self, note: Note, value: i64) -> Result<(), StoreError> {
        self.write(move |connection| notes::set(connection, note, value)).await
    }
}

#[cfg(test)]
mod tests;
