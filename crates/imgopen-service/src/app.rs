//! Builds, starts and stops the service.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use governor::{Quota, RateLimiter};
use imgopen_engine::{Library, Registry};
use imgopen_fetch::{FetchError, Fetcher, Guard};
use imgopen_store::{Clock, KeyId, NoRandomness, OwnerAbout, OwnerId, Proof, StoreError, TaskRow};
use imgopen_trainer::{InvalidSetup, SdScripts, Trainer};
use imgopen_types::operations;
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
use crate::dispatch::{Begin, Dispatch};
use crate::health::Health;
use crate::keys::{KeyError, Keys};
use crate::live::Running;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::settings::addresses::base;
use crate::settings::{InvalidSetting, Settings, TrainingSettings};
use crate::stop_times::StopTimes;
use crate::tasks::audit;
use crate::tasks::needs::{self, Needs};
use crate::tasks::worker;
use crate::upkeep::recovery::{Recovered, recover, settle_trainings, suspect_from};
use crate::upkeep::supervision::supervise;
use crate::upkeep::sweep::{Sweeper, Writers};
use crate::upkeep::unknown::warn_of_unknown;
use crate::upkeep::{retention, returns, watermark};
use crate::urls::Urls;
use crate::{api, callbacks};

/// The time for pushes in progress when nothing else is.
const LAST_PUSHES: Duration = Duration::from_secs(2);

/// The pause between two looks at what is in progress.
const POLL: Duration = Duration::from_millis(50);

