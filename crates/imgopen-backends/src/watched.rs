//! What is known of a server: its lists, read in the background, and whether it answers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use imgopen_engine::EngineError;
use tokio::sync::{Mutex, Notify};
use tracing::{info, warn};

use crate::http::{CallError, Http};
use crate::settings::BackendSettings;
use crate::timing::Timing;

/// What a server has, read all at once.
pub(crate) trait Snapshot: Sized + Send + Sync + 'static {
    /// Reads all of it.
    fn read(http: &Http) -> impl Future<Output = Result<Self, CallError>> + Send;

    /// Reads all of it, and what an operator's own files need beside it.
    fn read_with(http: &Http, further: &[String]) -> impl Future<Output = Result<Self, CallError>> + Send {
        let _ = further;
        Self::read(http)
    }

    /// Has the server look for models that were added, if it does not do so by itself whenever its lists are read.
    fn rescan(http: &Http) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = http;
        std::future::ready(Ok(()))
    }
}

/// A server that is asked for its lists until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched<L> {
    /// The name of the back end.
    pub name: String,
    pub settings: BackendSettings,
    pub http: Http,
    pub timing: Timing,
    /// What an operator's own files need of the lists.
    further: Vec<String>,
    arrived: Arrived<L>,
    state: RwLock<State<L>>,
    /// Asks for the lists to be read now.
    stale: Notify,
    /// How often the server was to look for models that were added.
    rescans: AtomicU64,
    /// How many of these looks are done. Held while the lists are read, so that older ones never replace newer ones.
    rescanned: Mutex<u64>,
}

/// What is called with lists that have arrived.
struct Arrived<L>(Box<dyn Fn(&L) + Send + Sync>);

impl<L> fmt::Debug for Arrived<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arrived")
    }
}

#[derive(Debug)]
struct State<L> {
    /// The lists when the server last answered.
    lists: Option<Arc<L>>,
    /// Why it is away; `None` while it answers.
    away: Option<String>,
    version: Option<String>,
}

impl<L: Snapshot> Watched<L> {
    /// Begins to ask. Needs a tokio runtime.
    pub(crate) fn open(settings: BackendSettings, name: &str, timing: Timing) -> Result<Arc<Self>, String> {
        Self::open_with(settings, name, timing, Vec::new(), |_| ())
    }

    /// The same for lists that are read with what an operator's own files need. `arrived` is called with them.
    pub(crate) fn open_with(
        settings: BackendSettings,
        name: &str,
        timing: Timing,
        further: Vec<String>,
        arrived: impl Fn(&L) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, String> {
        let http = Http::new(&settings, timing.answer)?;
        let state = State { lists: None, away: Some("it has not answered yet".to_owned()), version: None };
        let (name, state, stale) = (name.to_owned(), RwLock::new(state), Notify::new());
        let arrived = Arrived(Box::new(arrived));
        let (rescans, rescanned) = (AtomicU64::new(0), Mutex::new(0));
        let watched =
            Arc::new(Self { name, settings, http, timing, further, arrived, state, stale, rescans, rescanned });
        tokio::spawn(keep_fresh(Arc::downgrade(&watched)));
        Ok(watched)
    }

    /// Returns the lists, and why the server is away.
    pub(crate) fn known(&self) -> (Option<Arc<L>>, Option<String>) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        (state.lists.clone(), state.away.clone())
    }

    /// Returns the version of the program, once it has said so.
    pub(crate) fn version(&self) -> Option<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).version.clone()
    }

    /// Notes what the program says of its version.
    pub(crate) fn note_version(&self, version: Option<String>) {
        if version.is_some() {
            self.state.write().unwrap_or_else(PoisonError::into_inner).version = version;
        }
    }

    /// Returns the lists, and asks for them if the server has not answered yet.
    pub(crate) async fn lists(&self) -> Result<Arc<L>, EngineError> {
        if let Some(lists) = self.known().0 {
            return Ok(lists);
        }
        self.refresh().await;
        let (lists, away) = self.known();
        let reason = away.unwrap_or_default();
        lists.ok_or(EngineError::Unavailable { reason, retry_after: Some(self.timing.retry) })
    }

    /// Reads the lists after the server has looked for models that were added. One that is away looks once it is back.
    pub(crate) async fn rescan(&self) {
        self.rescans.fetch_add(1, Ordering::SeqCst);
        if !self.refresh().await {
            self.stale.notify_one();
        }
    }

    /// Reads the lists now, and returns whether the server answers.
    pub(crate) async fn refresh(&self) -> bool {
        let mut rescanned = self.rescanned.lock().await;
        let result = self.read(&mut rescanned).await;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(lists) => {
                if state.away.take().is_some() {
                    info!(backend = self.name, "back end ready");
                }
                let lists = Arc::new(lists);
                state.lists = Some(lists.clone());
                drop(state);
                (self.arrived.0)(&lists);
                true
            }
            Err(error) => {
                let reason = reason(error.into_engine(&self.name));
                if state.away.as_ref() != Some(&reason) {
                    warn!(backend = self.name, place = self.settings.place(), reason, "back end away");
                }
                state.away = Some(reason);
                false
            }
        }
    }

    async fn read(&self, rescanned: &mut u64) -> Result<L, CallError> {
        let due = self.rescans.load(Ordering::SeqCst);
        let looked = if *rescanned < due { L::rescan(&self.http).await } else { Ok(()) };
        let lists = L::read_with(&self.http, &self.further).await?;
        match looked {
            Ok(()) => *rescanned = due,
            // It answers, so it is not away. What it lists may be old, so it is asked to look with the next read again.
            Err(error) => warn!(backend = self.name, %error, "back end has not looked for models that were added"),
        }
        Ok(lists)
    }

    /// Has the lists read soon, because something may have been installed.
    pub(crate) fn refresh_soon(&self) {
        self.stale.notify_one();
    }

    /// Notes that the server does not answer, and has it asked again soon.
    pub(crate) fn lost(&self, error: &EngineError) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).away = Some(reason(error.clone()));
        self.stale.notify_one();
    }
}

/// Reads the lists until nobody watches.
async fn keep_fresh<L: Snapshot>(watched: Weak<Watched<L>>) {
    loop {
        let Some(watched) = watched.upgrade() else { return };
        let is_there = watched.refresh().await;
        let pause = if is_there { watched.timing.refresh } else { watched.timing.retry };
        // It is kept for one pause at most.
        let _ = tokio::time::timeout(pause, watched.stale.notified()).await;
    }
}

/// Says why a server is away.
fn reason(error: EngineError) -> String {
    match error {
        EngineError::Unavailable { reason, .. } => reason,
        other => other.to_string(),
    }
}
