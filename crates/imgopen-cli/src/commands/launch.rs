//! `imgopen launch` and `imgopen guard`, by which the service starts programs that end with it, however it ends.
//!
//! `launch` becomes the program: it asks the system to kill it when its parent dies, and executes it in its own place, so
//! that process id, output and exit status are the program's. The system does that when the *thread* that started it ends. An
//! async task of the service runs on threads that end with the service; one that is started by `spawn_blocking` does not.
//!
//! That reaches the program alone. For programs that start others, such as `accelerate`, `--group` makes it the leader of a
//! process group if it is none, and starts a guard beside it: a small process of its own group that waits for the end of
//! service or program, and kills what is left of the group when the service has ended.
//!
//! Elsewhere than on Linux the program is executed and nothing else.

#[cfg(target_os = "linux")]
mod linux;

use std::process::Command;

use anyhow::Context;

use crate::args::launch::{Guard, Launch};

/// Executes the program.
pub fn launch(args: Launch) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    linux::bind(args.parent, args.group)?;
    let (program, arguments) = args.command.split_first().context("no program is named")?;
    let mut command = Command::new(program);
    command.args(arguments);
    #[cfg(unix)]
    let started: std::io::Result<std::convert::Infallible> =
        Err(std::os::unix::process::CommandExt::exec(&mut command));
    #[cfg(not(unix))]
    let started = command.status().map(|status| std::process::exit(status.code().unwrap_or(1)));
    let cannot = || format!("{} cannot be started", program.to_string_lossy());
    started.map(drop).with_context(cannot)
}

/// Waits, and ends the group with the service.
pub fn guard(args: &Guard) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    linux::guard(args)?;
    #[cfg(not(target_os = "linux"))]
    let _ = args;
    Ok(())
}
