//! What tests run against: fakes, and real programs where variables name them, with the engines that drive them.

pub mod comfyui;
pub mod sd_server;
pub mod sd_webui;

use std::sync::Arc;
use std::time::Duration;

use imgopen_backends::honesty::{self, Cell, Treatment};
use imgopen_backends::{BackendSettings, ComfyUi, ControlMaps, Driver, Kind, SdServer, SdWebui, Surroundings, Timing};
use imgopen_engine::{EngineError, JobRequest, ModelKind, Monitor, Output};
use imgopen_tools::Preprocessors;
use imgopen_types::operations::CONTROLNET;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::comfy_fake::{self, ComfyFake};
use crate::fake::{self, Fake};
use crate::jobs::{controlnet, job};
use crate::sd_fake::{SdBehaviour, SdFake, SdFault};

/// Limits waits that would otherwise never end.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Limits jobs. Real programs may have no graphics card, and share two cores with a build.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Short times for fakes.
pub const QUICK: Timing = Timing {
    poll: Duration::from_millis(10),
    answer: Duration::from_secs(2),
    silence: Duration::from_secs(2),
    refresh: Duration::from_secs(600),
    retry: Duration::from_millis(20),
};

/// Times for real programs, which are asked often, and answer late while they compute on all cores.
const PATIENT: Timing = Timing {
    poll: Duration::from_millis(100),
    answer: Duration::from_secs(120),
    silence: Duration::from_secs(600),
    refresh: Duration::from_secs(600),
    retry: Duration::from_secs(1),
};

/// A back end and the engine that drives it.
pub struct Target {
    pub name: &'static str,
    pub kind: Kind,
    pub engine: Arc<dyn Driver>,
    /// A checkpoint.
    pub model: String,
    /// A LoRA for it, if there is one.
    pub lora: Option<String>,
    /// A ControlNet for it, if there is one.
    pub control_net: Option<String>,
    /// Whether the engine starts the program.
    pub is_program: bool,
    /// `None` for a real program, and for one that the engine starts.
    pub fake: Option<AnyFake>,
    /// Held by a real program.
    turn: Option<Turn>,
    /// Deleted with it.
    _folder: Option<TempDir>,
}

/// A fake at an address.
pub enum AnyFake {
    SdServer(SdFake),
    ComfyUi(ComfyFake),
    SdWebui(Fake),
}

/// The turn of a test that uses a real program: several together would take more memory and time than there is.
pub type Turn = MutexGuard<'static, ()>;

