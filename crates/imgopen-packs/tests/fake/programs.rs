//! Package managers that are shell scripts, in a directory of their own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The program that all of them are: a link to a file that nobody writes, because a file that was just written may still be open
/// in another test, and cannot be executed then.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../imgopen-packs/tests/fake/program");

/// Fails, as pip does.
pub const FAIL: &str = "echo 'ERROR: No matching distribution found' >&2; exit 1";

/// Writes its process id and a half of something, and does not end.
pub const HANG: &str = "echo half >half; echo $$ >\"$here/pid\"; /bin/sleep 600";

/// Does nothing.
pub const NOTHING: &str = "exit 0";

/// The programs.
pub struct Programs {
    directory: TempDir,
}

impl Programs {
    /// No programs.
    pub fn none() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// Adds a program, or changes what it does.
    pub fn with(self, name: &str, script: &str) -> Self {
        let path = self.directory.path().join(name);
        if !path.exists() {
            std::os::unix::fs::symlink(PROGRAM, &path).unwrap();
        }
        fs::write(path.with_extension("sh"), script).unwrap();
        self
    }

    /// Has a program fail already when its version is asked for.
    pub fn broken(self, name: &str) -> Self {
        let this = self.with(name, FAIL);
        fs::write(this.directory.path().join(name).with_extension("broken"), "").unwrap();
        this
    }

    /// The directory, as the value of `PATH`.
    pub fn path(&self) -> OsString {
        self.directory.path().as_os_str().to_owned()
    }

    /// How programs were called, other than for their versions.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.directory.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// The process id of a program that hangs, once it does.
    pub fn hanging(&self) -> Option<u32> {
        fs::read_to_string(self.directory.path().join("pid")).ok()?.trim().parse().ok()
    }

    /// A file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Fetches: writes the contents of a file into the working directory, under a name.
pub fn fetching(archive: &Path, name: &str) -> String {
    format!("/bin/cat '{}' >'{name}'", archive.display())
}
