//! The channel between a running job and its watcher: progress and previews one way, cancellation the other.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::EngineError;
use crate::picture::Picture;

/// The job's end of the channel. Clones share it.
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
    checks: Option<Arc<Checks>>,
    /// What this is a monitor for a part of.
    within: Option<Arc<Within>>,
    /// Whether what it is given is not shown.
    is_silent: bool,
}

/// Lives as long as the monitors of a part of a job.
#[derive(Debug)]
struct Within {
    _ended: watch::Sender<()>,
    _outer: Option<Arc<Within>>,
}

/// A part of a job, such as what one of several back ends does of it.
#[derive(Debug)]
pub struct Part {
    ended: watch::Receiver<()>,
}

/// How often a job has looked for its cancellation. For tests of engines.
#[derive(Debug)]
pub struct Checks {
    seen: AtomicU64,
    last: u64,
}

impl Checks {
    /// Returns how often the job has looked so far.
    pub fn count(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }
}

/// The watcher's end of the channel.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The progress of the job.
    pub progress: watch::Receiver<Progress>,
    /// The latest preview. Earlier ones are dropped, seen or not.
    pub preview: watch::Receiver<Option<Picture>>,
    /// Cancels the job.
    pub cancel: CancellationToken,
}

/// The progress of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// The share that is done in percent, from 0 to 100. It never falls.
    pub percent: f64,
    /// The number of steps done.
    pub step: u32,
    /// The total number of steps; 0 for a job that does not count steps.
    pub steps: u32,
}

impl Watch {
    /// Waits until the job's work has really ended: no clone of its [`Monitor`] is left. A thread that may go on after the
    /// job's future is dropped keeps one.
    pub async fn ended(&self) {
        let mut progress = self.progress.clone();
        while progress.changed().await.is_ok() {}
    }
}

impl Part {
    /// Waits until the part's work has really ended: no clone of its [`Monitor`] is left.
    pub async fn ended(mut self) {
        while self.ended.changed().await.is_ok() {}
    }
}

