//! Random sequences of events in two processes on one database, checked against a model.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::{AssetToken, COUNTED};

/// How many times a process may die while a task is its only run.
const ATTEMPTS: u32 = 2;

/// An event. The flag is the process in which it happens.
#[derive(Debug, Clone)]
enum Event {
    Submit(bool, u8),
    Claim(bool, u8),
    /// A process looks for what waits, from a key on.
    Look(bool, u8),
    /// A claim whose answer is lost.
    Lose(bool, u8),
    /// A run, current or stale, ends.
    End(Index, bool),
    /// A run, current or stale, is handed back, because of a fault or not.
    HandBack(Index, bool),
    Cancel(bool, Index),
    /// The processes that live give a sign of life.
    Renew,
    /// The process is silent until its lease has ended.
    Pause(bool),
    /// The process is killed, and another takes its place. Its runs stay as they are until its lease ends, which it may have done.
    Kill(bool, bool),
    /// A process recovers the runs of owners whose lease has ended.
    Recover(bool),
    /// A process with a lock recovers the runs of all others.
    TakeOver(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let process = any::<bool>;
    prop_oneof![
        4 => (process(), 0..3u8).prop_map(|(process, key)| Event::Submit(process, key)),
        5 => (process(), 0..3u8).prop_map(|(process, key)| Event::Claim(process, key)),
        3 => (process(), 0..3u8).prop_map(|(process, key)| Event::Look(process, key)),
        1 => (process(), 0..3u8).prop_map(|(process, key)| Event::Lose(process, key)),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(run, succeeds)| Event::End(run, succeeds)),
        2 => (any::<Index>(), any::<bool>()).prop_map(|(run, is_fault)| Event::HandBack(run, is_fault)),
        2 => (process(), any::<Index>()).prop_map(|(process, task)| Event::Cancel(process, task)),
        2 => Just(Event::Renew),
        1 => process().prop_map(Event::Pause),
        1 => (process(), any::<bool>()).prop_map(|(process, has_ended)| Event::Kill(process, has_ended)),
        2 => process().prop_map(Event::Recover),
        1 => process().prop_map(Event::TakeOver),
    ]
}

/// The expected state of a task.
#[derive(Debug, Clone)]
struct Expected {
    key: KeyId,
    state: State,
    attempt: i64,
    run: Option<RunId>,
    deferrals: i64,
    crashes_alone: i64,
}

struct Process {
    store: Arc<dyn Store>,
    owner: OwnerId,
}

struct World<D> {
    database: D,
    processes: Vec<Process>,
    /// Whether the leases of owners that were not declared dead protect them.
    leases: HashMap<OwnerId, bool>,
    tasks: HashMap<TaskId, Expected>,
    order: Vec<TaskId>,
    /// Every run that ever began.
    runs: Vec<TaskRow>,
    /// Those of them that nobody knows of.
    lost: HashSet<RunId>,
}

impl<D: Database> World<D> {
    async fn new(database: D) -> Self {
        let (processes, leases, tasks) = (Vec::new(), HashMap::new(), HashMap::new());
        let (order, runs, lost) = (Vec::new(), Vec::new(), HashSet::new());
        let mut world = Self { database, processes, leases, tasks, order, runs, lost };
        for _ in 0..2 {
            let process = world.start().await;
            world.processes.push(process);
        }
        world
    }

    async fn start(&mut self) -> Process {
        let (store, owner) = (self.database.open().await, OwnerId::new().unwrap());
        self.leases.insert(owner.clone(), true);
        store.register_owner(owner.clone(), Some(HOUR), OwnerAbout::default()).await.unwrap();
        Process { store, owner }
    }

    fn process(&self, which: bool) -> &Process {
        &self.processes[usize::from(which)]
    }

    fn change(&mut self, id: &TaskId, next: State) -> &mut Expected {
        let expected = self.tasks.get_mut(id).unwrap();
        assert!(expected.state.may_become(next), "{} to {next}", expected.state);
        expected.state = next;
        expected
    }

