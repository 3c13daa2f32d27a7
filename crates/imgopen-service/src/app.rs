//! Builds, starts and stops the service.

mod error;
mod opening;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use governor::{Quota, RateLimiter};
use imgopen_engine::{Library, Registry};
use imgopen_fetch::{Fetcher, Guard};
use imgopen_store::{Clock, Proof, TaskRow};
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::absences::Absences;
use crate::api::front::{Front, Serving, raise_open_files};
use crate::assets::{AssetError, Assets};
use crate::context::Context;
use crate::data_dir;
use crate::dispatch::Begin;
use crate::fleet::heart::{self, Heart};
use crate::fleet::{bell, looking, offers, previews, recovering, waiters};
use crate::health::Health;
use crate::keys::Keys;
use crate::live::Running;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::settings::addresses::base;
use crate::settings::{InvalidSetting, Settings};
use crate::stop_times::StopTimes;
use crate::tasks::audit;
use crate::tasks::needs::Needs;
use crate::tasks::worker;
use crate::upkeep::recovery::{Recovered, recover, settle_trainings};
use crate::upkeep::supervision::supervise;
use crate::upkeep::suspicion;
use crate::upkeep::sweep::{Sweeper, Writers};
use crate::upkeep::unknown::warn_of_unknown;
use crate::upkeep::{retention, returns, watermark};
use crate::urls::Urls;
use crate::{api, callbacks};
pub use error::{ServeError, StartError};

/// The time for pushes in progress when nothing else is.
const LAST_PUSHES: Duration = Duration::from_secs(2);

/// The pause between two looks at what is in progress.
const POLL: Duration = Duration::from_millis(50);

/// The self-hosted service. Clones share it.
#[derive(Clone)]
pub struct Service {
    context: Arc<Context>,
}

impl Service {
    /// Opens the data directory, and the database that other processes share if the settings name one. The models listed are those
    /// of the engines' library; without one, of the [models directory](Self::library).
    ///
    /// # Errors
    ///
    /// When the settings contradict one another, the directory cannot be used, or what the setting `safety` asks for cannot be done.
    pub async fn open(settings: Settings, clock: Clock, engines: Registry) -> Result<Self, StartError> {
        settings.check()?;
        if settings.role.runs_tasks() {
            audit::check(&settings.safety, &engines)?;
        }
        if !clock.now().is_plausible() {
            return Err(StartError::Clock(clock.now().rfc3339()));
        }
        let lock = opening::take(&settings)?;
        let library = match engines.library() {
            Some(library) => library.clone(),
            None => Self::library(&settings)?,
        };
        let first = library.clone();
        drop(tokio::task::spawn_blocking(move || first.models()));
        let trainer = opening::trainer(&settings, &engines, library.clone())?;
        let engines = engines.with(trainer.clone()).with_library(library);
        let engines = if settings.is_in_fleet() { engines.in_fleet(settings.role.runs_tasks()) } else { engines };
        let store = opening::open_store(&settings).await?;
        let assets = match Assets::in_bucket(&settings.storage, store.clone(), settings.is_in_fleet())? {
            Some(assets) => assets,
            None if settings.is_in_fleet() => {
                Assets::open_shared(&settings.data_dir.join(data_dir::ASSETS), store.clone())?
            }
            None => Assets::open(&settings.data_dir.join(data_dir::ASSETS), store.clone())?,
        };
        match assets.settle().await {
            Err(error @ (AssetError::Store(_) | AssetError::NoRandomness(_))) => return Err(error.into()),
            // What each of several processes makes would be lost for the callers of the others.
            Err(error @ AssetError::Away { .. }) if settings.is_in_fleet() => return Err(opening::apart(&error).into()),
            // That may pass while the service runs, and what needs no pictures goes on meanwhile.
            Err(error) => warn!(%error, "no picture can be written; tasks that make pictures wait until that is over"),
            Ok(()) => {}
        }
        let (sole_owner, fleet) = opening::register(&settings, &clock, &*store, &engines).await?;
        let keys = Keys::new(store.clone(), clock.clone());
        opening::check_keys(&settings, &keys).await?;
        let context = Context {
            health: Health::new(store.clone(), settings.data_dir.clone(), assets.clone(), settings.disk.reserve),
            assets,
            keys,
            fetcher: Fetcher::new(Guard::new(settings.allow_network.clone()))?,
            dispatch: opening::dispatch(&settings, &engines),
            limiter: settings.requests.per_minute.map(|count| RateLimiter::keyed(Quota::per_minute(count))),
            running: Running::default(),
            absences: Absences::default(),
            memory: Memory::new(settings.pictures.memory),
            metrics: Metrics::new(opening::scope(&settings)),
            endings: broadcast::channel(1024).0,
            pushes: Notify::new(),
            stopping: CancellationToken::new(),
            ending: CancellationToken::new(),
            stop_times: OnceLock::new(),
            base: OnceLock::new(),
            _lock: lock,
            settings,
            clock,
            store,
            sole_owner,
            fleet,
            engines,
            trainer,
        };
        Ok(Self { context: Arc::new(context) })
    }

