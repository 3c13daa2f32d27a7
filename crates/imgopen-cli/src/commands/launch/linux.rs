//! What Linux has to end processes with another.

use std::io;
use std::num::NonZeroI32;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgrp, getpid, getppid, kill_process_group, pidfd_open, set_parent_process_death_signal,
    setpgid,
};

use crate::args::launch::Guard;

/// How much later than the program the service may be gone: the system kills the program with a thread of the service.
const GRACE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Has this process killed when the one that started it dies, and with `group` the processes that it starts, too.
pub fn bind(parent: Option<NonZeroI32>, group: bool) -> anyhow::Result<()> {
    let parent = parent.map(pid).transpose()?.or_else(getppid);
    set_parent_process_death_signal(Some(Signal::KILL)).context("the program cannot be bound to the service")?;
    // It may have died before.
    let Some(parent) = parent.filter(|_| getppid() == parent) else { bail!("the service has ended") };
    if !group {
        return Ok(());
    }
    if getpgrp() != getpid() {
        setpgid(None, None).context("the program cannot have a process group of its own")?;
    }
    let mut guard = Command::new("/proc/self/exe");
    guard.arg0("imgopen").arg("guard");
    guard.args([parent, getpid()].map(|pid| pid.as_raw_nonzero().to_string()));
    // In a group of its own, so that it outlives the program's.
    guard.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    guard.spawn().context("no guard of the program's processes can be started")?;
    Ok(())
}

/// Waits for the end of the service or of the program, and kills the program's group if the service has ended.
pub fn guard(args: &Guard) -> anyhow::Result<()> {
    let group = pid(args.group)?;
    let (service, program) = (watch(pid(args.parent)?)?, watch(group)?);
    if let (Some(service), Some(program)) = (&service, &program) {
        wait(&[service, program], None)?;
    }
    let has_service_ended = service.map_or(Ok(true), |service| wait(&[&service], Some(&GRACE)))?;
    match has_service_ended.then(|| kill_process_group(group, Signal::KILL)) {
        // Nothing is left of it.
        None | Some(Ok(()) | Err(Errno::SRCH)) => Ok(()),
        Some(Err(error)) => Err(error).context("the program's processes cannot be killed"),
    }
}

fn pid(raw: NonZeroI32) -> anyhow::Result<Pid> {
    Pid::from_raw(raw.get()).filter(|_| raw.get() > 0).with_context(|| format!("{raw} is not the id of a process"))
}

/// Returns what becomes readable when a process ends; `None` if it has ended.
fn watch(process: Pid) -> anyhow::Result<Option<OwnedFd>> {
    match pidfd_open(process, PidfdFlags::empty()) {
        Ok(watched) => Ok(Some(watched)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error).context("the process cannot be watched; Linux 5.3 or newer is needed"),
    }
}

/// Waits until one of some processes ends. Returns whether one has within the time.
fn wait(processes: &[&OwnedFd], time: Option<&Timespec>) -> io::Result<bool> {
    let mut watched: Vec<_> = processes.iter().map(|process| PollFd::new(*process, PollFlags::IN)).collect();
    loop {
        match poll(&mut watched, time) {
            Ok(ended) => return Ok(ended > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
