//! What a process offers, as text that other processes read.
//!
//! Each model is written once, and then named by its index, because an engine offers the same models for several operations.
//! What a reader does not know, such as an operation of a newer version, it leaves out.

use std::collections::HashMap;
use std::sync::Arc;

use imgopen_types::{Operation, operations};
use serde::{Deserialize, Serialize};

use super::engine::RemoteEngine;
use crate::engine::{BackendStatus, Engine};
use crate::model::{Model, ModelKind};
use crate::offer::{FieldValues, Inputs, Models, Offer};

/// What a process offers: its engines with their models, and its models directory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteOffers {
    models: Vec<ListedModel>,
    /// The models directory.
    library: Vec<usize>,
    engines: Vec<ListedEngine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct ListedModel {
    kind: String,
    name: String,
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ListedEngine {
    name: String,
    offers: Vec<ListedOffer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    models: Vec<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    controls: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    backends: Vec<ListedBackend>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ListedOffer {
    operation: String,
    grade: String,
    /// `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    models: Option<Vec<usize>>,
    inputs: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<ListedValues>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    away: Option<String>,
    is_known: bool,
    prepares_only: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ListedValues {
    field: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ListedBackend {
    name: String,
    program: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    away: Option<String>,
    operations: Vec<String>,
}

/// The names of what engines do with pictures.
const INPUTS: [(Inputs, &str); 3] =
    [(Inputs::Fetched, "fetched"), (Inputs::Unused, "unused"), (Inputs::OnDemand, "on_demand")];

impl RemoteOffers {
    /// Writes down engines and a models directory. LoRAs get their owners by that function.
    pub(crate) fn of(engines: &[Arc<dyn Engine>], library: Vec<Model>, owned: impl Fn(Model) -> Model) -> Self {
        let mut table = Table::default();
        let engines = engines.iter().map(|engine| listed_engine(&**engine, &mut table, &owned)).collect();
        let library = table.indexes(library);
        Self { models: table.models, library, engines }
    }

    /// Returns the same of a process that is away for that reason: requests wait for it, unless another one can take them.
    #[must_use]
    pub fn away(mut self, reason: &str) -> Self {
        for engine in &mut self.engines {
            let offers = engine.offers.iter_mut().map(|offer| &mut offer.away);
            let backends = engine.backends.iter_mut().map(|backend| &mut backend.away);
            for away in offers.chain(backends) {
                away.get_or_insert_with(|| reason.to_owned());
            }
        }
        self
    }

    /// Returns the models in the models directory.
    pub(crate) fn library(&self) -> Arc<[Model]> {
        self.models_at(&self.library).into()
    }

    /// Returns the engines. That function returns the engine of a name in this process.
    pub(crate) fn engines(
        &self,
        library: &Arc<[Model]>,
        twin: impl Fn(&str) -> Option<Arc<dyn Engine>>,
    ) -> Vec<Arc<dyn Engine>> {
        let engine = |listed: &ListedEngine| {
            let offers = listed.offers.iter().filter_map(|offer| Some((self.offer(offer)?, offer.nets.clone())));
            let (offers, nets): (Vec<_>, Vec<_>) = offers.unzip();
            let nets = offers.iter().map(|offer: &Offer| offer.operation.id).zip(nets).collect();
            let engine: Arc<dyn Engine> = Arc::new(RemoteEngine {
                name: listed.name.clone(),
                offers,
                nets,
                models: self.models_at(&listed.models),
                controls: listed.controls.clone(),
                backends: listed.backends.iter().map(backend).collect(),
                library: library.clone(),
                twin: twin(&listed.name),
            });
            engine
        };
        self.engines.iter().map(engine).collect()
    }

    fn models_at(&self, indexes: &[usize]) -> Vec<Model> {
        indexes.iter().filter_map(|index| model(self.models.get(*index)?)).collect()
    }

    fn offer(&self, listed: &ListedOffer) -> Option<Offer> {
        let operation = operation(&listed.operation)?;
        let models = listed.models.as_ref().map_or(Models::Any, |indexes| Models::Listed(self.models_at(indexes)));
        let (inputs, _) = INPUTS.into_iter().find(|(_, name)| *name == listed.inputs)?;
        let value = |of: &ListedValues| {
            let field = operation.request.fields.iter().find(|field| field.name == of.field)?;
            Some(FieldValues { field: field.name, values: of.values.clone() })
        };
        Some(Offer {
            operation,
            grade: listed.grade.parse().ok()?,
            models,
            inputs,
            values: listed.values.iter().filter_map(value).collect(),
            away: listed.away.clone(),
            is_known: listed.is_known,
            prepares_only: listed.prepares_only,
        })
    }
}

/// The models, each once.
#[derive(Default)]
struct Table {
    models: Vec<ListedModel>,
    places: HashMap<ListedModel, usize>,
}

impl Table {
    fn indexes(&mut self, models: Vec<Model>) -> Vec<usize> {
        models.into_iter().map(|model| self.index(listed_model(model))).collect()
    }

    fn index(&mut self, model: ListedModel) -> usize {
        let next = self.models.len();
        let index = *self.places.entry(model.clone()).or_insert(next);
        if index == next {
            self.models.push(model);
        }
        index
    }
}

fn listed_engine(engine: &dyn Engine, table: &mut Table, owned: &impl Fn(Model) -> Model) -> ListedEngine {
    let mut indexes = |models: Vec<Model>| table.indexes(models.into_iter().map(owned).collect());
    let offers = engine.offers().into_iter().map(|offer| ListedOffer {
        operation: offer.operation.id.to_owned(),
        grade: offer.grade.as_str().to_owned(),
        models: match offer.models {
            Models::Any => None,
            Models::Listed(models) => Some(indexes(models)),
        },
        inputs: INPUTS.into_iter().find(|(inputs, _)| *inputs == offer.inputs).map_or("", |(_, name)| name).to_owned(),
        values: offer.values.into_iter().map(listed_values).collect(),
        away: offer.away,
        is_known: offer.is_known,
        prepares_only: offer.prepares_only,
        nets: engine.nets(offer.operation),
    });
    let offers = offers.collect();
    let models = indexes(engine.models());
    let backends = engine.backends().into_iter().map(listed_backend).collect();
    ListedEngine { name: engine.name().to_owned(), offers, models, controls: engine.controls(), backends }
}

fn listed_model(model: Model) -> ListedModel {
    // The path means nothing elsewhere.
    let Model { kind, name, title, base_model, hash, version, path: _, owner } = model;
    ListedModel { kind: kind.as_str().to_owned(), name, title, base_model, hash, version, owner }
}

fn model(listed: &ListedModel) -> Option<Model> {
    let ListedModel { kind, name, title, base_model, hash, version, owner } = listed.clone();
    let kind = ModelKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some(Model { kind, name, title, base_model, hash, version, path: None, owner })
}

fn listed_values(FieldValues { field, values }: FieldValues) -> ListedValues {
    ListedValues { field: field.to_owned(), values }
}

fn listed_backend(backend: BackendStatus) -> ListedBackend {
    // The number of its jobs changes all the time, and nobody elsewhere needs it.
    let BackendStatus { name, program, version, away, jobs: _, operations } = backend;
    let operations = operations.into_iter().map(str::to_owned).collect();
    ListedBackend { name, program, version, away, operations }
}

fn backend(listed: &ListedBackend) -> BackendStatus {
    let ListedBackend { name, program, version, away, operations } = listed.clone();
    let operations = operations.iter().filter_map(|id| Some(operation(id)?.id)).collect();
    BackendStatus { name, program, version, away, jobs: 0, operations }
}

fn operation(id: &str) -> Option<&'static Operation> {
    operations::ALL.iter().copied().find(|operation| operation.id == id)
}
