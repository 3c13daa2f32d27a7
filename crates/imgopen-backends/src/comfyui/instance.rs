//! One ComfyUI with the workflows of its operator: what it offers, and which requests it takes.

use std::sync::{Arc, Mutex, PoisonError};

use imgopen_engine::{EngineError, Grade, JobRequest, Model, ModelKind, Models, Offer};
use imgopen_types::{Operation, operations};
use serde_json::Value;
use tracing::warn;

use super::build::{self, Uploads};
use super::ids::Names;
use super::lists::{Lists, Server};
use super::needs::{is_chosen, missing, setting};
use super::resolve::{Resolved, resolve};
use super::run::sweep;
use super::template::{self, Template};
use crate::control_maps::{self, ControlMaps};
use crate::generation::Generation;
use crate::honesty;
use crate::kind::Kind;
use crate::names::stem;
use crate::refusals::Refusals;
use crate::report::Standing;
use crate::settings::BackendSettings;

/// A server with what its operator configured for it.
#[derive(Debug)]
pub(super) struct Instance {
    pub server: Arc<Server>,
    pub templates: Vec<Template>,
    pub control_maps: Option<ControlMaps>,
    /// The model of the last job, as its request named it.
    loaded: Mutex<Option<Option<String>>>,
}

/// What ComfyUI can serve without a workflow of the operator.
const OPERATIONS: [&Operation; 4] =
    [&operations::TEXT_TO_IMAGE, &operations::IMAGE_TO_IMAGE, &operations::CONTROLNET, &operations::FLUX_TEXT_TO_IMAGE];

/// Returns what it can serve without workflows, each with what the settings lack for it.
pub(crate) fn possible() -> Vec<(&'static Operation, Option<&'static str>)> {
    let settings = BackendSettings::empty();
    OPERATIONS.into_iter().map(|operation| (operation, setting(operation, None, &settings))).collect()
}

impl Instance {
    pub(super) fn new(server: Arc<Server>, templates: Vec<Template>, control_maps: Option<ControlMaps>) -> Self {
        Self { server, templates, control_maps, loaded: Mutex::new(None) }
    }

    pub(super) fn name(&self) -> &str {
        &self.server.name
    }

    pub(super) fn template(&self, operation: &Operation) -> Option<&Template> {
        self.templates.iter().find(|template| *template.operation == *operation)
    }

    /// Returns all operations that it may serve.
    pub(super) fn operations(&self) -> Vec<&'static Operation> {
        let further = self.templates.iter().map(|template| template.operation);
        let further = further.filter(|operation| !OPERATIONS.iter().any(|known| known.id == operation.id));
        OPERATIONS.into_iter().chain(further).collect()
    }

    pub(super) fn missing(&self, operation: &Operation, lists: Option<&Lists>) -> Option<String> {
        missing(operation, self.template(operation), &self.server.settings, lists)
    }

    pub(super) fn offers(&self) -> Vec<Offer> {
        let (lists, away) = self.server.known();
        let settings = &self.server.settings;
        let chosen = self.operations().into_iter();
        let chosen = chosen.filter(|operation| is_chosen(operation, self.template(operation), settings));
        let offers = chosen.filter_map(|operation| {
            let missing = self.missing(operation, lists.as_deref());
            let Standing { away, is_known } = Standing::of(operation, settings, missing, away.clone())?;
            let models = match (&lists, operation.model) {
                (Some(lists), Some(_)) if is_known => Models::Listed(self.models(operation, lists)),
                _ => Models::Any,
            };
            Some(Offer { models, away, is_known, ..Offer::new(operation, Grade::Neural) })
        });
        offers.collect()
    }

    /// Returns the models that requests of an operation may name.
    pub(super) fn models(&self, operation: &Operation, lists: &Lists) -> Vec<Model> {
        let Some(template) = self.template(operation) else { return lists.models().0 };
        let names = template.models(lists).into_iter();
        names.map(|name| Model::new(ModelKind::Checkpoint, name.clone(), stem(&name))).collect()
    }

    /// Reads a request for pictures of ours. Without lists, only what no server could do is refused.
    pub(super) fn generation(&self, request: &JobRequest) -> Result<(Generation, Vec<String>), EngineError> {
        let body: Value = request.view()?;
        let notes = honesty::check(Kind::ComfyUi, self.name(), request.operation(), &body)?;
        let generation = Generation::read(request)?;
        let backend = Refusals { name: self.name(), program: Kind::ComfyUi.program() };
        control_maps::check(self.control_maps.as_ref(), request, &generation, backend)?;
        Ok((generation, notes))
    }

    pub(super) fn resolve(&self, generation: &Generation, lists: &Lists) -> Result<Resolved, EngineError> {
        let resolved = resolve(generation, lists, &self.server.settings, self.name())?;
        // Whether the server has all nodes and inputs shows in a graph.
        let control = generation.control.iter().map(|_| String::new()).collect();
        let named = Uploads { start: Some(String::new()), mask: Some(String::new()), control };
        build::picture((generation, &resolved), (lists, self.name()), &named, 0, "")?;
        Ok(resolved)
    }

    pub(super) fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let (lists, _) = self.server.known();
        let result = match self.template(request.operation()) {
            Some(template) => {
                let filling = template.request(request, self.name())?;
                lists.map_or(Ok(()), |lists| {
                    let wanted = template.pictures().into_iter();
                    let named: Value = request.view()?;
                    let named = wanted.filter(|wanted| template::has(&named, &wanted.field));
                    let named = named.map(|wanted| (wanted.field, String::new())).collect();
                    template.fill(&filling, (&lists, self.name()), &named, 0, "").map(drop)
                })
            }
            None => {
                let (generation, _) = self.generation(request)?;
                lists.map_or(Ok(()), |lists| self.resolve(&generation, &lists).map(drop))
            }
        };
        // Perhaps it was installed a moment ago.
        result.inspect_err(|_| self.server.refresh_soon())
    }

    /// Returns the seed that a request names.
    pub(super) fn seed(&self, request: &JobRequest) -> Result<Option<i64>, EngineError> {
        match self.template(request.operation()) {
            Some(template) => Ok(template.request(request, self.name())?.seed),
            None => Ok(self.generation(request)?.0.seed),
        }
    }

    pub(super) fn note_loaded(&self, model: Option<String>) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(model);
    }

    /// Returns whether the last job was for this model.
    pub(super) fn has_loaded(&self, model: Option<&str>) -> bool {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().is_some_and(|loaded| loaded.as_deref() == model)
    }

    /// Notes that the server has freed its memory.
    pub(super) fn note_freed(&self) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends what a task has left at the server.
    pub(super) async fn sweep(&self, task: &str) {
        if let Err(error) = sweep(&self.server, &Names::new(task)).await {
            warn!(backend = self.name(), task, %error, "what a task has left at the back end could not be ended");
        }
    }
}
