//! The nets of installed packs, and those that the operator has put beside them. They are looked for every two seconds, so that
//! one that is added, changed or removed counts without a restart.

mod folders;
mod names;
mod notes;
mod own;
mod signature;
pub(crate) mod tags;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod uses;
mod weights;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use imgopen_engine::EngineError;
use imgopen_nets::runtime::{Rten, Runtime};
use imgopen_nets::{Limits, ModelFile, NetError, Session, SessionSettings, Sessions};
use imgopen_packs::{Catalogue, InstalledFile, Packs, State};
use imgopen_types::Operation;
use tracing::{info, warn};

use self::names::PACKS;
pub(crate) use self::names::{BACKGROUND, FACES, PORTRAIT, SAFETY, TAGS, UPSCALE};
use self::own::Own;
pub use self::own::OwnFile;
pub(crate) use self::signature::{Cutter, FREE_SIDE, MOST_FACTOR, Role, cutter, has_attention, sizes};
use self::uses::Source;
pub use self::uses::operations_of;
use self::weights::with_pull;
pub(crate) use self::weights::{Held, Origin, Weights, named};

/// The pause between looks.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest side of the tiles that nets of the pack `upscale` are given.
const LARGEST_TILE: usize = 256;

/// How long it is waited at first for nets of the operator's own, which are tried. Others count once they have been.
const PATIENCE: Duration = Duration::from_secs(10);

/// The nets in a models directory, which engines share: those of its packs, and the operator's own. Clones are the same.
#[derive(Debug, Clone)]
pub struct Nets {
    shared: Arc<Shared>,
    sessions: Sessions,
}

/// Returns the files of the operator's own in a models directory, which need not exist: those in the folders in which nets are
/// looked for, with what each is for, or why it cannot be used. Reads all of them, a second for some hundred megabytes, and has the
/// runtime run each once that has not been tried, which takes as long as a job.
pub fn own_files(models: &Path, runtime: Arc<dyn Runtime>) -> Vec<OwnFile> {
    Own::new(models, Limits::default(), runtime).survey()
}

#[derive(Debug)]
struct Shared {
    packs: Packs,
    catalogue: Catalogue,
    own: Own,
    limits: Limits,
    /// What is known of files of packs that were read. Held for a whole look.
    files: Mutex<HashMap<PathBuf, KnownFile>>,
    seen: Mutex<HashMap<&'static str, Held>>,
}

/// A model file that was read, and by which size and time a change is noticed.
#[derive(Debug)]
struct KnownFile {
    stamp: (u64, Option<SystemTime>),
    file: Result<Arc<ModelFile>, NetError>,
}

impl Nets {
    /// Looks for packs and for nets of the operator's own in a models directory, which need not exist, and runs them with that
    /// many threads for all jobs together.
    ///
    /// Files are read and hashed once, a second for some hundred megabytes. Nets of the operator's own are run once in this process,
    /// which ends if one takes more memory than there is; [`run_apart`](Self::run_apart) keeps them out of it.
    pub fn in_models(models: &Path, threads: NonZeroUsize, settings: SessionSettings) -> Self {
        Self::run_by(Arc::new(Rten::new(threads)), models, settings)
    }

    /// As [`in_models`](Self::in_models), with nets that another runtime runs.
    ///
    /// ```no_run
    /// use std::num::NonZeroUsize;
    /// use std::path::{Path, PathBuf};
    ///
    /// use imgopen_neural::{Nets, Provider, RuntimeSettings, SessionSettings};
    ///
    /// let library = Some(PathBuf::from("/opt/onnxruntime/libonnxruntime.so"));
    /// let runtime = RuntimeSettings { threads: NonZeroUsize::MIN, library, providers: vec![Provider::Cuda(0)] };
    /// let nets = Nets::run_by(runtime.open()?, Path::new("models"), SessionSettings::default());
    /// # Ok::<(), imgopen_neural::NetError>(())
    /// ```
    pub fn run_by(runtime: Arc<dyn Runtime>, models: &Path, settings: SessionSettings) -> Self {
        let sessions = Sessions::new(runtime, settings);
        Self::new(Packs::in_models(models), Catalogue::built_in().clone(), sessions, settings.limits)
    }

    /// As [`run_by`](Self::run_by), with nets of the operator's own that another runtime runs, such as [`Apart`](crate::Apart): nobody
    /// has proven them, as packs are proven by their hashes. Packs are those of a catalogue, in which they have the names of the
    /// built-in one.
    pub fn run_apart(
        catalogue: Catalogue,
        runtime: Arc<dyn Runtime>,
        apart: Arc<dyn Runtime>,
        models: &Path,
        settings: SessionSettings,
    ) -> Self {
        let sessions = Sessions::with_apart(runtime, apart, settings);
        Self::new(Packs::in_models(models), catalogue, sessions, settings.limits)
    }

