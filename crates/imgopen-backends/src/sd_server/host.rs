//! Starts and stops the program: one process at a time, for the model that a job needs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use imgopen_engine::{EngineError, Library, Model, ModelKind, Monitor};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::arguments::{AT_RUNTIME, Given, LORA_MODE, Options, arguments};
use super::capabilities::{self, Capabilities, Lora};
use super::child::{Child, Start, StartError, printed};
use super::disk::{Disk, LORAS, loras_in};
use super::failures::Failures;
use super::served::{Files, Served};
use crate::blocking::blocking;
use crate::driver::Surroundings;
use crate::http::shown;
use crate::settings::BackendSettings;
use crate::timing::Timing;

/// How often a start is tried on another port.
const PORTS: u32 = 3;

/// The program, and the process that runs, if one does.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    settings: BackendSettings,
    program: PathBuf,
    launcher: Option<PathBuf>,
    library: Option<Library>,
    timing: Timing,
    models: Arc<[Files]>,
    /// Held by the job that runs.
    child: Arc<tokio::sync::Mutex<Option<Child>>>,
    /// Held from a look at what is there until it is noted, so that older looks never replace newer ones.
    looking: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the program last said, with the LoRAs that are there now; samplers and upscalers are the same for all models.
    capabilities: Option<Arc<Capabilities>>,
    /// The LoRAs in the directory for them. `None` until the disk was looked at.
    on_disk: Option<Arc<[Lora]>>,
    /// The model of the process.
    loaded: Option<String>,
    failures: Failures,
    /// The models in the models directory.
    listed: Arc<Vec<Model>>,
    disk: Arc<Disk>,
    options: Option<Options>,
    /// Stops the process once it has been idle.
    idle: Option<JoinHandle<()>>,
}

/// The process with a model, for one job.
#[derive(Debug)]
pub(super) struct Turn {
    host: Arc<Host>,
    child: OwnedMutexGuard<Option<Child>>,
}

impl Host {
    pub(super) fn open(
        name: &str,
        settings: BackendSettings,
        around: &Surroundings,
        timing: Timing,
    ) -> Result<Arc<Self>, String> {
        settings.check()?;
        let program = settings.program.clone().ok_or("`program` is missing; give the path of sd-server")?;
        let folder = around.library.as_ref().map(Library::folder);
        let models = Files::read(&settings, folder)?;
        // Later looks are not those of a thread that others wait for.
        let state = State { disk: Arc::new(Disk::look(&models, folder)), ..State::default() };
        let host = Arc::new(Self {
            name: name.to_owned(),
            program,
            launcher: around.launcher.clone(),
            library: around.library.clone(),
            timing,
            models: models.into(),
            child: Arc::default(),
            looking: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
            settings,
        });
        let watched = Arc::downgrade(&host);
        tokio::spawn(async move {
            while let Some(host) = watched.upgrade() {
                host.list().await;
                let pause = host.timing.refresh;
                drop(host);
                tokio::time::sleep(pause).await;
            }
        });
        Ok(host)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the models directory, where base models and hashes come from, and looks for the files of the models and for LoRAs.
    pub(super) async fn list(&self) {
        self.look().await;
        let Some(library) = self.library.clone() else { return };
        let _looking = self.looking.lock().await;
        if let Ok(listed) = blocking(move || Ok(library.models())).await {
            self.state().listed = Arc::new(listed);
        }
    }

    /// Looks for the files of the models, and for LoRAs, which the program looks for with each job.
    async fn look(&self) {
        let _looking = self.looking.lock().await;
        let (models, library) = (self.models.clone(), self.library.clone());
        let own = self.given().value(LORAS).map(PathBuf::from);
        let has_folder = own.is_some() || self.knows(LORAS);
        let looking = move || {
            let disk = Disk::look(&models, library.as_ref().map(Library::folder));
            let loras = own.as_deref().or(disk.loras()).map(loras_in).unwrap_or_default();
            Ok((disk, loras))
        };
        let Ok((disk, on_disk)) = blocking(looking).await else { return };
        let mut state = self.state();
        state.disk = Arc::new(disk);
        let loras = if has_folder { on_disk.clone() } else { Vec::new() };
        state.on_disk = Some(on_disk.into());
        if let Some(known) = state.capabilities.take() {
            state.capabilities = Some(match known.loras == loras {
                true => known,
                false => Arc::new(known.with_loras(loras)),
            });
        }
    }

    /// Returns what was on the disk a moment ago.
    fn disk(&self) -> Arc<Disk> {
        self.state().disk.clone()
    }

    pub(super) fn capabilities(&self) -> Option<Arc<Capabilities>> {
        self.state().capabilities.clone()
    }

    /// Returns the LoRAs in the directory for them. There are no others for a program that has not run yet.
    pub(super) fn loras_on_disk(&self) -> Option<Arc<[Lora]>> {
        self.state().on_disk.clone()
    }

    /// Returns what can be asked for.
    pub(super) fn served(&self) -> Vec<Served> {
        let listed = self.state().listed.clone();
        self.models.iter().map(|files| files.served(&listed)).collect()
    }

    /// Returns the base model of a LoRA by its path in the directory of LoRAs.
    pub(super) fn base_of_lora(&self, path: &str) -> Option<String> {
        let path = self.disk().loras()?.join(path);
        let listed = self.state().listed.clone();
        let is = |model: &&Model| model.kind == ModelKind::Lora && model.path.as_deref() == Some(&path);
        listed.iter().find(is)?.base_model.clone()
    }

    /// Returns the model of the process.
    pub(super) fn loaded(&self) -> Option<String> {
        self.state().loaded.clone()
    }

    /// Returns the version that the program says.
    pub(super) fn version(&self) -> Option<String> {
        self.state().options.as_ref()?.version().map(shown)
    }

    /// Returns why all of these models are away, if they are.
    pub(super) fn away<'a>(&self, mut models: impl Iterator<Item = &'a str>) -> Option<String> {
        let state = self.state();
        let first = state.failures.away(models.next()?)?;
        models.all(|name| state.failures.away(name).is_some()).then(|| first.to_owned())
    }

