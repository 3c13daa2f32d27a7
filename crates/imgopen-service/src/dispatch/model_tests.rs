//! Any sequence of submits, slots, ends, hand-backs, cancels and restarts keeps the counts equal to the rows of a real store.

use imgopen_store::{
    Claim, End, Ending, HandBack, Moment, NewTask, OwnerId, Proof, Recovery, RunId, SqliteStore, State, Store,
    Submitted, TaskId, TaskRow,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const NEEDS: [&str; 3] = ["enlarge_image", "text_to_image:m", "submit_training"];

#[derive(Debug, Clone)]
enum Event {
    Submit(u8, usize),
    /// A worker of a pool claims a task whose run begins in that way.
    Claim(usize, Begin),
    /// A run has its pictures and works.
    Work(Index),
    /// A run ends.
    End(Index),
    HandBack(Index),
    Cancel(Index),
    /// The process is killed and starts again.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3u8, 0..NEEDS.len()).prop_map(|(key, needs)| Event::Submit(key, needs)),
        4 => (0..2usize, prop::sample::select(&Begin::ALL)).prop_map(|(pool, begin)| Event::Claim(pool, begin)),
        1 => any::<Index>().prop_map(Event::Work),
        2 => any::<Index>().prop_map(Event::End),
        1 => any::<Index>().prop_map(Event::HandBack),
        2 => any::<Index>().prop_map(Event::Cancel),
        1 => Just(Event::Restart),
    ]
}

/// A process with its store. Trainings have a pool of their own.
struct Process {
    store: SqliteStore,
    dispatch: Dispatch,
    owner: OwnerId,
    tasks: Vec<TaskId>,
    /// The runs in progress, with the places of those that fetch.
    runs: Vec<(TaskRow, Slot, Option<Fetching>)>,
}

fn dispatch() -> Dispatch {
    let own = Pool { engine: Some("trainer".to_owned()), slots: 1, fetching: 2, running_per_key: 1 };
    Dispatch::new(vec![Pool { engine: None, slots: 8, fetching: 4, running_per_key: 2 }, own], 1000)
}

fn slot(key: KeyId, needs: &str) -> Slot {
    let begin = if needs == "enlarge_image" { Begin::Fetching } else { Begin::Working };
    Slot { pool: usize::from(needs == "submit_training"), key, needs: needs.to_owned(), begin }
}

impl Process {
    async fn apply(&mut self, event: Event) {
        match event {
            Event::Submit(key, needs) => self.submit(KeyId(format!("k{key}")), NEEDS[needs]).await,
            Event::Claim(pool, begin) => self.claim(pool, begin).await,
            Event::Work(index) if !self.runs.is_empty() => {
                let index = index.index(self.runs.len());
                self.runs[index].2 = None;
            }
            Event::End(index) if !self.runs.is_empty() => self.end(index.index(self.runs.len())).await,
            Event::HandBack(index) if !self.runs.is_empty() => self.hand_back(index.index(self.runs.len())).await,
            Event::Cancel(index) if !self.tasks.is_empty() => self.cancel(index.index(self.tasks.len())).await,
            Event::Restart => self.restart().await,
            _ => {}
        }
    }

    async fn submit(&mut self, key: KeyId, needs: &str) {
        let id = TaskId(format!("t{}", self.tasks.len()));
        let task =
            NewTask { needs: needs.to_owned(), ..NewTask::new(id, key.clone(), "enlarge_image", "{}", Moment(1)) };
        let place = self.dispatch.place(&key).unwrap();
        self.tasks.push(task.id.clone());
        assert_eq!(self.store.submit(task).await.unwrap(), Submitted::New);
        place.keep(&slot(key, needs));
    }

    async fn claim(&mut self, pool: usize, begin: Begin) {
        let Some(slot) = self.dispatch.next(pool, begin) else { return };
        let (key, needs, owner) = (slot.key.clone(), slot.needs.clone(), self.owner.clone());
        let claim = Claim { key, needs, run: RunId::new().unwrap(), owner, now: Moment(2), only: None };
        let task = self.store.claim(claim).await.unwrap().expect("the counts promise a task");
        let fetching = self.dispatch.fetching(&slot);
        self.runs.push((task, slot, fetching));
    }

    /// Ends a run, which a cancel may have ended before.
    async fn end(&mut self, index: usize) {
        let (task, slot, _fetching) = self.runs.remove(index);
        let task = task.ended(Ending::Failed("no".to_owned()), None, Moment(3));
        let end = End { before: State::Running, task, assets: Vec::new(), callback: None, orphans_run: false };
        self.store.end(end).await.unwrap();
        self.dispatch.finished(&slot);
    }

    /// Only a service that stops hands runs back; the counts are made again by the next start.
    async fn hand_back(&mut self, index: usize) {
        let (task, slot, _fetching) = self.runs.remove(index);
        let (task, run, is_fault) = (task.id, task.run.unwrap(), index % 2 == 1);
        let back = HandBack { task, run, is_fault, deferred_for: Duration::ZERO, now: Moment(3) };
        match self.store.hand_back(back).await.unwrap() {
            true => self.dispatch.put_back(&slot),
            false => self.dispatch.finished(&slot),
        }
    }

    async fn cancel(&mut self, index: usize) {
        let row = self.store.task(self.tasks[index].clone()).await.unwrap().unwrap();
        if row.state.is_final() {
            return;
        }
        let (before, key, needs) = (row.state, row.key.clone(), row.needs.clone());
        let task = row.ended(Ending::Cancelled, None, Moment(4));
        let end = End { before, task, assets: Vec::new(), callback: None, orphans_run: true };
        assert!(self.store.end(end).await.unwrap());
        if before == State::Queued {
            self.dispatch.left(&key, &needs);
        }
    }

    async fn restart(&mut self) {
        self.owner = OwnerId::new().unwrap();
        self.store.register_owner(self.owner.clone(), None).await.unwrap();
        let recovery =
            Recovery { me: self.owner.clone(), proof: Proof::SoleOwner, attempts: 1000.into(), now: Moment(5) };
        assert!(self.store.recover(recovery).await.unwrap().exhausted.is_empty());
        self.runs.clear();
        self.dispatch = dispatch();
        for lane in self.store.queued().await.unwrap() {
            self.dispatch.refill(slot(lane.key, &lane.needs), lane.count);
        }
    }

    async fn check(&self) {
        let queued: usize = self.store.queued().await.unwrap().iter().map(|lane| lane.count).sum();
        assert_eq!(self.dispatch.counts(), (queued, self.runs.len()));
        let fetching = |pool: usize| {
            let places = self.runs.iter().filter(|(_, slot, place)| slot.pool == pool && place.is_some());
            places.count()
        };
        let counts = self.dispatch.lock();
        let counted: Vec<_> = counts.pools.iter().map(|lanes| lanes.fetching).collect();
        assert_eq!(counted, [fetching(0), fetching(1)]);
        for lanes in &counts.pools {
            assert_eq!(lanes.by_key.values().map(|lane| lane.fetching).sum::<usize>(), lanes.fetching);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_counts_are_those_of_the_rows(events in prop::collection::vec(event(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(directory.path()).unwrap();
            let owner = OwnerId::new().unwrap();
            store.register_owner(owner.clone(), None).await.unwrap();
            let mut process = Process { store, dispatch: dispatch(), owner, tasks: Vec::new(), runs: Vec::new() };
            for event in events {
                process.apply(event).await;
                process.check().await;
            }
        });
    }
}
