//! Any sequence of submits, slots, ends, hand-backs, cancels and restarts keeps the counts equal to the rows of a real store, and
//! no slot is held for a back end that is busy.

use imgopen_store::{
    Claim, End, Ending, HandBack, Moment, NewTask, OwnerAbout, OwnerId, Proof, Recovery, RunId, SqliteStore, State,
    Store, Submitted, TaskId, TaskRow,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// The last three are of a group of two back ends, each with one model.
const NEEDS: [&str; 5] = ["enlarge_image", "text_to_image:m", "controlnet:a", "image_to_image:a", "controlnet:b"];

/// How many runs of a key there are at once in a pool.
const MOST: usize = 2;

#[derive(Debug, Clone)]
enum Event {
    Submit(u8, usize),
    /// A worker of a pool claims a task whose run begins in that way.
    Claim(usize, Begin),
    /// A run has its pictures and takes a slot if its engine has room.
    Work(Index),
    /// A run that holds a slot begins in its engine.
    Begin(Index),
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
        2 => any::<Index>().prop_map(Event::Work),
        2 => any::<Index>().prop_map(Event::Begin),
        2 => any::<Index>().prop_map(Event::End),
        1 => any::<Index>().prop_map(Event::HandBack),
        2 => any::<Index>().prop_map(Event::Cancel),
        1 => Just(Event::Restart),
    ]
}

/// A process with its store. Back ends have a pool of their own.
struct Process {
    store: SqliteStore,
    dispatch: Dispatch,
    owner: OwnerId,
    tasks: Vec<TaskId>,
    runs: Vec<Run>,
    jobs: Jobs,
}

/// A run in progress.
struct Run {
    task: TaskRow,
    slot: Slot,
    /// The place of one that fetches.
    fetching: Option<Fetching>,
    starting: Option<Starting>,
    /// Counts it as a job of its back end.
    has_begun: bool,
}

/// How many jobs each back end has, by its model.
#[derive(Clone, Default)]
struct Jobs(Arc<Mutex<HashMap<String, usize>>>);

impl Jobs {
    /// Each takes one.
    fn free(&self, needs: &str) -> usize {
        1 - self.0.lock().unwrap().get(model(needs)).copied().unwrap_or(0)
    }

    fn add(&self, needs: &str) {
        *self.0.lock().unwrap().entry(model(needs).to_owned()).or_default() += 1;
    }

    fn remove(&self, needs: &str) {
        *self.0.lock().unwrap().get_mut(model(needs)).unwrap() -= 1;
    }
}

fn model(needs: &str) -> &str {
    needs.split_once(':').unwrap().1
}

fn dispatch(jobs: &Jobs) -> Dispatch {
    let own = Pool { engine: Some("comfyui".to_owned()), slots: 2, fetching: 4, running_per_key: MOST };
    let jobs = jobs.clone();
    let room = Room::new(move |engine, needs| {
        assert_eq!(engine, "comfyui");
        Some(jobs.free(needs))
    });
    Dispatch::new(vec![Pool { engine: None, slots: 8, ..own.clone() }, own], 1000).with_room(room)
}

fn slot(key: KeyId, needs: &str) -> Slot {
    let fetches = ["enlarge_image", "image_to_image:a"].contains(&needs);
    let begin = if fetches { Begin::Fetching } else { Begin::Working };
    let pool = usize::from(NEEDS[2..].contains(&needs));
    Slot { pool, key, needs: needs.to_owned(), begin }
}

