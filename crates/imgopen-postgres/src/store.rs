//! The store: every call takes a connection, has a largest time, and is repeated where that is safe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Client, Pool};
use imgopen_store::{
    Asked, AssetFile, AssetRow, AssetToken, Beat, CallbackFilter, CallbackId, CallbackRow, Claim, ClaimCallbacks,
    Deferral, Deletable, Delivery, Doorbell, Duty, End, Find, HandBack, Heartbeat, KeyId, KeyRow, KeyShare, Lane,
    LiveProgress, Moment, NewTask, Note, OrphanedRun, OwnerAbout, OwnerId, OwnerRow, Page, Recovered, Recovery, Ring,
    RunId, RunningTask, State, Store, StoreError, Submitted, TaskFilter, TaskId, TaskRow, UnderWay,
};
use tokio::sync::RwLock;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::connect::{self, PostgresOptions, Servers};
use crate::doorbell::{self, Bell};
use crate::gathering::Gathering;
use crate::problem::Problem;
use crate::{assets, callbacks, due, keys, lifetimes, notes, open, orphans, owners, recovery, submit, tasks, waiting};

/// How many times a call is carried out at most, if it may be repeated.
const TRIES: u32 = 4;

/// A store in a database of a PostgreSQL server. Clones share it.
///
/// Several processes may open the same database. Which of them runs tasks is theirs to settle; see
/// [`Proof`](imgopen_store::Proof).
#[derive(Clone)]
pub struct PostgresStore {
    path: Arc<str>,
    pool: Pool,
    /// The longest time of a call.
    limit: Duration,
    /// Held by every call, and by the end for good.
    calls: Arc<RwLock<()>>,
    bell: Bell,
    gathering: Gathering,
    /// For the connection that listens. `None` if nothing is announced.
    announced: Option<Servers>,
    offers: Arc<owners::KnownOffers>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("path", &self.path).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What may be repeated if its connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// What has the same effect and answer if it is carried out twice, or looks first for what an earlier try has done.
    Always,
    /// What may have been carried out, and would answer otherwise the second time. Only what was certainly undone is repeated.
    IfUndone,
}

/// What becomes of the tables of a database that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tables {
    /// They are made, or migrated.
    Made,
    /// They stay as they are.
    AsTheyAre,
}

/// The tries of a call.
#[derive(Debug)]
struct Tries {
    /// How many are left.
    left: u32,
    /// Whether an earlier one may have been carried out, because its answer was lost.
    may_be_done: bool,
}

/// Carries out work on a connection, which is named in the call. Work may also learn whether an earlier try, whose answer was lost,
/// may have been carried out.
macro_rules! call {
    ($store:ident, $repeat:ident, |$client:ident| $work:expr) => {
        call!($store, $repeat, |$client, _again| $work)
    };
    ($store:ident, $repeat:ident, |$client:ident, $again:ident| $work:expr) => {{
        let _open = $store.calls.read().await;
        let mut tries = Tries { left: TRIES, may_be_done: false };
        loop {
            let $again = tries.may_be_done;
            tries.left -= 1;
            let mut $client = $store.client().await?;
            let outcome = timeout($store.limit, $work).await;
            if let Some(outcome) = $store.settle($client, outcome, Repeat::$repeat, &mut tries) {
                break outcome;
            }
        }
    }};
}

impl PostgresStore {
    /// Connects to a database, which must exist, and makes the tables if there are none. Migrates those of an older version.
    ///
    /// The URL is one of `libpq`: `postgres://user:password@host:5432/database`, with `sslmode` (`disable`, `prefer`, `require`),
    /// `options`, `application_name` and several hosts as there.
    ///
    /// # Errors
    ///
    /// When the URL is invalid, the server cannot be reached, the database cannot be used, a newer version has migrated it so that this
    /// one cannot use it any more, or rows are being moved into it.
    pub async fn open(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let (store, _) = Self::connect(url, options, Tables::Made).await?;
        call!(store, Always, |client| open::check_complete(&mut client))?;
        Ok(store)
    }

    /// Does the same for a command that only looks: the tables stay as they are, for the processes that use them.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) does, and when there are no tables, or those of an older version.
    pub async fn open_existing(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let (store, found) = Self::connect(url, options, Tables::AsTheyAre).await?;
        found.check_current().map_err(|problem| problem.at(&store.path))?;
        call!(store, Always, |client| open::check_complete(&mut client))?;
        Ok(store)
    }

