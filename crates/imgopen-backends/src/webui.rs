//! The Stable Diffusion web UI of AUTOMATIC1111, and Forge, by their API `/sdapi/v1`.
//!
//! The server takes what it does not know and makes something else with status 200, so nothing is sent that is not in its
//! lists, and every picture is verified by what it reports. Lists are read in the background, so that requests are checked
//! without waiting.

mod answer;
mod body;
mod call;
mod extras;
mod inputs;
mod lists;
mod needs;
mod resolve;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use imgopen_engine::{
    Engine, EngineError, FieldValues, Grade, Job, JobRequest, Model, Models, Monitor, Offer, Output, Slots,
};
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};
use tracing::{debug, warn};

use crate::blocking::blocking;
use crate::driver::{Driver, by_itself};
use crate::generation::{Generation, PIXEL};
use crate::honesty;
use crate::http::{CallError, Http};
use crate::kind::Kind;
use crate::report::{OperationReport, Report, Standing};
use crate::seed;
use crate::settings::BackendSettings;
use crate::timing::Timing;
use crate::watched::Watched;
use answer::{Asked, Verified, verified};
use body::Request;
use call::{Call, sweep};
use extras::{Extra, Sending};
use lists::Lists;
use needs::{is_chosen, missing};
use resolve::{Resolved, resolve};

/// Bytes of an answer beside its pictures.
const ANSWER: u64 = 4 * 1024 * 1024;

/// An engine that drives a web UI. Clones drive the same one.
#[derive(Debug, Clone)]
pub struct SdWebui {
    server: Arc<Server>,
}

/// The server and what is known of it.
type Server = Watched<Lists>;

/// A job that is ready to be sent.
struct Prepared {
    generation: Generation,
    resolved: Resolved,
    request: Request,
    seed: i64,
    /// The size of the finished pictures.
    size: (u32, u32),
    notes: Vec<String>,
    is_reporting_loras: bool,
}

impl SdWebui {
    /// Creates the engine, and reads the server's lists in the background from now on. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    pub fn open(settings: BackendSettings) -> Result<Self, String> {
        Self::with_timing(settings, Timing::default())
    }

    /// As [`open`](Self::open), with other times.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the settings.
    pub fn with_timing(settings: BackendSettings, timing: Timing) -> Result<Self, String> {
        let name = settings.name(Kind::SdWebui).to_owned();
        let server = Watched::open(settings, &name, timing)?;
        Ok(Self { server })
    }

    fn described(&self) -> Report {
        let server = &self.server;
        let (lists, away) = server.known();
        let program = match lists.as_ref().map(|lists| lists.is_forge) {
            Some(true) => "Forge",
            Some(false) => "A1111",
            None => Kind::SdWebui.program(),
        };
        let models = lists.as_ref().map(|lists| lists.models().0).unwrap_or_default();
        let models = models.into_iter().map(|model| model.name).collect();
        let operations = OPERATIONS.iter().map(|operation| OperationReport {
            operation: operation.id,
            missing: missing(operation, &server.settings, lists.as_deref()),
        });
        Report {
            name: server.name.clone(),
            kind: Kind::SdWebui,
            program,
            version: server.version(),
            away,
            models,
            operations: operations.collect(),
        }
    }
}

/// What a web UI can serve.
const OPERATIONS: [&Operation; 8] = [
    &operations::TEXT_TO_IMAGE,
    &operations::IMAGE_TO_IMAGE,
    &operations::CONTROLNET,
    &operations::FLUX_TEXT_TO_IMAGE,
    &operations::SUPER_RESOLUTION,
    &operations::RESTORE_FACE,
    &operations::DESCRIBE_IMAGE,
    &operations::PREVIEW_CONTROLNET,
];

/// Returns what it can serve, each with what the settings lack for it.
pub(crate) fn possible() -> Vec<(&'static Operation, Option<&'static str>)> {
    let settings = BackendSettings::empty();
    OPERATIONS.into_iter().map(|operation| (operation, needs::setting(operation, &settings))).collect()
}

impl Server {
    fn offers(&self) -> Vec<Offer> {
        let (lists, away) = self.known();
        let chosen = OPERATIONS.into_iter().filter(|operation| is_chosen(operation, &self.settings));
        let offers = chosen.filter_map(|operation| {
            let missing = missing(operation, &self.settings, lists.as_deref());
            let Standing { away, is_known } = Standing::of(operation, &self.settings, missing, away.clone())?;
            let models = match (&lists, operation.model) {
                (Some(lists), Some(_)) if is_known => Models::Listed(lists.models().0),
                _ => Models::Any,
            };
            let values = match (&lists, operation.id) {
                (Some(lists), "preview_controlnet") => {
                    vec![FieldValues { field: "preprocessor", values: lists.preprocessors() }]
                }
                _ => Vec::new(),
            };
            Some(Offer { models, values, away, is_known, ..Offer::new(operation, self.grade(operation)) })
        });
        offers.collect()
    }

