//! The runtime of a service.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

/// The threads that a service needs beside its workers before it is ready: one each for the log, for writing the database and
/// for reading files, and two to spare.
const OTHERS: usize = 5;

/// Builds the runtime of a service, with a worker for each core. Called before anything else starts a thread.
///
/// # Errors
///
/// If the system allows too few threads. The runtime itself would panic.
pub fn for_service() -> anyhow::Result<Runtime> {
    let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let needed = workers + OTHERS;
    try_threads(needed).with_context(|| {
        format!(
            "the system does not allow the {needed} threads that a service needs; raise the limit of this user or container \
             (`ulimit -u`, `TasksMax`, `--pids-limit`)"
        )
    })?;
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// Starts so many threads at once, and ends them.
fn try_threads(count: usize) -> io::Result<()> {
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let start = |_| {
        let gate = gate.clone();
        thread::Builder::new().spawn(move || drop(gate.read()))
    };
    let threads: io::Result<Vec<JoinHandle<()>>> = (0..count).map(start).collect();
    drop(closed);
    for thread in threads? {
        // They do nothing that could panic.
        let _ = thread.join();
    }
    Ok(())
}