/// An error of opening or starting the service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The data directory cannot be used.
    #[error("the data directory {directory} cannot be used: {problem}")]
    Directory {
        /// Its path.
        directory: String,
        /// The system's message.
        problem: String,
    },
    /// Another service runs in the data directory.
    #[error("another service runs in the data directory {0}; stop it, or give another directory with --data-dir")]
    Occupied(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory of pictures failed.
    #[error(transparent)]
    Assets(#[from] AssetError),
    /// The access keys failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The machine's clock cannot be right.
    #[error("the machine's clock is at {0}, which cannot be right; set the clock, then start again")]
    Clock(String),
    /// The HTTP client failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The system gave no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// An error that ends the service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The service could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The port failed.
    #[error("the port failed: {0}")]
    Port(#[from] std::io::Error),
}

/// The self-hosted service. Clones share it.
#[derive(Clone)]
pub struct Service {
    context: Arc<Context>,
}

impl Service {
    /// Opens the data directory. The models listed are those of the engines' library; without one, of the
    /// [models directory](Self::library).
    ///
    /// # Errors
    ///
    /// When the settings contradict one another, the directory cannot be used, or what the setting `safety` asks for cannot be done.
    pub async fn open(settings: Settings, clock: Clock, engines: Registry) -> Result<Self, StartError> {
        settings.check()?;
        audit::check(&settings.safety, &engines)?;
        if !clock.now().is_plausible() {
            return Err(StartError::Clock(clock.now().rfc3339()));
        }
        let lock = occupy(&settings.data_dir)?;
        let library = match engines.library() {
            Some(library) => library.clone(),
            None => Self::library(&settings)?,
        };
        let first = library.clone();
        drop(tokio::task::spawn_blocking(move || first.models()));
        let trainer = trainer(&settings, &engines, library.clone())?;
        let engines = engines.with(trainer.clone()).with_library(library);
        let store = data_dir::open_store(&settings.data_dir)?;
        let assets = match Assets::in_bucket(&settings.storage, store.clone())? {
            Some(assets) => assets,
            None => Assets::open(&settings.data_dir.join(data_dir::ASSETS), store.clone())?,
        };
        match assets.settle().await {
            Err(error @ (AssetError::Store(_) | AssetError::NoRandomness(_))) => return Err(error.into()),
            // That may pass while the service runs, and what needs no pictures goes on meanwhile.
            Err(error) => warn!(%error, "no picture can be written; tasks that make pictures wait until that is over"),
            Ok(()) => {}
        }
        let owner = OwnerId::new()?;
        // Without a lease: the lock proves that this process lives.
        let about = OwnerAbout { role: "all".to_owned(), started_at: clock.now(), ..OwnerAbout::default() };
        store.register_owner(owner.clone(), None, about).await?;
        let keys = Keys::new(store.clone(), clock.clone());
        check_keys(&settings, &keys).await?;
        let context = Context {
            health: Health::new(store.clone(), settings.data_dir.clone(), assets.clone(), settings.disk.reserve),
            assets,
            keys,
            fetcher: Fetcher::new(Guard::new(settings.allow_network.clone()))?,
            dispatch: Dispatch::new(needs::pools(&engines, &settings), settings.queue.length)
                .with_room(needs::room(engines.clone())),
            limiter: settings.requests.per_minute.map(|count| RateLimiter::keyed(Quota::per_minute(count))),
            running: Running::default(),
            absences: Absences::default(),
            memory: Memory::new(settings.pictures.memory),
            metrics: Metrics::default(),
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
            owner,
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
        let stopping = context.stopping.clone();
        tokio::spawn(async move {
            stop.await;
            stopping.cancel();
        });
        let suspects = tokio::select! {
            outcome = self.start(url) => outcome?,
            // The next start does the rest.
            () = context.stopping.cancelled() => return Ok(()),
        };
        let tasks = self.spawn(suspects);
        raise_open_files();
        let (routes, hosts) = (api::http::routes_of(context), api::http::hosts_of(context));
        let (front, serving) = Front::open(listener, routes, hosts, &context.settings.connections);
        ready(&context.urls().base);
        context.stopping.cancelled().await;
        self.shut_down(tasks, &front, serving).await
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
        // The lock of the data directory proves that every other owner is dead.
        let Recovered { requeued, failed } = recover(context, Proof::SoleOwner).await?;
        let orphans = Sweeper::default().sweep(context, Writers::None).await?;
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
        let is_training = |operation: &str| operation == operations::SUBMIT_TRAINING.id;
        let least = suspect_from(settings.attempts, false).min(suspect_from(settings.training.attempts, true));
        let mut suspects = context.store.suspects(least).await?;
        suspects.retain(|TaskRow { operation, attempt, .. }| {
            *attempt >= suspect_from(settings.attempts(operation), is_training(operation))
        });
        Ok(suspects)
    }

    #[cfg(test)]
    pub(crate) fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    /// Starts all that goes on until the service stops: first the runs of the suspects, then the workers, and beside them
    /// the callbacks and the upkeep.
    fn spawn(&self, suspects: Vec<TaskRow>) -> TaskTracker {
        let (tasks, context) = (TaskTracker::new(), self.context.clone());
        let workers = tasks.clone();
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
        tasks.spawn(supervise(self.context.clone(), "callbacks", callbacks::push::run));
        tasks.spawn(supervise(self.context.clone(), "upkeep", retention::run));
        tasks.spawn(supervise(self.context.clone(), "watermark", watermark::run));
        tasks.spawn(supervise(self.context.clone(), "returns", returns::run));
        tasks.close();
        tasks
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

fn occupy(data_dir: &Path) -> Result<File, StartError> {
    let to_error = |error: std::io::Error| StartError::Directory {
        directory: data_dir.display().to_string(),
        problem: error.to_string(),
    };
    data_dir::make_private(data_dir).map_err(to_error)?;
    let unusable = |problem| StartError::Directory { directory: data_dir.display().to_string(), problem };
    #[cfg(unix)]
    if let Some(mode) = data_dir::close_to_others(data_dir).map_err(unusable)? {
        let (directory, mode) = (data_dir.display(), format!("{mode:04o}"));
        warn!(%directory, mode, "other users could read the data directory; it is closed to them now");
    }
    let lock = data_dir::lock(data_dir).map_err(to_error)?;
    let lock = lock.ok_or_else(|| StartError::Occupied(data_dir.display().to_string()))?;
    if data_dir.join(data_dir::RESTORING).exists() {
        let problem = format!(
            "a restore was interrupted; repeat it with `imgopen restore --replace`, or delete `{}` to go on without",
            data_dir::RESTORING
        );
        return Err(unusable(problem));
    }
    Ok(lock)
}

/// Checks that the keys exist that settings name.
async fn check_keys(settings: &Settings, keys: &Keys) -> Result<(), StartError> {
    for id in settings.safety.keys.keys().filter(|id| *id != KeyId::OPEN) {
        if !keys.knows(&KeyId(id.clone())).await? {
            let problem = "no access key has that id; `imgopen keys list` shows all".to_owned();
            return Err(InvalidSetting { setting: format!("safety.keys.{id}"), problem }.into());
        }
    }
    Ok(())
}

/// Opens the trainer, which trains if sd-scripts is configured.
fn trainer(settings: &Settings, engines: &Registry, library: Library) -> Result<Trainer, InvalidSetting> {
    let TrainingSettings { memory, scripts, accelerate, tokenizers, arguments, device, cpu, .. } = &settings.training;
    let trainer = Trainer::open(&settings.data_dir, library).with_memory(*memory);
    let Some(scripts) = scripts else { return Ok(trainer) };
    let scripts = SdScripts {
        scripts: scripts.clone(),
        accelerate: accelerate.clone(),
        tokenizers: tokenizers.clone(),
        arguments: arguments.clone(),
        device: device.clone(),
        cpu: *cpu,
        launcher: engines.launcher().map(Path::to_owned),
    };
    trainer
        .with_scripts(&scripts, engines.devices().clone())
        .map_err(|InvalidSetup { setting, problem }| InvalidSetting { setting: format!("training.{setting}"), problem })
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { settings, engines, .. } = &*self.context;
        f.debug_struct("Service").field("settings", settings).field("engines", engines).finish_non_exhaustive()
    }
}
