//! Runs prompts at the server: posts them or finds those of an earlier run, watches them to their real end, and ends
//! those that nobody wants any more.
//!
//! The queue and the history decide. Only prompts that write files of the task are ever touched, because others use the
//! same server.

use imgopen_engine::{EngineError, Monitor};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info};

use super::answers::{Ending, Entry, Item, Queue, posted};
use super::build::Picture;
use super::graph::is_same_graph;
use super::ids::{Names, prompt_id};
use super::lists::Server;
use super::socket::{Event, Socket};
use crate::http::{Answer, CallError};

/// How many of the latest finished prompts are looked through for those of an earlier run.
const LATEST: u32 = 64;
/// How often a prompt must be missing before it counts as lost.
const MISSES: u32 = 2;

/// The prompts of one task at a server.
pub(super) struct Runner<'a> {
    server: &'a Server,
    monitor: &'a Monitor,
    names: &'a Names,
    /// How many pictures are made in all.
    pictures: u32,
    socket: Socket,
    /// The prompts of earlier runs of the task that run, wait or succeeded.
    earlier: Vec<Item>,
}

/// Where a prompt is.
enum State {
    Waits,
    Runs,
    Ended(Box<Entry>),
    Missing,
}

/// What is known of a prompt while it is watched.
struct Watched<'p> {
    id: String,
    picture: &'p Picture,
    /// The number of the picture, counted from 0.
    index: u32,
    /// How many nodes have begun.
    nodes: u32,
}

impl<'a> Runner<'a> {
    /// Looks for what earlier runs of the task have left at the server.
    pub(super) async fn open(
        server: &'a Server,
        monitor: &'a Monitor,
        names: &'a Names,
        pictures: u32,
    ) -> Result<Self, EngineError> {
        let socket = Socket::open(server.http.clone(), names.client(), server.timing.retry);
        let away = |error: CallError| error.into_unavailable(&server.name);
        let queue: Queue = server.http.get("queue").await.map_err(away)?;
        let prefix = names.all();
        let mut earlier: Vec<Item> = queue.items().filter(|item| item.writes(&prefix)).cloned().collect();
        match server.http.get::<Value>(&format!("history?max_items={LATEST}")).await {
            Ok(history) => {
                let entries = history.as_object().into_iter().flatten();
                let entries = entries.filter_map(|(_, entry)| serde_json::from_value::<Entry>(entry.clone()).ok());
                let done = entries.filter(|entry| entry.prompt.writes(&prefix) && entry.ending() == Ending::Success);
                earlier.extend(done.map(|entry| entry.prompt));
            }
            // A history with pictures in it may be too long to be read. Then finished pictures are made again.
            Err(CallError::Unusable(problem)) => debug!(problem, "the history of a back end cannot be read"),
            Err(error) => return Err(away(error)),
        }
        Ok(Self { server, monitor, names, pictures, socket, earlier })
    }

    /// Makes a picture, and returns what the history says of it.
    pub(super) async fn make(&mut self, index: u32, picture: &Picture) -> Result<Entry, EngineError> {
        self.monitor.check_cancelled()?;
        let is_same = |item: &&Item| item.graph().is_some_and(|graph| is_same_graph(&picture.graph, graph));
        let id = match self.earlier.iter().find(is_same).and_then(Item::id) {
            Some(id) => {
                info!(backend = self.server.name, prompt = id, "a prompt of an earlier run is taken over");
                id.to_owned()
            }
            None => self.post(&picture.graph).await?,
        };
        let entry = self.watch(Watched { id, picture, index, nodes: 0 }).await?;
        // The socket may have been deaf.
        match picture.steps() {
            0 => self.monitor.fraction(f64::from(index + 1) / f64::from(self.pictures.max(1))),
            each => self.monitor.step((index + 1) * each, self.pictures * each),
        }
        match entry.prompt.graph().is_some_and(|graph| is_same_graph(&picture.graph, graph)) {
            true => Ok(entry),
            false => Err(self.failed("its history does not repeat what it was sent")),
        }
    }

