//! The time from submit to result across processes, the memory of a process with a long queue, and the turns of keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use imgopen_types::{Credentials, operations};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::MANY;
use crate::postgres::Cluster;
use crate::process::{Process, drawing, key};

/// How many tasks are timed, and how many come before.
const TIMED: usize = 100;
const BEFORE: usize = 10;

/// How many keys take turns.
const TURNS: usize = 100;

/// Copies of the only row, of many keys, of which the first has half.
const FILL: &str = "
    INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, options, plan, created_at)
    SELECT 'img' || lpad(i::text, 22, '0'), 'ak_' || lpad((CASE WHEN i % 2 = 0 THEN 0 ELSE (i / 2) % :keys END)::text, 16, '0'),
        operation, needs, caller_id, request, options, plan, created_at
    FROM (SELECT * FROM tasks LIMIT 1) one, generate_series(1, :many) i";

/// Waits until a process accepts tasks, because it knows of a worker.
pub async fn accepts(api: &Process, keys: &Credentials) {
    let http = reqwest::Client::new();
    for _ in 0..600 {
        let answer = api.post(&http, keys, &operations::TEXT_TO_IMAGE, &drawing("[sandbox: hang]")).await;
        if answer["data"]["task_id"].is_string() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("no task is accepted within a minute");
}

/// Prints the time from submit to result over two processes, with and without announcements.
pub fn result_times(cluster: &Arc<Cluster>, runtime: &Runtime) {
    println!("\nfrom submit at one process to the result of another, median of {TIMED}");
    for notify in [true, false] {
        let database = cluster.database();
        let keys = key(&database);
        let setting = format!("database.notify={notify}");
        let api = Process::serve(&database, "api", &[&setting]);
        let _worker = Process::serve(&database, "worker", &[&setting, "workers=4"]);
        let mut times = runtime.block_on(async {
            accepts(&api, &keys).await;
            let http = reqwest::Client::builder().no_proxy().build().expect("a client");
            let mut times = Vec::new();
            for _ in 0..BEFORE + TIMED {
                let start = Instant::now();
                let question = json!({"businessTaskId": api.draw(&http, &keys, "a lighthouse").await});
                while api.post(&http, &keys, &operations::QUERY_TASK, &question).await["data"]["status"] != 2 {
                    sleep(Duration::from_millis(1)).await;
                }
                times.push(start.elapsed());
                // The worker is idle again, as it usually is.
                sleep(Duration::from_millis(50)).await;
            }
            times.split_off(BEFORE)
        });
        times.sort();
        let name = if notify { "with announcements" } else { "without announcements" };
        println!("  {name}: {:?}, at most {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
}

/// Prints the memory of processes with a million queued tasks, and how evenly their keys are served.
pub fn memory_and_turns(cluster: &Arc<Cluster>, runtime: &Runtime) {
    let database = cluster.database();
    let keys = key(&database);
    {
        let api = Process::serve(&database, "api", &[]);
        let _worker = Process::serve(&database, "worker", &["workers=1"]);
        runtime.block_on(async {
            accepts(&api, &keys).await;
            api.draw(&reqwest::Client::new(), &keys, "a lighthouse").await;
        });
    }
    database.rows("DELETE FROM tasks WHERE request LIKE '%hang%'");
    database.rows(
        "UPDATE tasks SET state = 'queued', attempt = 0, run = NULL, owner = NULL, started_at = NULL, finished_at = NULL,
             output = NULL",
    );
    database.rows(&FILL.replace(":keys", &TURNS.to_string()).replace(":many", &MANY.to_string()));
    database.rows("VACUUM ANALYZE tasks");
    let api = Process::serve(&database, "api", &[]);
    let workers = ["worker", "worker"].map(|role| Process::serve(&database, role, &["workers=4"]));
    std::thread::sleep(Duration::from_secs(20));
    let [first, second] = workers.each_ref().map(Process::resident);
    println!(
        "\nresident with {MANY} queued tasks: {} MB taking calls, {first} and {second} MB running tasks",
        api.resident()
    );
    drop(workers);
    let turns = database.rows(
        "SELECT sum(runs), min(runs), max(runs), count(*) FROM (
             SELECT key_id, count(*) AS runs FROM tasks WHERE started_at IS NOT NULL GROUP BY key_id) turns",
    );
    println!(
        "runs in 20 s, the fewest and the most of a key, and how many keys had any of {TURNS}: {}",
        turns.join("")
    );
}
