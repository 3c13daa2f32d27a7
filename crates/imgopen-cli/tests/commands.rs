//! The command line: output, rejections and exit codes.
#![allow(clippy::unwrap_used)]

#[path = "commands/backends.rs"]
mod backends;
#[path = "commands/backups.rs"]
mod backups;
mod common;
#[path = "commands/demo.rs"]
mod demo;
#[path = "commands/doctor.rs"]
mod doctor;
#[cfg(unix)]
#[path = "../../imgopen-packs/tests/fake/mod.rs"]
mod fake_packs;
#[cfg(target_os = "linux")]
#[path = "../../imgopen-trainer/tests/fake/mod.rs"]
mod fake_trainer;
#[path = "commands/files.rs"]
mod files;
#[cfg(target_os = "linux")]
#[path = "commands/launching.rs"]
mod launching;
#[path = "commands/listening.rs"]
mod listening;
#[path = "commands/outputs.rs"]
mod outputs;
#[cfg(unix)]
#[path = "commands/packs.rs"]
mod packs;
#[cfg(target_os = "linux")]
#[path = "commands/paths.rs"]
mod paths;
#[path = "commands/refusals.rs"]
mod refusals;
#[path = "commands/running.rs"]
mod running;
#[path = "commands/safety.rs"]
mod safety;
#[path = "commands/serving.rs"]
mod serving;
#[path = "commands/shared.rs"]
mod shared;
#[path = "commands/streams.rs"]
mod streams;
#[path = "commands/tasks.rs"]
mod tasks;
#[cfg(target_os = "linux")]
#[path = "commands/training.rs"]
mod training;

use std::path::Path;
use std::process::{Command, Output};

use common::program::imgopen;
use regex_lite::Regex;

/// Returns the command with arguments, to be run in a directory.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = imgopen();
    command.current_dir(folder).args(arguments);
    command
}

/// Returns the exit code, output and errors of a command as text.
fn transcript(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let has_colours = stdout.contains('\x1b') || stderr.contains('\x1b');
    assert!(!has_colours, "colours without a terminal: {stdout}{stderr}");
    let mut transcript = format!("ends with {}\n", output.status.code().unwrap());
    for (stream, text) in [("", stdout), ("errors:\n", stderr)] {
        if !text.is_empty() {
            transcript += &format!("{stream}{text}");
        }
    }
    redacted(&transcript)
}

/// Replaces ids, secrets, times and ports, which differ between runs.
fn redacted(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, name) in [
        (r"ak_[0-9a-f]{16}", "[access key id]"),
        (r"sk_[A-Za-z0-9_-]{43}", "[access key secret]"),
        (r"whsec_[A-Za-z0-9+/]{43}=", "[signing secret]"),
        (r"msg_[0-9a-f]{32}", "[callback]"),
        (r"img[0-9]{22}", "[task]"),
        (r"cli-[0-9a-f]{16}", "[id]"),
        (r"/[0-9a-f]{32}\.", "/[unguessable]."),
        (r"/assets/[0-9a-f]{64}", "/assets/[asset]"),
        (r"[\d.]+ bytes", "[size]"),
        (r"[0-9.]+ kB", "[size]"),
        (r"127\.0\.0\.1:\d{4,5}/", "127.0.0.1:[port]/"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
        (r"\[time\] +", "[time] "),
        (r"127\.0\.0\.1:\d{5}", "127.0.0.1:[port]"),
        (r" +\d+ ms", " [duration]"),
        (r#""duration_ms": \d+"#, r#""duration_ms": "[duration]""#),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    text
}

/// Runs a command and returns its transcript.
fn run(folder: &Path, arguments: &[&str]) -> String {
    transcript(&command(folder, arguments).output().unwrap())
}
