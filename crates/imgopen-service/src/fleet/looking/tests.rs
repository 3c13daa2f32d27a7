//! Two processes on one database: every key has its turns, no task is lost, and each process keeps its limits.

use std::collections::BTreeMap;

use imgopen_engine::Registry;
use imgopen_store::{
    Claim, Clock, End, Ending, HandBack, Moment, NewTask, OwnerAbout, OwnerId, RunId, SqliteStore, State, Submitted,
    TaskId, TaskRow,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::app::Service;
use crate::dispatch::{Begin, Fetching, Pool};
use crate::settings::Settings;

/// How many runs of a key there are at once in a process.
const MOST: usize = 2;

/// How many runs fetch at once in a process.
const FETCHING: usize = 4;

/// The first is fetched for; the last can be run by the second process alone.
const NEEDS: [&str; 3] = ["enlarge_image", "text_to_image:m", "text_to_image+lora=ink:m"];

struct Process {
    number: usize,
    store: SqliteStore,
    dispatch: Dispatch,
    looking: Looking,
    owner: OwnerId,
    runs: Vec<(TaskRow, Slot, Option<Fetching>)>,
}

fn slot(process: usize, needs: &str) -> Option<Slot> {
    let begin = if needs == NEEDS[0] { Begin::Fetching } else { Begin::Working };
    let can = needs != NEEDS[2] || process == 1;
    can.then(|| Slot { pool: 0, key: KeyId(String::new()), needs: needs.to_owned(), begin })
}

impl Process {
    async fn new(number: usize, directory: &tempfile::TempDir, running_per_key: usize) -> Self {
        let (store, owner) = (SqliteStore::open(directory.path()).unwrap(), OwnerId::new().unwrap());
        store.register_owner(owner.clone(), None, OwnerAbout::default()).await.unwrap();
        let pool = Pool { engine: None, slots: 2, fetching: FETCHING, running_per_key };
        let dispatch = Dispatch::new(vec![pool], 1000).shared();
        // The fewest keys to a look.
        Self { number, store, dispatch, looking: Looking::new(1), owner, runs: Vec::new() }
    }

    async fn submit(&self, key: &str, needs: &str, id: &str) {
        let key = KeyId(key.to_owned());
        let task = NewTask::new(TaskId(id.to_owned()), key.clone(), "enlarge_image", "{}", Moment(1));
        let task = NewTask { needs: needs.to_owned(), ..task };
        let place = self.dispatch.place(&key).unwrap();
        assert_eq!(self.store.submit(task).await.unwrap(), Submitted::New);
        place.keep_shared(slot(self.number, needs).map(|slot| Slot { key, ..slot }).as_ref());
    }

    async fn look(&mut self) {
        let number = self.number;
        self.looking.look(&self.store, &self.dispatch, |needs| slot(number, needs)).await.unwrap();
    }

    /// Takes what is next until a claim finds a task, or nothing is hinted at.
    async fn claim(&mut self, begin: Begin) -> Option<TaskRow> {
        loop {
            let slot = self.dispatch.next(0, begin)?;
            let fetching = self.dispatch.fetching(&slot);
            drop(self.dispatch.starting(&slot));
            let (key, needs, owner) = (slot.key.clone(), slot.needs.clone(), self.owner.clone());
            let claim = Claim { key, needs, run: RunId::new().unwrap(), owner, now: Moment(2), only: None };
            match self.store.claim(claim).await.unwrap() {
                Some(task) => {
                    assert!(self.number == 1 || task.needs != NEEDS[2], "it cannot run that");
                    self.runs.push((task.clone(), slot, fetching));
                    return Some(task);
                }
                None => self.dispatch.dropped(&slot),
            }
        }
    }

    async fn end(&mut self, index: usize) {
        let (task, slot, fetching) = self.runs.remove(index);
        drop(fetching);
        let task = task.ended(Ending::Failed("no".to_owned()), None, Moment(3));
        let end = End { before: State::Running, task, assets: Vec::new(), callback: None, orphans_run: false };
        self.store.end(end).await.unwrap();
        self.dispatch.finished(&slot);
    }

    /// Hands a run back. After a fault that is the task's alone, it waits here; returns what is to be called once it has.
    async fn hand_back(&mut self, index: usize, rests: bool) -> Option<Slot> {
        let (task, slot, fetching) = self.runs.remove(index);
        drop(fetching);
        let (task, run) = (task.id, task.run.unwrap());
        let back = HandBack { task, run, is_fault: rests, deferred_for: Duration::ZERO, now: Moment(3) };
        self.store.hand_back(back).await.unwrap();
        if rests {
            self.dispatch.rests(&slot);
            return Some(slot);
        }
        self.dispatch.put_back(&slot);
        None
    }

    fn check(&self) {
        let mut running: BTreeMap<&KeyId, usize> = BTreeMap::new();
        for (_, slot, _) in &self.runs {
            *running.entry(&slot.key).or_default() += 1;
        }
        assert!(running.values().all(|count| *count <= MOST), "{running:?}");
        assert!(self.runs.iter().filter(|(_, _, fetching)| fetching.is_some()).count() <= FETCHING);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Submit(usize, u8, usize),
    Look(usize),
    Claim(usize, Begin),
    End(usize, Index),
    HandBack(usize, Index, bool),
    /// All that rests has done so.
    Wake,
}

fn event() -> impl Strategy<Value = Event> {
    let process = || 0..2usize;
    prop_oneof![
        5 => (process(), 0..12u8, 0..NEEDS.len()).prop_map(|(process, key, needs)| Event::Submit(process, key, needs)),
        3 => process().prop_map(Event::Look),
        5 => (process(), prop::sample::select(&Begin::ALL)).prop_map(|(process, begin)| Event::Claim(process, begin)),
        2 => (process(), any::<Index>()).prop_map(|(process, run)| Event::End(process, run)),
        2 => (process(), any::<Index>(), any::<bool>()).prop_map(|(process, run, rests)| Event::HandBack(process, run, rests)),
        1 => Just(Event::Wake),
    ]
}

async fn play(events: Vec<Event>) {
    let directory = tempfile::tempdir().unwrap();
    let mut processes = [Process::new(0, &directory, MOST).await, Process::new(1, &directory, MOST).await];
    let (mut accepted, mut resting) = (0, Vec::new());
    for event in events {
        match event {
            Event::Submit(process, key, needs) => {
                processes[process].submit(&format!("k{key}"), NEEDS[needs], &format!("t{accepted}")).await;
                accepted += 1;
            }
            Event::Look(process) => processes[process].look().await,
            Event::Claim(process, begin) => drop(processes[process].claim(begin).await),
            Event::End(process, run) if !processes[process].runs.is_empty() => {
                let run = run.index(processes[process].runs.len());
                processes[process].end(run).await;
            }
            Event::HandBack(process, run, rests) if !processes[process].runs.is_empty() => {
                let run = run.index(processes[process].runs.len());
                resting.extend(processes[process].hand_back(run, rests).await.map(|slot| (process, slot)));
            }
            Event::Wake => resting.drain(..).for_each(|(process, slot)| processes[process].dispatch.rested(slot)),
            _ => {}
        }
        processes.iter().for_each(Process::check);
    }
    resting.drain(..).for_each(|(process, slot)| processes[process].dispatch.rested(slot));
    // All that was accepted is found and ends.
    let mut looks = 0;
    while processes[0].store.queue_length(1).await.unwrap() > 0
        || processes.iter().any(|process| !process.runs.is_empty())
    {
        for process in &mut processes {
            process.look().await;
            for begin in Begin::ALL {
                while process.claim(begin).await.is_some() {
                    process.check();
                }
            }
            while !process.runs.is_empty() {
                process.end(0).await;
            }
        }
        looks += 1;
        assert!(looks <= 2 * accepted + 2, "a task is not found");
    }
    assert_eq!(processes.map(|process| process.dispatch.counts().1), [0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_task_is_lost_and_no_limit_exceeded(events in prop::collection::vec(event(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(events));
    }
}

#[tokio::test]
async fn all_keys_are_served_within_two_turns() {
    let directory = tempfile::tempdir().unwrap();
    let mut processes = [Process::new(0, &directory, 100).await, Process::new(1, &directory, 100).await];
    let (keys, tasks) = (30, 6);
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for key in (0..keys).map(|number| format!("k{number:02}")) {
        // The first has far more than the others.
        let count = if key == "k00" { 10 * tasks } else { tasks };
        for number in 0..count {
            let task =
                NewTask::new(TaskId(format!("{key}-{number}")), KeyId(key.clone()), "text_to_image", "{}", Moment(1));
            processes[0].store.submit(NewTask { needs: NEEDS[1].to_owned(), ..task }).await.unwrap();
        }
        left.insert(key, count);
    }
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    let total: usize = left.values().sum();
    for number in 0..total {
        let process = &mut processes[number % 2];
        let mut task = process.claim(Begin::Working).await;
        for _ in 0..=keys {
            if task.is_some() {
                break;
            }
            process.look().await;
            task = process.claim(Begin::Working).await;
        }
        let key = task.expect("tasks wait").key.0;
        process.end(0).await;
        *left.get_mut(&key).unwrap() -= 1;
        *served.entry(key).or_default() += 1;
        // Each process may be two turns ahead of itself.
        let waiting = left.iter().filter(|(_, count)| **count > 0);
        let least = waiting.map(|(key, _)| served.get(key).copied().unwrap_or(0)).min();
        let most = served.iter().filter(|(key, _)| left.contains_key(*key)).map(|(_, count)| *count);
        let most = most.max().unwrap_or(0);
        assert!(least.is_none_or(|least| most <= least + 4), "{served:?}");
    }
}

/// A task that met a fault of its own is not taken again at once, although its row is queued.
#[tokio::test]
async fn a_task_that_rests_is_not_hinted_at() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::new(0, &directory, MOST).await;
    process.submit("a", NEEDS[1], "first").await;
    assert!(process.claim(Begin::Working).await.is_some());
    let slot = process.hand_back(0, true).await.unwrap();
    for _ in 0..3 {
        process.look().await;
        assert!(process.claim(Begin::Working).await.is_none());
    }
    // Another one of the key goes first.
    process.submit("a", NEEDS[1], "second").await;
    assert_eq!(process.claim(Begin::Working).await.unwrap().id.as_str(), "second");
    process.look().await;
    assert!(process.claim(Begin::Working).await.is_none());
    process.dispatch.rested(slot);
    assert_eq!(process.claim(Begin::Working).await.unwrap().id.as_str(), "first");
}

#[test]
fn needs_without_tasks_are_no_longer_known_in_part() {
    let pool = Pool { engine: None, slots: 2, fetching: FETCHING, running_per_key: MOST };
    let (dispatch, mut looking) = (Dispatch::new(vec![pool], 1000).shared(), Looking::new(1));
    let slot = slot(0, NEEDS[1]).unwrap();
    let look = dispatch.begin_look();
    looking.found(&dispatch, &look, slot.clone(), vec![(KeyId("a".to_owned()), 1)], 1);
    assert!(!dispatch.hint_heard(&slot));
    assert!(dispatch.next(0, slot.begin).is_some());
    let look = dispatch.begin_look();
    looking.forget_others(&dispatch, &look, &[]);
    assert!(dispatch.hint_heard(&slot));
}

#[test]
fn a_long_queue_is_counted_less_often() {
    let pause = |took| pause_of(Duration::from_millis(took)).as_millis();
    assert_eq!([0, 20, 100, 2000].map(pause), [1000, 1000, 5000, 100_000]);
}

#[tokio::test]
async fn the_queue_is_counted_and_what_can_run_here_is_hinted_at() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { data_dir: directory.path().to_owned(), sandbox: true, ..Settings::default() };
    let engines = Registry::new(vec![Arc::new(imgopen_tools::Sandbox::new())]);
    let context = Service::open(settings, Clock::system(), engines).await.unwrap().context();
    drop(context.dispatch.clone().shared());
    let submit = async |id: &str, needs: &str| {
        let (id, key) = (TaskId(id.to_owned()), KeyId("a".to_owned()));
        let task = NewTask::new(id, key, "text_to_image", "{}", Moment(1));
        context.store.submit(NewTask { needs: needs.to_owned(), ..task }).await.unwrap();
    };
    let mut looking = Looking::new(LANES);
    assert!(!look(&context, &mut looking).await.unwrap());
    // Of other operations, processes that have more, and newer ones.
    for needs in ["develop_film", "text_to_image+grade=neural", "text_to_image+lora=nobody", "text_to_image+swift"] {
        submit(needs, needs).await;
    }
    assert!(!look(&context, &mut looking).await.unwrap());
    for needs in ["text_to_image", "sandbox/text_to_image+lora=sandbox_lora:m"] {
        submit(needs, needs).await;
    }
    looking.count_at = None;
    assert!(look(&context, &mut looking).await.unwrap());
    assert_eq!(context.dispatch.counts().0, 6);
    let taken = context.dispatch.pools().iter().enumerate().flat_map(|(pool, _)| {
        Begin::ALL.into_iter().flat_map(move |begin| std::iter::from_fn(move || Some((pool, begin))).take(3))
    });
    let mut needs: Vec<_> = taken.filter_map(|(pool, begin)| context.dispatch.next(pool, begin)).collect();
    needs.sort_by(|one, other| one.needs.cmp(&other.needs));
    let needs: Vec<_> = needs.iter().map(|slot| slot.needs.as_str()).collect();
    assert_eq!(needs, ["sandbox/text_to_image+lora=sandbox_lora:m", "text_to_image"]);
}
