//! Any sequence of what can happen to tasks, against a model of what must come of it.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::clock::Moment;
use crate::ids::{AssetToken, CallbackId, KeyId, TaskId};
use crate::output::TaskOutput;
use crate::queue::Queue;
use crate::state::State;

/// Runs that may be begun.
const ATTEMPTS: u32 = 2;

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    Submit(u8),
    /// The key whose turn it is gets a run.
    Turn,
    /// A run, current or long over, ends.
    Finish(Index, bool),
    HandBack(Index),
    Cancel(Index),
    /// The process is killed and starts again.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3u8).prop_map(Event::Submit),
        4 => Just(Event::Turn),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(run, succeeds)| Event::Finish(run, succeeds)),
        1 => any::<Index>().prop_map(Event::HandBack),
        2 => any::<Index>().prop_map(Event::Cancel),
        1 => Just(Event::Restart),
    ]
}

/// What must be true of a task.
#[derive(Debug, Clone)]
struct Known {
    key: KeyId,
    state: State,
    attempt: i64,
}

/// The store with the queue's counts beside it, and what must be true of them.
struct World {
    store: Store,
    queue: Queue,
    tasks: HashMap<TaskId, Known>,
    order: Vec<TaskId>,
    /// Every run that was ever begun, and whether its worker still holds a turn.
    runs: Vec<(TaskRow, bool)>,
}

fn pushed(task: &TaskRow) -> Option<NewCallback> {
    let id = CallbackId(format!("msg-{}", task.id));
    Some(NewCallback { id, url: "http://a".to_owned(), origin: "http://a".to_owned(), body: "{}".to_owned() })
}

impl World {
    fn change(&mut self, id: &TaskId, next: State) {
        let known = self.tasks.get_mut(id).unwrap();
        assert!(known.state.may_become(next), "{} to {next}", known.state);
        known.state = next;
    }

    /// Whether a run is the one that its task is in.
    fn is_current(&self, run: &TaskRow) -> bool {
        let known = &self.tasks[&run.id];
        known.state == State::Running && known.attempt == run.attempt
    }