    fn failed(&self, problem: &str) -> EngineError {
        EngineError::Failed(format!("the back end `{}` did not make what was asked for: {problem}", self.server.name))
    }

    async fn post(&self, graph: &Value) -> Result<String, EngineError> {
        let (server, name) = (self.server, &self.server.name);
        let body = json!({"prompt": graph, "client_id": self.names.client(), "prompt_id": prompt_id()});
        let answer = server.http.ask("prompt", &body).await.map_err(|error| error.into_engine(name))?;
        let (Answer::Success(body) | Answer::Refusal(body)) = &answer;
        // Older programs take an id of their own.
        let (id, refusal) = posted(body, name)?;
        match (answer, id, refusal) {
            (Answer::Success(_), Some(id), None) => Ok(id),
            (_, id, refusal) => {
                // Perhaps something was removed there.
                server.refresh_soon();
                if let Some(id) = id {
                    // A part of the graph would run.
                    self.end(&id).await.map_err(|error| error.into_engine(name))?;
                }
                Err(refusal.unwrap_or_else(|| self.failed("it neither takes nor refuses it")))
            }
        }
    }

    /// Waits until a prompt has ended. That of a cancelled job is ended first.
    async fn watch(&mut self, mut watched: Watched<'_>) -> Result<Entry, EngineError> {
        let timing = self.server.timing;
        let mut ticks = interval(timing.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_answer = Instant::now();
        let (mut misses, mut knows_cancelled) = (0, false);
        loop {
            tokio::select! {
                biased;
                () = self.monitor.cancelled(), if !knows_cancelled => knows_cancelled = true,
                _ = ticks.tick() => {}
                Some(event) = self.socket.events.recv() => if !watched.notice(event, self.monitor, self.pictures) {
                    continue;
                },
            }
            let left = timing.silence.saturating_sub(last_answer.elapsed());
            let state = match timeout(left, self.look(&watched.id)).await {
                Ok(Ok(state)) => state,
                // It is asked again.
                Ok(Err(_)) if last_answer.elapsed() < timing.silence => continue,
                Ok(Err(_)) | Err(_) => {
                    self.monitor.check_cancelled()?;
                    let silent = CallError::Away("it has stopped answering".to_owned());
                    return Err(silent.into_engine(&self.server.name));
                }
            };
            last_answer = Instant::now();
            match state {
                State::Waits | State::Runs => misses = 0,
                State::Ended(entry) => return self.ended(*entry),
                State::Missing => {
                    misses += 1;
                    if misses >= MISSES {
                        self.monitor.check_cancelled()?;
                        let lost = "it has lost the job, because it was restarted or someone has deleted it";
                        return Err(CallError::Away(lost.to_owned()).into_engine(&self.server.name));
                    }
                }
            }
        }
    }

    fn ended(&self, entry: Entry) -> Result<Entry, EngineError> {
        self.monitor.check_cancelled()?;
        let name = &self.server.name;
        match entry.ending() {
            Ending::Success => Ok(entry),
            Ending::Interrupted => {
                Err(EngineError::Failed(format!("the job was interrupted at the back end `{name}`")))
            }
            Ending::Exhausted(problem) => Err(EngineError::Unavailable {
                reason: format!("the back end `{name}` cannot make the pictures: {problem}"),
                retry_after: None,
            }),
            Ending::Failed(problem) => {
                Err(EngineError::Failed(format!("the back end `{name}` cannot make the pictures: {problem}")))
            }
        }
    }

    /// Finds out where a prompt is, and ends it if the job is cancelled.
    async fn look(&self, id: &str) -> Result<State, CallError> {
        match self.monitor.is_cancelled() {
            true => stop(self.server, id).await,
            false => state(self.server, id).await,
        }
    }

    /// Ends a prompt, and waits until it is gone.
    async fn end(&self, id: &str) -> Result<(), CallError> {
        let ending = async {
            while let State::Waits | State::Runs = stop(self.server, id).await? {
                tokio::time::sleep(self.server.timing.poll).await;
            }
            Ok(())
        };
        let silent = |_| Err(CallError::Away("it does not end a job".to_owned()));
        timeout(self.server.timing.silence, ending).await.unwrap_or_else(silent)
    }
}

/// Ends all prompts of a task that run or wait, once.
pub(super) async fn sweep(server: &Server, names: &Names) -> Result<(), CallError> {
    let queue: Queue = server.http.get("queue").await?;
    for id in queue.items().filter(|item| item.writes(&names.all())).filter_map(Item::id) {
        stop(server, id).await?;
    }
    Ok(())
}

async fn state(server: &Server, id: &str) -> Result<State, CallError> {
    // In this order, because a prompt goes from the queue to the history.
    let queue: Queue = server.http.get("queue").await?;
    if queue.runs(id) {
        return Ok(State::Runs);
    }
    if queue.waits(id) {
        return Ok(State::Waits);
    }
    let mut history: Value = server.http.get(&format!("history/{id}")).await?;
    match history.get_mut(id).map(Value::take) {
        Some(entry) => serde_json::from_value(entry)
            .map(|entry| State::Ended(Box::new(entry)))
            .map_err(|error| CallError::Unusable(error.to_string())),
        None => Ok(State::Missing),
    }
}

/// Ends a prompt where it is. Older programs interrupt whatever runs, so it must be this one.
async fn stop(server: &Server, id: &str) -> Result<State, CallError> {
    let state = state(server, id).await?;
    match state {
        State::Waits => server.http.command("queue", &json!({"delete": [id]})).await?,
        State::Runs => server.http.command("interrupt", &json!({"prompt_id": id})).await?,
        State::Ended(_) | State::Missing => {}
    }
    Ok(state)
}

impl Watched<'_> {
    /// Notices what the socket says, and returns whether the prompt may have ended.
    fn notice(&mut self, event: Event, monitor: &Monitor, pictures: u32) -> bool {
        match event {
            Event::Steps { prompt, node, done, all } if prompt == self.id => {
                self.steps(&node, done / all.max(1.0), monitor, pictures);
            }
            Event::Node { prompt, .. } if prompt == self.id => {
                self.nodes += 1;
                self.share(0.0, monitor, pictures);
            }
            // The socket brings what is about the task alone, which has one prompt at a time.
            Event::Preview { prompt, picture } if prompt.as_ref().is_none_or(|prompt| *prompt == self.id) => {
                monitor.preview(picture);
            }
            Event::End { prompt } => return prompt == self.id,
            _ => {}
        }
        false
    }

    /// Reports steps, if it is known which nodes make them.
    fn steps(&self, node: &str, share: f64, monitor: &Monitor, pictures: u32) {
        let passes = &self.picture.passes;
        if passes.is_empty() {
            return self.share(share, monitor, pictures);
        }
        let each = self.picture.steps();
        let Some(at) = passes.iter().position(|(known, _)| known == node) else { return };
        let before: u32 = passes[..at].iter().map(|(_, steps)| steps).sum();
        let done = (f64::from(passes[at].1) * share.clamp(0.0, 1.0)).round() as u32;
        monitor.step(self.index * each + before + done, pictures * each);
    }

    /// Reports the share of the nodes that are done, if it is not known which of them make steps.
    fn share(&self, of_node: f64, monitor: &Monitor, pictures: u32) {
        if self.picture.passes.is_empty() {
            let all = self.picture.graph.as_object().map_or(1, |nodes| nodes.len().max(1)) as f64;
            let done = f64::from(self.nodes.saturating_sub(1)) + of_node.clamp(0.0, 1.0);
            monitor.fraction((f64::from(self.index) + done / all) / f64::from(pictures.max(1)));
        }
    }
}
