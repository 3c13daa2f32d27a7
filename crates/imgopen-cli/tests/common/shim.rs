//! A machine with faults: a library that makes calls of the system fail, by the dynamic linker's `LD_PRELOAD`.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Errors of the system.
pub const EIO: i32 = 5;
pub const EMFILE: i32 = 24;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;

/// The library, with the file that says what fails.
pub struct Shim {
    directory: TempDir,
}

impl Shim {
    /// Compiles the library.
    pub fn build() -> Self {
        let shim = Self { directory: tempfile::tempdir().unwrap() };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(shim.library());
        assert!(compiler.arg(source).arg("-ldl").status().expect("needs a C compiler").success());
        shim
    }

    /// Starts a command with the library.
    pub fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("FAULT", self.fault());
    }

    /// From now on, calls of a kind fail for files whose path contains a text.
    pub fn fail(&self, call: &str, errno: i32, path: &str) {
        self.rules(&[rule(call, errno.into(), path)]);
    }

    /// From now on, the machine's clock is that far ahead, or behind.
    pub fn clock(&self, seconds: i64) {
        self.rules(&[rule("clock", seconds, "-")]);
    }

    /// From now on, these rules hold, and no others.
    pub fn rules(&self, rules: &[String]) {
        // Renamed, so that no half of it is read.
        let next = self.directory.path().join("next");
        std::fs::write(&next, rules.join("\n")).unwrap();
        std::fs::rename(next, self.fault()).unwrap();
    }

    /// From now on, nothing fails, and the clock is right.
    pub fn heal(&self) {
        self.rules(&[]);
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("shim.so")
    }

    fn fault(&self) -> PathBuf {
        self.directory.path().join("fault")
    }
}

/// A rule of the library, which explains them.
pub fn rule(call: &str, number: i64, text: &str) -> String {
    format!("{call} {number} {text}")
}
