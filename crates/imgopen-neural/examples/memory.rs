//! Prints how much memory a process takes at most that runs one task of a neural network, for each, beside what its engine counts:
//!
//! ```sh
//! cargo run --release -p imgopen-neural --example memory -- imgopen-data/models
//! ```
//!
//! Each task runs alone in a process of its own, on a photograph of 512x512 pixels, on Linux. What the process takes without a task is
//! in the first row.

#[path = "support/requests.rs"]
mod requests;

use std::error::Error;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use imgopen_engine::{Input, Job, JobRequest, Monitor, Registry};
use imgopen_neural::{Nets, SessionSettings};
use imgopen_types::operation;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PHOTO: &[u8] = include_bytes!("../../imgopen-cli/assets/astronaut.jpg");

const MEGABYTE: f64 = 1_000_000.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [models] => print_all(models),
        // In the process of a task.
        [models, number] => {
            let (counted, outcome) = run(Path::new(models), number.parse()?)?;
            println!("{counted} {} {outcome}", peak()?);
            Ok(())
        }
        _ => Err("give a models directory with packs".into()),
    }
}

/// Runs each task in a process of its own, and prints what it took.
fn print_all(models: &str) -> Result<()> {
    println!("| task | peak | counted by the engine |\n|---|---|---|");
    let numbers = std::iter::once(None).chain((0..requests::all().len()).map(Some));
    for number in numbers {
        let place = number.unwrap_or(usize::MAX).to_string();
        let output = Command::new(std::env::current_exe()?).args([models, place.as_str()]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut words = text.trim().splitn(3, ' ');
        let (Some(counted), Some(peak), Some(outcome)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("a task ended early: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        };
        if outcome == "missing" {
            continue;
        }
        let megabytes = |bytes: &str| -> Result<String> { Ok(format!("{:.0} MB", bytes.parse::<f64>()? / MEGABYTE)) };
        println!("| {outcome} | {} | {} |", megabytes(peak)?, megabytes(counted)?);
    }
    Ok(())
}

/// Runs the request with a number. Returns what the engine counts for it, and what has become of it.
fn run(models: &Path, number: usize) -> Result<(u64, String)> {
    let threads = std::thread::available_parallelism()?;
    let nets = Nets::in_models(models, threads, SessionSettings::default());
    let registry = imgopen_neural::with_all(Registry::default(), &nets);
    // Files of packs were read whole, to hash them.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let Some((id, mut fields, pictures)) = requests::all().into_iter().nth(number) else {
        return Ok((0, "nothing".to_owned()));
    };
    let Ok(choice) = registry.pick(id, None) else { return Ok((0, "missing".to_owned())) };
    let title = format!("`{id}` {fields}, by `{}`", choice.engine.name());
    fields["businessTaskId"] = "1".into();
    let inputs = pictures.iter().map(|(field, _)| {
        fields[*field] = "https://example.com/photo.jpg".into();
        let url = "https://example.com/photo.jpg".to_owned();
        Input { field: (*field).to_owned(), url, bytes: Bytes::from_static(PHOTO) }
    });
    let inputs: Vec<Input> = inputs.collect();
    let operation = operation::find(id).ok_or("no such operation")?;
    let job = Job::new(JobRequest::new("1", operation, fields), "run").with_inputs(inputs);
    let counted = choice.engine.memory(&job);
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    match runtime.block_on(choice.engine.run(job, Monitor::new().0)) {
        Ok(_) => Ok((counted, title)),
        Err(error) => Ok((counted, format!("{title}: {error}"))),
    }
}

/// Returns the most bytes that this process has had in memory.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: u64 = line.ok_or("the kernel does not report the memory")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
