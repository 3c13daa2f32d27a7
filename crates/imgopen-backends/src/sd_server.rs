//! sd-server of stable-diffusion.cpp, by its API `/sdcpp/v1`: at an address, or as a program that is started for the model
//! that a job needs.
//!
//! The server takes what it does not know and makes something else, so everything is checked against its capabilities before,
//! and against what it writes into its pictures after. It cannot stop a job that has begun, and reports no progress. A
//! program that was started here can be ended, and prints its steps.

mod answer;
mod arguments;
mod body;
mod capabilities;
mod child;
mod disk;
mod failures;
mod host;
mod inputs;
mod jobs;
mod log;
mod needs;
mod resolve;
mod served;
mod work;

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Model, Models, Monitor, Offer, Output, Slots};
use imgopen_types::{Operation, operations};
use serde_json::Value;

use crate::control_maps::{self, ControlMaps};
use crate::driver::{Driver, Surroundings, by_itself, prepared};
use crate::generation::{Checkpoint, Generation};
use crate::kind::Kind;
use crate::refusals::{CHECKPOINT, Refusals};
use crate::report::{OperationReport, Report, Standing};
use crate::settings::BackendSettings;
use crate::timing::Timing;
use crate::watched::Watched;
use crate::{honesty, seed};
use capabilities::Capabilities;
use host::Host;
use resolve::{Resolved, Resolver};
use served::Served;

/// An engine that drives sd-server. Clones drive the same one.
#[derive(Debug, Clone)]
pub struct SdServer {
    server: Arc<Server>,
}

/// The server, wherever it is.
#[derive(Debug)]
struct Server {
    name: String,
    settings: BackendSettings,
    timing: Timing,
    control_maps: Option<ControlMaps>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Address(Arc<Watched<Capabilities>>),
    Program(Arc<Host>),
}

/// What sd-server can serve.
const OPERATIONS: [&Operation; 4] =
    [&operations::TEXT_TO_IMAGE, &operations::IMAGE_TO_IMAGE, &operations::CONTROLNET, &operations::FLUX_TEXT_TO_IMAGE];

/// Returns what it can serve at an address, each with what the settings lack for it.
pub(crate) fn possible() -> Vec<(&'static Operation, Option<&'static str>)> {
    let settings = BackendSettings::empty();
    OPERATIONS.into_iter().map(|operation| (operation, needs::setting(operation, &settings))).collect()
}

impl SdServer {
    /// Creates the engine. With a `url`, the server's capabilities are read in the background from now on; with a `program`,
    /// it is started by the first job. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    pub fn open(settings: BackendSettings, around: &Surroundings) -> Result<Self, String> {
        Self::with_timing(settings, around, Timing::default())
    }

    /// As [`open`](Self::open), with other times.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    pub fn with_timing(settings: BackendSettings, around: &Surroundings, timing: Timing) -> Result<Self, String> {
        let name = settings.name(Kind::SdServer).to_owned();
        let place = match settings.program.is_some() {
            true => Place::Program(Host::open(&name, settings.clone(), around, timing)?),
            false => Place::Address(Watched::open(settings.clone(), &name, timing)?),
        };
        let control_maps = around.control_maps.clone();
        Ok(Self { server: Arc::new(Server { name, settings, timing, control_maps, place }) })
    }
}

impl Server {
    /// Returns what is known of the server.
    fn capabilities(&self) -> Option<Arc<Capabilities>> {
        match &self.place {
            Place::Address(watched) => watched.known().0,
            Place::Program(host) => host.capabilities(),
        }
    }

    /// Returns what can be asked for, as far as it is known.
    fn served(&self) -> Vec<Served> {
        match &self.place {
            Place::Address(_) => {
                let known = self.capabilities();
                known.iter().map(|known| Served::at_address(known, &self.settings)).collect()
            }
            Place::Program(host) => host.served(),
        }
    }

    /// Returns whether anything is known of what can be asked for.
    fn is_known(&self) -> bool {
        matches!(self.place, Place::Program(_)) || self.capabilities().is_some()
    }

