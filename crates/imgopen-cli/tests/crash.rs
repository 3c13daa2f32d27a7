//! The service is killed repeatedly under load. It must lose nothing, do nothing twice, and do nothing wrong.
#![allow(clippy::unwrap_used)]

mod common;
/// A fake back end, which the tests of the drivers check against recordings of a real one.
#[path = "../../imgopen-backends/tests/suite"]
#[allow(dead_code)]
mod suite {
    pub mod fake;
    pub mod recordings;
}

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::load::{Load, Trouble};
use common::program::{Key, Program};
use common::proof::{Proof, no_file_is_orphaned, orphans_are_deleted, state_behind};
use common::receiver::{Receiver, Reply};
use common::rows::{drain, task, text};
use common::until;
use suite::fake::{Behaviour, Fake};
use suite::recordings;
use tokio::task::block_in_place;

/// Returns the number of kills: 60, or `CRASH_KILLS`.
fn kills() -> usize {
    std::env::var("CRASH_KILLS").map_or(60, |kills| kills.parse().expect("CRASH_KILLS is a number"))
}

/// The number of concurrent submitters.
const SUBMITTERS: u64 = 4;

/// The model of the fake back end.
const MODEL: &str = "random-sd15.safetensors";

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

fn start(folder: &Path, backend: Option<&Fake>) -> Program {
    let backend = backend.map(|fake| ["--backend", &fake.url]);
    let settings = [&SETTINGS[..], backend.as_ref().map_or(&[][..], |flag| &flag[..])].concat();
    block_in_place(|| Program::serve(folder, &settings))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_under_load_lose_nothing() {
    prove(kills(), None).await;
}

/// It works on when the service dies, and its next run of the same task is to end the earlier one first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_during_jobs_of_a_back_end_lose_nothing() {
    let behaviour = Behaviour { has_page: true, step: Duration::from_millis(5), ..Behaviour::default() };
    let fake = Fake::start(behaviour).await;
    let proof = prove(kills() / 3, Some(&fake)).await;
    let mut calls: HashMap<String, usize> = HashMap::new();
    for call in fake.calls() {
        *calls.entry(text(&call, "force_task_id").to_owned()).or_default() += 1;
    }
    let runs = proof.runs("text_to_image");
    for (task, runs) in &runs {
        let calls = calls.remove(&format!("task(imgopen-{task})")).unwrap_or_default();
        assert!(calls <= *runs, "{task} was run {runs} times, and sent to the back end {calls} times");
    }
    assert!(calls.is_empty() && runs.iter().any(|(_, runs)| *runs > 1), "{calls:?} belong to no task, of {runs:?}");
}

/// Kills the service that often under load, and returns what was proven.
async fn prove(kills: usize, backend: Option<&Fake>) -> Proof {
    let (seed, began) = (seed(), Instant::now());
    let folder = tempfile::tempdir().unwrap();
    let key = Key::create(folder.path());
    let early = Early::default();
    let receiver = Receiver::start(&key.signing, moody(seed, folder.path(), early.clone())).await;
    let load = match backend {
        None => Load::new(&key, &receiver).await,
        // Until the back end has answered, callers are asked to wait.
        Some(_) => Load::in_trouble(&key, &receiver, Arc::<Trouble>::default()).await.with_model(MODEL),
    };
    let submitters: Vec<_> = (0..SUBMITTERS).map(|number| tokio::spawn(load.clone().submit(seed, number))).collect();

    let mut logs = kill_repeatedly(kills, &|| start(folder.path(), backend), &load, seed).await;
    let killing = began.elapsed();
    let program = start(folder.path(), backend);
    load.serve_at(&program.url);
    load.stop();
    for submitter in submitters {
        submitter.await.unwrap();
    }
    let client = key.client(&program.url);
    drain(&client).await;
    let proof = Proof::read(&client, &load, &receiver).await;
    orphans_are_deleted(folder.path()).await;
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
    if proof.count("cancelled") == 0 {
        proof.every_data_set_is_complete(folder.path());
    }
    no_file_is_orphaned(folder.path(), proof.kept());
    println!("{kills} kills in {killing:?}, {:?} in all: {}", began.elapsed(), proof.figures());
    proof
}

/// Kills the service at random moments, and returns its logs.
async fn kill_repeatedly(kills: usize, start: &impl Fn() -> Program, load: &Load, seed: u64) -> Vec<String> {
    let (mut random, mut logs) = (fastrand::Rng::with_seed(seed), Vec::new());
    for _ in 0..kills {
        let program = start();
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
        if !matches!(state.as_deref(), Ok("succeeded" | "failed" | "cancelled")) {
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
        // On PostgreSQL, the run before counts as running until its lease is over.
        let runs = async || {
            let found = task(&client, "patient").await;
            (found["state"] == "running" && found["attempts"] == attempt).then_some(())
        };
        until("it runs again", runs).await;
        block_in_place(|| program.kill());
        program = start();
    }
    let client = key.client(&program.url);
    let failed =
        until("it is given up", async || Some(task(&client, "patient").await).filter(|task| task["state"] == "failed"));
    let failed = failed.await;
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
        let program = start(folder.path(), None);
        load.serve_at(&program.url);
        ids.push(load.repeat("the-same").await);
        block_in_place(|| program.kill());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let program = start(folder.path(), None);
    assert_eq!(task(&key.client(&program.url), "the-same").await["taskId"], *ids[0]);
}
