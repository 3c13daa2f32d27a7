//! The time from submit at one process to the result of another, with and without announcements, and in one process. The sandbox
//! draws a small picture without a pause.

use std::sync::Arc;
use std::time::{Duration, Instant};

use imgopen_tests::ratio::{alternate, median, verdict};
use imgopen_types::Credentials;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::members::{key, program, serve};
use crate::postgres::Cluster;
use crate::process::{HANG, Process, http};

/// How many tasks are timed in each way.
const TIMED: usize = 61;

/// The pause between two questions for a result.
const ASKING: Duration = Duration::from_millis(1);

/// The longest medians in milliseconds, with announcements and by polling alone.
const TARGETS: [f64; 2] = [25.0, 300.0];

/// Where tasks are submitted, and what runs them.
struct Way {
    api: Process,
    keys: Credentials,
    _worker: Option<Process>,
    http: reqwest::Client,
}

impl Way {
    fn of_two(cluster: &Arc<Cluster>, runtime: &Runtime, notify: bool) -> Self {
        let database = cluster.database();
        let keys = key(&database);
        let setting = format!("database.notify={notify}");
        let api = serve(&database, "api", &[&setting]);
        let worker = serve(&database, "worker", &[&setting, "workers=4"]);
        // A task that never ends takes one of the four slots.
        runtime.block_on(api.accepts(&keys, HANG));
        api.make_shelves();
        Self { api, keys, _worker: Some(worker), http: http() }
    }

    fn embedded() -> Self {
        let (api, keys) = Process::embedded(&program(), &["workers=4"]);
        api.make_shelves();
        Self { api, keys, _worker: None, http: http() }
    }

    /// Returns the milliseconds from a submit to its result, after a pause in which all is idle again. Its length is random, so
    /// that the submit comes at any moment between two looks.
    async fn time(&self) -> f64 {
        sleep(Duration::from_millis(fastrand::u64(50..300))).await;
        let start = Instant::now();
        self.api.drawn(&self.http, &self.keys, ASKING).await;
        start.elapsed().as_secs_f64() * 1e3
    }
}

/// Prints the medians.
pub fn measure(cluster: &Arc<Cluster>, runtime: &Runtime) {
    let ways = [true, false].map(|notify| Way::of_two(cluster, runtime, notify));
    let embedded = Way::embedded();
    let time = |way: &Way| runtime.block_on(way.time());
    let times = alternate(TIMED, [&mut || time(&ways[0]), &mut || time(&ways[1]), &mut || time(&embedded)]);
    println!(
        "\nfrom submit at one process to the result of another, whose engine is idle and draws at once, median of {TIMED}"
    );
    for ((name, target), times) in ["with announcements", "by polling alone"].into_iter().zip(TARGETS).zip(&times) {
        let (middle, longest) = (median(times), times.iter().copied().fold(0.0, f64::max));
        let verdict = verdict(middle <= target);
        println!(
            "  {name}: {middle:.1} ms, at most {longest:.1} ms (target: a median of at most {target} ms): {verdict}"
        );
    }
    println!("  in one process on SQLite: {:.1} ms", median(&times[2]));
}