/// Waits until no other test uses a real program.
pub async fn turn() -> Turn {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// All targets of a kind. `step` is how long a step of a fake takes.
pub async fn targets(kind: Kind, step: Duration) -> Vec<Target> {
    match kind {
        Kind::SdServer => sd_server::targets(step).await,
        Kind::ComfyUi => comfyui::targets(step).await,
        Kind::SdWebui => sd_webui::targets(step).await,
    }
}

/// Settings for an address.
pub fn settings(url: &str) -> BackendSettings {
    BackendSettings { name: Some("mine".to_owned()), ..BackendSettings::new(url.parse().unwrap()) }
}

/// Surroundings in which control pictures are made, as in a service.
pub fn surroundings() -> Surroundings {
    let control_maps = ControlMaps::new(Arc::new(Preprocessors::new()));
    Surroundings { control_maps: Some(control_maps), ..Surroundings::default() }
}

/// The engine for a back end at an address.
pub fn driver(kind: Kind, settings: BackendSettings, timing: Timing) -> Arc<dyn Driver> {
    driver_in(kind, settings, &surroundings(), timing)
}

/// The same in other surroundings.
pub fn driver_in(kind: Kind, settings: BackendSettings, around: &Surroundings, timing: Timing) -> Arc<dyn Driver> {
    match kind {
        Kind::SdServer => Arc::new(SdServer::with_timing(settings, around, timing).unwrap()),
        Kind::ComfyUi => Arc::new(ComfyUi::with_timing(settings, around, timing).unwrap()),
        Kind::SdWebui => Arc::new(SdWebui::with_timing(settings, timing).unwrap()),
    }
}

/// Checks a request and runs it.
pub async fn carry_out(engine: &dyn Driver, request: JobRequest) -> Result<Output, EngineError> {
    engine.check(&request)?;
    let run = engine.run(job(request), Monitor::new().0);
    tokio::time::timeout(PATIENCE, run).await.expect("the job ends")
}

impl Target {
    /// Waits until an engine knows what its back end has.
    pub async fn open(name: &'static str, engine: Arc<dyn Driver>) -> Self {
        assert!(engine.refresh().await, "{name} does not answer: {:?}", engine.report().away);
        let report = engine.report();
        let mut models = report.models.into_iter();
        let model = models.find(|model| !model.starts_with("broken")).expect("a model is there");
        let loras = engine.models().into_iter().filter(|model| model.kind == ModelKind::Lora);
        // Of several with the same beginning, the others say for which other model they are.
        let lora = loras.map(|lora| lora.short_name().to_owned()).min();
        let control_net = control_net(&*engine, &model);
        Self {
            name,
            kind: report.kind,
            is_program: engine.settings().program.is_some(),
            engine,
            model,
            lora,
            control_net,
            fake: None,
            turn: None,
            _folder: None,
        }
    }

    /// The same for a real program.
    async fn real(engine: impl FnOnce() -> Arc<dyn Driver>) -> Self {
        let turn = turn().await;
        Self { turn: Some(turn), ..Self::open("the real program", engine()).await }
    }

    /// Whether it is a real program.
    pub fn is_real(&self) -> bool {
        self.turn.is_some()
    }

    /// The address of one that has one.
    pub fn url(&self) -> &str {
        self.engine.settings().url.as_ref().expect("it has an address").as_str()
    }

    /// The fake, which is a ComfyUI.
    pub fn comfy(&self) -> &ComfyFake {
        match &self.fake {
            Some(AnyFake::ComfyUi(fake)) => fake,
            _ => panic!("{} is not a fake ComfyUI", self.name),
        }
    }

    /// Checks a request and runs it.
    pub async fn run(&self, request: JobRequest) -> Result<Output, EngineError> {
        carry_out(&*self.engine, request).await
    }

    /// Waits for something that a job leads to.
    pub async fn patiently<T>(&self, what: &str, wait: impl Future<Output = T>) -> T {
        let done = tokio::time::timeout(PATIENCE, wait).await;
        done.unwrap_or_else(|_| panic!("waited in vain until {what}"))
    }

    /// What the table says of a field.
    pub fn cell(&self, operation: &str, field: &str) -> Cell {
        honesty::row(operation, field).unwrap_or_else(|| panic!("`{field}` has no row")).cell(self.kind)
    }

    /// Checks that a request is refused for a field, and in the words of the table where that refuses the field.
    pub fn refuse(&self, field: &str, request: &JobRequest) -> String {
        let problem = match self.engine.check(request) {
            Err(EngineError::Rejected { field: Some(rejected), problem }) => {
                assert_eq!(rejected, field, "{problem}");
                problem
            }
            other => panic!("`{field}`: {other:?}"),
        };
        let cell = self.cell(request.operation().id, field);
        assert!(cell.treatment != Treatment::Refused || problem.ends_with(cell.text), "`{field}`: {problem}");
        problem
    }
}

/// Returns a ControlNet that the back end names when it is asked for one that is not there.
fn control_net(engine: &dyn Driver, model: &str) -> Option<String> {
    if !engine.offers().iter().any(|offer| *offer.operation == CONTROLNET) {
        return None;
    }
    let unit = json!({"model": "nope", "image_link": "https://example.com/b.png"});
    let refusal = engine.check(&controlnet(model, unit, json!({}))).err()?.to_string();
    Some(refusal.split("give one of \"").nth(1)?.split('"').next()?.to_owned())
}

impl AnyFake {
    /// Starts a fake at an address. `step` is how long a step takes.
    pub async fn start(kind: Kind, address: &str, step: Duration) -> Self {
        match kind {
            Kind::SdServer => {
                let behaviour = SdBehaviour { step, ..SdBehaviour::default() };
                Self::SdServer(SdFake::start_at(behaviour, address).await)
            }
            Kind::ComfyUi => {
                let behaviour = comfy_fake::Behaviour { step, ..comfy_fake::Behaviour::default() };
                Self::ComfyUi(ComfyFake::start_at(behaviour, address).await)
            }
            Kind::SdWebui => {
                let behaviour = fake::Behaviour { step, ..fake::Behaviour::default() };
                Self::SdWebui(Fake::start_at(behaviour, address).await)
            }
        }
    }

    pub fn url(&self) -> &str {
        match self {
            Self::SdServer(fake) => &fake.url,
            Self::ComfyUi(fake) => &fake.url,
            Self::SdWebui(fake) => &fake.url,
        }
    }

    /// Whether it works on a job.
    pub fn works(&self) -> bool {
        match self {
            Self::SdServer(fake) => fake.count("generating") > 0,
            Self::ComfyUi(fake) => fake.running().is_some(),
            Self::SdWebui(fake) => fake.current().is_some(),
        }
    }

    /// Has it answer nothing any more.
    pub fn hang(&self) {
        match self {
            Self::SdServer(fake) => fake.set(|behaviour| behaviour.fault = SdFault::Hangs),
            Self::ComfyUi(fake) => fake.set(|behaviour| behaviour.fault = comfy_fake::Fault::Hangs),
            Self::SdWebui(fake) => fake.set(|behaviour| behaviour.fault = fake::Fault::Hangs),
        }
    }

    /// Has it answer again, and make its steps at once.
    pub fn recover(&self) {
        match self {
            Self::SdServer(fake) => fake.set(|behaviour| *behaviour = SdBehaviour::default()),
            Self::ComfyUi(fake) => fake.set(|behaviour| *behaviour = comfy_fake::Behaviour::default()),
            Self::SdWebui(fake) => fake.set(|behaviour| *behaviour = fake::Behaviour::default()),
        }
    }
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(DEADLINE, what, holds).await;
}

/// The same with another limit.
pub async fn until_within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