    fn offers(&self) -> Vec<Offer> {
        let served = self.served();
        let chosen = OPERATIONS.into_iter().filter(|operation| needs::is_chosen(operation, &self.settings));
        let offers = chosen.filter_map(|operation| {
            let serving: Vec<&Served> = served.iter().filter(|served| needs::serves(served, operation)).collect();
            let away = match &self.place {
                Place::Address(watched) => watched.known().1,
                Place::Program(host) => host.away(serving.iter().map(|served| served.name.as_str())),
            };
            let missing = self.missing(operation, &served);
            let Standing { away, is_known } = Standing::of(operation, &self.settings, missing, away)?;
            let models = match is_known && operation.model.is_some() {
                true => Models::Listed(serving.iter().map(|served| served.model.clone()).collect()),
                false => Models::Any,
            };
            Some(Offer { models, away, is_known, ..Offer::new(operation, Grade::Neural) })
        });
        offers.collect()
    }

    /// Returns what an operation lacks, if anything.
    fn missing(&self, operation: &Operation, served: &[Served]) -> Option<String> {
        let lacks = || self.capabilities().and_then(|known| known.missing().map(str::to_owned));
        needs::missing(operation, &self.settings, served, self.is_known()).or_else(lacks)
    }

    fn report(&self) -> Report {
        let served = self.served();
        let (away, version) = match &self.place {
            Place::Address(watched) => (watched.known().1, watched.version()),
            Place::Program(host) => (host.away(served.iter().map(|served| served.name.as_str())), host.version()),
        };
        let lacks = |operation: &Operation| {
            let file = |host: &Host| {
                let mut serving = served.iter().filter(|served| needs::serves(served, operation));
                serving.find_map(|served| host.missing(&served.name))
            };
            self.missing(operation, &served).or_else(|| match &self.place {
                Place::Address(_) => None,
                Place::Program(host) => file(host),
            })
        };
        let operations = OPERATIONS
            .into_iter()
            .map(|operation| OperationReport { operation: operation.id, missing: lacks(operation) })
            .collect();
        Report {
            name: self.name.clone(),
            kind: Kind::SdServer,
            program: Kind::SdServer.program(),
            version,
            away,
            models: served.into_iter().map(|served| served.name).collect(),
            operations,
        }
    }

    /// Checks a request. Without knowing the server, only what no version could do is refused.
    fn check(&self, request: &JobRequest) -> Result<(Generation, Vec<String>), EngineError> {
        let body: Value = request.view()?;
        let notes = honesty::check(Kind::SdServer, &self.name, request.operation(), &body)?;
        let generation = Generation::read(request)?;
        control_maps::check(self.control_maps.as_ref(), request, &generation, self.refusals())?;
        Ok((generation, notes))
    }

    fn refusals(&self) -> Refusals<'_> {
        Refusals { name: &self.name, program: Kind::SdServer.program() }
    }

    /// Finds the model that a request asks for.
    fn find(&self, generation: &Generation, served: Vec<Served>) -> Result<Served, EngineError> {
        let mut serving: Vec<Served> =
            served.into_iter().filter(|served| needs::serves(served, generation.operation)).collect();
        match &generation.checkpoint {
            Checkpoint::Flux(variant) => {
                let found = serving.iter().position(|served| served.is(*variant));
                found.map(|at| serving.swap_remove(at)).ok_or_else(|| self.refusals().without_files(*variant))
            }
            Checkpoint::Named(name) => {
                // A request that names none gets the first.
                let found = match name.is_empty() {
                    true => (!serving.is_empty()).then_some(0),
                    false => serving.iter().position(|served| served.name == *name),
                };
                found.map(|at| serving.swap_remove(at)).ok_or_else(|| {
                    let names: Vec<String> = serving.iter().map(|served| served.name.clone()).collect();
                    self.refusals().missing(CHECKPOINT, "model", name, &names)
                })
            }
        }
    }

    fn resolve(
        &self,
        generation: &Generation,
        served: &Served,
        capabilities: Option<&Capabilities>,
    ) -> Result<Resolved, EngineError> {
        let base_of_lora = |path: &str| match &self.place {
            Place::Address(_) => None,
            Place::Program(host) => host.base_of_lora(path),
        };
        let on_disk = match &self.place {
            Place::Address(_) => None,
            Place::Program(host) => host.loras_on_disk(),
        };
        let (backend, on_disk) = (self.refusals(), on_disk.as_deref());
        let resolver = Resolver { generation, served, capabilities, on_disk, base_of_lora: &base_of_lora, backend };
        resolver.resolve().inspect_err(|_| {
            if let Place::Address(watched) = &self.place {
                // Perhaps it was installed a moment ago.
                watched.refresh_soon();
            }
        })
    }
}

