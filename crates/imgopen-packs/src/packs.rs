//! The packs in a models directory: which are installed, whether they are whole, and how they are removed.
//!
//! Each is a directory of its own, `packs/NAME-VERSION`, which gets its name once it is complete. What a pull or a removal works
//! on has a name that begins with a dot and ends in `.part`; if the process is killed, the next one removes it, and puts back what
//! a pull had moved aside for a pack that did not get its name.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use tempfile::TempDir;

use crate::catalogue::{Catalogue, LICENCE, MANIFEST, Pack};
use crate::error::PullError;
use crate::manifest::Manifest;
use crate::options::PullOptions;
use crate::process::POLL;

/// The directory of the packs within a models directory.
const DIRECTORY: &str = "packs";

/// The file that a pull or a removal holds locked.
const LOCK: &str = ".lock";

/// The end of the names of what is not complete.
const PART: &str = ".part";

/// The directory, in what a pull works on, of the pack that gets its name once it is complete.
pub(crate) const COMPLETE: &str = "pack";

/// The directory beside it for what the pack replaces.
pub(crate) const ASIDE: &str = "replaced";

/// What is wrong with a directory that has the name of a pack only.
const NO_MANIFEST: &str = "it has no manifest";

/// What is wrong with a pack whose files are not those of the catalogue.
const OTHER_FILES: &str = "its files are not those that this version of imgopen knows";

/// The packs in a models directory.
#[derive(Debug, Clone)]
pub struct Packs {
    directory: PathBuf,
}

/// Whether a pack is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is not installed.
    Missing,
    /// It is installed, and its files have their sizes.
    Installed(Manifest),
    /// An earlier version is installed, or one whose manifest names other files than the catalogue; pulling the pack replaces it.
    Outdated,
    /// Files are missing or changed, for this reason. Pulling the pack replaces it, unless its directory holds other files too.
    Damaged(String),
}