    /// As [`in_models`](Self::in_models), with another catalogue, in which packs have the names of the built-in one, and with
    /// sessions that others use too. Nets of the operator's own are looked for beside the directory of the packs; those that take longer
    /// than 10 seconds to be tried count later.
    pub fn new(packs: Packs, catalogue: Catalogue, sessions: Sessions, limits: Limits) -> Self {
        Self::waiting(packs, catalogue, sessions, limits, PATIENCE)
    }

    /// As [`new`](Self::new), waiting for so long for nets of the operator's own.
    fn waiting(packs: Packs, catalogue: Catalogue, sessions: Sessions, limits: Limits, patience: Duration) -> Self {
        let (files, seen) = (Mutex::default(), Mutex::default());
        let models = packs.directory().parent().unwrap_or(packs.directory()).to_owned();
        let own = Own::new(&models, limits, sessions.apart());
        let shared = Arc::new(Shared { packs, catalogue, own, limits, files, seen });
        shared.look_for_packs();
        watch("imgopen-packs", &shared, Shared::look_for_packs);
        let (looked, first) = channel();
        watch("imgopen-own-nets", &shared, move |shared| {
            shared.own.look();
            // Only the first look is waited for.
            let _ = looked.send(());
        });
        match first.recv_timeout(patience) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => info!("own nets are still being tried; each counts once it has been"),
            // There is no thread.
            Err(RecvTimeoutError::Disconnected) => shared.own.look(),
        }
        Self { shared, sessions }
    }

    /// Looks now, rather than within two seconds. Blocks while new files are read and tried. A file of the operator's own that could not be
    /// used and has changed is read once two looks have seen it as it is.
    pub fn look(&self) {
        self.shared.own.look();
        self.shared.look_for_packs();
    }

    /// Returns what there is of a pack, as it was last seen.
    pub(crate) fn held(&self, pack: &str) -> Held {
        lock(&self.shared.seen).get(pack).cloned().unwrap_or(Held::Missing)
    }

    /// Returns the operator's own net for a role, the first by name of those that were recognised. If there is one,
    /// [`Held::Whole`] has exactly that; it is never [`Held::Broken`], because what cannot be used does not count.
    pub(crate) fn own(&self, role: Role) -> Held {
        self.shared.own.held(role)
    }

    /// Returns the names of the files of the nets that there are for an operation, the operator's own and those of packs, the one
    /// first that is preferred.
    pub(crate) fn names_for(&self, operation: &Operation) -> Vec<String> {
        let in_source = |source: &Source| match source {
            Source::Own(role) => self.shared.own.names(&[*role]),
            Source::Pack(pack, files) => match self.held(pack) {
                Held::Whole(all) => {
                    let is_there = |file: &&&str| all.iter().any(|weights| weights.file.name() == **file);
                    files.iter().filter(is_there).map(|file| (*file).to_owned()).collect()
                }
                Held::Missing | Held::Broken(_) => Vec::new(),
            },
        };
        uses::of(operation).iter().flat_map(in_source).collect()
    }

    /// Returns why a net of the operator's own for a role cannot be used, if there is one that cannot.
    pub(crate) fn own_problem(&self, role: Role) -> Option<String> {
        self.shared.own.problem(role)
    }

    /// Loads a net, if it is not loaded, and returns it. Blocks.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if its file is missing, broken, or another one; names it, and what to do. A net of the
    /// operator's own does not count from then on, until its file changes, also after a restart. [`EngineError::Interrupted`] if the
    /// process that loads it was ended from outside.
    pub(crate) fn open(&self, weights: &Weights) -> Result<Session, EngineError> {
        let session = match &weights.origin {
            Origin::Pack(UPSCALE) => self.sessions.open_up_to(weights.path(), LARGEST_TILE),
            Origin::Pack(_) => self.sessions.open(weights.path()),
            Origin::Own(_) => self.sessions.open_apart(weights.path()),
        };
        let session = session.map_err(|error| match error {
            NetError::File { .. } => {
                let problem = error.to_string();
                self.shared.own.reject(weights, &problem);
                unavailable(weights.with_remedy(&problem))
            }
            error => self.blamed(weights, error.into()),
        })?;
        match (session.file().hash() == weights.file.hash(), &weights.origin) {
            (true, _) => Ok(session),
            (false, Origin::Pack(_)) => Err(unavailable(weights.with_remedy(&changed(session.file().name())))),
            (false, Origin::Own(_)) => {
                let name = session.file().name();
                let reason = format!("the model file \"{name}\" was changed a moment ago; repeat the request");
                Err(EngineError::Unavailable { reason, retry_after: Some(PAUSE) })
            }
        }
    }

    /// Passes on what a net has made for a job, or the error of a run as [`blamed`](Self::blamed) returns it.
    pub(crate) fn judged<T>(&self, weights: &Weights, made: Result<T, EngineError>) -> Result<T, EngineError> {
        if made.is_ok() {
            self.shared.own.worked(weights);
        }
        made.map_err(|error| self.blamed(weights, error))
    }

    /// Returns the error for the caller of a run that has failed. A net of the operator's own that fails does not count from then
    /// on, as one that cannot be loaded. A run that was ended from outside says little about its net, and is tried again; a net of
    /// which that holds twice in a row does not count until its file changes or this process starts again.
    pub(crate) fn blamed(&self, weights: &Weights, error: EngineError) -> EngineError {
        match (error, &weights.origin) {
            (EngineError::Failed(problem), Origin::Own(_)) => self.refuse(weights, &problem),
            (EngineError::Interrupted(problem), Origin::Own(_)) => {
                match self.shared.own.interrupted(weights, &problem) {
                    Some(problem) => unavailable(problem),
                    None => EngineError::Interrupted(problem),
                }
            }
            (error, _) => error,
        }
    }

    /// Stops to use a net of the operator's own that does not do what its inputs and outputs promise, until its file changes.
    /// Returns the error for the caller, which says what to do.
    pub(crate) fn refuse(&self, weights: &Weights, problem: &str) -> EngineError {
        self.shared.own.reject(weights, problem);
        let problem = format!("the model file \"{}\" cannot be used: {problem}", weights.file.name());
        unavailable(weights.with_remedy(&problem))
    }
}