    /// Connects to a database that may be in the middle of a move. Returns also the layout that it had.
    async fn connect(url: &str, options: &PostgresOptions, tables: Tables) -> Result<(Self, open::Found), StoreError> {
        let config = connect::config(url, options).map_err(|problem| problem.at("of the given URL"))?;
        let path: Arc<str> = connect::address(&config).into();
        let servers = Servers::of(&config, options).map_err(|problem| problem.at(&path))?;
        let announced = options.notify.then(|| servers.clone());
        let pool = connect::pool(config, servers, options).map_err(|problem| problem.at(&path))?;
        let bell = if options.notify { Bell::new(pool.clone()) } else { Bell::silent() };
        let (limit, calls, offers) = (options.call_timeout, Arc::default(), Arc::default());
        let store = Self { path, pool, limit, calls, bell, gathering: Gathering::default(), announced, offers };
        let found = store.found(tables).await.map_err(|problem| problem.at(&store.path))?;
        if !found.is_usable() {
            let path = store.path.to_string();
            return Err(StoreError::Layout { path, found: found.version, known: open::KNOWN });
        }
        Ok((store, found))
    }

    /// Where the database is, without the user and the password.
    pub fn address(&self) -> &str {
        &self.path
    }

    /// Returns the layout that the database had. A migration takes as long as it takes.
    async fn found(&self, tables: Tables) -> Result<open::Found, Problem> {
        let mut client = self.pool.get().await?;
        let outcome = match tables {
            Tables::Made => open::migrate(&mut client).await,
            Tables::AsTheyAre => open::look(&mut client).await,
        };
        // Statements that were prepared before the tables were there are of no use.
        drop(Client::take(client));
        outcome
    }

    async fn client(&self) -> Result<Client, StoreError> {
        self.pool.get().await.map_err(|error| Problem::from(error).at(&self.path))
    }

    /// Returns what a call returns, or `None` if it is to be repeated. A connection that did not answer is closed.
    fn settle<T>(
        &self,
        client: Client,
        outcome: Result<Result<T, Problem>, Elapsed>,
        repeat: Repeat,
        tries: &mut Tries,
    ) -> Option<Result<T, StoreError>> {
        let (problem, may_be_repeated) = match outcome {
            Ok(Ok(value)) => return Some(Ok(value)),
            Ok(Err(problem)) => {
                let may_be_repeated = problem.is_undone() || (problem.is_unreachable() && repeat == Repeat::Always);
                (problem, may_be_repeated)
            }
            Err(_) => (Problem::unreachable(format!("the server did not answer within {:?}", self.limit)), false),
        };
        if problem.is_unreachable() {
            drop(Client::take(client));
            // A server that stops or is taken over ends them all. They are cheap to make again.
            drop(self.pool.retain(|_, _| false));
        }
        // A later try that does nothing does not undo an earlier one.
        let problem = if tries.may_be_done { problem.in_doubt() } else { problem };
        tries.may_be_done |= problem.is_unreachable();
        if may_be_repeated && tries.left > 0 { None } else { Some(Err(problem.at(&self.path))) }
    }

    /// Returns the time by the database's clock, which measures leases and claims of callbacks, and which all processes share.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn now(&self) -> Result<Moment, StoreError> {
        call!(self, Always, |client| notes::now(&mut client))
    }
}

// After the macro, which it uses.
pub(crate) mod moving;
mod submits;

#[async_trait]
impl Store for PostgresStore {
    async fn ready(&self) -> Result<(), StoreError> {
        call!(self, Always, |client| notes::ready(&mut client))
    }

    async fn close(&self) -> Result<(), StoreError> {
        let _no_calls = self.calls.write().await;
        self.pool.close();
        Ok(())
    }

    fn doorbell(&self) -> Option<Doorbell> {
        self.announced.clone().map(doorbell::listen)
    }

    async fn submit(&self, task: NewTask) -> Result<Submitted, StoreError> {
        let (operation, key, needs) = (task.operation.to_owned(), task.key.clone(), task.needs.clone());
        let submitted = self.submit_soon(task).await?;
        if submitted == Submitted::New {
            self.bell.ring(Ring::Task { operation, key, needs });
        }
        Ok(submitted)
    }