impl Monitor {
    /// Creates a channel and returns both ends.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> (Monitor, Watch) {
        let (progress, progress_seen) = watch::channel(Progress::default());
        let (preview, preview_seen) = watch::channel(None);
        let cancel = CancellationToken::new();
        let watch = Watch { progress: progress_seen, preview: preview_seen, cancel: cancel.clone() };
        (Monitor { progress, preview, cancel, checks: None, within: None, is_silent: false }, watch)
    }

    /// Creates a channel whose job is cancelled when it looks for that for the `last`-th time, with a count of how often it
    /// has looked. For tests of engines: work whose stages look often enough ends soon after.
    ///
    /// ```
    /// use imgopen_engine::Monitor;
    ///
    /// let (monitor, _, checks) = Monitor::counted(2);
    /// assert!(monitor.check_cancelled().is_ok() && monitor.check_cancelled().is_err());
    /// assert_eq!(checks.count(), 2);
    /// ```
    pub fn counted(last: u64) -> (Monitor, Watch, Arc<Checks>) {
        let (monitor, watch) = Self::new();
        let checks = Arc::new(Checks { seen: AtomicU64::new(0), last });
        (Monitor { checks: Some(checks.clone()), ..monitor }, watch, checks)
    }

    /// Returns a monitor for a part of the job, which reports to the same watcher and is cancelled with the job, and what
    /// waits for the end of that part.
    pub fn part(&self) -> (Monitor, Part) {
        let (sender, ended) = watch::channel(());
        let within = Some(Arc::new(Within { _ended: sender, _outer: self.within.clone() }));
        (Monitor { within, ..self.clone() }, Part { ended })
    }

    /// Returns a monitor for what prepares the job, such as another engine: it is cancelled with the job, and the job goes on as
    /// long as it lives, but the watcher sees neither its progress nor its previews.
    pub fn silent(&self) -> Monitor {
        Monitor { is_silent: true, ..self.clone() }
    }

    /// Reports that `step` of `steps` steps are done.
    pub fn step(&self, step: u32, steps: u32) {
        if self.is_silent {
            return;
        }
        let percent = 100.0 * f64::from(step.min(steps)) / f64::from(steps.max(1));
        self.progress.send_if_modified(|progress| {
            let before = *progress;
            *progress = Progress { percent: percent.max(before.percent), step, steps };
            *progress != before
        });
    }

    /// Reports the share that is done, from 0 to 1; other values are clamped.
    pub fn fraction(&self, fraction: f64) {
        if self.is_silent {
            return;
        }
        let percent = 100.0 * fraction.clamp(0.0, 1.0);
        self.progress.send_if_modified(|progress| {
            let rises = percent > progress.percent;
            if rises {
                progress.percent = percent;
            }
            rises
        });
    }

    /// Publishes an intermediate picture.
    pub fn preview(&self, picture: Picture) {
        if !self.is_silent {
            self.preview.send_replace(Some(picture));
        }
    }

    /// Returns whether the job was cancelled.
    ///
    /// It takes some nanoseconds: work looks once for each row of pixels.
    pub fn is_cancelled(&self) -> bool {
        if let Some(checks) = &self.checks
            && checks.seen.fetch_add(1, Ordering::SeqCst) + 1 == checks.last
        {
            self.cancel.cancel();
        }
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
    /// [`EngineError::Cancelled`], and `work` is dropped.
    pub async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, EngineError> {
        self.cancel.run_until_cancelled(work).await.ok_or(EngineError::Cancelled)
    }

    /// Reports the share that is done, from 0 to 1, and stops a cancelled job. For blocking work.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn stage(&self, fraction: f64) -> Result<(), EngineError> {
        self.check_cancelled()?;
        self.fraction(fraction);
        Ok(())
    }

    /// Stops a cancelled job, in work whose progress is not reported.
    ///
    /// # Errors
    ///
    /// [`EngineError::Cancelled`].
    pub fn check_cancelled(&self) -> Result<(), EngineError> {
        if self.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

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

    #[tokio::test]
    async fn the_work_has_ended_when_no_monitor_is_left() {
        let (monitor, watch) = Monitor::new();
        let thread = monitor.clone();
        monitor.step(1, 2);
        drop(monitor);
        let mut ended = std::pin::pin!(watch.ended());
        assert!(ended.as_mut().now_or_never().is_none());
        drop(thread);
        ended.await;
    }

    #[tokio::test]
    async fn a_part_ends_before_the_job_does() {
        let (monitor, watch) = Monitor::new();
        let (own, part) = monitor.part();
        let (inner, innermost) = own.part();
        own.step(1, 4);
        assert_eq!(watch.progress.borrow().percent, 25.0);
        drop(own);
        let mut ended = std::pin::pin!(part.ended());
        assert!(ended.as_mut().now_or_never().is_none(), "a part of it goes on");
        drop(inner);
        innermost.ended().await;
        ended.await;
        assert!(watch.ended().now_or_never().is_none());
        watch.cancel.cancel();
        assert!(monitor.part().0.is_cancelled());
        drop(monitor);
        watch.ended().await;
    }

    #[tokio::test]
    async fn what_prepares_a_job_shows_nothing_and_ends_with_it() {
        let (monitor, watch) = Monitor::new();
        let silent = monitor.silent();
        silent.step(1, 2);
        silent.fraction(1.0);
        silent.stage(1.0).unwrap();
        let (bytes, format) = (bytes::Bytes::new(), crate::picture::Format::Png);
        silent.preview(Picture { bytes, format, width: 1, height: 1, seed: None });
        assert_eq!((*watch.progress.borrow(), watch.preview.borrow().is_some()), (Progress::default(), false));
        monitor.step(1, 4);
        assert_eq!(watch.progress.borrow().percent, 25.0);
        drop(monitor);
        let mut ended = std::pin::pin!(watch.ended());
        assert!(ended.as_mut().now_or_never().is_none(), "the work goes on");
        watch.cancel.cancel();
        assert!(silent.is_cancelled() && silent.part().0.silent().is_cancelled());
        drop(silent);
        ended.await;
    }

    #[test]
    fn a_step_beyond_the_last_counts_as_the_last() {
        let (monitor, watch) = Monitor::new();
        monitor.step(30, 20);
        assert_eq!(*watch.progress.borrow(), Progress { percent: 100.0, step: 30, steps: 20 });
    }
}
