//! The packs in a models directory: which are installed, whether they are whole, and how they are removed.
//!
//! Each is a directory of its own, `packs/NAME-VERSION`, which gets its name once it is complete. What a pull or a removal works
//! on has a name that begins with a dot and ends in `.part`; if the process is killed, the next one removes it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use tempfile::TempDir;

use crate::catalogue::Pack;
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
    /// An earlier version is installed, or one that was installed in another way; pulling the pack replaces it.
    Outdated,
    /// Files are missing or changed, for this reason. Pulling the pack replaces it, unless its manifest is missing or damaged.
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
            Ok(None) if directory.exists() => State::Damaged("it has no manifest".to_owned()),
            // What cannot be listed holds no versions.
            Ok(None) if self.versions(&pack.name).is_ok_and(|versions| !versions.is_empty()) => State::Outdated,
            Ok(None) => State::Missing,
            Err(problem) => State::Damaged(problem),
        }
    }

    /// Returns the path of a file of a pack, if the pack is installed and has it.
    pub fn file(&self, pack: &Pack, name: &str) -> Option<PathBuf> {
        match self.state(pack) {
            State::Installed(manifest) if manifest.files.iter().any(|file| file.name == name) => {
                Some(self.directory_of(pack).join(name))
            }
            _ => None,
        }
    }

    /// Reads the files of all installed packs, and returns those that are damaged.
    ///
    /// # Errors
    ///
    /// When the directory of the packs cannot be listed.
    pub fn verify(&self) -> io::Result<Vec<Damage>> {
        let mut damages = Vec::new();
        for directory in self.visible()? {
            let (name, checked) = match Manifest::read(&directory) {
                Ok(Some(manifest)) => {
                    let checked = manifest.check(&directory, true);
                    (Some(manifest.name), checked)
                }
                // It may be the operator's.
                Ok(None) => continue,
                Err(problem) => (None, Err(problem)),
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
    /// When a directory cannot be removed, another pull or removal does not end in time, or this one is cancelled.
    pub fn remove(&self, name: &str, options: &PullOptions) -> Result<bool, PullError> {
        if !self.directory.is_dir() {
            return Ok(false);
        }
        let _lock = self.lock(options, || {})?;
        self.remove_parts()?;
        let versions = self.versions(name).map_err(PullError::at(&self.directory))?;
        if versions.is_empty() {
            return Ok(false);
        }
        let room = self.room(name)?;
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

    /// Removes what killed processes have left. Needs the lock: the others are still at work.
    pub(crate) fn remove_parts(&self) -> Result<(), PullError> {
        for entry in fs::read_dir(&self.directory).map_err(PullError::at(&self.directory))? {
            let entry = entry.map_err(PullError::at(&self.directory))?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if name.starts_with(b".") && name.ends_with(PART.as_bytes()) {
                fs::remove_dir_all(entry.path()).map_err(PullError::at(&entry.path()))?;
            }
        }
        Ok(())
    }

    /// Makes a directory for what is not complete, which is removed when it is dropped.
    pub(crate) fn room(&self, what: &str) -> Result<TempDir, PullError> {
        let prefix = format!(".{what}.");
        let made = tempfile::Builder::new().prefix(&prefix).suffix(PART).tempdir_in(&self.directory);
        made.map_err(PullError::at(&self.directory))
    }

    /// Returns the directories that a pull of a pack replaces.
    ///
    /// # Errors
    ///
    /// When something else has the name of the pack's directory.
    pub(crate) fn replaced_by(&self, pack: &Pack) -> Result<Vec<PathBuf>, PullError> {
        let target = self.directory_of(pack);
        let versions = self.versions(&pack.name).map_err(PullError::at(&self.directory))?;
        if target.exists() && !versions.contains(&target) {
            return Err(PullError::Obstructed(target.display().to_string()));
        }
        Ok(versions)
    }

    /// Gives a complete pack its name, after moving what it replaces into another directory.
    pub(crate) fn put(
        &self,
        pack: &Pack,
        complete: &Path,
        replaced: &[PathBuf],
        aside: &Path,
    ) -> Result<(), PullError> {
        let target = self.directory_of(pack);
        move_into(replaced, aside)?;
        fs::rename(complete, &target).map_err(PullError::at(&target))?;
        sync_directory(&self.directory).map_err(PullError::at(&self.directory))
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
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }
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
