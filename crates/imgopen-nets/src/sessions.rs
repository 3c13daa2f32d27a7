//! Nets that all jobs share: loaded when one is first needed, dropped when it has been idle for a while.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, warn};

use crate::error::NetError;
use crate::model::Limits;
use crate::net::Net;
use crate::runtime::Runtime;

/// How long nets stay loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// After which time without a session a net is dropped. Default 5 minutes.
    pub idle: Duration,
    /// The most bytes that the weights of nets without a session take together; the one that was used longest ago is dropped
    /// first. No job counts these bytes, so a server takes them off the memory that it gives to jobs. Default 256 MiB.
    pub resident: u64,
    /// The limits on every model file and run.
    pub limits: Limits,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { idle: Duration::from_secs(300), resident: 256 * 1024 * 1024, limits: Limits::default() }
    }
}

/// The nets of a server. Clones share them.
///
/// ```no_run
/// use std::num::NonZeroUsize;
/// use std::path::Path;
/// use std::sync::Arc;
///
/// use imgopen_nets::{SessionSettings, Sessions, runtime::Rten};
///
/// let runtime = Arc::new(Rten::new(NonZeroUsize::MIN));
/// let sessions = Sessions::new(runtime, SessionSettings::default());
/// let net = sessions.open(Path::new("models/realesrgan-x4plus.onnx"))?;
/// println!("made by {} ({}) in {}", net.file().name(), net.file().hash(), net.runtime());
/// # Ok::<(), imgopen_nets::NetError>(())
/// ```
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
    /// Wakes the thread that drops idle nets. It ends when the last sender is dropped.
    wake: Sender<()>,
}

/// A net in use. While there is one, the net stays loaded.
pub struct Session {
    loaded: Arc<Loaded>,
    shared: Arc<Shared>,
    wake: Sender<()>,
}

struct Shared {
    runtime: Arc<dyn Runtime>,
    /// What loads the nets that are opened apart.
    apart: Arc<dyn Runtime>,
    settings: SessionSettings,
    places: Mutex<HashMap<PathBuf, Arc<Place>>>,
}

/// Where the net of a file is kept.
#[derive(Default)]
struct Place {
    /// Held while the net is loaded, so that others that need it wait.
    loading: Mutex<()>,
    /// Held for moments only.
    loaded: Mutex<Option<Arc<Loaded>>>,
}

struct Loaded {
    net: Net,
    stamp: Stamp,
    usage: Mutex<Usage>,
}

struct Usage {
    sessions: usize,
    last: Instant,
}

/// Size and time of a file, by which a change is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

impl Sessions {
    /// Creates an empty set, whose nets are loaded by `runtime`.
    pub fn new(runtime: Arc<dyn Runtime>, settings: SessionSettings) -> Self {
        Self::with_apart(runtime.clone(), runtime, settings)
    }

    /// As [`new`](Self::new), with another runtime, such as [`Apart`](crate::runtime::Apart), for files that are opened by
    /// [`open_apart`](Self::open_apart).
    pub fn with_apart(runtime: Arc<dyn Runtime>, apart: Arc<dyn Runtime>, settings: SessionSettings) -> Self {
        let shared = Arc::new(Shared { runtime, apart, settings, places: Mutex::default() });
        let (wake, woken) = channel();
        let started = thread::Builder::new().name("imgopen-nets".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.drop_idle(&woken)
        });
        if let Err(error) = started {
            warn!(%error, "no thread for idle nets; they stay loaded up to the limit of their memory");
        }
        Self { shared, wake }
    }

    /// Returns the net of a model file. It is loaded if it is not yet, if the file has changed since, or if the process that it lived in
    /// has ended; others that need it wait meanwhile. Loading takes up to some seconds, so this belongs on a thread that may block.
    ///
    /// # Errors
    ///
    /// [`NetError::File`] if the file cannot be read, exceeds the limits, or the runtime does not support it; [`NetError::Runtime`] if
    /// the runtime does not work; [`NetError::Killed`] if the process that loads it was ended from outside.
    pub fn open(&self, path: &Path) -> Result<Session, NetError> {
        self.open_by(path, &*self.shared.runtime, &self.shared.settings.limits)
    }

    /// As [`open`](Self::open), for runs on pictures whose sides have at most that length where the file leaves it open. A file is opened
    /// with one length only.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_up_to(&self, path: &Path, side: usize) -> Result<Session, NetError> {
        let limits = Limits { side: Some(side), ..self.shared.settings.limits };
        self.open_by(path, &*self.shared.runtime, &limits)
    }

    /// As [`open`](Self::open), by the runtime that is kept apart for files which nobody has proven. A file is opened either by this
    /// or by `open`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_apart(&self, path: &Path) -> Result<Session, NetError> {
        self.open_by(path, &*self.shared.apart, &self.shared.settings.limits)
    }

    fn open_by(&self, path: &Path, runtime: &dyn Runtime, limits: &Limits) -> Result<Session, NetError> {
        let place = lock(&self.shared.places).entry(path.to_owned()).or_default().clone();
        let _loading = lock(&place.loading);
        let stamp = Stamp::of(path);
        {
            let mut kept = lock(&place.loaded);
            match &*kept {
                // It counts as in use before anything else can look at it.
                Some(loaded) if Some(loaded.stamp) == stamp && !loaded.net.has_ended() => {
                    return Ok(self.session(loaded.clone()));
                }
                _ => *kept = None,
            }
        }
        // Room for it, before it takes any.
        self.shared.trim();
        let begun = Instant::now();
        let net = Net::open(path, runtime, limits)?;
        let file = net.file();
        debug!(file = file.name(), hash = file.hash(), runtime = net.runtime(), time = ?begun.elapsed(), "net loaded");
        // A file that cannot be looked at any more is read again the next time.
        let stamp = stamp.unwrap_or(Stamp { size: 0, modified: None });
        let usage = Mutex::new(Usage { sessions: 0, last: Instant::now() });
        let loaded = Arc::new(Loaded { net, stamp, usage });
        let session = self.session(loaded.clone());
        *lock(&place.loaded) = Some(loaded);
        Ok(session)
    }

    /// Returns the name of the runtime.
    pub fn runtime(&self) -> &'static str {
        self.shared.runtime.name()
    }

    /// Returns the runtime of files that are opened apart.
    pub fn apart(&self) -> Arc<dyn Runtime> {
        self.shared.apart.clone()
    }

    /// Returns how many bytes the weights of the loaded nets take together.
    pub fn resident(&self) -> u64 {
        self.shared.nets().iter().map(|(_, loaded)| loaded.net.file().weights()).sum()
    }

    fn session(&self, loaded: Arc<Loaded>) -> Session {
        loaded.usage().sessions += 1;
        Session { loaded, shared: self.shared.clone(), wake: self.wake.clone() }
    }
}

