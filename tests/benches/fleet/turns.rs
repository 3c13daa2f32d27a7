//! How soon the few tasks of a key begin beside the many of another.

use std::sync::Arc;
use std::time::Duration;

use imgopen_tests::ratio::verdict;
use tokio::runtime::Runtime;

use crate::members::{connect, fill, key, one_task, serve};
use crate::postgres::{Cluster, Database};
use crate::process::http;

/// How many tasks the keys have.
const MANY: usize = 100_000;
const FEW: usize = 10;

/// How many processes run tasks, each one at a time.
const SLOTS: usize = 2;

/// A task that takes so long that looks at what waits are short beside it.
const SLOW: &str = "a lighthouse [sandbox: delay=500ms]";

/// The turns within which each of the few begins. In a turn, every key with tasks begins one in each slot.
const TURNS: usize = 2;

/// How long to wait for starts.
const PATIENCE: Duration = Duration::from_secs(60);

/// Copies of the only row: many of its key, and then a few of another.
const FILL: &str = "
    INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, options, plan, created_at)
    SELECT 'img' || lpad(i::text, 22, '0'), CASE WHEN i < :many THEN key_id ELSE ':few' END,
        operation, needs, caller_id, request, options, plan, created_at
    FROM (SELECT * FROM tasks LIMIT 1) one, generate_series(1, :all) i";

/// The keys in the order in which their tasks began. Among those of the same moment, the few count as last.
const STARTS: &str =
    "SELECT (key_id = ':few')::text FROM tasks WHERE claimed_at IS NOT NULL ORDER BY claimed_at, key_id = ':few'";

/// Prints how many tasks of the other key begin between two of the few: of those that wait when the processes start, and of those
/// that come while these run the others.
pub fn measure(cluster: &Arc<Cluster>, runtime: &Runtime) {
    let database = cluster.database();
    let [many, few] = [key(&database), key(&database)];
    runtime.block_on(async {
        one_task(&database, &many, SLOW).await;
        let sql = FILL.replace(":many", &MANY.to_string()).replace(":all", &(MANY - 1 + FEW).to_string());
        fill(&connect(&database).await, &sql.replace(":few", few.access_key_id())).await;
    });
    let _workers = [(); SLOTS].map(|()| serve(&database, "worker", &["workers=1"]));
    let api = serve(&database, "api", &[]);
    let waiting = starts(&database, few.access_key_id(), FEW);
    runtime.block_on(async {
        api.accepts(&few, SLOW).await;
        let http = http();
        for _ in 1..FEW {
            api.draw(&http, &few, SLOW).await;
        }
    });
    let coming = starts(&database, few.access_key_id(), 2 * FEW);
    let most = TURNS * SLOTS;
    println!("\na key with {FEW} tasks beside one with {MANY}, {SLOTS} slots");
    let longest = longest_gap(&waiting);
    println!(
        "  starts of the other key before each of them: at most {longest} (target: {TURNS} turns, which are {most}): {}",
        verdict(longest <= most)
    );
    let later = longest_gap(&behind(&coming, FEW + 1));
    let first = database.rows(&format!(
        "SELECT min(started_at - created_at) FROM (
            SELECT * FROM tasks WHERE key_id = '{}' AND claimed_at IS NOT NULL ORDER BY seq OFFSET {FEW}) later",
        few.access_key_id()
    ));
    println!(
        "  of {FEW} that come later, the first begins after {} ms, the others after at most {later}",
        first.join("")
    );
}

/// Waits until so many of the few have begun, and returns for each start whether it was one of them.
fn starts(database: &Database, few: &str, count: usize) -> Vec<bool> {
    let started = format!("SELECT count(*) FROM tasks WHERE key_id = '{few}' AND claimed_at IS NOT NULL");
    let begun = std::time::Instant::now();
    while database.count(&started) < count {
        assert!(begun.elapsed() < PATIENCE, "fewer than {count} of the few begin within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    database.rows(&STARTS.replace(":few", few)).iter().map(|row| row == "true").collect()
}

/// What begins behind this one of the few, counted from 1.
fn behind(starts: &[bool], number: usize) -> Vec<bool> {
    let at = starts.iter().enumerate().filter(|(_, is_few)| **is_few).nth(number - 1).map(|(at, _)| at);
    starts.iter().skip(at.expect("so many have begun") + 1).copied().collect()
}

/// How many others begin before one of the few at most, since the one before it.
fn longest_gap(starts: &[bool]) -> usize {
    let (mut longest, mut gap) = (0, 0);
    for is_few in starts {
        if *is_few {
            longest = longest.max(gap);
            gap = 0;
        } else {
            gap += 1;
        }
    }
    longest
}
