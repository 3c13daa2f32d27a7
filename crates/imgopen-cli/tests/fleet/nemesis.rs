//! Everything goes wrong at random: processes are killed, suspended and replaced, and each loses the database or the bucket in
//! every way; the database crashes. Nothing is lost, done twice, or done wrong.
//!
//! It takes 40 seconds and some for the end; `FLEET_MINUTES=30` makes it longer, and `FLEET_SEED` repeats the choices.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::processes::{Fleet, LEASE, Member, Role, slowly};
use super::proxy::Way;
use crate::common::chance;
use crate::common::load::{Load, Trouble};
use crate::common::proof::Proof;
use crate::common::receiver::{Receiver, Reply};
use crate::common::rows::drain;

/// How many submitters there are.
const SUBMITTERS: u64 = 4;

/// No task fails because of interruptions, and no push takes long.
const SETTINGS: [&str; 3] = ["workers=8", "attempts=1000", "callbacks.time=2s"];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Replace,
    /// For less time than a lease, or for more.
    Suspend {
        is_long: bool,
    },
    /// What happens on the way to the database, to one process or to two.
    Database(Side, usize),
    Bucket(Side),
    Reset,
    Terminate,
    /// For less time than a lease, or for more.
    Crash {
        is_long: bool,
    },
}

/// A way of a proxy, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Silent,
    Lossy,
    OneWay,
    Refused,
}

impl Side {
    fn way(self) -> Way {
        match self {
            Self::Silent => Way::Stall,
            Self::Lossy => Way::Lose,
            Self::OneWay => Way::Requests,
            Self::Refused => Way::Refuse,
        }
    }
}

const FAULTS: [Fault; 17] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Replace,
    Fault::Suspend { is_long: false },
    Fault::Suspend { is_long: true },
    Fault::Suspend { is_long: true },
    Fault::Database(Side::Silent, 1),
    Fault::Database(Side::Silent, 2),
    Fault::Database(Side::Lossy, 1),
    Fault::Database(Side::OneWay, 1),
    Fault::Database(Side::Refused, 2),
    Fault::Bucket(Side::Silent),
    Fault::Bucket(Side::Refused),
    Fault::Reset,
    Fault::Terminate,
    Fault::Crash { is_long: false },
    Fault::Crash { is_long: true },
];

/// Refuses pushes or lets them hang, until things go right again.
fn moody(seed: u64, is_over: Arc<AtomicBool>) -> impl Fn(&str, usize) -> Reply + Send + Sync + 'static {
    let random = Mutex::new(Rng::with_seed(seed));
    move |_, _| match random.lock().unwrap().u8(0..10) {
        _ if is_over.load(Ordering::SeqCst) => Reply::Acknowledge,
        0 | 1 => Reply::Fail,
        2 => Reply::WrongCode,
        3 => Reply::Hang,
        _ => Reply::Acknowledge,
    }
}

/// The processes, and what has happened to them.
struct Nemesis {
    fleet: Fleet,
    members: Vec<Member>,
    random: Rng,
    counts: BTreeMap<Fault, usize>,
}

impl Nemesis {
    /// Lets one thing go wrong for a while, and then nothing for a while.
    async fn go_wrong(&mut self) {
        let fault = *self.random.choice(&FAULTS).unwrap();
        *self.counts.entry(fault).or_default() += 1;
        self.suffer(fault).await;
        assert!(self.members.iter_mut().all(Member::is_running), "{fault:?} ended a process");
        sleep(Duration::from_millis(self.random.u64(200..1500))).await;
    }

    /// Kills all workers once one runs a task that takes longer than this, and starts others.
    async fn interrupt(&mut self) {
        let long = "SELECT 1 FROM tasks WHERE state = 'running' AND request::text LIKE '%delay=8s%'";
        let is_running = async || (!block_in_place(|| self.fleet.database.rows(long)).is_empty()).then_some(());
        slowly("a long task runs", is_running).await;
        let (workers, others) = self.members.drain(..).partition(|member| member.role == Role::Worker);
        self.members = others;
        for worker in workers {
            worker.kill();
            self.members.push(self.fleet.launch(Role::Worker).await);
        }
    }

    fn any(&mut self) -> usize {
        self.random.usize(0..self.members.len())
    }

    /// A time in which a lease does not end, or does.
    fn time(&mut self, is_long: bool) -> Duration {
        match is_long {
            true => LEASE + Duration::from_millis(self.random.u64(1000..4000)),
            false => Duration::from_millis(self.random.u64(100..1200)),
        }
    }

