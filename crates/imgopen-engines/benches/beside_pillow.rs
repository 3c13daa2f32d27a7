//! The engine beside Pillow, on the same pictures, in turns: `cargo bench -p imgopen-engines --bench beside_pillow`.
//!
//! Needs `python3`; Pillow is installed below the target folder. Both use one thread and go from file to file in memory.

mod support;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use imgopen_engines::{Format, Input, Monitor, PictureLimits, lanczos};
use support::{SCALE, SIDE, input};

const PILLOW: &str = "pillow==13.0.0";
const LEAST_ROUNDS: usize = 3;
const MOST_ROUNDS: usize = 15;
const TIME_FOR_A_FORMAT: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // `cargo test --all-targets` starts benches too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("beside-pillow");
    let python = match python_with_pillow(&folder) {
        Ok(python) => python,
        Err(error) => {
            println!("skipped: Python with Pillow is not to be had: {error}");
            return Ok(());
        }
    };
    let mut pillow = Pillow::start(&python)?;
    println!("{SIDE}x{SIDE} pixels enlarged by {SCALE}, file to file, medians; target: faster than Pillow");
    for format in Format::ALL {
        println!("{}", compare(format, &folder, &mut pillow)?);
    }
    Ok(())
}

fn python_with_pillow(folder: &Path) -> Result<PathBuf> {
    let python = folder.join("venv/bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PILLOW]))?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// One round of each in turns, so that a busy machine slows both.
fn compare(format: Format, folder: &Path, pillow: &mut Pillow) -> Result<String> {
    let input = input(format)?;
    let path = folder.join("photo").with_extension(format.extension());
    std::fs::write(&path, &input.bytes)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut sizes = (0, 0);
    let start = Instant::now();
    while ours.len() < LEAST_ROUNDS || (ours.len() < MOST_ROUNDS && start.elapsed() < TIME_FOR_A_FORMAT) {
        let (seconds, size) = enlarge(&input)?;
        ours.push(seconds);
        sizes.0 = size;
        let (seconds, size) = pillow.enlarge(format, &path)?;
        theirs.push(seconds);
        sizes.1 = size;
    }
    let rounds = ours.len();
    let (ours, theirs) = (median(ours), median(theirs));
    Ok(format!(
        "{format:<5} engine {:7.1} ms, {:8} bytes   Pillow {:7.1} ms, {:8} bytes   {:5.1} times as fast ({rounds} rounds): {}",
        ours * 1000.0,
        sizes.0,
        theirs * 1000.0,
        sizes.1,
        theirs / ours,
        if ours < theirs { "target met" } else { "TARGET MISSED" },
    ))
}

fn enlarge(input: &Input) -> Result<(f64, usize)> {
    let start = Instant::now();
    let picture = lanczos::enlarge(input, SCALE, &PictureLimits::default(), &Monitor::new().0)?;
    Ok((start.elapsed().as_secs_f64(), picture.bytes.len()))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// The Python process. It ends when its input does.
struct Pillow {
    _process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Pillow {
    fn start(python: &Path) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pillow.py");
        let mut process = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = process.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no output")?);
        Ok(Self { _process: process, requests, answers })
    }

    fn enlarge(&mut self, format: Format, path: &Path) -> Result<(f64, usize)> {
        writeln!(self.requests, "{format} {SCALE} {}", path.display())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let (seconds, size) = answer.trim().split_once(' ').ok_or("the script in Python ended early")?;
        Ok((seconds.parse()?, size.parse()?))
    }
}
