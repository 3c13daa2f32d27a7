//! The service: what all its parts share, and how it is put together.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use imgopen_engine::{Library, Registry};
use imgopen_fetch::{FetchError, Fetcher, Guard};
use imgopen_server::Failure;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::answers::{Urls, pushed};
use crate::assets::{AssetError, Assets};
use crate::callbacks;
use crate::clock::Clock;
use crate::ids::{KeyId, TaskId};
use crate::keys::{KeyError, Keys};
use crate::live::Running;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::settings::{InvalidSetting, Settings};
use crate::store::{NewCallback, Store, StoreError, TaskRow};
use crate::training;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot stand.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The data folder cannot be used.
    #[error("the data folder {folder} cannot be used: {problem}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        problem: String,
    },
    /// Another service works in the data folder.
    #[error("another service works in the data folder {0}; stop it, or give another folder with --data-dir")]
    Occupied(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pictures' folder failed.
    #[error(transparent)]
    Assets(#[from] AssetError),
    /// The keys failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The HTTP client failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// The self-hosted service. Clones are the same one.
#[derive(Clone)]
pub struct Service {
    pub(crate) inner: Arc<Inner>,
}

/// What every part of the service shares.
pub(crate) struct Inner {
    pub settings: Settings,
    pub clock: Clock,
    pub store: Store,
    pub keys: Keys,
    pub assets: Assets,
    pub engines: Registry,
    pub fetcher: Fetcher,
    pub queue: Queue,
    pub running: Running,
    pub metrics: Metrics,
    /// Told the id of every task that ends.
    pub endings: broadcast::Sender<TaskId>,
    /// Woken when there is a callback to push.
    pub pushes: Notify,
    /// Told when the service is to stop: nothing new is begun.
    pub stopping: CancellationToken,
    /// Told when what still runs is to be handed back.
    pub ending: CancellationToken,
    urls: OnceLock<Urls>,
    limiter: Option<DefaultKeyedRateLimiter<KeyId>>,
    /// Held as long as the service lives, so that no second one works in the same folder.
    _lock: File,
}

impl Service {
    /// Opens the data folder, and brings order into what a killed process left: its runs are queued again, half-written
    /// pictures are removed.
    ///
    /// # Errors
    ///
    /// When the settings contradict one another, or the folder cannot be used.
    pub async fn open(settings: Settings, clock: Clock, engines: Registry) -> Result<Self, StartError> {
        settings.check()?;
        let lock = occupy(&settings.data_dir)?;
        let engines = engines.with_library(library(&settings)?);
        let store = Store::open(&settings.data_dir)?;
        let assets = Assets::open(&settings.data_dir.join(ASSETS))?;
        let keys = Keys::new(store.clone(), clock.clone());
        let fetcher = Fetcher::new(Guard::new(settings.allow_network.clone()))?;
        let queue = Queue::new(settings.queue.length, settings.running_per_key());
        let limiter = settings.requests.per_minute.map(|count| RateLimiter::keyed(Quota::per_minute(count)));
        let inner = Inner {
            clock,
            store,
            keys,
            assets,
            engines,
            fetcher,
            queue,
            limiter,
            running: Running::default(),
            metrics: Metrics::default(),
            endings: broadcast::channel(1024).0,
            pushes: Notify::new(),
            stopping: CancellationToken::new(),
            ending: CancellationToken::new(),
            urls: OnceLock::new(),
            settings,
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The access keys.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// The settings that it works by.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Says under which address callers reach the service, and makes it ready: only now are the URLs of pictures known.
    pub(crate) async fn recover(&self, base: String) -> Result<(), StartError> {
        let inner = &self.inner;
        // A second address of the same service does not change the first.
        let urls = inner.urls.get_or_init(|| Urls { base }).clone();
        if inner.settings.open {
            inner.keys.make_open().await?;
        }
        let folder = inner.settings.data_dir.join(ASSETS);
        let datasets = training::sweep(&inner.settings.data_dir).map_err(|error| StartError::Folder {
            folder: inner.settings.data_dir.display().to_string(),
            problem: format!("leftovers cannot be removed: {error}"),
        })?;
        let swept = datasets + inner.assets.sweep(&inner.store, &folder).await?;
        let callback = move |task: &TaskRow| new_callback(task, &urls);
        let (requeued, failed) = inner.store.recover(inner.settings.attempts, inner.clock.now(), callback).await?;
        if swept + requeued + failed > 0 {
            tracing::info!(swept, requeued, failed, "put in order what an earlier process left");
        }
        inner.queue.refill(inner.store.queued().await?);
        Ok(())
    }

    /// Where pictures are.
    pub(crate) fn urls(&self) -> &Urls {
        self.inner.urls.get_or_init(|| Urls { base: String::new() })
    }

    /// Makes the callback of a task that ended, if its request names an address.
    pub(crate) fn callback(&self) -> impl Fn(&TaskRow) -> Option<NewCallback> + Send + 'static {
        let urls = self.urls().clone();
        move |task| new_callback(task, &urls)
    }

    /// Counts a call against its key's limit.
    pub(crate) fn count(&self, key: &KeyId) -> Result<(), Failure> {
        let Some(limiter) = &self.inner.limiter else { return Ok(()) };
        limiter.check_key(key).map_err(|again| {
            let wait = again.wait_time_from(DefaultClock::default().now());
            let most = self.inner.settings.requests.per_minute.map_or(0, u32::from);
            Failure::too_many_requests(format!("the key {key} may make {most} calls a minute; wait a little"), wait)
        })
    }

    /// About how long a caller should wait before there is room in the queue: never long, for room comes one by one.
    pub(crate) fn room_in(&self) -> Duration {
        let (queued, _) = self.inner.queue.counts();
        let turns = queued.div_ceil(self.inner.settings.workers.max(1) * 100);
        Duration::from_secs(turns.clamp(1, 60) as u64)
    }
}

/// The file of the models' hashes within the data folder.
const HASHES: &str = "model-hashes.json";

/// The models folder. A folder that was named must be there; what it holds is looked at in the background.
fn library(settings: &Settings) -> Result<Library, InvalidSetting> {
    let folder = settings.models_dir();
    if settings.models.is_some() && !folder.is_dir() {
        let problem = format!("{} is no folder; give the folder that the models lie in", folder.display());
        return Err(InvalidSetting { setting: "models".to_owned(), problem });
    }
    let library = Library::open(folder, Some(settings.data_dir.join(HASHES)));
    let first = library.clone();
    drop(tokio::task::spawn_blocking(move || first.models()));
    Ok(library)
}

/// The folder of the pictures within the data folder.
pub(crate) const ASSETS: &str = "assets";

/// The file that a running service holds.
const LOCK: &str = "service.lock";

fn occupy(folder: &Path) -> Result<File, StartError> {
    let told =
        |error: std::io::Error| StartError::Folder { folder: folder.display().to_string(), problem: error.to_string() };
    make_private(folder).map_err(told)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK)).map_err(told)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::Occupied(folder.display().to_string())),
        Err(std::fs::TryLockError::Error(error)) => Err(told(error)),
    }
}

/// Makes a folder that only its owner can read: it holds prompts, pictures and the secrets that callbacks are signed with.
pub(crate) fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn new_callback(task: &TaskRow, urls: &Urls) -> Option<NewCallback> {
    let url = task.callback_url.as_deref()?;
    let body = pushed(crate::answers::operation(task)?, task, urls)?.to_string();
    callbacks::new(url, body)
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { settings, engines, .. } = &*self.inner;
        f.debug_struct("Service").field("settings", settings).field("engines", engines).finish_non_exhaustive()
    }
}