    async fn suffer(&mut self, fault: Fault) {
        let first = self.any();
        match fault {
            Fault::Kill => {
                let member = self.members.remove(first);
                let role = member.role;
                member.kill();
                self.members.push(self.fleet.launch(role).await);
            }
            Fault::Replace => {
                let member = self.members.remove(first);
                self.members.push(self.fleet.launch(member.role).await);
                member.stop();
            }
            Fault::Suspend { is_long } => {
                let time = self.time(is_long);
                self.members[first].pause();
                sleep(time).await;
                self.members[first].go_on();
            }
            Fault::Database(side, count) => {
                let is_long = self.random.bool();
                let time = self.time(is_long);
                let victims: Vec<usize> = (0..count).map(|number| (first + number) % self.members.len()).collect();
                victims.iter().for_each(|victim| self.members[*victim].database.go(side.way()));
                sleep(time).await;
                victims.iter().for_each(|victim| self.members[*victim].database.go(Way::Pass));
            }
            Fault::Bucket(side) => {
                let time = self.time(true);
                self.members[first].storage.go(side.way());
                sleep(time).await;
                self.members[first].storage.go(Way::Pass);
            }
            Fault::Reset => self.members.iter().for_each(|member| member.database.reset()),
            Fault::Terminate => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                block_in_place(|| self.fleet.database.rows(sql));
            }
            Fault::Crash { is_long } => {
                let (time, cluster) = (self.time(is_long), self.fleet.database.cluster.clone());
                block_in_place(|| cluster.crash());
                sleep(time).await;
                block_in_place(|| cluster.start_again());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_goes_wrong_with_a_fleet_nothing_is_lost_doubled_or_done_wrong() {
    let Some(fleet) = Fleet::alone(&SETTINGS).await else { return };
    let (seed, began) = (chance::seed("FLEET_SEED"), Instant::now());
    let (trouble, is_over) = (Arc::<Trouble>::default(), Arc::<AtomicBool>::default());
    trouble.is_faulty.store(true, Ordering::SeqCst);
    let receiver = Receiver::start(&fleet.key.signing, moody(seed, is_over.clone())).await;
    let load = Load::on_a_fleet(&fleet.key, &receiver, trouble.clone()).await;
    load.serve_at(&fleet.url());
    let mut members = Vec::new();
    for role in [Role::Api, Role::Api, Role::Worker, Role::Worker, Role::Worker, Role::Worker] {
        members.push(fleet.launch(role).await);
    }
    fleet.is_open(&members[0]).await;
    fleet.is_open(&members[1]).await;
    let submitters: Vec<_> = (0..SUBMITTERS).map(|number| tokio::spawn(load.clone().submit(seed, number))).collect();
    let mut nemesis = Nemesis { fleet, members, random: Rng::with_seed(seed), counts: BTreeMap::new() };
    nemesis.interrupt().await;
    while began.elapsed() < chance::duration("FLEET_MINUTES", Duration::from_secs(40)) {
        nemesis.go_wrong().await;
        assert!(!submitters.iter().any(|submitter| submitter.is_finished()), "a submitter met what must not happen");
    }
    is_over.store(true, Ordering::SeqCst);
    load.stop();
    for submitter in submitters {
        submitter.await.unwrap();
    }
    let fleet = &nemesis.fleet;
    fleet.is_consistent().await;
    let client = fleet.key.client(&fleet.url());
    drain(&client).await;
    let proof = Proof::read(&client, &load, &receiver).await;
    proof.no_task_is_lost_or_duplicated();
    proof.every_task_ended_as_expected();
    proof.every_push_is_acknowledged_once();
    proof.every_push_is_trusted();
    report(&nemesis, &proof, &trouble);
    assert!(proof.interrupted() > 0, "no run was interrupted, so that this proves little");
}

/// Prints the figures. What must be none is none here, because it was checked.
fn report(nemesis: &Nemesis, proof: &Proof, trouble: &Trouble) {
    let faults: Vec<_> = nemesis.counts.iter().map(|(fault, count)| format!("{count} × {fault:?}")).collect();
    println!("{} faults: {}", nemesis.counts.values().sum::<usize>(), faults.join(", "));
    println!("accepted {}, repeated {}: {}", proof.accepted(), proof.repeated(), proof.figures());
    println!("lost 0, doubled 0, falsely done 0, orphans 0");
    let (callbacks, pushes) = proof.pushed();
    println!("callbacks {callbacks}, each acknowledged once, in {pushes} pushes");
    let (refusals, pictures) = (*trouble.refusals.lock().unwrap(), *trouble.pictures.lock().unwrap());
    println!("asked to wait {refusals} times; {pictures} pictures read meanwhile");
}
