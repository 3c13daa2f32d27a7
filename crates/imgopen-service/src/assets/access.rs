//! Bounds what waits for the disk of the pictures, which may not answer, as a network disk whose server is away.
//!
//! Whatever reads or writes it takes a thread of the runtime's pool until the disk answers, even if nobody waits for it any
//! more. The readers of the database use the same pool, so the threads for pictures are counted: each piece of work keeps its
//! place until it has ended.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How many pieces of work of each kind are on the disk at once. Both kinds together take a quarter of the pool's threads.
pub const PLACES: usize = 64;

/// How long what callers wait for may take, its wait for a place included.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Access to the disk. Clones share its places.
#[derive(Debug, Clone)]
pub struct Access {
    /// For what has a limit.
    short: Arc<Semaphore>,
    /// For what goes on until it is done.
    long: Arc<Semaphore>,
}

impl Access {
    pub fn new() -> Self {
        Self { short: Arc::new(Semaphore::new(PLACES)), long: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Does work that callers wait for.
    ///
    /// # Errors
    ///
    /// When it has not ended within [`LIMIT`], or panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        let silent = |_| {
            let problem = format!("it does not answer within {} s; check its disk", LIMIT.as_secs());
            io::Error::new(ErrorKind::TimedOut, problem)
        };
        timeout(LIMIT, in_place(self.short.clone(), work)).await.map_err(silent)?
    }

    /// Does work that may take long, such as writing a large picture.
    ///
    /// # Errors
    ///
    /// When it panicked.
    pub async fn run_to_end<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        in_place(self.long.clone(), work).await
    }
}

/// Does work in a place. Spawned, so that a caller who is gone does not free the place of a thread that still waits.
async fn in_place<T: Send + 'static>(
    places: Arc<Semaphore>,
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    let place = places.acquire_owned().await.map_err(io::Error::other)?;
    let working = tokio::spawn(async move {
        let done = work.await;
        drop(place);
        done
    });
    working.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_keeps_its_place_and_takes_no_more_than_there_are() {
        let access = Access::new();
        let (heal, healthy) = watch::channel(false);
        let hang = || {
            let mut healthy = healthy.clone();
            async move { healthy.wait_for(|is_healthy| *is_healthy).await.is_ok() }
        };
        let all = join_all((0..2 * PLACES).map(|_| access.run(hang()))).await;
        assert!(all.iter().all(|one| one.as_ref().is_err_and(|error| error.kind() == ErrorKind::TimedOut)));
        // Nobody waits any more, and still no place is free.
        assert_eq!(access.short.available_permits(), 0);
        assert!(access.run(async { 1 }).await.is_err());
        // Writing has places of its own.
        assert_eq!(access.run_to_end(async { 2 }).await.unwrap(), 2);
        heal.send(true).unwrap();
        assert_eq!(access.run(async { 3 }).await.unwrap(), 3);
        while access.short.available_permits() < PLACES {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_frees_its_place() {
        let access = Access::new();
        let panicked: io::Result<()> = access.run(async { panic!("a panic of this test") }).await;
        assert!(panicked.is_err());
        assert_eq!(access.short.available_permits(), PLACES);
    }
}
