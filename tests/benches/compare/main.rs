//! Two builds of the program beside each other, each as one process on SQLite: durable submits a second, queries a second, and the
//! time from submit to result.
//!
//! The variables `IMGOPEN_BEFORE` and `IMGOPEN_AFTER` name the builds:
//!
//! ```sh
//! IMGOPEN_BEFORE=/tmp/before/imgopen IMGOPEN_AFTER=target/release/imgopen cargo bench -p imgopen-tests --bench compare
//! ```
//!
//! Both take turns, so that noise on the machine affects them alike. Words behind `--` choose what is measured.

#[path = "../support/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use imgopen_tests::load::{Call, Load};
use imgopen_tests::ratio::{Ratio, alternate, median, verdict};
use imgopen_types::{Credentials, Operation, operations};
use process::{HANG, Process, drawing, http};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// How often both are measured.
const ROUNDS: usize = 101;

/// Callers at once, of submits and queries.
const CONNECTIONS: usize = 16;

/// How many submits and queries a round has on each connection.
const SUBMITS: usize = 40;
const QUERIES: usize = 100;

/// How many results a round has, one after the other.
const RESULTS: usize = 10;

/// The least part of the rate before. It is missed if all of the interval is below.
const TARGET: f64 = 0.97;

/// A measurement of both builds. Returns what each did a second, round by round.
type Measure = fn(&Runtime, [&Path; 2]) -> [Vec<f64>; 2];

const MEASUREMENTS: [(&str, Measure); 3] = [("submits", submits), ("queries", queries), ("results", results)];

fn main() {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(before), Some(after)) = (named("IMGOPEN_BEFORE"), named("IMGOPEN_AFTER")) else {
        println!("skipped; name two builds of the program in IMGOPEN_BEFORE and IMGOPEN_AFTER");
        return;
    };
    for program in [&before, &after] {
        assert!(program.is_file(), "there is no program {}", program.display());
    }
    // Cargo adds a flag of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("\none process on SQLite, {} to {}", after.display(), before.display());
    for (name, measure) in MEASUREMENTS.into_iter().filter(|(name, _)| is_chosen(name)) {
        let [first, second] = measure(&runtime, [&before, &after]);
        let ratio = Ratio::of_figures(&second, &first);
        let (_, most) = ratio.interval();
        println!("  {name}: {:.0} a second before, {:.0} after", median(&first), median(&second));
        println!("    ratio: {ratio} (target: at least {TARGET}): {}", verdict(most >= TARGET));
    }
}

/// A service with its access key.
struct Served {
    process: Process,
    keys: Credentials,
}

impl Served {
    fn start(program: &Path, settings: &[&str]) -> Self {
        let (process, keys) = Process::embedded(program, settings);
        Self { process, keys }
    }

    /// Opens connections that repeat a call.
    fn load(&self, runtime: &Runtime, operation: &'static Operation, request: Value) -> Load {
        let call = Call { operation, request, answer: Value::Null };
        let opened = Load::open_as(self.process.address, &call, CONNECTIONS, &self.keys);
        runtime.block_on(opened).expect("a success")
    }
}

/// Starts both, with a task that never ends in their only slot, so that all others wait.
fn busy(runtime: &Runtime, programs: [&Path; 2]) -> [Served; 2] {
    programs.map(|program| {
        let served = Served::start(program, &["workers=1"]);
        runtime.block_on(served.process.accepts(&served.keys, HANG));
        served
    })
}

fn submits(runtime: &Runtime, programs: [&Path; 2]) -> [Vec<f64>; 2] {
    let services = busy(runtime, programs);
    let loads = services.each_ref().map(|served| served.load(runtime, &operations::TEXT_TO_IMAGE, drawing(HANG)));
    alternated(runtime, loads, SUBMITS)
}

fn queries(runtime: &Runtime, programs: [&Path; 2]) -> [Vec<f64>; 2] {
    let services = busy(runtime, programs);
    let loads = services.each_ref().map(|served| {
        let id = runtime.block_on(served.process.draw(&http(), &served.keys, HANG));
        served.load(runtime, &operations::QUERY_TASK, json!({"businessTaskId": id}))
    });
    alternated(runtime, loads, QUERIES)
}

fn results(runtime: &Runtime, programs: [&Path; 2]) -> [Vec<f64>; 2] {
    let services = programs.map(|program| Served::start(program, &["workers=2"]));
    let http = http();
    let draw = |served: &Served| {
        let drawn = async {
            for _ in 0..RESULTS {
                served.process.drawn(&http, &served.keys, Duration::ZERO).await;
            }
        };
        rate(RESULTS, || runtime.block_on(drawn))
    };
    alternate(ROUNDS, [&mut || draw(&services[0]), &mut || draw(&services[1])])
}

/// Has both repeat their calls by turns, so many on each connection.
fn alternated(runtime: &Runtime, [mut before, mut after]: [Load; 2], times: usize) -> [Vec<f64>; 2] {
    let run = |load: &mut Load| rate(CONNECTIONS * times, || runtime.block_on(load.run(times)));
    alternate(ROUNDS, [&mut || run(&mut before), &mut || run(&mut after)])
}

/// How many there are a second.
fn rate(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}