impl Shared {
    /// Returns the nets that are loaded now.
    fn nets(&self) -> Vec<(Arc<Place>, Arc<Loaded>)> {
        let places: Vec<_> = lock(&self.places).values().cloned().collect();
        let loaded = |place: Arc<Place>| {
            let loaded = lock(&place.loaded).clone();
            loaded.map(|loaded| (place, loaded))
        };
        places.into_iter().filter_map(loaded).collect()
    }

    /// Drops nets that have been idle for too long, until nobody can use any more.
    fn drop_idle(&self, woken: &Receiver<()>) {
        loop {
            let ended = match self.sweep(Instant::now()) {
                Some(pause) => woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected),
                None => woken.recv().is_err(),
            };
            if ended {
                return;
            }
        }
    }

    /// Drops the nets that have been idle for too long at a moment. Returns the time until the next one may have been.
    fn sweep(&self, now: Instant) -> Option<Duration> {
        let mut next = None;
        for (place, loaded) in self.nets() {
            let Some(last) = loaded.idle_since() else { continue };
            let left = self.settings.idle.saturating_sub(now.saturating_duration_since(last));
            if left.is_zero() {
                place.remove(&loaded);
            } else {
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
            }
        }
        next
    }

    /// Drops the nets that have been idle the longest, until the rest of the idle ones takes no more memory than it may.
    fn trim(&self) {
        let nets = self.nets().into_iter().filter_map(|(place, loaded)| Some((loaded.idle_since()?, place, loaded)));
        let mut nets: Vec<_> = nets.collect();
        nets.sort_by_key(|(last, ..)| *last);
        let mut bytes: u64 = nets.iter().map(|(.., loaded)| loaded.net.file().weights()).sum();
        for (_, place, loaded) in nets {
            if bytes <= self.settings.resident {
                break;
            }
            bytes -= loaded.net.file().weights();
            place.remove(&loaded);
        }
    }
}

impl Place {
    /// Drops a net, unless it is in use again.
    fn remove(&self, idle: &Arc<Loaded>) {
        let mut loaded = lock(&self.loaded);
        if loaded.as_ref().is_some_and(|loaded| Arc::ptr_eq(loaded, idle) && loaded.idle_since().is_some()) {
            debug!(file = idle.net.file().name(), "net dropped");
            *loaded = None;
        }
    }
}

impl Loaded {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        lock(&self.usage)
    }

    /// Returns when the last session ended; `None` while there is one.
    fn idle_since(&self) -> Option<Instant> {
        let usage = self.usage();
        (usage.sessions == 0).then_some(usage.last)
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        Some(Self { size: file.len(), modified: file.modified().ok() })
    }
}

impl Deref for Session {
    type Target = Net;

    fn deref(&self) -> &Net {
        &self.loaded.net
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut usage = self.loaded.usage();
        usage.sessions -= 1;
        usage.last = Instant::now();
        let is_idle = usage.sessions == 0;
        drop(usage);
        if is_idle {
            self.shared.trim();
            // Without the thread, nobody is there to be woken.
            let _ = self.wake.send(());
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("runtime", &self.runtime()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.loaded.net).finish()
    }
}

/// A panic of a runtime is caught, and nothing else here can leave a state half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
