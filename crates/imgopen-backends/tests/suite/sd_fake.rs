//! An sd-server made of recordings, as nasty as the original: it takes what it does not know with status 202 and uses a
//! default, rounds sizes up, makes at most 8 pictures and 100 steps, and cannot stop a job that has begun.
//!
//! It serves tests from within, and is what the fake program runs.

mod metadata;
mod server;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::sd_fake::metadata::Used;

/// A fake sd-server. It listens until it is dropped.
pub struct SdFake {
    pub url: String,
    shared: Arc<Shared>,
    /// Its own, so that nothing of it is left when it is dropped.
    runtime: Option<Runtime>,
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
    /// The directory of its LoRAs, in place of the recorded ones; `Some` of nothing is none. It looks there for each question and job.
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

pub struct Shared {
    behaviour: Mutex<SdBehaviour>,
    state: Mutex<State>,
    /// Wakes the worker.
    submitted: tokio::sync::Notify,
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
        Self::start_at(behaviour, "127.0.0.1:0").await
    }

    /// Starts a fake at an address.
    pub async fn start_at(behaviour: SdBehaviour, address: &str) -> Self {
        let mut listener = TcpListener::bind(address);
        // An earlier one at the same address may take a moment to end.
        while listener.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            listener = TcpListener::bind(address);
        }
        let listener = listener.unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared::new(behaviour, Box::new(|_| ()));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(work::worker(shared.clone()));
        let app = server::router(shared.clone());
        runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await });
        Self { url, shared, runtime: Some(runtime) }
    }

    /// Changes its behaviour.
    pub fn set(&self, change: impl FnOnce(&mut SdBehaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap());
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

impl Drop for SdFake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    pub fn new(behaviour: SdBehaviour, print: Print) -> Arc<Self> {
        let (behaviour, state, submitted) = (Mutex::new(behaviour), Mutex::default(), Default::default());
        Arc::new(Self { behaviour, state, submitted, print })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn behaviour(&self) -> SdBehaviour {
        self.behaviour.lock().unwrap().clone()
    }
}

/// Serves for ever, as the fake program does.
pub async fn serve(listener: tokio::net::TcpListener, behaviour: SdBehaviour, print: Print) {
    let shared = Shared::new(behaviour, print);
    tokio::spawn(work::worker(shared.clone()));
    axum::serve(listener, server::router(shared)).await.unwrap();
}