    /// Opens the models directory, for engines that use its models and the service alike. If the setting `models` is set, it
    /// must exist.
    ///
    /// # Errors
    ///
    /// When it does not exist.
    pub fn library(settings: &Settings) -> Result<Library, InvalidSetting> {
        let directory = settings.models_dir();
        if settings.models.is_some() && !directory.is_dir() {
            let problem =
                format!("{} is not a directory; give the directory that holds the models", directory.display());
            return Err(InvalidSetting { setting: "models".to_owned(), problem });
        }
        Ok(Library::open(directory, Some(settings.data_dir.join(data_dir::HASHES))))
    }

    /// Returns the access keys.
    pub fn keys(&self) -> &Keys {
        &self.context.keys
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// Returns the router of the whole service, to be served by another server or beside other routes.
    pub fn router(&self) -> Router {
        api::http::router(&self.context)
    }

    /// Serves until `stop` completes. Then accepts no more calls or runs, lets running tasks and open calls go on until
    /// shortly before the limit of the setting `shutdown`, hands back those that have not ended by then, and returns within
    /// the limit. Returns at once if nothing runs.
    ///
    /// Raises the process's soft limit of open files to its hard one.
    ///
    /// `ready` is called with the address under which callers reach the service.
    ///
    /// # Errors
    ///
    /// When the recovery of an earlier process's runs fails, or the port does.
    pub async fn serve(
        &self,
        listener: TcpListener,
        ready: impl FnOnce(&str),
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let context = &self.context;
        let address = listener.local_addr()?;
        let url = self.url(address);
        if address.ip().is_unspecified() && context.settings.public_url.is_none() {
            warn!(%url, "callers on other machines cannot fetch pictures; set `public_url` to the address that they use");
        }
        if context.fleet.is_some() && context.settings.public_url.is_none() {
            warn!(%url, "pictures have the address of whichever process names them; set `public_url` to one for all");
        }
        let stopping = context.stopping.clone();
        tokio::spawn(async move {
            stop.await;
            stopping.cancel();
        });
        let heart = self.start_heart()?;
        let suspects = tokio::select! {
            outcome = self.start(url) => outcome?,
            // The next start does the rest.
            () = context.stopping.cancelled() => {
                self.resign(heart).await;
                return Ok(());
            }
        };
        let tasks = self.spawn(suspects);
        raise_open_files();
        let (routes, hosts) = (api::http::routes_of(context), api::http::hosts_of(context));
        let (front, serving) = Front::open(listener, routes, hosts, &context.settings.connections);
        ready(&context.urls().base);
        context.stopping.cancelled().await;
        let outcome = self.shut_down(tasks, &front, serving).await;
        // Only now: until its runs are handed back, they are this process's own.
        self.resign(heart).await;
        outcome
    }

    /// Starts the heartbeats, if this is one of several processes.
    fn start_heart(&self) -> Result<Option<Heart>, StartError> {
        let start = |fleet| heart::start(&self.context, fleet).map_err(StartError::Heartbeats);
        self.context.fleet.as_deref().map(start).transpose()
    }

    /// Ends the heartbeats, and has this process forgotten as the owner of runs.
    async fn resign(&self, heart: Option<Heart>) {
        let Some(heart) = heart else { return };
        let limit = self.context.settings.shutdown;
        let times = self.context.stop_times.get_or_init(|| StopTimes::new(Instant::now(), limit));
        if timeout_at(times.close, heart.stop()).await.is_err() {
            warn!("the last heartbeat is not over; others take over what runs here when the lease ends");
        }
    }

    /// Closes the database, once [`serve`](Self::serve) has returned: its file alone is then complete, and can be copied.
    /// Nothing of the service can be used afterwards. Takes at most what is left of the setting `shutdown`.
    pub async fn close(&self) {
        let limit = self.context.settings.shutdown;
        let times = self.context.stop_times.get_or_init(|| StopTimes::new(Instant::now(), limit));
        match timeout_at(times.close, self.context.store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the database was not closed; nothing is lost, but copy it with its log"),
            Err(_) => warn!("the database is still in use; nothing is lost, but copy it with its log"),
        }
    }

    /// Stops the service, as the completion of `stop` would.
    pub fn stop(&self) {
        self.context.stopping.cancel();
    }

    /// Returns the URL under which callers reach the service when it listens on that address: `public_url`, or else the
    /// address. If that stands for all addresses of the machine, the URL is that of `localhost`.
    pub fn url(&self, address: SocketAddr) -> String {
        if let Some(url) = &self.context.settings.public_url {
            // It was checked when the service was opened.
            return base(url).unwrap_or_else(|_| url.clone());
        }
        if address.ip().is_unspecified() {
            return format!("http://localhost:{}", address.port());
        }
        format!("http://{address}")
    }

    /// Recovers the runs of an earlier process, and fills the queue. The URLs of pictures are known from here on.
    ///
    /// Returns the tasks to run alone, before all others.
    async fn start(&self, base: String) -> Result<Vec<TaskRow>, StartError> {
        let context = &self.context;
        // If the service is served at a second address, URLs keep the first.
        context.base.get_or_init(|| Urls { base });
        if context.settings.open {
            context.keys.make_open().await?;
        }
        if context.fleet.is_some() {
            offers::read(context).await?;
            // Whatever is left over is recovered and swept while the service runs, by any process.
            if context.settings.role.runs_tasks() {
                settle_trainings(context, &context.trainer).await?;
            }
            return Ok(Vec::new());
        }
        // The lock of the data directory proves that every other owner is dead.
        let Recovered { requeued, failed } = recover(context, Proof::SoleOwner).await?;
        let orphans = Sweeper::default().sweep(context, Writers::None).await?;
        context.metrics.orphans_deleted(orphans);
        settle_trainings(context, &context.trainer).await?;
        if requeued + failed + orphans > 0 {
            info!(requeued, failed, orphans, "recovered what an earlier process left");
        }
        watermark::compare(context).await?;
        warn_of_unknown(context).await?;
        for lane in context.store.queued().await? {
            context.dispatch.refill(Needs::parse(&lane.needs).slot(context, lane.key), lane.count);
        }
        let settings = &context.settings;
        let mut suspects = context.store.suspects(suspicion::least(settings)).await?;
        suspects.retain(|TaskRow { operation, attempt, .. }| suspicion::is_suspect(settings, operation, *attempt));
        Ok(suspects)
    }

    #[cfg(test)]
    pub(crate) fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    /// The state of a service that nothing else uses.
    #[cfg(test)]
    pub(crate) fn into_context(self) -> Context {
        Arc::into_inner(self.context).expect("nothing else uses it")
    }

    /// Starts all that goes on until the service stops: first the runs of the suspects, then the workers, and beside them
    /// the callbacks and the upkeep. What is started follows from the role.
    fn spawn(&self, suspects: Vec<TaskRow>) -> TaskTracker {
        let (tasks, role) = (TaskTracker::new(), self.context.settings.role);
        if role.runs_tasks() {
            self.spawn_workers(&tasks, suspects);
            tasks.spawn(supervise(self.context.clone(), "returns", returns::run));
        }
        if role.answers_calls() {
            tasks.spawn(supervise(self.context.clone(), "callbacks", callbacks::push::run));
        }
        tasks.spawn(supervise(self.context.clone(), "upkeep", retention::run));
        match self.context.fleet {
            Some(_) => self.spawn_fleet(&tasks),
            None => drop(tasks.spawn(supervise(self.context.clone(), "watermark", watermark::run))),
        }
        tasks.close();
        tasks
    }

    /// Starts what keeps this process in touch with the others.
    fn spawn_fleet(&self, tasks: &TaskTracker) {
        let role = self.context.settings.role;
        tasks.spawn(supervise(self.context.clone(), "announcements", bell::run));
        tasks.spawn(supervise(self.context.clone(), "recovery", recovering::run));
        tasks.spawn(supervise(self.context.clone(), "offers", offers::run));
        tasks.spawn(supervise(self.context.clone(), "queue", looking::run));
        if role.runs_tasks() {
            tasks.spawn(supervise(self.context.clone(), "previews", previews::run));
        }
        if role.answers_calls() {
            tasks.spawn(supervise(self.context.clone(), "waiting calls", waiters::run));
        }
    }

    fn spawn_workers(&self, tasks: &TaskTracker, suspects: Vec<TaskRow>) {
        let (context, workers) = (self.context.clone(), tasks.clone());
        tasks.spawn(async move {
            worker::run_suspects(&context, suspects, worker::ALONE, &workers).await;
            for (index, pool) in context.dispatch.pools().iter().enumerate() {
                // One that fetches goes on to work.
                for (begin, count) in [(Begin::Working, pool.slots), (Begin::Fetching, pool.slots + pool.fetching)] {
                    for _ in 0..count {
                        let work = move |context| worker::work(context, index, begin);
                        workers.spawn(supervise(context.clone(), "worker", work));
                    }
                }
            }
        });
    }

    async fn shut_down(&self, tasks: TaskTracker, front: &Front, serving: Serving) -> Result<(), ServeError> {
        let limit = self.context.settings.shutdown;
        let times = *self.context.stop_times.get_or_init(|| StopTimes::new(Instant::now(), limit));
        info!(?limit, "stopping; running tasks and open calls may go on until shortly before the limit");
        front.stop();
        let mut all = std::pin::pin!(async { tokio::join!(tasks.wait(), serving).1 });
        let ended = tokio::select! {
            served = &mut all => Some(served),
            () = self.quiet(front) => None,
            () = tokio::time::sleep_until(times.running) => {
                warn!("the limit has nearly passed; running tasks are handed back");
                None
            }
        };
        self.context.ending.cancel();
        let outcome = match ended {
            Some(served) => Ok(served),
            None => {
                let times = times.without_tasks(Instant::now());
                match timeout_at(times.answers, &mut all).await {
                    Ok(served) => Ok(served),
                    Err(_) => {
                        front.close();
                        timeout_at(times.hand_back, all).await
                    }
                }
            }
        };
        match outcome {
            Ok(Ok(served)) => served?,
            Ok(Err(error)) => error!(%error, "the server's task failed"),
            Err(_) => warn!("not all tasks were handed back; the next start recovers them"),
        }
        Ok(())
    }

    /// Waits until no task runs and no caller is answered, and then for pushes. What is not acknowledged by then is pushed
    /// again after the next start.
    async fn quiet(&self, front: &Front) {
        while self.context.dispatch.counts().1 > 0 || front.connections() > 0 {
            tokio::time::sleep(POLL).await;
        }
        tokio::time::sleep(LAST_PUSHES).await;
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { settings, engines, .. } = &*self.context;
        f.debug_struct("Service").field("settings", settings).field("engines", engines).finish_non_exhaustive()
    }
}
