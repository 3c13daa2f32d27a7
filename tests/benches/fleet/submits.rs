//! How many submits a process takes on PostgreSQL, beside the bare inserts of the same rows by the same driver, and beside a
//! process on SQLite.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use imgopen_tests::load::{Call, Load};
use imgopen_tests::ratio::{Ratio, alternate, median, verdict};
use imgopen_types::{Credentials, operations};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::CONNECTIONS;
use crate::members::{connect, key, program, serve};
use crate::postgres::{Cluster, Database};
use crate::process::{HANG, Process, drawing};

/// How often each way is measured, and with how many submits on each connection.
const ROUNDS: usize = 41;
const EACH: usize = 50;

/// The least part of the rate of bare inserts.
const TARGET: f64 = 0.6;

/// The values of a row that are the same in all.
const WRITTEN: &str =
    "SELECT key_id, operation, needs, caller_id, request, options, plan, callback_url, created_at FROM tasks LIMIT 1";

/// The rows that a process wrote, into a table like that of tasks.
const INSERT: &str = "
    INSERT INTO bare (id, key_id, operation, needs, caller_id, request, options, plan, callback_url, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Prints how many submits there are a second, and the ratios.
pub fn measure(cluster: &Arc<Cluster>, runtime: &Runtime) {
    let database = cluster.database();
    let keys = key(&database);
    let api = serve(&database, "api", &[]);
    // A task that waits for a worker is accepted if there is one. It stays with the first.
    let _worker = serve(&database, "worker", &["workers=1"]);
    let (embedded, embedded_keys) = Process::embedded(&program(), &["workers=1"]);
    let mut load = runtime.block_on(open(&api, &keys));
    let mut embedded_load = runtime.block_on(open(&embedded, &embedded_keys));
    let mut bare = runtime.block_on(Bare::new(&database));
    let mut waits = Vec::new();
    let [over_http, by_driver, on_sqlite] = alternate(
        ROUNDS,
        [
            &mut || rate(|| waits.extend(runtime.block_on(load.timed(EACH)))),
            &mut || rate(|| runtime.block_on(bare.insert())),
            &mut || rate(|| runtime.block_on(embedded_load.run(EACH))),
        ],
    );
    waits.sort();
    let (to_bare, to_sqlite) = (Ratio::of_figures(&over_http, &by_driver), Ratio::of_figures(&over_http, &on_sqlite));
    println!("\nsubmits a second, durable, on {CONNECTIONS} connections, medians of {ROUNDS} rounds");
    println!("  over HTTP, one process on PostgreSQL: {:.0}", median(&over_http));
    println!("  bare inserts of the same rows by the driver: {:.0}", median(&by_driver));
    println!("  over HTTP, one process on SQLite: {:.0}", median(&on_sqlite));
    println!("  to bare inserts: {to_bare} (target: at least {TARGET}): {}", verdict(to_bare.median() >= TARGET));
    println!("  to SQLite: {to_sqlite}");
    println!("  a submit takes {:?} in the median, {:?} at p99", waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
}

/// Opens connections that submit tasks of which the first never ends, so that the others wait.
async fn open(process: &Process, keys: &Credentials) -> Load {
    process.accepts(keys, HANG).await;
    let call = Call { operation: &operations::TEXT_TO_IMAGE, request: drawing(HANG), answer: Value::Null };
    Load::open_as(process.address, &call, CONNECTIONS, keys).await.expect("a success")
}

/// How many rows a second the work of a round writes.
fn rate(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    (CONNECTIONS * EACH) as f64 / start.elapsed().as_secs_f64()
}

/// Connections that insert rows.
struct Bare {
    clients: Vec<(Client, Statement)>,
    texts: Vec<Option<String>>,
    created_at: i64,
    next: usize,
}

impl Bare {
    async fn new(database: &Database) -> Self {
        let client = connect(database).await;
        client.batch_execute("CREATE TABLE bare (LIKE tasks INCLUDING ALL)").await.expect("a table");
        let written = client.query_one(WRITTEN, &[]).await.expect("a row");
        let texts = (0..8_usize).map(|column| written.get(column)).collect();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = connect(database).await;
            let statement = client.prepare(INSERT).await.expect("the table is there");
            clients.push((client, statement));
        }
        Self { clients, texts, created_at: written.get(8), next: 0 }
    }

    async fn insert(&mut self) {
        let first = self.next;
        self.next += CONNECTIONS * EACH;
        let Self { clients, texts, created_at, .. } = &*self;
        join_all(clients.iter().enumerate().map(|(number, (client, statement))| async move {
            for row in 0..EACH {
                let id = format!("img{:022}", first + number * EACH + row);
                let mut values: Vec<&(dyn ToSql + Sync)> = vec![&id];
                values.extend(texts.iter().map(|text| text as &(dyn ToSql + Sync)));
                values.push(created_at);
                client.execute(statement, &values).await.expect("a new row");
            }
        }))
        .await;
    }
}