/// An installed pack that is not as it was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Its directory.
    pub directory: PathBuf,
    /// The name of the pack, if that is known.
    pub name: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl Packs {
    /// Those in a models directory. Neither it nor the directory of packs in it need exist.
    pub fn in_models(models: &Path) -> Self {
        Self { directory: models.join(DIRECTORY) }
    }

    /// Returns the directory of the packs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the directory of a pack, where it is or would be installed.
    pub fn directory_of(&self, pack: &Pack) -> PathBuf {
        self.directory.join(pack.directory())
    }

    /// Returns the state of a pack. Reads no more than its manifest and the sizes of its files.
    pub fn state(&self, pack: &Pack) -> State {
        let directory = self.directory_of(pack);
        match Manifest::read(&directory) {
            Ok(Some(manifest)) if !manifest.is_of(pack) => State::Outdated,
            Ok(Some(manifest)) => match manifest.check(&directory, false) {
                Ok(()) => State::Installed(manifest),
                Err(problem) => State::Damaged(problem),
            },
            Ok(None) if directory.exists() => State::Damaged(NO_MANIFEST.to_owned()),
            // What cannot be listed holds no versions.
            Ok(None) if self.versions(&pack.name).is_ok_and(|versions| !versions.is_empty()) => State::Outdated,
            Ok(None) => State::Missing,
            Err(problem) => State::Damaged(problem),
        }
    }

    /// As [`state`](Self::state), and reads the files too, which takes a second for some hundred megabytes.
    pub fn examined(&self, pack: &Pack) -> State {
        match self.state(pack) {
            State::Installed(manifest) => match manifest.check(&self.directory_of(pack), true) {
                Ok(()) => State::Installed(manifest),
                Err(problem) => State::Damaged(problem),
            },
            state => state,
        }
    }

    /// Returns the path of a file of a pack, if the pack is installed and has it.
    pub fn file(&self, pack: &Pack, name: &str) -> Option<PathBuf> {
        match self.state(pack) {
            State::Installed(_) if pack.files.iter().any(|file| file.name == name) => {
                Some(self.directory_of(pack).join(name))
            }
            _ => None,
        }
    }

    /// Reads the files of all installed packs, and returns those that are damaged, or are not what a catalogue has.
    ///
    /// # Errors
    ///
    /// When the directory of the packs cannot be listed.
    pub fn verify(&self, catalogue: &Catalogue) -> io::Result<Vec<Damage>> {
        let mut damages = Vec::new();
        for directory in self.visible()? {
            let own = catalogue.packs().iter().find(|pack| self.directory_of(pack) == directory);
            let name = || own.filter(|pack| is_rest_of(pack, &directory)).map(|pack| pack.name.clone());
            let (name, checked) = match Manifest::read(&directory) {
                Ok(Some(manifest)) => {
                    let known = catalogue.find(&manifest.name).ok();
                    let is_other = known.is_some_and(|pack| self.state(pack) == State::Outdated);
                    let checked = if is_other { Err(OTHER_FILES.to_owned()) } else { manifest.check(&directory, true) };
                    (Some(manifest.name), checked)
                }
                // It may be the operator's.
                Ok(None) if own.is_none() => continue,
                Ok(None) => (name(), Err(NO_MANIFEST.to_owned())),
                Err(problem) => (name(), Err(problem)),
            };
            if let Err(problem) = checked {
                damages.push(Damage { directory, name, problem });
            }
        }
        Ok(damages)
    }

    /// Removes a pack, all versions of it. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// When something else has the name of the pack's directory, a directory cannot be removed, another pull or removal does not
    /// end in time, or this one is cancelled.
    pub fn remove(&self, pack: &Pack, options: &PullOptions) -> Result<bool, PullError> {
        if !self.directory.is_dir() {
            return Ok(false);
        }
        let _lock = self.lock(options, || {})?;
        self.remove_parts()?;
        let versions = self.replaced_by(pack)?;
        if versions.is_empty() {
            return Ok(false);
        }
        let room = self.room(&pack.name)?;
        move_into(&versions, room.path())?;
        let path = room.path().to_owned();
        room.close().map_err(PullError::at(&path))?;
        Ok(true)
    }

    /// Waits until no other process pulls or removes packs here, and keeps others from it until the file is dropped. Calls
    /// `on_wait` if it has to wait.
    pub(crate) fn lock(&self, options: &PullOptions, on_wait: impl FnOnce()) -> Result<File, PullError> {
        let path = self.directory.join(LOCK);
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(PullError::at(&path))?;
        let deadline = Instant::now().checked_add(options.limit);
        let mut on_wait = Some(on_wait);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(PullError::at(&path)(error)),
            }
            if options.cancel.is_cancelled() {
                return Err(PullError::Cancelled);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(PullError::Busy(self.directory.display().to_string()));
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait();
            }
            thread::sleep(POLL);
        }
    }

    /// Returns what killed pulls and removals have left; nothing while another process is at work. The next pull or removal removes
    /// it.
    ///
    /// # Errors
    ///
    /// When the directory of the packs cannot be listed.
    pub fn partial(&self) -> io::Result<Vec<PathBuf>> {
        let lock = match File::open(self.directory.join(LOCK)) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match lock.as_ref().map(File::try_lock_shared) {
            Some(Err(TryLockError::WouldBlock)) => Ok(Vec::new()),
            Some(Err(TryLockError::Error(error))) => Err(error),
            None | Some(Ok(())) => self.parts(),
        }
    }

    /// Removes what killed processes have left, unless another one is at work. The pull that asks for it needs none of it.
    pub(crate) fn tidy(&self) {
        if self.parts().is_ok_and(|parts| parts.is_empty()) {
            return;
        }
        let Ok(lock) = File::options().write(true).open(self.directory.join(LOCK)) else { return };
        if lock.try_lock().is_ok() {
            // The next one tries again.
            let _ = self.remove_parts();
        }
    }

    /// Removes what killed processes have left, and puts back what they had moved aside. Needs the lock: the others are still at
    /// work. What cannot be removed stays, and is in nobody's way.
    pub(crate) fn remove_parts(&self) -> Result<(), PullError> {
        for part in self.parts().map_err(PullError::at(&self.directory))? {
            self.put_back(&part)?;
            let is_directory = fs::symlink_metadata(&part).is_ok_and(|found| found.is_dir());
            let _ = if is_directory { fs::remove_dir_all(&part) } else { fs::remove_file(&part) };
        }
        Ok(())
    }

    /// Returns the paths of what is not complete.
    fn parts(&self) -> io::Result<Vec<PathBuf>> {
        let is_part = |name: &[u8]| name.starts_with(b".") && name.ends_with(PART.as_bytes());
        self.listed(is_part)
    }

    /// Puts back what a pull had moved aside, if the pack did not get its name.
    fn put_back(&self, room: &Path) -> Result<(), PullError> {
        let aside = room.join(ASIDE);
        if !room.join(COMPLETE).is_dir() || !aside.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&aside).map_err(PullError::at(&aside))? {
            let entry = entry.map_err(PullError::at(&aside))?;
            let place = self.directory.join(entry.file_name());
            if fs::symlink_metadata(&place).is_err() {
                fs::rename(entry.path(), &place).map_err(PullError::at(&place))?;
            }
        }
        sync_directory(&self.directory).map_err(PullError::at(&self.directory))
    }

    /// Makes a directory for what is not complete, which is removed when it is dropped.
    pub(crate) fn room(&self, what: &str) -> Result<TempDir, PullError> {
        let prefix = format!(".{what}.");
        let made = tempfile::Builder::new().prefix(&prefix).suffix(PART).tempdir_in(&self.directory);
        made.map_err(PullError::at(&self.directory))
    }

    /// Returns the directories that a pull of a pack replaces: its versions, and what is left of it without a manifest.
    ///
    /// # Errors
    ///
    /// When something else has the name of the pack's directory.
    pub(crate) fn replaced_by(&self, pack: &Pack) -> Result<Vec<PathBuf>, PullError> {
        let target = self.directory_of(pack);
        let mut versions = self.versions(&pack.name).map_err(PullError::at(&self.directory))?;
        if fs::symlink_metadata(&target).is_ok() && !versions.contains(&target) {
            if !is_rest_of(pack, &target) {
                return Err(PullError::Obstructed(target.display().to_string()));
            }
            versions.push(target);
        }
        Ok(versions)
    }

    /// Gives a complete pack its name, after moving what it replaces aside. If that fails, it is put back.
    pub(crate) fn put(&self, pack: &Pack, room: TempDir, replaced: &[PathBuf]) -> Result<(), PullError> {
        let target = self.directory_of(pack);
        let name = || fs::rename(room.path().join(COMPLETE), &target).map_err(PullError::at(&target));
        if let Err(error) = move_into(replaced, &room.path().join(ASIDE)).and_then(|()| name()) {
            if self.put_back(room.path()).is_err() {
                // The next pull tries again.
                let _ = room.keep();
            }
            return Err(error);
        }
        // The pack is there. What cannot be removed is removed by the next pull.
        drop(room);
        sync_directory(&self.directory).map_err(PullError::at(&self.directory))
    }

    /// Whether a licence was accepted when this pack, out of the same archive, was installed.
    pub(crate) fn was_accepted(&self, pack: &Pack, licence: &str) -> bool {
        let manifest = Manifest::read(&self.directory_of(pack)).ok().flatten();
        manifest.is_some_and(|manifest| {
            manifest.archive == pack.source.archive && manifest.accepted.as_deref() == Some(licence)
        })
    }

    /// Returns the directories whose manifests name a pack.
    fn versions(&self, name: &str) -> io::Result<Vec<PathBuf>> {
        let mut directories = self.visible()?;
        directories
            .retain(|directory| Manifest::read(directory).ok().flatten().is_some_and(|manifest| manifest.name == name));
        Ok(directories)
    }

    /// Returns the paths whose names do not begin with a dot, sorted.
    fn visible(&self) -> io::Result<Vec<PathBuf>> {
        self.listed(|name| !name.starts_with(b"."))
    }

    /// Returns the paths with some names, sorted.
    fn listed(&self, is_meant: impl Fn(&[u8]) -> bool) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry?;
            if is_meant(entry.file_name().as_encoded_bytes()) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// Whether a directory that has the name of a pack is what is left of it: its manifest is missing or cannot be read, and it holds
/// nothing but files with the names of the pack's.
fn is_rest_of(pack: &Pack, directory: &Path) -> bool {
    if !fs::symlink_metadata(directory).is_ok_and(|found| found.is_dir())
        || matches!(Manifest::read(directory), Ok(Some(_)))
    {
        return false;
    }
    let is_named = |name: &OsStr| {
        let files = pack.files.iter().map(|file| file.name.as_str());
        files.chain([MANIFEST, LICENCE]).any(|known| name == known)
    };
    let is_of_pack = |entry: io::Result<DirEntry>| {
        entry.is_ok_and(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()) && is_named(&entry.file_name()))
    };
    fs::read_dir(directory).is_ok_and(|mut entries| entries.all(is_of_pack))
}

/// Moves directories of packs into another one.
fn move_into(directories: &[PathBuf], into: &Path) -> Result<(), PullError> {
    for directory in directories {
        let target = into.join(directory.file_name().unwrap_or_default());
        fs::rename(directory, target).map_err(PullError::at(directory))?;
    }
    Ok(())
}

/// Waits until the entries of a directory are on the disk.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
