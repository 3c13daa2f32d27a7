//! A running program with one model, in a process group of its own that ends with this.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use imgopen_engine::Monitor;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child as Process, Command};
use tokio::sync::watch;
use tracing::debug;

use super::capabilities::Capabilities;
use super::log::{Lines, Log};
use crate::http::{Http, shown};
use crate::timing::Timing;

/// How many of the last errors are kept.
const KEPT: usize = 20;
/// The longest pause between two questions whether it is ready.
const PAUSE: Duration = Duration::from_millis(200);

/// A program that is ready for jobs.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    pub http: Http,
    pub capabilities: Arc<Capabilities>,
    log: watch::Sender<Log>,
    errors: Errors,
    /// When it last had a job.
    pub used: Instant,
    /// The LoRAs of its last job.
    pub loras: Vec<(String, f64)>,
}

/// The last lines of standard error.
#[derive(Debug, Clone, Default)]
pub(super) struct Errors(Arc<Mutex<VecDeque<String>>>);

/// Why a program is not ready.
#[derive(Debug)]
pub(super) enum StartError {
    /// It ended; its last error is for the log.
    Ended(ExitStatus, Errors),
    /// Another program has the port.
    PortTaken,
    /// It printed nothing for so long.
    Silent(Duration),
    /// It serves another model than the one that it was started with.
    Other,
    /// It cannot be started at all.
    System(std::io::Error),
    /// No HTTP client can be made.
    Client(String),
    /// The job was cancelled.
    Cancelled,
}

/// How a program is started.
#[derive(Debug, Clone)]
pub(super) struct Start<'a> {
    pub program: &'a Path,
    /// This program, whose command `launch` starts others.
    pub launcher: Option<&'a Path>,
    /// The arguments, without address and port.
    pub arguments: Vec<OsString>,
    /// What the program must report as the path of its model.
    pub model: String,
    /// The seed among the arguments, by which the program is recognised.
    pub seed: Option<i64>,
    pub silence: Duration,
    pub timing: Timing,
}

impl StartError {
    /// Describes it without paths.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Ended(status, errors) => {
                let last = errors.last().map(|line| format!(": {}", shown(&line))).unwrap_or_default();
                format!("it ended with {status}{last}")
            }
            Self::PortTaken => "other programs took its ports".to_owned(),
            Self::Silent(time) => format!("it was silent for {} seconds", time.as_secs()),
            Self::Other => "it serves another model than the one that it was started with".to_owned(),
            Self::System(error) => format!("the program cannot be run ({})", error.kind()),
            Self::Client(problem) => problem.clone(),
            Self::Cancelled => "its job was cancelled".to_owned(),
        }
    }
}

impl Start<'_> {
    /// Starts the program, and waits until it is ready. One that does not become ready is gone when this returns, and so is that of
    /// a cancelled job, because others get its device then. Dropping the future ends it, too, without waiting.
    pub(super) async fn run(self, monitor: &Monitor) -> Result<Child, StartError> {
        let port = free_port().map_err(StartError::System)?;
        let mut arguments = self.arguments.clone();
        arguments.extend(["--listen-ip", "127.0.0.1", "--listen-port"].map(OsString::from));
        arguments.push(port.to_string().into());
        let mut process = spawn(self.program, self.launcher, &arguments).map_err(StartError::System)?;
        let (log, errors) = (watch::Sender::new(Log::new()), Errors::default());
        if let Some(output) = process.stdout.take() {
            tokio::spawn(follow(output, log.clone()));
        }
        if let Some(output) = process.stderr.take() {
            tokio::spawn(keep(output, errors.clone(), log.clone()));
        }
        let url = format!("http://127.0.0.1:{port}").parse().map_err(|error| StartError::Client(format!("{error}")))?;
        let http = Http::to(url, None, self.timing.answer).map_err(StartError::Client)?;
        // From here on, dropping it ends the whole group.
        let capabilities = Arc::new(Capabilities::default());
        let (used, loras) = (Instant::now(), Vec::new());
        let mut child = Child { process, http, capabilities, log, errors, used, loras };
        let started = tokio::select! {
            biased;
            () = monitor.cancelled() => Err(StartError::Cancelled),
            status = child.process.wait() => Err(match status {
                Ok(status) => StartError::Ended(status, child.errors.clone()),
                Err(error) => StartError::System(error),
            }),
            answer = self.answer(child.http.clone(), &child.log) => answer,
        };
        match started.and_then(|answer| self.check(&answer).map(|()| answer)) {
            Ok(answer) => {
                child.capabilities = Arc::new(answer);
                child.used = Instant::now();
                Ok(child)
            }
            Err(error) => {
                child.stop().await;
                Err(error)
            }
        }
    }

    /// Asks until it answers, or has been silent for too long.
    async fn answer(&self, http: Http, log: &watch::Sender<Log>) -> Result<Capabilities, StartError> {
        let mut ticks = tokio::time::interval(self.timing.poll.min(PAUSE));
        loop {
            ticks.tick().await;
            if let Ok(answer) = http.get(super::capabilities::PATH).await {
                return Ok(answer);
            }
            if log.borrow().grown.elapsed() > self.silence {
                return Err(StartError::Silent(self.silence));
            }
        }
    }

    /// Checks that the answer is the program's own, and not that of another which has its port.
    fn check(&self, answer: &Capabilities) -> Result<(), StartError> {
        if self.seed.is_some() && answer.defaults.seed != self.seed {
            return Err(StartError::PortTaken);
        }
        match answer.model.path == self.model {
            true => Ok(()),
            // With a seed, it is certainly the program.
            false if self.seed.is_some() => Err(StartError::Other),
            false => Err(StartError::PortTaken),
        }
    }
}