impl Shared {
    fn look_for_packs(&self) {
        let mut files = lock(&self.files);
        for name in PACKS {
            let now = self.find(name, &mut files);
            let before = lock(&self.seen).insert(name, now.clone());
            now.log(name, before.as_ref());
        }
    }

    fn find(&self, name: &'static str, files: &mut HashMap<PathBuf, KnownFile>) -> Held {
        let Ok(pack) = self.catalogue.find(name) else { return Held::Missing };
        let manifest = match self.packs.state(pack) {
            State::Installed(manifest) => manifest,
            State::Outdated => {
                let problem = format!("the pack `{name}` that is installed belongs to another version of imgopen");
                return Held::Broken(with_pull(&problem, name));
            }
            State::Damaged(problem) => {
                return Held::Broken(with_pull(&format!("the pack `{name}` is damaged: {problem}"), name));
            }
            _ => return Held::Missing,
        };
        let directory = self.packs.directory_of(pack);
        // Earlier versions have installed more.
        let is_known = |installed: &&InstalledFile| pack.files.iter().any(|file| file.name == installed.name);
        let weights = manifest.files.iter().filter(is_known).map(|installed| {
            let path = directory.join(&installed.name);
            let file = self.file(&path, files).map_err(|error| error.to_string())?;
            match file.hash().eq_ignore_ascii_case(&installed.sha256) {
                true => Ok(Weights { origin: Origin::Pack(name), path, file }),
                false => Err(changed(&installed.name)),
            }
        });
        match weights.collect::<Result<Vec<_>, String>>() {
            Ok(weights) => Held::Whole(weights.into()),
            Err(problem) => Held::Broken(with_pull(&problem, name)),
        }
    }

    fn file(&self, path: &Path, files: &mut HashMap<PathBuf, KnownFile>) -> Result<Arc<ModelFile>, NetError> {
        let found = path.metadata().ok();
        let stamp = found.map(|found| (found.len(), found.modified().ok()));
        if let Some(known) = files.get(path)
            && Some(known.stamp) == stamp
        {
            return known.file.clone();
        }
        let file = ModelFile::open(path, &self.limits).map(Arc::new);
        match stamp {
            Some(stamp) => drop(files.insert(path.to_owned(), KnownFile { stamp, file: file.clone() })),
            None => drop(files.remove(path)),
        }
        file
    }
}

impl Held {
    /// Logs what has changed since an earlier look.
    fn log(&self, pack: &str, before: Option<&Held>) {
        match (before, self) {
            (Some(Held::Broken(before)), Held::Broken(problem)) if before == problem => {}
            (_, Held::Broken(problem)) => warn!(pack, problem = problem.as_str(), "pack cannot be used"),
            (Some(Held::Whole(_)), Held::Whole(_)) | (None | Some(Held::Missing), Held::Missing) => {}
            (_, Held::Whole(_)) => info!(pack, "pack found"),
            (_, Held::Missing) => info!(pack, "pack removed"),
        }
    }
}

/// Starts a thread that looks now, and again and again until nobody uses the nets any more.
fn watch(name: &str, shared: &Arc<Shared>, look: impl Fn(&Shared) + Send + 'static) {
    let weak = Arc::downgrade(shared);
    let again = move || {
        while let Some(shared) = weak.upgrade() {
            look(&shared);
            drop(shared);
            thread::sleep(PAUSE);
        }
    };
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(again) {
        warn!(%error, "no thread that looks for nets; those that are added count after a restart");
    }
}

fn changed(file: &str) -> String {
    format!("the model file \"{file}\" was changed: it has another SHA-256 than when it was installed")
}

pub(crate) fn unavailable(reason: String) -> EngineError {
    EngineError::Unavailable { reason, retry_after: None }
}

/// Nothing here can leave a state half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