    /// Whether a run is the one that its task is in.
    fn is_current(&self, run: &TaskRow) -> bool {
        let expected = &self.tasks[&run.id];
        expected.state == State::Running && expected.run == run.run
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Submit(process, number) => self.submit(process, key(&format!("k{number}"))).await,
            Event::Claim(process, number) => drop(self.claim(process, key(&format!("k{number}"))).await),
            Event::Look(process, number) => self.look(process, &format!("k{number}")).await,
            Event::Lose(process, number) => {
                let run = self.claim(process, key(&format!("k{number}"))).await;
                self.lost.extend(run);
            }
            Event::End(run, succeeds) if self.knows(run) => self.end(run.index(self.runs.len()), succeeds).await,
            Event::HandBack(run, is_fault) if self.knows(run) => {
                self.hand_back(run.index(self.runs.len()), is_fault).await;
            }
            Event::Cancel(process, task) if !self.order.is_empty() => {
                self.cancel(process, task.index(self.order.len())).await;
            }
            Event::Renew => {
                for process in [false, true] {
                    self.beat(process, HOUR).await;
                }
            }
            Event::Pause(process) => self.beat(process, Duration::ZERO).await,
            Event::Kill(process, has_ended) => {
                if has_ended {
                    self.beat(process, Duration::ZERO).await;
                }
                self.processes[usize::from(process)] = self.start().await;
            }
            Event::Recover(process) => {
                let me = self.process(process).owner.clone();
                if self.leases.contains_key(&me) {
                    self.leases.retain(|owner, is_protected| *is_protected || *owner == me);
                    self.recover(process, LEASES).await;
                }
            }
            Event::TakeOver(process) => {
                let me = self.process(process).owner.clone();
                if self.leases.contains_key(&me) {
                    self.leases.retain(|owner, _| *owner == me);
                    self.recover(process, Proof::SoleOwner).await;
                }
            }
            _ => {}
        }
    }

    /// Whether somebody knows of a run that this index may choose.
    fn knows(&self, run: Index) -> bool {
        !self.runs.is_empty()
            && self.runs[run.index(self.runs.len())].run.as_ref().is_some_and(|run| !self.lost.contains(run))
    }

    async fn submit(&mut self, process: bool, key: KeyId) {
        let new = NewTask { key: key.clone(), ..task("", &format!("t{}", self.order.len())) };
        let id = new.id.clone();
        assert_eq!(self.process(process).store.submit(new).await.unwrap(), crate::Submitted::New);
        let expected = Expected { key, state: State::Queued, attempt: 0, run: None, deferrals: 0, crashes_alone: 0 };
        self.tasks.insert(id.clone(), expected);
        self.order.push(id);
    }

    /// Claims a task of a key. Returns the run.
    async fn claim(&mut self, process: bool, key: KeyId) -> Option<RunId> {
        let Process { store, owner } = self.process(process);
        let (owner, run) = (owner.clone(), RunId::new().unwrap());
        let claim = Claim {
            key: key.clone(),
            needs: NEEDS.to_owned(),
            run: run.clone(),
            owner: owner.clone(),
            now: NOW,
            only: None,
        };
        let claimed = store.claim(claim).await.unwrap();
        let first = self.first(&key).filter(|_| self.leases.contains_key(&owner));
        self.claimed(claimed, first, run)
    }

    /// Lists what waits, from a key on, and compares it.
    async fn look(&self, process: bool, after: &str) {
        let lanes = self.process(process).store.waiting(vec![asked(NEEDS, Some(after), 2)]).await.unwrap();
        let found: Vec<_> = lanes.into_iter().map(|lane| (lane.key, lane.count)).collect();
        let waits =
            |key: &KeyId| self.tasks.values().filter(|task| task.state == State::Queued && task.key == *key).count();
        let mut keys: Vec<_> = (0..3).map(|number| key(&format!("k{number}"))).collect();
        keys.sort_by_key(|key| (key.as_str() <= after, key.clone()));
        let expected = keys.into_iter().map(|key| (waits(&key), key)).filter(|(count, _)| *count > 0).take(2);
        assert_eq!(found, expected.map(|(count, key)| (key, count.min(COUNTED))).collect::<Vec<_>>());
    }

    /// The oldest of a key's queued tasks.
    fn first(&self, key: &KeyId) -> Option<TaskId> {
        let waits = |id: &&TaskId| self.tasks[*id].key == *key && self.tasks[*id].state == State::Queued;
        // `min_by_key` returns the first of several, which is the oldest.
        let queued = self.order.iter().enumerate().filter(|(_, id)| waits(id));
        queued.min_by_key(|(index, id)| *index as i64 + 64 * self.tasks[*id].deferrals).map(|(_, id)| id.clone())
    }

    /// Compares a claim with what was expected. Returns the run if there is one.
    fn claimed(&mut self, claimed: Option<TaskRow>, expected: Option<TaskId>, run: RunId) -> Option<RunId> {
        assert_eq!(claimed.as_ref().map(|row| &row.id), expected.as_ref());
        let row = claimed?;
        let expected = self.change(&row.id, State::Running);
        expected.attempt += 1;
        expected.run = Some(run.clone());
        self.runs.push(row);
        Some(run)
    }

    async fn end(&mut self, index: usize, succeeds: bool) {
        let run = self.runs[index].clone();
        let token = format!("{}-{index}.png", run.id);
        let end = if succeeds { succeeded(&run, &token) } else { failed(&run) };
        let (token, state) = (AssetToken(token), end.task.state);
        let is_current = self.is_current(&run);
        let store = self.process(index.is_multiple_of(2)).store.clone();
        let was_there = store.asset(token.clone()).await.unwrap().is_some();
        assert_eq!(store.end(end).await.unwrap(), is_current);
        if is_current {
            self.change(&run.id, state);
        }
        let is_there = store.asset(token).await.unwrap().is_some();
        assert_eq!(is_there, was_there || (is_current && succeeds));
    }

    async fn hand_back(&mut self, index: usize, is_fault: bool) {
        let run = self.runs[index].clone();
        let is_current = self.is_current(&run);
        let store = &self.process(index % 2 == 1).store;
        assert_eq!(store.hand_back(back(&run, is_fault)).await.unwrap(), is_current);
        if is_current {
            let expected = self.change(&run.id, State::Queued);
            expected.attempt -= 1;
            expected.run = None;
            expected.deferrals += i64::from(is_fault);
        }
    }

    async fn cancel(&mut self, process: bool, index: usize) {
        let id = self.order[index].clone();
        let store = self.process(process).store.clone();
        let seen = store.task(id.clone()).await.unwrap().unwrap();
        let can_be = self.tasks[&id].state.may_become(State::Cancelled);
        assert_eq!(store.end(cancelled(&seen)).await.unwrap(), can_be);
        if can_be {
            self.change(&id, State::Cancelled);
        }
    }

    /// A sign of life of a process, which knows of its runs but for those whose claim was not answered.
    async fn beat(&mut self, process: bool, lease: Duration) {
        let Process { store, owner } = self.process(process);
        let (store, owner) = (store.clone(), owner.clone());
        let own: Vec<_> = self.runs.iter().filter(|run| run.owner.as_ref() == Some(&owner)).cloned().collect();
        let lives = self.leases.contains_key(&owner);
        let is_lost = |run: &&TaskRow| run.run.as_ref().is_some_and(|run| self.lost.contains(run));
        let (strays, known): (Vec<_>, Vec<_>) = own.iter().partition(is_lost);
        let runs = known.iter().map(|run| RunProgress::new(run.run.clone().unwrap())).collect();
        let heartbeat = Heartbeat { stray_age: Duration::ZERO, ..Heartbeat::new(owner.clone(), lease, runs) };
        let beat = store.heartbeat(heartbeat).await.unwrap();
        let current = |runs: &[&TaskRow]| {
            let of = runs.iter().filter(|run| lives && self.is_current(run));
            of.filter_map(|run| run.run.clone()).collect::<HashSet<_>>()
        };
        let strays: Vec<_> = strays.into_iter().filter(|run| lives && self.is_current(run)).cloned().collect();
        assert_eq!((beat.alive, beat.strays), (lives, strays.len()));
        assert_eq!(beat.runs.into_iter().collect::<HashSet<_>>(), current(&known));
        for stray in strays {
            let expected = self.change(&stray.id, State::Queued);
            expected.attempt -= 1;
            expected.run = None;
        }
        if let Some(is_protected) = self.leases.get_mut(&owner) {
            *is_protected = !lease.is_zero();
        }
    }

    async fn recover(&mut self, process: bool, proof: Proof) {
        let Process { store, owner } = self.process(process);
        let (store, me) = (store.clone(), owner.clone());
        let owners: HashMap<_, _> = self.runs.iter().map(|run| (run.run.clone(), run.owner.clone().unwrap())).collect();
        let is_lost = |id: &&TaskId| {
            let expected = &self.tasks[*id];
            expected.state == State::Running && !self.leases.contains_key(&owners[&expected.run])
        };
        let lost: Vec<_> = self.order.iter().filter(is_lost).cloned().collect();
        let owner = |id: &TaskId| &owners[&self.tasks[id].run];
        let was_alone = |id: &TaskId| lost.iter().filter(|other| owner(other) == owner(id)).count() == 1;
        let alone: Vec<_> = lost.iter().filter(|id| was_alone(id)).cloned().collect();
        let has_used_all = |id: &TaskId| self.tasks[id].crashes_alone + 1 >= i64::from(ATTEMPTS);
        let (exhausted, requeued): (Vec<_>, Vec<_>) =
            lost.iter().cloned().partition(|id| alone.contains(id) && has_used_all(id));
        let recovery = Recovery { me, proof, attempts: ATTEMPTS.into(), now: NOW };
        let recovered = store.recover(recovery).await.unwrap();
        let ids = |rows: &[TaskRow]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
        assert_eq!((ids(&recovered.requeued), ids(&recovered.exhausted)), (requeued.clone(), exhausted.clone()));
        for id in requeued {
            let expected = self.change(&id, State::Queued);
            expected.run = None;
            expected.crashes_alone += i64::from(alone.contains(&id));
        }
        for row in recovered.exhausted {
            assert!(store.end(failed(&row)).await.unwrap());
            self.change(&row.id, State::Failed);
        }
    }

    async fn check(&self) {
        let store = &self.processes[0].store;
        let mut waiting: HashMap<KeyId, usize> = HashMap::new();
        let orphaned: Vec<_> =
            store.orphaned_runs(None, 1000).await.unwrap().into_iter().map(|orphan| orphan.run).collect();
        for (id, expected) in &self.tasks {
            let row = store.task(id.clone()).await.unwrap().unwrap();
            let found = (row.state, row.attempt, row.run.clone());
            assert_eq!(found, (expected.state, expected.attempt, expected.run.clone()), "{id}");
            assert_eq!((row.deferrals, row.crashes_alone), (expected.deferrals, expected.crashes_alone), "{id}");
            assert_eq!(row.deferred_at, (row.deferrals > 0).then_some(NOW), "{id}");
            assert_eq!(row.finished_at.is_some(), row.state.is_final(), "{id}");
            assert_eq!(callbacks_of(&**store, id.as_str()).await.len(), usize::from(row.state.is_final()), "{id}");
            if row.state == State::Queued {
                *waiting.entry(expected.key.clone()).or_default() += 1;
            }
        }
        // Every run that began and did not write its own end may have left files.
        for run in self.runs.iter().filter(|run| self.tasks[&run.id].run != run.run) {
            assert!(orphaned.contains(run.run.as_ref().unwrap()), "{run:?}");
        }
        let lanes = store.queued().await.unwrap().into_iter().map(|lane| (lane.key, lane.count)).collect();
        assert_eq!(waiting, lanes);
    }
}

/// A task ends at most once, with one callback; its state changes only as allowed; a stale run changes nothing,
/// whichever process writes.
pub fn a_task_ends_once_in_any_sequence_of_events<D: Database, F: Future<Output = Option<D>>>(empty: impl Fn() -> F) {
    let config = Config { failure_persistence: None, ..Config::with_cases(24) };
    let events = prop::collection::vec(event(), 1..60);
    let tested = TestRunner::new(config).run(&events, |events| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Some(database) = empty().await else { return };
            let mut world = World::new(database).await;
            for event in events {
                world.apply(event).await;
            }
            world.check().await;
        });
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}
