//! The self-hosted service: how many submits it takes to the disk, how much it adds to a job, how fast it answers
//! questions, and how much memory a long queue takes.
//!
//! Submits are compared with bare inserts of the same rows into a copy of the database with the same settings: one to a
//! transaction, as a service without its own writer would do, and as many together as there are callers. All runs on
//! one machine, the callers included.

#[path = "support/served.rs"]
mod served;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgopen_engine::{Engine, EngineError, Grade, Inputs, Job, Monitor, Offer, Output, Registry};
use imgopen_tests::document;
use imgopen_tests::load::{Call, Load, runtime};
use imgopen_types::operations;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use served::Served;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Callers that submit at once.
const CONNECTIONS: usize = 16;

/// Tasks in the long queue.
const LONG: usize = 100_000;

/// An engine that returns at once, or never.
enum Fake {
    NoOp,
    Stuck,
}

impl Engine for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn offers(&self) -> Vec<Offer> {
        let operation = &operations::TEXT_TO_IMAGE;
        vec![Offer { inputs: Inputs::Unused, ..Offer::new(operation, Grade::Draft) }]
    }

    fn run(
        &self,
        _: Job,
        monitor: Monitor,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Output, EngineError>> + Send>> {
        let stuck = matches!(self, Self::Stuck);
        Box::pin(async move {
            if stuck {
                monitor.cancelled().await;
            }
            Ok(Output::default())
        })
    }
}

/// Starts a service with an engine.
fn serve(engine: Fake) -> Served {
    Served::start(10 * LONG, || std::future::ready(Registry::new(vec![Arc::new(engine)])))
}

fn load(served: &Served, runtime: &Runtime, call: &Call, connections: usize) -> Load {
    runtime.block_on(Load::open_as(served.address, call, connections, &served.keys)).expect("a success")
}

fn submit() -> Call {
    let operation = &operations::TEXT_TO_IMAGE;
    let full = document::request_examples(operation.id).into_iter().find(|example| example.name == "full");
    Call { operation, request: full.expect("an example").value, answer: document::success(operation.id) }
}

fn query(id: &str) -> Call {
    let operation = &operations::QUERY_TASK;
    Call { operation, request: json!({ "businessTaskId": id }), answer: document::success(operation.id) }
}

/// The rows that the service wrote, inserted into an empty copy of its database, one transaction each.
struct Bare {
    connection: Connection,
    request: String,
    next: u64,
    _directory: TempDir,
}

impl Bare {
    fn new(service: &Path) -> Self {
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("bare.sqlite3");
        let source = Connection::open(service.join("imgopen.sqlite3")).expect("the service's database");
        source.execute("VACUUM INTO ?1", [file.to_string_lossy()]).expect("a copy");
        let connection = Connection::open(&file).expect("the copy");
        connection.pragma_update(None, "journal_mode", "WAL").expect("the service's mode");
        connection.pragma_update(None, "synchronous", "FULL").expect("the service's safety");
        let request = connection.query_row("SELECT request FROM tasks LIMIT 1", [], |row| row.get(0)).expect("a row");
        connection.execute("DELETE FROM tasks", []).expect("an empty table");
        Self { connection, request, next: 0, _directory: directory }
    }

    /// Inserts this number of rows in each transaction, repeatedly.
    fn insert_together(&mut self, times: usize, together: usize) {
        for _ in 0..times {
            self.connection.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
            self.insert(together);
            self.connection.execute_batch("COMMIT").expect("room on the disk");
        }
    }

    fn insert(&mut self, times: usize) {
        for _ in 0..times {
            self.next += 1;
            let sql = "INSERT INTO tasks (id, key_id, operation, caller_id, request, state, created_at)
                       VALUES (?1, 'ak_0123456789abcdef', 'text_to_image', 'test10086555513', ?2, 'queued', 1)";
            let id = format!("img{:022}", self.next);
            let mut statement = self.connection.prepare_cached(sql).expect("the service's table");
            statement.execute(params![id, self.request]).expect("a new row");
        }
    }
}

