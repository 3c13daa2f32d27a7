//! Nets that the operator has put into the models directory, beside the packs.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_nets::runtime::Runtime;
use imgopen_nets::{Limits, ModelFile, Net, NetError};
use tracing::{info, warn};

use super::folders::{Format, Found, Listing, Stamp};
use super::notes::Notes;
use super::signature::{self, Role};
use super::tags::Names;
use super::weights::{Held, Origin, Weights};

/// The own nets of a models directory.
#[derive(Debug)]
pub(super) struct Own {
    models: PathBuf,
    limits: Limits,
    /// What tries them.
    runtime: Arc<dyn Runtime>,
    notes: Notes,
    /// Held for a whole look.
    listing: Mutex<Option<Listing>>,
    /// What is known of the files. Held for moments only, so that no job waits while a net is tried.
    files: Mutex<BTreeMap<PathBuf, Seen>>,
    /// The SHA-256 of nets whose last run was ended from outside. Held for moments only.
    interrupted: Mutex<HashSet<String>>,
    /// Held for moments only.
    published: Mutex<Published>,
}

/// What is known of all files that were looked at.
#[derive(Debug, Default)]
struct Published {
    /// Those that can be used, by the names of their files.
    usable: Vec<(Role, Weights)>,
    /// Why others cannot be used that are for a role.
    problems: Vec<(Role, String)>,
}

/// A file, as it was last seen.
#[derive(Debug, Clone)]
struct Seen {
    stamp: Stamp,
    finding: Finding,
    /// A file that cannot be used may still be written; it is logged once it has not changed from one look to the next.
    is_logged: bool,
}

/// What a file is.
#[derive(Debug, Clone)]
enum Finding {
    Net(Role, Weights),
    Unusable(Unusable),
    /// It has changed since it was found unusable, and is read once it stays as it is.
    Changing,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unusable {
    problem: String,
    /// What the net would be for, if that is known.
    role: Option<Role>,
    /// Whether the file is damaged, or cannot be read, rather than one for something else.
    is_broken: bool,
}

/// How a trial ended that found no fault.
enum Trial {
    /// The net has made so many numbers.
    Passed(usize),
    /// The file was changed meanwhile.
    Changed,
}

/// A file of the operator's own in the models directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// Where it is.
    pub path: PathBuf,
    /// The folder of the models directory, such as `ESRGAN`.
    pub folder: String,
    /// The size of the file.
    pub bytes: u64,
    /// The SHA-256 of a net that can be used, 64 hexadecimal digits in upper case.
    pub hash: Option<String>,
    /// What the net is used for, such as `super resolution`; `None` if it cannot be used.
    pub purpose: Option<String>,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// Whether the file is damaged, or cannot be read, rather than one for something else.
    pub is_broken: bool,
}

impl Own {
    pub fn new(models: &Path, limits: Limits, runtime: Arc<dyn Runtime>) -> Self {
        let notes = Notes::new(models, &runtime.variant());
        let (listing, files) = (Mutex::default(), Mutex::default());
        let (interrupted, published) = (Mutex::default(), Mutex::default());
        Self { models: models.to_owned(), limits, runtime, notes, listing, files, interrupted, published }
    }

    /// Returns the first net for a role, by the names of the files.
    pub fn held(&self, role: Role) -> Held {
        let published = lock(&self.published);
        match published.usable.iter().find(|(of, _)| *of == role) {
            Some((_, weights)) => Held::Whole(Arc::from([weights.clone()])),
            None => Held::Missing,
        }
    }

    /// Returns the names of the files of all nets for some roles that can be used, each role's first one first.
    pub fn names(&self, roles: &[Role]) -> Vec<String> {
        let published = lock(&self.published);
        let named = |role: &Role| {
            let of = published.usable.iter().filter(|(other, _)| other == role);
            of.map(|(_, weights)| weights.file.name().to_owned()).collect::<Vec<_>>()
        };
        roles.iter().flat_map(named).collect()
    }

