//! The one thread that writes, with many callers to a transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::problem::Problem;

/// The largest number of pieces of work in one transaction, so that the first of them does not wait forever.
const BATCH: usize = 512;

/// Work on the connection, or the reason why there is no transaction for it. Returns the answer to send once the
/// transaction is over.
type Work = Box<dyn FnOnce(Result<&Connection, Problem>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), Problem>) + Send>;

/// A handle of the thread, which ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: Sender<Work>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> Result<Self, Problem> {
        let (queue, work) = channel();
        let thread = thread::Builder::new().name("imgopen-writer".to_owned());
        let started = thread.spawn(move || run(&connection, &work));
        started.map_err(|error| Problem::failed(format!("the writer's thread cannot be started: {error}")))?;
        Ok(Self { queue })
    }

    /// Runs work and returns once it is on the disk.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (sender, answer) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let outcome = connection.and_then(|connection| in_savepoint(connection, work));
            // The work stays done even if its caller has gone away.
            Box::new(move |committed| drop(sender.send(committed.and(outcome))))
        });
        self.queue.send(work).map_err(|_| Problem::closed())?;
        answer.await.map_err(|_| Problem::closed())?
    }
}

fn run(connection: &Connection, queue: &Receiver<Work>) {
    while let Ok(first) = queue.recv() {
        let mut answers = Vec::new();
        let outcome = match connection.execute_batch("BEGIN IMMEDIATE") {
            Ok(()) => {
                answers.push(first(Ok(connection)));
                // An error such as a full disk ends the transaction; what follows belongs to the next one.
                while answers.len() < BATCH && !connection.is_autocommit() {
                    let Ok(next) = queue.try_recv() else { break };
                    answers.push(next(Ok(connection)));
                }
                commit(connection)
            }
            Err(error) => {
                answers.push(first(Err(error.into())));
                Ok(())
            }
        };
        answers.into_iter().for_each(|answer| answer(outcome.clone()));
    }
}

fn commit(connection: &Connection) -> Result<(), Problem> {
    let committed = connection.execute_batch("COMMIT");
    if committed.is_err() {
        // Undone, so that the next transaction can begin.
        drop(connection.execute_batch("ROLLBACK"));
    }
    Ok(committed?)
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Problem>,
) -> Result<T, Problem> {
    connection.prepare_cached("SAVEPOINT work")?.execute([])?;
    // Work that panics is undone like work that fails, and the thread goes on for the others.
    let outcome = catch_unwind(AssertUnwindSafe(|| work(connection)));
    let outcome = outcome.unwrap_or_else(|_| Err(Problem::failed("a piece of work panicked")));
    if outcome.is_err() && !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK TO work")?.execute([])?;
    }
    if !connection.is_autocommit() {
        connection.prepare_cached("RELEASE work")?.execute([])?;
    }
    outcome
}
