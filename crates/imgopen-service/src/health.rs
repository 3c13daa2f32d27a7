//! Whether a task could be accepted and finished now: what is wrong at the moment, by the part of the service that found it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use imgopen_store::Store;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::disk;

/// How long a result is trusted, so that many questions cost no more than one.
const TRUST: Duration = Duration::from_secs(1);

/// How long the database and the disk may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// The parts that this module looks at itself.
const DATABASE: &str = "database";
const PICTURES: &str = "pictures";
const DISK: &str = "disk";

/// The health of a service.
pub(crate) struct Health {
    store: Arc<dyn Store>,
    data_dir: PathBuf,
    assets: PathBuf,
    reserve: Option<u64>,
    faults: Mutex<BTreeMap<&'static str, String>>,
    room: Mutex<Option<(Instant, Option<Problem>)>>,
    last: tokio::sync::Mutex<Last>,
}

/// The last look at the database and the pictures.
#[derive(Default)]
struct Last {
    at: Option<Instant>,
    /// A file that is still being written, after the limit. A disk that hangs must not collect threads.
    writing: Option<JoinHandle<io::Result<()>>>,
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
    /// Looks at this store and these directories. That many bytes are to stay free on their disks, as the setting says.
    pub fn new(store: Arc<dyn Store>, data_dir: PathBuf, assets: PathBuf, reserve: Option<u64>) -> Self {
        let (faults, room, last) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { store, data_dir, assets, reserve, faults, room, last }
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
        let mut last = self.last.lock().await;
        if last.at.is_none_or(|at| at.elapsed() >= TRUST) {
            let (database, pictures) = tokio::join!(self.look_at_database(), self.look_at_pictures(&mut last.writing));
            self.record(DATABASE, database);
            self.record(PICTURES, pictures);
            // Records what it finds.
            let _ = self.room();
            last.at = Some(Instant::now());
        }
        drop(last);
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether there is room on the disk for another task. Costs nothing if that was seen a moment ago.
    ///
    /// # Errors
    ///
    /// What is wrong, in words for callers.
    pub fn room(&self) -> Result<(), String> {
        let seen = lock(&self.room).clone().filter(|(at, _)| at.elapsed() < TRUST);
        let problem = match seen {
            Some((_, problem)) => problem,
            None => {
                let problem = self.look_at_disk();
                *lock(&self.room) = Some((Instant::now(), problem.clone()));
                self.record(DISK, problem.clone().map_or(Ok(()), Err));
                problem
            }
        };
        problem.map_or(Ok(()), |problem| Err(problem.public))
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

    async fn look_at_pictures(&self, writing: &mut Option<JoinHandle<io::Result<()>>>) -> Result<(), Problem> {
        let directory = self.assets.clone();
        let task = writing.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || {
                // Writing a picture makes it again, too; but not the data directory.
                match std::fs::create_dir(&directory) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => disk::probe(&directory),
                }
            })
        });
        let Ok(written) = tokio::time::timeout(LIMIT, task).await else {
            return Err(self.pictures(&format!("the disk does not answer within {} s", LIMIT.as_secs())));
        };
        *writing = None;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.pictures(&error)),
            Err(error) => Err(self.pictures(&error)),
        }
    }

    fn pictures(&self, error: &dyn std::fmt::Display) -> Problem {
        let directory = self.assets.display();
        let detail = format!(
            "no picture can be written into {directory}: {error}; check its disk and its permissions, and free some space"
        );
        Problem { public: "no picture can be written".to_owned(), detail }
    }

    fn look_at_disk(&self) -> Option<Problem> {
        [&self.data_dir, &self.assets].into_iter().find_map(|directory| {
            // A directory that is missing is reported by what is written into it.
            let space = disk::space(directory).ok()?;
            let reserve = space.reserve(self.reserve);
            let (free, path) = (space.free, directory.display());
            (free < reserve).then(|| Problem {
                public: "the disk is nearly full".to_owned(),
                detail: format!(
                    "the disk of {path} has {free} bytes left, and {reserve} are kept free so that tasks can end; free some \
                     space, or lower `disk.reserve`"
                ),
            })
        })
    }

    fn record(&self, part: &'static str, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => self.well(part),
            Err(problem) => self.fault(part, problem),
        }
    }
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
        let health = Health::new(Arc::new(store.clone()), directory.to_owned(), directory.join("assets"), reserve);
        (health, store)
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
        // As a second later.
        health.last.lock().await.at = None;
        assert_eq!(health.check().await.unwrap_err(), ["the database is closed"]);
    }

    #[tokio::test]
    async fn a_directory_that_takes_no_file_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let (health, _) = health(directory.path(), None);
        health.check().await.unwrap();
        std::fs::remove_dir(directory.path().join("assets")).unwrap();
        std::fs::write(directory.path().join("assets"), "in the way").unwrap();
        health.last.lock().await.at = None;
        assert_eq!(health.check().await.unwrap_err(), ["no picture can be written"]);
        std::fs::remove_file(directory.path().join("assets")).unwrap();
        health.last.lock().await.at = None;
        health.check().await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_without_its_reserve_has_no_room() {
        let directory = tempfile::tempdir().unwrap();
        let (health, _) = health(directory.path(), Some(u64::MAX));
        assert_eq!(health.room().unwrap_err(), "the disk is nearly full");
        assert_eq!(health.check().await.unwrap_err(), ["the disk is nearly full"]);
        let freed = Health { reserve: Some(0), ..health };
        // A result is trusted for a moment.
        assert!(freed.room().is_err());
        *lock(&freed.room) = None;
        freed.room().unwrap();
        freed.check().await.unwrap();
    }
}
