//! The processes of a training: a group of their own, because `accelerate` leaves the trainer running when it is ended.

use std::time::Duration;

use tokio::process::{Child, Command};

/// The variable by which the processes of a training are known to a later process of the service.
const MARK: &str = "IMGOPEN_TRAINING";

/// The pause between two looks at whether processes are gone.
#[cfg(unix)]
const POLL: Duration = Duration::from_millis(50);

/// Makes the processes that a command starts those of a task, in a group of their own.
pub(crate) fn separate(command: &mut Command, task: &str) {
    command.env(MARK, task).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
}

/// The group of a process that was [separated](separate). Dropping it kills what is left of it.
#[derive(Debug)]
pub(crate) struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

#[cfg(unix)]
mod unix {
    use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

    use super::*;

    impl Group {
        pub(crate) fn of(child: &Child) -> Self {
            let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            Self { leader }
        }

        /// Asks all processes of the group to end, kills those that have not done so after `grace`, and waits until they are
        /// gone, at most so long again. Returns whether they are.
        pub(crate) async fn end(mut self, child: &mut Child, grace: Duration) -> bool {
            let Some(leader) = self.leader else { return true };
            let mut is_gone = false;
            for signal in [Signal::TERM, Signal::KILL] {
                // An error means that there is none left.
                let _ = kill_process_group(leader, signal);
                let gone = async {
                    // Only then is its place in the system's table free.
                    let _ = child.wait().await;
                    while is_alive(leader) {
                        tokio::time::sleep(POLL).await;
                    }
                };
                is_gone = tokio::time::timeout(grace, gone).await.is_ok();
                if is_gone {
                    break;
                }
            }
            self.leader = None;
            is_gone
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            if let Some(leader) = self.leader {
                let _ = kill_process_group(leader, Signal::KILL);
            }
        }
    }

    /// Whether a group has processes that still run. One that has ended stays in the table until its parent asks for it, which
    /// the first process of a container may never do.
    fn is_alive(leader: Pid) -> bool {
        if test_kill_process_group(leader).is_err() {
            return false;
        }
        let Ok(processes) = std::fs::read_dir("/proc") else { return true };
        let mut processes = processes.filter_map(Result::ok).filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in brackets may hold anything.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
            Some((fields.next()?, fields.nth(1)?))
        });
        let group = leader.as_raw_nonzero().to_string();
        processes.any(|(state, of)| of == group && !["Z", "X"].contains(&state.as_str()))
    }
}

#[cfg(not(unix))]
impl Group {
    pub(crate) fn of(_: &Child) -> Self {
        Self {}
    }

    /// Ends the process, and waits until it is gone.
    pub(crate) async fn end(self, child: &mut Child, grace: Duration) -> bool {
        tokio::time::timeout(grace, child.kill()).await.is_ok()
    }
}

/// Kills processes of a task that an earlier process of the service has left, and returns how many there were. Blocks. Does
/// nothing on systems that do not show the variables of processes.
pub(crate) fn end_orphans(task: &str) -> usize {
    let marked = format!("{MARK}={task}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let mut count = 0;
    for process in processes.filter_map(Result::ok) {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // Those of other users cannot be read.
        let Ok(variables) = std::fs::read(process.path().join("environ")) else { continue };
        if variables.split(|byte| *byte == 0).any(|variable| variable == marked.as_bytes()) && kill(id) {
            count += 1;
        }
    }
    count
}

#[cfg(unix)]
fn kill(id: i32) -> bool {
    let id = rustix::process::Pid::from_raw(id);
    id.is_some_and(|id| rustix::process::kill_process(id, rustix::process::Signal::KILL).is_ok())
}

#[cfg(not(unix))]
fn kill(_: i32) -> bool {
    false
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    /// Starts a shell that prints a line once it is ready. It and what it starts hold their output open.
    async fn start(script: &str, task: &str) -> (Child, BufReader<tokio::process::ChildStdout>) {
        let mut command = Command::new("sh");
        separate(command.args(["-c", script]).stdout(Stdio::piped()), task);
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).await.unwrap();
        assert_eq!(line, "ready\n");
        (child, output)
    }

    /// Waits until every process that could write the output has ended.
    async fn closed(mut output: BufReader<tokio::process::ChildStdout>) {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), output.read_line(&mut line));
        assert_eq!(read.await.expect("a process goes on").unwrap(), 0, "{line}");
    }

    #[tokio::test]
    async fn what_a_process_has_started_ends_with_it() {
        for script in [
            "sleep 600 & echo ready; wait",
            // The process that started it is gone.
            "(sleep 600 & echo ready) ; exit 0",
            // Only the last signal ends them.
            "trap '' TERM; sh -c \"trap '' TERM; echo ready; while :; do sleep 600; done\" & wait; while :; do sleep 600; done",
        ] {
            let (mut child, output) = start(script, "group-test").await;
            assert!(Group::of(&child).end(&mut child, Duration::from_secs(2)).await, "{script}");
            closed(output).await;
        }
    }

    #[tokio::test]
    async fn a_group_that_is_dropped_is_killed() {
        let (child, output) = start("sleep 600 & echo ready; wait", "dropped-test").await;
        drop(Group::of(&child));
        closed(output).await;
    }

    #[tokio::test]
    async fn what_is_left_is_found_by_its_task() {
        let (mut child, output) = start("sleep 600 & echo ready; wait", "left-test-1").await;
        assert_eq!(end_orphans("left-test"), 0);
        assert_eq!(end_orphans("left-test-1"), 2);
        closed(output).await;
        child.wait().await.unwrap();
        assert_eq!(end_orphans("left-test-1"), 0);
    }
}
