//! Runs a library in its own process, `peers.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{Result, python};

/// The process of one task of one library. It ends when its input does.
pub struct Peer {
    _process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A measurement: seconds, or KiB of memory.
pub struct Measured {
    pub figure: f64,
}

impl Peer {
    /// Starts a task. Its errors go to standard error.
    pub fn start(library: &str, task: &str, files: &[PathBuf]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/beside/peers.py");
        let mut command = Command::new(python::interpreter());
        command.arg(script).args([task, library]).args(files);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = process.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no output")?);
        Ok(Self { _process: process, requests, answers })
    }

    /// Requests `whole`, `alone` or, as the only request of a process, `memory`.
    pub fn ask(&mut self, what: &str) -> Result<Measured> {
        // A script that has ended has said why.
        let _ = writeln!(self.requests, "{what}");
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim().split_once(' ') {
            Some(("missing", reason)) => Err(reason.into()),
            Some((figure, _)) => Ok(Measured { figure: figure.parse()? }),
            None => Err("the script in Python ended early".into()),
        }
    }
}