impl Driver for SdServer {
    fn settings(&self) -> &BackendSettings {
        &self.server.settings
    }

    /// A program that is not needed yet is not started, so it answers unless starts of it have failed.
    fn refresh(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            match &self.server.place {
                Place::Address(watched) => watched.refresh().await,
                Place::Program(host) => {
                    host.list().await;
                    self.server.report().away.is_none()
                }
            }
        })
    }

    fn report(&self) -> Report {
        self.server.report()
    }

    fn has_loaded(&self, model: Option<&str>) -> bool {
        let loaded = match &self.server.place {
            Place::Address(watched) => watched.known().0.map(|known| known.model.name.clone()),
            Place::Program(host) => host.loaded(),
        };
        loaded.is_some_and(|loaded| model.is_none_or(|model| loaded == model))
    }

    fn prepare(&self, job: &Job, monitor: &Monitor) -> Option<BoxFuture<'static, Result<Job, EngineError>>> {
        // A request that cannot be read is rejected by the run.
        let (generation, _) = self.server.check(job.checked_request()).ok()?;
        self.server.control_maps.as_ref()?.prepare(job, &generation, monitor)
    }

    fn free(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Place::Program(host) = &self.server.place {
                host.free().await;
            }
        })
    }
}

impl Engine for SdServer {
    fn name(&self) -> &str {
        &self.server.name
    }

    fn offers(&self) -> Vec<Offer> {
        self.server.offers()
    }

    /// Those of a program are in the models directory.
    fn models(&self) -> Vec<Model> {
        match &self.server.place {
            Place::Address(watched) => watched.known().0.map(|known| known.lora_models()).unwrap_or_default(),
            Place::Program(_) => Vec::new(),
        }
    }

    fn controls(&self) -> Vec<String> {
        self.server.served().into_iter().filter_map(|served| served.parts?.control_net).collect()
    }

    /// A server lists the LoRAs that it finds at that moment.
    fn rescan(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            match &self.server.place {
                Place::Address(watched) => watched.rescan().await,
                Place::Program(host) => host.list().await,
            }
        })
    }

    /// A program makes one job after the other, because ending a job ends it.
    fn slots(&self) -> Slots {
        match &self.server.place {
            Place::Address(_) => Slots::Own(self.server.settings.jobs),
            Place::Program(_) => Slots::Own(NonZeroUsize::MIN),
        }
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let (generation, _) = self.server.check(request)?;
        if !self.server.is_known() {
            return Ok(());
        }
        let served = self.server.find(&generation, self.server.served())?;
        self.server.resolve(&generation, &served, self.server.capabilities().as_deref()).map(drop)
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move { Ok(seed::plan(self.server.check(request)?.0.seed)) })
    }

    /// Counts the weights as well for a program that computes on this machine's processor.
    fn memory(&self, job: &Job) -> u64 {
        // A request that cannot be read is rejected by the run.
        let Ok((generation, _)) = self.server.check(job.checked_request()) else { return 0 };
        let control = control_maps::memory(self.server.control_maps.as_ref(), job, &generation);
        let pictures = generation.memory() + control;
        match &self.server.place {
            Place::Program(host) if self.server.settings.device.is_none() => {
                let served = self.server.find(&generation, host.served());
                pictures + served.map_or(0, |served| host.weights(&served.name))
            }
            _ => pictures,
        }
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let preparing = self.prepare(&job, &monitor);
        let (server, watching) = (self.server.clone(), monitor.clone());
        let work = async move { server.carry_out(prepared(job, preparing).await?, watching).await };
        Box::pin(by_itself(work, monitor))
    }
}
