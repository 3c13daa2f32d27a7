//! The one thread that writes, many callers to a transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::StoreError;

/// The most pieces of work in one transaction, so that the first does not wait for ever.
const BATCH: usize = 512;

/// Work, which gives back how to tell its caller once the transaction is over. It is not done if there is no transaction.
type Work = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Tell + Send>;
type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Hands work to the thread. The thread ends with the last of its handles.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: Sender<Work>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> Result<Self, StoreError> {
        let (queue, work) = channel();
        let thread = thread::Builder::new().name("imgopen-writer".to_owned());
        let started = thread.spawn(move || run(&connection, &work));
        started.map_err(|error| StoreError::Database(format!("its thread cannot be started: {error}")))?;
        Ok(Self { queue })
    }

    /// Runs work and waits until it is on the disk.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let outcome = connection.and_then(|connection| in_savepoint(connection, work));
            // The caller may have gone; the work is done all the same.
            Box::new(move |committed| drop(sender.send(committed.and(outcome))))
        });
        self.queue.send(work).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn run(connection: &Connection, queue: &Receiver<Work>) {
    while let Ok(first) = queue.recv() {
        let mut tells = Vec::new();
        let outcome = match connection.execute_batch("BEGIN IMMEDIATE") {
            Ok(()) => {
                tells.push(first(Ok(connection)));
                // An error such as a full disk ends the transaction; what follows belongs to the next one.
                while tells.len() < BATCH && !connection.is_autocommit() {
                    let Ok(next) = queue.try_recv() else { break };
                    tells.push(next(Ok(connection)));
                }
                commit(connection)
            }
            Err(error) => {
                tells.push(first(Err(error.into())));
                Ok(())
            }
        };
        tells.into_iter().for_each(|tell| tell(outcome.clone()));
    }
}

fn commit(connection: &Connection) -> Result<(), StoreError> {
    let committed = connection.execute_batch("COMMIT");
    if committed.is_err() {
        // What could not be committed is undone, so that the next transaction can begin.
        drop(connection.execute_batch("ROLLBACK"));
    }
    Ok(committed?)
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.prepare_cached("SAVEPOINT work")?.execute([])?;
    // Work that panics is undone like any that fails, and the thread goes on for the others.
    let outcome = catch_unwind(AssertUnwindSafe(|| work(connection)));
    let outcome = outcome.unwrap_or_else(|_| Err(StoreError::Database("a piece of work panicked".to_owned())));
    if outcome.is_err() && !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK TO work")?.execute([])?;
    }
    if !connection.is_autocommit() {
        connection.prepare_cached("RELEASE work")?.execute([])?;
    }
    outcome
}