    /// Returns why a net for a role cannot be used, if there is one that cannot.
    pub fn problem(&self, role: Role) -> Option<String> {
        let published = lock(&self.published);
        published.problems.iter().find(|(of, _)| *of == role).map(|(_, problem)| problem.clone())
    }

    /// Looks for files, and returns all of them by their paths.
    pub fn survey(&self) -> Vec<OwnFile> {
        self.look();
        let (listing, files) = (lock(&self.listing), lock(&self.files));
        let file = |found: &Found| {
            let Seen { stamp, finding, .. } = files.get(&found.path)?;
            let (hash, purpose, unusable) = match finding {
                Finding::Net(role, weights) => (Some(weights.file.hash().to_owned()), Some(role.to_string()), None),
                Finding::Unusable(unusable) => (None, None, Some(unusable)),
                Finding::Changing => (None, None, None),
            };
            Some(OwnFile {
                path: found.path.clone(),
                folder: found.folder.clone(),
                bytes: stamp.size,
                hash,
                purpose,
                problem: unusable.map(|unusable| unusable.problem.clone()),
                is_broken: unusable.is_some_and(|unusable| unusable.is_broken),
            })
        };
        listing.iter().flat_map(|listing| &listing.files).filter_map(file).collect()
    }

    /// Looks for files that are new, changed or removed, and reads them. Each counts as soon as it was read and tried.
    pub fn look(&self) {
        let mut listing = lock(&self.listing);
        if listing.as_ref().is_none_or(|listing| !listing.is_current()) {
            let now = Listing::of(&self.models);
            if now.is_cut && !listing.as_ref().is_some_and(|before| before.is_cut) {
                warn!(models = %self.models.display(), "too many files for own nets; some are not looked at");
            }
            *listing = Some(now);
        }
        let mut before = lock(&self.files).clone();
        for found in listing.iter().flat_map(|listing| &listing.files) {
            let Some(stamp) = Stamp::of(found) else { continue };
            let seen = self.see(found, stamp, before.remove(&found.path));
            self.keep(&found.path, seen);
        }
        for (path, seen) in before {
            if let Finding::Net(role, _) = seen.finding {
                info!(file = %path.display(), role = %role, "own net removed");
            }
            lock(&self.files).remove(&path);
        }
        self.publish(&lock(&self.files));
    }

    /// Keeps what was seen of a file, unless a job has found meanwhile that its net cannot be used.
    fn keep(&self, path: &Path, seen: Seen) {
        let mut files = lock(&self.files);
        let now = files.get(path).filter(|now| now.stamp == seen.stamp);
        let is_refused = now.is_some_and(|now| matches!(now.finding, Finding::Unusable(_)));
        let is_new = now.is_none_or(|now| matches!(now.finding, Finding::Changing));
        if is_refused && matches!(seen.finding, Finding::Net(..)) {
            return;
        }
        files.insert(path.to_owned(), seen);
        // Others may take long to be tried.
        if is_new {
            self.publish(&files);
        }
    }

    /// Stops to use a net that fails, until its file changes, also after a restart.
    pub fn reject(&self, weights: &Weights, problem: &str) {
        self.refuse(weights, problem, true);
    }

    /// Records that a run of a net was ended from outside. If the one before it was, too, it is not used until its file changes or
    /// this process starts again; returns the problem, with what to do.
    pub fn interrupted(&self, weights: &Weights, problem: &str) -> Option<String> {
        if lock(&self.interrupted).insert(weights.file.hash().to_owned()) {
            warn!(file = %weights.path.display(), problem, "a run of an own net was interrupted");
            return None;
        }
        let problem = twice(problem);
        // That is about this machine and this hour, so it is not noted.
        self.refuse(weights, &problem, false);
        Some(problem)
    }

    /// Records that a net has done what it was used for.
    pub fn worked(&self, weights: &Weights) {
        lock(&self.interrupted).remove(weights.file.hash());
    }