    /// Returns the size of the files of a model in bytes.
    pub(super) fn weights(&self, model: &str) -> u64 {
        self.disk().bytes(model)
    }

    /// Returns what keeps a model from being started, if that shows without trying.
    pub(super) fn missing(&self, model: &str) -> Option<String> {
        let role = self.disk().missing(model)?;
        Some(format!("the file of `{role}` of the model \"{model}\", which the settings name"))
    }

    /// Ends the process, once no job has it.
    pub(super) async fn free(&self) {
        let mut child = self.child.lock().await;
        self.stop(&mut child).await;
    }

    async fn stop(&self, child: &mut Option<Child>) {
        if let Some(child) = child.take() {
            child.stop().await;
        }
        self.state().loaded = None;
    }

    /// Waits for the process, and starts it with a model unless it has it. `loras` are those of the job, with their weights.
    pub(super) async fn take(
        self: &Arc<Self>,
        model: &str,
        loras: Vec<(String, f64)>,
        monitor: &Monitor,
    ) -> Result<Turn, EngineError> {
        let mut child = monitor.until_cancelled(self.child.clone().lock_owned()).await?;
        let is_ready = match child.as_mut() {
            Some(running) => {
                let is_clean = running.loras.is_empty() || running.loras == loras || !self.leaves_traces();
                let is_kept = self.loaded().as_deref() == Some(model) && is_clean && !running.has_ended();
                // One that lacks a LoRA may have been started without the directory that the LoRA is in.
                is_kept && monitor.until_cancelled(self.finds(running, &loras)).await?
            }
            None => false,
        };
        if !is_ready {
            self.stop(&mut child).await;
            let started = self.start(model, monitor).await?;
            let mut state = self.state();
            state.capabilities = Some(started.capabilities.clone());
            state.loaded = Some(model.to_owned());
            drop(state);
            *child = Some(started);
        }
        if let Some(running) = child.as_mut() {
            running.loras = loras;
        }
        Ok(Turn { host: self.clone(), child })
    }

    /// Returns whether a process has the LoRAs of a job. It is asked if some are new, and looks for them then.
    async fn finds(&self, running: &mut Child, loras: &[(String, f64)]) -> bool {
        if running.has(loras) {
            return true;
        }
        let _looking = self.looking.lock().await;
        let Ok(now) = running.http.get::<Capabilities>(capabilities::PATH).await else { return false };
        running.capabilities = Arc::new(now);
        self.state().capabilities = Some(running.capabilities.clone());
        running.has(loras)
    }

