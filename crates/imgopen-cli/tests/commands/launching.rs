//! Programs that the service starts end with it, however it ends.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use imgopen_tests::calls::call;
use serde_json::json;

use crate::common::program::{Key, Program, imgopen};
use crate::common::{PATIENCE, until};
use crate::run;

/// Something that starts programs and is killed, as a service may be. It prints the ids of processes.
struct Parent {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Parent {
    /// Has a shell start a program with `imgopen launch`, and wait.
    fn start(launch: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("\"$0\" launch {launch} & wait")]).arg(imgopen().get_program());
        let mut child = shell.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn printed_id(&mut self) -> u32 {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    /// Kills it alone, with SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process runs: it is there, and not only waited for by its parent.
fn runs(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// The processes that have this parent.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    let is_child = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(parent.to_string().as_str())
    };
    ids.filter(is_child).collect()
}

fn until_ended(id: u32) {
    let start = Instant::now();
    while runs(id) {
        assert!(start.elapsed() < PATIENCE, "the process {id} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program_ends_with_its_parent() {
    let mut parent = Parent::start("sh -c 'echo $$; exec sleep 1000'");
    let program = parent.printed_id();
    assert!(runs(program));
    parent.kill();
    until_ended(program);
}

#[test]
fn the_processes_of_a_program_end_with_its_parent() {
    let mut parent = Parent::start("--group sh -c 'sleep 1000 & echo $$; echo $!; wait'");
    let (program, of_program) = (parent.printed_id(), parent.printed_id());
    assert!(runs(program) && runs(of_program));
    parent.kill();
    until_ended(program);
    until_ended(of_program);
}

/// The guard, which the program has as its child, does not stay.
#[test]
fn the_guard_ends_with_the_program() {
    let mut parent = Parent::start("--group sh -c 'echo $$; exec sleep 1000'");
    let program = parent.printed_id();
    let [guard] = children(program)[..] else { panic!("{:?}", children(program)) };
    assert!(Command::new("sh").args(["-c", "kill -9 \"$0\"", &program.to_string()]).status().unwrap().success());
    until_ended(program);
    until_ended(guard);
}

#[test]
fn output_and_status_are_those_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(folder.path(), &["launch", "sh", "-c", "echo out; echo bad >&2; exit 7"]);
    assert_eq!(ended, "ends with 7\nout\nerrors:\nbad\n");
    // What looks like a flag of ours is one of the program.
    assert_eq!(run(folder.path(), &["launch", "echo", "--json", "--group", "-x"]), "ends with 0\n--json --group -x\n");
    let own = std::process::id().to_string();
    assert_eq!(run(folder.path(), &["launch", "--parent", &own, "true"]), "ends with 0\n");
    let orphan = run(folder.path(), &["launch", "--parent", "1", "echo", "too late"]);
    assert_eq!(orphan, "ends with 1\nerrors:\nimgopen: the service has ended\n");
    let missing = run(folder.path(), &["launch", "/nowhere/sd-server"]);
    assert!(missing.starts_with("ends with 1\nerrors:\nimgopen: /nowhere/sd-server cannot be started: "), "{missing}");
}

/// An `sd-server` that the service has started ends with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_of_a_back_end_ends_with_a_killed_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // It prints its version or help, and else loads its model without end.
    let text = "#!/bin/sh\nif [ $# = 1 ]; then echo version 1; exit 0; fi\necho $$ > \"$0.id\"\nexec sleep 1000\n";
    std::fs::write(path("sd-server"), text).unwrap();
    std::fs::set_permissions(path("sd-server"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(path("a.safetensors"), "").unwrap();
    let backend = "[[backends]]\nprogram = \"./sd-server\"\n[[backends.models]]\nmodel = \"a.safetensors\"\n";
    std::fs::write(path("imgopen.toml"), backend).unwrap();
    let mut serve = imgopen();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(path("imgopen.toml"));
    let service = Program::start({
        serve.arg("--models").arg(folder.path()).arg("--data-dir").arg(path("data"));
        serve
    });
    let client = Key::create(&path("data")).client(&service.url);
    let request = json!({
        "prompt": "a lighthouse", "batch_size": 1, "width": 64, "height": 64, "steps": 1,
        "alwayson_scripts": {"sd_model_checkpoint": "a.safetensors", "id_task": "1"},
    });
    call(&client, "text_to_image", &request).await.unwrap();
    let id = async || std::fs::read_to_string(path("sd-server.id")).ok()?.trim().parse::<u32>().ok();
    let id = until("the program is started", id).await;
    assert!(runs(id));
    service.kill();
    until_ended(id);
}