impl Process {
    async fn apply(&mut self, event: Event) {
        match event {
            Event::Submit(key, needs) => self.submit(KeyId(format!("k{key}")), NEEDS[needs]).await,
            Event::Claim(pool, begin) => self.claim(pool, begin).await,
            Event::Work(index) if !self.runs.is_empty() => self.work(index.index(self.runs.len())),
            Event::Begin(index) if !self.runs.is_empty() => self.begin(index.index(self.runs.len())),
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
        let before = self.dispatch.lock().pools[pool].taken;
        let Some(slot) = self.dispatch.next(pool, begin) else { return self.check_none_could_begin(pool, begin).await };
        if pool == 1 && self.jobs.free(&slot.needs) <= before.starting {
            assert!(begin == Begin::Fetching && before.fetching < 2, "{slot:?} begins without room");
        }
        let (key, needs, owner) = (slot.key.clone(), slot.needs.clone(), self.owner.clone());
        let claim = Claim { key, needs, run: RunId::new().unwrap(), owner, now: Moment(2), only: None };
        let task = self.store.claim(claim).await.unwrap().expect("the counts promise a task");
        let (fetching, starting) = (self.dispatch.fetching(&slot), self.dispatch.starting(&slot));
        self.runs.push(Run { task, slot, fetching, starting, has_begun: false });
    }

    /// Nothing that waits for a slot could begin: neither a busy back end nor a key that has its runs keeps others from it.
    async fn check_none_could_begin(&self, pool: usize, begin: Begin) {
        let starting = self.runs.iter().filter(|run| run.slot.pool == pool && run.starting.is_some()).count();
        for lane in self.store.queued().await.unwrap() {
            let slot = slot(lane.key, &lane.needs);
            let running = self.runs.iter().filter(|run| run.slot.pool == pool && run.slot.key == slot.key).count();
            let has_room = slot.pool == 0 || self.jobs.free(&slot.needs) > starting;
            let could = (slot.pool, slot.begin) == (pool, begin) && running < MOST && has_room;
            assert!(!could || begin == Begin::Fetching, "{slot:?} could begin");
        }
    }

    fn work(&mut self, index: usize) {
        let run = &mut self.runs[index];
        if run.fetching.is_some()
            && let Some(starting) = self.dispatch.try_start(run.slot.pool, &run.slot.needs)
        {
            (run.fetching, run.starting) = (None, Some(starting));
        }
    }

    fn begin(&mut self, index: usize) {
        let run = &mut self.runs[index];
        if run.starting.is_some() {
            run.has_begun = run.slot.pool == 1;
            if run.has_begun {
                self.jobs.add(&run.slot.needs);
            }
            run.starting = None;
        }
    }

    /// Removes a run, whose back end has one job less.
    fn over(&mut self, index: usize) -> Run {
        let run = self.runs.remove(index);
        if run.has_begun {
            self.jobs.remove(&run.slot.needs);
        }
        run
    }

    /// Ends a run, which a cancel may have ended before.
    async fn end(&mut self, index: usize) {
        let run = self.over(index);
        let task = run.task.clone().ended(Ending::Failed("no".to_owned()), None, Moment(3));
        let end = End { before: State::Running, task, assets: Vec::new(), callback: None, orphans_run: false };
        self.store.end(end).await.unwrap();
        let Run { slot, fetching, starting, .. } = run;
        drop((fetching, starting));
        self.dispatch.finished(&slot);
    }

    /// Only a service that stops hands runs back; the counts are made again by the next start.
    async fn hand_back(&mut self, index: usize) {
        let Run { task, slot, .. } = self.over(index);
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
        self.store.register_owner(self.owner.clone(), None, OwnerAbout::default()).await.unwrap();
        let recovery =
            Recovery { me: self.owner.clone(), proof: Proof::SoleOwner, attempts: 1000.into(), now: Moment(5) };
        assert!(self.store.recover(recovery).await.unwrap().exhausted.is_empty());
        self.runs.clear();
        self.jobs = Jobs::default();
        self.dispatch = dispatch(&self.jobs);
        for lane in self.store.queued().await.unwrap() {
            self.dispatch.refill(slot(lane.key, &lane.needs), lane.count);
        }
    }

    async fn check(&self) {
        let queued: usize = self.store.queued().await.unwrap().iter().map(|lane| lane.count).sum();
        assert_eq!(self.dispatch.counts(), (queued, self.runs.len()));
        let fetching = |pool: usize| {
            let places = self.runs.iter().filter(|run| run.slot.pool == pool && run.fetching.is_some());
            places.count()
        };
        for needs in &NEEDS[2..] {
            let of = |run: &&Run| run.slot.pool == 1 && model(&run.slot.needs) == model(needs);
            let own = self.runs.iter().filter(of).filter(|run| run.starting.is_some() || run.has_begun);
            assert!(own.count() <= 1, "a slot is held for a back end that is busy");
        }
        let counts = self.dispatch.lock();
        let counted: Vec<_> = counts.pools.iter().map(|lanes| lanes.taken.fetching).collect();
        assert_eq!(counted, [fetching(0), fetching(1)]);
        for lanes in &counts.pools {
            assert_eq!(lanes.by_key.values().map(|lane| lane.fetching).sum::<usize>(), lanes.taken.fetching);
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
            store.register_owner(owner.clone(), None, OwnerAbout::default()).await.unwrap();
            let jobs = Jobs::default();
            let dispatch = dispatch(&jobs);
            let mut process = Process { store, dispatch, owner, tasks: Vec::new(), runs: Vec::new(), jobs };
            for event in events {
                process.apply(event).await;
                process.check().await;
            }
        });
    }
}