    async fn repeated(&self, task: NewTask) -> Result<Option<Submitted>, StoreError> {
        call!(self, Always, |client| submit::repeated(&mut client, &task))
    }

    async fn claim(&self, claim: Claim) -> Result<Option<TaskRow>, StoreError> {
        call!(self, Always, |client, again| tasks::claim(&mut client, &claim, again))
    }

    async fn end(&self, end: End) -> Result<bool, StoreError> {
        let is_written = call!(self, Always, |client, again| tasks::end(&mut client, &end, again))?;
        if is_written {
            let cancelled = end.task.run.clone().filter(|_| end.task.state == State::Cancelled);
            cancelled.into_iter().for_each(|run| self.bell.ring(Ring::Cancelled(run)));
            self.bell.ring(Ring::Ended);
        }
        Ok(is_written)
    }

    async fn claimed(&self, owner: OwnerId, run: RunId) -> Result<Option<TaskRow>, StoreError> {
        call!(self, Always, |client| tasks::claimed(&mut client, &owner, &run))
    }

    async fn hand_back(&self, hand_back: HandBack) -> Result<bool, StoreError> {
        let is_back = call!(self, Always, |client, again| tasks::hand_back(&mut client, &hand_back, again))?;
        if is_back {
            self.bell.ring(Ring::Work(None));
        }
        Ok(is_back)
    }

    async fn register_owner(
        &self,
        owner: OwnerId,
        lease: Option<Duration>,
        about: OwnerAbout,
    ) -> Result<(), StoreError> {
        call!(self, Always, |client| owners::register(&mut client, &owner, lease, &about))
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Beat, StoreError> {
        let beat = call!(self, Always, |client| owners::heartbeat(&mut client, &heartbeat))?;
        if beat.strays > 0 {
            self.bell.ring(Ring::Work(None));
        }
        Ok(beat)
    }

    async fn owners(&self) -> Result<Vec<OwnerRow>, StoreError> {
        call!(self, Always, |client| owners::all(&mut client, &self.offers))
    }

    async fn running(&self, most: usize) -> Result<Vec<RunningTask>, StoreError> {
        call!(self, Always, |client| owners::running(&mut client, most))
    }

    async fn drain(&self, owner: OwnerId) -> Result<bool, StoreError> {
        call!(self, Always, |client| owners::drain(&mut client, &owner))
    }

    async fn resign(&self, owner: OwnerId) -> Result<(), StoreError> {
        call!(self, Always, |client| owners::resign(&mut client, &owner))
    }

    async fn ended(&self, tasks: Vec<TaskId>) -> Result<Vec<TaskId>, StoreError> {
        call!(self, Always, |client| tasks::ended(&mut client, &tasks))
    }

    async fn live(&self, tasks: Vec<TaskId>) -> Result<Vec<LiveProgress>, StoreError> {
        call!(self, Always, |client| owners::live(&mut client, &tasks))
    }

    async fn watch(&self, task: TaskId, time: Duration) -> Result<(), StoreError> {
        call!(self, Always, |client| owners::watch(&mut client, &task, time))
    }

    async fn forget_progress(&self) -> Result<usize, StoreError> {
        call!(self, Always, |client| owners::forget_progress(&mut client))
    }

    async fn recover(&self, recovery: Recovery) -> Result<Recovered, StoreError> {
        let recovered = call!(self, IfUndone, |client| recovery::recover(&mut client, &recovery))?;
        if !recovered.requeued.is_empty() {
            self.bell.ring(Ring::Work(None));
        }
        Ok(recovered)
    }

    async fn take_duty(&self, duty: Duty, owner: OwnerId, hold: Duration) -> Result<bool, StoreError> {
        call!(self, Always, |client| owners::take_duty(&mut client, duty, &owner, hold))
    }

    async fn orphaned_runs(&self, after: Option<OrphanedRun>, most: usize) -> Result<Vec<OrphanedRun>, StoreError> {
        call!(self, Always, |client| orphans::orphaned(&mut client, after.as_ref(), most))
    }

    async fn forget_orphaned_runs(&self, runs: Vec<RunId>) -> Result<(), StoreError> {
        call!(self, Always, |client| orphans::forget(&mut client, &runs))
    }

    async fn suspects(&self, attempts: i64) -> Result<Vec<TaskRow>, StoreError> {
        call!(self, Always, |client| tasks::suspects(&mut client, attempts))
    }

    async fn queued(&self) -> Result<Vec<Lane>, StoreError> {
        call!(self, Always, |client| tasks::queued(&mut client))
    }

    async fn waiting_needs(&self, after: Option<String>, most: usize) -> Result<Vec<String>, StoreError> {
        call!(self, Always, |client| waiting::needs(&mut client, after.as_deref(), most))
    }

    async fn waiting(&self, asked: Vec<Asked>) -> Result<Vec<Lane>, StoreError> {
        call!(self, Always, |client| waiting::lanes(&mut client, &asked))
    }

    async fn queue_length(&self, most: usize) -> Result<usize, StoreError> {
        call!(self, Always, |client| waiting::length(&mut client, most))
    }

    async fn queue_share(&self, key: KeyId, most: usize) -> Result<KeyShare, StoreError> {
        call!(self, Always, |client| waiting::share(&mut client, &key, most))
    }

    async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        call!(self, Always, |client| tasks::task(&mut client, &id))
    }

