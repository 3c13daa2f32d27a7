//! The nets of installed packs. They are looked for every two seconds, so that a pack that is pulled, or removed, counts without
//! a restart.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use imgopen_engine::EngineError;
use imgopen_nets::runtime::Rten;
use imgopen_nets::{Limits, ModelFile, NetError, Session, SessionSettings, Sessions};
use imgopen_packs::{Catalogue, Packs, State};
use tracing::{info, warn};

/// The pause between looks at the packs.
const PAUSE: Duration = Duration::from_secs(2);

/// The packs whose nets are run.
const PACKS: [&str; 4] = [BACKGROUND, PORTRAIT, SAFETY, UPSCALE];

pub(crate) const BACKGROUND: &str = "background";
pub(crate) const PORTRAIT: &str = "portrait";
pub(crate) const SAFETY: &str = "safety";
pub(crate) const UPSCALE: &str = "upscale";

/// The nets of the packs in a models directory, which engines share. Clones are the same.
#[derive(Debug, Clone)]
pub struct Nets {
    shared: Arc<Shared>,
    sessions: Sessions,
}

#[derive(Debug)]
struct Shared {
    packs: Packs,
    catalogue: Catalogue,
    limits: Limits,
    /// What is known of files that were read. Held for a whole look.
    files: Mutex<HashMap<PathBuf, KnownFile>>,
    seen: Mutex<HashMap<&'static str, Held>>,
}

/// A model file that was read, and by which size and time a change is noticed.
#[derive(Debug)]
struct KnownFile {
    stamp: (u64, Option<SystemTime>),
    file: Result<Arc<ModelFile>, NetError>,
}

/// What there is of a pack.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    Missing,
    /// It is there, but cannot be used, for this reason, which ends with what to do.
    Broken(String),
    Whole(Arc<[Weights]>),
}

/// A model file of a pack.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub pack: &'static str,
    path: PathBuf,
    /// What is known of it without loading it.
    pub file: Arc<ModelFile>,
}

impl Nets {
    /// Looks for the packs in a models directory, which need not exist, and runs their nets with that many threads for all jobs
    /// together.
    ///
    /// Files of packs are read and hashed once, a second for some hundred megabytes.
    pub fn in_models(models: &Path, threads: NonZeroUsize, settings: SessionSettings) -> Self {
        let sessions = Sessions::new(Arc::new(Rten::new(threads)), settings);
        Self::new(Packs::in_models(models), Catalogue::built_in().clone(), sessions, settings.limits)
    }

    /// As [`in_models`](Self::in_models), with another catalogue, in which packs have the names of the built-in one, and with
    /// sessions that others use too.
    pub fn new(packs: Packs, catalogue: Catalogue, sessions: Sessions, limits: Limits) -> Self {
        let (files, seen) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { packs, catalogue, limits, files, seen });
        shared.look();
        let weak = Arc::downgrade(&shared);
        let started = thread::Builder::new().name("imgopen-packs".to_owned()).spawn(move || watch(&weak));
        if let Err(error) = started {
            warn!(%error, "no thread that looks for packs; those that are pulled count after a restart");
        }
        Self { shared, sessions }
    }

    /// Looks at the packs now, rather than within two seconds. Blocks while new files are read.
    pub fn look(&self) {
        self.shared.look();
    }

    /// Returns what there is of a pack, as it was last seen.
    pub(crate) fn held(&self, pack: &str) -> Held {
        lock(&self.shared.seen).get(pack).cloned().unwrap_or(Held::Missing)
    }

    /// Loads a net, if it is not loaded, and returns it. Blocks.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if its file is missing, broken, or another one; names it and the pack.
    pub(crate) fn open(&self, weights: &Weights) -> Result<Session, EngineError> {
        let session = self.sessions.open(&weights.path).map_err(|error| match error {
            NetError::File { .. } => unavailable(with_pull(&error.to_string(), weights.pack)),
            error => error.into(),
        })?;
        match session.file().hash() == weights.file.hash() {
            true => Ok(session),
            false => Err(unavailable(with_pull(&changed(session.file().name()), weights.pack))),
        }
    }
}

impl Weights {
    /// Returns how many bytes a run takes beside the pictures: the weights, and for inputs of these shapes `working`, or if the
    /// file does not determine that, `least`.
    pub fn memory(&self, inputs: &[(&str, &[usize])], least: u64) -> u64 {
        let working = self.file.working(inputs).ok().flatten().unwrap_or(least);
        self.file.weights().saturating_add(working)
    }

    /// Says which net it is, for people.
    pub fn described(&self) -> String {
        const DIGITS: usize = 12;
        let hash = self.file.hash();
        let digits = hash.get(..DIGITS).unwrap_or(hash);
        format!("`{}` (SHA-256 {digits}…) of the pack `{}`", self.file.name(), self.pack)
    }
}

impl Shared {
    fn look(&self) {
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
        let weights = manifest.files.iter().map(|installed| {
            let path = directory.join(&installed.name);
            let file = self.file(&path, files).map_err(|error| error.to_string())?;
            match file.hash().eq_ignore_ascii_case(&installed.sha256) {
                true => Ok(Weights { pack: name, path, file }),
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

/// Looks at the packs again and again, until nobody uses them any more.
fn watch(shared: &Weak<Shared>) {
    loop {
        thread::sleep(PAUSE);
        let Some(shared) = shared.upgrade() else { return };
        shared.look();
    }
}

fn changed(file: &str) -> String {
    format!("the model file \"{file}\" was changed: it has another SHA-256 than when it was installed")
}

/// Appends what to do about a pack.
fn with_pull(problem: &str, pack: &str) -> String {
    format!("{problem}; pull it again with `imgopen models pull {pack}`")
}

pub(crate) fn unavailable(reason: String) -> EngineError {
    EngineError::Unavailable { reason, retry_after: None }
}

/// Nothing here can leave a state half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
