//! Builds, starts and stops the service.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use governor::{Quota, RateLimiter};
use imgopen_engine::{Library, Registry};
use imgopen_fetch::{FetchError, Fetcher, Guard};
use imgopen_store::{Clock, NoRandomness, OwnerId, Proof, StoreError};
use imgopen_trainer::Trainer;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::assets::{AssetError, Assets};
use crate::context::Context;
use crate::data_dir;
use crate::dispatch::{Dispatch, Slot};
use crate::health::Health;
use crate::keys::{KeyError, Keys};
use crate::live::Running;
use crate::metrics::Metrics;
use crate::settings::{InvalidSetting, Settings};
use crate::tasks::needs::{self, Needs};
use crate::tasks::worker;
use crate::upkeep::recovery::{Recovered, recover};
use crate::upkeep::sweep::{Writers, sweep};
use crate::upkeep::unknown::warn_of_unknown;
use crate::upkeep::{retention, watermark};
use crate::urls::Urls;
use crate::{api, callbacks};

/// How long a connection may take for the head of a request, and stay idle between requests.
const HEAD: Duration = Duration::from_secs(60);

/// The time beyond the limit for handing tasks back and answering the last callers.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// The time for closing the database.
const CLOSING: Duration = Duration::from_secs(3);

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
    /// Opens the data directory.
    ///
    /// # Errors
    ///
    /// When the settings contradict one another, or the directory cannot be used.
    pub async fn open(settings: Settings, clock: Clock, engines: Registry) -> Result<Self, StartError> {
        settings.check()?;
        let lock = occupy(&settings.data_dir)?;
        let library = library(&settings)?;
        let trainer = Trainer::open(&settings.data_dir, library.clone());
        if let Err(error) = trainer.remove_partials() {
            warn!(%error, "partial data sets could not be deleted; the next start tries again");
        }
        let engines = engines.with(trainer).with_library(library);
        let store = data_dir::open_store(&settings.data_dir)?;
        let assets = settings.data_dir.join(data_dir::ASSETS);
        let owner = OwnerId::new()?;
        // Without a lease: the lock proves that this process lives.
        store.register_owner(owner.clone(), None).await?;
        let context = Context {
            assets: Assets::open(&assets)?,
            health: Health::new(store.clone(), settings.data_dir.clone(), assets, settings.disk.reserve),
            keys: Keys::new(store.clone(), clock.clone()),
            fetcher: Fetcher::new(Guard::new(settings.allow_network.clone()))?,
            dispatch: Dispatch::new(needs::pools(&engines, &settings), settings.queue.length),
            limiter: settings.requests.per_minute.map(|count| RateLimiter::keyed(Quota::per_minute(count))),
            running: Running::default(),
            metrics: Metrics::default(),
            endings: broadcast::channel(1024).0,
            pushes: Notify::new(),
            stopping: CancellationToken::new(),
            ending: CancellationToken::new(),
            base: OnceLock::new(),
            _lock: lock,
            settings,
            clock,
            store,
            owner,
            engines,
        };
        Ok(Self { context: Arc::new(context) })
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

    /// Serves until `stop` completes. Then accepts no more calls or runs, gives running tasks the time of the setting
    /// `shutdown`, hands back those that have not ended by then, and returns.
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
        tokio::select! {
            outcome = self.start(url) => outcome?,
            // The next start does the rest.
            () = context.stopping.cancelled() => return Ok(()),
        }
        let tasks = self.spawn();
        let callers = Handle::new();
        let server = server(listener, callers.clone()).serve(self.router().into_make_service());
        ready(&context.urls().base);
        let server = tokio::spawn(server);
        context.stopping.cancelled().await;
        callers.graceful_shutdown(Some(context.settings.shutdown + LAST_ANSWERS));
        self.shut_down(tasks, server).await
    }

    /// Closes the database, once [`serve`](Self::serve) has returned: its file alone is then complete, and can be copied.
    /// Nothing of the service can be used afterwards.
    pub async fn close(&self) {
        match tokio::time::timeout(CLOSING, self.context.store.close()).await {
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
            return url.trim_end_matches('/').to_owned();
        }
        if address.ip().is_unspecified() {
            return format!("http://localhost:{}", address.port());
        }
        format!("http://{address}")
    }

    /// Recovers the runs of an earlier process, and fills the queue. The URLs of pictures are known from here on.
    async fn start(&self, base: String) -> Result<(), StartError> {
        let context = &self.context;
        // If the service is served at a second address, URLs keep the first.
        context.base.get_or_init(|| Urls { base });
        if context.settings.open {
            context.keys.make_open().await?;
        }
        // The lock of the data directory proves that every other owner is dead.
        let Recovered { requeued, failed } = recover(context, Proof::SoleOwner).await?;
        let orphans = sweep(context, Writers::None).await?;
        if requeued + failed + orphans > 0 {
            info!(requeued, failed, orphans, "recovered from an unclean shutdown");
        }
        watermark::compare(context).await?;
        warn_of_unknown(context).await?;
        for lane in context.store.queued().await? {
            let pool = Needs::parse(&lane.needs).pool(context);
            context.dispatch.refill(Slot { pool, key: lane.key, needs: lane.needs }, lane.count);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    fn spawn(&self) -> TaskTracker {
        let tasks = TaskTracker::new();
        for (index, pool) in self.context.dispatch.pools().iter().enumerate() {
            for _ in 0..pool.slots {
                tasks.spawn(worker::work(self.context.clone(), index));
            }
        }
        tasks.spawn(callbacks::push::run(self.context.clone()));
        tasks.spawn(retention::run(self.context.clone()));
        tasks.spawn(watermark::run(self.context.clone()));
        tasks.close();
        tasks
    }

    async fn shut_down(&self, tasks: TaskTracker, server: Serving) -> Result<(), ServeError> {
        let limit = self.context.settings.shutdown;
        info!(?limit, "stopping; running tasks may go on until the limit");
        let mut all = std::pin::pin!(async { tokio::join!(tasks.wait(), server).1 });
        let mut outcome = tokio::time::timeout(limit, &mut all).await;
        self.context.ending.cancel();
        if outcome.is_err() {
            warn!("the limit has passed; running tasks are handed back");
            outcome = tokio::time::timeout(LAST_ANSWERS, all).await;
        }
        match outcome {
            Ok(Ok(served)) => served?,
            Ok(Err(error)) => error!(%error, "the server's task failed"),
            Err(_) => warn!("not all tasks were handed back or callers answered; the next start recovers the tasks"),
        }
        Ok(())
    }
}

/// The task that answers callers.
type Serving = tokio::task::JoinHandle<std::io::Result<()>>;

/// Makes the server of a port. A connection that takes longer than [`HEAD`] for a request's head is closed. A picture's
/// head and its bytes are two writes: without `TCP_NODELAY`, the system would hold back the second until the caller has
/// acknowledged the first, which callers delay by 40 ms.
fn server(listener: TcpListener, callers: Handle<SocketAddr>) -> axum_server::Server<SocketAddr, NoDelayAcceptor> {
    let server = axum_server::Server::from_listener(listener).acceptor(NoDelayAcceptor::new());
    let mut server = server.handle(callers).http1_only().accept_error_handler(|_, error| {
        warn!(%error, "a connection could not be accepted");
    });
    server.http_builder().http1().header_read_timeout(HEAD);
    server
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

/// Opens the models directory, and reads it in the background. If it is set, it must exist.
fn library(settings: &Settings) -> Result<Library, InvalidSetting> {
    let directory = settings.models_dir();
    if settings.models.is_some() && !directory.is_dir() {
        let problem = format!("{} is not a directory; give the directory that holds the models", directory.display());
        return Err(InvalidSetting { setting: "models".to_owned(), problem });
    }
    let library = Library::open(directory, Some(settings.data_dir.join(data_dir::HASHES)));
    let first = library.clone();
    drop(tokio::task::spawn_blocking(move || first.models()));
    Ok(library)
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { settings, engines, .. } = &*self.context;
        f.debug_struct("Service").field("settings", settings).field("engines", engines).finish_non_exhaustive()
    }
}
