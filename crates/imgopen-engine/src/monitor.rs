//! The line between a running job and whoever watches it: progress and previews one way, cancellation the other.

use std::future::Future;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{EngineError, Picture};

/// The job's end of the line. Clones are the same end.
///
/// ```
/// use imgopen_engine::Monitor;
///
/// let (monitor, watch) = Monitor::new();
/// monitor.step(5, 20);
/// assert_eq!(watch.progress.borrow().percent, 25.0);
///
/// watch.cancel.cancel();
/// assert!(monitor.is_cancelled());
/// ```
#[derive(Debug, Clone)]
pub struct Monitor {
    progress: watch::Sender<Progress>,
    preview: watch::Sender<Option<Picture>>,
    cancel: CancellationToken,
}

/// The watcher's end of the line.
#[derive(Debug, Clone)]
pub struct Watch {
    /// How far the job is.
    pub progress: watch::Receiver<Progress>,
    /// The latest preview; those that nobody looked at in time are dropped.
    pub preview: watch::Receiver<Option<Picture>>,
    /// Cancels the job.
    pub cancel: CancellationToken,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// How much is done, in percent, from 0 to 100. It never falls.
    pub percent: f64,
    /// The number of steps done.
    pub step: u32,
    /// The number of steps in all, 0 for a job that does not count steps.
    pub steps: u32,
}

impl Monitor {
    /// Both ends of a new line.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> (Monitor, Watch) {
        let (progress, progress_seen) = watch::channel(Progress::default());
        let (preview, preview_seen) = watch::channel(None);
        let cancel = CancellationToken::new();
        let watch = Watch { progress: progress_seen, preview: preview_seen, cancel: cancel.clone() };
        (Monitor { progress, preview, cancel }, watch)
    }

    /// Says that `step` of `steps` steps are done.
    pub fn step(&self, step: u32, steps: u32) {
        let percent = 100.0 * f64::from(step.min(steps)) / f64::from(steps.max(1));
        self.progress.send_if_modified(|progress| {
            let before = *progress;
            *progress = Progress { percent: percent.max(before.percent), step, steps };
            *progress != before
        });
    }

    /// Says how much is done, from 0 to 1; other values count as the nearer end.
    pub fn fraction(&self, fraction: f64) {
        let percent = 100.0 * fraction.clamp(0.0, 1.0);
        self.progress.send_if_modified(|progress| {
            let rises = percent > progress.percent;
            if rises {
                progress.percent = percent;
            }
            rises
        });
    }

    /// Shows an intermediate picture.
    pub fn preview(&self, picture: Picture) {
        self.preview.send_replace(Some(picture));
    }

    /// Whether the job was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Waits until the job is cancelled.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Runs `work` until it ends or the job is cancelled.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`]; `work` is dropped then.
    pub async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, EngineError> {
        self.cancel.run_until_cancelled(work).await.ok_or(EngineError::Cancelled)
    }

    /// Says how much is done, from 0 to 1, and stops a cancelled job. For work between which nothing is awaited.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn stage(&self, fraction: f64) -> Result<(), EngineError> {
        self.go_on()?;
        self.fraction(fraction);
        Ok(())
    }

    /// Stops a cancelled job, within work whose progress is not reported.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn go_on(&self) -> Result<(), EngineError> {
        if self.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_falls_and_stays_in_range() {
        let (monitor, watch) = Monitor::new();
        let percent = || watch.progress.borrow().percent;
        for (fraction, expected) in [(0.5, 50.0), (0.25, 50.0), (f64::NAN, 50.0), (-1.0, 50.0), (7.0, 100.0)] {
            monitor.fraction(fraction);
            assert_eq!(percent(), expected);
        }
        monitor.step(1, 0);
        assert_eq!(percent(), 100.0);
    }

    #[test]
    fn a_step_beyond_the_last_is_all() {
        let (monitor, watch) = Monitor::new();
        monitor.step(30, 20);
        assert_eq!(*watch.progress.borrow(), Progress { percent: 100.0, step: 30, steps: 20 });
    }
}
