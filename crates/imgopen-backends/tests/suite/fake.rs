//! A web UI made of recordings, as nasty as the original: it replaces what it does not know and answers with 200, works on
//! when its caller hangs up, interrupts whatever runs, and answers interrupted calls with half-done pictures.

mod extras;
pub mod hosting;
pub mod picture;
mod server;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::recordings::recording;
use hosting::{ANYWHERE, Hosting};

/// A fake web UI. It listens until it is dropped.
pub struct Fake {
    pub url: String,
    shared: Arc<Shared>,
    _hosting: Hosting,
}

/// What a test can change while the fake runs.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Whether the page of the web UI runs, which brings `/internal/progress`.
    pub has_page: bool,
    /// Whether it follows A1111's source where that differs from Forge.
    pub is_a1111: bool,
    /// How long a diffusion step takes.
    pub step: Duration,
    /// How long an answer with pictures is on its way, while the next job may run.
    pub delivery: Duration,
    /// User and password.
    pub login: Option<(String, String)>,
    /// LoRAs that were put into its directory after it had started, which it lists once it was asked to look.
    pub added_loras: Vec<&'static str>,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a fake.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Fault {
    #[default]
    None,
    /// It does not answer any more.
    Hangs,
    /// It does not come to an end when it looks for LoRAs that were added.
    LooksForever,
    /// It answers with this status when it is to look for LoRAs that were added, and does not look.
    LooksNot(u16),
    /// It answers pictures with this status and text.
    Answers(u16, String),
    /// It answers questions about its job with this status and text.
    States(u16, &'static str),
    /// It answers pictures with spaces without end.
    Streams,
    /// It changes this member of `info`.
    Reports(&'static str, Value),
    /// It puts other settings into the texts of pictures: this in place of that.
    Writes(&'static str, &'static str),
    /// It makes pictures of this size.
    Makes(u32, u32),
    /// It leaves this member out of what it sends back.
    Forgets(&'static str),
}

/// The mutex is held by the job that runs; others queue for it.
type Shared = hosting::Shared<Behaviour, State, tokio::sync::Mutex<()>>;

#[derive(Debug, Default)]
struct State {
    /// Sticks, as in Forge.
    clip_skip: i64,
    current: Option<String>,
    pending: Vec<String>,
    /// Counts jobs, and stands for the time in `job_timestamp`.
    jobs: u64,
    job_count: u64,
    job_no: u64,
    step: u64,
    steps: u64,
    interrupted: bool,
    /// The LoRAs that it has found beside those recorded.
    found_loras: Vec<&'static str>,
    /// The bodies of all calls that made pictures.
    calls: Vec<Value>,
    unloads: u32,
}

impl Fake {
    /// Starts a fake.
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::start_at(behaviour, ANYWHERE).await
    }

    /// Starts a fake at an address.
    pub async fn start_at(behaviour: Behaviour, address: &str) -> Self {
        let shared = Shared::new(behaviour, tokio::sync::Mutex::default());
        shared.state().clip_skip = 1;
        let hosting = Hosting::start(address, server::router(shared.clone())).await;
        Self { url: hosting.url.clone(), shared, _hosting: hosting }
    }

    /// Changes its behaviour.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        self.shared.set(change);
    }

    /// Returns the bodies of all calls that made pictures.
    pub fn calls(&self) -> Vec<Value> {
        self.shared.state().calls.clone()
    }

    /// Returns how often it was asked to unload its model.
    pub fn unloads(&self) -> u32 {
        self.shared.state().unloads
    }

    /// Sets the clip skip that sticks.
    pub fn stick(&self, clip_skip: i64) {
        self.shared.state().clip_skip = clip_skip;
    }

    /// Returns the id of the job that runs.
    pub fn current(&self) -> Option<String> {
        self.shared.state().current.clone()
    }

    /// Returns how many jobs wait.
    pub fn waiting(&self) -> usize {
        self.shared.state().pending.len()
    }

    /// Cuts the running job short, as a person at the page does.
    pub fn interrupt(&self) {
        self.shared.state().interrupted = true;
    }
}

/// The LoRAs that it has found, in the form of its list.
fn loras(state: &State) -> Value {
    let mut list = recording("webui/loras").answer;
    let rows = list.as_array_mut().unwrap();
    let recorded = rows[0].clone();
    rows.extend(state.found_loras.iter().map(|name| {
        let mut lora = recorded.clone();
        (lora["name"], lora["alias"]) = ((*name).into(), (*name).into());
        lora["path"] = format!("forge/models/Lora/{name}.safetensors").into();
        lora
    }));
    list
}

/// The members that the requests of a path have: those that the answer repeats.
fn members(path: &str) -> BTreeSet<String> {
    let name = if path.ends_with("img2img") { "webui/img2img" } else { "webui/txt2img" };
    recording(name).answer["parameters"].as_object().unwrap().keys().cloned().collect()
}