    /// A filter of the web UI adds no detail.
    fn grade(&self, operation: &Operation) -> Grade {
        let is_filter =
            self.settings.upscaler.as_deref().is_some_and(|name| ["None", "Lanczos", "Nearest"].contains(&name));
        match operation.id == operations::SUPER_RESOLUTION.id && is_filter {
            true => Grade::Classical,
            false => Grade::Neural,
        }
    }

    /// Checks a request. Without lists, only what no server could do is refused.
    fn check(&self, request: &JobRequest) -> Result<(Generation, Vec<String>), EngineError> {
        let body: Value = request.view()?;
        let notes = honesty::check(Kind::SdWebui, &self.name, request.operation(), &body)?;
        Ok((Generation::read(request)?, notes))
    }

    fn resolve(&self, generation: &Generation, lists: &Lists) -> Result<Resolved, EngineError> {
        resolve(generation, lists, &self.settings, &self.name).inspect_err(|_| {
            // Perhaps it was installed a moment ago.
            self.refresh_soon();
        })
    }

    async fn prepare(&self, job: &Job, lists: &Lists, monitor: &Monitor) -> Result<Prepared, EngineError> {
        let (generation, mut notes) = self.check(job.checked_request())?;
        generation.check_pixels(job.limits())?;
        let mut resolved = self.resolve(&generation, lists)?;
        notes.append(&mut resolved.notes);
        let seed = seed::of(generation.seed, job);
        let (owned, of_job, watching) = (generation.clone(), job.clone(), monitor.clone());
        let encoded = blocking(move || inputs::encoded(&of_job, &owned, &watching)).await?;
        let size = finished_size(&generation, encoded.start_size);
        let task_id = server_id(job.task_id());
        let request = body::request(&generation, &resolved, encoded, lists.is_forge, (seed, &task_id));
        Ok(Prepared { generation, resolved, request, seed, size, notes, is_reporting_loras: lists.reports_loras })
    }

    /// The largest answer that could be right, in bytes: pictures in Base64 that do not compress, and those of ControlNet.
    fn answer_limit(generation: &Generation, (width, height): (u32, u32)) -> u64 {
        let pictures = u64::from(generation.pictures()) + 1 + generation.control.len() as u64;
        ANSWER + pictures * u64::from(width) * u64::from(height) * 6
    }

    /// Makes a call and watches it to its end.
    async fn call(&self, job: &Job, request: Request, limit: u64, monitor: &Monitor) -> Result<Bytes, EngineError> {
        let (http, name, timing) = (self.http.clone(), self.name.clone(), self.timing);
        let call = Call { http, name, task_id: server_id(job.task_id()), request, limit, timing };
        call.conduct(monitor).await.inspect_err(|error| {
            if matches!(error, EngineError::Unavailable { .. }) {
                self.lost(error);
            }
        })
    }

    /// Ends what a task has left at the server.
    async fn sweep(&self, task: &str) {
        if let Err(error) = sweep(&self.http, (&self.name, &server_id(task)), self.timing.poll).await {
            warn!(backend = self.name, task, %error, "what a task has left at the back end could not be ended");
        }
    }

    async fn carry_out(self: Arc<Self>, job: Job, monitor: Monitor) -> Result<Output, EngineError> {
        let lists = self.lists().await?;
        match Extra::read(job.checked_request(), &self.settings)? {
            Some(extra) => self.process(extra, &lists, job, monitor).await,
            None => self.generate(&lists, job, monitor).await,
        }
    }

    /// Does something with a finished picture.
    async fn process(&self, extra: Extra, lists: &Lists, job: Job, monitor: Monitor) -> Result<Output, EngineError> {
        extra.check(&self.settings, lists, &self.name)?;
        let (reading, of_job, watching) = (extra.clone(), job.clone(), monitor.clone());
        let Sending { request, size, source } = blocking(move || reading.request(&of_job, &watching)).await?;
        let pixels = size.map_or(job.limits().pixels, |(width, height)| u64::from(width) * u64::from(height));
        let body = self.call(&job, request, ANSWER + pixels * 6, &monitor).await?;
        let (name, limits) = (self.name.clone(), *job.limits());
        blocking(move || extra.finish(&body, size, &source, &limits, &name, &monitor)).await
    }

