//! Ctrl-C as a future.

use anyhow::Context;

/// A listener for Ctrl-C. While it exists, Ctrl-C ends the program only where the program waits for it.
#[derive(Debug)]
pub struct Interrupt {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
    #[cfg(windows)]
    signal: tokio::signal::windows::CtrlC,
}

impl Interrupt {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If the signal handler cannot be installed.
    pub fn listen() -> anyhow::Result<Self> {
        #[cfg(unix)]
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        #[cfg(windows)]
        let signal = tokio::signal::windows::ctrl_c();
        Ok(Self { signal: signal.context("cannot listen for Ctrl-C")? })
    }

    /// Runs a future to its end, or returns `None` if Ctrl-C is pressed first.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.signal.recv() => None,
            done = work => Some(done),
        }
    }
}
