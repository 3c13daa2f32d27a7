//! The command line: what it prints, what it refuses, and with which code it ends.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "commands/demo.rs"]
mod demo;
#[path = "commands/files.rs"]
mod files;
#[path = "commands/listening.rs"]
mod listening;
#[path = "commands/outputs.rs"]
mod outputs;
#[path = "commands/refusals.rs"]
mod refusals;
#[path = "commands/running.rs"]
mod running;
#[path = "commands/serving.rs"]
mod serving;
#[path = "commands/tasks.rs"]
mod tasks;

use std::path::Path;
use std::process::{Command, Output};

use common::program::imgopen;
use regex_lite::Regex;

/// The command with arguments, in a folder of its own.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = imgopen();
    command.current_dir(folder).args(arguments);
    command
}

/// What a command said, and how it ended: code, output, errors.
fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(
        !said.contains('\x1b') && !complained.contains('\x1b'),
        "colours, but there is no terminal: {said}{complained}"
    );
    let mut told = format!("ends with {}\n", output.status.code().unwrap());
    for (stream, text) in [("", said), ("errors:\n", complained)] {
        if !text.is_empty() {
            told += &format!("{stream}{text}");
        }
    }
    redacted(&told)
}

/// Ids, secrets, times and ports are others each time.
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

/// Runs a command and tells all about it.
fn run(folder: &Path, arguments: &[&str]) -> String {
    told(&command(folder, arguments).output().unwrap())
}
