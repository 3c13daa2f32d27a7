//! Several processes on PostgreSQL: durable submits a second, the time from submit to result with and without announcements, claims
//! a second out of a million queued tasks, fairness among keys, and the memory of a process with a million queued tasks.
//!
//! It starts a server of its own, whose commits are on the disk, and processes of the program, which must have been built before:
//!
//! ```sh
//! cargo build --release -p imgopen-cli && IMGOPEN_TEST_POSTGRES=private cargo bench -p imgopen-tests --bench fleet
//! ```
//!
//! Words behind `--` choose those whose names contain one of them. Everything runs on one machine, callers and database included.

mod claims;
mod members;
mod memory;
/// The server of the tests of the program.
#[path = "../../../crates/imgopen-cli/tests/common/postgres.rs"]
#[allow(dead_code)]
mod postgres;
#[path = "../support/process.rs"]
mod process;
mod results;
mod submits;
mod turns;

use std::sync::Arc;
use std::time::Instant;

use postgres::Cluster;
use tokio::runtime::{Builder, Runtime};

/// How many tasks are queued where many are.
const MANY: usize = 1_000_000;

/// How many keys they belong to. The first has half of them.
const KEYS: usize = 1000;

/// Callers, or workers, at once.
const CONNECTIONS: usize = 16;

/// A measurement, which prints what it finds.
type Measure = fn(&Arc<Cluster>, &Runtime);

const MEASUREMENTS: [(&str, Measure); 6] = [
    ("submits", submits::measure),
    ("results", results::measure),
    ("claims-3", claims::of_three_needs),
    ("claims-100", claims::of_a_hundred_needs),
    ("turns", turns::measure),
    ("memory", memory::measure),
];

fn main() {
    // Cargo adds a flag of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let chosen: Vec<_> = MEASUREMENTS.into_iter().filter(|(name, _)| is_chosen(name)).collect();
    if chosen.is_empty() {
        let names = MEASUREMENTS.map(|(name, _)| name).join(", ");
        panic!("{words:?}: there is no such measurement; there are {names}");
    }
    let Some(cluster) = Cluster::durable() else { return };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for (name, measure) in chosen {
        let start = Instant::now();
        measure(&cluster, &runtime);
        println!("  ({name} took {:.0} s)", start.elapsed().as_secs_f64());
    }
}
