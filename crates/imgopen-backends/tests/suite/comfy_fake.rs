//! A ComfyUI made of recordings, as nasty as the original: it takes half a graph with 200, the older one ignores the
//! caller's id and interrupts whatever runs, a prompt that waits or was deleted has no history, an identical graph is
//! answered with the first file, a size is rounded down, and sockets go deaf.

mod classes;
mod server;
mod validate;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Message;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::fake::hosting::{self, ANYWHERE, Hosting};

/// A fake ComfyUI. It listens until it is dropped.
pub struct ComfyFake {
    pub url: String,
    shared: Arc<Shared>,
    _hosting: Hosting,
}

/// The version of a fake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Year {
    /// March 2024.
    Old,
    /// October 2025.
    #[default]
    New,
}

impl Year {
    /// Returns the folder of its recordings.
    pub const fn folder(self) -> &'static str {
        match self {
            Year::Old => "comfyui-2024",
            Year::New => "comfyui",
        }
    }
}

/// What a test can change while the fake runs.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    pub year: Year,
    /// How long a diffusion step takes.
    pub step: Duration,
    /// Whether the socket says nothing.
    pub is_deaf: bool,
    /// Files in the lists of classes beside those recorded: class, input, names.
    pub files: Vec<(&'static str, &'static str, Vec<&'static str>)>,
    pub fault: Fault,
}

/// What is wrong with a fake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// It does not answer any more.
    Hangs,
    /// It answers prompts with this status and text.
    Answers(u16, &'static str),
    /// It answers questions for its queue with this status and text.
    Queues(u16, &'static str),
    /// The sampler fails with this kind of exception and this message.
    Fails(&'static str, &'static str),
    /// It makes pictures of this size.
    Makes(u32, u32),
    /// It makes so many files of each picture.
    Saves(usize),
    /// It takes a graph, and says that a node of it is wrong.
    TakesPartly,
    /// No file can be written.
    FullDisk,
}

/// What makes pictures is woken by a notification.
type Shared = hosting::Shared<Behaviour, State, Notify>;

/// A prompt in the queue.
#[derive(Debug, Clone)]
struct Prompt {
    number: u64,
    id: String,
    graph: Value,
    client: Value,
    /// The nodes whose results are wanted.
    outputs: Vec<String>,
}

#[derive(Default)]
struct State {
    numbers: u64,
    pending: Vec<Prompt>,
    running: Option<Prompt>,
    history: Map<String, Value>,
    interrupted: bool,
    /// The outputs of graphs that were run.
    cache: Vec<(Value, Map<String, Value>)>,
    /// Results by their paths below the folder for results.
    files: BTreeMap<String, Vec<u8>>,
    /// How many files there are with a beginning of the name.
    counts: HashMap<String, u32>,
    uploads: BTreeMap<String, Vec<u8>>,
    sockets: HashMap<String, UnboundedSender<Message>>,
    posts: Vec<Value>,
    frees: u32,
}

impl ComfyFake {
    /// Starts a fake.
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::start_at(behaviour, ANYWHERE).await
    }

    /// Starts a fake at an address.
    pub async fn start_at(behaviour: Behaviour, address: &str) -> Self {
        let shared = Shared::new(behaviour, Notify::new());
        let hosting = Hosting::start(address, server::router(shared.clone())).await;
        hosting.spawn(work::work(shared.clone()));
        Self { url: hosting.url.clone(), shared, _hosting: hosting }
    }

    /// Changes its behaviour.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        self.shared.set(change);
    }

    /// Returns the bodies of all prompts that were posted.
    pub fn posts(&self) -> Vec<Value> {
        self.shared.state().posts.clone()
    }

    /// Returns the graph that runs.
    pub fn running(&self) -> Option<Value> {
        self.shared.state().running.as_ref().map(|prompt| prompt.graph.clone())
    }

    /// Returns the id of the prompt that runs.
    pub fn current(&self) -> Option<String> {
        self.shared.state().running.as_ref().map(|prompt| prompt.id.clone())
    }

    /// Returns how many prompts wait.
    pub fn waiting(&self) -> usize {
        self.shared.state().pending.len()
    }

    /// Returns how the prompts have ended: their last messages.
    pub fn endings(&self) -> Vec<String> {
        let state = self.shared.state();
        let last = |entry: &Value| {
            let messages = entry["status"]["messages"].as_array().unwrap();
            match entry["status"]["status_str"] == "success" {
                true => "success".to_owned(),
                false => messages.last().unwrap()[0].as_str().unwrap().to_owned(),
            }
        };
        state.history.values().map(last).collect()
    }

    /// Interrupts what runs, as a person at the page does.
    pub fn interrupt(&self) {
        self.shared.state().interrupted = true;
    }

    /// Forgets all prompts, as a program that is restarted.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.pending.clear();
        state.history.clear();
        state.running = None;
        state.interrupted = true;
    }

    /// Deletes all results, as a person does to gain room.
    pub fn delete_files(&self) {
        self.shared.state().files.clear();
    }

    /// Returns how often it was asked to free its memory.
    pub fn frees(&self) -> u32 {
        self.shared.state().frees
    }

    /// Returns the file that a node reads by its name.
    pub fn upload(&self, name: &str) -> Vec<u8> {
        self.shared.state().uploads[name].clone()
    }

    /// Returns the names of uploaded files.
    pub fn uploads(&self) -> Vec<String> {
        self.shared.state().uploads.keys().cloned().collect()
    }
}

impl Prompt {
    /// The form in which the queue and the history show it.
    fn shown(&self) -> Value {
        serde_json::json!([self.number, self.id, self.graph, self.client, self.outputs])
    }
}
