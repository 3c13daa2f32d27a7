//! A library that makes calls of the system fail, by the dynamic linker's `LD_PRELOAD`.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// The library, with the file that says what fails.
pub struct Shim {
    directory: TempDir,
}

impl Shim {
    /// Compiles the library.
    pub fn build() -> Self {
        let shim = Self { directory: tempfile::tempdir().unwrap() };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machine/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(shim.library()).arg(source).arg("-ldl");
        assert!(compiler.status().expect("needs a C compiler").success());
        shim
    }

    /// Starts a command with the library.
    pub fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("FAULT", self.fault());
    }

    /// From now on, calls of a kind fail for files whose path contains a text.
    pub fn fail(&self, call: &str, errno: i32, path: &str) {
        // Renamed, so that no half of it is read.
        let next = self.directory.path().join("next");
        std::fs::write(&next, format!("{call} {errno} {path}")).unwrap();
        std::fs::rename(next, self.fault()).unwrap();
    }

    /// From now on, nothing fails.
    pub fn heal(&self) {
        std::fs::remove_file(self.fault()).unwrap();
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("shim.so")
    }

    fn fault(&self) -> PathBuf {
        self.directory.path().join("fault")
    }
}
