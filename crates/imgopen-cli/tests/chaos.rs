//! Everything goes wrong at random while several keys work with the service: kills, stops, suspensions, a faulty disk, no
//! descriptors, a clock that jumps, callers who hold connections, a log that is closed. It must lose nothing, do nothing twice,
//! do nothing wrong, and blame no task for it.
//!
//! It takes 20 seconds and some for the end; `CHAOS_MINUTES=30` makes it longer, and `CHAOS_SEED` repeats the choices.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "chaos/machine.rs"]
mod machine;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::chance;
use common::load::{Load, Trouble};
use common::program::Key;
use common::proof::Proof;
use common::receiver::{Receiver, Reply};
use common::rows::drain;
use machine::Machine;
use tokio::task::block_in_place;

/// How many keys there are, and how many submitters each has.
const KEYS: u64 = 3;
const SUBMITTERS: u64 = 2;

/// A caller: a key with its receiver, and what was submitted in its name.
struct Caller {
    key: Key,
    receiver: Receiver,
    load: Load,
}

impl Caller {
    async fn new(folder: &Path, trouble: &Arc<Trouble>, is_over: &Arc<AtomicBool>, seed: u64) -> Self {
        let key = Key::create(folder);
        let receiver = Receiver::start(&key.signing, moody(seed, is_over.clone())).await;
        let load = Load::in_trouble(&key, &receiver, trouble.clone()).await;
        Self { key, receiver, load }
    }
}

/// Refuses pushes or lets them hang, until things go right again.
fn moody(seed: u64, is_over: Arc<AtomicBool>) -> impl Fn(&str, usize) -> Reply + Send + Sync + 'static {
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    move |_, _| match random.lock().unwrap().u8(0..10) {
        _ if is_over.load(Ordering::SeqCst) => Reply::Acknowledge,
        0 | 1 => Reply::Fail,
        2 => Reply::WrongCode,
        3 => Reply::Hang,
        _ => Reply::Acknowledge,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_goes_wrong_nothing_is_lost_doubled_or_blamed() {
    let (seed, began) = (chance::seed("CHAOS_SEED"), Instant::now());
    let folder = tempfile::tempdir().unwrap();
    let (trouble, is_over) = (Arc::<Trouble>::default(), Arc::<AtomicBool>::default());
    let mut callers = Vec::new();
    for number in 0..KEYS {
        callers.push(Caller::new(folder.path(), &trouble, &is_over, seed ^ number).await);
    }
    let loads: Vec<Load> = callers.iter().map(|caller| caller.load.clone()).collect();
    let mut machine = Machine::start(folder.path(), seed, loads.clone(), trouble.clone());
    let mut submitters = Vec::new();
    for (number, load) in (0..).zip(&loads) {
        let submit = |submitter| tokio::spawn(load.clone().submit(seed.rotate_left(number), submitter));
        submitters.extend((0..SUBMITTERS).map(submit));
    }

    while began.elapsed() < chance::duration("CHAOS_MINUTES", Duration::from_secs(20)) {
        machine.go_wrong().await;
        assert!(!submitters.iter().any(|submitter| submitter.is_finished()), "a submitter met what must not happen");
    }
    is_over.store(true, Ordering::SeqCst);
    machine.go_right();
    loads.iter().for_each(Load::stop);
    for submitter in submitters {
        submitter.await.unwrap();
    }
    let mut proofs = Vec::new();
    for caller in &callers {
        let client = caller.key.client(machine.url());
        drain(&client).await;
        proofs.push(Proof::read(&client, &caller.load, &caller.receiver).await);
    }
    let summary = block_in_place(|| machine.stop());
    for proof in &proofs {
        proof.no_task_is_lost_or_duplicated();
        proof.every_task_ended_as_expected();
        proof.every_push_is_acknowledged_once();
    }
    let kept: usize = proofs.iter().map(Proof::kept).sum();
    common::proof::no_file_is_orphaned(folder.path(), kept);
    report(&proofs, &trouble, &summary);
}

/// Prints the figures. What must be none is none here, because it was checked.
fn report(proofs: &[Proof], trouble: &Trouble, summary: &str) {
    let sum = |figure: fn(&Proof) -> usize| -> usize { proofs.iter().map(figure).sum() };
    let states = ["succeeded", "failed", "cancelled"];
    let states =
        states.map(|state| format!("{} {state}", proofs.iter().map(|proof| proof.count(state)).sum::<usize>()));
    println!("accepted {}, repeated {}: {}", sum(Proof::accepted), sum(Proof::repeated), states.join(", "));
    println!("lost 0, doubled 0, falsely done 0, falsely failed 0; the failed are trainings, without an engine");
    println!(
        "callbacks {}, each acknowledged once, in {} pushes",
        sum(|proof| proof.pushed().0),
        sum(|proof| proof.pushed().1)
    );
    let (refusals, pictures) = (*trouble.refusals.lock().unwrap(), *trouble.pictures.lock().unwrap());
    println!("asked to wait {refusals} times; {pictures} pictures read meanwhile");
    println!("{summary}");
    let times = trouble.times.lock().unwrap();
    for (name, is_faulty) in [("without a fault", false), ("during a fault", true)] {
        let mut times: Vec<_> =
            times.iter().filter(|(during, _)| *during == is_faulty).map(|(_, time)| *time).collect();
        times.sort();
        let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default();
        println!("{} submits {name}: p50 {:?}, p99 {:?}", times.len(), at(0.5), at(0.99));
    }
}
