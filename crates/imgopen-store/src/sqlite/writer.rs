//! The one thread that writes, with many callers to a transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::identity::Identity;
use super::problem::Problem;

/// The largest number of pieces of work in one transaction, so that the first of them does not wait forever.
const BATCH: usize = 512;

/// How long the end waits for readers in other processes.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Work on the connection, or the reason why there is no transaction for it. Returns the answer to send once the
/// transaction is over.
type Work = Box<dyn FnOnce(Result<&Connection, Problem>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), Problem>) + Send>;

/// Where to report that the connection is closed.
type Closing = oneshot::Sender<Result<(), Problem>>;

enum Message {
    Work(Work),
    Close(Closing),
}

/// A handle of the thread, which ends when it is closed or the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: Sender<Message>,
}

impl Writer {
    /// Starts the thread. It fails all work once the files are not those of the identity any more.
    pub fn start(connection: Connection, identity: Arc<Identity>) -> Result<Self, Problem> {
        let (queue, work) = channel();
        let thread = thread::Builder::new().name("imgopen-writer".to_owned());
        let started = thread.spawn(move || run(connection, &identity, &work));
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
            Box::new(move |committed| drop(sender.send(outcome.and_then(|value| committed.map(|()| value)))))
        });
        self.queue.send(Message::Work(work)).map_err(|_| Problem::closed())?;
        answer.await.map_err(|_| Problem::closed())?
    }

    /// Waits for the work that was sent before, moves the write-ahead log into the database file, and closes the connection.
    pub async fn close(&self) -> Result<(), Problem> {
        let (sender, closed) = oneshot::channel();
        if self.queue.send(Message::Close(sender)).is_err() {
            // It was closed before.
            return Ok(());
        }
        closed.await.unwrap_or(Ok(()))
    }
}

fn run(connection: Connection, identity: &Identity, queue: &Receiver<Message>) {
    loop {
        let closing = match queue.recv() {
            Ok(Message::Work(first)) => transaction(&connection, identity, queue, first),
            Ok(Message::Close(closing)) => Some(closing),
            // The last handle was dropped.
            Err(_) => return,
        };
        if let Some(closing) = closing {
            return drop(closing.send(finish(connection)));
        }
    }
}

/// Carries out what waits, in one transaction. If that includes a request to close, returns where to answer it.
fn transaction(
    connection: &Connection,
    identity: &Identity,
    queue: &Receiver<Message>,
    first: Work,
) -> Option<Closing> {
    let (mut answers, mut closing) = (Vec::new(), None);
    let outcome = match begin(connection, identity) {
        Ok(()) => {
            answers.push(first(Ok(connection)));
            // An error such as a full disk ends the transaction; what follows belongs to the next one.
            while answers.len() < BATCH && closing.is_none() && !connection.is_autocommit() {
                match queue.try_recv() {
                    Ok(Message::Work(next)) => answers.push(next(Ok(connection))),
                    Ok(Message::Close(answer)) => closing = Some(answer),
                    Err(_) => break,
                }
            }
            commit(connection)
        }
        Err(problem) => {
            answers.push(first(Err(problem.clone())));
            // What was sent while this waited for another process would only wait as long again, one after the other.
            while problem.is_busy() && closing.is_none() {
                match queue.try_recv() {
                    Ok(Message::Work(next)) => answers.push(next(Err(problem.clone()))),
                    Ok(Message::Close(answer)) => closing = Some(answer),
                    Err(_) => break,
                }
            }
            Ok(())
        }
    };
    answers.into_iter().for_each(|answer| answer(outcome.clone()));
    closing
}

fn begin(connection: &Connection, identity: &Identity) -> Result<(), Problem> {
    identity.check()?;
    Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
}

/// Makes the database file complete without its log, which another process may keep from being deleted, and closes it.
fn finish(connection: Connection) -> Result<(), Problem> {
    connection.busy_timeout(LAST_WAIT)?;
    let is_blocked = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    connection.close().map_err(|(_, error)| error)?;
    match is_blocked? {
        false => Ok(()),
        true => Err(Problem::busy("another process reads it, so its write-ahead log could not be moved into it")),
    }
}

fn commit(connection: &Connection) -> Result<(), Problem> {
    if connection.is_autocommit() {
        return Err(Problem::unusable("another write of the same transaction failed, and SQLite undid all of it"));
    }
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
