//! The registry picks the best engine, and says what would help where there is none.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use imgopen_engine::{
    Engine, EngineError, Grade, Job, Model, ModelKind, Models, Monitor, Offer, Output, Registry, Unavailable,
};
use imgopen_types::{Operation, operations};

/// An engine for text_to_image with some models.
struct Fake(Grade, &'static [&'static str]);

/// An engine for some operations that takes any model, and has some that it does not offer.
struct Open(Grade, Vec<&'static Operation>, Vec<ModelKind>);

impl Engine for Open {
    fn name(&self) -> &'static str {
        "open"
    }

    fn offers(&self) -> Vec<Offer> {
        self.1.iter().map(|operation| Offer::new(operation, self.0)).collect()
    }

    fn models(&self) -> Vec<Model> {
        self.2.iter().map(|kind| Model::new(*kind, format!("open_{kind:?}"), "")).collect()
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

impl Engine for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn offers(&self) -> Vec<Offer> {
        let model = |name: &&str| Model::new(ModelKind::Checkpoint, *name, format!("Title of {name}"));
        let models = Models::Listed(self.1.iter().map(model).collect());
        vec![Offer { models, ..Offer::new(&operations::TEXT_TO_IMAGE, self.0) }]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

#[test]
fn the_best_grade_that_has_the_model_is_picked() {
    let registry = Registry::new(vec![
        Arc::new(Open(Grade::Sandbox, vec![&operations::TEXT_TO_IMAGE, &operations::ENLARGE_IMAGE], vec![])),
        Arc::new(Open(Grade::Classical, vec![&operations::ENLARGE_IMAGE], vec![])),
        Arc::new(Fake(Grade::Draft, &["a", "b"])),
        Arc::new(Fake(Grade::Neural, &["b"])),
    ]);
    let grade = |operation, model| registry.pick(operation, model).unwrap().offer.grade;
    assert_eq!(grade("text_to_image", None), Grade::Neural);
    assert_eq!(grade("text_to_image", Some("b")), Grade::Neural);
    assert_eq!(grade("text_to_image", Some("a")), Grade::Draft);
    // A test card is no replacement for a model that is missing.
    let error = registry.pick("text_to_image", Some("c")).unwrap_err().to_string();
    assert_eq!(error, "no engine for `text_to_image` has the model \"c\"; give one of \"b\", \"a\"");
    assert_eq!(grade("enlarge_image", None), Grade::Classical);
    let offers: Vec<_> = registry.offers("text_to_image").iter().map(|choice| choice.offer.grade).collect();
    assert_eq!(offers, [Grade::Neural, Grade::Draft, Grade::Sandbox]);
}

#[test]
fn models_are_listed_once() {
    let registry = Registry::new(vec![
        Arc::new(Fake(Grade::Draft, &["a", "b"])),
        Arc::new(Fake(Grade::Neural, &["b", "c"])),
        Arc::new(Open(Grade::Sandbox, vec![], vec![ModelKind::Checkpoint, ModelKind::Vae])),
    ]);
    let names = |kind| registry.models(kind).into_iter().map(|model| model.name).collect::<Vec<_>>();
    assert_eq!(names(ModelKind::Checkpoint), ["a", "b", "c", "open_Checkpoint"]);
    assert_eq!(names(ModelKind::Vae), ["open_Vae"]);
}

#[test]
fn a_missing_engine_is_an_error_with_what_would_help() {
    let registry = Registry::new(vec![]);
    assert_eq!(
        registry.pick("text_to_image", Some("a")).unwrap_err().to_string(),
        "no engine is configured for `text_to_image`: it needs an engine with Stable Diffusion weights; configure one, \
         or start with `--sandbox` for labelled test cards in place of results"
    );
    let error = registry.pick("submit_training", None).unwrap_err().to_string();
    assert!(error.ends_with("configure one, the sandbox does not train"), "{error}");
    // Every operation that makes something has its own text.
    for operation in operations::ALL {
        let error = registry.pick(operation.id, None).unwrap_err().to_string();
        let makes = operation.job.is_some() || operation.id == "expand_prompt";
        assert_eq!(error.contains("it needs an engine"), makes, "{error}");
    }
}

#[test]
fn a_missing_model_is_an_error_with_the_available_ones() {
    let registry = Registry::new(vec![Arc::new(Fake(Grade::Draft, &["a", "b"]))]);
    assert_eq!(
        registry.pick("text_to_image", Some("c")).unwrap_err().to_string(),
        "no engine for `text_to_image` has the model \"c\"; give one of \"a\", \"b\""
    );
    let none = Registry::new(vec![Arc::new(Fake(Grade::Draft, &[]))]);
    assert!(
        matches!(none.pick("text_to_image", Some("c")), Err(Unavailable::Model { models, .. }) if models.is_empty())
    );
    assert!(none.pick("text_to_image", None).is_ok());
    static MANY: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
    let error = Registry::new(vec![Arc::new(Fake(Grade::Draft, MANY))]).pick("text_to_image", Some("c")).unwrap_err();
    assert!(error.to_string().ends_with("\"10\" or 2 more, which `list_models` lists"));
}

/// A named instance for text_to_image.
struct Instance {
    name: String,
    grade: Grade,
    models: Models,
    away: Option<&'static str>,
}

impl Instance {
    fn boxed(name: &str, grade: Grade, models: Models, away: Option<&'static str>) -> Arc<dyn Engine> {
        Arc::new(Self { name: name.to_owned(), grade, models, away })
    }
}

impl Engine for Instance {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = Offer::new(&operations::TEXT_TO_IMAGE, self.grade);
        vec![Offer { models: self.models.clone(), away: self.away.map(str::to_owned), ..offer }]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

#[test]
fn an_engine_that_is_away_never_yields_to_a_lower_grade() {
    let only = |name: &str| Models::Listed(vec![Model::new(ModelKind::Checkpoint, name, "")]);
    let registry = Registry::new(vec![
        Instance::boxed("sandbox", Grade::Sandbox, Models::Any, None),
        Instance::boxed("draft", Grade::Draft, Models::Any, None),
        Instance::boxed("gpu-1", Grade::Neural, only("a"), Some("http://127.0.0.1:8188 does not answer")),
    ]);
    let away = Unavailable::Away {
        operation: "text_to_image".to_owned(),
        engine: "gpu-1".to_owned(),
        reason: "http://127.0.0.1:8188 does not answer".to_owned(),
    };
    assert_eq!(registry.pick("text_to_image", None).unwrap_err(), away);
    assert_eq!(registry.pick("text_to_image", Some("a")).unwrap_err(), away);
    assert_eq!(
        away.to_string(),
        "the engine `gpu-1` for `text_to_image` is away: http://127.0.0.1:8188 does not answer"
    );
    // A model that it lacks is left to one that has it.
    assert_eq!(registry.pick("text_to_image", Some("b")).unwrap().engine.name(), "draft");
    // It is still listed.
    assert_eq!(registry.offers("text_to_image").len(), 3);
}

#[test]
fn another_instance_of_the_same_grade_takes_over() {
    let registry = Registry::new(vec![
        Instance::boxed("gpu-1", Grade::Neural, Models::Any, Some("down")),
        Instance::boxed("gpu-2", Grade::Neural, Models::Any, None),
        Instance::boxed("gpu-3", Grade::Neural, Models::Any, None),
    ]);
    assert_eq!(registry.pick("text_to_image", None).unwrap().engine.name(), "gpu-2");
}

/// A request waits for an engine that is away rather than for one that has never answered.
#[test]
fn an_engine_that_is_away_is_found() {
    struct Unknown;

    impl Engine for Unknown {
        fn name(&self) -> &str {
            "new"
        }

        fn offers(&self) -> Vec<Offer> {
            let away = Some("it has not answered yet".to_owned());
            vec![Offer { away, is_known: false, ..Offer::new(&operations::TEXT_TO_IMAGE, Grade::Neural) }]
        }

        fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
            Box::pin(async { Ok(Output::default()) })
        }
    }
    let down = Instance::boxed("gpu-1", Grade::Neural, Models::Any, Some("down"));
    let registry = Registry::new(vec![Arc::new(Unknown), down]).with(Fake(Grade::Sandbox, &["a"]));
    assert_eq!(registry.find("text_to_image", None).unwrap().engine.name(), "gpu-1");
    let only = Registry::new(vec![Arc::new(Unknown)]);
    assert!(!only.find("text_to_image", Some("a")).unwrap().offer.is_known);
    let error = only.pick("text_to_image", Some("a")).unwrap_err().to_string();
    assert_eq!(error, "the engine `new` for `text_to_image` is away: it has not answered yet");
    assert!(only.find("outpaint", None).is_err() && only.engine("new").is_some() && only.engine("old").is_none());
}
