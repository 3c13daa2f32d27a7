//! Runs sd-scripts for one training at a time: starts it, follows what it prints, and ends it with everything that it has
//! started.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use imgopen_engine::{DeviceGuard, Devices, EngineError, Monitor};
use tokio::io::AsyncRead;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use crate::diagnosis::Diagnosis;
use crate::group::{Group, end_orphans, separate};
use crate::log::{LOG, Log};
use crate::output::{Steps, epoch, is_bar, lines};
use crate::plan::{LOGS, TrainingPlan};
use crate::sd_scripts::SdScripts;

/// The name of the trainer among those that share a device, and of its device if the settings name none.
const NAME: &str = Devices::TRAINER;

/// How long processes have to end before they are killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long output may follow the end of the processes.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Runs sd-scripts.
#[derive(Debug)]
pub(crate) struct Training {
    setup: SdScripts,
    devices: Devices,
    /// The task whose processes run.
    current: watch::Sender<Option<String>>,
}

/// Takes a task from the place of the current one when its processes are gone.
struct Current {
    current: watch::Sender<Option<String>>,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.current.send_replace(None);
    }
}

/// What is known of a training while it runs.
struct Followed {
    task: String,
    monitor: Monitor,
    log: Log,
    diagnosis: Diagnosis,
    loss: Option<f64>,
}

impl Training {
    /// `setup` is checked.
    pub(crate) fn new(setup: SdScripts, devices: Devices) -> Self {
        Self { setup, devices, current: watch::channel(None).0 }
    }

    /// Whether it trains on the processor.
    pub(crate) fn is_on_cpu(&self) -> bool {
        self.setup.cpu
    }

    /// Trains in the directory of a training, and returns when all processes are gone: with success if the trainer says so.
    /// When the job is cancelled or the future is dropped, they are ended; until they are gone, a clone of `monitor` is kept.
    pub(crate) async fn train(
        &self,
        task: &str,
        plan: &TrainingPlan,
        directory: &Path,
        monitor: &Monitor,
    ) -> Result<(), EngineError> {
        let device = self.setup.device.as_deref().unwrap_or(NAME);
        let device = monitor.until_cancelled(self.devices.take(device, NAME)).await?;
        self.end_orphans(task).await;
        monitor.check_cancelled()?;
        let child = self.start(task, plan, directory).map_err(|error| {
            error!(task, %error, program = %self.setup.accelerate.display(), "the trainer cannot be started");
            let reason = format!("the trainer cannot be started: {}", error.kind());
            EngineError::Unavailable { reason, retry_after: None }
        })?;
        let log = directory.join(LOGS);
        info!(task, log = %log.join(LOG).display(), "training begins");
        self.current.send_replace(Some(task.to_owned()));
        let current = Current { current: self.current.clone() };
        let followed = Followed {
            task: task.to_owned(),
            monitor: monitor.clone(),
            log: Log::start(&log),
            diagnosis: Diagnosis::default(),
            loss: None,
        };
        let (_awaited, dropped) = oneshot::channel::<()>();
        let trained = tokio::spawn(follow(child, followed, dropped, (current, device))).await;
        trained.map_err(|error| EngineError::Failed(format!("the training could not be followed: {error}")))?
    }

    /// Waits until no process of a task runs, and ends those that an earlier process of the service has left.
    pub(crate) async fn gone(&self, task: &str) {
        let mut current = self.current.subscribe();
        // An error is impossible: `self` has a sender.
        let _ = current.wait_for(|current| current.as_deref() != Some(task)).await;
        self.end_orphans(task).await;
    }

    async fn end_orphans(&self, task: &str) {
        let id = task.to_owned();
        if let Ok(count @ 1..) = spawn_blocking(move || end_orphans(&id)).await {
            warn!(task, count, "ended what a training of an earlier process had left running");
        }
    }

    fn start(&self, task: &str, plan: &TrainingPlan, directory: &Path) -> io::Result<Child> {
        let mut words = self.setup.command(plan).into_iter();
        let program = words.next().map(PathBuf::from).unwrap_or_default();
        let mut command = Command::new(program);
        command.args(words).current_dir(directory);
        // Without the first, what it prints comes late; without the second, its language decides which letters it may print.
        let variables = [
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONIOENCODING", "utf-8"),
            ("HF_HUB_OFFLINE", "1"),
            ("TRANSFORMERS_OFFLINE", "1"),
        ];
        command.envs(variables).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        separate(&mut command, task);
        command.spawn()
    }
}

/// Follows the processes of a training until they are gone. Then `held` is released, the device last, so that the next training
/// finds no current one.
async fn follow(
    mut child: Child,
    followed: Followed,
    dropped: oneshot::Receiver<()>,
    held: (Current, DeviceGuard),
) -> Result<(), EngineError> {
    let (group, task, monitor) = (Group::of(&child), followed.task.clone(), followed.monitor.clone());
    let followed = Arc::new(Mutex::new(followed));
    let readers = [
        child.stdout.take().map(|stream| read(stream, &followed, Followed::printed)),
        child.stderr.take().map(|stream| read(stream, &followed, Followed::reported)),
    ];
    let status = tokio::select! {
        status = child.wait() => Some(status),
        () = monitor.cancelled() => None,
        _ = dropped => None,
    };
    if !group.end(&mut child, GRACE).await {
        warn!(task, "processes of a training do not end; they may still hold memory of its device");
    }
    for mut reader in readers.into_iter().flatten() {
        if tokio::time::timeout(LAST_OUTPUT, &mut reader).await.is_err() {
            reader.abort();
        }
    }
    drop(held);
    let outcome = match status {
        None => Err(EngineError::Cancelled),
        Some(Err(error)) => Err(EngineError::Failed(format!("the trainer could not be waited for: {error}"))),
        Some(Ok(status)) => followed.lock().unwrap_or_else(PoisonError::into_inner).outcome(status),
    };
    drop(monitor);
    outcome
}

fn read(
    stream: impl AsyncRead + Unpin + Send + 'static,
    followed: &Arc<Mutex<Followed>>,
    take: fn(&mut Followed, &str),
) -> JoinHandle<()> {
    let followed = followed.clone();
    tokio::spawn(async move {
        let each = |line: &str| take(&mut followed.lock().unwrap_or_else(PoisonError::into_inner), line);
        if let Err(error) = lines(stream, each).await {
            warn!(%error, "the output of a trainer cannot be read");
        }
    })
}

impl Followed {
    /// Takes a line of the standard output.
    fn printed(&mut self, line: &str) {
        if let Some((epoch, epochs)) = epoch(line) {
            info!(task = self.task, epoch, epochs, loss = self.loss, "epoch begins");
        }
        self.keep(line);
    }

    /// Takes a line of the standard error.
    fn reported(&mut self, line: &str) {
        if let Some(Steps { done, total, loss }) = Steps::read(line) {
            self.monitor.step(done, total);
            self.loss = loss.or(self.loss);
        }
        self.diagnosis.line(line);
        self.keep(line);
    }

    fn keep(&self, line: &str) {
        if !is_bar(line) && !line.trim().is_empty() {
            self.log.line(line);
        }
    }

    fn outcome(&self, status: ExitStatus) -> Result<(), EngineError> {
        if status.success() {
            info!(task = self.task, loss = self.loss, "trained");
            return Ok(());
        }
        error!(task = self.task, %status, output = self.diagnosis.tail(), "the trainer failed");
        Err(self.diagnosis.error(status))
    }
}
