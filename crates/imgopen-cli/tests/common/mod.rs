//! What the tests of the binary share: the program as a child, a picture server, a receiver of callbacks, an eye for
//! cards.
#![allow(dead_code, clippy::unwrap_used)]

pub mod pictures;
pub mod program;
pub mod receiver;
pub mod rows;
pub mod shell;
pub mod vendor;

use std::time::{Duration, Instant};

/// The longest that anything is waited for. Machines that build at the same time are slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until there is something to see.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
