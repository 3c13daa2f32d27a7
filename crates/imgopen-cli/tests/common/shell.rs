//! A working directory and a service, as a user at a shell has them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::RgbImage;
use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::pictures::scene;
use super::program::{Key, Program, imgopen};

/// The directory, the service and the key.
pub struct Shell {
    /// The service.
    pub program: Program,
    /// The key.
    pub key: Key,
    folder: TempDir,
    data: TempDir,
    flags: Vec<String>,
}

impl Shell {
    /// Starts a service with the sandbox, which fetches from this machine.
    pub fn open() -> Self {
        Self::with(&["--allow-network", "127.0.0.1/32"])
    }

    /// Starts a service with the sandbox and these flags.
    pub fn with(flags: &[&str]) -> Self {
        Self::without_sandbox(&[&["--sandbox"], flags].concat())
    }

    /// Starts a service with these flags.
    pub fn without_sandbox(flags: &[&str]) -> Self {
        let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (program, key) = (serve(data.path(), &flags), Key::create(data.path()));
        Self { program, key, folder, data, flags }
    }

    /// Kills the service with SIGKILL, and starts it again in the same way.
    pub fn kill_and_restart(&mut self) {
        self.program.signal("KILL");
        self.program.exit(PATIENCE);
        self.program = serve(self.data.path(), &self.flags);
    }

    /// Returns a command in the directory, with the service and the key in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = imgopen();
        command.current_dir(self.folder.path()).args(arguments).env("IMGOPEN_BASE_URL", &self.program.url);
        command.env("IMGOPEN_ACCESS_KEY_ID", &self.key.id).env("IMGOPEN_ACCESS_KEY_SECRET", &self.key.secret);
        command
    }

    /// Runs a command.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command with `--json`, and returns its exit code and JSON.
    pub fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let read = serde_json::from_slice(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), read.unwrap_or_else(|error| panic!("{error}: {output:?} {errors}")))
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory of the service.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Writes a picture into the directory.
    pub fn picture(&self, name: &str) -> RgbImage {
        let picture = scene();
        picture.save(self.folder.path().join(name)).unwrap();
        picture
    }

    /// The names in the directory, sorted.
    pub fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }

    /// Reads a picture in the directory.
    pub fn read(&self, name: &str) -> RgbImage {
        let path: PathBuf = self.folder.path().join(name);
        image::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).to_rgb8()
    }
}

fn serve(data: &Path, flags: &[String]) -> Program {
    let mut command = imgopen();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(flags);
    Program::start(command)
}

/// Returns the paths of all files in and below a directory, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => files.append(&mut self::files(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files.sort();
    files
}

/// Returns the names in a directory, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
