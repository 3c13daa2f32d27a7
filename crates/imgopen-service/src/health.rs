//! Whether a task could be accepted and finished now: what is wrong at the moment, by the part of the service that found it.

mod look;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgopen_store::Store;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::assets::{AssetError, Assets};
use crate::disk;
use look::{LIMIT, Look, TRUST};

/// The parts that this module looks at itself.
const DATABASE: &str = "database";
const PICTURES: &str = "pictures";
const DISK: &str = "disk";

/// What callers learn when the directory of pictures cannot be used.
const NO_PICTURE: &str = "no picture can be written";

/// The health of a service.
pub(crate) struct Health {
    store: Arc<dyn Store>,
    faults: Mutex<BTreeMap<&'static str, String>>,
    /// Whether there is room for another task.
    room: Look<Option<Problem>>,
    /// Whether a picture can be written.
    pictures: Look<Option<Problem>>,
    /// The address of the bucket that has the pictures, if they are in one.
    bucket: Option<String>,
    /// When the database and the pictures were looked at last.
    checked: tokio::sync::Mutex<Option<Instant>>,
}

/// What is wrong. From a text, each member is that text.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// In words for callers, who must not see paths and addresses.
    pub public: String,
    /// For the log: where, why, and how to fix it.
    pub detail: String,
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self { public: text.to_owned(), detail: text.to_owned() }
    }
}

impl Health {
    /// Looks at this store, this directory and these pictures. That many bytes are to stay free on their disks, as the setting
    /// says.
    pub fn new(store: Arc<dyn Store>, data_dir: PathBuf, assets: Assets, reserve: Option<u64>) -> Self {
        let directories: Vec<_> = std::iter::once(data_dir).chain(assets.directory().map(Path::to_owned)).collect();
        Self {
            store,
            bucket: assets.directory().is_none().then(|| assets.shown()),
            faults: Mutex::default(),
            room: Look::new(move || directories.iter().find_map(|directory| lacks_room(directory, reserve))),
            pictures: Look::new(move || takes_no_pictures(&assets)),
            checked: tokio::sync::Mutex::default(),
        }
    }

    /// Records what is wrong with a part of the service until it is [`well`](Self::well) again. Logged when it begins or
    /// changes, not whenever it is seen.
    pub fn fault(&self, part: &'static str, problem: impl Into<Problem>) {
        let Problem { public, detail } = problem.into();
        let before = lock(&self.faults).insert(part, public.clone());
        if before != Some(public) {
            warn!(part, problem = detail, "the service is not ready");
        }
    }

    /// Records that nothing is wrong with a part of the service.
    pub fn well(&self, part: &'static str) {
        if lock(&self.faults).remove(part).is_some() {
            info!(part, "the service has recovered");
        }
    }

    /// Returns what is wrong, in words for callers.
    pub fn faults(&self) -> Vec<String> {
        lock(&self.faults).values().cloned().collect()
    }

    /// Looks at everything, unless that was done a moment ago.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in words for callers.
    pub async fn check(&self) -> Result<(), Vec<String>> {
        let mut checked = self.checked.lock().await;
        if checked.is_none_or(|at| at.elapsed() >= TRUST) {
            let (database, pictures, room) =
                tokio::join!(self.look_at_database(), self.pictures.now(), self.room.now());
            self.record(DATABASE, database);
            self.record(PICTURES, seen(pictures, || self.silent_pictures()));
            self.record(DISK, seen(room, silent_disk));
            *checked = Some(Instant::now());
        }
        drop(checked);
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether there is room on the disk for another task. Reads what was seen last; waits only if nothing was seen lately, and
    /// then for two seconds at most.
    ///
    /// # Errors
    ///
    /// What is wrong, in words for callers: there is too little room, or the disk does not answer.
    pub async fn room(&self) -> Result<(), String> {
        self.recorded(DISK, seen(self.room.lately().await, silent_disk))
    }

    /// Whether the bucket takes pictures, in the same way as whether there is room. A directory of pictures may be away while tasks
    /// wait for it, but a full or silent disk takes none, and a bucket that cannot be used counts as that.
    ///
    /// # Errors
    ///
    /// What is wrong, in words for callers.
    pub async fn bucket(&self) -> Result<(), String> {
        if self.bucket.is_none() {
            return Ok(());
        }
        self.recorded(PICTURES, seen(self.pictures.lately().await, || self.silent_pictures()))
    }

    fn silent_pictures(&self) -> Problem {
        let detail = match &self.bucket {
            Some(bucket) => {
                let seconds = LIMIT.as_secs();
                format!("the bucket {bucket} does not answer within {seconds} s; check its server and the network")
            }
            None => silent_disk().detail,
        };
        Problem { public: NO_PICTURE.to_owned(), detail }
    }

    async fn look_at_database(&self) -> Result<(), Problem> {
        let problem = |public: &str, detail: String| Problem { public: public.to_owned(), detail };
        match tokio::time::timeout(LIMIT, self.store.ready()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(problem(error.summary(), error.to_string())),
            Err(_) => {
                let public = format!("the database does not answer within {} s", LIMIT.as_secs());
                Err(problem(&public, format!("{public}; check whether another process has locked it, and its disk")))
            }
        }
    }

    /// Records an outcome, and returns it in words for callers.
    fn recorded(&self, part: &'static str, outcome: Result<(), Problem>) -> Result<(), String> {
        let public = outcome.as_ref().map_err(|problem| problem.public.clone()).copied();
        self.record(part, outcome);
        public
    }

    fn record(&self, part: &'static str, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => self.well(part),
            Err(problem) => self.fault(part, problem),
        }
    }
}