    fn refuse(&self, weights: &Weights, problem: &str, is_noted: bool) {
        lock(&self.interrupted).remove(weights.file.hash());
        let mut files = lock(&self.files);
        let Some(seen) = files.get_mut(&weights.path) else { return };
        let Finding::Net(role, own) = &seen.finding else { return };
        if own.file.hash() == weights.file.hash() {
            warn!(file = %weights.path.display(), problem, "own net cannot be used");
            if is_noted {
                self.notes.keep(own.file.hash(), seen.stamp.modified, Some(problem));
            }
            let finding =
                Finding::Unusable(Unusable { problem: problem.to_owned(), role: Some(*role), is_broken: true });
            *seen = Seen { stamp: seen.stamp, finding, is_logged: true };
            self.publish(&files);
        }
    }

    fn publish(&self, files: &BTreeMap<PathBuf, Seen>) {
        let nets = files.values().filter_map(|seen| match &seen.finding {
            Finding::Net(role, weights) => Some((*role, weights.clone())),
            Finding::Unusable(_) | Finding::Changing => None,
        });
        let mut nets: Vec<_> = nets.collect();
        nets.sort_by_cached_key(|(_, weights)| (weights.file.name().to_lowercase(), weights.path.clone()));
        let problems = files.values().filter_map(|seen| match &seen.finding {
            Finding::Unusable(Unusable { problem, role: Some(role), .. }) => Some((*role, problem.clone())),
            Finding::Net(..) | Finding::Unusable(_) | Finding::Changing => None,
        });
        *lock(&self.published) = Published { usable: nets, problems: problems.collect() };
    }

    fn see(&self, found: &Found, stamp: Stamp, before: Option<Seen>) -> Seen {
        match before {
            Some(seen) if seen.stamp == stamp && !matches!(seen.finding, Finding::Changing) => settled(found, seen),
            // It is being written, probably, and reading all of it each time would be for nothing.
            Some(Seen { stamp: earlier, finding: Finding::Unusable(_) | Finding::Changing, .. })
                if earlier != stamp =>
            {
                Seen { stamp, finding: Finding::Changing, is_logged: false }
            }
            _ => {
                let finding = self.read(found, stamp);
                let is_logged = match &finding {
                    Finding::Net(role, weights) => {
                        let (file, hash) = (found.path.display(), weights.file.hash());
                        info!(%file, role = %role, hash, "own net found");
                        true
                    }
                    Finding::Unusable(_) | Finding::Changing => false,
                };
                Seen { stamp, finding, is_logged }
            }
        }
    }

    fn read(&self, found: &Found, stamp: Stamp) -> Finding {
        let other = |problem: String| Finding::Unusable(Unusable { problem, role: None, is_broken: false });
        let broken = |problem: String, role| Finding::Unusable(Unusable { problem, role, is_broken: true });
        if found.format == Format::Other {
            return other("only ONNX files are run; convert it to ONNX, or have a back end use it".to_owned());
        }
        if stamp.size > self.limits.file {
            let (size, limit) = (stamp.size, self.limits.file);
            return other(format!("it has {size} bytes; at most {limit} are read; use a smaller net"));
        }
        let file = match ModelFile::open(&found.path, &self.limits) {
            Ok(file) => Arc::new(file),
            // In a folder of one role, that is what it would be for.
            Err(error) => return broken(error.to_string(), found.roles.first().copied()),
        };
        let role = match recognised(&file, found) {
            Ok(role) => role,
            Err(problem) => return other(problem),
        };
        if role == Role::Tags
            && let Err(problem) = has_names(&file, &found.path, signature::scores(file.outputs()))
        {
            return broken(problem, Some(role));
        }
        match self.tried(found, stamp, &file, role) {
            Ok(()) => {
                let origin = Origin::Own(found.folder.clone());
                Finding::Net(role, Weights { origin, path: found.path.clone(), file })
            }
            Err(problem) => broken(problem, Some(role)),
        }
    }

