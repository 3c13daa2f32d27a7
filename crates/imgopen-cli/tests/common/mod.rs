//! Shared by the tests of the binary: the program as a child process, a picture server, a receiver of callbacks, and checks
//! of pictures.
#![allow(dead_code, clippy::unwrap_used)]

pub mod chance;
pub mod http;
pub mod load;
pub mod pictures;
pub mod postgres;
pub mod program;
pub mod proof;
pub mod receiver;
pub mod rows;
pub mod shell;
#[cfg(unix)]
pub mod shim;
pub mod stand_in;
pub mod vendor;
pub mod webui;

use std::time::{Duration, Instant};

/// The timeout of all waits; generous, because machines that build at the same time are slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Polls until a condition returns something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "timed out after {PATIENCE:?}, waiting until {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
