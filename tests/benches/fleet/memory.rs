//! The memory of a process that takes calls while a million tasks wait.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use imgopen_tests::ratio::verdict;
use imgopen_types::{Credentials, operations};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::members::{connect, fill, key, one_task, serve};
use crate::postgres::Cluster;
use crate::process::{HANG, Process, http};
use crate::{CONNECTIONS, KEYS, MANY};

/// How many calls of each kind are made, half of them by each of two keys.
const CALLS: usize = 1000;

/// How many tasks may wait beyond those that do. The last submits find the queue full, and are accepted because their key has few.
const ROOM: usize = CALLS / 2 + 100;

/// The most memory in MB.
const TARGET: f64 = 100.0;

/// Copies of the only row, of many keys, of which that of the row has half.
const FILL: &str = "
    INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, options, plan, created_at)
    SELECT 'img' || lpad(i::text, 22, '0'),
        CASE WHEN i % 2 = 0 THEN key_id ELSE 'ak_' || lpad(((i / 2) % (:keys - 1))::text, 16, '0') END,
        operation, needs, caller_id, request, options, plan, created_at
    FROM (SELECT * FROM tasks LIMIT 1) one, generate_series(1, :many) i";

/// Prints the largest memory of the process, and that of one that runs tasks.
pub fn measure(cluster: &Arc<Cluster>, runtime: &Runtime) {
    let database = cluster.database();
    let keys = [key(&database), key(&database)];
    runtime.block_on(async {
        one_task(&database, &keys[0], HANG).await;
        let sql = FILL.replace(":keys", &KEYS.to_string()).replace(":many", &MANY.to_string());
        fill(&connect(&database).await, &sql).await;
    });
    let length = format!("queue.length={}", MANY + ROOM);
    let worker = serve(&database, "worker", &["workers=1", &length]);
    let api = serve(&database, "api", &[&length]);
    let before = api.resident();
    let accepted: Vec<usize> = runtime.block_on(async {
        api.accepts(&keys[0], HANG).await;
        let mut accepted = Vec::new();
        for keys in &keys {
            accepted.push(calls(&api, keys).await);
        }
        accepted
    });
    let queued = database.count("SELECT count(*) FROM tasks WHERE state = 'queued'");
    println!("\nmemory with {queued} queued tasks of {KEYS} keys");
    println!("  of the process that takes calls, idle: {before:.0} MB");
    println!(
        "  at most, in {} submits and as many lists and queries: {:.0} MB (target: at most {TARGET} MB): {}",
        accepted.iter().sum::<usize>(),
        api.peak(),
        verdict(api.peak() <= TARGET)
    );
    println!("  of a process that runs tasks: {:.0} MB at most", worker.peak());
}

/// Submits tasks, lists those of the key, and asks for what was submitted. Returns how many were.
async fn calls(api: &Process, keys: &Credentials) -> usize {
    let http = http();
    let each = || stream::iter(0..CALLS / 2);
    let submits = each().map(|_| api.draw(&http, keys, HANG));
    let ids: Vec<String> = submits.buffer_unordered(CONNECTIONS).collect().await;
    let page = json!({"pageSize": 50});
    let lists = each().map(|_| api.post(&http, keys, &operations::LIST_TASKS, &page));
    let is_list = |answer: Value| async move { assert!(answer["data"]["rows"].is_array(), "{answer}") };
    lists.buffer_unordered(CONNECTIONS).for_each(is_list).await;
    let questions: Vec<Value> = ids.iter().map(|id| json!({"businessTaskId": id})).collect();
    let queries = stream::iter(&questions).map(|question| api.post(&http, keys, &operations::QUERY_TASK, question));
    let is_task = |answer: Value| async move { assert!(answer["data"]["status"].is_number(), "{answer}") };
    queries.buffer_unordered(CONNECTIONS).for_each(is_task).await;
    ids.len()
}
