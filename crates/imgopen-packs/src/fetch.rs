//! Fetches archives by the package managers of the machine, so that its mirrors, proxies and keys are used.
//!
//! `pip download` of a wheel and `npm pack` of a registry's package copy a file; neither installs or runs anything of it.
//! uv has no command that only downloads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::catalogue::{Registry, Source};
use crate::error::PullError;
use crate::options::PullOptions;
use crate::process::{self, RunError};

/// How long a program may take to print its version.
const PROBE: Duration = Duration::from_secs(60);

/// What runs pip, the first that works.
const PIP: &[&[&str]] = &[&["pip"], &["pip3"], &["python3", "-m", "pip"]];

/// What runs npm.
const NPM: &[&[&str]] = &[&["npm"]];

/// Variables of `pip` that have it fetch something else, or nothing, and that no flag undoes. What is fetched is checked by its
/// digest. Those that say from where, and by which key, are the user's.
const NOT_OURS: [&str; 9] = [
    "PIP_ABI",
    "PIP_CONSTRAINT",
    "PIP_EDITABLE",
    "PIP_GLOBAL_OPTION",
    "PIP_GROUP",
    "PIP_IMPLEMENTATION",
    "PIP_PLATFORM",
    "PIP_PYTHON_VERSION",
    "PIP_REQUIREMENT",
];

/// Variables of `pip` that are set, so that its settings files do not count there either.
const OURS: [(&str, &str); 3] =
    [("PIP_DISABLE_PIP_VERSION_CHECK", "1"), ("PIP_REQUIRE_HASHES", "0"), ("PIP_REQUIRE_VIRTUALENV", "0")];

/// A package manager that works.
struct Program<'a> {
    words: &'static [&'static str],
    file: PathBuf,
    options: &'a PullOptions,
}

/// Fetches the archive of a package into an empty directory. `on_start` gets the name of the program that does it.
///
/// # Errors
///
/// When there is no such program, it fails, takes too long, or is cancelled.
pub(crate) fn fetch(
    source: &Source,
    directory: &Path,
    options: &PullOptions,
    on_start: impl FnOnce(&str),
) -> Result<PathBuf, PullError> {
    let found = Program::find(source, directory, options)?;
    let (program, package) = (found.name(), format!("{} {}", source.package, source.version));
    on_start(&program);
    let mut command = found.command(directory);
    command.args(source.arguments());
    let finished = match process::run(&mut command, options.limit, &options.cancel) {
        Ok(finished) => finished,
        Err(RunError::Cancelled) => return Err(PullError::Cancelled),
        Err(RunError::TimedOut) => {
            return Err(PullError::TimedOut { program, package, seconds: options.limit.as_secs() });
        }
        Err(RunError::System(error)) => return Err(PullError::at(&found.file)(error)),
    };
    if !finished.status.success() {
        let output = match finished.output.as_str() {
            "" => String::new(),
            lines => format!("; it printed:\n{lines}"),
        };
        return Err(PullError::Failed { program, package, status: finished.status, output });
    }
    let file = &source.archive.name;
    only_file(directory, file).map_err(PullError::at(directory))?.ok_or_else(|| {
        let output = match finished.output.as_str() {
            "" => "it printed nothing".to_owned(),
            lines => format!("it printed:\n{lines}"),
        };
        PullError::NothingFetched { program, file: file.clone(), output }
    })
}

impl<'a> Program<'a> {
    /// Returns the first that prints its version: some machines have `pip` as a script that only says what is missing.
    fn find(source: &Source, directory: &Path, options: &'a PullOptions) -> Result<Self, PullError> {
        let (candidates, programs, fix) = match source.registry {
            Registry::PyPi => (PIP, "`pip`, `pip3` or `python3 -m pip`", "pip"),
            Registry::Npm => (NPM, "`npm`", "Node.js with npm"),
        };
        let path = options.path.clone().or_else(|| std::env::var_os("PATH"));
        for words in candidates.iter().copied() {
            let found = which::which_in_global(words[0], path.as_ref()).ok().and_then(|mut files| files.next());
            let Some(file) = found else { continue };
            let file = std::path::absolute(&file).unwrap_or(file);
            let program = Self { words, file, options };
            let mut command = program.command(directory);
            command.arg("--version");
            match process::run(&mut command, PROBE.min(options.limit), &options.cancel) {
                Ok(finished) if finished.status.success() => return Ok(program),
                Err(RunError::Cancelled) => return Err(PullError::Cancelled),
                _ => {}
            }
        }
        Err(PullError::NoProgram { programs, fix, command: source.command() })
    }

    /// Returns its name as people type it.
    fn name(&self) -> String {
        self.words.join(" ")
    }

    /// Returns the command, to be completed by arguments. It runs in the directory, not in that of this process, where a file
    /// might be taken for a module of Python.
    fn command(&self, directory: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(launcher) = &self.options.launcher {
            words.push(launcher.into());
            words.extend(["launch".into(), "--group".into()]);
        }
        words.push((&self.file).into());
        words.extend(self.words[1..].iter().map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(directory).envs(OURS);
        for variable in NOT_OURS {
            command.env_remove(variable);
        }
        if let Some(path) = &self.options.path {
            command.env("PATH", path);
        }
        command
    }
}

/// Returns the file of a name in a directory, or else the only file in it: what it is shows by its digest.
fn only_file(directory: &Path, name: &str) -> std::io::Result<Option<PathBuf>> {
    let named = directory.join(name);
    if named.is_file() {
        return Ok(Some(named));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.is_file());
    Ok(if files.len() == 1 { files.pop() } else { None })
}