    /// Makes new pictures.
    async fn generate(&self, lists: &Lists, job: Job, monitor: Monitor) -> Result<Output, EngineError> {
        let prepared = self.prepare(&job, lists, &monitor).await?;
        let limit = Self::answer_limit(&prepared.generation, prepared.size);
        let body = self.call(&job, prepared.request.clone(), limit, &monitor).await?;
        let name = self.name.clone();
        let (output, version) = blocking(move || prepared.finish(&body, &job, &name, &monitor)).await?;
        self.note_version(version);
        Ok(output)
    }
}

impl Prepared {
    fn finish(
        self,
        body: &Bytes,
        job: &Job,
        name: &str,
        monitor: &Monitor,
    ) -> Result<(Output, Option<String>), EngineError> {
        let asked = Asked {
            generation: &self.generation,
            resolved: &self.resolved,
            request: &self.request,
            seed: self.seed,
            size: self.size,
            limits: job.limits(),
            name,
            reports_loras: self.is_reporting_loras,
        };
        let Verified { pictures, version } = verified(body, &asked, monitor)?;
        Ok((Output { pictures, notes: self.notes, ..Output::default() }, version))
    }
}

/// Returns the size of the finished pictures. If only the masked part is redrawn, it is put back into the picture that was
/// given, whose size stays.
fn finished_size(generation: &Generation, start_size: Option<(u32, u32)>) -> (u32, u32) {
    let mask = generation.start.as_ref().and_then(|start| start.mask.as_ref());
    let is_partial = mask.is_some_and(|mask| mask.only_masked.is_some());
    start_size.filter(|_| is_partial).unwrap_or_else(|| generation.final_size())
}

/// The id by which the server knows the job. All runs of a task share it, so that a later one finds an earlier one.
fn server_id(task: &str) -> String {
    format!("task(imgopen-{task})")
}

impl Driver for SdWebui {
    fn settings(&self) -> &BackendSettings {
        &self.server.settings
    }

    fn refresh(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.server.refresh())
    }

    fn report(&self) -> Report {
        self.described()
    }

    /// Only Forge loads the model again by itself. A1111 leaves it in the computer's memory, where the next job fails.
    fn free(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let server = &self.server;
            if !server.known().0.is_some_and(|lists| lists.is_forge) {
                return;
            }
            if let Err(error) = server.http.command("sdapi/v1/unload-checkpoint", &json!({})).await {
                debug!(backend = server.name, %error, "a back end could not free its memory");
            }
        })
    }
}

impl Engine for SdWebui {
    fn name(&self) -> &str {
        &self.server.name
    }

    fn offers(&self) -> Vec<Offer> {
        self.server.offers()
    }

    fn models(&self) -> Vec<Model> {
        self.server.known().0.map(|lists| lists.models().1).unwrap_or_default()
    }

    fn controls(&self) -> Vec<String> {
        let lists = self.server.known().0;
        lists.and_then(|lists| Some(lists.control.as_ref()?.models.clone())).unwrap_or_default()
    }

    fn slots(&self) -> Slots {
        Slots::Own(self.server.settings.jobs)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let (lists, _) = self.server.known();
        if let Some(extra) = Extra::read(request, &self.server.settings)? {
            let check = |lists: Arc<Lists>| extra.check(&self.server.settings, &lists, &self.server.name);
            return lists.map_or(Ok(()), check);
        }
        let (generation, _) = self.server.check(request)?;
        lists.map_or(Ok(()), |lists| self.server.resolve(&generation, &lists).map(drop))
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move {
            if Extra::read(request, &self.server.settings)?.is_some() {
                return Ok(None);
            }
            let (generation, _) = self.server.check(request)?;
            Ok(seed::plan(generation.seed))
        })
    }

    fn rescan(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.server.rescan())
    }

    fn memory(&self, job: &Job) -> u64 {
        if let Ok(Some(extra)) = Extra::read(job.checked_request(), &self.server.settings) {
            return extra.pixels(job) * PIXEL;
        }
        // A request that cannot be read is rejected by the run.
        let Ok((generation, _)) = self.server.check(job.checked_request()) else { return 0 };
        generation.memory()
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let work = self.server.clone().carry_out(job, monitor.clone());
        Box::pin(by_itself(work, monitor))
    }

    fn discard<'a>(&'a self, task: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.server.sweep(task))
    }

    /// The next run ends what is left.
    fn interrupt<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.server.sweep(task))
    }
}

/// Returns whether a web UI answers.
pub(crate) async fn answers(http: &Http) -> Result<bool, CallError> {
    match http.get::<Vec<Value>>("sdapi/v1/samplers").await {
        Ok(samplers) => Ok(!samplers.is_empty()),
        Err(CallError::Status { status: 400..=499, .. } | CallError::Unusable(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
