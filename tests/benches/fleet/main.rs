//! Several processes on PostgreSQL: durable submits a second, claims a second out of a million queued tasks, the time from submit to
//! result with and without announcements, fairness among keys, and the memory of a process with a million queued tasks.
//!
//! It starts a server of its own, and processes of the binary, which must have been built before:
//!
//! ```sh
//! cargo build --release -p imgopen-cli && IMGOPEN_TEST_POSTGRES=private cargo bench -p imgopen-tests --bench fleet
//! ```
//!
//! Everything runs on one machine, callers and database included.

mod claims;
/// The server of the tests of the binary.
#[path = "../../../crates/imgopen-cli/tests/common/postgres.rs"]
#[allow(dead_code)]
mod postgres;
mod process;
mod queue;
mod submits;

use postgres::Cluster;
use tokio::runtime::{Builder, Runtime};

/// How many tasks are queued where many are.
const MANY: usize = 1_000_000;

/// How many keys they belong to. The first has half of them.
const KEYS: usize = 1000;

/// Callers, or workers, at once.
const CONNECTIONS: usize = 16;

fn main() {
    let Some(cluster) = Cluster::start() else { return };
    let runtime = runtime();
    submits::measure(&cluster, &runtime);
    queue::result_times(&cluster, &runtime);
    claims::measure(&cluster, &runtime);
    queue::memory_and_turns(&cluster, &runtime);
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
