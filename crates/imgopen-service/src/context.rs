//! The state that all parts of the service share.

use std::collections::HashSet;
use std::fs::File;
use std::sync::{Arc, OnceLock};

use governor::DefaultKeyedRateLimiter;
use imgopen_engine::{BackendStatus, Registry};
use imgopen_fetch::Fetcher;
use imgopen_store::{Clock, KeyId, OwnerId, Store, TaskId};
use imgopen_trainer::Trainer;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::absences::Absences;
use crate::assets::Assets;
use crate::dispatch::Dispatch;
use crate::fleet::Fleet;
use crate::health::Health;
use crate::keys::Keys;
use crate::live::Running;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::stop_times::StopTimes;
use crate::urls::Urls;

/// The state that all parts of the service share.
pub(crate) struct Context {
    pub settings: Settings,
    pub clock: Clock,
    pub store: Arc<dyn Store>,
    /// The only process of its database, as the owner of runs; see [`owner`](Self::owner).
    pub sole_owner: OwnerId,
    /// What the process knows as one of several of its database. `None` if it is the only one.
    pub fleet: Option<Arc<Fleet>>,
    pub keys: Keys,
    pub assets: Assets,
    pub engines: Registry,
    /// The same engine as in the registry.
    pub trainer: Trainer,
    pub fetcher: Fetcher,
    pub dispatch: Dispatch,
    /// Where parts of the service report what keeps tasks from being accepted or finished.
    pub health: Health,
    pub running: Running,
    /// The back ends that tasks wait for.
    pub absences: Absences,
    /// For the pictures of runs.
    pub memory: Memory,
    pub metrics: Metrics,
    /// Calls per key, if they are limited.
    pub limiter: Option<DefaultKeyedRateLimiter<KeyId>>,
    /// Receives the id of every task that ends.
    pub endings: broadcast::Sender<TaskId>,
    /// Notified when a callback is to be pushed.
    pub pushes: Notify,
    /// Cancelled when the service is to stop: nothing new begins.
    pub stopping: CancellationToken,
    /// Cancelled when what still runs is to be handed back.
    pub ending: CancellationToken,
    /// Known once the service stops.
    pub stop_times: OnceLock<StopTimes>,
    /// Known once the service listens.
    pub base: OnceLock<Urls>,
    /// Held as long as any part of the service runs, so that no second one opens the data directory. A process that only answers
    /// calls keeps nothing there.
    pub _lock: Option<File>,
}

impl Context {
    /// Returns this process as the owner of runs. In a fleet it changes once the process was declared dead.
    pub fn owner(&self) -> OwnerId {
        self.fleet.as_ref().map_or_else(|| self.sole_owner.clone(), |fleet| fleet.owner())
    }

    /// Returns what is known of all back ends, each once, although several engines may use one.
    pub fn backends(&self) -> Vec<BackendStatus> {
        let mut names = HashSet::new();
        let all = self.engines.engines().iter().flat_map(|engine| engine.backends());
        all.filter(|backend| names.insert(backend.name.clone())).collect()
    }

    /// Returns whether an engine drives back ends.
    pub fn drives_backends(&self, engine: &str) -> bool {
        self.engines.engine(engine).is_some_and(|engine| !engine.backends().is_empty())
    }

    /// Returns the URLs of pictures.
    pub fn urls(&self) -> &Urls {
        self.base.get_or_init(|| Urls { base: String::new() })
    }
}
