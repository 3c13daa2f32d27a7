//! Connections that only read, each used by one caller at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{StoreError, open};

/// The most connections.
const MOST: usize = 8;

/// The connections.
#[derive(Debug, Clone)]
pub struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Opens the first connection; others follow when they are needed.
    pub fn new(path: PathBuf) -> Result<Self, StoreError> {
        let first = open::read_only(&path)?;
        let (path, idle) = (Arc::new(path), Arc::new(Mutex::new(vec![first])));
        Ok(Self { path, idle, turns: Arc::new(Semaphore::new(MOST)) })
    }

    /// Runs work on a connection.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let outcome = work(&connection);
            readers.lock().push(connection);
            drop(turn);
            outcome
        });
        reading.await.map_err(|error| StoreError::Database(format!("a reader failed: {error}")))?
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.lock().pop();
        idle.map_or_else(|| open::read_only(&self.path), Ok)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
