//! An engine of another process.

use std::sync::Arc;

use futures_util::future::{self, BoxFuture, FutureExt};
use imgopen_types::Operation;
use serde_json::Value;

use crate::engine::{BackendStatus, Engine};
use crate::error::EngineError;
use crate::job::{Job, Output};
use crate::model::Model;
use crate::monitor::Monitor;
use crate::named::{NamedKind, NamedModel};
use crate::offer::{Models, Offer};
use crate::request::JobRequest;

/// An engine of another process. It checks requests as far as an engine of the same name in this process can do that for it.
pub(crate) struct RemoteEngine {
    pub name: String,
    pub offers: Vec<Offer>,
    /// The model files that its operator has put there, by operation.
    pub nets: Vec<(&'static str, Vec<String>)>,
    pub models: Vec<Model>,
    pub controls: Vec<String>,
    pub backends: Vec<BackendStatus>,
    /// The models directory of its process.
    pub library: Arc<[Model]>,
    /// The engine of the same name in this process.
    pub twin: Option<Arc<dyn Engine>>,
}

impl RemoteEngine {
    /// Returns the twin, if what it says of a request does not depend on its own models.
    fn judge(&self) -> Option<&Arc<dyn Engine>> {
        self.twin.as_ref().filter(|twin| !twin.lists_models())
    }

    fn offer_of(&self, operation: &Operation) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.operation == operation)
    }
}

impl Engine for RemoteEngine {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offer> {
        self.offers.clone()
    }

    fn offers_for(&self, operation_id: &str) -> Vec<Offer> {
        self.offers.iter().filter(|offer| offer.operation.id == operation_id).cloned().collect()
    }

    fn models(&self) -> Vec<Model> {
        self.models.clone()
    }

    fn controls(&self) -> Vec<String> {
        self.controls.clone()
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        let own = self.nets.iter().find(|(id, _)| *id == operation.id);
        own.map(|(_, nets)| nets.clone()).unwrap_or_default()
    }

    fn backends(&self) -> Vec<BackendStatus> {
        self.backends.clone()
    }

    fn is_elsewhere(&self) -> bool {
        true
    }

    fn has(&self, named: &NamedModel) -> bool {
        let is_listed = |offer: &Offer| match &offer.models {
            Models::Any => false,
            Models::Listed(models) => models.iter().any(|model| named.is(model)),
        };
        match named.kind {
            NamedKind::Control => self.controls.iter().any(|name| named.is_name_of(name)),
            _ => {
                self.models.iter().chain(self.library.iter()).any(|model| named.is(model))
                    || self.offers.iter().any(is_listed)
            }
        }
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        self.judge().map_or(Ok(()), |judge| judge.check(request))
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        match (&self.twin, self.offer_of(request.operation())) {
            (Some(twin), Some(offer)) => twin.plan_elsewhere(request, offer, &self.library),
            _ => future::ready(Ok(None)).boxed(),
        }
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let reason = format!("`{}` is in another process", self.name);
        future::ready(Err(EngineError::Unavailable { reason, retry_after: None })).boxed()
    }
}
