//! A view of a fleet has the engines of all processes, and finds one that has all that a request names.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use imgopen_engine::{
    BackendStatus, Engine, EngineError, FieldValues, Grade, Inputs, Job, JobRequest, Model, ModelKind, Models, Monitor,
    NamedKind, NamedModel, Offer, Output, Registry, RemoteOffers, Slots, Unavailable,
};
use imgopen_types::operations;
use serde_json::json;

/// A back end with a checkpoint, LoRAs of keys, and a ControlNet.
#[derive(Clone)]
struct Backend {
    checkpoint: &'static str,
    loras: Vec<(&'static str, Option<&'static str>)>,
    control: &'static str,
    away: Option<&'static str>,
}

impl Backend {
    fn new(checkpoint: &'static str, loras: &[&'static str]) -> Self {
        let loras = loras.iter().map(|name| (*name, None)).collect();
        Self { checkpoint, loras, control: "canny [0a1b]", away: None }
    }
}

impl Engine for Backend {
    fn name(&self) -> &str {
        "comfyui"
    }

    fn offers(&self) -> Vec<Offer> {
        let model =
            Model { hash: Some("AB".to_owned()), ..Model::new(ModelKind::Checkpoint, self.checkpoint, "Title") };
        let offer = Offer {
            models: Models::Listed(vec![model]),
            away: self.away.map(str::to_owned),
            ..Offer::new(&operations::TEXT_TO_IMAGE, Grade::Neural)
        };
        let values = vec![FieldValues { field: "preprocessor", values: vec!["canny".to_owned()] }];
        let preview =
            Offer { values, inputs: Inputs::Unused, ..Offer::new(&operations::PREVIEW_CONTROLNET, Grade::Classical) };
        vec![Offer { operation: &operations::IMAGE_TO_IMAGE, ..offer.clone() }, offer, preview]
    }

    fn models(&self) -> Vec<Model> {
        let lora = |(name, owner): &(&str, Option<&str>)| Model {
            owner: owner.map(str::to_owned),
            ..Model::new(ModelKind::Lora, *name, *name)
        };
        self.loras.iter().map(lora).collect()
    }

    fn controls(&self) -> Vec<String> {
        vec![self.control.to_owned()]
    }

    fn backends(&self) -> Vec<BackendStatus> {
        vec![BackendStatus {
            name: self.checkpoint.to_owned(),
            program: "ComfyUI".to_owned(),
            version: None,
            away: None,
            jobs: 3,
            operations: vec!["text_to_image"],
        }]
    }

    fn slots(&self) -> Slots {
        Slots::Own(NonZeroUsize::MIN)
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        ready(Ok(Output::default())).boxed()
    }
}

/// A tool that refuses everything.
struct Strict;

impl Engine for Strict {
    fn name(&self) -> &str {
        "strict"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&operations::ENLARGE_IMAGE, Grade::Classical)]
    }

    fn check(&self, _: &JobRequest) -> Result<(), EngineError> {
        Err(EngineError::rejected("scale", "no"))
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        ready(Ok(Output::default())).boxed()
    }
}

/// What a process with these engines writes, as others read it.
fn published(registry: Registry) -> RemoteOffers {
    let text = serde_json::to_string(&registry.in_fleet(true).own_offers()).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn of(backend: Backend) -> RemoteOffers {
    published(Registry::new(vec![Arc::new(backend)]))
}

fn lora(name: &str) -> NamedModel {
    NamedModel { kind: NamedKind::Lora, name: name.to_owned() }
}

#[test]
fn a_process_without_engines_offers_those_of_the_others() {
    let api = Registry::new(vec![Arc::new(Strict)]).in_fleet(false);
    assert_eq!(api.own_offers(), RemoteOffers::default());
    assert!(api.everywhere().pick("text_to_image", None).is_err());
    api.set_others(&[of(Backend::new("a.safetensors", &["ink"])), of(Backend::new("b.safetensors", &[]))]);
    let everywhere = api.everywhere();
    let choice = everywhere.pick("text_to_image", Some("b.safetensors")).unwrap();
    assert!(choice.engine.is_elsewhere() && choice.engine.name() == "comfyui");
    assert_eq!(choice.offer, Backend::new("b.safetensors", &[]).offers()[1]);
    let error = everywhere.pick("text_to_image", Some("c")).unwrap_err().to_string();
    assert!(error.ends_with("give one of \"a.safetensors\", \"b.safetensors\""), "{error}");
    let names: Vec<_> = everywhere.models(ModelKind::Checkpoint).into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["a.safetensors", "b.safetensors"]);
    // What this process has runs nothing here.
    assert!(matches!(everywhere.pick("enlarge_image", None), Err(Unavailable::Operation { .. })));
    // A view does not change what runs here.
    assert!(api.pick("text_to_image", None).is_err() && api.pick("enlarge_image", None).is_ok());
    api.set_others(&[]);
    assert!(api.everywhere().pick("text_to_image", None).is_err());
}