    /// Runs a net once, unless what became of that is noted and says enough. Returns why it cannot be used.
    fn tried(&self, found: &Found, stamp: Stamp, file: &ModelFile, role: Role) -> Result<(), String> {
        // The names of its tags are then compared with what it makes.
        let is_open = role == Role::Tags && signature::scores(file.outputs()).is_none();
        if let Some(known) = self.notes.find(file.hash(), stamp.modified)
            && (known.is_err() || !is_open)
        {
            return known;
        }
        info!(file = %found.path.display(), role = %role, "own net is tried");
        let tried = match self.trial(found, file, role) {
            Err(NetError::Killed { .. }) => self.trial(found, file, role),
            tried => tried,
        };
        match tried {
            // It is read again.
            Ok(Trial::Changed) => Ok(()),
            // That is about this machine and this hour, so it is not noted.
            Err(error @ NetError::Killed { .. }) => Err(twice(&error.to_string())),
            // That says nothing about the net.
            Err(error @ NetError::Runtime { .. }) => {
                warn!(file = %found.path.display(), %error, "own net cannot be tried");
                Ok(())
            }
            Ok(Trial::Passed(made)) => {
                self.notes.keep(file.hash(), stamp.modified, None);
                // That is about another file, so it is not noted.
                if is_open { has_names(file, &found.path, Some(made)) } else { Ok(()) }
            }
            Err(error) => {
                let problem = error.to_string();
                self.notes.keep(file.hash(), stamp.modified, Some(&problem));
                Err(problem)
            }
        }
    }

    /// Loads a net and runs it once.
    fn trial(&self, found: &Found, file: &ModelFile, role: Role) -> Result<Trial, NetError> {
        let net = Net::open(&found.path, &*self.runtime, &self.limits)?;
        if net.file().hash() != file.hash() {
            return Ok(Trial::Changed);
        }
        let made = net.trial(role.tried_side())?;
        match role.misfit(file, made.shape()) {
            Some(problem) => Err(NetError::File { file: file.name().to_owned(), problem }),
            None => Ok(Trial::Passed(made.values().len())),
        }
    }
}

/// Returns whether a tagger has the names of its tags beside it, without which it names nothing, and as many as its scores if their
/// number is known.
///
/// # Errors
///
/// Says what is missing, and where to put it.
fn has_names(file: &ModelFile, path: &Path, scores: Option<usize>) -> Result<(), String> {
    let names = Names::beside(path).and_then(|names| scores.map_or(Ok(()), |scores| names.fit(scores)));
    names.map_err(|problem| format!("the names of the tags of `{}` are not known: {problem}", file.name()))
}

/// Says that a net was interrupted twice in a row, and what to do.
fn twice(problem: &str) -> String {
    format!("{problem}, twice in a row; touch the file, or restart the service, to have it tried again")
}

/// Returns the role of a net in its folder.
fn recognised(file: &ModelFile, found: &Found) -> Result<Role, String> {
    let roles = signature::roles(file);
    if let Some(role) = roles.iter().find(|role| found.roles.contains(role)) {
        return Ok(*role);
    }
    let shown = signature::shown(file);
    let wanted = found.roles.iter().map(Role::to_string).collect::<Vec<_>>().join(" and ");
    match &roles[..] {
        [] => Err(format!("it is not a net that is known: it {shown}; `{}` is for {wanted}", found.folder)),
        roles => {
            let others = roles.iter().map(|role| format!("{role}, in `{}`", role.folder())).collect::<Vec<_>>();
            let others = others.join(", or for ");
            Err(format!("`{}` is for {wanted}; it {shown}, and can be used for {others}", found.folder))
        }
    }
}

/// Logs a file that cannot be used and has stayed as it is.
fn settled(found: &Found, seen: Seen) -> Seen {
    if let Finding::Unusable(Unusable { problem, is_broken, .. }) = &seen.finding
        && !seen.is_logged
    {
        let (file, problem) = (found.path.display(), problem.as_str());
        match is_broken {
            true => warn!(%file, problem, "own net cannot be used"),
            false => info!(%file, problem, "file is not used"),
        }
    }
    Seen { is_logged: true, ..seen }
}

/// Nothing here can leave a state half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
