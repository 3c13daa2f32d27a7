//! Ctrl-C as something that can be waited for.

use anyhow::Context;

/// Ctrl-C, from the moment on that this is made: it then ends the program only where the program looks for it.
#[derive(Debug)]
pub struct Interrupt {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
    #[cfg(windows)]
    signal: tokio::signal::windows::CtrlC,
}

impl Interrupt {
    /// Begins to look for it.
    ///
    /// # Errors
    ///
    /// When the system has no more room for that.
    pub fn listen() -> anyhow::Result<Self> {
        #[cfg(unix)]
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        #[cfg(windows)]
        let signal = tokio::signal::windows::ctrl_c();
        Ok(Self { signal: signal.context("Ctrl-C cannot be listened for")? })
    }

    /// Does something unless Ctrl-C is pressed before it is done.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.signal.recv() => None,
            done = work => Some(done),
        }
    }
}