    async fn find(&self, find: Find) -> Result<Option<TaskRow>, StoreError> {
        call!(self, Always, |client| tasks::find(&mut client, &find))
    }

    async fn last_place(&self) -> Result<i64, StoreError> {
        call!(self, Always, |client| tasks::last_place(&mut client))
    }

    async fn task_place(&self, key: KeyId, id: TaskId) -> Result<Option<i64>, StoreError> {
        call!(self, Always, |client| tasks::place(&mut client, &key, &id))
    }

    async fn list_tasks(
        &self,
        key: KeyId,
        filter: TaskFilter,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<TaskRow>, StoreError> {
        call!(self, Always, |client| tasks::list(&mut client, &key, &filter, before, size))
    }

    async fn forget_idempotency_keys(&self, now: Moment) -> Result<usize, StoreError> {
        call!(self, Always, |client| tasks::forget_idempotency_keys(&mut client, now))
    }

    async fn deletable_tasks(
        &self,
        before: Moment,
        after: Option<(Moment, i64)>,
        most: usize,
    ) -> Result<Deletable, StoreError> {
        call!(self, Always, |client| lifetimes::deletable(&mut client, before, after, most))
    }

    async fn delete_tasks(&self, tasks: Vec<TaskId>) -> Result<usize, StoreError> {
        call!(self, IfUndone, |client| lifetimes::delete(&mut client, &tasks))
    }

    async fn asset(&self, token: AssetToken) -> Result<Option<AssetRow>, StoreError> {
        call!(self, Always, |client| assets::asset(&mut client, &token))
    }

    async fn kept_assets(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError> {
        call!(self, Always, |client| assets::kept(&mut client, &tokens))
    }

    async fn asset_files(&self, after: Option<AssetToken>, most: usize) -> Result<Vec<AssetFile>, StoreError> {
        call!(self, Always, |client| assets::with_files(&mut client, after.as_ref(), most))
    }

    async fn expire_assets(&self, now: Moment, most: usize) -> Result<Vec<AssetToken>, StoreError> {
        // Those of an earlier try, whose answer was lost, are listed, too.
        call!(self, Always, |client| assets::expire(&mut client, now, most))
    }

    async fn tombstones(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError> {
        call!(self, Always, |client| assets::tombstones(&mut client, &tokens))
    }

    async fn expired_files(&self, after: Option<AssetToken>, most: usize) -> Result<Vec<AssetToken>, StoreError> {
        call!(self, Always, |client| assets::expired_files(&mut client, after.as_ref(), most))
    }

    async fn forget_expired_files(&self, tokens: Vec<AssetToken>) -> Result<(), StoreError> {
        call!(self, Always, |client| assets::forget_expired_files(&mut client, &tokens))
    }

    async fn unaccounted_files(&self, tokens: Vec<AssetToken>) -> Result<Vec<AssetToken>, StoreError> {
        call!(self, Always, |client| assets::unaccounted(&mut client, &tokens))
    }

    async fn asset_bytes(&self) -> Result<i64, StoreError> {
        call!(self, Always, |client| assets::bytes(&mut client))
    }

    async fn kept_bytes(&self, key: KeyId) -> Result<i64, StoreError> {
        call!(self, Always, |client| assets::kept_bytes(&mut client, &key))
    }

    async fn kept_bytes_by_key(&self) -> Result<Vec<(KeyId, i64)>, StoreError> {
        call!(self, Always, |client| assets::kept_bytes_by_key(&mut client))
    }

    async fn add_key(&self, key: KeyRow) -> Result<(), StoreError> {
        call!(self, IfUndone, |client| keys::add(&mut client, &key))
    }

    async fn add_first_key(&self, key: KeyRow) -> Result<bool, StoreError> {
        call!(self, IfUndone, |client| keys::add_first(&mut client, &key))
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        call!(self, Always, |client| keys::key(&mut client, &id))
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        call!(self, Always, |client| keys::all(&mut client))
    }

    async fn revoke_key(&self, id: KeyId, now: Moment) -> Result<bool, StoreError> {
        call!(self, Always, |client| keys::revoke(&mut client, &id, now))
    }

    async fn rotate_signing_secret(
        &self,
        id: KeyId,
        secret: String,
        until: Moment,
        now: Moment,
    ) -> Result<bool, StoreError> {
        call!(self, IfUndone, |client| keys::rotate(&mut client, &id, &secret, until, now))
    }

    async fn due_callbacks(&self, now: Moment, under_way: UnderWay) -> Result<Vec<CallbackRow>, StoreError> {
        call!(self, Always, |client| due::due(&mut client, now, under_way.clone()))
    }

    async fn claim_callbacks(&self, claim: ClaimCallbacks) -> Result<Vec<CallbackRow>, StoreError> {
        call!(self, Always, |client, again| due::claim(&mut client, &claim, again))
    }

    async fn next_callback(&self, after: Moment) -> Result<Option<Moment>, StoreError> {
        call!(self, Always, |client| callbacks::next(&mut client, after))
    }

    async fn limit_callback_pauses(&self, now: Moment, longest: Duration) -> Result<usize, StoreError> {
        call!(self, Always, |client| callbacks::limit_pauses(&mut client, now, longest))
    }

    async fn record_delivery(&self, delivery: Delivery) -> Result<(), StoreError> {
        // Without a claim, a second record would be a second attempt.
        match &delivery.seen.claim {
            Some(_) => call!(self, Always, |client, again| callbacks::record(&mut client, &delivery, again)),
            None => call!(self, IfUndone, |client, again| callbacks::record(&mut client, &delivery, again)),
        }
    }

    async fn defer_callback(&self, deferral: Deferral) -> Result<(), StoreError> {
        match &deferral.seen.claim {
            Some(_) => call!(self, Always, |client| callbacks::defer(&mut client, &deferral)),
            None => call!(self, IfUndone, |client| callbacks::defer(&mut client, &deferral)),
        }
    }

    async fn redeliver(
        &self,
        key: Option<KeyId>,
        id: CallbackId,
        now: Moment,
    ) -> Result<Option<CallbackRow>, StoreError> {
        let started = call!(self, IfUndone, |client| callbacks::redeliver(&mut client, key.as_ref(), &id, now))?;
        if started.is_some() {
            self.bell.ring(Ring::Ended);
        }
        Ok(started)
    }

    async fn callback_place(&self, key: KeyId, id: CallbackId) -> Result<Option<i64>, StoreError> {
        call!(self, Always, |client| callbacks::place(&mut client, &key, &id))
    }

    async fn list_callbacks(
        &self,
        filter: CallbackFilter,
        before: Option<i64>,
        size: usize,
    ) -> Result<Page<CallbackRow>, StoreError> {
        call!(self, Always, |client| callbacks::list(&mut client, &filter, before, size))
    }

    async fn note(&self, note: Note) -> Result<Option<i64>, StoreError> {
        call!(self, Always, |client| notes::note(&mut client, note))
    }

    async fn first_note(&self, note: Note, value: i64) -> Result<i64, StoreError> {
        call!(self, Always, |client| notes::first(&mut client, note, value))
    }

    async fn replace_note(&self, note: Note, from: i64, to: i64) -> Result<Option<i64>, StoreError> {
        call!(self, Always, |client| notes::replace(&mut client, note, from, to))
    }

    async fn set_note(&self, note: Note, value: i64) -> Result<(), StoreError> {
        call!(self, Always, |client| notes::set(&mut client, note, value))
    }
}