#[test]
fn an_engine_that_has_all_that_is_named_is_found() {
    let here = Registry::new(vec![Arc::new(Backend::new("m", &["ink"]))]).in_fleet(true);
    let other = Backend { control: "depth", ..Backend::new("m", &["pen", "ink"]) };
    here.set_others(&[of(Backend::new("m", &["pen"])), of(other.clone())]);
    here.own_offers();
    let find = |named: &[NamedModel]| {
        let choice = here.everywhere().find_with("text_to_image", Some("m"), named).unwrap();
        (choice.engine.is_elsewhere(), choice.engine.models().len(), choice.engine.controls())
    };
    assert_eq!((find(&[]).0, find(&[lora("INK.safetensors")]).0, find(&[lora("nobody's")]).0), (false, false, false));
    assert_eq!(find(&[lora("pen")]).1, 1);
    assert_eq!(find(&[lora("ink"), lora("pen")]).1, 2);
    let depth = NamedModel { kind: NamedKind::Control, name: "depth".to_owned() };
    assert_eq!(find(&[depth]).2, ["depth"]);
    // One that is away is waited for if only it has them.
    here.set_others(&[of(Backend { away: Some("it does not answer"), ..other.clone() })]);
    assert!(find(&[lora("pen")]).0 && !find(&[lora("ink")]).0);
    // So is one whose process is.
    here.set_others(&[of(other).away("its process is away")]);
    assert!(find(&[lora("pen")]).0 && !find(&[lora("ink")]).0);
    let choice = here.everywhere().find_with("text_to_image", Some("m"), &[lora("pen")]).unwrap();
    assert_eq!((choice.offer.away.as_deref(), choice.offer.is_known), (Some("its process is away"), true));
}

#[test]
fn owners_of_loras_hold_across_processes() {
    let registry = Registry::default().in_fleet(true);
    let owned = |owner| Backend { loras: vec![("ink", owner)], ..Backend::new("m", &[]) };
    registry.set_others(&[of(owned(Some("a"))), of(owned(None)), of(owned(Some("a"))), of(owned(Some("b")))]);
    let loras = registry.everywhere().models(ModelKind::Lora);
    let owners: Vec<_> = loras.iter().map(|lora| lora.owner.as_deref()).collect();
    assert_eq!(owners, [Some("a"), None, Some("b")]);
}

#[test]
fn engines_of_the_same_name_are_described_as_one() {
    let away = Backend { away: Some("it does not answer"), ..Backend::new("a", &[]) };
    let here = Registry::new(vec![Arc::new(away.clone())]).in_fleet(true);
    let described = || here.everywhere().described(&operations::TEXT_TO_IMAGE);
    assert_eq!(described()[0].offer.away.as_deref(), Some("it does not answer"));
    here.set_others(&[of(away), of(Backend::new("b", &[]))]);
    let described = described();
    assert_eq!((described.len(), described[0].name.as_str(), &described[0].offer.away), (1, "comfyui", &None));
    let Models::Listed(models) = &described[0].offer.models else { panic!("{described:?}") };
    assert_eq!(models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(described[0].backends.iter().map(|backend| backend.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn an_engine_of_the_same_name_checks_for_one_elsewhere() {
    let api = Registry::new(vec![Arc::new(Strict), Arc::new(Backend::new("own", &[]))]).in_fleet(false);
    api.set_others(&[published(Registry::new(vec![Arc::new(Strict), Arc::new(Backend::new("m", &[]))]))]);
    let check = |operation| {
        let request = JobRequest::new("t", operation, json!({}));
        let choice = api.everywhere().pick(operation.id, None).unwrap();
        choice.engine.check(&request)
    };
    assert_eq!(check(&operations::ENLARGE_IMAGE).unwrap_err(), EngineError::rejected("scale", "no"));
    // What it says would depend on its own models.
    assert!(check(&operations::TEXT_TO_IMAGE).is_ok());
}

#[test]
fn what_a_reader_does_not_know_is_left_out() {
    let text = json!({
        "models": [{"kind": "hologram", "name": "h", "title": ""}, {"kind": "lora", "name": "l", "title": "", "new": 1}],
        "library": [0, 1, 7],
        "engines": [{"name": "next", "offers": [
            {"operation": "develop_film", "grade": "neural", "inputs": "unused", "is_known": true, "prepares_only": false},
            {"operation": "outpaint", "grade": "divine", "inputs": "unused", "is_known": true, "prepares_only": false},
            {"operation": "outpaint", "grade": "draft", "inputs": "unused", "is_known": true, "prepares_only": false},
        ]}],
        "more": {},
    });
    let registry = Registry::default().in_fleet(true);
    registry.set_others(&[serde_json::from_value(text).unwrap()]);
    let everywhere = registry.everywhere();
    assert_eq!(everywhere.offers("outpaint").len(), 1);
    assert_eq!(everywhere.models(ModelKind::Lora).len(), 1);
}
