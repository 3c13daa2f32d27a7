//! How many submits a process takes, beside the bare inserts of the same rows by the same driver.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use imgopen_tests::load::{Call, Load};
use imgopen_types::operations;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::CONNECTIONS;
use crate::postgres::{Cluster, Database};
use crate::process::{Process, drawing, key};

/// How often both are measured, and with how many on each connection.
const ROUNDS: usize = 31;
const EACH: usize = 20;

/// The rows that a process wrote, into a table like that of tasks.
const INSERT: &str = "INSERT INTO bare (id, key_id, operation, needs, caller_id, request, created_at)
    VALUES ($1, 'ak_0123456789abcdef', 'text_to_image', 'text_to_image', 'bench', $2, 1)";

/// Prints how many submits there are a second, and the ratio to bare inserts.
pub fn measure(cluster: &Arc<Cluster>, runtime: &Runtime) {
    let database = cluster.database();
    let keys = key(&database);
    let api = Process::serve(&database, "api", &[]);
    // A task that waits for a worker is accepted if there is one. It stays with the first.
    let _worker = Process::serve(&database, "worker", &["workers=1"]);
    let call = Call { operation: &operations::TEXT_TO_IMAGE, request: drawing("[sandbox: hang]"), answer: Value::Null };
    let mut load = runtime.block_on(async {
        crate::queue::accepts(&api, &keys).await;
        Load::open_as(api.address, &call, CONNECTIONS, &keys).await.expect("a success")
    });
    let mut bare = runtime.block_on(Bare::new(&database));
    let (mut ratios, mut submits, mut inserts, mut waits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let count = (CONNECTIONS * EACH) as f64;
        let over_http = seconds(|| waits.extend(runtime.block_on(load.timed(EACH))));
        let by_driver = seconds(|| runtime.block_on(bare.insert()));
        ratios.push(by_driver / over_http);
        submits.push(count / over_http);
        inserts.push(count / by_driver);
    }
    waits.sort();
    println!("\nsubmits, durable, over HTTP on {CONNECTIONS} connections, one process on PostgreSQL");
    println!("  {:.0} a second; bare inserts by the driver {:.0} a second", middle(&mut submits), middle(&mut inserts));
    println!("  as a part of the rate of bare inserts: {:.2} (target: at least 0.5)", middle(&mut ratios));
    println!("  a submit takes {:?} in the median, {:?} at p99", waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
}

/// Connections that insert rows.
struct Bare {
    clients: Vec<Client>,
    request: String,
    next: usize,
}

impl Bare {
    async fn new(database: &Database) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(connect(database).await);
        }
        clients[0].batch_execute("CREATE TABLE bare (LIKE tasks INCLUDING ALL)").await.expect("a table");
        let request = clients[0].query_one("SELECT request FROM tasks LIMIT 1", &[]).await.expect("a row").get(0);
        Self { clients, request, next: 0 }
    }

    async fn insert(&mut self) {
        let (request, first) = (&self.request, self.next);
        self.next += CONNECTIONS * EACH;
        join_all(self.clients.iter().enumerate().map(|(number, client)| async move {
            let statement = client.prepare(INSERT).await.expect("the table is there");
            for row in 0..EACH {
                let id = format!("img{:022}", first + number * EACH + row);
                client.execute(&statement, &[&id, request]).await.expect("a new row");
            }
        }))
        .await;
    }
}

/// Connects to a database.
pub async fn connect(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.expect("a connection");
    // An error of the connection is one of its client, too.
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// How long some work takes.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The median.
pub fn middle(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
