//! The service is killed repeatedly under load. It must lose nothing, do nothing twice, and do nothing wrong.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::load::Load;
use common::program::{Key, Program};
use common::proof::{Proof, no_file_is_orphaned, state_behind};
use common::receiver::{Receiver, Reply};
use common::rows::{drain, task, text};
use common::until;
use tokio::task::block_in_place;

/// Returns the number of kills: 60, or `CRASH_KILLS`.
fn kills() -> usize {
    std::env::var("CRASH_KILLS").map_or(60, |kills| kills.parse().expect("CRASH_KILLS is a number"))
}

/// The number of concurrent submitters.
const SUBMITTERS: u64 = 4;

/// No task fails because of interruptions, and no callback is abandoned.
const SETTINGS: [&str; 10] = [
    "--workers",
    "4",
    "--set",
    "attempts=1000",
    "--set",
    "callbacks.tries=1000",
    "--set",
    "callbacks.pauses=[\"50ms\"]",
    "--log",
    "json",
];

/// The pushes that arrived before the end was stored.
type Early = Arc<Mutex<Vec<String>>>;

/// Returns a random seed, or the one given to repeat a failure.
fn seed() -> u64 {
    let given = std::env::var("CRASH_SEED").ok().map(|seed| seed.parse().expect("CRASH_SEED is a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    // Printed only if the test fails, or with --nocapture.
    println!("repeat with CRASH_SEED={seed}");
    seed
}

fn start(folder: &Path) -> Program {
    block_in_place(|| Program::serve(folder, &SETTINGS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_under_load_lose_nothing() {
    let (seed, began) = (seed(), Instant::now());
    let folder = tempfile::tempdir().unwrap();
    let key = Key::create(folder.path());
    let early = Early::default();
    let receiver = Receiver::start(&key.signing, moody(seed, folder.path(), early.clone())).await;
    let load = Load::new(&key, &receiver).await;
    let submitters: Vec<_> = (0..SUBMITTERS).map(|number| tokio::spawn(load.clone().submit(seed, number))).collect();

    let mut logs = kill_repeatedly(folder.path(), &load, seed).await;
    let killing = began.elapsed();
    let program = start(folder.path());
    load.serve_at(&program.url);
    load.stop();
    for submitter in submitters {
        submitter.await.unwrap();
    }
    let client = key.client(&program.url);
    drain(&client).await;
    let proof = Proof::read(&client, &load, &receiver).await;
    logs.push(block_in_place(|| program.stop()));

    assert_eq!(*early.lock().unwrap(), [""; 0], "pushed before the end was stored");
    proof.no_task_is_lost_or_duplicated();
    proof.every_task_ended_as_expected();
    proof.every_push_is_acknowledged_once();
    proof.every_push_is_trusted();
    proof.every_end_is_logged_at_most_once(&logs);
    let (repeated, interrupted) = (proof.repeated(), proof.interrupted());
    assert!(repeated > 10, "only {repeated} submits were repeated, too few for a proof");
    assert!(interrupted > 10, "only {interrupted} runs were interrupted, too few for a proof");
    proof.every_data_set_is_complete(folder.path());
    no_file_is_orphaned(folder.path(), proof.kept());
    println!("{} kills in {killing:?}, {:?} in all: {}", kills(), began.elapsed(), proof.figures());
}

/// Kills the service at random moments, and returns its logs.
async fn kill_repeatedly(folder: &Path, load: &Load, seed: u64) -> Vec<String> {
    let (mut random, mut logs) = (fastrand::Rng::with_seed(seed), Vec::new());
    for _ in 0..kills() {
        let program = start(folder);
        load.serve_at(&program.url);
        // A random moment is the point; there is no condition to wait for.
        tokio::time::sleep(Duration::from_millis(random.u64(100..600))).await;
        logs.push(block_in_place(|| program.kill()));
    }
    logs
}

/// Fails half of the pushes, and checks for each that the end of its task is stored.
fn moody(seed: u64, folder: &Path, early: Early) -> impl Fn(&str, usize) -> Reply + Send + Sync + 'static {
    let (random, folder) = (Mutex::new(fastrand::Rng::with_seed(!seed)), folder.to_owned());
    move |id, _| {
        let state = state_behind(&folder, id);
        if !matches!(state.as_deref(), Ok("succeeded" | "failed")) {
            early.lock().unwrap().push(format!("{id}: {state:?}"));
        }
        match random.lock().unwrap().u8(0..6) {
            0 | 1 => Reply::Fail,
            2 => Reply::WrongCode,
            _ => Reply::Acknowledge,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_interrupted_too_often_fails_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::create(folder.path());
    let receiver = Receiver::start(&key.signing, |_, _| Reply::Acknowledge).await;
    let load = Load::new(&key, &receiver).await;
    let start = || block_in_place(|| Program::serve(folder.path(), &["--set", "attempts=2"]));
    let mut program = start();
    load.serve_at(&program.url);
    load.hang("patient").await;
    for attempt in 1..=2 {
        let client = key.client(&program.url);
        let runs =
            until("it runs", async || Some(task(&client, "patient").await).filter(|task| task["state"] == "running"));
        assert_eq!(runs.await["attempts"], attempt);
        block_in_place(|| program.kill());
        program = start();
    }
    let failed = task(&key.client(&program.url), "patient").await;
    let reason =
        "the service stopped unexpectedly during each of 2 attempts in which no other task ran; not tried again";
    assert_eq!((text(&failed, "state"), text(&failed, "desc")), ("failed", reason));
    let pushed = until("its end is pushed", async || receiver.seen().pop()).await;
    assert_eq!(pushed.task(), failed["taskId"].as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_with_an_idempotency_key_can_be_repeated_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::create(folder.path());
    let receiver = Receiver::start(&key.signing, |_, _| Reply::Acknowledge).await;
    let load = Load::new(&key, &receiver).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let program = start(folder.path());
        load.serve_at(&program.url);
        ids.push(load.repeat("the-same").await);
        block_in_place(|| program.kill());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let program = start(folder.path());
    assert_eq!(task(&key.client(&program.url), "the-same").await["taskId"], *ids[0]);
}