/// Returns what a look found. If nothing answers, that is what follows from it.
fn seen(found: Option<Option<Problem>>, silent: impl FnOnce() -> Problem) -> Result<(), Problem> {
    found.unwrap_or_else(|| Some(silent())).map_or(Ok(()), Err)
}

fn silent_disk() -> Problem {
    let public = format!("the disk does not answer within {} s", LIMIT.as_secs());
    let detail = format!("{public}; check the disk of the data directory, and its server if it is on the network");
    Problem { public, detail }
}

/// Writes a file beside the pictures. Blocks, on a thread of a runtime that may.
fn takes_no_pictures(assets: &Assets) -> Option<Problem> {
    let error = Handle::current().block_on(assets.probe()).err()?;
    let (away, shown) = ("no picture can be written or read: their", assets.shown());
    let problem = |public: String, detail: String| Some(Problem { public, detail });
    match error {
        AssetError::Away { .. } => problem(format!("{away} disk is away"), error.to_string()),
        AssetError::Bucket { .. } => problem(format!("{away} storage cannot be used"), error.to_string()),
        AssetError::Foreign { .. } => problem(format!("{away} storage is another one"), error.to_string()),
        error if assets.directory().is_some() => problem(
            NO_PICTURE.to_owned(),
            format!(
                "no picture can be written into {shown}: {error}; check its disk and its permissions, and free some space"
            ),
        ),
        error => problem(NO_PICTURE.to_owned(), format!("no picture can be written into {shown}: {error}")),
    }
}

fn lacks_room(directory: &Path, reserve: Option<u64>) -> Option<Problem> {
    // A directory that is missing is reported by what is written into it.
    let space = disk::space(directory).ok()?;
    let reserve = space.reserve(reserve);
    let (free, path) = (space.free, directory.display());
    (free < reserve).then(|| Problem {
        public: "the disk is nearly full".to_owned(),
        detail: format!(
            "the disk of {path} has {free} bytes left, and {reserve} are kept free so that tasks can end; free some space, \
             or lower `disk.reserve`"
        ),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use imgopen_store::SqliteStore;

    use super::*;

    fn health(directory: &std::path::Path, reserve: Option<u64>) -> (Health, SqliteStore) {
        let store = SqliteStore::open(directory).unwrap();
        let assets = Assets::open(&directory.join("assets"), Arc::new(store.clone())).unwrap();
        let health = Health::new(Arc::new(store.clone()), directory.to_owned(), assets, reserve);
        (health, store)
    }

    /// Goes on as a second later.
    async fn later(health: &Health) {
        *health.checked.lock().await = None;
        health.pictures.forget();
        health.room.forget();
    }

    #[tokio::test]
    async fn standing_faults_are_listed_until_they_are_over() {
        let directory = tempfile::tempdir().unwrap();
        let (health, _) = health(directory.path(), None);
        health.check().await.unwrap();
        health.fault("workers", "all workers pause");
        health.fault("callbacks", "no callback can be pushed");
        health.fault("callbacks", "no callback was pushed");
        let faults = ["no callback was pushed".to_owned(), "all workers pause".to_owned()];
        assert_eq!(health.check().await.unwrap_err(), faults);
        health.well("workers");
        health.well("callbacks");
        health.check().await.unwrap();
    }

    #[tokio::test]
    async fn a_result_is_trusted_for_a_moment() {
        let directory = tempfile::tempdir().unwrap();
        let (health, store) = health(directory.path(), None);
        health.check().await.unwrap();
        store.close().await.unwrap();
        health.check().await.unwrap();
        later(&health).await;
        assert_eq!(health.check().await.unwrap_err(), ["the database is closed"]);
    }

    #[tokio::test]
    async fn a_directory_that_takes_no_file_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let (health, _) = health(directory.path(), None);
        health.check().await.unwrap();
        std::fs::remove_dir_all(directory.path().join("assets")).unwrap();
        std::fs::write(directory.path().join("assets"), "in the way").unwrap();
        later(&health).await;
        assert_eq!(health.check().await.unwrap_err(), ["no picture can be written"]);
        std::fs::remove_file(directory.path().join("assets")).unwrap();
        later(&health).await;
        health.check().await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_without_its_reserve_has_no_room() {
        let directory = tempfile::tempdir().unwrap();
        let (full, store) = health(directory.path(), Some(u64::MAX));
        assert_eq!(full.room().await.unwrap_err(), "the disk is nearly full");
        assert_eq!(full.check().await.unwrap_err(), ["the disk is nearly full"]);
        drop((full, store));
        let (freed, _) = health(directory.path(), Some(0));
        freed.room().await.unwrap();
        freed.check().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_takes_no_task() {
        let directory = tempfile::tempdir().unwrap();
        let (health, _) = health(directory.path(), None);
        // The thread waits until the sender is dropped.
        let (answers, hangs) = std::sync::mpsc::channel::<()>();
        let hangs = Mutex::new(hangs);
        let room = Look::new(move || {
            let _ = lock(&hangs).recv();
            None
        });
        let health = Health { room, ..health };
        let msg = "the disk does not answer within 2 s";
        let (seen, ()) = tokio::join!(health.room(), tokio::time::advance(LIMIT * 2));
        assert_eq!(seen.unwrap_err(), msg);
        assert_eq!(health.room().await.unwrap_err(), msg);
        assert_eq!(health.faults(), [msg]);
        drop(answers);
        while health.room().await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(health.faults(), [""; 0]);
    }
}
