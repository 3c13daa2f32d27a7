//! Ctrl-C, and other ways to end a program, as a future.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::Context;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC as Signal, ctrl_c};

/// A listener for Ctrl-C. While it exists, Ctrl-C ends the program only where the program waits for it.
#[derive(Debug)]
pub struct Interrupt {
    signals: Vec<Signal>,
}

impl Interrupt {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If the signal handler cannot be installed.
    pub fn listen() -> anyhow::Result<Self> {
        #[cfg(unix)]
        let signal = signal(SignalKind::interrupt());
        #[cfg(windows)]
        let signal = ctrl_c();
        Ok(Self { signals: vec![signal.context("cannot listen for Ctrl-C")?] })
    }

    /// Starts to listen, for work that must clear up however it is ended: by Ctrl-C; on Unix also by SIGTERM, and by SIGHUP when its
    /// terminal is closed, unless the program was started to go on then, as by `nohup`.
    ///
    /// # Errors
    ///
    /// If a signal handler cannot be installed.
    pub fn listen_for_any_end() -> anyhow::Result<Self> {
        let mut listener = Self::listen()?;
        #[cfg(unix)]
        {
            listener.signals.push(signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?);
            if !ignores_hangup() {
                listener.signals.push(signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?);
            }
        }
        #[cfg(windows)]
        let _ = &mut listener;
        Ok(listener)
    }

    /// Runs a future to its end, or returns `None` if Ctrl-C is pressed first.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.heard() => None,
            done = work => Some(done),
        }
    }

    async fn heard(&mut self) {
        poll_fn(|waker| match self.signals.iter_mut().any(|signal| signal.poll_recv(waker).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// Whether this process was started to go on when its terminal is closed. Where the system does not say, it counts as that.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    // The first signal, as the first bit of the signals that are ignored.
    const HANGUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    ignored.is_none_or(|ignored| ignored & HANGUP != 0)
}
