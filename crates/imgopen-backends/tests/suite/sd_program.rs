//! The fake sd-server as a program, which is this binary: `tests/programs/fake-sd-server` starts it. It prints what was
//! recorded, and ends in the ways that were seen.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use imgopen_backends::{BackendSettings, ModelFiles};
use tokio::net::TcpListener;

use crate::sd_fake::{Print, SdBehaviour, serve};

/// The variable with the arguments.
const ARGUMENTS: &str = "FAKE_SD_SERVER";

/// Settings that start the fake, with one model whose arguments say what it plays.
pub fn program(model: &str, script: &[&str]) -> BackendSettings {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/fake-sd-server");
    let model = ModelFiles {
        model: Some(model.into()),
        arguments: script.iter().map(|argument| (*argument).to_owned()).collect(),
        ..ModelFiles::default()
    };
    let binary = std::env::current_exe().unwrap().display().to_string();
    BackendSettings {
        name: Some("mine".to_owned()),
        arguments: vec!["--fake".to_owned(), binary],
        ..BackendSettings::child(path, vec![model])
    }
}

/// The starts that a fake has recorded: process ids, with their arguments.
pub fn starts(record: &Path) -> Vec<(i32, String)> {
    let lines = std::fs::read_to_string(record).unwrap_or_default();
    let start = |line: &str| {
        let (id, arguments) = line.split_once(' ').unwrap();
        (id.parse().unwrap(), arguments.to_owned())
    };
    lines.lines().map(start).collect()
}

/// Whether a process runs. One that has ended and that nobody has asked for does not.
pub fn runs(id: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{id}/stat")) {
        Ok(state) => !state.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'),
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => rustix::process::test_kill_process(rustix::process::Pid::from_raw(id).unwrap()).is_ok(),
    }
}

struct Arguments(Vec<String>);

impl Arguments {
    fn after(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument == name)?;
        self.0.get(at + 1).map(String::as_str)
    }
}

/// Writes at once, as the program does.
fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).unwrap();
    output.flush().unwrap();
}

fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/sd-server");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Notes the start, and returns which one it is.
fn note(arguments: &Arguments, also: Option<u32>) -> usize {
    let Some(record) = arguments.after("--record") else { return 1 };
    let mut file = std::fs::File::options().create(true).append(true).open(record).unwrap();
    writeln!(file, "{} {}", also.unwrap_or(std::process::id()), arguments.0.join(" ")).unwrap();
    starts(Path::new(record)).len()
}

#[test]
#[allow(clippy::zombie_processes)]
#[ignore = "the fake program, which other tests start"]
fn plays() {
    let Ok(given) = std::env::var(ARGUMENTS) else { return };
    let arguments = Arguments(given.lines().map(str::to_owned).collect());
    let script = arguments.after("--script").unwrap_or("works");
    let start = note(&arguments, None);
    match script {
        "fails" => {
            let log = recorded("log_cut_weights.txt");
            log.lines().filter(|line| line.starts_with("[ERROR]")).for_each(|line| eprintln!("{line}"));
            std::process::exit(1);
        }
        "fails-first" if start == 1 => std::process::exit(1),
        // It says that it listens before it does.
        "port-taken" if start == 1 => {
            print("[INFO ] main.cpp:140  - listening on: 127.0.0.1:1\n");
            std::process::exit(0);
        }
        "silent" => loop {
            std::thread::park();
        },
        "slow" => (0..20).for_each(|_| {
            print("\r  |====>     | 588/1130 - 1.37GB/s\u{1b}[K");
            std::thread::sleep(Duration::from_millis(150));
        }),
        "has-children" => {
            let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
            note(&arguments, Some(child.id()));
        }
        _ => {}
    }
    let own = arguments.after("--seed").map_or(42, |seed| seed.parse().unwrap());
    let model = arguments.after("--model").or(arguments.after("--diffusion-model")).unwrap();
    let behaviour = SdBehaviour {
        step: Duration::from_millis(arguments.after("--step").map_or(0, |step| step.parse().unwrap())),
        is_flux: arguments.after("--diffusion-model").is_some(),
        has_control_net: arguments.after("--control-net").is_some(),
        // Another's server, whose seed is the default.
        seed: if script == "stranger" && start == 1 { 42 } else { own },
        model: Some(if script == "other-model" { "other/model.safetensors".to_owned() } else { model.to_owned() }),
        lora_folder: Some(arguments.after("--lora-model-dir").map(PathBuf::from)),
        ..SdBehaviour::default()
    };
    let script = script.to_owned();
    let hook: Print = Box::new(move |text: &str| {
        print(text);
        if text.contains("generating image") {
            ends(&script);
        }
    });
    // With one thread, one that hangs answers nothing.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let port = arguments.after("--listen-port").unwrap();
        let Ok(listener) = TcpListener::bind(format!("127.0.0.1:{port}")).await else { std::process::exit(0) };
        print(&format!("[INFO ] main.cpp:140  - listening on: 127.0.0.1:{port}\n"));
        serve(listener, behaviour, hook).await;
    });
}

/// What happens while it makes a picture.
fn ends(script: &str) {
    match script {
        "aborts" => {
            eprint!("{}", recorded("log_assert_lora_shape.stderr.txt"));
            std::process::abort();
        }
        "hangs" => loop {
            std::thread::park();
        },
        _ => {}
    }
}