    fn given(&self) -> Given<'_> {
        Given { settings: &self.settings, models: &self.models }
    }

    /// Returns whether the program is known to have an option.
    fn knows(&self, option: &str) -> bool {
        self.state().options.as_ref().is_some_and(|options| options.has(option))
    }

    /// Returns whether a LoRA leaves traces in the weights when it is taken out again, so that only a new process is as if
    /// it had never been there. It does unless LoRAs are applied at run time.
    fn leaves_traces(&self) -> bool {
        self.given().value(LORA_MODE).map_or_else(|| !self.knows(LORA_MODE), |mode| mode != AT_RUNTIME)
    }

    /// Starts the program with a model, unless starts of it have failed a moment ago.
    async fn start(&self, model: &str, monitor: &Monitor) -> Result<Child, EngineError> {
        let Some(files) = self.models.iter().find(|files| files.name == model) else {
            return Err(EngineError::Failed(format!("the model \"{model}\" is not among those of the settings")));
        };
        let unavailable =
            |reason: String, after: Duration| EngineError::Unavailable { reason, retry_after: Some(after) };
        let waits = self.state().failures.waits(model);
        if let Some((reason, left)) = waits {
            return Err(unavailable(reason, left));
        }
        let began = Instant::now();
        monitor.until_cancelled(self.look()).await?;
        let problem = match self.missing(model) {
            Some(missing) => format!("it lacks {missing}"),
            None => match self.launch(files, monitor).await {
                Ok(child) => {
                    let seconds = began.elapsed().as_secs_f64();
                    info!(backend = self.name, model, seconds, "program started");
                    self.state().failures.forget(model);
                    return Ok(child);
                }
                // That is not its fault.
                Err(StartError::Cancelled) => return Err(EngineError::Cancelled),
                Err(error) => error.problem(),
            },
        };
        let reason = format!("the back end `{}` cannot be started with the model \"{model}\": {problem}", self.name);
        let (count, pause) = self.state().failures.note(model, &reason);
        warn!(backend = self.name, program = %self.program.display(), reason, count, "program not started");
        Err(unavailable(reason, pause))
    }

    /// Starts the program; if another takes its port, on another one.
    async fn launch(&self, files: &Files, monitor: &Monitor) -> Result<Child, StartError> {
        let options = monitor.until_cancelled(self.options()).await.map_err(|_| StartError::Cancelled)?;
        let mut tries = 1;
        loop {
            let given = self.given();
            let seed = (!given.names_seed(files)).then(|| fastrand::i64(1 << 32..1 << 48));
            let start = Start {
                program: &self.program,
                launcher: self.launcher.as_deref(),
                arguments: arguments(&given, files, &self.disk(), options.as_ref(), seed),
                model: files.main.to_string_lossy().into_owned(),
                seed,
                silence: self.settings.start_silence,
                timing: self.timing,
            };
            match start.run(monitor).await {
                // It ends without an error if its port is taken.
                Err(StartError::Ended(status, _)) if status.success() && tries < PORTS => {}
                Err(StartError::PortTaken) if tries < PORTS => {}
                Err(error) => {
                    if let StartError::Ended(_, errors) = &error {
                        warn!(backend = self.name, errors = errors.all(), "program ended");
                    }
                    return Err(error);
                }
                Ok(child) => return Ok(child),
            }
            tries += 1;
        }
    }

    /// Asks the program once for its options.
    async fn options(&self) -> Option<Options> {
        if let Some(options) = self.state().options.clone() {
            return Some(options);
        }
        let help = printed(&self.program, "--help", self.timing.answer).await.ok().filter(|help| !help.is_empty())?;
        let options = Options::new(help);
        self.state().options = Some(options.clone());
        Some(options)
    }

    /// Has the process stopped once it has been idle for as long as the settings say.
    fn rest(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (host, pause) = (Arc::downgrade(self), self.settings.idle);
        let timer = runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            let Some(host) = host.upgrade() else { return };
            // A job that has it begins the time again.
            let Ok(mut child) = host.child.clone().try_lock_owned() else { return };
            if child.as_ref().is_some_and(|child| child.used.elapsed() >= pause) {
                info!(backend = host.name, "idle program stopped");
                host.stop(&mut child).await;
            }
        });
        if let Some(earlier) = self.state().idle.replace(timer) {
            earlier.abort();
        }
    }
}

impl Turn {
    /// Returns the process. There is one until a job ends it.
    pub(super) fn child(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// Ends the process.
    pub(super) async fn end(&mut self) {
        self.host.stop(&mut self.child).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(child) = self.child.as_mut() {
            child.used = Instant::now();
            self.host.rest();
        }
    }
}
