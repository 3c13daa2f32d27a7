//! The process of a net, as the one that started it sees it.

use std::io::{self, BufReader, BufWriter, Read};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::warn;

use super::settings::ApartSettings;
use super::wire::{self, Answer};
use crate::runtime::ProgramError;
use crate::tensor::Tensor;

/// The most bytes of what a process complains about last that are kept.
const WORDS: usize = 4096;

/// What a program in Rust complains about before it ends for want of memory.
const NO_MEMORY: &str = "memory allocation of ";

/// A process that runs a net. Dropping it ends it.
pub(super) struct Guest {
    process: Child,
    input: Option<BufWriter<ChildStdin>>,
    said: Receiver<Said>,
    complaints: Option<JoinHandle<String>>,
    patience: Duration,
    /// What later requests end with, once it has ended.
    end: Option<ProgramError>,
}

/// What a process says.
enum Said {
    /// That it can be asked.
    Ready,
    Answer(Answer),
    /// What no process of a net says.
    Nonsense,
}

impl Guest {
    /// Starts the program, and waits until it can be asked.
    pub fn start(settings: &ApartSettings) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("no process can be started for a net: {error}");
        let (mut guest, says) = Self::spawn(settings).map_err(cannot)?;
        guest.attend(says).map_err(cannot)?;
        match guest.said.recv_timeout(guest.patience) {
            Ok(Said::Ready) => Ok(guest),
            Ok(Said::Answer(_) | Said::Nonsense) | Err(_) => {
                Err(format!("the process for a net does not begin: {}", guest.finish()))
            }
        }
    }

    fn spawn(settings: &ApartSettings) -> io::Result<(Self, Sender<Said>)> {
        let mut command = Command::new(&settings.program);
        command.args(&settings.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The address space that glibc sets aside for further arenas would count as memory of the net.
        command.env("MALLOC_ARENA_MAX", "4");
        // Ctrl-C is for the other process, which lets runs end.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn()?;
        let (says, said) = channel();
        let guest = Self { process, input: None, said, complaints: None, patience: settings.patience, end: None };
        Ok((guest, says))
    }

    /// Has threads read what the process says and complains about.
    fn attend(&mut self, says: Sender<Said>) -> io::Result<()> {
        self.input = self.process.stdin.take().map(BufWriter::new);
        if let Some(output) = self.process.stdout.take() {
            let reader = thread::Builder::new().name("imgopen-net-says".to_owned());
            reader.spawn(move || listen(output, &says))?;
        }
        if let Some(errors) = self.process.stderr.take() {
            let reader = thread::Builder::new().name("imgopen-net-errors".to_owned());
            self.complaints = Some(reader.spawn(move || last_words(errors))?);
        }
        Ok(())
    }

    /// Asks for something, and waits for the answer, for as long as the settings allow.
    pub fn ask(
        &mut self,
        write: impl FnOnce(&mut BufWriter<ChildStdin>) -> io::Result<()>,
    ) -> Result<Vec<Tensor>, ProgramError> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        let is_asked = self.input.as_mut().is_some_and(|input| write(input).is_ok());
        let said = match is_asked {
            true => self.said.recv_timeout(self.patience),
            false => Err(RecvTimeoutError::Disconnected),
        };
        let error = match said {
            Ok(Said::Answer(answer)) => return answer.map_err(ProgramError::Model),
            Ok(Said::Ready | Said::Nonsense) => {
                self.finish();
                ProgramError::Model("the process that ran it gives no answer that can be read".to_owned())
            }
            Err(RecvTimeoutError::Timeout) => {
                self.finish();
                ProgramError::Model(format!("it had not ended after {} seconds", self.patience.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => self.finish(),
        };
        self.end = Some(match &error {
            ProgramError::Killed(problem) => ProgramError::Runtime(format!("before this run, {problem}")),
            other => other.clone(),
        });
        Err(error)
    }

    /// Returns whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.end.is_some() || matches!(self.process.try_wait(), Ok(Some(_)))
    }

    /// Ends the process, as the system does if memory is short.
    #[cfg(all(test, unix))]
    pub fn kill(&mut self) {
        // One that has ended keeps its own status.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Ends the process, if it has not ended by itself, and returns how it ended.
    fn finish(&mut self) -> ProgramError {
        self.input = None;
        // One that has ended keeps its own status.
        let _ = self.process.kill();
        let status = self.process.wait();
        let words = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let end = described(status, &words);
        warn!(%end, words = words.as_str(), "the process of a net has ended");
        end
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.end.is_none() {
            self.input = None;
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn listen(output: ChildStdout, says: &Sender<Said>) {
    let mut output = BufReader::new(output);
    if wire::read_greeting(&mut output).is_err() || says.send(Said::Ready).is_err() {
        return;
    }
    loop {
        let said = match wire::read_answer(&mut output) {
            Ok(answer) => Said::Answer(answer),
            // The process has ended.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(_) => Said::Nonsense,
        };
        let is_last = matches!(said, Said::Nonsense);
        if says.send(said).is_err() || is_last {
            return;
        }
    }
}

/// Reads all complaints, and returns the last ones.
fn last_words(mut errors: ChildStderr) -> String {
    let (mut words, mut part) = (Vec::new(), [0; 1024]);
    while let Ok(count @ 1..) = errors.read(&mut part) {
        words.extend_from_slice(&part[..count]);
        words.drain(..words.len().saturating_sub(WORDS));
    }
    String::from_utf8_lossy(&words).into_owned()
}

/// Says how a process ended, for callers: of what it complained about, only what is known to have no paths.
fn described(status: io::Result<ExitStatus>, words: &str) -> ProgramError {
    let is_from_outside = status.as_ref().is_ok_and(was_killed);
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    match words.lines().find(|line| line.starts_with(NO_MEMORY)) {
        Some(line) => ProgramError::Model(format!("it takes more memory than it may: {line}")),
        None if words.contains("stack overflow") => ProgramError::Model("it overflows the stack".to_owned()),
        None if is_from_outside => {
            ProgramError::Killed(format!("the process that ran it was ended from outside: {status}"))
        }
        None => ProgramError::Model(format!("the process that ran it has ended: {status}")),
    }
}

/// Returns whether a process was ended by a signal that others send: SIGHUP, SIGINT, SIGKILL or SIGTERM. A fault of its own, or a
/// limit on its memory, ends it by other signals.
#[cfg(unix)]
fn was_killed(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    matches!(status.signal(), Some(1 | 2 | 9 | 15))
}

/// Nothing in the status says so.
#[cfg(not(unix))]
fn was_killed(_: &ExitStatus) -> bool {
    false
}
