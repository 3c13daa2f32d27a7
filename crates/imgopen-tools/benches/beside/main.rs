//! Measures the tools beside the libraries that people would use instead, taking turns on the same pictures:
//! `cargo bench -p imgopen-tools --bench beside`; words after `--` select tasks by name.
//!
//! Needs `python3`; the libraries are installed below the target directory. ImageMagick is included if it is installed
//! (Debian: `libmagickwand-6.q16-6`).

mod peer;
#[path = "../../tests/support/python.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod python;
mod tasks;

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use peer::{Measured, Peer};
use tasks::Task;

const LEAST_ROUNDS: usize = 3;
const MOST_ROUNDS: usize = 25;
const TIME_FOR_A_PAIR: Duration = Duration::from_secs(4);
/// By how much the operation alone may be slower than the fastest library.
const ALONE: f64 = 2.0;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == "--memory"
    {
        println!("{}", memory(&tasks::named(name)?)?);
        return Ok(());
    }
    // `cargo test --all-targets` starts benches too, without this argument.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    println!("| task | beside | bytes to bytes | times as fast | alone | times as fast | memory | of theirs |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for task in tasks::all()? {
        if wanted.is_empty() || wanted.iter().any(|word| task.name.contains(word.as_str())) {
            missed.extend(compare(&task)?);
        }
    }
    println!(
        "\nTargets: faster than each library from bytes to bytes; alone, at most {ALONE} times as slow as the fastest."
    );
    missed.iter().for_each(|miss| println!("MISSED: {miss}"));
    Ok(())
}

/// Prints a row for each library, and returns the missed targets.
fn compare(task: &Task) -> Result<Vec<String>> {
    let mut missed = Vec::new();
    let our_memory = measure_memory(task)?;
    let mut best_alone = f64::INFINITY;
    let mut alone = f64::INFINITY;
    for (library, method) in &task.peers {
        let peer_name = match method.split_once("_by_") {
            Some((_, how)) => format!("{library}, by {how}"),
            None => (*library).to_owned(),
        };
        let start = || Peer::start(library, method, &task.files);
        let their_memory = match start().and_then(|mut peer| peer.ask("memory")) {
            Ok(memory) => memory.figure,
            Err(error) => {
                println!("| {} | {peer_name} | not to be had: {error} |", task.name);
                continue;
            }
        };
        let mut peer = start()?;
        let whole = in_turns(|| timed(&task.whole), || peer.ask("whole"))?;
        let bare = in_turns(|| timed((task.alone)()?), || peer.ask("alone"))?;
        println!(
            "| {} | {peer_name} | {} / {} ms | {:.1} | {} / {} ms | {:.1} | {:.1} / {:.1} MB | {:.2} |",
            task.name,
            milliseconds(whole.0),
            milliseconds(whole.1),
            whole.1 / whole.0,
            milliseconds(bare.0),
            milliseconds(bare.1),
            bare.1 / bare.0,
            our_memory / 1024.0,
            their_memory / 1024.0,
            our_memory / their_memory.max(1.0),
        );
        if whole.0 >= whole.1 {
            missed.push(format!(
                "{}: {:.2} times the time of {peer_name}, bytes to bytes",
                task.name,
                whole.0 / whole.1
            ));
        }
        if bare.1 < best_alone {
            (alone, best_alone) = bare;
        }
    }
    if alone > ALONE * best_alone {
        missed.push(format!("{}: {:.2} times the time of the fastest, alone", task.name, alone / best_alone));
    }
    Ok(missed)
}

/// Returns the medians of both, alternating rounds, so that a busy machine slows both.
fn in_turns(
    mut ours: impl FnMut() -> Result<Measured>,
    mut theirs: impl FnMut() -> Result<Measured>,
) -> Result<(f64, f64)> {
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while our_times.len() < LEAST_ROUNDS || (our_times.len() < MOST_ROUNDS && start.elapsed() < TIME_FOR_A_PAIR) {
        our_times.push(ours()?.figure);
        their_times.push(theirs()?.figure);
    }
    Ok((median(our_times), median(their_times)))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Measured> {
    let start = Instant::now();
    work()?;
    Ok(Measured { figure: start.elapsed().as_secs_f64() })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn milliseconds(seconds: f64) -> String {
    let milliseconds = seconds * 1000.0;
    let places = if milliseconds < 10.0 { 2 } else { usize::from(milliseconds < 100.0) };
    format!("{milliseconds:.places$}")
}

/// Returns the growth of resident memory in KiB while a task runs once, in its own process, as for the libraries.
fn measure_memory(task: &Task) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?).args(["--memory", &task.name]).output()?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().map_err(|error| format!("{text:?} of {}: {error}", task.name).into())
}

fn memory(task: &Task) -> Result<f64> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = resident("VmRSS:")?;
    (task.whole)()?;
    Ok(resident("VmHWM:")? - before)
}

fn resident(name: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the kernel does not report the memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