fn submits(criterion: &mut Criterion) {
    let runtime = runtime();
    let served = serve(Fake::Stuck);
    let mut load = load(&served, &runtime, &submit(), CONNECTIONS);
    let mut bare = Bare::new(served.directory.path());
    let rounds = 41;
    let (mut to_single, mut to_batched, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let over_http = seconds(|| runtime.block_on(async { waits.extend(load.timed(20).await) }));
        to_single.push(seconds(|| bare.insert(20 * CONNECTIONS)) / over_http);
        to_batched.push(seconds(|| bare.insert_together(20, CONNECTIONS)) / over_http);
    }
    waits.sort();
    println!("\nsubmits, durable, over HTTP on {CONNECTIONS} connections, as a part of the rate of bare inserts");
    println!("  one to a transaction: {} (target: at least 0.5)", middle(&mut to_single));
    println!("  {CONNECTIONS} to a transaction: {}", middle(&mut to_batched));
    let (median, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    println!("  a submit takes {median:?} in the median, {p99:?} at p99 (target: under 50 ms)");
    let mut group = criterion.benchmark_group("service/submit");
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    group.bench_function("over HTTP", |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            runtime.block_on(load.run(times as usize));
            start.elapsed()
        });
    });
    group.bench_function("bare inserts", |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            bare.insert(times as usize * CONNECTIONS);
            start.elapsed()
        });
    });
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The median, and between what half of the rounds lie.
fn middle(ratios: &mut [f64]) -> String {
    ratios.sort_by(f64::total_cmp);
    let (count, at) = (ratios.len(), |part: usize| ratios[ratios.len() * part / 4]);
    format!("{:.2}, half of {count} rounds from {:.2} to {:.2}", at(2), at(1), at(3))
}

/// From the submit to a success, asked for without a pause, one task at a time.
fn overhead(_: &mut Criterion) {
    let runtime = runtime();
    let served = serve(Fake::NoOp);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = async |call: &Call| served.post(&http, call.operation, &call.request).await;
    let mut times = runtime.block_on(async {
        let mut times = Vec::new();
        for _ in 0..500 {
            let start = Instant::now();
            let accepted = post(&submit()).await;
            let question = query(accepted["data"]["task_id"].as_str().expect("an id"));
            while post(&question).await["data"]["status"] != 2 {}
            times.push(start.elapsed());
        }
        times
    });
    times.sort();
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!(
        "\nfrom submit to result over an engine that does nothing: median {median:?} (target: under 10 ms), p99 {p99:?}"
    );
}

fn queries(criterion: &mut Criterion) {
    let runtime = runtime();
    let served = serve(Fake::Stuck);
    let accepted: Value = serde_json::from_str(&load(&served, &runtime, &submit(), 1).body()).expect("an answer");
    let id = accepted["data"]["task_id"].as_str().expect("an id").to_owned();
    let mut load = load(&served, &runtime, &query(&id), CONNECTIONS);
    let mut group = criterion.benchmark_group("service/query");
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    group.bench_function("query_task", |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            runtime.block_on(load.run(times as usize));
            start.elapsed()
        });
    });
}

/// The whole process, its callers included.
fn memory(_: &mut Criterion) {
    let runtime = runtime();
    let served = serve(Fake::Stuck);
    let before = resident();
    let mut load = load(&served, &runtime, &submit(), CONNECTIONS);
    runtime.block_on(load.run(LONG / CONNECTIONS));
    let (after, bytes) = (resident(), size(served.directory.path()));
    println!(
        "\nresident with {LONG} queued tasks: {after} MB, {before} MB before (target: under 200 MB); on disk {bytes} MB"
    );
}

/// Resident memory in MB, as Linux reports it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn size(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>() / 1_000_000
}

criterion_group!(benches, memory, submits, overhead, queries);
criterion_main!(benches);