impl Child {
    /// Begins to read what it prints for a new job.
    pub(super) fn begin(&mut self) -> watch::Receiver<Log> {
        self.log.send_replace(Log::new());
        self.log.subscribe()
    }

    /// Returns whether it has the LoRAs of a job, as far as it is known.
    pub(super) fn has(&self, loras: &[(String, f64)]) -> bool {
        loras.iter().all(|(name, _)| self.capabilities.lora(name).is_some())
    }

    /// Waits until the process has ended. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Returns whether it is known to have ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Returns its last errors.
    pub(super) fn errors(&self) -> &Errors {
        &self.errors
    }

    /// Ends it, and waits until it is gone. It has nothing to clean up.
    pub(super) async fn stop(mut self) {
        kill(&mut self.process);
        let _ = self.process.wait().await;
    }
}

/// Ends the whole group at once.
impl Drop for Child {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

impl Errors {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Returns the last one.
    pub(super) fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// Returns all that are kept, for the log.
    pub(super) fn all(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Runs the program with an argument that only prints, and returns what it prints.
pub(super) async fn printed(program: &Path, argument: &str, time: Duration) -> std::io::Result<String> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(time, command.output()).await.map_err(std::io::Error::other)??;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn spawn(program: &Path, launcher: Option<&Path>, arguments: &[OsString]) -> std::io::Result<Process> {
    let mut command = match launcher {
        Some(launcher) => {
            let mut command = Command::new(launcher);
            command.arg("launch").arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments);
    // Otherwise a debugger holds a program that has failed for seconds.
    command.env("GGML_NO_BACKTRACE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// Returns a port that is free now. Another program may take it before ours does, which [`Start::check`] finds.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Ends a process with all that it has started.
fn kill(process: &mut Process) {
    #[cfg(unix)]
    if let Some(group) = process.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
        // It fails if all are gone.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = process.start_kill();
}

/// Reads standard output to its end.
async fn follow(mut output: impl AsyncRead + Unpin, log: watch::Sender<Log>) {
    let (mut lines, mut buffer) = (Lines::default(), vec![0; 8192]);
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        let found = lines.feed(&buffer[..count]);
        let step = lines.bar();
        log.send_modify(|log| {
            log.grown = Instant::now();
            found.iter().for_each(|line| log.read(line));
            if let Some(step) = step {
                log.step(step);
            }
        });
        found.iter().for_each(|line| debug!(line, "sd-server"));
    }
}

/// Reads standard error to its end, which holds errors alone.
async fn keep(mut output: impl AsyncRead + Unpin, errors: Errors, log: watch::Sender<Log>) {
    let (mut lines, mut buffer) = (Lines::default(), vec![0; 8192]);
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        log.send_modify(|log| log.grown = Instant::now());
        lines.feed(&buffer[..count]).into_iter().for_each(|line| errors.push(line));
    }
    lines.take().into_iter().for_each(|line| errors.push(line));
}
