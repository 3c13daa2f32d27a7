//! A pool of connections that only read, all from the files that were opened at first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::identity::Identity;
use super::open;
use super::problem::Problem;

/// The largest number of connections.
const MOST: usize = 8;

/// A pool that opens connections as they are needed.
#[derive(Debug, Clone)]
pub struct Readers {
    path: Arc<PathBuf>,
    identity: Arc<Identity>,
    idle: Arc<Mutex<Vec<Connection>>>,
    slots: Arc<Semaphore>,
}

impl Readers {
    /// Opens the first connection, so that a file that cannot be opened is noticed at once.
    pub fn new(path: PathBuf, identity: Arc<Identity>) -> Result<Self, Problem> {
        let slots = Arc::new(Semaphore::new(MOST));
        let readers = Self { path: Arc::new(path), identity, idle: Arc::default(), slots };
        let first = readers.open()?;
        readers.lock().push(first);
        Ok(readers)
    }

    /// Runs work on a connection, on a thread where it may block.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| Problem::closed())?;
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let outcome = work(&connection);
            readers.lock().push(connection);
            drop(slot);
            outcome
        });
        reading.await.map_err(|error| Problem::failed(format!("a reader panicked: {error}")))?
    }

    /// Waits for the work in progress, and closes all connections.
    pub async fn close(&self) {
        // An error means that they were closed before.
        let all = self.slots.acquire_many(MOST as u32).await;
        self.slots.close();
        self.lock().clear();
        drop(all);
    }

    fn take(&self) -> Result<Connection, Problem> {
        let idle = self.lock().pop();
        idle.map_or_else(|| self.open(), Ok)
    }

    /// Opens a connection. A file that took the place of the database's has other keys and tasks, or none: it is not opened,
    /// because it would share the log of the other one, and it is not read if it came just before.
    fn open(&self) -> Result<Connection, Problem> {
        self.identity.check()?;
        let connection = open::read_only(&self.path)?;
        self.identity.check()?;
        Ok(connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
