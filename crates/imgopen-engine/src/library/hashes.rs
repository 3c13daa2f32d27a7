//! The SHA-256 of model files, computed by a background thread and cached in a file.
//!
//! A hash is valid as long as path, size and modification time are unchanged. The cache is written under another name and
//! then renamed, so a killed process leaves the old file or the new one. Files that no longer exist are dropped from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::files::Stamp;

/// How much of a file is read at a time. The thread can be stopped between two reads.
const BLOCK: usize = 1024 * 1024;

/// The interval between writes of the cache while there is more to compute.
const PAUSE: Duration = Duration::from_secs(10);

/// The hashes of a library.
#[derive(Debug)]
pub(super) struct Hashes {
    shared: Arc<Shared>,
    /// The files to hash; `None` if there is no thread.
    queue: Option<Sender<(PathBuf, Stamp)>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    file: Option<PathBuf>,
    state: Mutex<State>,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// By path.
    kept: BTreeMap<String, Kept>,
    queued: HashSet<PathBuf>,
    /// Files that could not be read, which are not tried again until they change.
    failed: HashMap<PathBuf, Stamp>,
}

/// A hash as stored in the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    size: u64,
    modified: u64,
    sha256: String,
}

impl Hashes {
    /// Reads the cache, if there is one, and starts the thread.
    pub fn open(file: Option<PathBuf>) -> Self {
        let kept = file.as_deref().map(read).unwrap_or_default();
        let state = Mutex::new(State { kept, ..State::default() });
        let shared = Arc::new(Shared { file, state, stop: AtomicBool::new(false) });
        let (queue, files) = channel();
        let thread = std::thread::Builder::new().name("imgopen-hashes".to_owned());
        let started = thread.spawn({
            let shared = shared.clone();
            move || shared.work(&files)
        });
        if let Err(error) = &started {
            warn!(%error, "no thread for hashes; models are listed without them");
        }
        let thread = started.ok();
        Self { shared, queue: thread.is_some().then_some(queue), thread }
    }

    /// Returns the hash of a file, 64 hexadecimal digits in upper case, if it is cached. Otherwise it is computed in the
    /// background.
    pub fn of(&self, path: &Path, stamp: Stamp) -> Option<String> {
        let mut state = self.shared.state();
        let kept = state.kept.get(&key(path)).filter(|kept| kept.is_of(stamp));
        if let Some(kept) = kept {
            return Some(kept.sha256.clone());
        }
        if state.failed.get(path) != Some(&stamp) && state.queued.insert(path.to_owned()) {
            let file = (path.to_owned(), stamp);
            // Sending cannot fail, because the thread runs as long as the library.
            drop(self.queue.as_ref().map(|queue| queue.send(file)));
        }
        None
    }
}

impl Drop for Hashes {
    /// Waits until computed hashes are written. Hashing of the current file is abandoned.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The thread may be waiting for files.
        self.queue = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread for hashes panicked");
        }
    }
}

impl Kept {
    fn is_of(&self, stamp: Stamp) -> bool {
        (self.size, self.modified) == (stamp.size, stamp.modified)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes hashes until the queue is closed.
    fn work(&self, files: &Receiver<(PathBuf, Stamp)>) {
        let (mut is_written, mut last) = (true, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            let next = match files.try_recv() {
                Err(TryRecvError::Empty) => {
                    if !is_written {
                        self.write();
                        is_written = true;
                    }
                    files.recv().ok()
                }
                next => next.ok(),
            };
            let Some((path, stamp)) = next else { break };
            is_written &= !self.compute(&path, stamp);
            if !is_written && last.elapsed() > PAUSE {
                self.write();
                (is_written, last) = (true, Instant::now());
            }
        }
        if !is_written {
            self.write();
        }
    }

    /// Computes one hash. Returns whether there is a new one.
    fn compute(&self, path: &Path, stamp: Stamp) -> bool {
        let hashed = hash(path, &self.stop);
        let is_same = std::fs::metadata(path).is_ok_and(|file| Stamp::of(&file) == stamp);
        let mut state = self.state();
        state.queued.remove(path);
        match hashed {
            Ok(Some(sha256)) if is_same => {
                let kept = Kept { size: stamp.size, modified: stamp.modified, sha256 };
                state.kept.insert(key(path), kept);
                true
            }
            // It changed meanwhile, or the thread was stopped. The next listing queues it again.
            Ok(_) => false,
            Err(error) => {
                warn!(file = %path.display(), %error, "a model cannot be read; it is listed without a hash");
                state.failed.insert(path.to_owned(), stamp);
                false
            }
        }
    }

    /// Drops the hashes of files that no longer exist.
    fn forget(&self) {
        // A name that is not UTF-8 is stored lossily, so its file cannot be looked up.
        let is_gone = |key: &String| {
            !key.contains(char::REPLACEMENT_CHARACTER) && matches!(Path::new(key).try_exists(), Ok(false))
        };
        // Without the lock, because disks may be slow.
        let keys: Vec<String> = self.state().kept.keys().cloned().collect();
        let gone: Vec<String> = keys.into_iter().filter(is_gone).collect();
        let mut state = self.state();
        gone.iter().for_each(|key| drop(state.kept.remove(key)));
    }

    fn write(&self) {
        let Some(file) = &self.file else { return };
        self.forget();
        let text = serde_json::to_vec_pretty(&self.state().kept);
        let written = text.map_err(io::Error::from).and_then(|text| replace(file, &text));
        if let Err(error) = written {
            warn!(file = %file.display(), %error, "the hashes of models cannot be cached; they will be computed again");
        }
    }
}

fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Reads the cache. One that cannot be read counts as empty, because all hashes can be computed again.
fn read(file: &Path) -> BTreeMap<String, Kept> {
    let read = std::fs::read(file).and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
    read.unwrap_or_else(|error| {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            warn!(file = %file.display(), %error, "the hashes of models cannot be read; they will be computed again");
        }
        BTreeMap::new()
    })
}

fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let whole = file.with_extension("part");
    let mut part = File::create(&whole)?;
    part.write_all(text)?;
    part.sync_all()?;
    drop(part);
    std::fs::rename(&whole, file)
}

/// Returns the hash of a file, or `None` if the thread was stopped.
fn hash(path: &Path, stop: &AtomicBool) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let (mut sha, mut block) = (Sha256::new(), vec![0; BLOCK]);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match file.read(&mut block) {
            Ok(0) => break,
            Ok(length) => sha.update(&block[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(sha.finalize().iter().map(|byte| format!("{byte:02X}")).collect()))
}
