//! The capabilities that the server reports.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use imgopen_engine::{BackendStatus, Engine, EngineError, FieldValues, Grade, Job, Monitor, Offer, Output};
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};

use crate::common::{Bench, sandbox};

/// An engine that lists the values it accepts in a field.
struct Edges;

impl Engine for Edges {
    fn name(&self) -> &'static str {
        "edges"
    }

    fn offers(&self) -> Vec<Offer> {
        let values =
            vec![FieldValues { field: "preprocessor", values: ["canny", "invert"].map(str::to_owned).to_vec() }];
        vec![Offer { values, ..Offer::new(&operations::PREVIEW_CONTROLNET, Grade::Classical) }]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

#[tokio::test]
async fn offers_list_the_values_that_engines_accept() {
    let server = Bench::new().engines(vec![Arc::new(Edges), Arc::new(sandbox())]).start().await;
    let capabilities = server.call("describe_server", json!({})).await.ok();
    let of = |id: &str| -> Value {
        capabilities["operations"].as_array().unwrap().iter().find(|row| row["operation"] == id).unwrap()["engines"]
            .clone()
    };
    let expected = json!([
        {
            "name": "edges",
            "grade": "classical",
            "values": [{"field": "preprocessor", "values": ["canny", "invert"]}]
        },
        {"name": "sandbox", "grade": "sandbox"}
    ]);
    assert_eq!(of("preview_controlnet"), expected);
    assert_eq!(of("enlarge_image"), json!([{"name": "sandbox", "grade": "sandbox"}]));
}

/// An engine that has nets of the operator's own for one of its operations.
struct Scissors;

impl Engine for Scissors {
    fn name(&self) -> &'static str {
        "scissors"
    }

    fn offers(&self) -> Vec<Offer> {
        [&operations::REMOVE_BACKGROUND, &operations::REMOVE_OBJECT]
            .map(|operation| Offer::new(operation, Grade::Neural))
            .into()
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        let has_nets = *operation == operations::REMOVE_BACKGROUND;
        if has_nets { vec!["u2net.onnx".to_owned(), "isnet.onnx".to_owned()] } else { Vec::new() }
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

#[tokio::test]
async fn offers_list_the_nets_of_the_operators_own() {
    let server = Bench::new().engines(vec![Arc::new(Scissors)]).start().await;
    let capabilities = server.call("describe_server", json!({})).await.ok();
    let of = |id: &str| -> Value {
        let row = capabilities["operations"].as_array().unwrap().iter().find(|row| row["operation"] == id).unwrap();
        row["engines"][0]["models"].clone()
    };
    assert_eq!(of("remove_background"), json!(["u2net.onnx", "isnet.onnx"]));
    assert_eq!(of("remove_object"), json!(null));
    // They are no models that a request can name.
    let models = server.call("list_models", json!({"pageSize": 10, "pageNum": 1})).await.ok();
    assert!(!models.to_string().contains("u2net"), "{models}");
}

/// An engine with two back ends for one operation, and one that serves another.
struct Fleet;

impl Engine for Fleet {
    fn name(&self) -> &'static str {
        "comfyui"
    }

    fn offers(&self) -> Vec<Offer> {
        let away = Some("no back end answers".to_owned());
        vec![
            Offer::new(&operations::TEXT_TO_IMAGE, Grade::Neural),
            Offer { away, ..Offer::new(&operations::CONTROLNET, Grade::Neural) },
        ]
    }

    fn backends(&self) -> Vec<BackendStatus> {
        let status = |name: &str, version: Option<&str>, away: Option<&str>, operation| BackendStatus {
            name: name.to_owned(),
            program: "ComfyUI".to_owned(),
            version: version.map(str::to_owned),
            away: away.map(str::to_owned),
            jobs: 1,
            operations: vec![operation],
        };
        vec![
            status("one", Some("0.3.64"), None, "text_to_image"),
            status("two", None, Some("no connection can be made"), "text_to_image"),
            status("three", None, Some("no connection can be made"), "controlnet"),
        ]
    }

    fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        Box::pin(async { Ok(Output::default()) })
    }
}

#[tokio::test]
async fn offers_list_the_back_ends_that_serve_them() {
    let server = Bench::new().engines(vec![Arc::new(Fleet)]).start().await;
    let capabilities = server.call("describe_server", json!({})).await.ok();
    let of = |id: &str| -> Value {
        let row = capabilities["operations"].as_array().unwrap().iter().find(|row| row["operation"] == id).unwrap();
        json!([row["available"], row["engines"][0]["away"], row["engines"][0]["backends"]])
    };
    let two = json!({"name": "two", "program": "ComfyUI", "away": "no connection can be made"});
    let one = json!({"name": "one", "program": "ComfyUI", "version": "0.3.64"});
    assert_eq!(of("text_to_image"), json!([true, null, [one, two]]));
    let three = json!({"name": "three", "program": "ComfyUI", "away": "no connection can be made"});
    assert_eq!(of("controlnet"), json!([false, "no back end answers", [three]]));
}