    /// The worker of a run is done with it.
    fn leave(&mut self, index: usize) {
        let (run, holds) = &mut self.runs[index];
        if std::mem::take(holds) {
            self.queue.finished(&run.key);
        }
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Submit(key) => self.submit(KeyId(format!("k{key}"))).await,
            Event::Turn => self.turn().await,
            Event::Finish(index, succeeds) if !self.runs.is_empty() => {
                self.finish(index.index(self.runs.len()), succeeds).await;
            }
            Event::HandBack(index) if !self.runs.is_empty() => self.hand_back(index.index(self.runs.len())).await,
            Event::Cancel(index) if !self.order.is_empty() => self.cancel(index.index(self.order.len())).await,
            Event::Restart => self.restart().await,
            _ => {}
        }
    }

    async fn submit(&mut self, key: KeyId) {
        let id = TaskId(format!("t{}", self.order.len()));
        let task = NewTask {
            id: id.clone(),
            key: key.clone(),
            operation: "enlarge_image",
            caller_id: String::new(),
            request: "{}".to_owned(),
            directives: None,
            callback_url: None,
            created_at: Moment(1),
            remembered: Remembered::No,
            training: None,
        };
        let place = self.queue.place(&key).unwrap();
        assert_eq!(self.store.submit(task).await.unwrap(), Submitted::New);
        place.keep();
        self.tasks.insert(id.clone(), Known { key, state: State::Queued, attempt: 0 });
        self.order.push(id);
    }

    async fn turn(&mut self) {
        let Some(key) = self.queue.next() else { return };
        let claimed = self.store.claim(key.clone(), Moment(2)).await.unwrap().expect("the counts promise a task");
        let waits = |id: &&TaskId| self.tasks[*id].key == key && self.tasks[*id].state == State::Queued;
        let oldest = self.order.iter().find(waits).unwrap().clone();
        assert_eq!(claimed.id, oldest);
        self.change(&oldest, State::Running);
        self.tasks.get_mut(&oldest).unwrap().attempt += 1;
        self.runs.push((claimed, true));
    }

    async fn finish(&mut self, index: usize, succeeds: bool) {
        let run = self.runs[index].0.clone();
        let token = AssetToken(format!("{}-{index}.png", run.id));
        let asset = NewAsset { token: token.clone(), media_type: "image/png", bytes: 1, expires_at: None };
        let (ending, state) = match succeeds {
            true => (Ending::Succeeded(TaskOutput::default(), vec![asset]), State::Succeeded),
            false => (Ending::Failed("no".to_owned()), State::Failed),
        };
        let is_current = self.is_current(&run);
        let known_before = self.store.asset(token.clone()).await.unwrap().is_some();
        let ended = self.store.finish(&run, None, ending, Moment(3), pushed).await.unwrap();
        assert_eq!(ended.is_some(), is_current);
        if is_current {
            self.change(&run.id, state);
        }
        let known_after = self.store.asset(token).await.unwrap().is_some();
        assert_eq!(known_after, known_before || (is_current && succeeds));
        self.leave(index);
    }

    /// Only the worker of a run hands it back, and only once.
    async fn hand_back(&mut self, index: usize) {
        let (run, holds) = self.runs[index].clone();
        if !holds {
            return;
        }
        self.store.hand_back(&run).await.unwrap();
        if self.is_current(&run) {
            self.change(&run.id, State::Queued);
            self.tasks.get_mut(&run.id).unwrap().attempt -= 1;
            // Nobody but a worker that stops does this; the counts are made anew at the next start.
            self.runs.remove(index);
            self.queue.put_back(&run.key);
        } else {
            self.leave(index);
        }
    }

    async fn cancel(&mut self, index: usize) {
        let id = self.order[index].clone();
        let Known { key, state, .. } = self.tasks[&id].clone();
        let cancelled = self.store.cancel(key.clone(), id.clone(), None, Moment(4), pushed).await.unwrap().unwrap();
        assert_eq!(cancelled.is_ok(), !state.is_final());
        if let Ok((_, before)) = cancelled {
            assert_eq!(before, state);
            self.change(&id, State::Cancelled);
            if state == State::Queued {
                self.queue.left(&key);
            }
        }
    }

    async fn restart(&mut self) {
        let counts = self.store.recover(ATTEMPTS, Moment(5), pushed).await.unwrap();
        let mut expected = (0, 0);
        let running = |id: &&TaskId| self.tasks[*id].state == State::Running;
        for id in self.order.iter().filter(running).cloned().collect::<Vec<_>>() {
            let is_over = self.tasks[&id].attempt >= i64::from(ATTEMPTS);
            let next = if is_over { State::Failed } else { State::Queued };
            if is_over {
                expected.1 += 1
            } else {
                expected.0 += 1
            }
            self.change(&id, next);
        }
        assert_eq!(counts, expected);
        // The workers are gone with the process, but what they began may still come to the database.
        self.runs.iter_mut().for_each(|(_, holds)| *holds = false);
        self.queue = Queue::new(1000, 2);
        self.queue.refill(self.store.queued().await.unwrap());
    }

    async fn check(&self) {
        let mut waiting: HashMap<KeyId, usize> = HashMap::new();
        for (id, known) in &self.tasks {
            let row = self.store.task(id.clone()).await.unwrap().unwrap();
            assert_eq!((row.state, row.attempt), (known.state, known.attempt), "{id}");
            assert_eq!(row.finished_at.is_some(), row.state.is_final(), "{id}");
            let callbacks = self.store.list_callbacks(None, Some(id.clone()), vec![], None, 9).await.unwrap().rows;
            assert_eq!(callbacks.len(), usize::from(row.state.is_final()), "{id}");
            if row.state == State::Queued {
                *waiting.entry(known.key.clone()).or_default() += 1;
            }
        }
        let rows: HashMap<_, _> = self.store.queued().await.unwrap().into_iter().collect();
        assert_eq!(rows, waiting);
        let held = self.runs.iter().filter(|(_, holds)| *holds).count();
        assert_eq!(self.queue.counts(), (waiting.values().sum(), held));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A task ends at most once, with one callback; its state changes only as allowed; the counts are the rows'.
    #[test]
    fn whatever_happens_a_task_ends_once(events in prop::collection::vec(event(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            let (queue, tasks) = (Queue::new(1000, 2), HashMap::new());
            let mut world = World { store, queue, tasks, order: Vec::new(), runs: Vec::new() };
            for event in events {
                world.apply(event).await;
            }
            world.check().await;
        });
    }
}
