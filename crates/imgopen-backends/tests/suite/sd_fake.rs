//! An sd-server made of recordings, as nasty as the original: it takes what it does not know with status 202 and uses a
//! default, rounds sizes up, makes at most 8 pictures and 100 steps, and cannot stop a job that has begun.
//!
//! It serves tests from within, and is what the fake program runs.

mod metadata;
mod server;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;

use crate::fake::hosting::{self, ANYWHERE, Hosting};
use metadata::Used;

/// A fake sd-server. It listens until it is dropped.
pub struct SdFake {
    pub url: String,
    shared: Arc<Shared>,
    _hosting: Hosting,
}

/// What a test can change while the fake runs.
#[derive(Clone, Debug)]
pub struct SdBehaviour {
    /// How long a diffusion step takes.
    pub step: Duration,
    /// Whether FLUX.1 is loaded in place of Stable Diffusion.
    pub is_flux: bool,
    /// Whether a ControlNet is loaded.
    pub has_control_net: bool,
    /// The seed that it was started with.
    pub seed: i64,
    /// The path of its model, if it is another than the recorded one.
    pub model: Option<String>,
    /// The directory of its LoRAs, in place of the recorded ones, where it looks for each question and job; `Some(None)` is
    /// no directory.
    pub lora_folder: Option<Option<PathBuf>>,
    /// How many jobs may wait or run.
    pub queue: usize,
    /// What is wrong with it.
    pub fault: SdFault,
}

/// What is wrong with a fake.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SdFault {
    #[default]
    None,
    /// It does not answer any more.
    Hangs,
    /// It answers new jobs with this status and text.
    Answers(u16, String),
    /// It answers questions about jobs with this status and text.
    States(u16, String),
    /// Jobs fail with this message.
    Fails(&'static str),
    /// It puts other settings into the texts of pictures: this in place of that.
    Writes(&'static str, &'static str),
    /// It makes pictures of this size.
    Makes(u32, u32),
    /// It loses the last picture of each job.
    Loses,
}

impl Default for SdBehaviour {
    fn default() -> Self {
        Self {
            step: Duration::ZERO,
            is_flux: false,
            has_control_net: true,
            seed: 42,
            model: None,
            lora_folder: None,
            queue: 64,
            fault: SdFault::None,
        }
    }
}

/// What it prints, as the recorded logs have it.
pub type Print = Box<dyn Fn(&str) + Send + Sync>;

type Shared = hosting::Shared<SdBehaviour, State, Own>;

/// What this fake alone needs.
struct Own {
    /// Wakes the worker.
    submitted: Notify,
    print: Print,
}

#[derive(Default)]
struct State {
    next: u64,
    jobs: BTreeMap<String, FakeJob>,
    queue: VecDeque<String>,
    /// The bodies of all jobs.
    calls: Vec<Value>,
}

struct FakeJob {
    used: Used,
    status: &'static str,
    images: Vec<String>,
    error: Option<&'static str>,
}

impl SdFake {
    /// Starts a fake.
    pub async fn start(behaviour: SdBehaviour) -> Self {
        Self::start_at(behaviour, ANYWHERE).await
    }

    /// Starts a fake at an address.
    pub async fn start_at(behaviour: SdBehaviour, address: &str) -> Self {
        let shared = shared(behaviour, Box::new(|_| ()));
        let hosting = Hosting::start(address, server::router(shared.clone())).await;
        hosting.spawn(work::worker(shared.clone()));
        Self { url: hosting.url.clone(), shared, _hosting: hosting }
    }

    /// Changes its behaviour.
    pub fn set(&self, change: impl FnOnce(&mut SdBehaviour)) {
        self.shared.set(change);
    }

    /// Returns the bodies of all jobs.
    pub fn calls(&self) -> Vec<Value> {
        self.shared.state().calls.clone()
    }

    /// Returns how many jobs have a status.
    pub fn count(&self, status: &str) -> usize {
        self.shared.state().jobs.values().filter(|job| job.status == status).count()
    }

    /// Forgets all jobs, as if it had been started again.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.jobs.clear();
        state.queue.clear();
    }
}

fn shared(behaviour: SdBehaviour, print: Print) -> Arc<Shared> {
    Shared::new(behaviour, Own { submitted: Notify::new(), print })
}

/// Serves for ever, as the fake program does.
pub async fn serve(listener: tokio::net::TcpListener, behaviour: SdBehaviour, print: Print) {
    let shared = shared(behaviour, print);
    tokio::spawn(work::worker(shared.clone()));
    axum::serve(listener, server::router(shared)).await.unwrap();
}
