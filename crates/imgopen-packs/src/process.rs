//! Runs a program to its end, within a time, and keeps the last lines that it prints.
//!
//! It is a process group of its own, because what it starts must end with it: a package manager may be a script around another.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;

/// The pause between two looks at whether a program has ended.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// How long a program that was interrupted may take to remove its temporary files before it is killed.
#[cfg(unix)]
const GRACE: Duration = Duration::from_secs(2);

/// How long the output of a program that has ended is read: a process that has left its group may hold it open.
const DRAIN: Duration = Duration::from_secs(1);

/// How many bytes of the output are kept.
const KEPT: usize = 8192;

/// How many lines of the output are shown.
const SHOWN: usize = 12;

/// How a program ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub status: ExitStatus,
    /// Its last lines on both streams.
    pub output: String,
}

/// Why a program did not end by itself.
#[derive(Debug)]
pub(crate) enum RunError {
    /// It could not be started or watched.
    System(io::Error),
    /// It took too long.
    TimedOut,
    /// The pull was cancelled.
    Cancelled,
}

/// Runs a program. It has no input.
pub(crate) fn run(command: &mut Command, limit: Duration, cancel: &Cancel) -> Result<Finished, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;

        command.process_group(0);
    }
    let deadline = Instant::now().checked_add(limit);
    let mut child = command.spawn().map_err(RunError::System)?;
    let tail = Tail::default();
    let readers =
        [child.stdout.take().map(|stream| tail.follow(stream)), child.stderr.take().map(|stream| tail.follow(stream))];
    let ended = wait(&mut child, deadline, cancel);
    end(&mut child, ended.is_err());
    let patience = Instant::now() + DRAIN;
    while !readers.iter().flatten().all(JoinHandle::is_finished) && Instant::now() < patience {
        thread::sleep(POLL / 10);
    }
    ended.map(|status| Finished { status, output: tail.shown() })
}

fn wait(child: &mut Child, deadline: Option<Instant>, cancel: &Cancel) -> Result<ExitStatus, RunError> {
    loop {
        if let Some(status) = child.try_wait().map_err(RunError::System)? {
            return Ok(status);
        }
        if cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(RunError::TimedOut);
        }
        thread::sleep(POLL);
    }
}

/// Ends what is left of the group: first by the signal of Ctrl-C, at which package managers remove their temporary files.
#[cfg(unix)]
fn end(child: &mut Child, is_running: bool) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    if is_running {
        // An error means that there is none left.
        let _ = kill_process_group(group, Signal::INT);
        let patience = Instant::now() + GRACE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < patience {
            thread::sleep(POLL);
        }
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

#[cfg(not(unix))]
fn end(child: &mut Child, is_running: bool) {
    if is_running {
        // It may have ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The end of what a program has printed. Clones share it.
#[derive(Debug, Clone, Default)]
struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    /// Reads a stream to its end, on a thread of its own.
    fn follow(&self, mut stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let tail = self.clone();
        thread::spawn(move || {
            let mut block = [0; 4096];
            loop {
                match stream.read(&mut block) {
                    Ok(0) => break,
                    Ok(length) => tail.add(&block[..length]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        })
    }

    fn add(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let surplus = kept.len().saturating_sub(KEPT);
        drop(kept.drain(..surplus));
    }

    /// Returns the last lines that are not empty.
    fn shown(&self) -> String {
        let kept: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        // A bar of progress is drawn again and again on one line.
        let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_last_lines_of_both_streams_are_kept() {
        let lines = "i=0; while [ $i -lt 9999 ]; do i=$((i + 1)); echo line $i; done";
        // The two streams are read by a thread each.
        let script = format!("{lines}; sleep 0.5; printf '50%%\\r100%%\\n' >&2; exit 3");
        let finished = run(&mut shell(&script), LONG, &Cancel::default()).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        let lines: Vec<_> = finished.output.lines().collect();
        assert_eq!((lines.len(), &lines[SHOWN - 3..]), (SHOWN, &["line 9999", "50%", "100%"][..]));
    }

    /// What a program has started does not go on, and holds nothing up.
    #[test]
    fn what_a_program_has_started_ends_with_it() {
        let start = Instant::now();
        let finished = run(&mut shell("sleep 600 & echo $!"), LONG, &Cancel::default()).unwrap();
        assert!(finished.status.success() && start.elapsed() < LONG);
        is_gone(finished.output.trim());
    }

    #[test]
    fn a_program_that_takes_too_long_ends_with_all_that_it_has_started() {
        for script in ["sleep 600 & echo $! > $0; wait", "trap '' INT; sleep 600 & echo $! > $0; wait; sleep 600"] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut command = shell(script);
            command.arg(file.path());
            let outcome = run(&mut command, Duration::from_millis(700), &Cancel::default());
            assert!(matches!(outcome, Err(RunError::TimedOut)), "{outcome:?}");
            is_gone(std::fs::read_to_string(file.path()).unwrap().trim());
        }
    }

    #[test]
    fn a_program_ends_when_the_pull_is_cancelled() {
        let cancel = Cancel::default();
        let switch = cancel.clone();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            switch.cancel();
        });
        let outcome = run(&mut shell("sleep 600"), LONG, &cancel);
        assert!(matches!(outcome, Err(RunError::Cancelled)), "{outcome:?}");
        thread.join().unwrap();
    }

    #[test]
    fn a_program_that_is_missing_is_an_error_of_the_system() {
        let outcome = run(&mut Command::new("/nowhere/pip"), LONG, &Cancel::default());
        assert!(matches!(outcome, Err(RunError::System(_))), "{outcome:?}");
    }

    /// Waits until a process has ended. It may stay in the table of processes until its parent asks for it.
    fn is_gone(id: &str) {
        let deadline = Instant::now() + LONG;
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            if state.is_empty() || state.starts_with('Z') {
                return;
            }
            assert!(Instant::now() < deadline, "the process {id} goes on: {state}");
            thread::sleep(POLL);
        }
    }
}
